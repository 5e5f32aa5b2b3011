"""A network with the agent's ears on one host and simulated cameras, and liars, on others.

All of these are processes of their own; they share nothing but the network.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.loaded import Running
from tests.netns import Host
from tests.waiting import until

WITHIN_S: Final = 45.0
Told = dict[str, Any]


class Ears:
    """What a listening process told so far, in order; troubles apart."""

    def __init__(self, process: Running) -> None:
        self.process = process
        self.told: list[Told] = []
        self.troubles: list[Told] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def sightings(self, **like: object) -> list[Told]:
        """Return those with these members, in order."""
        return [
            one for one in list(self.told) if one["kind"] == "Sighting" and all(one[k] == v for k, v in like.items())
        ]

    def lost(self, key: str) -> bool:
        """Whether the last word on a key is that it is gone."""
        words = [one["kind"] for one in list(self.told) if one["key"] == key]
        return bool(words) and words[-1] == "Lost"

    def in_vain(self) -> bool:
        """Whether there is nothing to listen on."""
        return any(one["reason"] in {"no_interface", "no_multicast"} for one in list(self.troubles))

    def hear(self, what: str, *, within_s: float = WITHIN_S, after: int = 0, **like: object) -> Told:
        """Wait for a sighting with these members, at the earliest as the one after ``after`` that there were."""

        def found() -> Told | None:
            assert self.process.poll() is None, "the listening process ended"
            there = self.sightings(**like)
            return there[after] if len(there) > after else None

        return until(found, what=what, within_s=within_s, pace_s=0.01)

    def until(self, found: Callable[[], bool], what: str, *, within_s: float = WITHIN_S) -> None:
        """Wait for something else."""
        until(found, what=what, within_s=within_s, pace_s=0.01)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            told = json.loads(line)
            (self.troubles if told["kind"] == "Trouble" else self.told).append(told)


PORTS: Final = {"mdns": 5353, "onvif": 3702}


@contextmanager
def ears(host: Host, way: str, *options: str, around: Sequence[str] = ()) -> Iterator[Ears]:
    """Let the agent listen on a host, one way; it listens when the context begins, if there is what to listen on.

    ``around`` is a command that becomes it, as a sandbox does.

    What it says on its standard error is an exception that somebody's advert could raise; there has to be none.
    """
    with tempfile.TemporaryFile() as errors:
        with host.running(
            *(*around, sys.executable, "-m", "tests.discovery.listening", way, *options), stderr=errors
        ) as process:
            found = Ears(process)
            until(lambda: found.in_vain() or _is_open(host, PORTS[way]), what="ears", within_s=WITHIN_S, pace_s=0.01)
            yield found
            assert process.poll() is None, "the listening process ended"
        assert process.wait() == 0, "it ends in order"
        errors.seek(0)
        assert errors.read().decode() == ""


def _is_open(host: Host, port: int) -> bool:
    lines = [
        line.split()
        for table in ("udp", "udp6")
        for line in Path(f"/proc/{host.pid}/net/{table}").read_text(encoding="ascii").splitlines()[1:]
    ]
    return any(int(line[1].rpartition(":")[2], 16) == port for line in lines)


@contextmanager
def camera(host: Host, *options: str) -> Iterator[Running]:
    """Let a camera announce itself; it is there when the context begins, heard or not."""
    with host.running(sys.executable, "-m", "device_sim.announce", *options) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline()) == {"ready": True}
        yield process


def lie(host: Host, what: str, *options: str) -> None:
    """Tell a lie from a host, to its end."""
    command = host.command(sys.executable, "-m", "device_sim.announce.liar", what, *options)
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=dict(os.environ))
    assert done.returncode == 0, done.stderr


@contextmanager
def lying(host: Host, what: str, *options: str) -> Iterator[Running]:
    """Keep lying while the context lasts."""
    with host.running(sys.executable, "-m", "device_sim.announce.liar", what, *options) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline()) == {"ready": True}
        yield process
