"""What a shown key means; every spoof of an identity has its own name, and none of them is the camera."""

import pytest

from agent.camera.tls import Shown
from agent.enrolment import Enrolled
from agent.nearby.judging import Impostor, Same, Stranger, Verdict, judge

pytestmark = pytest.mark.promise("FIND-AUTH")

GARDEN = Enrolled(camera="garden00", device="abcdefgh234567xy", level="proved", kid="G" * 43)
PORCH = Enrolled(camera="porch000", device="bcdefgh234567xyz", level="proved", kid="P" * 43)
HALL = Enrolled(camera="hall0000", level="pinned", certificate_sha256=b"h" * 32, endpoint="192.0.2.4:443")
ALL = (GARDEN, PORCH, HALL)
OTHER_KEY, NO_ID = "X" * 43, ""


def shown(kid: str, device: str) -> Shown:
    return Shown(kid=kid, unverified_device=device, certificate_sha256=b"c" * 32, certificate=b"")


@pytest.mark.parametrize(
    ("found", "claimed", "answering", "verdict"),
    [
        (shown(GARDEN.kid, GARDEN.device), "", (), Same("garden00")),
        (shown(GARDEN.kid, GARDEN.device), "garden00", ("garden00",), Same("garden00")),
        (shown(OTHER_KEY, GARDEN.device), "", (), Impostor("garden00", "changed_key")),
        (shown(OTHER_KEY, GARDEN.device), "garden00", (), Impostor("garden00", "changed_key")),
        (shown(OTHER_KEY, GARDEN.device), "", ("garden00",), Impostor("garden00", "second_device")),
        (shown(OTHER_KEY, GARDEN.device), "", ("porch000",), Impostor("garden00", "changed_key")),
        (shown(PORCH.kid, GARDEN.device), "", (), Impostor("garden00", "changed_key")),
        (shown(GARDEN.kid, NO_ID), "", (), Impostor("garden00", "changed_id")),
        (shown(GARDEN.kid, "zzzzzzzzzzzzzzzz"), "", (), Impostor("garden00", "changed_id")),
        (shown(OTHER_KEY, "zzzzzzzzzzzzzzzz"), "garden00", (), Impostor("garden00", "copied_advert")),
        (shown(PORCH.kid, PORCH.device), "garden00", (), Impostor("garden00", "copied_advert")),
        (shown(OTHER_KEY, "zzzzzzzzzzzzzzzz"), "", ("garden00",), Stranger()),
        (shown(OTHER_KEY, NO_ID), "", (), Stranger()),
        (shown("", NO_ID), "", (), Stranger()),
        (shown("", NO_ID), "garden00", (), Impostor("garden00", "copied_advert")),
    ],
)
def test_verdict_follows_the_key(found: Shown, claimed: str, answering: tuple[str, ...], verdict: Verdict) -> None:
    assert judge(found, cameras=ALL, claimed=claimed, answering=answering) == verdict


def test_nobody_is_enrolled_and_everybody_is_a_stranger() -> None:
    assert judge(shown(GARDEN.kid, GARDEN.device), cameras=(), claimed="", answering=()) == Stranger()
