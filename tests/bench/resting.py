"""The agent at rest: connected, one spool folder, discovery off, nothing to do; and how soon it is there.

Memory is PSS over all its processes. Processor time is what the kernel counted over the whole window, timers and the
keepalive included. A start is timed from before the process exists to the arrival of its retained ``state`` message at
another client of the same broker, so TLS, subscriptions and a signature are in it.
"""

import sys
from pathlib import Path
from statistics import median
from typing import Final

from tests.bench.meter import cpu_s, in_turn, now_s, pss_bytes, resident_bytes, run
from tests.bench.station import Ear, ear, started
from tests.bench.table import MEGA, Figure, Peer
from tests.flow.house import House
from tests.waiting import until

PART: Final = "at rest"
_PSS_MB: Final = 46
_CPU_PERCENT: Final = 0.2
_START_S: Final = 0.4


def measure(folder: Path, *, quick: bool) -> list[Figure]:
    """Return memory, processor share and the time of a start."""
    (folder / "house").mkdir()
    with House(folder / "house") as house, ear(house, "state") as listener:
        starts = [started(house, listener) for _ in range(2 if quick else 9)]
        house.start_agent()
        pid = house._processes["agent"].pid
        window_s = 5 if quick else 60
        until(lambda: not _busy(pid), what="the agent at rest", within_s=30)
        before_s, begin_s = cpu_s(pid), now_s()
        _let_pass(listener, window_s)
        share = 100 * (cpu_s(pid) - before_s) / (now_s() - begin_s)
        share_bytes, whole_bytes = pss_bytes(pid), resident_bytes(pid)
        broker = pss_bytes(house.broker.pid) if house.broker is not None else 0
    bare = in_turn({"python": lambda: run([sys.executable, "-I", "-c", "pass"])}, rounds=3 if quick else 9)["python"]
    return [
        Figure(
            part=PART, what="memory (PSS)", value=share_bytes / MEGA, unit="MB", target=f"≤ {_PSS_MB} MB",
            holds=share_bytes <= _PSS_MB * MEGA,
            peers=(Peer("mosquitto", broker / MEGA), Peer("bare Python", bare.peak_bytes / MEGA)),
            note=f"{whole_bytes / MEGA:.1f} MB with what other programs share",
        ),
        Figure(
            part=PART, what=f"processor over {window_s} s", value=share, unit="% of a core",
            target=f"< {_CPU_PERCENT} %", holds=share < _CPU_PERCENT, note="the kernel counts in steps of 10 ms",
        ),
        Figure(
            part=PART, what="start to connected, median", value=median(one[0] for one in starts) * 1000, unit="ms",
            target=f"< {_START_S * 1000:.0f} ms", holds=median(one[0] for one in starts) < _START_S,
            peers=(Peer("bare Python", bare.wall_s * 1000),),
            note=f"processor time {median(one[1] for one in starts):.2f} s; {len(starts)} starts",
        ),
    ]  # fmt: skip


def _busy(pid: int) -> bool:
    before_s = cpu_s(pid)
    until_s = now_s() + 1
    until(lambda: now_s() > until_s, what="a second")
    return cpu_s(pid) - before_s > 0.01


def _let_pass(listener: Ear, seconds: float) -> None:
    end_s = now_s() + seconds
    until(lambda: now_s() > end_s, what="the window", within_s=seconds + 10)
    listener.empty()
