"""How a tormented process makes its promises: one line each, written to a descriptor that its parent listens to."""

import os
from collections.abc import Callable

from tests.torture.tap import SAY_FD

Say = Callable[[str], None]


def say(line: str) -> None:
    """Promise something: whoever reads this line may rely on it."""
    os.write(SAY_FD, line.encode() + b"\n")
