"""An index that is put back from before a word that stands is refused: else the device would know of no such word."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from agent import audit
from agent.app.parts import ANCHOR_PAUSE_MS, Parts
from agent.audit import Event
from agent.keystore import Keystore
from tests.app.station import Station
from tests.cli.conftest import Device
from tests.waiting import at_most, until


def index_of(device: Device, copy: Path) -> None:
    shutil.copy(device.state / "index.db", copy)


def put_back(device: Device, copy: Path) -> None:
    """Put an older index beside the newest keystore."""
    for log in ("index.db-wal", "index.db-shm"):
        (device.state / log).unlink(missing_ok=True)
    shutil.copy(copy, device.state / "index.db")


def roots(device: Device) -> list[str]:
    return [root.id for root in Keystore.open(device.state / "keystore", mend=False).roots()]


def restrict(device: Device, command: Path) -> None:
    assert device.owner("restrict", "--all", "--ground", "claims", "--out", command).code == 0


def track_no_more(device: Device, command: Path) -> None:
    assert device.owner("object", "--do-not-track", "on", "--out", command).code == 0


def trust_another(device: Device, keys: Path) -> None:
    assert device.owner("client", "grant", "Ada", "hold", "--out", keys).code == 0


def tighten(device: Device, command: Path) -> None:
    policy = command.with_name("tighter.toml")
    policy.write_text("version = 1\n")
    assert device.owner("policy", policy, "--yes", "--out", command).code == 0


def delete_what_is_to_come(device: Device, command: Path) -> None:
    """Delete a time of which nothing is here: all that is left of it is what must not be taken in."""
    assert device.owner("delete", "--from", "2020-01-01", "--to", "2021-01-01", "--yes", "--out", command).code == 0


@pytest.mark.parametrize("word", [restrict, track_no_more, trust_another, tighten, delete_what_is_to_come])
def test_index_from_before_a_word_is_refused_beside_the_newest_keystore(
    device: Device, tmp_path: Path, word: Callable[[Device, Path], None]
) -> None:
    held = device.take_in("front/a.mp4")
    copy, said = tmp_path / "index.db", tmp_path / "said"
    index_of(device, copy)
    word(device, said)
    ran = device.agent("submit", said)
    assert ran.code == 0, ran.err
    assert [item["id"] for item in device.ok("inventory", "--json").json["objects"]] == held
    put_back(device, copy)
    ran = device.agent("inventory")
    assert ran.code == 1
    assert "lacks root" in ran.err
    assert "next: " in ran.err


def test_index_of_an_hour_ago_is_believed_where_nobody_said_anything_since(device: Device, tmp_path: Path) -> None:
    held = device.take_in("front/a.mp4")
    copy = tmp_path / "index.db"
    index_of(device, copy)
    device.ok("status")
    put_back(device, copy)
    assert [item["id"] for item in device.ok("inventory", "--json").json["objects"]] == held


def test_agent_that_runs_changes_its_roots_soon_after_a_word(device: Device, tmp_path: Path) -> None:
    device.take_in("front/a.mp4")
    copy, said = tmp_path / "index.db", tmp_path / "said"
    index_of(device, copy)
    restrict(device, said)
    (before,) = roots(device)

    def say() -> None:
        assert device.agent("submit", said).code == 0
        until(lambda: before not in roots(device), what="another root in the place of the first")

    device.kill_running(say)
    put_back(device, copy)
    assert "lacks root" in device.agent("inventory").err


def test_words_that_come_one_after_the_other_share_a_change_of_roots_and_whoever_stops_leaves_none(
    tmp_path: Path,
) -> None:
    station = Station(tmp_path)

    async def say(parts: Parts) -> None:
        event = Event(kind="do_not_track", rule="on")
        await parts.index.write(lambda tx: audit.append(tx, event, moment=parts.now()))

    def root(parts: Parts) -> str:
        (only,) = parts.keystore.roots()
        return only.id

    async def live() -> tuple[list[str], list[bool]]:
        roots, owed = [], []
        async with station.parts() as parts:
            await parts.anchor_words()  # for what was said when the device was set up
            for pause_ms in (0, 0, ANCHOR_PAUSE_MS, 0):
                station.let_pass(pause_ms)
                await say(parts)
                await parts.anchor_words()
                roots.append(root(parts))
                owed.append(await parts.index.read(audit.unanchored))
        async with station.parts() as parts:
            roots.append(root(parts))
            owed.append(await parts.index.read(audit.unanchored))
        return roots, owed

    (first, second, third, fourth, last), owed = asyncio.run(live())
    assert first == second != third == fourth != last
    assert owed == [True, True, False, True, False]


def test_word_waits_for_no_delete_that_is_under_way(tmp_path: Path) -> None:
    """Whoever comes back every few seconds tells the service manager that the agent lives."""
    station = Station(tmp_path)

    async def live() -> list[bool]:
        async with station.parts() as parts:
            async with parts.erasure._lock, asyncio.timeout(at_most(60)):  # as a delete of many parts has it
                await parts.anchor_words()
            owed = [await parts.index.read(audit.unanchored)]
            await parts.anchor_words()
            return [*owed, await parts.index.read(audit.unanchored)]

    assert asyncio.run(live()) == [True, False]
