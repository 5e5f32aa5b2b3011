"""What is remembered of recordings that no clock dated: bounded, and nothing of another card."""

import weakref

import pytest

from agent.sources import camera as camera_module
from agent.sources.camera import _Undated


class Name(str):
    """A recording's id, of which it can be told whether anybody keeps it."""

    __slots__ = ("__weakref__",)


def test_looks_that_are_cut_again_and_again_leave_no_more_ids_than_are_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(camera_module, "REMEMBERED_MAX", 20)
    undated = _Undated()
    kept: weakref.WeakSet[Name] = weakref.WeakSet()
    for look in range(3):
        undated.begin(look)
        for number in range(100):
            name = Name(f"r{look}x{number}")
            kept.add(name)
            undated.since_ms(name)
    del name
    assert len(kept) == 20


def test_look_in_which_another_card_was_put_in_says_nothing_of_what_comes_after_it() -> None:
    undated = _Undated()
    undated.begin(1_000)
    undated.forget()
    assert undated.since_ms("on the other card") is None
    undated.passed()
    undated.begin(2_000)
    assert undated.since_ms("seen late on the other card") is None
    undated.passed()
    assert undated.since_ms("recorded since") == 2_000
