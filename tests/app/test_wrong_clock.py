"""What the policy keeps goes when it said, by the device's own time, whatever somebody sets the wall clock to."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from agent.app.running import _pass
from tests.app.station import Station
from tests.app.test_pass import live_of, untold
from tests.intake import take_in

DAY_MS = 86_400_000


@pytest.mark.promise("RETAIN")
@pytest.mark.parametrize("off_days", [1000, -1000], ids=["ahead", "back"])
def test_clock_that_is_set_ends_nothing_early_and_keeps_nothing_longer(tmp_path: Path, off_days: int) -> None:
    spool = tmp_path / "spool" / "front"
    spool.mkdir(parents=True)
    (spool / "a.mp4").write_bytes(b"x" * 1000)
    station = Station(tmp_path, sources=f'[[source]]\nkind = "spool"\npath = "{spool.parent}"\nmedium = "disk"\n')

    async def left() -> int:
        async with station.parts() as parts:
            await _pass(live_of(parts), untold, parts.now())
            await parts.erasure.resume(parts.now())
            await parts.index.write(parts.timeline.keep)
            return len(await parts.index.read(parts.vault.page))

    async def live() -> None:
        async with station.parts() as parts:
            await take_in(parts)
            await parts.index.write(parts.timeline.keep)
        station.reading = msgspec.structs.replace(
            station.reading, wall_ms=station.reading.wall_ms + off_days * DAY_MS, boot_ms=station.reading.boot_ms + 1000
        )
        held = [await left()]
        for _day in range(14):  # its policy keeps it for so many
            station.let_pass(DAY_MS)
            held.append(await left())
        assert held == [1] * 14 + [0]

    asyncio.run(live())
