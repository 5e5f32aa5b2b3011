"""What the sources offered and was not taken in, counted since the start: for the log, ``status`` and ``doctor``.

A hostile or broken source may offer as many such files as it likes, so what is kept has an end, and the log is told of
the first, the second, the fourth, the eighth: enough to see it, too little to fill a disk. No file is named. One that
is offered in vain again, because everything is looked at anew, is counted once.
"""

from collections import Counter
from typing import Any, Final

from agent.ingest import IngestEvent

TOLD: Final = frozenset(
    {"refused", "unreadable", "unknown_name", "deleted_before", "cameras_full", "sound_left_out", "left_out"}
)
"""What an operator has to know of; a full disk and a source that failed have alerts of their own."""

JUDGED: Final = "refused"
"""What is not wrong with a file, but with what the policy and the owner say of it."""

REASONS_MAX: Final = 32
"""Reasons of one source that are counted apart; those beyond are counted together."""

FILES_MAX: Final = 4_096
"""Files of which it is remembered that they were counted; of more the first may be counted again."""

_BEYOND: Final = "other reasons"


class Refusals:
    """The counts of one run, by source; belongs to the running event loop."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[tuple[str, str]]] = {}
        self._files: dict[int, str] = {}

    def note(self, event: IngestEvent) -> int:
        """Count an event if it is one of ``TOLD``; return how often it came if the log has to say so, else 0."""
        if event.kind not in TOLD or not self._is_news(event):
            return 0
        counts = self._counts.setdefault(event.source, Counter())
        key = (event.kind, event.reason)
        if key not in counts and len(counts) >= REASONS_MAX:
            key = (event.kind, _BEYOND)
        counts[key] += 1
        return counts[key] if counts[key].bit_count() == 1 else 0

    def _is_news(self, event: IngestEvent) -> bool:
        """Tell whether a file was not counted yet: what was destroyed is not offered again, so it always is."""
        if not event.unverified_path or event.obeys:
            return True
        file = hash((event.source, event.kind, event.reason, event.unverified_path))
        if file in self._files:
            return False
        while len(self._files) >= FILES_MAX:
            del self._files[next(iter(self._files))]
        self._files[file] = event.kind
        return True

    def judged_anew(self) -> None:
        """Forget what the policy and the owner's words kept out, for these are others now: it is offered again."""
        for counts in self._counts.values():
            for key in [key for key in counts if key[0] == JUDGED]:
                del counts[key]
        self._files = {file: kind for file, kind in self._files.items() if kind != JUDGED}

    def of(self, source: str) -> list[dict[str, Any]]:
        """Return what was not taken in of one source, the most frequent first."""
        counts = self._counts.get(source, Counter())
        return [{"kind": kind, "reason": reason, "count": count} for (kind, reason), count in counts.most_common()]
