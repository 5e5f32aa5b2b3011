"""How a shell command ends: one table of exit codes, and one way to tell what went wrong.

The words go to stderr and end in the next step. Where JSON was asked for, stdout gets the same as one document:
``{"error": {"kind", "message", "hint"}}``, with ``reason`` and ``retry`` of a refusal.
"""

import errno
import os
import sys
from collections.abc import Callable
from typing import Final

from agent.errors import (
    AgentError,
    ConfigError,
    CorruptError,
    LinkError,
    RefusedError,
    SpaceError,
    kind_of,
    only_ours,
    told_of,
)

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130  # what a shell shows for SIGINT
BROKEN_PIPE: Final = 141  # what a shell shows for SIGPIPE

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Of standard output: wherever else we write, this is a ``SpaceError`` already."""

_NEXT: Final[dict[type[AgentError], str]] = {
    ConfigError: "correct what is named, then run it again",
    RefusedError: "docs/protocol.md §5 says what the reason means",
    CorruptError: "fetch the file again from where it was made; nothing mends this copy",
    LinkError: "try again in a while",
    SpaceError: "make room, then run it again",
}
"""The next step where the error itself names none."""


def ended(run: Callable[[], int], *, program: str, as_json: bool, interrupted: Callable[[], str] = str) -> int:
    """Run a command and return its exit code; an error that is none of the five kinds is a bug and goes on.

    What ``interrupted`` returns is said when the command is stopped by Ctrl-C.
    """
    try:
        try:
            code = run()
        except AgentError as error:
            code = complain(error, program=program, as_json=as_json)
        except ExceptionGroup as group:  # a task failed, and with it the others ended
            failure = only_ours(group)
            if failure is None:
                raise
            code = complain(failure, program=program, as_json=as_json)
        except SystemExit as ending:  # argparse, after --help
            code = ending.code if isinstance(ending.code, int) else DONE
        sys.stdout.flush()
    except BrokenPipeError:
        _say_no_more()
        return BROKEN_PIPE
    except OSError as error:
        if error.errno not in _FULL:
            raise
        _say_no_more()
        full = SpaceError("no room for what this command writes", hint="make room, or send its output elsewhere")
        return complain(full, program=program, as_json=False)
    except KeyboardInterrupt:
        if left := interrupted():
            print(left, file=sys.stderr)
        return INTERRUPTED
    return code


def _say_no_more() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is left unsaid goes there when the process ends


def next_step(error: AgentError) -> str:
    """Return what a person does next: what the error names, else what helps with its kind."""
    return error.hint or _NEXT[kind_of(error)]


def complain(error: AgentError, *, program: str, as_json: bool) -> int:
    """Tell what went wrong and the next step; return the exit code that says so."""
    hint = next_step(error)
    print(f"{program}: {error.message}\n  next: {hint}", file=sys.stderr)
    if as_json:
        import json

        print(json.dumps({"error": told_of(error) | {"hint": hint}}, ensure_ascii=False))
    return USAGE if isinstance(error, ConfigError) else FAILED
