"""Orders to a running simulator, one a line: what a person's hand, a storm or a thief would do to a camera. Pure.

    break NAME WHAT      mend NAME WHAT      setup NAME [SECONDS]      collect NAME on|off      consent NAME on|off
    show                 stop

NAME is a camera's name, its id, a hub's name, or ``all``; quoted as in a shell where it has spaces.
"""

import shlex
from dataclasses import dataclass
from typing import Final, Literal, get_args

from device_sim.camera.breakage import BREAKAGES
from device_sim.camera.device import SETUP_S

Verb = Literal["break", "mend", "setup", "collect", "consent", "show", "stop"]

VERBS: Final[tuple[Verb, ...]] = get_args(Verb)
LINE_BYTES: Final = 1024

_SWITCH: Final = ("on", "off")


class OrderError(Exception):
    """Not an order; the text says what is."""


@dataclass(frozen=True, slots=True)
class Order:
    """One order, read; ``argument`` is a breakage, seconds, or ``on`` and ``off``."""

    verb: Verb
    name: str = ""
    argument: str = ""

    @property
    def on(self) -> bool:
        """Of a switch."""
        return self.argument == "on"


def read(line: str) -> Order:
    """Read one line; raises ``OrderError``."""
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise OrderError(f"{error}: quote names as in a shell") from None
    verb = next((one for one in VERBS if words and words[0] == one), None)
    if verb is None:
        raise OrderError(f"no such order; there are: {' '.join(VERBS)}")
    if verb in {"show", "stop"}:
        return _counted(Order(verb), words, least=1, most=1)
    order = Order(verb, *words[1:3])
    if verb == "setup":
        order = _counted(Order(verb, order.name, order.argument or f"{SETUP_S:g}"), words, least=2, most=3)
        _seconds(order.argument)
        return order
    choices = BREAKAGES if verb in {"break", "mend"} else _SWITCH
    order = _counted(order, words, least=3, most=3)
    if order.argument not in choices:
        raise OrderError(f"{verb} wants one of: {' '.join(choices)}")
    return order


def _counted(order: Order, words: list[str], *, least: int, most: int) -> Order:
    if not least <= len(words) <= most:
        raise OrderError(
            f"{order.verb} wants {least - 1 if least == most else f'{least - 1} or {most - 1}'} words more"
        )
    return order


def _seconds(text: str) -> None:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:9]) <= SETUP_S:
        raise OrderError(f"a set-up window is open for 1 to {SETUP_S:g} seconds")
