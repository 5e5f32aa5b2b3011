"""A local network: the agent on one host, simulated cameras on others, all of them processes of their own."""

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from tests import loaded
from tests.loaded import BIN, Running
from tests.local_socket import ask_socket, held_objects
from tests.netns import Host
from tests.prepared import begin_in, owner_and_device
from tests.waiting import at_most, until

WITHIN_S: Final = 60.0

Told = dict[str, Any]


class Agent:
    """A device with an owner and no broker, run on one host."""

    def __init__(self, host: Host, folder: Path) -> None:
        self.host = host
        self.folder = folder
        self.config = folder / "agent.toml"
        self.log = folder / "agent.log"
        self.socket = folder / "state" / "control.sock"
        self.env: dict[str, str] = {}
        begin_in(folder, owner_and_device)

    def listens(self, *ways: str) -> None:
        """Let the config say so; without ``ways`` in every way."""
        told = f"ways = {json.dumps(ways)}\n" if ways else ""
        self.config.write_text(f"{self.config.read_text()}\n[discovery]\n{told}", encoding="utf-8")

    def shell(self, program: str, *words: str | Path, expect: int = 0) -> "subprocess.CompletedProcess[str]":
        """Run a command on the host, to its end."""
        done = loaded.run([BIN / program, *words], within_s=WITHIN_S, host=self.host)
        assert done.returncode == expect, f"{program} {words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def asked(self, verb: str, *words: str | Path, expect: int = 0) -> Any:  # noqa: ANN401 - JSON
        """Run a command of the agent's, and return its JSON."""
        done = self.shell("privacy-agent", verb, *words, "--config", self.config, "--json", expect=expect)
        return json.loads(done.stdout.splitlines()[-1])

    def discovered(self) -> list[Told]:
        """Let ``discover`` listen for as long as it takes until it hears something, and return the last of each."""

        def heard() -> list[Told]:
            listening = (BIN / "privacy-agent", "discover", "--for", "2s", "--config", self.config, "--json")
            lines = loaded.run(listening, within_s=WITHIN_S, host=self.host).stdout.splitlines()
            return [told["camera"] for line in lines if "camera" in (told := json.loads(line))]

        return until(lambda: [one for one in heard() if one["heard"]], what="anything near", within_s=WITHIN_S)

    def until_near(self, what: str, **like: object) -> Told:
        """Wait for a device with these members."""

        def found() -> Told | None:
            near = self.asked_near()
            return next((one for one in near if all(one.get(name) == value for name, value in like.items())), None)

        return until(found, what=what, within_s=WITHIN_S)

    def until_trouble(self, *reasons: str) -> None:
        """Wait until the running agent tells all of these."""

        def told() -> bool:
            answer = ask_socket(self.socket, "nearby")
            return set(reasons) <= {one["reason"] for one in answer["troubles"]}

        until(told, what=f"the troubles {reasons}", within_s=WITHIN_S)

    def until_well(self) -> None:
        """Wait until the running agent tells no trouble."""
        until(
            lambda: not ask_socket(self.socket, "nearby")["troubles"], what="the end of its troubles", within_s=WITHIN_S
        )

    def asked_near(self) -> list[Told]:
        """Ask the socket once."""
        return list(ask_socket(self.socket, "nearby")["near"])

    def cameras(self) -> list[Told]:
        """Return what the running agent says of its cameras."""
        return list(ask_socket(self.socket, "cameras")["cameras"])

    def status(self) -> Told:
        """Return what the running agent says of itself."""
        return ask_socket(self.socket, "status")

    def held(self) -> list[Told]:
        """Return what the running agent holds."""
        return held_objects(self.socket)

    def audit(self) -> list[Told]:
        """Return the log's entries."""
        lines = self.shell("privacy-agent", "audit", "show", "--config", self.config).stdout.splitlines()
        return [json.loads(line) for line in lines if not line.startswith('{"checkpoint"')]

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run it until the block ends."""
        with (
            self.log.open("wb") as said,
            self.host.running(
                *(BIN / "privacy-agent", "run", "--config", self.config),
                env=dict(os.environ) | self.env,
                stdout=said,
                stderr=said,
            ) as process,
        ):
            until(lambda: process.poll() is not None or "ready: " in self.log.read_text(), what="the agent ready")
            assert process.poll() is None, self.log.read_text()
            yield
            assert process.poll() is None, self.log.read_text()


@contextmanager
def device(host: Host, *, listens: bool = False) -> Iterator[Agent]:
    """A device on a host, in a folder of its own that goes with it."""
    with tempfile.TemporaryDirectory(prefix="neighbourhood-") as folder:
        made = Agent(host, Path(folder))
        if listens:
            made.listens("mdns")
        yield made


class Camera:
    """A simulated camera with a camera link; ``label``, ``port`` and ``id`` are what it says of itself."""

    def __init__(self, process: Running) -> None:
        self._said: queue.Queue[Told] = queue.Queue()
        self._process = process
        threading.Thread(target=self._read, daemon=True).start()
        ready = self.said("ready")
        self.label: str = ready["label"]
        self.port: int = ready["port"]
        _, _, self.id, self.fingerprint = self.label.lower().split(":")

    def said(self, event: str) -> Told:
        """Return the next such event."""
        while True:
            try:
                told = self._said.get(timeout=at_most(WITHIN_S))
            except queue.Empty:
                raise AssertionError(f"the camera still does not say: {event}") from None
            if told.get("event") == event:
                return told

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._said.put(json.loads(line))


@contextmanager
def camera(host: Host, state: Path, *options: str, announced: str = "", port: int = 0) -> Iterator[Camera]:
    """Run a camera on a host, and let it be announced there; ``announced`` is the rotating id that it tells."""
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "device_sim",
        "camera",
        "--state",
        state,
        "--link",
        "--json",
        *options,
    ]
    with ExitStack() as stack:
        process = stack.enter_context(
            host.running(*command, *(("--port", str(port)) if port else ()), env=dict(os.environ))
        )
        made = Camera(process)
        stack.enter_context(
            host.running(
                sys.executable,
                "-m",
                "device_sim.announce",
                "--mdns",
                "--unserved",
                "--port",
                str(made.port),
                "--txt",
                "v=1",
                "--txt",
                f"id={announced or 'a' * 16}",
            )
        )
        yield made
