"""``init`` and ``version``: what is done before an agent runs."""

import argparse
import json
import re
import shlex
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from agent.errors import ConfigError
from agent.shell.parser import Subparsers, add

if TYPE_CHECKING:
    from agent.config import Config

KINDS = ("spool", "frigate", "motioneye", "timelapse")
MEDIUM = "disk"
CLOCK = "ntp"
PRESETS = ("default", "a", "b")
"""Beside ``agent/app/preset.py``, which a shell that asks for its options only does not load."""


def add_parsers(subparsers: Subparsers) -> None:
    """Register the commands."""
    init = add(
        subparsers,
        "init",
        summary="give this device its keys and its owner, and write config and policy to edit",
        example="privacy-agent init --owner owner.pub --device cam-01 --source spool:/run/camera",
        detail="What is there already is kept.",
        run=_init,
    )
    init.add_argument("--owner", required=True, type=Path, metavar="FILE", help="owner.pub of: privacy-owner init")
    init.add_argument(
        "--device", metavar="NAME", help="name of this device; default: the TLS certificate's, or the host's"
    )
    init.add_argument("--config", type=Path, default=None, metavar="FILE", help="where agent.toml goes")
    init.add_argument("--state", type=Path, default=None, metavar="DIR", help="where vault, index and keys go")
    init.add_argument("--broker", metavar="URL", help="mqtts://HOST:PORT")
    init.add_argument("--tenant", metavar="NAME", help="the tenant in every topic")
    init.add_argument("--identity", type=Path, metavar="DIR", help="folder with tls.crt, tls.key, ca.crt")
    init.add_argument(
        "--source",
        action="append",
        default=[],
        metavar="KIND:PATH",
        help=f"{' | '.join(KINDS)}, then its folder; repeatable",
    )
    init.add_argument(
        "--medium", choices=("tmpfs", "encrypted", "disk"), help=f"what the sources write on (default: {MEDIUM})"
    )
    init.add_argument(
        "--preset",
        metavar="NAME",
        help=f"the policy to begin with: {PRESETS[0]}, or what vendor A or B promises: a, b",
        choices=PRESETS,
    )
    init.add_argument("--region", metavar="NAME", help="the only region where a store may keep what is uploaded")
    init.add_argument("--clock", choices=("ntp", "system"), help=f"what makes the clock trustworthy (default: {CLOCK})")
    init.add_argument(
        "--tpm",
        nargs="?",
        const="",
        metavar="TCTI",
        help="keep the keys in this machine's TPM 2.0, or in the one that tpm2-tss calls TCTI",
    )
    init.add_argument("--json", action="store_true", help="answer as JSON")

    version = add(
        subparsers,
        "version",
        summary="tell the version and the protocol that it speaks",
        example="privacy-agent version --json",
        run=_version,
    )
    version.add_argument("--json", action="store_true", help="answer as JSON")


def _init(arguments: argparse.Namespace) -> int:
    from agent.app import setup as first_start
    from agent.app.preset import preset
    from agent.clock import system_clock
    from agent.config import DEFAULT_PATH, DEFAULT_STATE, parse_config, read_config
    from agent.process import keep_memory

    keep_memory()
    config_path = (arguments.config or DEFAULT_PATH).absolute()
    owner_file = first_start.read_owner_file(arguments.owner)
    known = read_config(config_path) if config_path.exists() else None
    state = arguments.state or (Path(DEFAULT_STATE) if known is None else known.state)
    text = _config_text(arguments, device=_device_name(arguments, known), state=state)
    told = parse_config(text.encode(), file=config_path)
    config, unused = (told, []) if known is None else (known, _unused(arguments, told, known))
    policy = preset(
        arguments.preset or PRESETS[0],
        owner=owner_file.owner.recipient,
        region=arguments.region or "",
        uploads=config.broker is not None,
    )
    named = {"--preset": arguments.preset, "--region": arguments.region}
    is_other = config.policy.exists() and config.policy.read_bytes() != policy.encode()
    unread = [option for option, value in named.items() if is_other and value is not None]
    done = first_start.initialise(
        config,
        owner_file,
        documents={config.policy: policy, config_path: text},
        read_clock=system_clock(source=config.clock),
    )
    if arguments.json:
        print(
            json.dumps(
                {
                    "device": done.device,
                    "keystore": done.engine,
                    "fingerprint": done.fingerprint,
                    "owner_fingerprint": done.owner_fingerprint,
                    "descriptor": str(done.descriptor),
                    "written": [str(path) for path in done.written],
                    "kept": [str(path) for path in done.kept],
                    "unused": unused + unread,
                }
            )
        )
        return 0
    print(f"device       {done.device}")
    print(f"fingerprint  {done.fingerprint}")
    print(f"owner        {done.owner_fingerprint}")
    print(f"keystore     {done.engine}")
    for path in done.written:
        print(f"wrote        {path}")
    for path in done.kept:
        print(f"kept         {path}")
    _tell_unused(config_path, unused)
    _tell_unused(config.policy, unread)
    print()
    print("Compare both fingerprints with what the owner sees:")
    print(f"  privacy-owner device add {shlex.quote(str(done.descriptor))}")
    print("Then look through policy.toml, check it, and start:")
    print(f"  {config.command('doctor')}")
    print(f"  {config.command('run')}")
    return 0


def _tell_unused(path: Path, options: list[str]) -> None:
    if options:
        print(
            f"privacy-agent: {path} was kept as it is; not used: {', '.join(options)}\n"
            f"  next: edit {path}, or move it away and run this again",
            file=sys.stderr,
        )


def _device_name(arguments: argparse.Namespace, known: "Config | None") -> str:
    if known is not None:  # set up before: the name stays, because the owner's commands are addressed to it
        if arguments.device not in {None, known.device}:
            raise ConfigError(
                f"{known.file} names this device {known.device!r}", hint=f"leave --device out, or say {known.device}"
            )
        return known.device
    named = _certificate_name(arguments)
    if named is None:
        return str(arguments.device or socket.gethostname().split(".", maxsplit=1)[0])
    if arguments.device not in {None, named}:
        raise ConfigError(
            f"the certificate names {named!r}, --device {arguments.device!r}: commands would not arrive",
            hint=f"leave --device out, or give the identity of this device: --identity DIR/{arguments.device}",
        )
    return named


def _certificate_name(arguments: argparse.Namespace) -> str | None:
    """Return whom the TLS identity names; one that comes later is none yet, unless the name is to be read from it."""
    from agent.broker import load_identity
    from agent.broker.identity import CERTIFICATE

    folder = arguments.identity
    if folder is None or (arguments.device is not None and not (folder / CERTIFICATE).exists()):
        return None
    return load_identity(folder).name


def _unused(arguments: argparse.Namespace, told: "Config", known: "Config") -> list[str]:
    """Return the options whose values the config that is kept does not hold."""
    held = {(source.kind, source.path): source.medium for source in known.sources}
    wanted = {(source.kind, source.path): source.medium for source in told.sources}
    both = held.keys() & wanted.keys()
    unused = {
        "--state": arguments.state is not None and told.state != known.state,
        "--broker": told.broker not in {None, known.broker},
        "--clock": arguments.clock is not None and told.clock != known.clock,
        "--tpm": arguments.tpm is not None and told.tpm != known.tpm,
        "--source": not wanted.keys() <= held.keys(),
        "--medium": arguments.medium is not None and any(held[one] != wanted[one] for one in both),
    }
    names = {"--broker": ("--broker", "--tenant", "--identity")}
    return [name for option, is_unused in unused.items() if is_unused for name in names.get(option, (option,))]


def _config_text(arguments: argparse.Namespace, *, device: str, state: Path) -> str:
    from agent.app import setup as first_start

    told = (arguments.broker, arguments.tenant, arguments.identity)
    if any(told) and not all(told):
        raise ConfigError("a broker needs all of --broker, --tenant and --identity", hint="give the missing ones")
    broker = first_start.BROKER_EXAMPLE
    if all(told):
        broker = first_start.BROKER_TEMPLATE.format(
            url=arguments.broker, tenant=arguments.tenant, identity=arguments.identity.absolute()
        )
    keystore = first_start.KEYSTORE_EXAMPLE
    if arguments.tpm is not None:
        keystore = first_start.KEYSTORE_TEMPLATE
        if arguments.tpm:
            keystore = re.sub(r"(?m)^# tcti = .*$", f"tcti = {json.dumps(arguments.tpm)}", keystore)
    sources = [_source_text(source, medium=arguments.medium or MEDIUM) for source in arguments.source]
    return first_start.CONFIG_TEMPLATE.format(
        device=device,
        policy="policy.toml",
        state=state.absolute(),
        broker=broker,
        keystore=keystore,
        clock=arguments.clock or CLOCK,
        sources="\n".join(sources) if sources else first_start.SOURCE_EXAMPLE,
    )


def _source_text(source: str, *, medium: str) -> str:
    from agent.app import setup as first_start

    kind, colon, path = source.partition(":")
    if not colon or kind not in KINDS or not path:
        raise ConfigError(
            f"--source {source!r} is not understood", hint="write KIND:PATH, for example spool:/run/camera"
        )
    return first_start.SOURCE_TEMPLATE.format(kind=kind, path=Path(path).absolute(), medium=medium)


def _version(arguments: argparse.Namespace) -> int:
    from agent.shell.version import version_facts, version_line

    print(json.dumps(version_facts()) if arguments.json else version_line("privacy-agent"))
    return 0
