"""Whose turn it is to be checked, when anybody can announce as much as he likes; pure.

1. A better rank is before all others.
2. Within a rank the hosts take turns, and one of which nothing waited is next: so a flood that names a few hosts keeps
   no camera at another one waiting.
3. Of a host's own the one that came last is next: in a flood that is too fast to be looked at, who came last has as
   good a chance as anybody, and who came first would have none.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Turns(Generic[T]):
    """What waits, each once."""

    def __init__(self, *, ranks: int) -> None:
        self._ranks: list[OrderedDict[str, OrderedDict[T, None]]] = [OrderedDict() for _ in range(ranks)]
        self._where: dict[T, tuple[int, str]] = {}

    def __len__(self) -> int:
        return len(self._where)

    def put(self, one: T, *, rank: int, host: str) -> None:
        """Let it wait; where it waits already it waits here instead."""
        self.remove(one)
        hosts = self._ranks[rank]
        if host not in hosts:
            hosts[host] = OrderedDict()
            hosts.move_to_end(host, last=False)
        hosts[host][one] = None
        self._where[one] = rank, host

    def take(self) -> T | None:
        """Return whose turn it is, which waits no more; ``None`` where nothing waits."""
        for hosts in self._ranks:
            if hosts:
                host = next(iter(hosts))
                one = next(reversed(hosts[host]))
                self.remove(one)
                if host in hosts:
                    hosts.move_to_end(host)
                return one
        return None

    def remove(self, one: T) -> None:
        """Let it wait no more, if it did."""
        if one not in self._where:
            return
        rank, host = self._where.pop(one)
        waiting = self._ranks[rank][host]
        del waiting[one]
        if not waiting:
            del self._ranks[rank][host]

    def keep(self, waits: Callable[[T], bool]) -> None:
        """Drop what waits in vain."""
        for one in [one for one in self._where if not waits(one)]:
            self.remove(one)
