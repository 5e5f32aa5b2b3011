"""What is asked of the agent all day, in a vault of a thousand, of 32 thousand and of a million objects.

The vaults are made by the benchmark itself (``filled.py``): the rows, slots, headers, audit log and files that as many
recordings would have left, without their way there. Each is asked the same, just behind an empty vault: a start after
an orderly stop and one after SIGKILL, until the retained ``state`` message arrived; files moved into the spool one at a
time, from the rename to the moment that the source is given up; a retention pass with nothing due, in this process,
with the agent stopped; deletes of one object, from the command on its way to the signed receipt at an MQTT client, each
of another part of the vault. Then one command deletes all of one camera of ten, whose recordings lie among those of the
others, so that every group of keys has some of it and is written anew; its sender gets progress, and meanwhile asks for
an inventory of one object again and again. Memory is the highest of the agent and all that it started, shared pages
counted once; beside it stand the agent's own peak and that of the largest that it started added up (``VmHWM``).
The peer is a plain SQLite file with rows of the same values and size and their indexes (WAL, ``synchronous=FULL``, a
commit for each insert and each delete, and for each 500 of the many): no encryption, no proof, no files.
"""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Final

from agent.app.parts import opened
from agent.clock import system_clock
from agent.config import read_config
from agent.model import Selection
from agent.owner import command as requests
from agent.owner.receipt import Receipt
from tests.bench.asking import Owner
from tests.bench.filled import Filled, fill
from tests.bench.meter import Peak, now_s
from tests.bench.near import let_pass
from tests.bench.plain_rows import PlainRows
from tests.bench.station import Ear, cmd_topic, ear, start
from tests.bench.table import MEGA, Figure, Peer
from tests.flow.house import House
from tests.waiting import until

PART: Final = "scale"
_SIZES: Final = (1_000, 32_000, 1_000_000)
_CAMERAS: Final = tuple(f"camera-{number}" for number in range(10))
_START_S: Final = 2.0
_INGEST_FACTOR: Final = 1.5
_PASS_S: Final = 1.0
_DELETE_MS: Final = 50
_RSS_MB: Final = 96
_MANY_WITHIN_S: Final = 600.0
_BESIDE_MAX: Final = 2_000
_PAUSE_S: Final = 0.2


@dataclass
class _Asked:
    """What one vault answered; times in milliseconds."""

    objects: int
    start_ms: list[float] = field(default_factory=list)
    start_killed_ms: float = 0.0
    ingest_ms: list[float] = field(default_factory=list)
    pass_ms: list[float] = field(default_factory=list)
    delete_ms: list[float] = field(default_factory=list)
    many: int = 0
    many_s: float = 0.0
    progress: int = 0
    beside_ms: list[float] = field(default_factory=list)
    peak_bytes: int = 0
    peaks_bytes: int = 0
    plain: PlainRows | None = None


def measure(folder: Path, *, quick: bool) -> list[Figure]:
    """Return the figures of each size."""
    sizes = (100, 2_000) if quick else _SIZES
    asked: list[tuple[_Asked, _Asked]] = []
    for size in sizes:  # each behind an empty vault of its own, so that a machine that becomes slower falls on both
        empty = _ask(folder / f"empty-before-{size}", 0, quick=quick)
        asked.append((empty, _ask(folder / str(size), size, quick=quick)))
    return list(_figures(asked))


def _ask(folder: Path, size: int, *, quick: bool) -> _Asked:
    rounds, ingested, deleted = (1, 10, 5) if quick else (5, 300, 100)
    found = _Asked(size)
    (folder / "house").mkdir(parents=True)
    with House(folder / "house") as house:
        recipient = json.loads((house.home / "owner.pub").read_text().splitlines()[0])["recipient"]
        filled = Filled([], [])
        if size:
            now_ms = system_clock(source="system")().wall_ms
            filled = fill(house.state, size, recipients=[recipient], cameras=_CAMERAS, now_ms=now_ms)
            found.plain = PlainRows(folder / "plain.sqlite3", size)
        owner = Owner(house.home)
        with ear(house, "state", name="state") as state, ear(house, f"rcpt/{owner.me.kid}") as receipts:
            start(house, state)  # the first one has the folder to sweep, and takes the policy up
            house.stop("agent")
            for _ in range(rounds):
                found.start_ms.append(start(house, state)[0] * 1000)
                house.stop("agent")
            start(house, state)
            with Peak(house.process("agent").pid) as peak:
                found.ingest_ms = list(_taken_in(house, ingested))
                if size:
                    found.delete_ms = _delete_ones(owner, receipts, filled, deleted)
                    _delete_many(owner, receipts, filled, found)
            found.peak_bytes, found.peaks_bytes = peak.once_bytes, peak.resident_bytes
            house.kill("agent")
            found.start_killed_ms = start(house, state)[0] * 1000
            house.stop("agent")
            found.pass_ms = asyncio.run(_passes(house, rounds))
        if found.plain is not None:
            found.plain.measure(inserts=ingested, deletes=deleted)
    return found


def _taken_in(house: House, count: int) -> Iterator[float]:
    """Move files in, one after the other, as a camera does."""
    waiting, spool = house.folder / "waiting", house.spool / "camera-0" / "photo"
    for one in (waiting, spool):
        one.mkdir(parents=True)
    for number in range(-3, count):
        minute, second = divmod(number + 3, 60)
        path = waiting / f"2026-03-01T{10 + minute // 60:02d}-{minute % 60:02d}-{second:02d}.000Z.jpg"
        path.write_bytes(b"\xff\xd8\xff" + number.to_bytes(4, "big", signed=True) * 500)
        target = spool / path.name
        begin_s = now_s()
        path.rename(target)
        until(lambda target=target: not target.exists(), what=f"{target.name} taken in", pace_s=0.0005)  # type: ignore[misc] # the lambda is of one round
        if number >= 0:  # the first ones let the folder be found and the sealing process start
            yield (now_s() - begin_s) * 1000


def _delete_ones(owner: Owner, listener: Ear, filled: Filled, count: int) -> list[float]:
    chosen = filled.objects[1 :: max(1, len(filled.objects) // count)][:count]
    own = [{"select": requests.as_claim(Selection(ids=(one,)))} for one in chosen]
    return owner.ask_all(listener, "delete", own)


def _delete_many(owner: Owner, listener: Ear, filled: Filled, found: _Asked) -> None:
    """Delete all of the last camera, and ask for something else all the while."""
    (many,) = owner.sign_all("delete", [{"select": requests.as_claim(Selection(camera=filled.cameras[-1]))}])
    one = {"select": requests.as_claim(Selection(ids=(filled.objects[0],)))}
    beside = iter(owner.sign_all("inventory", [one] * _BESIDE_MAX))
    told: list[tuple[float, Receipt]] = []

    def of_many(came_s: float, receipt: Receipt) -> None:
        if receipt.cmd == many.jti:
            told.append((came_s, receipt))

    begin_s = listener.send(cmd_topic(), many.payload)
    end_s = begin_s + _MANY_WITHIN_S
    while not (told and told[-1][1].terminal):
        if now_s() > end_s:
            raise RuntimeError(f"the delete of one camera's is not done: {told[-1][1].status if told else 'unheard'}")
        found.beside_ms.append(owner.ask(listener, next(beside), others=of_many))
        let_pass(_PAUSE_S)
    last_s, last = told[-1]
    if last.status != "done" or last.selection is None:
        raise RuntimeError(f"the delete of one camera's ended {last.status} {last.reason}")
    found.many, found.many_s = last.selection.count, last_s - begin_s
    found.progress = sum(receipt.status == "in_progress" for _, receipt in told)
    owner.acknowledge(listener, last)


async def _passes(house: House, rounds: int) -> list[float]:
    """Run retention passes as the agent does, where nothing is due."""
    took: list[float] = []
    async with opened(read_config(house.config), read_clock=system_clock(source="system")) as parts:
        for _ in range(rounds + 1):
            begin_s = now_s()
            passed = await parts.retention.run_pass(parts.now(), parts.disk())
            took.append((now_s() - begin_s) * 1000)
            if passed.count or passed.waiting:
                raise RuntimeError("something was due")
    return took[1:]


def _figures(asked: list[tuple[_Asked, _Asked]]) -> Iterator[Figure]:
    _, first = asked[0]
    for empty, one in asked:
        base_ms, plain = _p99(empty.ingest_ms), one.plain
        assert plain is not None
        name = f"{one.objects:,} objects"
        yield Figure(
            part=PART, what=f"{name}, start, median of {len(one.start_ms)}", value=median(one.start_ms), unit="ms",
            target=f"≤ {_START_S * 1000:.0f} ms", holds=median(one.start_ms) <= _START_S * 1000,
            peers=(Peer("of an empty vault", median(empty.start_ms)),),
            note=f"{one.start_killed_ms:,.0f} ms after SIGKILL, when each file is looked for in the index",
        )  # fmt: skip
        yield Figure(
            part=PART, what=f"{name}, one file taken in, 99th percentile", value=_p99(one.ingest_ms), unit="ms",
            target=f"≤ {_INGEST_FACTOR} x an empty vault", holds=_p99(one.ingest_ms) <= _INGEST_FACTOR * base_ms,
            peers=(Peer("of an empty vault", base_ms), Peer("SQLite, insert, 99th", _p99(plain.insert_ms))),
            note=f"median {median(one.ingest_ms):.1f} ms, of an empty vault {median(empty.ingest_ms):.1f} ms",
        )  # fmt: skip
        yield Figure(
            part=PART, what=f"{name}, a retention pass, nothing due", value=median(one.pass_ms), unit="ms",
            target=f"< {_PASS_S * 1000:.0f} ms", holds=max(one.pass_ms) < _PASS_S * 1000,
            note=f"slowest {max(one.pass_ms):.1f} ms",
        )  # fmt: skip
        yield Figure(
            part=PART, what=f"{name}, delete of one with its receipt, median of {len(one.delete_ms)}",
            value=median(one.delete_ms), unit="ms", target=f"< {_DELETE_MS} ms",
            holds=median(one.delete_ms) < _DELETE_MS,
            peers=(
                Peer(f"of {first.objects:,}", median(first.delete_ms)),
                Peer("SQLite, delete", median(plain.delete_ms)),
            ),
            note=f"99th percentile {_p99(one.delete_ms):.1f} ms",
        )  # fmt: skip
        yield from _of_many(one, name, plain)


def _of_many(one: _Asked, name: str, plain: PlainRows) -> Iterator[Figure]:
    yield Figure(
        part=PART, what=f"{name}, delete of {one.many:,} among them by one command", value=one.many_s, unit="s",
        peers=(Peer("SQLite, 500 a commit", plain.many_s),),
        note=f"{one.many / one.many_s:,.0f} a second; {one.progress} receipts of progress",
    )  # fmt: skip
    yield Figure(
        part=PART, what=f"{name}, an inventory of one meanwhile, median of {len(one.beside_ms)}",
        value=median(one.beside_ms), unit="ms", note=f"slowest {max(one.beside_ms):,.0f} ms",
    )  # fmt: skip
    yield Figure(
        part=PART, what=f"{name}, peak memory through all of it", value=one.peak_bytes / MEGA, unit="MB",
        target=f"< {_RSS_MB} MB", holds=one.peak_bytes < _RSS_MB * MEGA,
        note=f"the agent's own peak and the largest other's, shared pages in each, {one.peaks_bytes / MEGA:.0f} MB",
    )  # fmt: skip


def _p99(found: list[float]) -> float:
    return quantiles(found, n=100)[98]
