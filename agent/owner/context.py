"""What every command gets: the home, the clock, how to speak."""

import argparse
import json
import sys
from collections.abc import Callable

import msgspec

from agent.clock import MS_PER_S, ReadClock
from agent.errors import ConfigError
from agent.owner.home import Home
from agent.shell.parser import Subparsers
from agent.shell.parser import add as add_command
from agent.shell.terminal import heading


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """One call of ``privacy-owner``; ``json`` asks for one JSON document on stdout."""

    home: Home
    json: bool
    read_clock: ReadClock
    kept: list[str]
    """Commands that are on their way: what a person who stops this has to know of."""

    def now_ms(self) -> int:
        """Return Unix milliseconds; read once per decision."""
        return self.read_clock().wall_ms

    def now_s(self) -> int:
        """Return Unix seconds."""
        return self.now_ms() // MS_PER_S

    def say(self, text: str, facts: object) -> None:
        """Print the result: the text for a person, the facts for a program."""
        if self.json:
            print(json.dumps(msgspec.to_builtins(facts), ensure_ascii=False))
        elif text:
            print(text)

    def note(self, text: str) -> None:
        """Tell a person how it goes, on stderr."""
        if text:
            print(text, file=sys.stderr)

    def confirm(self, question: str, *, yes: bool, hint: str) -> None:
        """Ask on a terminal unless ``yes`` was said already; raises ``ConfigError`` where the answer is another.

        Without a terminal nobody can answer, and that is no yes.
        """
        if yes:
            return
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise ConfigError(
                f"{question} Nobody is here to be asked; nothing was done", hint=f"{hint}; or --yes, if that is meant"
            )
        print(heading(f"{question} Type yes:", stream=sys.stderr), end=" ", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() != "yes":
            raise ConfigError("not confirmed; nothing was done", hint=hint)


def add(
    subparsers: Subparsers,
    name: str,
    *,
    summary: str,
    example: str,
    run: Callable[[argparse.Namespace, Context], int],
    detail: str = "",
) -> argparse.ArgumentParser:
    """Add one command with its example and ``--json``; ``run`` carries it out and returns the exit code."""
    parser = add_command(subparsers, name, summary=summary, example=example, detail=detail, run=run)
    parser.add_argument("--json", action="store_true", help="tell the result as JSON")
    return parser
