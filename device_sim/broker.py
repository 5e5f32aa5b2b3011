"""A broker on this machine: Debian's mosquitto where it is installed, else amqtt from PyPI.

What differs, and is said at start:

- **mosquitto** speaks MQTT 5 and 3.1.1, refuses whoever has no certificate of the CA or a revoked one, and holds each
  device to its own topics by its certificate's common name (`docs/protocol.md` 1).
- **amqtt** speaks MQTT 3.1.1 only. The link is TLS, but it asks for no client certificate and has no access rules: any
  program on this machine may read and write every topic. It keeps nothing over a restart. Fit for a demo, not as a
  proof of who may do what.

The broker is a child process that listens on 127.0.0.1 only. TLS identities come from a folder of `python -m certs`;
without one, that command is run first.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

from device_sim.signals import ended

Engine = Literal["mosquitto", "amqtt"]
Choice = Literal["auto", "mosquitto", "amqtt"]

HOST: Final = "127.0.0.1"
# Common names that may command every device and read everything; so may each `owner…` among the identities.
PRIVILEGED: Final = ("backend", "store", "owner")
PACKET_LIMIT_BYTES: Final = 131_072  # docs/protocol.md 2
QUEUE_LIMIT: Final = 10_000  # messages held for a client that is away; mosquitto's own default, 1,000, drops silently

_PORT_TRIES: Final = 5
_START_LIMIT_S: Final = 60.0
_STOP_LIMIT_S: Final = 30.0
_LOOK_EVERY_S: Final = 0.02
# Debian installs daemons where a user's PATH does not lead.
_DAEMON_PATH: Final = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin"])

_READY: Final[dict[Engine, bytes]] = {"mosquitto": b" running\n", "amqtt": b"Listener 'default' bind to"}
_RELOADED: Final = b"Reloading config."
_TAKEN: Final = b"ddress already in use"

MEANING: Final[dict[Engine, str]] = {
    "mosquitto": (
        "MQTT 5 and 3.1.1; a client certificate of this CA is required, and a device is held to its own topics"
    ),
    "amqtt": (
        "MQTT 3.1.1; the link is TLS, but client certificates are NOT asked for and any program on this machine may"
        " use every topic (install mosquitto to have them enforced)"
    ),
}


class BrokerError(Exception):
    """The broker cannot run; the text ends in the next step."""


class _PortTakenError(Exception):
    """Another process was faster."""


def pick_engine(choice: Choice) -> Engine:
    """Return what is to be run: mosquitto if it is installed, else amqtt; raises ``BrokerError`` if neither is."""
    if choice != "amqtt" and shutil.which("mosquitto", path=_DAEMON_PATH):
        return "mosquitto"
    if choice == "mosquitto":
        raise BrokerError("mosquitto is not installed\n  next: sudo apt-get install mosquitto, or --engine amqtt")
    return "amqtt"


def make_identities(folder: Path) -> None:
    """Make a CA with one broker, backend, owner and device in ``folder`` by `python -m certs`."""
    made = subprocess.run(
        [sys.executable, "-m", "certs", "init", str(folder), "--json"], capture_output=True, text=True, check=False
    )
    if made.returncode:
        raise BrokerError(made.stderr.strip())


class Broker:
    """One broker as a child process; a context manager.

    ``folder`` holds its configuration, log and, with mosquitto, what it keeps over a restart. ``certs`` is a folder of
    `python -m certs`. ``port`` 0 means any free one; it stays the same over ``restart``.
    """

    def __init__(
        self,
        folder: Path,
        certs: Path,
        *,
        port: int = 0,
        engine: Choice = "auto",
        privileged: Sequence[str] = PRIVILEGED,
    ) -> None:
        self.folder = folder
        self.certs = certs
        self.engine: Engine = pick_engine(engine)
        self.port = port
        self.log_path = folder / "broker.log"
        owners = sorted(path.name for path in certs.glob("owner*") if path.is_dir())
        self._privileged = tuple(dict.fromkeys([*privileged, *owners]))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"mqtts://{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        """The child's process id; only while it runs."""
        assert self._process is not None, "start it first"  # noqa: S101 - the caller's mistake
        return self._process.pid

    def start(self) -> None:
        """Run it and return when it accepts connections; raises ``BrokerError`` if it does not."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        tries = 1 if self.port else _PORT_TRIES
        for _ in range(tries):
            port = self.port or _free_port()
            try:
                self._launch(port)
            except _PortTakenError:
                continue
            self.port = port
            return
        raise BrokerError(f"port {self.port or 'any'} of {HOST} is taken\n  next: choose another with --port")

    def stop(self) -> None:
        """End it in order: mosquitto writes what it keeps."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power cut does (SIGKILL); ``start`` brings it back on the same port."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop it in order and start it again on the same port."""
        self.stop()
        self.start()

    def reload(self) -> None:
        """Make it read certificates, revocation list and access rules again.

        mosquitto does so on SIGHUP and keeps its connections, a revoked client's too until ``restart``; amqtt cannot
        and is restarted.
        """
        if self.engine == "amqtt":
            self.restart()
            return
        before = self.log_path.stat().st_size
        os.kill(self.pid, signal.SIGHUP)
        for _ in range(round(_STOP_LIMIT_S / _LOOK_EVERY_S)):
            if _RELOADED in self._said(before):
                return
            if self.wait(_LOOK_EVERY_S) is not None:
                break
        raise BrokerError(f"mosquitto did not reload\n  next: read {self.log_path}")

    def wait(self, timeout_s: float) -> int | None:
        """Return the exit code if it ends within ``timeout_s``, else None."""
        assert self._process is not None, "start it first"  # noqa: S101 - the caller's mistake
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def _launch(self, port: int) -> None:
        command = self._mosquitto(port) if self.engine == "mosquitto" else self._amqtt(port)
        with self.log_path.open("ab") as log:
            before = log.tell()
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            self._await_ready(before)
        except BaseException:
            self.kill()
            raise

    def _await_ready(self, before: int) -> None:
        for _ in range(round(_START_LIMIT_S / _LOOK_EVERY_S)):
            code = self.wait(_LOOK_EVERY_S)
            said = self._said(before)
            if _TAKEN in said:
                raise _PortTakenError
            if code is not None:
                last = said.decode(errors="replace").strip()[-1000:]
                raise BrokerError(f"{self.engine} ended with {code}:\n{last}\n  next: read {self.log_path}")
            if _READY[self.engine] in said:
                return
        raise BrokerError(f"{self.engine} did not start in {_START_LIMIT_S:.0f} s\n  next: read {self.log_path}")

    def _said(self, before: int) -> bytes:
        with self.log_path.open("rb") as log:
            log.seek(before)
            return log.read()

    def _end(self, signal_number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal_number)
        try:
            process.wait(_STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _mosquitto(self, port: int) -> list[str]:
        program = shutil.which("mosquitto", path=_DAEMON_PATH)
        assert program, "pick_engine found it"  # noqa: S101 - checked when this object was made
        rules = self.folder / "acl"
        rules.write_text(access_rules(self._privileged), encoding="utf-8")
        rules.chmod(0o600)
        identity = self.certs / "broker"
        lines = [
            # As root it would become the user mosquitto, who may not read our files.
            *(["user root"] if os.geteuid() == 0 else []),
            f"listener {port} {HOST}",
            f"cafile {identity / 'ca.crt'}",
            f"certfile {identity / 'tls.crt'}",
            f"keyfile {identity / 'tls.key'}",
            f"crlfile {self.certs / 'crl.pem'}",
            "tls_version tlsv1.3",
            "require_certificate true",
            "use_identity_as_username true",
            "allow_anonymous false",
            f"acl_file {rules}",
            "set_tcp_nodelay true",
            f"max_packet_size {PACKET_LIMIT_BYTES}",
            "max_inflight_messages 100",
            f"max_queued_messages {QUEUE_LIMIT}",
            "persistence true",
            f"persistence_location {self.folder}",
            "autosave_interval 30",
            "sys_interval 0",
            "log_dest stderr",
            "log_timestamp_format %Y-%m-%dT%H:%M:%S",
            "log_type error",
            "log_type warning",
            "log_type notice",
            "log_type information",
        ]
        config = self.folder / "mosquitto.conf"
        config.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return [program, "-c", str(config)]

    def _amqtt(self, port: int) -> list[str]:
        identity = self.certs / "broker"
        listener = {
            "type": "tcp",
            "bind": f"{HOST}:{port}",
            "ssl": True,
            "cafile": str(identity / "ca.crt"),
            "certfile": str(identity / "tls.crt"),
            "keyfile": str(identity / "tls.key"),
        }
        plugins = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
        config = self.folder / "amqtt.yaml"
        config.write_text(json.dumps({"listeners": {"default": listener}, "plugins": plugins}), encoding="utf-8")
        # Its own warnings are not ours to fail on.
        return [sys.executable, "-W", "ignore", "-m", "amqtt.scripts.broker_script", "-c", str(config)]


def access_rules(privileged: Sequence[str]) -> str:
    """Write mosquitto's access file: one pattern holds every device to its own topics (`docs/protocol.md` 1)."""
    lines: list[str] = []
    for name in privileged:
        lines += [f"user {name}", "topic read #", "topic write pv1/+/+/cmd", "topic write pv1/+/+/upack", ""]
    lines += [f"pattern write pv1/+/%u/{channel}" for channel in ("rcpt/#", "up/#", "state", "alert", "probe")]
    lines += [f"pattern read pv1/+/%u/{channel}" for channel in ("cmd", "upack", "probe")]
    return "\n".join(lines) + "\n"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port


# -- the shell command -------------------------------------------------------------------------------------------------


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add `device-sim broker`."""
    parser = subparsers.add_parser(
        "broker",
        help="run an MQTT broker on this machine",
        description="Run an MQTT broker over TLS on 127.0.0.1 until Ctrl-C: mosquitto where installed, else amqtt.",
        epilog="example:  device-sim broker --dir /tmp/broker --port 8883",
        allow_abbrev=False,
    )
    parser.add_argument("--dir", type=Path, help="its files (default: a temporary folder, removed at the end)")
    parser.add_argument("--port", type=int, default=0, help="default: any free one, which is printed")
    parser.add_argument("--certs", type=Path, help="folder of `python -m certs` (default: DIR/tls, made if absent)")
    parser.add_argument(
        "--engine",
        choices=["auto", "mosquitto", "amqtt"],
        default="auto",
        help="which broker (default: mosquitto where it is installed, else amqtt, which checks no certificates)",
    )
    parser.add_argument(
        "--privileged",
        action="append",
        metavar="NAME",
        help=f"common name that may command all devices; may be repeated (default: {', '.join(PRIVILEGED)}, owner…)",
    )
    parser.add_argument("--json", action="store_true", help="say where it is in one line for programs")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Run the broker until SIGINT or SIGTERM; exit 0, or 1 if it could not run or ended by itself."""
    with contextlib.ExitStack() as stack:
        to_end = stack.enter_context(ended())
        folder = args.dir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="device-sim-broker-")))
        certs = args.certs or folder / "tls"
        try:
            if not (certs / "ca.crt").is_file():
                make_identities(certs)
            broker = stack.enter_context(
                Broker(
                    folder.absolute(),
                    certs.absolute(),
                    port=args.port,
                    engine=args.engine,
                    privileged=args.privileged or PRIVILEGED,
                )
            )
        except BrokerError as error:
            print(f"device-sim broker: {error}", file=sys.stderr)
            return 1
        _tell(broker, json_wanted=args.json)
        while not to_end.wait(1):
            if (code := broker.wait(0)) is not None:
                print(
                    f"device-sim broker: {broker.engine} ended with {code}\n  next: read {broker.log_path}",
                    file=sys.stderr,
                )
                return 1
    return 0


def _tell(broker: Broker, *, json_wanted: bool) -> None:
    facts = {
        "engine": broker.engine,
        "url": broker.url,
        "certs": str(broker.certs),
        "log": str(broker.log_path),
        "client_certificates": "required" if broker.engine == "mosquitto" else "ignored",
    }
    if json_wanted:
        print(json.dumps(facts), flush=True)
        return
    print(
        f"{broker.engine} at {broker.url}: {MEANING[broker.engine]}\n"
        f"identities in {broker.certs}, log in {broker.log_path}; Ctrl-C ends it",
        flush=True,
    )
