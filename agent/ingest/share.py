"""What one source has of the flow for itself: whatever its folder keeps waiting, no other source waits for it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from agent.camera.route import Given
from agent.ingest.opening import Opened
from agent.ingest.work import OpenBatch, Work
from agent.model import Moment, Object
from agent.sealer.fetching import Connect
from agent.sources import Candidate, Source

AT_ONCE: Final = 32
"""Files of a source under way: enough that commits and folder syncs are shared, few enough to hold little."""

SEALING_AT_ONCE: Final = 2
"""Of them, those that are sealed: one waits for its fsync while the other is encrypted. Fewer than the sealer's places,
so that a source whose files cannot be read to their end leaves one to the others."""

LOGS_AT_ONCE: Final = 1
"""Batches of log files under way: it lies in memory, 16 MiB of it at most."""

OPEN_BATCHES: Final = 256
"""Cameras of a source whose log files wait for company."""


class GivesUp(Protocol):
    """How steps 5 and 6 are done at a source; never asked of one whose copies are left where they are."""

    def holding(self, candidate: Candidate) -> Object | None:
        """Return the object that holds this very file, which was read before and could not be given up."""

    async def acknowledged(self, work: Work, item: Object, moment: Moment) -> None:
        """Do step 5 for what was read and became ``item`` just now."""

    async def taken_before(self, work: Work, item: Object | None) -> None:
        """Go on with step 5 of what was here already; ``item`` is it where the content was compared."""

    async def destroy(self, work: Work) -> bool:
        """Remove what may not be taken in; tell whether there was something to remove."""

    async def recover(self, source: str) -> None:
        """Go on with what a cut came between, whenever the source was opened."""


async def _to_nobody() -> Given:
    raise AssertionError("no file is fetched")


class Share:
    """The share of one source; ``open_one`` opens a piece of work, ``giving_up`` does steps 5 and 6.

    ``connect`` gives connections to a camera.
    """

    def __init__(
        self,
        source: Source,
        *,
        open_one: Callable[[Work], Awaitable[Opened]],
        giving_up: GivesUp,
        connect: Connect = _to_nobody,
        at_once: int = AT_ONCE,
        sealing_at_once: int = SEALING_AT_ONCE,
    ) -> None:
        self.source = source
        self.connect = connect
        self.giving_up = giving_up
        self.room = asyncio.Semaphore(at_once)
        self.sealing = asyncio.Semaphore(sealing_at_once)
        self.reading = asyncio.Semaphore(LOGS_AT_ONCE)
        self.open = open_one
        self.logs: dict[str, OpenBatch] = {}
        self.under_way = 0
