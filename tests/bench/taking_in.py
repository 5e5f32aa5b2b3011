"""Many small segments that are moved into the spool: how soon they are durable, and what of the disk each one takes.

From the first of the renames to the last row committed and source given up. Written bytes are what the agent and its
sealer gave to the file system (proc(5) ``io``, ``wchar``); syncs are counted by strace in a run of its own, because
counting slows. Peers take the same files: a copy with fsync each, and a row with the bytes and a commit each in a plain
SQLite file (``synchronous=FULL``).
"""

import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.bench.meter import cpu_s, family, io_of, now_s
from tests.bench.table import MEGA, Figure, Peer
from tests.bench.uploading import ask
from tests.flow.house import House
from tests.waiting import until

PART: Final = "many small files"
SEGMENT_BYTES: Final = 100 * 1024
_SYNC: Final = re.compile(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(fsync|fdatasync)$", re.MULTILINE)

_COPY: Final = """
import os
for name in os.listdir("from"):
    target = os.open("to-" + name, os.O_WRONLY | os.O_CREAT)
    with open(os.path.join("from", name), "rb") as source:
        os.write(target, source.read())
    os.fsync(target)
    os.close(target)
"""


def measure(folder: Path, *, quick: bool) -> list[Figure]:
    """Return speed, written bytes and syncs for each object."""
    count = 50 if quick else 1000
    seconds, written, used_s = _timed(folder / "timed", count)
    syncs = _syncs(folder / "counted", count)
    copied_s, inserted_s = _copied(folder / "copies", count), _inserted(folder / "rows", count)
    size = f"{count} x {SEGMENT_BYTES // 1024} KiB"
    return [
        Figure(
            part=PART, what=size, value=count / seconds, unit="objects/s",
            peers=(Peer("copy and fsync each", count / copied_s), Peer("SQLite, a commit each", count / inserted_s)),
            note=f"{count * SEGMENT_BYTES / MEGA / seconds:.0f} MB/s, {used_s / count * 1000:.2f} ms of processor each",
        ),
        Figure(part=PART, what="written for each", value=written / count / SEGMENT_BYTES, unit="x its size"),
        Figure(
            part=PART, what="syncs for each", value=syncs / count, unit="fsync or fdatasync",
            peers=(Peer("copy and fsync each", 1.0), Peer("SQLite, a commit each", 1.0)),
            note="its payload's, and shares of folder and commit",
        ),
    ]  # fmt: skip


def _timed(folder: Path, count: int) -> tuple[float, int, float]:
    folder.mkdir()
    with House(folder) as house:
        house.start_agent()
        pid = house._processes["agent"].pid
        _fill(house.folder / "waiting", count)
        spool = _spool(house)
        before, before_s = _written(pid), cpu_s(pid)
        begin_s = now_s()
        _move(house.folder / "waiting", spool)
        seconds = _until_taken(house, count, begin_s)
        return seconds, _written(pid) - before, cpu_s(pid) - before_s


def _syncs(folder: Path, count: int) -> int:
    folder.mkdir()
    with House(folder) as house:
        house.start_agent()
        summary, pid = folder / "calls", house._processes["agent"].pid
        with subprocess.Popen(
            ["strace", "-f", "-c", "-e", "trace=fsync,fdatasync", "-o", summary, "-p", str(pid)],
            stderr=subprocess.PIPE, text=True,
        ) as tracer:  # fmt: skip
            assert tracer.stderr is not None
            tracer.stderr.readline()  # attached
            _fill(house.folder / "waiting", count)
            _move(house.folder / "waiting", _spool(house))
            _until_taken(house, count, now_s())
            tracer.terminate()
        return sum(int(calls) for calls, _name in _SYNC.findall(summary.read_text()))


def _spool(house: House) -> Path:
    """Make the folder and let the agent find it: files that come later are complete when they are moved in."""
    folder = house.spool / "garden" / "photo"
    folder.mkdir(parents=True)
    first = folder / "2026-02-28T10-00-00.000Z.jpg"
    first.write_bytes(b"\xff\xd8\xff")
    until(lambda: ask(house, "status")["held"]["objects"] == 1, what="the folder found")
    return folder


def _move(source: Path, target: Path) -> None:
    for path in sorted(source.iterdir()):
        path.rename(target / path.name)


def _until_taken(house: House, count: int, begin_s: float) -> float:
    folder = house.spool / "garden" / "photo"

    def taken() -> bool:
        return not any(folder.iterdir()) and ask(house, "status")["held"]["objects"] > count

    until(taken, what="all taken in", within_s=300)
    return now_s() - begin_s


def _written(pid: int) -> int:
    return sum(io_of(one)["wchar"] for one in family(pid))


def _fill(folder: Path, count: int) -> None:
    folder.mkdir()
    for number in range(count):
        minute, second = divmod(number, 60)
        name = f"2026-03-01T{10 + minute // 60:02d}-{minute % 60:02d}-{second:02d}.000Z.jpg"
        (folder / name).write_bytes(os.urandom(SEGMENT_BYTES))


def _copied(folder: Path, count: int) -> float:
    folder.mkdir()
    _fill(folder / "from", count)
    begin_s = now_s()
    subprocess.run([sys.executable, "-I", "-S", "-c", _COPY], cwd=folder, check=True)
    return now_s() - begin_s


def _inserted(folder: Path, count: int) -> float:
    folder.mkdir()
    _fill(folder / "from", count)
    database = sqlite3.connect(folder / "plain.sqlite3")
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE object (name TEXT PRIMARY KEY, content BLOB)")
    begin_s = now_s()
    for path in (folder / "from").iterdir():
        with database:
            database.execute("INSERT INTO object VALUES (?, ?)", (path.name, path.read_bytes()))
    seconds = now_s() - begin_s
    database.close()
    return seconds
