"""A passkey waits in memory for the one camera that was named, is used once, and not for long."""

import pytest

from agent.app.pairing import Told
from agent.app.passkey import GOOD_S, WAITING_MAX, Passkeys
from agent.errors import ConfigError

CAMERA = "k3x9abcd"


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def test_passkey_is_handed_out_once_for_its_camera_alone() -> None:
    passkeys = Passkeys()
    passkeys.give(CAMERA, "012345")
    assert passkeys.take("another1") is None
    assert passkeys.take(CAMERA) == 12_345
    assert passkeys.take(CAMERA) is None


def test_passkey_that_nobody_used_in_time_is_not_handed_out() -> None:
    clock = Clock()
    passkeys = Passkeys(monotonic=clock)
    passkeys.give(CAMERA, "012345")
    passkeys.give("another1", "543210")
    clock.now_s += GOOD_S - 1
    assert passkeys.take("another1") == 543_210
    clock.now_s += 1
    assert passkeys.take(CAMERA) is None


def test_passkey_that_is_typed_again_replaces_the_one_before() -> None:
    passkeys = Passkeys()
    passkeys.give(CAMERA, "111111")
    passkeys.give(CAMERA, "222222")
    assert passkeys.take(CAMERA) == 222_222
    assert passkeys.take(CAMERA) is None


def test_no_more_than_so_many_wait() -> None:
    passkeys = Passkeys()
    for number in range(WAITING_MAX + 1):
        passkeys.give(f"camera-{number}", "012345")
    assert passkeys.take("camera-0") is None
    assert passkeys.take(f"camera-{WAITING_MAX}") == 12_345


@pytest.mark.parametrize("typed", ["", "12345", "1234567", "12 345", "-12345", 6 * "\u0661", "abcdef"])
def test_what_is_no_passkey_is_a_persons_mistake_and_is_not_repeated(typed: str) -> None:
    with pytest.raises(ConfigError, match="six digits") as raised:
        Passkeys().give(CAMERA, typed)
    assert not typed or typed not in str(raised.value)


def test_passkey_is_kept_out_of_what_prints_the_question() -> None:
    assert "012345" not in repr(Told(camera=CAMERA, passkey="012345"))
