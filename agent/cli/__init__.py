"""The shell commands of ``privacy-agent``.

Each file adds its sub-commands (``add_parsers``) and sets ``run``, which takes the parsed arguments and returns the
exit code; ``agent/shell/ending.py`` has the codes and tells what went wrong. Only this package and ``agent/owner``
exit. What a command needs is imported by that command, so that ``encrypt`` starts at once.
"""

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Final

from agent.errors import ConfigError
from agent.shell.ending import ended
from agent.shell.parser import Parser, Version, commands_of

FILES: Final[dict[str, tuple[str, ...]]] = {
    "setup": ("init", "version"),
    "policy": ("policy",),
    "running": ("run",),
    "asking": ("status", "inventory", "explain", "export", "audit"),
    "scrub": ("scrub",),
    "discovering": ("discover",),
    "enrolling": ("enrol",),
    "cameras": ("cameras", "forget-camera"),
    "switching": ("collection", "passkey"),
    "counts": ("counts",),
    "submitting": ("submit",),
    "consents": ("consents",),
    "integrations": ("integrations",),
    "doctor": ("doctor",),
    "crypt": ("encrypt", "decrypt", "keygen"),
}
"""Which file has which commands, in the order of ``--help``; only the named command's file is loaded."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    told = list(sys.argv[1:] if argv is None else argv)
    return ended(lambda: _run(told), program="privacy-agent", as_json="--json" in told)


def _run(told: Sequence[str]) -> int:
    parser = Parser(
        prog="privacy-agent",
        description="Turns a camera's privacy policy into something the device obeys.",
        epilog="first steps:\n  privacy-agent init --owner owner.pub --device cam-01 && privacy-agent run",
    )
    parser.add_argument("--version", action=Version)
    if told and told[0].partition("=")[0] == "--config":
        raise ConfigError("--config stands behind the command", hint="privacy-agent COMMAND --config FILE")
    subparsers = commands_of(parser)
    for file, names in FILES.items():
        if not told or told[0] in names or told[0] not in _commands():
            importlib.import_module(f"agent.cli.{file}").add_parsers(subparsers)
    arguments = parser.read(told)
    run: Callable[[argparse.Namespace], int] = arguments.run
    return run(arguments)


def _commands() -> frozenset[str]:
    return frozenset(name for names in FILES.values() for name in names)
