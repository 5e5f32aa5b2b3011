"""The shell command ``device-sim cloud``: ``init`` makes keys, without it the cloud runs until Ctrl-C.

While it runs it reads one JSON object per line on stdin, so that a script can play a scenario:

    {"do": "command", "verb": "delete", "claims": {"select": {"all": true}}}    answers {"event": "did", "jti": …}
    {"do": "fault", "fault": "lose=chunk:3"} · {"do": "clear"} · {"do": "offline"} · {"do": "online"}
    {"do": "policy", "document": "…", "revision": 1}                            signed by itself, then sent
    {"do": "snapshot"} · {"do": "roll_back"} (to the last snapshot) · {"do": "resend"} · {"do": "stop"}
"""

import argparse
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from device_sim.cloud import observer, strictjson
from device_sim.cloud.failure import CloudError, SetupError
from device_sim.cloud.journal import Event, Sink, print_json, print_readable
from device_sim.cloud.keys import Party
from device_sim.cloud.service import DEFAULT_REGION, ROLES, Cloud, init
from device_sim.signals import ended
from device_sim.told import words_of

_DESCRIPTION = """\
A store and a backend to run an agent against. It keeps what it receives,
signs what it confirms, and misbehaves on command."""

_EPILOG = """\
faults (--fault, may be repeated):
  lose=KIND[:NTH[:COUNT]]   duplicate=…   reorder=…
  delay=KIND:SECONDS[:NTH[:COUNT]]
  lie=wrong_hash|not_stored|ack_ahead|not_erased|
      other_region|new_epoch[:COUNT]
  forge=unknown_key|stolen_kid|other_device|other_manifest:KIND[:COUNT]
  silent   refuse_region[=COUNT]   no_room[=COUNT]
  roll_back=N (after N stored uploads, back to how it started)
  offline=N (away for N seconds after its start)
KIND is a message of docs/protocol.md: chunk begin end go upload-ack stored
erased failed rectified erase abort rectify resync

example:
  device-sim cloud init /tmp/cloud
  device-sim cloud --dir /tmp/cloud --broker mqtts://127.0.0.1:8883 \\
    --identity tls/backend --device-descriptor device.jws --fault lose=chunk:3
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add `device-sim cloud`."""
    parser = subparsers.add_parser(
        "cloud",
        help="run a store and a backend",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_arguments(parser)
    return parser


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options to a parser of any name."""
    parser.add_argument("--dir", type=Path, help="folder of its keys and of all that it keeps; made by `init`")
    parser.add_argument("--broker", metavar="URL", help="mqtts://host:port, or mqtt://host:port without TLS")
    parser.add_argument("--identity", type=Path, metavar="FOLDER", help="tls.crt, tls.key and ca.crt of the backend")
    parser.add_argument("--tenant", default="acme", help="second part of the topics (default: acme)")
    parser.add_argument("--region", default=DEFAULT_REGION, help=f"where it stores (default: {DEFAULT_REGION})")
    parser.add_argument(
        "--device-descriptor",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a device it serves, as `privacy-agent init` wrote it; may be repeated",
    )
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="NAME[=ARG]",
        help="misbehave like this; may be repeated; see below",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON line per event")
    parser.set_defaults(run=run)
    commands = parser.add_subparsers(
        title="commands", metavar="[COMMAND]", help="one of these, or none: then the cloud runs until Ctrl-C"
    )
    keys = _command(
        commands,
        "init",
        summary="make keys and descriptors for the owner's key set",
        example="device-sim cloud init /tmp/cloud",
    )
    keys.add_argument("new_dir", metavar="DIR", type=Path, help="the folder that is made for them")
    keys.add_argument("--client", action="store_true", help="also keys of an owner's client, which holds every verb")
    keys.add_argument("--es256", action="store_true", help="sign with ES256 (P-256) instead of EdDSA (Ed25519)")
    keys.add_argument("--json", action="store_true", help="print one JSON line per file")
    keys.set_defaults(run=_run_init)
    watch = _command(
        commands,
        "observe",
        summary="record what a subscriber to every topic sees",
        example="device-sim cloud observe --broker mqtts://127.0.0.1:8883 --identity tls/backend --out seen.bin",
    )
    watch.add_argument("--broker", metavar="URL", required=True, help="mqtts://host:port, or mqtt://host:port")
    watch.add_argument("--identity", type=Path, metavar="FOLDER", help="tls.crt, tls.key and ca.crt to connect with")
    watch.add_argument("--out", type=Path, required=True, metavar="FILE", help="where topics and payloads go")
    watch.add_argument("--json", action="store_true", help="print one JSON line when it records")
    watch.set_defaults(run=_run_observe)


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, *, summary: str, example: str
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=summary,
        description=f"{summary[:1].upper()}{summary[1:]}.",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def run(args: argparse.Namespace) -> int:
    """Run the cloud until SIGINT, SIGTERM or ``stop``; exit 0, or 1 if it could not run, or 2 for wrong usage."""
    if args.dir is None or args.broker is None:
        print("device-sim cloud: --dir and --broker are needed\n  next: device-sim cloud --help", file=sys.stderr)
        return 2
    sink: Sink = print_json if args.json else print_readable
    try:
        with ended() as to_end:
            control = _Control(args, sink=sink, ended=to_end)
            with control.cloud:
                threading.Thread(target=control.read, args=(sys.stdin,), name="control", daemon=True).start()
                control.play()
                to_end.wait()
    except (CloudError, OSError) as error:
        return _failed(error)
    return 0


class _Control:
    """A running cloud in the hands of the command line and of stdin."""

    def __init__(self, args: argparse.Namespace, *, sink: Sink, ended: threading.Event) -> None:
        self._ended = ended
        self._snapshot: Path | None = None
        self._left: dict[str, int] = {}
        self._due = threading.Event()
        self.cloud = Cloud(
            args.dir,
            broker=args.broker,
            tenant=args.tenant,
            identity=args.identity,
            descriptors=args.device_descriptor,
            region=args.region,
            sinks=[sink, self._watch],
        )
        for spec in args.fault:
            name, _, argument = spec.partition("=")
            if name in {"roll_back", "offline"}:
                self._left[name] = _whole(spec, argument)
            else:
                self.cloud.faults.add(spec)

    def play(self) -> None:
        """Start the faults that concern the whole cloud."""
        if "roll_back" in self._left:
            self._snapshot = self.cloud.snapshot()
            threading.Thread(target=self._roll_back_later, name="roll-back", daemon=True).start()
        if "offline" in self._left:
            self.cloud.offline()
            if not self._ended.wait(self._left["offline"]):
                self.cloud.online()

    def read(self, lines: TextIO) -> None:
        """Do what the lines say until they end."""
        for line in lines:
            try:
                self._do(strictjson.loads(line.encode()))
            except (CloudError, KeyError) as error:
                self.cloud.journal.note("refused", why=str(error))

    def _do(self, order: Event) -> None:
        acts: dict[object, Callable[[Event], Event | None]] = {
            "command": self._command,
            "policy": self._policy,
            "resend": lambda _: {"count": self.cloud.backend.resend()},
            "fault": lambda order: self.cloud.faults.add(str(order.get("fault"))),
            "clear": lambda _: self.cloud.faults.clear(),
            "offline": lambda _: self.cloud.offline(),
            "online": lambda _: self.cloud.online(),
            "snapshot": self._take_snapshot,
            "roll_back": self._roll_back,
            "stop": lambda _: self._ended.set(),
        }
        act = acts.get(order.get("do"))
        if act is None:
            raise SetupError(f"cannot do {order.get('do')!r}", hint="device-sim cloud --help lists what it can")
        self.cloud.journal.note("did", do=order.get("do"), **(act(order) or {}))

    def _command(self, order: Event) -> Event:
        claims = order.get("claims", {})
        if not isinstance(claims, dict):
            raise SetupError("claims is no object", hint='write "claims": {…}')
        device = str(order.get("device", ""))
        return {"jti": self.cloud.backend.command(str(order.get("verb")), device=device, **claims)}

    def _policy(self, order: Event) -> Event:
        document, revision = str(order.get("document")), int(str(order.get("revision", 1)))
        return {"jti": self.cloud.backend.policy(document, revision=revision, device=str(order.get("device", "")))}

    def _take_snapshot(self, _order: Event) -> None:
        self._snapshot = self.cloud.snapshot()

    def _roll_back(self, _order: Event) -> None:
        if self._snapshot is None:
            raise SetupError("there is no snapshot", hint='{"do": "snapshot"} first')
        self.cloud.roll_back(self._snapshot)

    def _watch(self, event: Event) -> None:
        if event["event"] == "stored" and "roll_back" in self._left:
            self._left["roll_back"] -= 1
            if self._left["roll_back"] == 0:
                self._due.set()

    def _roll_back_later(self) -> None:
        self._due.wait()
        if self._snapshot is not None:
            self.cloud.roll_back(self._snapshot)


def _run_init(args: argparse.Namespace) -> int:
    try:
        made = init(
            args.new_dir,
            roles=(*ROLES, "client") if args.client else ROLES,
            alg="ES256" if args.es256 else "EdDSA",
        )
    except (CloudError, OSError) as error:
        return _failed(error)
    for file in made:
        keys = file.with_suffix(".key")
        fingerprint = Party.load(keys).fingerprint
        if args.json:
            print_json({"event": "descriptor", "file": str(file), "fingerprint": fingerprint})
        else:
            print(f"{file}: for the owner's key set, fingerprint {fingerprint}; its keys stay in {keys}")
    return 0


def _run_observe(args: argparse.Namespace) -> int:
    try:
        with ended() as to_end, observer.Observer(args.broker, args.out, identity=args.identity):
            if args.json:
                print_json({"event": "ready", "out": str(args.out)})
            else:
                print(f"recording # to {args.out}; Ctrl-C ends it", flush=True)
            to_end.wait()
    except (CloudError, OSError) as error:
        return _failed(error)
    return 0


def _whole(spec: str, argument: str) -> int:
    try:
        return int(argument or 1)
    except ValueError as error:
        raise SetupError(f"--fault {spec!r}: no whole number", hint="device-sim cloud --help shows the form") from error


def _failed(error: CloudError | OSError) -> int:
    told = words_of(error) if isinstance(error, OSError) else str(error)
    hint = getattr(error, "hint", "name a folder that you may write in: device-sim cloud init DIR makes one")
    print(f"device-sim cloud: {told}\n  next: {hint}", file=sys.stderr)
    return 2 if isinstance(error, SetupError) else 1
