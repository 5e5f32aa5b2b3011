"""``init``, ``version`` and ``policy check``: what is done before an agent runs."""

import argparse
import json
import socket
from pathlib import Path

from agent.errors import ConfigError
from agent.shell.parser import Subparsers

KINDS = ("spool", "frigate", "motioneye", "timelapse")


def add_parsers(subparsers: Subparsers) -> None:
    """Register the commands."""
    init = subparsers.add_parser(
        "init",
        help="give this device its keys and its owner, and write config and policy to edit",
        description="Make the device's keys, install its owner and write commented agent.toml and policy.toml.",
        epilog="example:  privacy-agent init --owner owner.pub --device cam-01 --source spool:/run/camera",
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
        "--medium", choices=("tmpfs", "encrypted", "disk"), default="disk", help="what the sources write on"
    )
    init.add_argument("--clock", choices=("ntp", "system"), default="ntp", help="what makes the clock trustworthy")
    init.add_argument("--json", action="store_true", help="answer as JSON")
    init.set_defaults(run=_init)

    version = subparsers.add_parser("version", help="tell the version", epilog="example:  privacy-agent version")
    version.add_argument("--json", action="store_true", help="answer as JSON")
    version.set_defaults(run=_version)

    policy = subparsers.add_parser(
        "policy", help="check a policy document", description="Check a policy document before anything obeys it."
    )
    actions = policy.add_subparsers(title="actions", required=True, metavar="ACTION")
    check = actions.add_parser(
        "check", help="read it strictly", epilog="example:  privacy-agent policy check policy.toml"
    )
    check.add_argument("file", type=Path, nargs="?", help="default: the config's")
    check.add_argument("--config", type=Path, default=None, metavar="FILE", help="agent.toml")
    check.add_argument("--dry-run", action="store_true", help="also list what it would delete of what is held now")
    check.add_argument("--json", action="store_true", help="answer as JSON")
    check.set_defaults(run=_policy_check)


def _init(arguments: argparse.Namespace) -> int:
    from agent.app import setup as first_start  # noqa: PLC0415 - what a command needs is imported by that command
    from agent.app.policy_file import read_policy  # noqa: PLC0415 - the same
    from agent.clock import system_clock  # noqa: PLC0415 - the same
    from agent.config import DEFAULT_PATH, DEFAULT_STATE, parse_config  # noqa: PLC0415 - the same

    config_path = (arguments.config or DEFAULT_PATH).absolute()
    owner_file = first_start.read_owner_file(arguments.owner)
    text = _config_text(
        arguments, device=_device_name(arguments, config_path), state=arguments.state or Path(DEFAULT_STATE)
    )
    config = parse_config(text.encode(), file=config_path)
    upload = "before-expiry" if config.broker is not None else "never"
    policy = first_start.POLICY_TEMPLATE.format(recipient=owner_file.owner.recipient, upload=upload)
    read_policy(policy.encode(), file=str(config.policy))
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
                    "fingerprint": done.fingerprint,
                    "owner_fingerprint": done.owner_fingerprint,
                    "descriptor": str(done.descriptor),
                    "written": [str(path) for path in done.written],
                    "kept": [str(path) for path in done.kept],
                }
            )
        )
        return 0
    print(f"device       {done.device}")
    print(f"fingerprint  {done.fingerprint}")
    print(f"owner        {done.owner_fingerprint}")
    for path in done.written:
        print(f"wrote        {path}")
    for path in done.kept:
        print(f"kept         {path}")
    print()
    print("Compare both fingerprints with what the owner sees:")
    print(f"  privacy-owner device add {done.descriptor}")
    print("Then look through policy.toml, check it, and start:")
    print(f"  privacy-agent doctor --config {config_path}")
    print(f"  privacy-agent run --config {config_path}")
    return 0


def _device_name(arguments: argparse.Namespace, config_path: Path) -> str:
    if config_path.exists():  # set up before: the name stays, because the owner's commands are addressed to it
        from agent.config import read_config  # noqa: PLC0415 - only where there is one

        known = read_config(config_path).device
        if arguments.device not in {None, known}:
            raise ConfigError(f"{config_path} names this device {known!r}", hint=f"leave --device out, or say {known}")
        return known
    if arguments.device:
        return str(arguments.device)
    if arguments.identity is not None:
        from agent.broker import load_identity  # noqa: PLC0415 - only where an identity is named

        return load_identity(arguments.identity).name
    return socket.gethostname().split(".", maxsplit=1)[0]


def _config_text(arguments: argparse.Namespace, *, device: str, state: Path) -> str:
    from agent.app import setup as first_start  # noqa: PLC0415 - what a command needs is imported by that command

    told = (arguments.broker, arguments.tenant, arguments.identity)
    if any(told) and not all(told):
        raise ConfigError("a broker needs all of --broker, --tenant and --identity", hint="give the missing ones")
    broker = first_start.BROKER_EXAMPLE
    if all(told):
        broker = first_start.BROKER_TEMPLATE.format(
            url=arguments.broker, tenant=arguments.tenant, identity=arguments.identity.absolute()
        )
    sources = [_source_text(source, medium=arguments.medium) for source in arguments.source]
    return first_start.CONFIG_TEMPLATE.format(
        device=device,
        policy="policy.toml",
        state=state.absolute(),
        broker=broker,
        clock=arguments.clock,
        sources="\n".join(sources) if sources else first_start.SOURCE_EXAMPLE,
    )


def _source_text(source: str, *, medium: str) -> str:
    from agent.app import setup as first_start  # noqa: PLC0415 - what a command needs is imported by that command

    kind, colon, path = source.partition(":")
    if not colon or kind not in KINDS or not path:
        raise ConfigError(
            f"--source {source!r} is not understood", hint="write KIND:PATH, for example spool:/run/camera"
        )
    return first_start.SOURCE_TEMPLATE.format(kind=kind, path=Path(path).absolute(), medium=medium)


def _version(arguments: argparse.Namespace) -> int:
    from importlib.metadata import version  # noqa: PLC0415 - what a command needs is imported by that command

    found = version("camera-privacy-agent")
    print(
        json.dumps({"version": found, "protocol": ["pv1"]})
        if arguments.json
        else f"privacy-agent {found} (protocol pv1)"
    )
    return 0


def _policy_check(arguments: argparse.Namespace) -> int:
    from agent.app.policy_file import read_policy  # noqa: PLC0415 - the same
    from agent.cli.asking import ask_agent, config_of  # noqa: PLC0415 - what a command needs is imported by that command
    from agent.shell.layout import size, table  # noqa: PLC0415 - the same

    path = arguments.file or config_of(arguments).policy
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="name the policy file") from error
    policy = read_policy(raw, file=str(path))
    plan = None
    if arguments.dry_run:
        plan = ask_agent(arguments, "dry-run", {"policy": raw.decode("utf-8"), "file": str(path)})
    if arguments.json:
        print(json.dumps({"file": str(path), "rules": [rule.scope for rule in policy.rules], "would_delete": plan}))
        return 0
    print(f"{path}: good, {len(policy.rules)} rules")
    if plan is not None:
        rows = [(item["id"], item["rule"], size(item["bytes"])) for item in plan["objects"]]
        print(
            table(rows, head=("would delete", "by rule", "size"), right=(2,))
            if rows
            else "It would delete nothing now."
        )
        if plan["asks_first"]:
            print("That is far more than expected: the pass would stop and ask the owner first.")
    return 0
