"""Signals that end a command: what begins while one arrives is known before it counts."""

import os
import signal

import pytest

from device_sim.signals import ended, held


def test_signal_that_arrives_inside_waits_until_the_block_is_done() -> None:
    known: list[str] = []

    def begin() -> None:
        with held():
            os.kill(os.getpid(), signal.SIGINT)
            known.append("child")

    with pytest.raises(KeyboardInterrupt):
        begin()
    assert known == ["child"]


def test_signals_are_answered_as_before_once_a_block_is_left() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with ended() as to_end:
        with held():
            pass
        assert not to_end.is_set()
        os.kill(os.getpid(), signal.SIGTERM)
        assert to_end.is_set()
    assert signal.getsignal(signal.SIGTERM) == before
