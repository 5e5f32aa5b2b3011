"""The shell commands of ``privacy-agent``.

Each file adds its sub-commands (``add_parsers``) and sets ``run``, which takes the parsed arguments and returns the
exit code: 0 done, 1 refused or failed, 2 bad usage or a config to fix. Reason and next step go to stderr. Only this
package and ``agent/owner`` exit. What a command needs is imported by that command, so that ``encrypt`` starts at once.
"""

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

from agent.errors import AgentError, ConfigError, only_ours

INTERRUPTED: Final = 130

FILES: Final[dict[str, tuple[str, ...]]] = {
    "setup": ("init", "version", "policy"),
    "running": ("run",),
    "asking": ("status", "inventory", "explain", "export", "submit", "audit"),
    "doctor": ("doctor",),
    "crypt": ("encrypt", "decrypt", "keygen"),
}
"""Which file has which commands, in the order of ``--help``; only the named command's file is loaded."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    told = list(sys.argv[1:] if argv is None else argv)
    parser = _Parser(
        prog="privacy-agent",
        description="Turns a camera's privacy policy into something the device obeys.",
        epilog="first steps:  privacy-agent init --owner owner.pub --device cam-01 && privacy-agent run",
        allow_abbrev=False,
    )
    subparsers = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for file, names in FILES.items():
        if not told or told[0] in names or told[0] not in _commands():
            importlib.import_module(f"agent.cli.{file}").add_parsers(subparsers)
    arguments = parser.parse_args(told)
    run: Callable[[argparse.Namespace], int] = arguments.run
    try:
        return run(arguments)
    except AgentError as error:
        return _failed(error, arguments)
    except ExceptionGroup as group:  # a task of the resident agent failed, and with it the others ended
        failure = only_ours(group)
        if failure is None:
            raise
        return _failed(failure, arguments)
    except BrokenPipeError:
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


def _failed(error: AgentError, arguments: argparse.Namespace) -> int:
    complain(error, as_json=getattr(arguments, "json", False))
    return 2 if isinstance(error, ConfigError) else 1


class _Parser(argparse.ArgumentParser):
    """Keeps examples in ``--help`` as they are written, here and in every command below."""

    def __init__(self, **told: Any) -> None:  # noqa: ANN401 - argparse's own arguments
        super().__init__(**{"formatter_class": argparse.RawDescriptionHelpFormatter} | told)


def _commands() -> frozenset[str]:
    return frozenset(name for names in FILES.values() for name in names)


def complain(error: AgentError, *, as_json: bool) -> None:
    """Tell what went wrong and the next step, on stderr; as JSON on stdout where JSON was asked for."""
    if as_json:
        import json  # noqa: PLC0415 - only where JSON was asked for

        print(json.dumps({"error": {"kind": type(error).__name__, "message": error.message, "hint": error.hint}}))
    else:
        print(f"privacy-agent: {error}", file=sys.stderr)
