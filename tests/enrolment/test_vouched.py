"""Among those near that claim a serial number the one with the vendor's certificate is enrolled.

The agent's parts and the TLS sessions are real, over loopback; what is heard, the tests say.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.app.enrolling import enrol
from agent.app.nearby import make_nearby
from agent.app.parts import Parts
from agent.camera.tls import ImpostorError
from agent.discovery.sighting import Hear, Sighting
from agent.enrolment import Enrolled
from agent.envelope import public_jwk, thumbprint
from tests.app.station import Station
from tests.enrolment.far_end import DEVICE, OTHER_DEVICE, FarEnd, certificate_of, new_key, pem_of

pytestmark = pytest.mark.promise("FIND-AUTH")

SERIAL = "B8A44F0A98A1"
CAMERA, THIEF = "127.0.0.1", "127.0.0.9"


class Says:
    """A discoverer that hears one service, at these addresses."""

    def __init__(self, *heard: tuple[FarEnd, tuple[str, ...]]) -> None:
        self._heard = heard

    async def run(self, hear: Hear) -> None:
        for number, (far_end, addresses) in enumerate(self._heard):
            hear(
                Sighting(
                    way="mdns",
                    place="eth0",
                    key=f"{number}",
                    service="_camera-link._tcp",
                    seen_ms=0,
                    addresses=addresses,
                    port=far_end.port,
                )
            )
        await asyncio.Event().wait()


def enrolled(tmp_path: Path, says: Says, authority: str, ready: Callable[[int], bool]) -> Enrolled:
    """Enrol by the serial number, once so many of those near were looked at."""

    async def asked(parts: Parts) -> Enrolled:
        nearby = await make_nearby(parts, {"mdns": says})
        async with asyncio.TaskGroup() as tasks:
            ears = tasks.create_task(nearby.run())
            while not ready(sum(row.shown is not None for row in nearby.inventory.rows())):
                await nearby.next_change(within_s=0.05)
            try:
                return await enrol(parts, nearby, {"vendor_ca": authority, "serial": SERIAL}, lambda _step: None)
            finally:
                ears.cancel()

    async def live() -> Enrolled:
        async with Station(tmp_path).parts() as parts:
            return await asked(parts)

    try:
        return asyncio.run(live())
    except ExceptionGroup as group:  # not `except*`: what is raised in one comes in a group before 3.11.5
        raise group.exceptions[0] from None


def authority_and_camera() -> tuple[str, str, bytes]:
    """Return a vendor's authority, and the `kid` and PEM of a camera with its certificate."""
    root, key = new_key(), new_key()
    authority = certificate_of(root, "vendor", authority=True)
    issued = certificate_of(key, DEVICE, serial=SERIAL, issuer=(authority, root))
    pem = pem_of(root, authority).decode()
    return pem[pem.index("-----BEGIN CERT") :], thumbprint(public_jwk(key)), pem_of(key, issued)


def self_signed() -> bytes:
    key = new_key()
    return pem_of(key, certificate_of(key, OTHER_DEVICE, serial=SERIAL))


def test_self_signed_claim_of_the_serial_number_keeps_the_camera_from_nothing(tmp_path: Path) -> None:
    authority, kid, pem = authority_and_camera()
    with FarEnd(pem) as camera, FarEnd(self_signed()) as thief:
        says = Says((thief, (CAMERA,)), (camera, (CAMERA,)))
        made = enrolled(tmp_path, says, authority, lambda shown: shown == 2)
    assert (made.level, made.kid) == ("proved", kid)


def test_camera_is_looked_at_where_it_showed_its_key(tmp_path: Path) -> None:
    authority, kid, pem = authority_and_camera()
    with FarEnd(pem) as camera:
        made = enrolled(tmp_path, Says((camera, (THIEF, CAMERA))), authority, lambda shown: shown == 1)
    assert made.kid == kid


def test_none_but_a_self_signed_claim_is_told_as_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.app.enrolling.FIND_S", 3.0)
    authority, _, _ = authority_and_camera()
    with FarEnd(self_signed()) as thief, pytest.raises(ImpostorError, match="not issued by that vendor"):
        enrolled(tmp_path, Says((thief, (CAMERA,))), authority, lambda shown: shown == 1)
