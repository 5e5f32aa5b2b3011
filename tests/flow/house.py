"""A household: broker, cloud, agent and owner as their users run them, each a process of its own.

Nothing here reaches into a process: commands in, JSON out, signals, and what lies on the disk. Waiting is polling with
a deadline; nothing waits for time to pass.
"""

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from device_sim.broker import Broker, Engine
from device_sim.camera.media import write_clip
from tests import loaded
from tests.loaded import BIN, Running
from tests.local_socket import NobodyError, ask_socket, held_objects
from tests.prepared import begin_in
from tests.waiting import until

TENANT = "acme"
DEVICE = "cam-01"

POLICY = """\
version = 1
[recipients]
owner = ["{recipient}"]
[upload]
{upload}
[retention]
forget_within = "1s"
[category.recording]
purpose = "security"
seal_to = ["owner"]
upload = "before-expiry"
keep = {{ age = "14d" }}
[category.photo]
purpose = "security"
seal_to = ["owner"]
upload = "never"
keep = {{ age = "{photo_age}" }}
[purpose.diagnosis]
description = "To find out why it fails."
basis = "contract"
[category.usage-log]
purpose = "diagnosis"
seal_to = ["owner"]
upload = "before-expiry"
keep = {{ age = "14d" }}
"""


_NOWHERE: Final = "mqtts://127.0.0.1:1"


class House:
    """Everything of one household under one folder; a context manager that stops what runs."""

    recorded = datetime(2026, 3, 1, 10, 15, tzinfo=UTC)
    """The time that the first clip tells, less a minute."""

    def __init__(self, folder: Path, *, engine: Engine = "mosquitto", upload: str = "", photo_age: str = "14d") -> None:
        self.folder = folder
        self.spool = folder / "spool"
        self.state = folder / "state"
        self.home = folder / "home"
        self.config = folder / "agent.toml"
        self._engine = engine
        self._upload = upload
        self._photo_age = photo_age
        self.broker: Broker | None = None
        self._processes: dict[str, Running] = {}

    def __enter__(self) -> Self:
        self.furnish()
        self.broker = Broker(self.folder / "broker", self.folder / "tls", engine=self._engine)
        self.broker.start()
        for told in (self.config, self.home / "owner.toml"):
            told.write_text(told.read_text().replace(_NOWHERE, self.url))
        recipient = json.loads((self.home / "owner.pub").read_text().splitlines()[0])["recipient"]
        (self.folder / "policy.toml").write_text(
            POLICY.format(recipient=recipient, upload=self._upload, photo_age=self._photo_age)
        )
        return self

    def furnish(self) -> None:
        """Be what the first house of this process became in seconds."""
        begin_in(self.folder, self.first)

    @staticmethod
    def first(folder: Path) -> None:
        """Set up the one that the others begin as."""
        House(folder).set_up()

    def set_up(self) -> None:
        """Do what a person does first: keys, certificates, the device set up, owner and device introduced."""
        self.spool.mkdir()
        self.run("certs", "init", self.folder / "tls", "--device", DEVICE)
        self.init_cloud()
        cloud = self.folder / "cloud"
        self.owner("init", "--backend", cloud / "backend.json", "--store", cloud / "store.json")
        told = self.agent_json(
            "init", "--owner", self.home / "owner.pub", "--state", self.state, "--clock", "system",
            "--source", f"spool:{self.spool}", "--broker", _NOWHERE, "--tenant", TENANT,
            "--identity", self.folder / "tls" / DEVICE,
        )  # fmt: skip
        self.owner(
            "device", "add", self.state / "device.jws", "--accept", told["fingerprint"], "--broker", _NOWHERE,
            "--tenant", TENANT, "--tls", self.folder / "tls" / "owner",
        )  # fmt: skip

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in tuple(self._processes):
            self.stop(name)
        if self.broker is not None:
            self.broker.stop()

    @property
    def url(self) -> str:
        """The broker's address."""
        assert self.broker is not None
        return self.broker.url

    # -- commands ----------------------------------------------------------------------------------------------------

    def run(self, program: str, *arguments: str | Path, expect: int = 0, within_s: float = 90) -> str:
        """Run a shell command to its end and return what it printed; its exit code must be the expected one."""
        start = [sys.executable, "-m", "certs"] if program == "certs" else [BIN / program]
        done = loaded.run([*start, *arguments], within_s=within_s)
        assert done.returncode == expect, f"{program} {arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout if expect == 0 else done.stdout + done.stderr

    def agent_json(self, verb: str, *arguments: str | Path, expect: int = 0) -> Any:  # noqa: ANN401 - JSON
        """Run a command of ``privacy-agent`` and return its JSON."""
        return json.loads(self.run("privacy-agent", verb, *arguments, "--config", self.config, "--json", expect=expect))

    def owner(self, *arguments: str | Path, expect: int = 0) -> str:
        """Run a command of ``privacy-owner``."""
        return self.run("privacy-owner", "--home", self.home, *arguments, expect=expect)

    def owner_json(self, *arguments: str | Path, expect: int = 0) -> Any:  # noqa: ANN401 - JSON
        """Run a command of ``privacy-owner`` and return its JSON."""
        return json.loads(self.owner(*arguments, "--json", expect=expect))

    # -- processes ---------------------------------------------------------------------------------------------------

    def start(self, name: str, program: str, *arguments: str | Path) -> None:
        """Start one of our programs and let it stay; its output goes to a log in the folder."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = loaded.begin(
                [BIN / program, *arguments], stdout=log, stderr=log, env={**os.environ, "TZ": "UTC"}
            )

    def start_process(self, name: str, *command: str | Path, stdin: int | None = None) -> subprocess.Popen[bytes]:
        """Start a process that stays, with such a log."""
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [str(part) for part in command], stdin=stdin, stdout=log, stderr=log, env={**os.environ, "TZ": "UTC"}
            )
        self._processes[name] = process
        return process

    def process(self, name: str) -> Running:
        """Return a process that was started and not stopped."""
        return self._processes[name]

    def init_cloud(self) -> None:
        """Make the keys and descriptors of store and backend."""
        self.run("device-sim", "cloud", "init", self.folder / "cloud")

    def start_cloud(self, *arguments: str) -> None:
        """Start store and backend."""
        self.start(
            "cloud", "device-sim", "cloud", "--dir", self.folder / "cloud", "--broker", self.url, "--identity",
            self.folder / "tls" / "backend", "--tenant", TENANT, "--device-descriptor", self.state / "device.jws",
            "--json", *arguments,
        )  # fmt: skip

    def start_agent(self) -> None:
        """Start the agent and wait until it answers and is online."""
        self.start("agent", "privacy-agent", "run", "--config", self.config, "-v")
        until(self.online, what="the agent online")

    def online(self) -> bool:
        """Tell whether the agent says that it has the line."""
        process = self._processes["agent"]
        assert process.poll() is None, (self.folder / "agent.log").read_text()
        try:
            return bool(ask_socket(self.state / "control.sock", "status")["broker"]["online"])
        except NobodyError:  # the one that left this socket behind is being started anew
            return False

    def kill(self, name: str) -> None:
        """SIGKILL, and wait until it is gone."""
        process = self._processes.pop(name)
        process.kill()
        process.wait(60)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal."""
        self._processes[name].send_signal(number)

    def stop(self, name: str) -> int:
        """Ask it to stop and return its exit code."""
        process = self._processes.pop(name)
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(60)
            raise

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Return what the cloud has said so far of one kind."""
        whole, _, _being_written = (self.folder / "cloud.log").read_text().rpartition("\n")
        lines = whole.splitlines()
        return [event for line in lines if line.startswith("{") and (event := json.loads(line))["event"] == kind]

    # -- the camera --------------------------------------------------------------------------------------------------

    def record(
        self, *, seed: int = 1, seconds: int = 2, bits_per_s: int = 1_000_000, camera: str = "front_door"
    ) -> bytes:
        """Write one clip as a camera does and return its bytes."""
        start = self.recorded + timedelta(minutes=seed)
        folder = self.spool / camera / "recording"
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f"{seed}.part"
        write_clip(part, seed=seed, start=start, seconds=seconds, bits_per_s=bits_per_s, label="Front door")
        content = part.read_bytes()
        part.rename(folder / f"{start:%Y-%m-%dT%H-%M-%S}.000Z_{seconds}s.mp4")
        return content

    def held(self) -> list[dict[str, Any]]:
        """Return what the agent's inventory lists as held here, without what only the store has."""
        try:
            found = held_objects(self.state / "control.sock")
        except NobodyError:
            found = self.agent_json("inventory")["objects"]
        return [item for item in found if item["state"] != "at_store"]

    def one(self, state: str, *, count: int = 1) -> list[dict[str, Any]]:
        """Wait until that many objects are held in a state and return them."""

        def enough() -> list[dict[str, Any]]:
            found = [item for item in self.held() if item["state"] == state]
            return found if len(found) >= count else []

        found: list[dict[str, Any]] = until(enough, what=f"{count} objects {state}")
        return found
