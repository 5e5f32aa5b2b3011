"""What a start looks for: a vault that was left in order has no left-overs, so nobody looks through a million files."""

import asyncio
import os
from pathlib import Path

import pytest

from agent.app.parts import Parts
from agent.model import new_id
from tests.app.station import Station
from tests.app.test_verbs import keep


class KilledError(Exception):
    pass


def left_over(station: Station, *, seen: bool) -> Path:
    """Put a file without a row into the payloads' folder, as if it had always been there unless ``seen``."""
    folder = station.config.vault / "objects"
    before_ns = folder.stat().st_mtime_ns
    path = folder / new_id()
    path.touch()
    os.utime(folder, ns=(before_ns, before_ns + int(seen)))
    return path


async def once(station: Station, *, killed: bool = False) -> None:
    parts = station.parts()
    await keep(await parts.__aenter__())
    error = KilledError() if killed else None  # then nothing of a stop is done, but another process may have the vault
    await parts.__aexit__(KilledError if killed else None, error, None)


@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize("seen", [False, True])
def test_folder_is_swept_after_a_kill_or_a_change_by_others_and_not_after_a_stop(
    tmp_path: Path, *, killed: bool, seen: bool
) -> None:
    station = Station(tmp_path)
    asyncio.run(once(station, killed=killed))
    path = left_over(station, seen=seen)

    async def start() -> bool:
        async with station.parts():
            return path.exists()

    assert asyncio.run(start()) is (not killed and not seen)


def test_word_of_a_stop_counts_for_one_start(tmp_path: Path) -> None:
    """Else a start that is killed before it changed the folder durably would leave its files there for ever."""
    station = Station(tmp_path)

    async def noted(parts: Parts) -> list[tuple[object, ...]]:
        return await parts.index.read(lambda tx: tx.execute("SELECT folder FROM left_clean"))

    async def act() -> None:
        await once(station)
        async with station.parts() as parts:
            assert await noted(parts) == []
        await once(station, killed=True)
        path = left_over(station, seen=False)
        async with station.parts():
            assert not path.exists()

    asyncio.run(act())


def test_stop_while_a_file_is_being_sealed_leaves_nothing_of_it(tmp_path: Path) -> None:
    station = Station(tmp_path)

    async def act() -> None:
        async with station.parts() as parts:
            fd, part = parts.vault.new_part()
            os.close(fd)
        assert not part.exists()
        path = left_over(station, seen=False)
        async with station.parts():
            assert path.exists()

    asyncio.run(act())


def test_payload_without_a_row_at_a_stop_is_swept_by_the_next_start(
    tmp_path: Path,
) -> None:
    station = Station(tmp_path)

    async def act() -> None:
        async with station.parts() as parts:
            fd, part = parts.vault.new_part()
            os.close(fd)
            await parts.vault.payloads.settle(part, new_id())
        async with station.parts() as parts:
            assert list(parts.vault.payloads.folder.iterdir()) == []

    asyncio.run(act())
