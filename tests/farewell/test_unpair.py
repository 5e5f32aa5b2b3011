"""Cameras that are enrolled are told that their owner leaves: they record no more, and another agent may have them."""

import asyncio
from pathlib import Path

import pytest

from agent import enrolment
from agent.app.collecting import Collecting
from agent.app.switching import Switches
from agent.camera.identity import Address
from agent.ingest import Ingest
from agent.sealer import Sealer
from tests.app.station import Station
from tests.camera.place import until
from tests.farewell.leaver import erase_all
from tests.link_server.stand import Stand
from tests.waiting import at_most

LIMIT_S = 60.0


async def to_nobody(_camera: str, _at: Address | None) -> None:
    """Note nothing."""


@pytest.mark.promise("ACCOUNT-DELETE")
def test_enrolled_camera_is_unpaired_and_trusted_no_more(tmp_path: Path) -> None:
    async def run(stand: Stand) -> None:
        device, station = stand.device, Station(tmp_path / "agent")
        async with station.parts() as parts, asyncio.timeout(at_most(LIMIT_S)):
            one = await parts.index.write(
                lambda tx: enrolment.enrol(
                    tx,
                    level="proved",
                    device=device.id,
                    kid=device.identity.kid,
                    endpoint=f"127.0.0.1:{stand.port}",
                    moment=parts.now(),
                )
            )
            sealer = Sealer()
            ingest = Ingest((), vault=parts.vault, sealer=sealer, policy=lambda: parts.policy, now=parts.now)
            collecting = Collecting(parts, ingest, refused=to_nobody, met=to_nobody, switches=Switches(parts))
            stand.do(device.open_setup)
            async with asyncio.TaskGroup() as tasks:
                running = tasks.create_task(collecting.run())
                await until(lambda: bool(stand.do(lambda: device.agent)))  # it is paired

                async def end_collecting() -> None:
                    running.cancel()
                    await asyncio.wait((running,))

                parts.end_collecting = end_collecting
                told = await parts.commands.submit(erase_all(station.client), moment=parts.now())
            assert told.status == "done"
            assert await parts.index.read(enrolment.enrolled) == ()
            assert one.device == device.id
            ingest.close()
            await sealer.aclose()
        assert not stand.do(lambda: device.agent)

    with Stand(tmp_path / "camera") as stand:
        asyncio.run(run(stand))
