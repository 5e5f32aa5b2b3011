"""From the start of whoever listens, or of the camera, to the first word of it; and what a flood of false ones costs.

Four hosts in network namespaces, on one bridge: the agent's discoverer in a process of its own, two cameras, and one
that lies. A start is timed from before the process exists, so Python and its imports are in it. A camera that starts
later is timed from before its own process exists; RFC 6762 §8.1 has it ask for three quarters of a second whether its
name is free. The flood is 1,000 services (or devices) with all their records from one host, told as fast as it can; a
camera starts right after it. Memory is PSS. The peer is a program of a few lines on python-zeroconf's own browser,
which asks for every name in turn as its documentation shows.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final, TypeVar

from tests.bench.meter import now_s, pss_bytes
from tests.bench.table import MEGA, Figure, Peer
from tests.discovery.scene import Ears, camera, ears, lie
from tests.netns import Host, Network, network
from tests.waiting import until

PART: Final = "finding cameras"
_START_S: Final = 0.5
_LATER_S: Final = 2.0
_FLOOD_S: Final = 3.0
_MORE_MB: Final = 8
_SETTLED_S: Final = 3.0

_WAYS: Final = {"mdns": "mDNS", "onvif": "WS-Discovery"}
_FLOODS: Final = {"mdns": "flood", "onvif": "onvif-flood"}

T = TypeVar("T")

_PLAIN: Final = """
import json
from zeroconf import ServiceBrowser, Zeroconf
class Listener:
    def add_service(self, zc, kind, name):
        info = zc.get_service_info(kind, name)
        if info is not None:
            addresses = info.parsed_addresses()
            print(json.dumps({"kind": "Sighting", "addresses": addresses}), flush=True)
    def update_service(self, zc, kind, name): pass
    def remove_service(self, zc, kind, name): pass
zc = Zeroconf()
browser = ServiceBrowser(zc, "_camera-link._tcp.local.", Listener())
browser.join()
"""


def measure(folder: Path, *, quick: bool) -> list[Figure]:
    """Return the times of both ways, and of the flood."""
    if os.geteuid() != 0:
        return _as_root_in_name(folder, quick=quick)
    rounds = 1 if quick else 9
    count = 50 if quick else 1000
    with network(hosts=4) as net:
        return [
            figure
            for way in _WAYS
            for figure in (
                _running(net, way, rounds=rounds),
                _later(net, way, rounds=rounds),
                *_flooded(net, way, count=count),
            )
        ]


def _as_root_in_name(folder: Path, *, quick: bool) -> list[Figure]:
    command = ["unshare", "--user", "--map-root-user", sys.executable, "-m", "tests.bench"]
    command += ["--only", "discover", "--json", "--dir", str(folder), *(("--quick",) if quick else ())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"as root it would be measured here:\n{done.stderr}")
    return [
        Figure(**{**told, "peers": tuple(Peer(one["name"], one["value"]) for one in told["peers"])})
        for told in json.loads(done.stdout)["figures"]
    ]


def _running(net: Network, way: str, *, rounds: int) -> Figure:
    agent, first, second, _ = net.hosts
    with camera(first, *_speaking(way)), camera(second, *_speaking(way)):
        _announced(net, way)
        ours = [_time(lambda: ears(agent, way), _heard_both) for _ in range(rounds)]
        plain = [_time(lambda: _plain(agent), _heard_both) for _ in range(rounds)] if way == "mdns" else []
    took = median(ours)
    return Figure(
        part=PART, what=f"{_WAYS[way]}, both of two that run, median of {rounds}", value=took * 1000, unit="ms",
        target=f"≤ {_START_S * 1000:.0f} ms", holds=took <= _START_S,
        peers=(Peer("zeroconf's browser", median(plain) * 1000),) if plain else (),
        note=f"slowest {max(ours) * 1000:.0f} ms",
    )  # fmt: skip


def _later(net: Network, way: str, *, rounds: int) -> Figure:
    agent, first = net.hosts[:2]
    times = []
    with ears(agent, way) as heard:
        for _ in range(rounds):
            new = partial(_new, heard, "10.77.0.2", len(heard.told))
            times.append(_time(lambda: camera(first, *_speaking(way)), new))
    took = median(times)
    return Figure(
        part=PART, what=f"{_WAYS[way]}, one that starts later, median of {rounds}", value=took * 1000, unit="ms",
        target=f"≤ {_LATER_S * 1000:.0f} ms", holds=took <= _LATER_S, note=f"slowest {max(times) * 1000:.0f} ms",
    )  # fmt: skip


def _flooded(net: Network, way: str, *, count: int) -> Iterator[Figure]:
    agent, first, second, liar = net.hosts
    with camera(first, *_speaking(way)), ears(agent, way) as heard:
        until(lambda: _new(heard, "10.77.0.2", 0, None), what="the first camera", pace_s=0.01)
        _settle()
        before = pss_bytes(heard.process.pid)
        lie(liar, _FLOODS[way], "--count", str(count), "--address", "10.77.0.4")
        took = _time(lambda: camera(second, *_speaking(way)), partial(_new, heard, "10.77.0.3", 0))
        told = sum(one["addresses"][:1] == ["10.77.0.4"] for one in heard.sightings())
        _settle()
        more = (pss_bytes(heard.process.pid) - before) / MEGA
    what = f"{_WAYS[way]}, after {count:,} bogus {'services' if way == 'mdns' else 'devices'}"
    yield Figure(
        part=PART, what=f"{what}, one that starts then", value=took * 1000, unit="ms",
        target=f"≤ {_FLOOD_S * 1000:.0f} ms", holds=took <= _FLOOD_S, note=f"{told:,} of them were told",
    )  # fmt: skip
    yield Figure(
        part=PART, what=f"{what}, memory more than before", value=max(more, 0.0), unit="MB", target=f"≤ {_MORE_MB} MB",
        holds=more <= _MORE_MB, note=f"{before / MEGA:.1f} MB before",
    )  # fmt: skip


def _speaking(way: str) -> tuple[str, ...]:
    return (f"--{way}", *(("--txt", "v=1") if way == "mdns" else ()))


@contextmanager
def _plain(host: Host) -> Iterator[Ears]:
    with host.running(sys.executable, "-c", _PLAIN) as process:
        yield Ears(process)


def _time(begin: Callable[[], AbstractContextManager[T]], heard: Callable[[T], bool]) -> float:
    """Return the seconds from before a context is entered until something is heard."""
    begin_s = now_s()
    with begin() as made:
        until(lambda: heard(made), what="what is measured", within_s=60, pace_s=0.002)
        return now_s() - begin_s


def _heard_both(heard: Ears) -> bool:
    return {"10.77.0.2", "10.77.0.3"} <= {address for one in heard.sightings() for address in one["addresses"]}


def _new(heard: Ears, address: str, before: int, _camera: object) -> bool:
    return any(one["kind"] == "Sighting" and address in one["addresses"] for one in heard.told[before:])


def _announced(net: Network, way: str) -> None:
    """Wait until both cameras are through with asking whether their names are free."""
    with ears(net.hosts[3], way) as heard:
        until(lambda: _heard_both(heard), what="both cameras")


def _settle() -> None:
    until_s = now_s() + _SETTLED_S
    until(lambda: now_s() > until_s, what="a pause")
