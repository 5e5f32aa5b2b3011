"""What the four programs print when they are asked for help or for their version."""

import contextlib
import functools
import io
from collections.abc import Callable, Sequence
from typing import Final

import agent.cli
import agent.owner
import certs.__main__
import device_sim.cli

PROGRAMS: Final[dict[str, Callable[[Sequence[str]], int]]] = {
    "privacy-agent": agent.cli.main,
    "privacy-owner": agent.owner.main,
    "device-sim": device_sim.cli.main,
    "python -m certs": certs.__main__.main,
}


@functools.cache
def help_of(program: str, *words: str) -> str:
    """Return the help of a command; "" when there is no such command."""
    code, told = printed(program, *words, "--help")
    return "" if code else told


def printed(program: str, *words: str) -> tuple[object, str]:
    """Return the exit code of a call and what it printed on stdout."""
    told = io.StringIO()
    with contextlib.redirect_stdout(told), contextlib.redirect_stderr(io.StringIO()):
        try:
            code: object = PROGRAMS[program](words)
        except SystemExit as ended:
            code = ended.code
    return code, told.getvalue()
