"""A signed time is part of its command: true when the receipt is, and only then.

It was set in memory alone, so a cut within a minute left a receipt that said done and a clock that was unsure again.
"""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.errors import SpaceError
from agent.index import Index, Tx
from agent.model import Moment
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
