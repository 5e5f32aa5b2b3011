"""Arguments in, exit code out: 0 done, 1 refused or failed, 2 bad usage or a file to be corrected.

Each command module registers its own parsers and sets ``run``, which takes ``(arguments, Context)`` and returns the
exit code. Errors of the five kinds end in the next step, on stderr; anything else is a bug and shows its trace.
"""

import argparse
import importlib.metadata
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from agent.clock import ReadClock, system_clock
from agent.errors import AgentError, ConfigError, RefusedError
from agent.owner import ask, enrol, keys, own, prove, unpack
from agent.owner.context import Context
from agent.owner.context import add as add_command
from agent.owner.home import DEFAULT_HOME, Home
from agent.shell.parser import Subparsers

_PARTS: Final[tuple[Callable[[Subparsers], None], ...]] = (
    own.add_parsers,
    enrol.add_parsers,
    ask.add_parsers,
    prove.add_parsers,
    unpack.add_parsers,
    keys.add_parsers,
)
_DONE: Final = 0
_FAILED: Final = 1
_USAGE: Final = 2
_BROKEN_PIPE: Final = 141  # what a shell shows for SIGPIPE


def main(argv: Sequence[str] | None = None, *, read_clock: ReadClock | None = None) -> int:
    """Run one command and return its exit code; ``read_clock`` is this machine's clock where it is not given."""
    try:
        arguments = _parser().parse_args(argv)
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else _USAGE
    context = Context(
        home=Home(Path(arguments.home).expanduser()),
        json=bool(getattr(arguments, "json", False)),
        read_clock=read_clock or system_clock(),
    )
    try:
        code: int = arguments.run(arguments, context)
        sys.stdout.flush()
    except ConfigError as error:
        return _tell(error, context, code=_USAGE)
    except AgentError as error:
        return _tell(error, context, code=_FAILED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except KeyboardInterrupt:
        print("stopped; what was signed is kept: privacy-owner pending", file=sys.stderr)
        return _FAILED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="privacy-owner",
        description="Own cameras: make the keys, say who may command them, delete, export and check what they answer.",
        epilog="example:\n  privacy-owner init && privacy-owner device add camera-1.jws && privacy-owner inventory",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--home",
        default=os.environ.get("PRIVACY_OWNER_HOME", str(DEFAULT_HOME)),
        metavar="DIR",
        help=f"the owner's folder (default {DEFAULT_HOME}, or PRIVACY_OWNER_HOME)",
    )
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in _PARTS:
        add(subparsers)
    version = add_command(subparsers, "version", summary="tell the version", example="privacy-owner version")
    version.set_defaults(run=_version)
    return parser


def _version(_arguments: argparse.Namespace, context: Context) -> int:
    number = importlib.metadata.version("camera-privacy-agent")
    context.say(f"privacy-owner {number}, protocol pv1", {"version": number, "protocol": "pv1"})
    return _DONE


def _tell(error: AgentError, context: Context, *, code: int) -> int:
    if context.json:
        told: dict[str, Any] = {"error": type(error).__name__, "message": error.message, "next": error.hint}
        if isinstance(error, RefusedError):
            told |= {"reason": error.reason, "retry": error.retry}
        print(json.dumps(told))
    print(f"privacy-owner: {error}", file=sys.stderr)
    return code
