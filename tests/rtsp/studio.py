"""A camera's server and a device that reads it, each in processes of its own, under one folder."""

import contextlib
import json
import os
import re
import signal
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from tests import loaded
from tests.approving import approve_policy
from tests.loaded import BIN
from tests.local_socket import NobodyError, ask_socket, held_objects
from tests.prepared import begin_in, owner_and_device
from tests.ran import Ran
from tests.waiting import until
from tests.writing import policy_text

SERVED = Path(__file__).with_name("served.py")
GSTREAMER_PYTHON = "/usr/bin/python3"
USER, PASSWORD = "ada", "correct horse 9"


class Server:
    """GStreamer's server with one film; it keeps its port over restarts."""

    def __init__(self, film: Path, *, auth: str = "") -> None:
        self._film = film
        self._auth = (USER, PASSWORD, auth) if auth else ()
        self._process: subprocess.Popen[str] | None = None
        self.port = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/main"

    def start(self) -> None:
        self._process = subprocess.Popen(
            [GSTREAMER_PYTHON, SERVED, self._film, str(self.port), *self._auth], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(60)
            assert process.stdout is not None
            process.stdout.close()


class Device:
    """A device with an owner of its own and one camera in its config; no broker."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.config = folder / "agent.toml"
        self.identity = folder / "owner.age"
        self._agent: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        begin_in(self.folder, self.first)
        self.let_in(recording="")
        return self

    @staticmethod
    def first(folder: Path) -> None:
        """Set up the one that the others begin as."""
        owner_and_device(folder)
        device = Device(folder)
        device.privacy("agent", "keygen", "-o", device.identity)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._agent is not None:
            self.kill()

    # -- what is written

    def let_in(self, **categories: str) -> None:
        """Write a policy that lets these in, sealed to an identity that the tests hold."""
        (recipient,) = re.findall(r"^# public key: (\S+)$", self.identity.read_text(encoding="utf-8"), re.MULTILINE)
        (self.folder / "policy.toml").write_text(policy_text(recipient, **categories), encoding="utf-8")

    def watch(self, url: str, *lines: str, segment: str = "1s") -> None:
        """Write a config with this camera, and further lines of its source."""
        head = f'device = "cam-01"\nstate = "{self.state}"\n[clock]\nsource = "system"\n'
        source = [
            "[[source]]",
            'kind = "rtsp"',
            'name = "door"',
            *([f'url = "{url}"'] if url else []),
            *lines,
            f'segment = "{segment}"',
            "",
        ]
        self.config.write_text(head + "\n".join(source), encoding="utf-8")

    def credentials(self, password: str = PASSWORD) -> str:
        """Write the file of credentials and return the line that names it."""
        file = self.folder / "door.credentials"
        file.touch(mode=0o600)
        file.write_text(f"{USER}\n{password}\n", encoding="utf-8")
        return 'credentials = "door.credentials"'

    # -- what runs

    def privacy(self, program: str, *words: object, expect: int | None = 0) -> Ran:
        done = loaded.run([BIN / f"privacy-{program}", *map(str, words)], within_s=120)
        assert expect is None or done.returncode == expect, (words, done.stdout, done.stderr)
        return Ran(done.returncode, done.stdout, done.stderr)

    def start(self) -> None:
        """Start the agent and wait until it answers."""
        with (self.folder / "agent.log").open("ab") as log:
            self._agent = subprocess.Popen(
                [str(BIN / "privacy-agent"), "run", "--config", str(self.config), "-v"], stdout=log, stderr=log
            )
        until(self._answers, what="an answer of the agent")

    def _answers(self) -> bool:
        assert self._agent is not None
        assert self._agent.poll() is None, self.log()
        ran = self.privacy("agent", "status", "--config", self.config, "--json", expect=None)
        return ran.code == 0 and bool(ran.json["running"])  # before the agent has the vault, the command answers itself

    def stop(self) -> None:
        """Ask the agent to end, and wait until it has."""
        assert self._agent is not None
        self._agent.send_signal(signal.SIGTERM)
        assert self._agent.wait(60) == 0, self.log()
        self._agent = None

    def reload(self) -> None:
        """Let the agent read its policy anew."""
        assert self._agent is not None
        self._agent.send_signal(signal.SIGHUP)

    def approve(self) -> None:
        """Let the owner approve the policy that waits."""

        def agent(*words: object) -> str:
            return self.privacy("agent", *words, "--config", self.config).out

        def owner(*words: object) -> str:
            return self.privacy("owner", "--home", self.folder / "home", *words).out

        approve_policy(agent, owner, self.folder)

    def kill(self) -> None:
        """Let the power fail."""
        assert self._agent is not None
        self._agent.kill()
        self._agent.wait(60)
        self._agent = None

    def readers(self) -> list[psutil.Process]:
        """Return the processes that read a camera for the running agent."""
        assert self._agent is not None
        found = []
        for child in psutil.Process(self._agent.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):  # it ends just now
                if "agent.rtsp" in child.cmdline():
                    found.append(child)
        return found

    def maps(self) -> str:
        """Return what the running agent has mapped into its memory."""
        assert self._agent is not None
        return Path(f"/proc/{self._agent.pid}/maps").read_text(encoding="ascii")

    def is_sealing(self) -> bool:
        """Tell whether a segment is under way."""
        return any(path.suffix == ".part" and path.stat().st_size for path in files_of(self.state))

    def log(self) -> str:
        return (self.folder / "agent.log").read_text(encoding="utf-8")

    # -- what is seen

    def ask(self, *words: object) -> Any:  # noqa: ANN401 - JSON
        return json.loads(self.privacy("agent", *words, "--config", self.config, "--json").out)

    def told(self, verb: str) -> dict[str, Any]:
        """Return what the running agent answers; for what is looked at again and again."""
        return ask_socket(self.state / "control.sock", verb)

    def held(self) -> list[dict[str, Any]]:
        """Return what is held, in the order of capture."""
        try:
            return held_objects(self.state / "control.sock")
        except NobodyError:
            found: list[dict[str, Any]] = self.ask("inventory")["objects"]
            return found

    def wait_for(self, count: int) -> list[dict[str, Any]]:
        """Wait until so many segments are held."""

        def enough() -> list[dict[str, Any]]:
            found = self.held()
            return found if len(found) >= count else []

        return until(enough, what=f"{count} segments")

    def fails(self) -> bool:
        """Tell whether the alert of a source that failed stands."""
        return any(one["code"] == "source_failed" for one in self.told("status")["alerts"])

    def clips(self) -> list[tuple[dict[str, Any], bytes]]:
        """Export all that is held and open it with ``privacy-agent decrypt``; in the order of capture."""
        export = Path(str(self.ask("export")["folder"]))
        found = []
        for item in self.held():
            clear = self.folder / "clear.mp4"
            self.privacy("agent", "decrypt", "-i", self.identity, "-o", clear, export / f"{item['id']}.age")
            found.append((item, clear.read_bytes()))
            clear.unlink()
        return found


def files_of(folder: Path) -> list[Path]:
    """Return every file beneath a folder."""
    return [Path(where) / name for where, _, names in os.walk(folder) for name in names]
