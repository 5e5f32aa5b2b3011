"""What is told of files: counted always, told at most once of each."""

from collections import Counter
from collections.abc import Callable
from typing import Final

from agent.ingest.work import EventKind, IngestEvent, Work
from agent.sources.candidate import Refusal

TOLD_MAX: Final = 1024


class Telling:
    """``counts`` by kind since the start; ``on_event`` is called in the loop and must not wait."""

    def __init__(self, on_event: Callable[[IngestEvent], None]) -> None:
        self.counts: Counter[str] = Counter()
        self._on_event = on_event
        self._told: dict[tuple[str, ...], None] = {}

    def tell(self, event: IngestEvent) -> None:
        """Tell it."""
        self.counts[event.kind] += 1
        self._on_event(event)

    def once(self, kind: EventKind, work: Work, *, reason: str, key: tuple[str, ...] = ()) -> bool:
        """Tell it if it was not told of this file (or ``key``) lately; count it always."""
        return self.once_of(work.event(kind, reason=reason), key=key or (work.first.path,))

    def once_of(self, event: IngestEvent, *, key: tuple[str, ...]) -> bool:
        """Tell it if it was not told of ``key`` lately; count it always."""
        told = (event.kind, event.source, event.reason, *key)
        if told in self._told:
            self.counts[event.kind] += 1
            return False
        while len(self._told) >= TOLD_MAX:
            del self._told[next(iter(self._told))]
        self._told[told] = None
        self.tell(event)
        return True

    def take_back(self, kind: EventKind, work: Work, *, reason: str, key: tuple[str, ...]) -> None:
        """Tell it once more the next time: what belongs to it could not be written."""
        self._told.pop((kind, work.source.settings.name, reason, *key), None)

    def forget(self) -> None:
        """Tell all of it anew."""
        self._told.clear()

    def unacceptable(self, refusal: Refusal) -> None:
        """Tell of a file that its source does not offer."""
        self.tell(
            IngestEvent(
                kind=refusal.kind,
                source=refusal.source,
                reason=refusal.reason,
                unverified_path=refusal.unverified_path,
            )
        )

    def trouble(self, source: str, reason: str) -> None:
        """Tell that a source failed, or, without a reason, that it is back."""
        self.tell(IngestEvent(kind="source_failed" if reason else "source_back", source=source, reason=reason))
