"""A signed time is part of its command: true when the receipt is, and only then.

It was set in memory alone, so a cut within a minute left a receipt that said done and a clock that was unsure again.
"""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.clock import rfc3339_ms
from agent.errors import SpaceError
from agent.index import Index, Tx
from agent.model import Moment
from agent.rights import freezing
from agent.timeline import Timeline
from tests.app.station import START_S, Station
from tests.time.test_timeline import DAY, START, reading


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    made = Index(tmp_path / "index.db", key=bytes(32))
    yield made
    made.close()


def unsure(index: Index) -> Timeline:
    line = Timeline()
    line.look(reading(START, 1000, synchronised=False))
    index.write_now(line.keep)
    return line


def test_power_cut_after_the_receipt_leaves_the_signed_time(tmp_path: Path) -> None:
    station = Station(tmp_path, synchronised=False)

    async def live() -> tuple[Moment, Timeline]:
        async with station.parts() as parts:
            assert not parts.now().trusted
            await parts.commands.submit(
                station.command(station.clock, "time", now=START_S + 600, iat_s=START_S + 600), moment=parts.now()
            )
            return parts.now(), parts.index.read_now(Timeline.load)  # what stands there if power fails here

    told, kept = asyncio.run(live())
    assert told.trusted
    station.let_pass(5000)
    later = kept.look(station.read_clock())
    assert later.trusted
    assert later.agent_ms == (START_S + 605) * 1000


def test_signed_time_whose_write_is_rolled_back_was_never_told(index: Index) -> None:
    line = unsure(index)

    def full(tx: Tx) -> None:
        line.sign_in(tx, reading(0, 2000, synchronised=False), now_ms=START + 9 * DAY)
        raise SpaceError("the disk is full")

    with pytest.raises(SpaceError):
        index.write_now(full)
    assert line.look(reading(0, 3000, synchronised=False)) == Moment(agent_ms=START + 2000, wall_ms=0, trusted=False)
    assert not index.read_now(Timeline.load).look(reading(0, 3000, synchronised=False)).trusted


def test_clock_is_set_when_the_write_returns(index: Index) -> None:
    line = unsure(index)
    index.write_now(lambda tx: line.sign_in(tx, reading(0, 2000, synchronised=False), now_ms=START + 9 * DAY))
    told = line.look(reading(0, 12_000, synchronised=False))
    assert told == Moment(agent_ms=START + 9 * DAY + 10_000, wall_ms=0, trusted=True)


def test_floor_that_is_kept_in_the_same_commit_undoes_no_signed_time(index: Index) -> None:
    line = unsure(index)
    go = threading.Event()

    def hold(_tx: Tx) -> None:
        go.wait()

    def sign(tx: Tx) -> None:
        line.sign_in(tx, reading(0, 2000, synchronised=False), now_ms=START + 9 * DAY)

    together = [index._submit("write", write) for write in (hold, sign, line.keep)]
    go.set()
    for written in together:
        written.result()
    assert index.read_now(Timeline.load).look(reading(0, 2000, synchronised=False)).trusted


def test_look_between_the_signing_and_its_commit_is_not_run_behind_nor_counted_twice(index: Index) -> None:
    line = Timeline()
    line.look(reading(START, 1000))
    seen: list[Moment] = []

    def sign(tx: Tx) -> None:
        line.sign_in(tx, reading(START + 1000, 2000), now_ms=START + 1000)
        seen.append(line.look(reading(START + 64_000, 60_000)))  # as another thread may, before the commit

    index.write_now(sign)
    after = line.look(reading(START + 65_000, 61_000))
    assert after.agent_ms == seen[0].agent_ms + 1000


def test_look_between_the_signing_and_its_commit_counts_on_from_the_signed_time(index: Index) -> None:
    line = unsure(index)

    def sign(tx: Tx) -> None:
        line.sign_in(tx, reading(0, 2000, synchronised=False), now_ms=START + 9 * DAY)
        line.look(reading(0, 60_000, synchronised=False))  # as another thread may, before the commit

    index.write_now(sign)
    after = line.look(reading(0, 61_000, synchronised=False))
    assert after == Moment(agent_ms=START + 9 * DAY + 59_000, wall_ms=0, trusted=True)


def test_floor_that_is_kept_is_where_the_next_start_begins(index: Index) -> None:
    line = unsure(index)
    line.look(reading(0, 61_000, synchronised=False))
    index.write_now(line.keep)
    line.look(reading(0, 90_000, synchronised=False))
    assert index.read_now(Timeline.load).look(reading(0, 5, boot="two", synchronised=False)).agent_ms == START + 60_000
    index.write_now(index.read_now(Timeline.load).keep)
    behind = Timeline()
    behind.look(reading(START - DAY, 0, boot="two", synchronised=False))
    index.write_now(behind.keep)
    assert index.read_now(Timeline.load).look(reading(0, 5, boot="two", synchronised=False)).agent_ms == START + 60_000


def test_key_for_the_time_that_lies_ends_no_hold_and_stops_no_owner(tmp_path: Path) -> None:
    # Four commands, each within its exp and the next one's iat within that, were done; and the owner was too late.
    station = Station(tmp_path)
    month_s = 31 * 86_400

    async def live() -> tuple[list[str], str]:
        async with station.parts() as parts:
            await parts.commands.submit(held_for(station, days=89), moment=parts.now())
            told = []
            for turn in range(4):
                iat_s = START_S + turn * month_s
                lie = station.command(station.clock, "time", now=iat_s + month_s - 1, iat_s=iat_s, exp=iat_s + month_s)
                told.append((await parts.commands.submit(lie, moment=parts.now())).status)
            await parts.end_holds()
            assert len((await parts.index.read(freezing.standing)).holds) == 1
            word = station.command(station.client, "inventory", select={"all": True})
            return told, (await parts.commands.submit(word, moment=parts.now())).status

    told, of_owner = asyncio.run(live())
    assert set(told) == {"refused"}
    assert of_owner == "done"


def held_for(station: Station, *, days: int) -> bytes:
    until = rfc3339_ms((START_S + days * 86_400) * 1000)
    return station.command(station.client, "hold", select={"all": True}, reason="court", until=until)
