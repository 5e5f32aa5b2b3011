"""From the start of whoever listens to the first word of a camera over Bluetooth LE; and what changing addresses cost.

``device-sim ble`` stands in for bluetoothd and for the radio, in a process of its own: D-Bus and bleak are real, the
air is not. A start is timed from before the listening process exists. The flood is devices with addresses of their own,
paced (some thousand a second: faster ends the double's connection), removed by the double two seconds after they were
heard, where BlueZ takes thirty; a camera comes near right after the last. Memory is PSS, of the listening process.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Final

from tests.bench.meter import now_s, pss_bytes
from tests.bench.table import MEGA, Figure
from tests.ble.radio import Radio
from tests.discovery.scene import Ears
from tests.waiting import until

PART: Final = "cameras over Bluetooth"
_START_S: Final = 1.0
_LATER_S: Final = 2.0
_FLOOD_S: Final = 3.0
_MORE_MB: Final = 8
_TEMPORARY_S: Final = 2


def measure(folder: Path, *, quick: bool) -> list[Figure]:
    """Return the time to the first word, and what the flood costs."""
    del folder
    rounds = 1 if quick else 9
    with radio("--cameras", "2") as near:
        times = [_first(near) for _ in range(rounds)]
        with ears(near) as heard:
            heard.hear("the cameras that run", key=near.camera.address)
            later = [_comes(near, heard) for _ in range(rounds)]
    return [
        _time("both of two that run", times, within_s=_START_S),
        _time("one that comes later", later, within_s=_LATER_S),
        *_flooded(200 if quick else 20_000),
    ]


def _time(what: str, took: list[float], *, within_s: float) -> Figure:
    return Figure(
        part=PART, what=f"{what}, median of {len(took)}", value=median(took) * 1000, unit="ms",
        target=f"≤ {within_s * 1000:.0f} ms", holds=median(took) <= within_s, note=f"slowest {max(took) * 1000:.0f} ms",
    )  # fmt: skip


@contextmanager
def radio(*options: str) -> Iterator[Radio]:
    """Run a machine's Bluetooth."""
    made = Radio(*options)
    try:
        yield made.begin()
    finally:
        made.end()


@contextmanager
def ears(near: Radio) -> Iterator[Ears]:
    """Listen there."""
    env = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": near.bus}
    command = [sys.executable, "-m", "tests.ble.listening"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env) as process:
        try:
            yield Ears(process)
        finally:
            process.kill()


def _first(near: Radio) -> float:
    begin_s = now_s()
    with ears(near) as heard:
        for camera in near.cameras:
            heard.hear("a camera that runs", key=camera.address)
        return now_s() - begin_s


def _comes(near: Radio, heard: Ears) -> float:
    """Let one more camera come near; the time that it takes to begin to advertise is in what is returned."""
    begin_s = now_s()
    heard.hear("a camera that comes", key=near.do("add")["address"])
    return now_s() - begin_s


def _flooded(count: int) -> Iterator[Figure]:
    with radio("--temporary", str(_TEMPORARY_S)) as near, ears(near) as heard:
        heard.hear("the first camera", key=near.camera.address)
        near.do("flood 200")  # what is needed once is loaded and grown
        until(lambda: near.do("told")["devices"] == 1, what="the double forgets", pace_s=0.2)
        before = pss_bytes(heard.process.pid)
        near.do(f"flood {count}")
        took = _comes(near, heard)
        most = pss_bytes(heard.process.pid)
        until(lambda: near.do("told")["devices"] == 2, what="the double forgets", within_s=120, pace_s=0.2)
        # What is said last is heard last: once a third camera is told, every removal before it was taken.
        heard.hear("a third camera", key=near.do("add")["address"])
        more = (pss_bytes(heard.process.pid) - before) / MEGA
    what = f"after {count:,} changing addresses"
    yield Figure(
        part=PART, what=f"{what}, one that comes then", value=took * 1000, unit="ms",
        target=f"≤ {_FLOOD_S * 1000:.0f} ms", holds=took <= _FLOOD_S,
    )  # fmt: skip
    yield Figure(
        part=PART, what=f"{what}, memory more than before", value=max(more, 0.0), unit="MB", target=f"≤ {_MORE_MB} MB",
        holds=more <= _MORE_MB, note=f"{before / MEGA:.1f} MB before, {most / MEGA:.1f} MB at the height of it",
    )  # fmt: skip
