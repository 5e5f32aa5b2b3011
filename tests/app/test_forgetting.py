"""What a delete of everything leaves: no label of a camera, unless something is held of it."""

import asyncio
from pathlib import Path

import pytest

from agent import registry
from tests.app.station import Station
from tests.app.test_verbs import keep


@pytest.mark.parametrize("held", [True, False])
def test_delete_of_everything_leaves_no_label_of_a_camera(tmp_path: Path, *, held: bool) -> None:
    """The labels outlived it, and with them how the rooms of a house are called."""
    station = Station(tmp_path)

    async def act() -> list[str]:
        async with station.parts() as parts:
            camera = await parts.index.write(lambda tx: registry.camera_id(tx, "spool", "nursery", moment=parts.now()))
            if held:
                await keep(parts, camera=camera)
            delete = station.command(station.client, "delete", select={"all": True})
            await parts.commands.submit(delete, moment=parts.now())
            await parts.commands.resume(parts.now())
            assert parts.index.read_now(parts.vault.page) == ()
            return [one.label for one in parts.index.read_now(registry.cameras)]

    assert asyncio.run(act()) == []


def test_delete_of_a_category_keeps_the_ids_of_cameras(tmp_path: Path) -> None:
    station = Station(tmp_path)

    async def act() -> list[str]:
        async with station.parts() as parts:
            camera = await parts.index.write(lambda tx: registry.camera_id(tx, "spool", "nursery", moment=parts.now()))
            await keep(parts, camera=camera)
            delete = station.command(station.client, "delete", select={"category": "recording"})
            await parts.commands.submit(delete, moment=parts.now())
            await parts.commands.resume(parts.now())
            return [one.label for one in parts.index.read_now(registry.cameras)]

    assert asyncio.run(act()) == ["nursery"]
