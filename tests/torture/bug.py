"""One mistake that this harness must find."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bug:
    """``make`` puts it into this process; it shows in ``scenario``."""

    name: str
    scenario: str
    make: Callable[[], None]
