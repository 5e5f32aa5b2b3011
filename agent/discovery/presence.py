"""What one way of hearing shows as being there, when anybody can say anything about anybody.

1. A goodbye is believed when nothing takes a connection there any more: anybody can say it for a living camera.
2. Who takes a name over while its earlier endpoint still answers is told beside it, under a key of his own, not
   instead; so a camera that lives cannot be hidden, and one that moved is found at its new address.
3. Silence is no absence, and a name that lives on in a cache is no presence: what is shown is tried every
   ``refresh_s``, first with a connection, then with a question of the way it was heard.
4. The same words, heard again, are told again once in ``REPEAT_S``.
5. All is bounded. A new sighting takes the place of one at the address that has most of them: there of one at the port
   that has most, and of those of the one that came last. So a flood that names one address replaces itself, also where
   that is the address of a camera which was heard before.
"""

import asyncio
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Final

import msgspec

from agent.clock import ReadClock, monotonic_s, pause
from agent.discovery.interface import Links
from agent.discovery.reach import Reach
from agent.discovery.sighting import SIGHTINGS_MAX, Hear, Lost, Sighting

ADDRESSES_MAX: Final = 8
"""Of one sighting: half are kept from before, half are the newest, so that neither who came first nor who came last
can push the camera out."""

GOODBYE_S: Final = 1.0
"""How long a goodbye may be taken back by an announcement."""

REFRESH_S: Final = 60.0
MISSES_MAX: Final = 2
REPEAT_S: Final = 5.0
LOOKS_MAX: Final = 64
"""Goodbyes and names that lead elsewhere that are looked into at a time; further ones have to be said again."""

Ask = Callable[[], Awaitable[bool]]
"""Whether what was heard is still said, asked in its own way."""


async def says_nothing() -> bool:
    """Be the question of a way that cannot ask for one."""
    return False


class _Known(msgspec.Struct, kw_only=True):
    sighting: Sighting
    ask: Ask
    told_s: float
    number: int
    """In the order in which each was heard first."""
    misses: int = 0
    busy: bool = False
    """A goodbye or another endpoint is being looked into."""


class Presence:
    """The sightings of one way that are shown; ``run`` has to run beside whoever calls the rest."""

    def __init__(self, hear: Hear, read_clock: ReadClock, *, refresh_s: float = REFRESH_S) -> None:
        self._hear = hear
        self._read_clock = read_clock
        self._refresh_s = refresh_s
        self._known: dict[str, _Known] = {}  # in the order of the last word
        self._numbers = itertools.count()
        self._reach = Reach()
        self._group: asyncio.TaskGroup | None = None
        self._busy = 0

    async def run(self, beside: Coroutine[Any, Any, None]) -> None:
        """Keep what is shown true while ``beside`` hears; until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                group.create_task(beside, name="hearing")
                while True:
                    await pause(self._refresh_s)
                    async with asyncio.TaskGroup() as tries:
                        for key, known in list(self._known.items()):
                            tries.create_task(self._try(key, known), name="presence")
            finally:
                self._group = None

    def heard(self, sighting: Sighting, *, ask: Ask = says_nothing) -> None:
        """Tell of something that was heard, or look into it first if its name led elsewhere before."""
        known = self._known.get(sighting.key)
        if known is None or not moved(known.sighting, sighting):
            self._tell(sighting, ask)
        else:
            self._look_into(known, self._contest(known, sighting, ask))

    def before(self, key: str) -> Sighting | None:
        """Return what is shown under a key."""
        known = self._known.get(key)
        return known.sighting if known else None

    def goodbye(self, key: str) -> None:
        """Look into somebody's word that it leaves."""
        known = self._known.get(key)
        if known is not None:
            self._look_into(known, self._leave(key, known))

    def moved_to(self, links: Links) -> None:
        """Lose what is on no link any more."""
        for key, known in list(self._known.items()):
            if not any(links.holds(address) for address in known.sighting.addresses):
                self._lose(key)

    def _tell(self, sighting: Sighting, ask: Ask) -> None:
        now_s = monotonic_s()
        known = self._known.pop(sighting.key, None)
        fresh = known is None or now_s - known.told_s >= REPEAT_S or not _alike(known.sighting, sighting)
        if known is None and len(self._known) >= SIGHTINGS_MAX:
            self._lose(self._most_crowded())
        if known is not None and known.sighting.place != sighting.place:
            self._hear(Lost(way=sighting.way, place=known.sighting.place, key=sighting.key))
        told_s = now_s if known is None or fresh else known.told_s
        number = next(self._numbers) if known is None else known.number
        self._known[sighting.key] = _Known(sighting=sighting, ask=ask, told_s=told_s, number=number)
        if fresh:
            self._hear(sighting)

    def _most_crowded(self) -> str:
        """Return the key that makes room for another."""
        hosts = Counter(known.sighting.addresses[:1] for known in self._known.values())
        host = hosts.most_common(1)[0][0]
        there = {key: known for key, known in self._known.items() if known.sighting.addresses[:1] == host}
        ports = Counter(known.sighting.port for known in there.values())
        return max(there, key=lambda key: _goes_first(there[key], ports))

    def _look_into(self, known: _Known, work: Coroutine[Any, Any, None]) -> None:
        async def look() -> None:
            try:
                await work
            finally:
                known.busy = False
                self._busy -= 1

        if self._group is None or known.busy or self._busy >= LOOKS_MAX:
            work.close()
            return
        known.busy = True
        self._busy += 1
        self._group.create_task(look(), name="presence")

    async def _contest(self, known: _Known, newcomer: Sighting, ask: Ask) -> None:
        if await self._there(known):
            newcomer = msgspec.structs.replace(newcomer, key=f"{newcomer.key}#other")
        self._tell(newcomer, ask)

    async def _leave(self, key: str, known: _Known) -> None:
        await pause(GOODBYE_S)
        if self._known.get(key) is not known or await self._connects(known.sighting):
            return
        if self._known.get(key) is known:
            self._lose(key)

    def _lose(self, key: str) -> None:
        lost = self._known.pop(key).sighting
        self._hear(Lost(way=lost.way, place=lost.place, key=key))

    async def _try(self, key: str, known: _Known) -> None:
        there = await self._there(known)
        if self._known.get(key) is not known:
            return  # heard or lost meanwhile
        if there:
            known.told_s = float("-inf")  # this pace is ours
            self._tell(msgspec.structs.replace(known.sighting, seen_ms=self._read_clock().wall_ms), known.ask)
            return
        known.misses += 1
        if known.misses >= MISSES_MAX:
            self._lose(key)

    async def _there(self, known: _Known) -> bool:
        return await self._connects(known.sighting) or await known.ask()

    async def _connects(self, told: Sighting) -> bool:
        # Services over UDP take none; ONVIF and the others are asked over TCP.
        return not told.service.endswith("._udp") and await self._reach.any_of(told.addresses, told.port)


def _goes_first(known: _Known, ports: Mapping[int, int]) -> tuple[int, int]:
    return ports[known.sighting.port], known.number


def candidates(known: Sequence[str], now: Sequence[str]) -> tuple[str, ...]:
    """Return where to look for one camera: first of what was known, then of what is said now."""
    kept = tuple(known[: ADDRESSES_MAX // 2])
    return (*kept, *(address for address in now if address not in kept))[:ADDRESSES_MAX]


def moved(before: Sighting, now: Sighting) -> bool:
    """Whether the same name leads elsewhere than before."""
    return before.port != now.port or not set(before.addresses) & set(now.addresses)


def _alike(one: Sighting, other: Sighting) -> bool:
    return msgspec.structs.replace(one, seen_ms=other.seen_ms) == other
