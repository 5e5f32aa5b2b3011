"""From the start of the agent, or of a camera, to an enrolled camera that proved itself; and both floods at once.

The whole agent, connected to a broker, with all three ways on, in a network namespace; two enrolled cameras on the
host next to it, which are found both by multicast DNS and by Bluetooth (``device-sim ble``), and answer WS-Discovery.
Found means here that the agent's socket tells the camera as proved where it was heard: by its key, in a handshake with
the address of its advert, or in the challenge over radio. By WS-Discovery nothing is proved, so its words count that
are told. A start is timed from before the agent's process exists: opening keystore, index and broker is in it. The
camera that starts later had no power when the agent started; the clock runs from the moment it is given back. What is
not found within half a minute counts as that. The air and both cameras' processes are new for each round. Of the
floods one follows the other, 20,000 devices by radio with addresses of their own, then 1,000 services of one host with
all their records, and the second camera gets its power right after. Memory is PSS of the agent's processes, before the
floods and at most a minute and a half after bluetoothd's double has forgotten the last of them: the agent's ears give
memory back in their sweeps.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

from tests.bench.apart import hosts, measured_apart
from tests.bench.meter import now_s, pss_bytes
from tests.bench.near import PACE_S, Cameras, Listening, bluetooth, cameras, let_pass
from tests.bench.table import MEGA, Figure
from tests.ble.radio import Radio
from tests.discovery.scene import lie
from tests.netns import Host
from tests.waiting import until

PART: Final = "enrolled cameras"
_START_S: Final = {"mdns": 0.5, "onvif": 0.5, "ble": 1.0}
_LATER_S: Final = 2.0
_FLOOD_S: Final = 3.0
_MORE_MB: Final = 8
_TEMPORARY_S: Final = 2
_SETTLED_S: Final = 10.0
_PARTED_S: Final = 1.0
"""In which a connection over radio ends: the double waits for ever for one whose camera loses its power meanwhile."""

_BACK_S: Final = 90.0
_GIVEN_UP_S: Final = 30.0
_WAYS: Final = {"mdns": "mDNS", "onvif": "WS-Discovery", "ble": "Bluetooth"}
_FIRST, _SECOND = "Front door", "Garden gate"
_THERE: Final = "10.77.0.2"


@dataclass
class _Times:
    """In seconds, by way."""

    running: dict[str, list[float]] = field(default_factory=lambda: {way: [] for way in _WAYS})
    later: dict[str, list[float]] = field(default_factory=lambda: {"mdns": [], "ble": []})


def measure(folder: Path, *, quick: bool) -> list[Figure]:
    """Return the times, and what the floods cost."""
    return measured_apart("proving", folder, quick=quick)


def measure_here(folder: Path, *, quick: bool) -> list[Figure]:
    """Do that on host 1 of a network of its own."""
    rounds, services, devices = (1, 50, 200) if quick else (9, 1000, 20_000)
    times = _Times()
    with hosts() as (_, host, _, liar), Listening(folder / "house") as house:
        house.listen()
        with _near(folder, host, house) as (near, there):
            house.start_agent()
            house.enrol(there.labels)
            there.order("consent all off")  # nothing is fetched while something else is measured
            _stop(house)
        for _ in range(rounds):
            with _near(folder, host, house) as (near, there):
                _round(house, there, times)
        with _near(folder, host, house) as (near, there):
            flooded = list(_flooded(house, there, near, liar, services=services, devices=devices))
            _stop(house)
    return [*_figures(times), *flooded]


@contextmanager
def _near(folder: Path, host: Host, house: Listening) -> Iterator[tuple[Radio, Cameras]]:
    """Put both cameras and the machine's Bluetooth up, anew: they stay the cameras that they are."""
    with (
        bluetooth("--temporary", str(_TEMPORARY_S)) as near,
        cameras(folder / "cameras", near, [(host, (_FIRST, _SECOND))], "--seconds", "1", "--rate", "30") as there,
    ):
        house.hears(near.bus)
        yield near, there


def _round(house: Listening, there: Cameras, times: _Times) -> None:
    _without_second(house, there)
    begin_s = house.begin()
    found: dict[str, Callable[[], bool]] = {
        "mdns": lambda: _FIRST in house.proved("mdns"),
        "ble": lambda: _FIRST in house.proved("ble"),
        "onvif": lambda: _THERE in house.heard("onvif"),
    }
    for way, took in _first_seen(found, begin_s).items():
        times.running[way].append(took)
    let_pass(1.0)
    for way, took in _second_comes(house, there).items():
        times.later[way].append(took)
    _stop(house)


def _stop(house: Listening) -> None:
    let_pass(_PARTED_S)
    house.stop("agent")
    let_pass(_PARTED_S)


def _without_second(house: Listening, there: Cameras) -> None:
    """Take the second one's power, and wait until the radio has forgotten it."""
    there.order(f"break '{_SECOND}' power-cut")
    let_pass(_TEMPORARY_S + 1)
    assert "agent" not in house._processes


def _second_comes(house: Listening, there: Cameras) -> dict[str, float]:
    begin_s = now_s()
    there.order(f"mend '{_SECOND}' power-cut")
    ways = ("mdns", "ble")
    return _first_seen({way: _comes(house, way) for way in ways}, begin_s)


def _comes(house: Listening, way: str) -> Callable[[], bool]:
    return lambda: _SECOND in house.proved(way)


def _first_seen(found: dict[str, Callable[[], bool]], begin_s: float) -> dict[str, float]:
    """Return when each was true first; ``_GIVEN_UP_S`` for what was not within that."""
    seen: dict[str, float] = {}

    def look() -> bool:
        for way in found.keys() - seen.keys():
            if found[way]():
                seen[way] = now_s() - begin_s
        return len(seen) == len(found)

    _wait(look, within_s=_GIVEN_UP_S)
    return {way: seen.get(way, _GIVEN_UP_S) for way in found}


def _wait(found: Callable[[], bool], *, within_s: float, pace_s: float = PACE_S) -> None:
    """Wait until something is so, or the time is over: what is not found in it shows in the figure."""
    end_s = now_s() + within_s
    until(lambda: found() or now_s() > end_s, what="the end of the wait", within_s=within_s + 10, pace_s=pace_s)


def _figures(times: _Times) -> Iterator[Figure]:
    for way, took in times.running.items():
        done = "heard by the agent" if way == "onvif" else "proved by the agent"
        yield _time(f"{_WAYS[way]}, one that runs, {done}", took, within_s=_START_S[way])
    for way, took in times.later.items():
        yield _time(f"{_WAYS[way]}, one that starts later, proved by the agent", took, within_s=_LATER_S)


def _time(what: str, took: list[float], *, within_s: float) -> Figure:
    return Figure(
        part=PART, what=f"{what}, median of {len(took)}", value=median(took) * 1000, unit="ms",
        target=f"≤ {within_s * 1000:.0f} ms", holds=median(took) <= within_s, note=f"slowest {max(took) * 1000:.0f} ms",
    )  # fmt: skip


def _flooded(
    house: Listening, there: Cameras, near: Radio, liar: Host, *, services: int, devices: int
) -> Iterator[Figure]:
    _without_second(house, there)
    house.start_agent()
    _wait(lambda: _FIRST in house.proved("mdns") and _FIRST in house.proved("ble"), within_s=_GIVEN_UP_S)
    known = near.do("told")["devices"]
    near.do("flood 200")  # what is needed once is loaded and grown
    _forgotten(near, known)
    let_pass(_SETTLED_S)
    before = pss_bytes(house.pid)
    near.do(f"flood {devices}")
    lie(liar, "flood", "--count", str(services), "--address", "10.77.0.4")
    took = _second_comes(house, there)
    most = pss_bytes(house.pid)
    told = len([one for one in house.devices() if one["state"] == "heard"])
    _forgotten(near, known + 1)
    _settled(house, before)
    more = (pss_bytes(house.pid) - before) / MEGA
    what = f"after {services:,} bogus services and {devices:,} changing addresses"
    for way, seconds in took.items():
        yield Figure(
            part=PART, what=f"{what}, {_WAYS[way]}, one that starts then, proved by the agent", value=seconds * 1000,
            unit="ms", target=f"≤ {_FLOOD_S * 1000:.0f} ms", holds=seconds <= _FLOOD_S,
            note=f"{told:,} of them were told",
        )  # fmt: skip
    yield Figure(
        part=PART, what=f"{what}, the agent's memory more than before", value=max(more, 0.0), unit="MB",
        target=f"≤ {_MORE_MB} MB", holds=more <= _MORE_MB,
        note=f"{before / MEGA:.1f} MB before, {most / MEGA:.1f} MB when the camera was found",
    )  # fmt: skip


def _settled(house: Listening, before_bytes: int) -> None:
    """Give it the time in which the scanner gives memory back; less where the limit holds earlier."""
    _wait(lambda: pss_bytes(house.pid) - before_bytes <= _MORE_MB * MEGA, within_s=_BACK_S, pace_s=1.0)


def _forgotten(near: Radio, known: int) -> None:
    _wait(lambda: near.do("told")["devices"] <= known, within_s=_BACK_S, pace_s=0.2)
