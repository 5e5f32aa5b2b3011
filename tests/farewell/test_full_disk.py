"""An owner leaves a device whose disk has not one byte free: all is erased, answered and forgotten all the same."""

import asyncio
import os
from pathlib import Path

from tests.app.station import Station
from tests.disk import as_root, fill, small_disk
from tests.farewell.leaver import Leaver, erase_all
from tests.farewell.leaving import contents_of
from tests.intake import take_in


@as_root
def test_owner_leaves_a_device_without_a_byte_free(tmp_path: Path) -> None:
    spool = tmp_path / "spool" / "front"
    spool.mkdir(parents=True)
    with small_disk(tmp_path / "device", size="48m") as folder:
        source = f'[[source]]\nkind = "spool"\npath = "{spool.parent}"\nmedium = "disk"\n'
        station = Station(folder, sources=source)
        station.config.file.write_text(f'device = "cam-01"\nstate = "state"\n{source}')
        for name in ("a.mp4", "b.mp4"):
            (spool / name).write_bytes(name.encode() * 20_000)

        async def record() -> None:
            async with station.parts() as parts:
                await take_in(parts)
                assert len(await parts.index.read(parts.vault.page)) == 2

        asyncio.run(record())
        fill(folder / "eaten")
        assert os.statvfs(folder).f_bavail == 0
        leaver = Leaver(folder, station.client, station.reading)
        command = erase_all(station.client)
        ended = [asyncio.run(leaver.leave(command)) for _ in range(2)]
        assert ended[-1], "it has no owner any more"
        assert leaver.told[-1]["status"] == "done"
        assert set(contents_of(station.config.state)) == {"former.json", "lock"}
