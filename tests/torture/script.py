"""A scripted life: how its home is made, what is lived in it, and what must be true of it after any fault."""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from agent.app.parts import Parts, opened
from agent.index import Tx
from tests.torture.home import Home
from tests.torture.say import Say

Going = Callable[[Parts, Home, Say], Coroutine[Any, Any, None]]


def _nothing(_tx: Tx, _parts: Parts, _home: Home) -> dict[str, Any]:
    return {}


def _no_word(_home: Home, _said: Sequence[str]) -> list[str]:
    return []


def _no_more(_home: Home, _said: Sequence[str], _seen: dict[str, Any]) -> list[str]:
    return []


@dataclass(frozen=True, slots=True)
class Script:
    """``go`` is all that is done, and done again after a start until it is finished; a repetition changes nothing.

    ``live`` is the first time, where that differs. ``look`` tells, as values that JSON has, what ``judge`` asks for:
    ``seen["found"]["look"]`` is what a start finds before ``go``, and ``seen["look"]`` what it is in the end.
    ``at_death`` judges what lies there before the start. ``see`` is for a life that leaves nothing to be opened: it
    goes on and looks by itself.
    """

    name: str
    prepare: Callable[[Home, int], None]
    go: Going
    live: Callable[[Home, Say], Coroutine[Any, Any, None]] | None = None
    look: Callable[[Tx, Parts, Home], dict[str, Any]] = _nothing
    at_death: Callable[[Home, Sequence[str]], list[str]] = _no_word
    judge: Callable[[Home, Sequence[str], dict[str, Any]], list[str]] = _no_more
    see: Callable[[Home], Coroutine[Any, Any, dict[str, Any]]] | None = None

    async def lived(self, home: Home, say: Say) -> None:
        """Live it for the first time."""
        if self.live is not None:
            await self.live(home, say)
            return
        async with opened(home.config(), read_clock=lambda: home.clock(10)) as parts:
            parts.erasure._at = lambda step: say(f"step {step}")
            await self.go(parts, home, say)
