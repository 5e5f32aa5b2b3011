"""A device and a camera that is near it by Bluetooth: agent, bluetoothd's double and camera, each a process of its own.

They were paired over the camera link, on a network; what a test begins with is a camera that has none any more.
"""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.enrolment.neighbourhood import WITHIN_S, Agent, Told, camera, device
from tests.link_server.running import Running, running
from tests.loaded import BIN
from tests.netns import Host, Network
from tests.waiting import until


class Beside:
    """The device, the machine's Bluetooth, and where the camera keeps what it is."""

    def __init__(self, agent: Agent, far: Host, machine: Running, *, hci: str) -> None:
        self.agent, self._far, self.machine, self.hci = agent, far, machine, hci
        self.state = agent.folder / "cameras"
        self.camera = ""

    def pair(self) -> None:
        """Enrol the camera over its link and have it switched on; then there is no network any more."""
        with camera(self._far, self.state, "--setup", "--rate", "0.001") as there, self.agent.running():
            made = self.agent.asked("enrol", there.label, f"10.77.0.2:{there.port}")
            there.said("collecting")
            until(lambda: self.events("camera_paired"), what="its advert key kept")
        self.camera = made["camera"]

    @contextmanager
    def near(self, *options: str) -> Iterator[Running]:
        """Let the camera be near by Bluetooth alone."""
        with running(self.state, "--ble", "--hci", self.hci, "--rate", "0.001", *options, host=self._far) as there:
            there.heard("ready")
            yield there

    def listed(self) -> Told:
        """The camera as ``cameras`` lists it."""
        (told,) = (one for one in self.agent.cameras() if one["camera"] == self.camera)
        return dict(told)

    def met(self) -> Told:
        """Wait until the agent met it over Bluetooth, and return what it then said."""

        def said() -> Told | None:
            told: Told = self.listed().get("bluetooth", {})
            return told if "privacy_state" in told else None

        return until(said, what="the camera met over Bluetooth", within_s=WITHIN_S)

    def collection(self, word: str, *, expect: int = 0) -> Told:
        """Switch it as a person does."""
        return dict(self.agent.asked("collection", self.camera, word, expect=expect))

    def typed(self, *words: str | Path, line: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of the agent's whose secret comes as a line of stdin."""
        return subprocess.run(
            self.agent.host.command(BIN / "privacy-agent", *words, "--config", self.agent.config, "--json"),
            input=f"{line}\n",
            capture_output=True,
            text=True,
            check=False,
            timeout=WITHIN_S,
        )

    def events(self, kind: str) -> list[tuple[str, dict[str, Any]]]:
        """The rule and the detail of each entry of that kind in the audit log."""
        return [(entry["rule"], entry["detail"]) for entry in self.agent.audit() if entry["kind"] == kind]


@contextmanager
def beside(net: Network, *, paired: bool = True) -> Iterator[Beside]:
    """Play the machine's Bluetooth, and set up a device on it."""
    own, far = net.hosts
    with device(own) as agent, running(agent.folder / "played", "--ble", host=own) as played:
        machine = played.heard("ready", camera="Bluetooth")
        played.order("break all power-cut")  # its own camera; only the air and bluetoothd's double are wanted
        made = Beside(agent, far, played, hci=machine["hci"])
        if paired:
            made.pair()
        agent.env["DBUS_SYSTEM_BUS_ADDRESS"] = machine["DBUS_SYSTEM_BUS_ADDRESS"]
        agent.listens("ble")
        yield made


def error_of(done: "subprocess.CompletedProcess[str]") -> Told:
    """What a command says went wrong."""
    return dict(json.loads(done.stdout.splitlines()[-1])["error"])
