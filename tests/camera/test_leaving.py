"""A camera that is forgotten is asked for nothing from the moment in which it is told so."""

import asyncio
from pathlib import Path

import pytest

from agent import enrolment
from agent.app.collecting import Collecting
from agent.app.leaving import leave
from agent.app.switching import Switches
from agent.camera.identity import Address
from agent.ingest import Ingest
from agent.sealer import Sealer
from agent.sources.candidate import MediumError
from tests.app.station import Station
from tests.camera.place import until
from tests.link_server.stand import Stand

LIMIT_S = 60.0


async def to_nobody(_camera: str, _at: Address | None) -> None:
    """Note nothing."""


def test_camera_that_is_being_forgotten_is_not_paired_with_again(tmp_path: Path) -> None:
    async def run(stand: Stand) -> None:
        device = stand.device
        async with Station(tmp_path / "agent").parts() as parts, asyncio.TaskGroup() as tasks, asyncio.timeout(LIMIT_S):
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
            ingest = Ingest(
                (),
                vault=parts.vault,
                sealer=sealer,
                policy=lambda: parts.policy,
                now=parts.now,
            )
            switches = Switches(parts)
            collecting = Collecting(parts, ingest, refused=to_nobody, met=to_nobody, switches=switches)
            running = tasks.create_task(collecting.run())
            await until(lambda: one.camera in collecting.said)  # it was asked, and its window is closed
            async with collecting.without(one.camera):
                assert await leave(parts, one, ()) == "not_paired"
                stand.do(device.open_setup)
                with pytest.raises(MediumError):
                    await collecting.tell(one.camera)
                await parts.index.write(lambda tx: enrolment.forget(tx, one.camera, moment=parts.now()))
            with pytest.raises(MediumError):
                await collecting.tell(one.camera)
            running.cancel()
            ingest.close()
            await sealer.aclose()
        assert not stand.do(lambda: device.agent)

    with Stand(tmp_path / "camera") as stand:
        asyncio.run(run(stand))
