"""Killed anywhere on the way to unowned: it goes on there, and ends there, once (invariants I3, I4)."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.app.station import Station
from tests.farewell.dying import STEPS
from tests.farewell.leaver import Leaver, at_store, erase_all
from tests.farewell.leaving import contents_of
from tests.intake import take_in

ROOT = Path(__file__).parents[2]


@pytest.fixture
def station(tmp_path: Path) -> Station:
    """A device with two recordings, of one of which a store that never answers has a copy."""
    spool = tmp_path / "spool" / "front"
    spool.mkdir(parents=True)
    for name in ("a.mp4", "b.mp4"):
        (spool / name).write_bytes(name.encode() * 1000)
    made = Station(tmp_path, sources=f'[[source]]\nkind = "spool"\npath = "{spool.parent}"\nmedium = "disk"\n')
    made.config.file.write_text(
        f'device = "cam-01"\nstate = "state"\n[[source]]\nkind = "spool"\npath = "{spool.parent}"\nmedium = "disk"\n'
    )

    async def record() -> None:
        async with made.parts() as parts:
            await take_in(parts)
            one, _other = await parts.index.read(parts.vault.page)
            await parts.index.write(lambda tx: at_store(tx, parts, one.id, store=made.store.kid))

    asyncio.run(record())
    return made


@pytest.mark.promise("ACCOUNT-DELETE")
@pytest.mark.parametrize("step", STEPS)
def test_device_killed_at_any_step_ends_unowned_and_told_its_owner_once(station: Station, step: str) -> None:
    folder = station.config.file.parent
    command = folder / "erase-all.cmd"
    command.write_bytes(erase_all(station.client))
    private = station.client.private
    assert isinstance(private, Ed25519PrivateKey)
    words = (str(folder), private.private_bytes_raw().hex(), station.client.identity.to_text())
    died = subprocess.run(
        [sys.executable, "-m", "tests.farewell.dying", *words, str(command), step],
        cwd=ROOT, capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert died.returncode == -9, died.stderr.decode()

    again = Leaver(folder, station.client, station.reading)
    again.let_pass(86_400_000)
    unowned = [asyncio.run(again.leave(command.read_bytes())) for _ in range(2)]

    assert unowned[-1]
    assert set(contents_of(station.config.state)) == {"former.json", "lock"}
    if STEPS.index(step) < STEPS.index("7"):
        last = again.told[-1]
        assert (last["status"], last["farewell"]["phase"], last["farewell"]["cloud"]) == ("partial", 2, "unconfirmed")
    else:  # it was acknowledged before
        assert again.told == []
