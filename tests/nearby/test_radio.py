"""A camera near by Bluetooth is joined to the enrolled one once both proved themselves.

The radio is a process in a network namespace of its own; the agent's side is what ``[discovery]`` makes of it, whole.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Self

import msgspec
import pytest

from agent import audit, enrolment
from agent.app.nearby import assembled, discoverers
from agent.camera.identity import LinkIdentity
from agent.clock import system_clock
from agent.config import DiscoverySettings
from agent.envelope import private_key_from_pem, public_jwk, thumbprint
from agent.index import Tx
from agent.model import Moment
from agent.nearby.flow import Nearby
from agent.nearby.inventory import Row
from agent.nearby.judging import Impostor, Same
from tests.ble.radio import Near, Radio
from tests.store.home import NOW, Home
from tests.waiting import at_most

pytestmark = [pytest.mark.promise("FIND-BLE"), pytest.mark.promise("FIND-AUTH")]

PATIENCE_S = 60.0
DEVICES = ("abcdefgh234567xy", "bcdefgh234567xyz")


class Here:
    """A device with its index, and the radio that its cameras are near on."""

    def __init__(self, folder: Path, *, cameras: int) -> None:
        self.home = Home(folder / "home")
        self.identity: LinkIdentity = self.home.index.write_now(lambda tx: enrolment.link_identity(tx, moment=NOW))
        kid = thumbprint(public_jwk(private_key_from_pem(self.identity.key_pem)))
        self.radio = Radio(f"--agent={kid}", f"--cameras={cameras}")

    def __enter__(self) -> Self:
        self.radio.begin()
        return self

    def __exit__(self, *_: object) -> None:
        self.radio.end()
        self.home.close()

    def enrol(self, near: Near, *, device: str = DEVICES[0], kid: str = "") -> str:
        """Enrol a camera and keep its advert key; with another ``kid`` than its own, what it advertises is a copy."""

        def write(tx: Tx) -> str:
            made = enrolment.enrol(tx, level="proved", device=device, kid=kid or near.kid, moment=NOW)
            enrolment.pair(tx, made.camera, advert_key=near.advert_key, moment=NOW)
            return made.camera

        return self.home.index.write_now(write)

    def verdicts(self, found: Callable[[dict[str, Row]], bool]) -> Nearby:
        """Listen until what was heard, by address, is as wanted."""
        read_clock = system_clock()

        def now() -> Moment:
            wall_ms = read_clock().wall_ms
            return Moment(agent_ms=wall_ms, wall_ms=wall_ms, trusted=True)

        async def listen() -> Nearby:
            ways = discoverers(DiscoverySettings(ways=("ble",)), read_clock=read_clock)
            nearby = assembled(ways, identity=self.identity, index=self.home.index, now=now)
            async with asyncio.TaskGroup() as tasks, asyncio.timeout(at_most(PATIENCE_S)):
                task = tasks.create_task(nearby.run())
                while not found({row.sighting.key: row for row in nearby.inventory.rows()}):
                    await nearby.next_change(within_s=1.0)
                task.cancel()
            return nearby

        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DBUS_SYSTEM_BUS_ADDRESS", self.radio.bus)
            return asyncio.run(listen())

    def refusals(self) -> list[tuple[str, str]]:
        lines = self.home.index.read_now(lambda tx: audit.entries(tx, 0)[1])
        told = [msgspec.json.decode(line) for line in lines]
        return [(one["detail"]["camera"], one["rule"]) for one in told if one.get("kind") == "camera_refused"]


def test_enrolled_camera_proves_itself_and_tells_what_it_is_doing(tmp_path: Path) -> None:
    with Here(tmp_path, cameras=2) as here:
        camera, other = here.radio.cameras
        enrolled = here.enrol(camera)
        nearby = here.verdicts(
            lambda rows: (
                {camera.address, other.address} <= rows.keys() and rows[camera.address].verdict == Same(enrolled)
            )
        )
        (known, stranger) = nearby.devices()
        assert known.camera is not None
        assert known.camera.camera == enrolled
        assert known.rows[0].met is not None
        assert known.rows[0].met.state["recording"] is camera.state["recording"]
        assert stranger.camera is None
        assert stranger.rows[0].verdict is None, "it announces nobody's id, and is not connected to"
        assert here.refusals() == []


@pytest.mark.parametrize("kind", ["copy", "replay"])
def test_copied_advert_is_refused_and_the_camera_beside_it_is_known(tmp_path: Path, kind: str) -> None:
    with Here(tmp_path, cameras=1) as here:
        camera = here.radio.camera
        enrolled = here.enrol(camera)
        thief = here.radio.do(f"impostor {kind} 0")["address"]
        nearby = here.verdicts(
            lambda rows: (
                {camera.address, thief} <= rows.keys()
                and rows[camera.address].verdict == Same(enrolled)
                and rows[thief].verdict == Impostor(enrolled, "failed_proof")
                and here.refusals() != []  # written down behind the verdict
            )
        )
        assert [row.sighting.key for row in nearby.inventory.rows_of(enrolled)] == [camera.address]
        assert here.refusals() == [(enrolled, "failed_proof")]


def test_thief_of_the_advert_key_is_not_the_camera(tmp_path: Path) -> None:
    """It has to answer with another key, or not at all: either way nothing that it says is kept."""
    with Here(tmp_path, cameras=1) as here:
        enrolled = here.enrol(here.radio.camera)
        thief = here.radio.do("impostor other-key 0")["address"]
        nearby = here.verdicts(lambda rows: thief in rows and rows[thief].checked_ms is not None)
        row = next(row for row in nearby.inventory.rows() if row.sighting.key == thief)
        assert row.verdict != Same(enrolled)
        assert row.met is None
