"""From a complete file in the spool to its storage receipt noted, through mosquitto with TLS.

The clock runs from the rename that makes the file complete (inotify tells the agent, nothing settles) to the moment the
agent lists the object as uploaded: sealed, fsynced, committed, sent, received, hashed, fsynced and committed by the
store, its receipt signed, verified and committed. The store is ``device-sim cloud`` on the same machine, so its work
and the broker's are in the time. Memory is watched on trips of its own, because watching takes processor time that an
upload would have. Peers move the same bytes: ``dd`` with fsync, and a bare QoS 1 stream (``pipe.py``).
"""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any, Final

from agent.envelope import KIND
from tests.bench.meter import Peak, cpu_s, now_s, run
from tests.bench.station import WITHIN_S, ear
from tests.bench.table import MEGA, MIB, Figure, Peer
from tests.flow.house import House
from tests.waiting import until

PART: Final = "spool to storage receipt"
_MB_S: Final = 200
_PEAK_MIB: Final = 80
_BESIDE_BYTES: Final = 4 * MIB
_PACE_S: Final = 0.005
_STORED: Final = bytes([KIND["stored"]])


@dataclass(frozen=True, slots=True)
class _Trip:
    seconds: float
    agent_cpu_s: float
    cloud_cpu_s: float
    broker_cpu_s: float


def measure(folder: Path, *, quick: bool) -> list[Figure]:
    """Return speed and memory, alone and while other files are sealed."""
    size_bytes = (16 if quick else 256) * MIB
    content = folder / "clip"
    with content.open("wb") as file, Path("/dev/urandom").open("rb") as random:
        for _ in range(size_bytes // MIB):
            file.write(random.read(MIB))
    (folder / "house").mkdir()
    with House(folder / "house") as house:
        house.start_cloud()
        house.start_agent()
        _once(house, content, number=0)  # the first one loads what later ones have
        trips, copies, streams = [], [], []
        for number in range(1, 2 if quick else 8):
            trips.append(_once(house, content, number=number))
            copies.append(_copy(content, folder / "copy"))
            streams.append(_stream(house, content))
        with Peak(_pid(house, "agent")) as peak:
            for number in range(10, 11 if quick else 13):
                _once(house, content, number=number)
        with _sealing(house) as sealed:
            beside = [_once(house, content, number=number) for number in range(20, 21 if quick else 27)]
            sealed_mb = sealed[0] / MEGA
            with Peak(_pid(house, "agent")) as beside_peak:
                for number in range(30, 31 if quick else 33):
                    _once(house, content, number=number)
    size = f"{size_bytes // MIB} MiB"
    speed = size_bytes / MEGA / median(one.seconds for one in trips)
    beside_speed = size_bytes / MEGA / median(one.seconds for one in beside)
    copy = Peer("copy and fsync", size_bytes / MEGA / median(copies))
    stream = Peer("bare QoS 1 stream", size_bytes / MEGA / median(streams))
    return [
        Figure(
            part=PART, what=size, value=speed, unit="MB/s", target=f"≥ {_MB_S} MB/s", holds=speed >= _MB_S,
            peers=(stream, copy), note=_cpu(trips),
        ),
        Figure(
            part=PART, what=f"{size} while files are sealed", value=beside_speed, unit="MB/s",
            target=f"≥ {_MB_S} MB/s", holds=beside_speed >= _MB_S, peers=(stream, copy),
            note=f"{sealed_mb / sum(one.seconds for one in beside):.0f} MB/s sealed beside it; {_cpu(beside)}",
        ),
        _peak("peak memory", peak),
        _peak("peak memory while files are sealed", beside_peak),
    ]  # fmt: skip


def _peak(what: str, peak: Peak) -> Figure:
    return Figure(
        part=PART, what=what, value=peak.once_bytes / MIB, unit="MiB",
        target=f"≤ {_PEAK_MIB} MiB, shared pages once",
        holds=peak.once_bytes <= _PEAK_MIB * MIB,
        note=f"the agent's own peak and the largest other's, shared pages in each, {peak.resident_bytes / MIB:.0f} MiB",
    )  # fmt: skip


def _cpu(trips: list[_Trip]) -> str:
    return (
        f"processor time agent {median(one.agent_cpu_s for one in trips):.2f} s, "
        f"cloud {median(one.cloud_cpu_s for one in trips):.2f} s, "
        f"broker {median(one.broker_cpu_s for one in trips):.2f} s"
    )


def _pid(house: House, name: str) -> int:
    if name == "broker":
        assert house.broker is not None
        return house.broker.pid
    return house._processes[name].pid


def _once(house: House, content: Path, *, number: int) -> _Trip:
    folder = house.spool / "front_door" / "recording"
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{number}.part"
    with content.open("rb") as source, part.open("wb") as target:
        while block := source.read(MIB):
            target.write(block)
    run(["sync", part])  # a camera wrote it a while ago
    before = [cpu_s(_pid(house, name)) for name in ("agent", "cloud", "broker")]
    with ear(house, "upack") as listener:
        begin_s = now_s()
        part.rename(folder / f"2026-03-01T10-{number:02d}-00.000Z_30s.mp4")
        while listener.next()[2][:1] != _STORED:
            continue
        until(lambda: not _waiting(house), what="the receipt noted", pace_s=_PACE_S)
        seconds = now_s() - begin_s
    after = [cpu_s(_pid(house, name)) for name in ("agent", "cloud", "broker")]
    return _Trip(seconds, *(late - early for late, early in zip(after, before, strict=True)))


def _waiting(house: House) -> bool:
    """Ask the agent whether a recording is not yet noted as uploaded."""
    return any(one["state"] != "uploaded" for one in ask(house, "inventory", category="recording")["objects"])


def ask(house: House, verb: str, **args: str) -> Any:  # noqa: ANN401 - JSON
    """Ask the running agent over its local socket."""
    with socket.socket(socket.AF_UNIX) as line, line.makefile("rwb") as file:
        line.settimeout(WITHIN_S)
        line.connect(str(house.state / "control.sock"))
        file.write(json.dumps({"verb": verb, "args": args}).encode() + b"\n")
        file.flush()
        return json.loads(file.readline())["result"]


def _copy(content: Path, target: Path) -> float:
    cost = run(["dd", f"if={content}", f"of={target}", "bs=1M", "conv=fsync", "status=none"])
    target.unlink()
    return cost.wall_s


def _stream(house: House, content: Path) -> float:
    command = [sys.executable, "-m", "tests.bench.pipe"]
    rest = [house.url, str(house.folder / "tls" / "owner"), str(content)]
    with (
        subprocess.Popen([*command, "sink", *rest], stdout=subprocess.PIPE, text=True) as sink,
        subprocess.Popen([*command, "send", *rest], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as sender,
    ):
        assert sink.stdout is not None
        assert sender.stdin is not None
        assert sender.stdout is not None
        sink.stdout.readline()
        sender.stdout.readline()
        begin_s = now_s()
        sender.stdin.write("\n")
        sender.stdin.flush()
        said = sink.stdout.readline()
        seconds = now_s() - begin_s
        if said != "done\n":
            raise RuntimeError("the stream did not arrive")
    return seconds


@contextmanager
def _sealing(house: House) -> Iterator[list[int]]:
    """Keep a file waiting in the spool that is sealed and never uploaded; yields the bytes that were taken so far."""
    folder = house.spool / "garden" / "photo"
    folder.mkdir(parents=True, exist_ok=True)
    content = bytes(_BESIDE_BYTES)
    taken, stop = [0], threading.Event()

    def feed() -> None:
        for number in count():
            minute, second = divmod(number, 60)
            path = folder / f"2026-03-02T{minute // 60:02d}-{minute % 60:02d}-{second:02d}.000Z.jpg"
            part = path.with_suffix(".part")
            part.write_bytes(content)
            part.rename(path)
            while path.exists():
                if stop.wait(_PACE_S):
                    return
            taken[0] += _BESIDE_BYTES

    feeding = threading.Thread(target=feed)
    feeding.start()
    try:
        yield taken
    finally:
        stop.set()
        feeding.join()
