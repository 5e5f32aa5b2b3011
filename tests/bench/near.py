"""The whole agent with every way of listening on, and simulated cameras that it has enrolled and collects from."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from tests.bench.meter import now_s
from tests.ble.radio import Radio
from tests.flow.house import House
from tests.link_server.running import Running, running
from tests.local_socket import NobodyError, ask_socket
from tests.netns import Host
from tests.waiting import until

WAYS: Final = ("mdns", "onvif", "ble")
PACE_S: Final = 0.01
WITHIN_S: Final = 180.0

_FACES: Final = ("--link", "--mdns", "--onvif", "--ble", "--setup")

Device = dict[str, Any]


@contextmanager
def bluetooth(*options: str) -> Iterator[Radio]:
    """Run the machine's Bluetooth, with no camera near yet; those of ``cameras`` enter its air."""
    made = Radio("--cameras", "0", *options)
    try:
        yield made.begin()
    finally:
        made.process.kill()  # nothing of it is kept, and what measures has ended
        made.process.communicate()


class Listening(House):
    """A household whose agent listens every way; it has a broker, and no store: what is taken in stays here."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        super().__init__(folder)

    def hears(self, bus: str) -> None:
        """Let an agent that starts after this use the Bluetooth at that bus; nobody else here asks it."""
        os.environ["DBUS_SYSTEM_BUS_ADDRESS"] = bus

    def listen(self) -> None:
        """Write the config and the policy."""
        with self.config.open("a", encoding="utf-8") as config:
            config.write(f"\n[discovery]\nways = {json.dumps(WAYS)}\n")
        policy = self.folder / "policy.toml"
        policy.write_text(policy.read_text().replace('"before-expiry"', '"never"'))

    @property
    def pid(self) -> int:
        """The agent's main process."""
        return self._processes["agent"].pid

    def begin(self) -> float:
        """Start the agent and return when that was, not waiting for it."""
        begin_s = now_s()
        self.start("agent", "privacy-agent", "run", "--config", self.config)
        return begin_s

    def devices(self) -> list[Device]:
        """Ask the agent what is near; nothing while it does not answer yet."""
        assert self._processes["agent"].poll() is None, (self.folder / "agent.log").read_text()
        try:
            near: list[Device] = ask_socket(self.state / "control.sock", "nearby")["near"]
        except NobodyError:
            return []
        return near

    def proved(self, way: str) -> list[str]:
        """Return the names of the enrolled cameras that proved themselves where they were heard this way."""
        return [
            one["name"]
            for one in self.devices()
            if one["state"] == "enrolled" and any(_proved(heard, way) for heard in one["heard"])
        ]

    def heard(self, way: str) -> set[str]:
        """Return the addresses that were heard this way, proved or not, without their ports."""
        rows = [heard for one in self.devices() for heard in one["heard"] if heard["way"] == way]
        return {address.rpartition(":")[0] for row in rows for address in row["addresses"]}

    def enrol(self, labels: dict[str, str]) -> None:
        """Enrol cameras by their labels, as a person does; then each is paired, proved and collected from."""
        until(
            lambda: sum(one["state"] == "new" for one in self.devices()) >= len(labels),
            what=f"{len(labels)} cameras heard",
            within_s=WITHIN_S,
        )
        for name, label in labels.items():
            self.agent_json("enrol", label, "--name", name)
        until(lambda: len(self.held_of()) >= len(labels), what="a recording of each", within_s=WITHIN_S)
        until(lambda: set(self.proved("mdns")) >= set(labels), what="all proved by their link", within_s=WITHIN_S)
        until(lambda: set(self.proved("ble")) >= set(labels), what="all proved by radio", within_s=WITHIN_S)

    def held_of(self) -> dict[str, int]:
        """Return how many recordings of each camera are held, by its id."""
        found: dict[str, int] = {}
        for one in self.held():
            found[one["camera"]] = found.get(one["camera"], 0) + 1
        return found


def _proved(heard: Device, way: str) -> bool:
    return heard["way"] == way and not heard["gone"] and (way != "ble" or "privacy_state" in heard)


class Cameras:
    """Simulated cameras, some on each of some hosts, all in one air."""

    def __init__(self, folder: Path, runs: Sequence[Running], names: Sequence[Sequence[str]]) -> None:
        self.folder = folder
        self._runs = runs
        self.labels = {
            name: run.heard("ready", camera=name)["label"] for run, own in zip(runs, names, strict=True) for name in own
        }

    def order(self, line: str) -> None:
        """Tell all of them, or those that ``line`` names where it is known."""
        said = [run.order(line) for run in self._runs]
        assert any(one["ok"] for one in said), said

    def waiting(self) -> int:
        """Count what is on their cards and was not acknowledged; what is still being recorded is not there yet."""
        found = 0
        for path in self.folder.glob("*/*/card/*.json"):
            found += not json.loads(path.read_bytes())["acknowledged"]
        return found


@contextmanager
def cameras(
    folder: Path, near: Radio, places: Sequence[tuple[Host, Sequence[str]]], *options: str
) -> Iterator[Cameras]:
    """Run cameras of these names on these hosts; the context begins when all of them are there."""
    air = near.do("told")["hci"]
    with ExitStack() as stack:
        runs = []
        for number, (host, names) in enumerate(places):
            words = [word for name in names for word in ("--name", name)]
            state = folder / f"host-{number}"
            runs.append(stack.enter_context(running(state, *_FACES, "--hci", air, *words, *options, host=host)))
        yield Cameras(folder, runs, [names for _, names in places])


def let_pass(seconds: float) -> None:
    """Wait for time to pass."""
    end_s = now_s() + seconds
    until(lambda: now_s() > end_s, what="the window", within_s=seconds + 10)
