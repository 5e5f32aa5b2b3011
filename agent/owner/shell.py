"""Arguments in, exit code out; ``agent/shell/ending.py`` has the codes and tells what went wrong.

Each command module registers its own parsers and sets ``run``, which takes ``(arguments, Context)`` and returns the
exit code.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from agent.clock import ReadClock, system_clock
from agent.owner.context import Context
from agent.owner.context import add as add_command
from agent.owner.home import DEFAULT_HOME, HOME_VARIABLE, Home
from agent.shell.ending import DONE, ended
from agent.shell.parser import Parser, Version, commands_of
from agent.shell.version import version_facts, version_line

FILES: Final[dict[str, tuple[str, ...]]] = {
    "own": ("init", "recover"),
    "enrol": ("device", "client"),
    "succession": ("replace-root",),
    "ask": ("delete", "export", "inventory", "approve", "time"),
    "consent": ("consent", "withdraw", "object"),
    "farewell": ("erase-all",),
    "correct": ("rectify",),
    "requests": ("requests",),
    "policy": ("policy",),
    "freeze": ("restrict", "unrestrict", "hold", "release"),
    "answers": ("pending", "resend", "forget", "listen", "receipt", "receipts"),
    "alerts": ("alerts",),
    "ending": ("end-service",),
    "prove": ("verify",),
    "unpack": ("open",),
    "keys": ("keygen", "decrypt"),
}
"""Which file has which commands, in the order of ``--help``; only the named command's file is loaded."""


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
    arguments = _parser(_named(told)).read(told)
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


def _named(told: Sequence[str]) -> str:
    """Return the first word that is neither an option nor the value of the one that has a value."""
    words = iter(told)
    for word in words:
        if word == "--home":
            next(words, None)
        elif not word.startswith("-"):
            return word
    return ""


def _parser(named: str) -> Parser:
    """Make the parser of the command of that name; of all commands where there is none."""
    parser = Parser(
        prog="privacy-owner",
        description="Own cameras: make the keys, say who may command them, delete, export and check what they answer.",
        epilog="first steps:\n"
        "  privacy-owner init\n"
        f"  privacy-agent init --owner {DEFAULT_HOME}/owner.pub --device cam-01 --config agent.toml --state state\n"
        "  privacy-owner device add state/device.jws",
    )
    parser.add_argument(
        "--home",
        default=os.environ.get(HOME_VARIABLE, str(DEFAULT_HOME)),
        metavar="DIR",
        help=f"the owner's folder (default {DEFAULT_HOME}, or {HOME_VARIABLE})",
    )
    parser.add_argument("--version", action=Version)
    subparsers = commands_of(parser)
    all_of_them = named not in {"version", *(name for names in FILES.values() for name in names)}
    for file, names in FILES.items():
        if all_of_them or named in names:
            importlib.import_module(f"agent.owner.{file}").add_parsers(subparsers)
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
