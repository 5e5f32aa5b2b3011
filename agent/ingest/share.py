"""What one source has of the flow for itself: whatever its folder keeps waiting, no other source waits for it."""

import asyncio
from collections.abc import Callable
from typing import Final

from agent.ingest.opening import Opened
from agent.ingest.together import beneath
from agent.ingest.work import OpenBatch, Work
from agent.sources import FolderSource
from agent.sources.root import Root

AT_ONCE: Final = 32
"""Files of a source under way: enough that commits and folder syncs are shared, few enough to hold little."""

SEALING_AT_ONCE: Final = 2
"""Of them, those that are sealed: one waits for its fsync while the other is encrypted. Fewer than the sealer's places,
so that a source whose files cannot be read to their end leaves one to the others."""

LOGS_AT_ONCE: Final = 1
"""Batches of log files under way: it lies in memory, 16 MiB of it at most."""

OPEN_BATCHES: Final = 256
"""Cameras of a source whose log files wait for company."""


class Share:
    """The share of one source; ``open_one`` opens a piece of work in the source's thread."""

    def __init__(self, source: FolderSource, *, open_one: Callable[[Root, Work], Opened]) -> None:
        self.source = source
        self.room = asyncio.Semaphore(AT_ONCE)
        self.sealing = asyncio.Semaphore(SEALING_AT_ONCE)
        self.reading = asyncio.Semaphore(LOGS_AT_ONCE)
        self.open = beneath(source, open_one)
        self.logs: dict[str, OpenBatch] = {}
        self.under_way = 0
