"""The shell commands of ``privacy-agent``.

Each file adds its sub-commands (``add_parsers``) and sets ``run``, which takes the parsed arguments and returns the
exit code: 0 done, 1 refused or failed, 2 bad usage or a config to fix. Reason and next step go to stderr. Only this
package and ``agent/owner`` exit. What a command needs is imported by that command, so that ``encrypt`` starts at once.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence

from agent.cli import asking, crypt, doctor, running, setup
from agent.errors import AgentError, ConfigError

INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="privacy-agent",
        description="Turns a camera's privacy policy into something the device obeys.",
        epilog="first steps:  privacy-agent init --owner owner.pub --device cam-01 && privacy-agent run",
        allow_abbrev=False,
    )
    subparsers = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    setup.add_parsers(subparsers)
    running.add_parsers(subparsers)
    asking.add_parsers(subparsers)
    doctor.add_parsers(subparsers)
    crypt.add_parsers(subparsers)
    arguments = parser.parse_args(argv)
    run: Callable[[argparse.Namespace], int] = arguments.run
    try:
        return run(arguments)
    except AgentError as error:
        complain(error, as_json=getattr(arguments, "json", False))
        return 2 if isinstance(error, ConfigError) else 1
    except BrokenPipeError:
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


def complain(error: AgentError, *, as_json: bool) -> None:
    """Tell what went wrong and the next step, on stderr; as JSON on stdout where JSON was asked for."""
    if as_json:
        print(json.dumps({"error": {"kind": type(error).__name__, "message": error.message, "hint": error.hint}}))
    else:
        print(f"privacy-agent: {error}", file=sys.stderr)
