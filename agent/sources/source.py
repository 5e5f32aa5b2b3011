"""What the flow asks of a source, whatever it is: a folder, or a camera with storage of its own."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from agent.model import Medium, SourceCopy
from agent.sources.candidate import Candidate

Offer = Callable[[tuple[Candidate, ...]], Awaitable[None]]
"""Takes candidates, waiting while there is no room."""

Fresh = Callable[[tuple[Candidate, ...]], Awaitable[tuple[Candidate, ...]]]
"""Returns those that were not taken before, or whose source still waits to hear that they were."""

Opened = Callable[[], Awaitable[None]]
"""Does what is due whenever the source was opened, before anything in it is looked at."""


class Terms(Protocol):
    """What is said of a source once and for all."""

    @property
    def name(self) -> str:
        """What its objects, and messages about it, call it."""

    @property
    def takes(self) -> bool:
        """Whether its copy is ours to remove: then it is read again whenever it is offered."""

    @property
    def copy(self) -> SourceCopy:
        """What becomes of its copy."""

    @property
    def medium(self) -> Medium:
        """What its copies lie on."""

    @property
    def batch_bytes(self) -> int:
        """How much of usage logs is read line by line and sealed together."""

    @property
    def batch_age_s(self) -> float:
        """How long usage logs wait for each other."""


class Source(Protocol):
    """Notices what is complete, and offers it."""

    @property
    def settings(self) -> Terms:
        """What is said of it."""

    async def open(self) -> object:
        """Make sure that it can be looked at; raises ``ConfigError`` or ``MediumError`` when it cannot."""

    async def run(self, offer: Offer, fresh: Fresh, opened: Opened) -> None:
        """Offer what becomes complete, for ever."""

    async def scan(self, offer: Offer, fresh: Fresh, *, at_once: bool = False) -> None:
        """Look at everything once; raises what ``open`` does."""

    def reconsider(self) -> None:
        """Look at everything again soon, also at what was refused."""

    def again(self, path: str) -> None:
        """Offer one of its files again later."""

    def give_back(self, fd: int) -> None:
        """Close a descriptor of one of its files."""

    def close(self) -> None:
        """Give everything back, once nobody asks any more."""
