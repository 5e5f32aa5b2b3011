"""In which order the addresses of one camera are tried, by what came of each; pure, and it knows no time.

An address is merely heard, and anybody can announce one that passes the handshake on to the camera and cuts what comes
behind it. So only what was answered counts:

1. An address that served, which is to say that a whole answer came from there, comes first until it fails: the
   connection broke before an answer, the answer did not come in time, or a recording was cut. The last one to serve
   is before the others.
2. The others take turns: those that served before and failed since, those that were never tried, those that have only
   failed; of the first and the last the one that failed longest ago. So a flood of new ones keeps none waiting that
   served, and none that served keeps a new one waiting: a camera's own address comes first, or is among the first
   ``3 * SERVED_MAX``.
"""

import itertools
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import msgspec

from agent.camera.identity import Address

READ_STEP_BYTES: Final = 64 * 1024
"""What one word of a job about how much it read stands for."""

TRIED_MAX: Final = 16
"""Tried in one go, one after the other."""

SERVED_MAX: Final = 4
"""Remembered that they served once: a camera has one address, or one of each kind."""

_GROUPS: Final = 3


class Given(msgspec.Struct, frozen=True):
    """A connection to a camera, which proves nothing yet, and what to tell of it: it ``served``, or it ``broke``."""

    line: socket.socket
    served: Callable[[], None]
    broke: Callable[[], None]


class Routes:
    """What came of the addresses of one camera."""

    def __init__(self) -> None:
        self._served: dict[Address, None] = {}  # the one that served last is the last
        self._failed: dict[Address, None] = {}  # the one that failed last is the last
        self._turn = 0

    def served(self, address: Address) -> None:
        """Note that a whole answer came from there."""
        self._failed.pop(address, None)
        self._served.pop(address, None)
        self._served[address] = None
        if len(self._served) > SERVED_MAX:
            del self._served[next(iter(self._served))]

    def broke(self, address: Address) -> None:
        """Note that there was nobody, another one, or no whole answer."""
        self._failed.pop(address, None)
        self._failed[address] = None
        self._turn = (self._turn + 1) % _GROUPS

    def is_broken(self, address: Address) -> bool:
        """Tell whether it failed since it served last."""
        return address in self._failed

    def order(self, addresses: Iterable[Address]) -> tuple[Address, ...]:
        """Return the first ``TRIED_MAX`` to try of those where the camera may be; other failures are forgotten."""
        offered = dict.fromkeys(addresses)
        self._failed = {one: None for one in self._failed if one in offered}
        good = [one for one in reversed(self._served) if one in offered and one not in self._failed]
        groups = (
            [one for one in self._failed if one in self._served],
            [one for one in offered if one not in self._failed and one not in self._served],
            [one for one in self._failed if one not in self._served],
        )
        turned = groups[self._turn :] + groups[: self._turn]
        return tuple(itertools.islice(itertools.chain(good, _in_turns(turned)), TRIED_MAX))


def _in_turns(groups: Sequence[Sequence[Address]]) -> Iterator[Address]:
    for row in itertools.zip_longest(*groups):
        yield from (one for one in row if one is not None)
