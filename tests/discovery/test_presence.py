"""What is shown of one way of hearing stays bounded, and whose it is that makes room, when anybody can say anything."""

from collections.abc import Callable

import pytest

from agent.clock import Reading
from agent.discovery.presence import Presence
from agent.discovery.sighting import SIGHTINGS_MAX, Heard, Lost, Sighting

OWN = "192.0.2.7"


class Shown:
    """What is shown, as whoever hears it knows it."""

    def __init__(self) -> None:
        self.rows: dict[str, Sighting] = {}
        self.presence = Presence(self.hear, never_asked)

    def hear(self, heard: Heard) -> None:
        if isinstance(heard, Sighting):
            self.rows[heard.key] = heard
        elif isinstance(heard, Lost):
            del self.rows[heard.key]

    def say(self, key: str, *, address: str = OWN, port: int = 8443) -> None:
        self.presence.heard(
            Sighting(
                way="mdns",
                place="eth0",
                key=key,
                service="_camera-link._tcp",
                seen_ms=0,
                unverified_id="a" * 16,
                addresses=(address,),
                port=port,
            )
        )


def never_asked() -> Reading:
    raise AssertionError("no time is needed here")


@pytest.mark.parametrize(
    "port_of", [lambda _number: 1, lambda number: 10_000 + number], ids=["one wrong port", "a wrong port each"]
)
def test_names_that_say_the_cameras_own_address_push_it_not_out(port_of: Callable[[int], int]) -> None:
    shown = Shown()
    shown.say("camera")
    for number in range(2 * SIGHTINGS_MAX):
        shown.say(f"flood {number}", port=port_of(number))
    assert "camera" in shown.rows
    assert len(shown.rows) == SIGHTINGS_MAX


def test_camera_that_is_announced_again_within_such_a_flood_stays() -> None:
    shown = Shown()
    shown.say("camera")
    for number in range(2 * SIGHTINGS_MAX):
        shown.say("camera")
        shown.say(f"flood {number}", port=10_000 + number)
        assert "camera" in shown.rows


def test_camera_that_comes_within_the_flood_of_one_wrong_port_stays() -> None:
    shown = Shown()
    for number in range(SIGHTINGS_MAX):
        shown.say(f"flood {number}", port=1)
    shown.say("camera")
    for number in range(SIGHTINGS_MAX):
        shown.say(f"later {number}", port=1)
    assert "camera" in shown.rows


def test_flood_from_another_host_replaces_itself() -> None:
    shown = Shown()
    for number in range(2 * SIGHTINGS_MAX):
        shown.say(f"flood {number}", address="192.0.2.66", port=10_000 + number)
        if number == SIGHTINGS_MAX:
            shown.say("camera")
    assert "camera" in shown.rows
    assert len(shown.rows) == SIGHTINGS_MAX
