"""Arguments in, exit code out; ``agent/shell/ending.py`` has the codes and tells what went wrong.

Each command module registers its own parsers and sets ``run``, which takes ``(arguments, Context)`` and returns the
exit code.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from agent.clock import ReadClock, system_clock
from agent.owner import (
    alerts,
    answers,
    ask,
    consent,
    correct,
    ending,
    enrol,
    farewell,
    freeze,
    keys,
    own,
    policy,
    prove,
    requests,
    succession,
    unpack,
)
from agent.owner.context import Context
from agent.owner.context import add as add_command
from agent.owner.home import DEFAULT_HOME, Home
from agent.shell.ending import DONE, ended
from agent.shell.parser import Parser, Subparsers, Version, commands_of
from agent.shell.version import version_facts, version_line

_PARTS: Final[tuple[Callable[[Subparsers], None], ...]] = (
    own.add_parsers,
    enrol.add_parsers,
    succession.add_parsers,
    ask.add_parsers,
    consent.add_parsers,
    farewell.add_parsers,
    correct.add_parsers,
    requests.add_parsers,
    policy.add_parsers,
    freeze.add_parsers,
    answers.add_parsers,
    alerts.add_parsers,
    ending.add_parsers,
    prove.add_parsers,
    unpack.add_parsers,
    keys.add_parsers,
)


def main(argv: Sequence[str] | None = None, *, read_clock: ReadClock | None = None) -> int:
    """Run one command and return its exit code; ``read_clock`` is this machine's clock where it is not given."""
    told = list(sys.argv[1:] if argv is None else argv)
    kept: list[str] = []
    return ended(
        lambda: _run(told, read_clock or system_clock(), kept),
        program="privacy-owner",
        as_json="--json" in told,
        interrupted=lambda: _stopped(kept),
    )


def _stopped(kept: Sequence[str]) -> str:
    """Say what a command leaves behind that Ctrl-C ended."""
    if not kept:
        return "stopped; nothing was sent"
    what = f"command {kept[0]} is" if len(kept) == 1 else f"{len(kept)} commands are"
    return (
        f"stopped; {what} kept, and the device may have {'it' if len(kept) == 1 else 'them'}\n"
        "  next: privacy-owner resend sends again what has no final answer; privacy-owner pending shows it"
    )


def _run(told: Sequence[str], read_clock: ReadClock, kept: list[str]) -> int:
    arguments = _parser().read(told)
    run: Callable[[argparse.Namespace, Context], int] = arguments.run
    return run(
        arguments,
        Context(
            home=Home(Path(arguments.home).expanduser()),
            json=bool(getattr(arguments, "json", False)),
            read_clock=read_clock,
            kept=kept,
        ),
    )


def _parser() -> Parser:
    parser = Parser(
        prog="privacy-owner",
        description="Own cameras: make the keys, say who may command them, delete, export and check what they answer.",
        epilog="example:\n  privacy-owner init && privacy-owner device add camera-1.jws && privacy-owner inventory",
    )
    parser.add_argument(
        "--home",
        default=os.environ.get("PRIVACY_OWNER_HOME", str(DEFAULT_HOME)),
        metavar="DIR",
        help=f"the owner's folder (default {DEFAULT_HOME}, or PRIVACY_OWNER_HOME)",
    )
    parser.add_argument("--version", action=Version)
    subparsers = commands_of(parser)
    for add in _PARTS:
        add(subparsers)
    add_command(
        subparsers,
        "version",
        summary="tell the version and the protocol that it speaks",
        example="privacy-owner version --json",
        run=_version,
    )
    return parser


def _version(_arguments: argparse.Namespace, context: Context) -> int:
    context.say(version_line("privacy-owner"), version_facts())
    return DONE
