"""What the index knows of a file at its source: taken before, deleted before, of which camera."""

from functools import partial
from typing import Final, Protocol

import msgspec

from agent import bookmark, registry, tombstone
from agent.bookmark import Bookmark
from agent.index import Tx
from agent.ingest.growing import Piece, look_tag, related_tags
from agent.ingest.work import Work, is_read_by_line, source_tag
from agent.policy import Rights
from agent.sources import Candidate
from agent.tombstone import CHANGED_DOUBT_MS, Forbidden
from agent.vault import Vault

_ABOVE_ALL: Final = 2**63 - 1


class RightsAtIngest(Protocol):
    """What tells what stands over something that is not here yet; ``camera`` is ``""`` for one that has no id yet."""

    def __call__(
        self,
        tx: Tx,
        /,
        *,
        camera: str,
        category: str,
        captured_from_ms: int,
        captured_to_ms: int,
        by_our_clock: bool = False,
    ) -> Rights:
        """Return it; ``by_our_clock`` where agent time tells when it was recorded, and no clock of its own."""
        ...


def no_rights(_tx: Tx, **_place: object) -> Rights:
    """Return what stands over everything where nobody asked anything."""
    return Rights()


class Found(msgspec.Struct, frozen=True):
    """What the index knows of one piece of work that was not read; ``taken`` only where its source keeps its copy.

    ``rights`` are what stands over it, by all that may be the time at which it was recorded.
    Of a log that grows it is what is taken next that may be forbidden: that is known once it was read, from one of the
    ``bookmarks`` on. Where it has some, ``rights`` are by its last change alone, whatever its name says: each piece is
    judged once it was read. ``one_too_many`` is a new one that there is no room to know. ``wanted``: what was taken of
    a camera's recording is damaged here, so it is fetched again.
    """

    taken: bool
    forbidden: Forbidden | None
    camera: str
    rights: Rights
    bookmarks: tuple[Bookmark, ...] = ()
    one_too_many: bool = False
    wanted: bool = False


class Known:
    """Asks inside the caller's transaction; ``taking`` names the sources whose copies are ours to empty."""

    def __init__(self, vault: Vault, *, rights: RightsAtIngest, taking: frozenset[str]) -> None:
        self._vault = vault
        self._rights = rights
        self._taking = taking

    @property
    def key(self) -> bytes:
        """The key under which files are known again."""
        return self._vault.keystore.tombstone_key()

    def is_new(self, tx: Tx, candidate: Candidate, tag: bytes) -> bool:
        """Return whether to offer it.

        What is ours to give up always is: it may be another that looks the same. So is what a camera waits with; of
        what it does not wait with any more, only what was deleted here, and what is damaged.
        """
        told = candidate.told
        if told is not None and told.acknowledged:
            if self._vault.wants(tx, tag):
                return True
            found = self.forbidden(tx, candidate, camera=told.camera)
            return found is not None and found.certain and not self._taken(tx, candidate, tag)
        return told is not None or self._takes(candidate) or not self._taken(tx, candidate, tag)

    def find(self, tx: Tx, work: Work) -> Found:
        """Return what is known of a piece of work by its first file, unread."""
        first = work.first
        camera = first.told.camera if first.told is not None else self._camera(tx, first)
        taken = not self._takes(first) and self._taken(tx, first, source_tag(first, key=self.key))
        bookmarks = bookmark.related(tx, **related_tags(first, key=self.key)) if work.is_log and not taken else ()
        goes_on = work.grows and bool(bookmarks)
        stands = self.stands_over(tx, _as_last_changed(first) if goes_on else first, camera=camera)
        if not work.grows or taken:
            wanted = first.told is not None and self._vault.wants(tx, source_tag(first, key=self.key))
            return Found(taken, self.forbidden(tx, first, camera=camera), camera, stands, bookmarks, wanted=wanted)
        return Found(taken, None, camera, stands, bookmarks, one_too_many=not bookmarks and bookmark.is_full(tx))

    def stands_over(self, tx: Tx, candidate: Candidate, *, camera: str) -> Rights:
        """Return what stands over a file that was not read, by all that may be when it was recorded."""
        place, doubt_ms = candidate.place, candidate.doubt_ms
        dated = candidate.is_dated
        return self._rights(
            tx,
            camera=camera,
            category=place.category,
            captured_from_ms=place.captured_from_ms - doubt_ms if dated else 0,
            captured_to_ms=place.captured_to_ms + doubt_ms if dated else _ABOVE_ALL,
        )

    def _camera(self, tx: Tx, candidate: Candidate) -> str:
        return registry.find_camera(tx, candidate.source, candidate.place.label) or ""

    def _taken(self, tx: Tx, candidate: Candidate, tag: bytes) -> bool:
        """Tell whether it was taken as it is; of a log nothing is read then."""
        looked_at = None
        if is_read_by_line(candidate):
            looked_at = bookmark.looked_at(tx, look_tag(candidate, key=self.key))
        return self._vault.seen(tx, tag) if looked_at is None else looked_at

    def forbidden_piece(self, tx: Tx, piece: Piece, *, camera: str) -> Forbidden | None:
        """Return why a log that was read was deleted before, or may have been: its lines may be older than it seems.

        Then it is not certain where nobody knows how old they are, nor where the copy is ours to destroy: those behind
        the delete nobody deleted. Nor may they be older alone: a last change may be told too early.
        """
        candidate, since_ms, place = piece.candidate, piece.lines_from_ms, piece.candidate.place
        uncertain = since_ms == 0
        ask = partial(self.forbidden, tx, camera=camera, content=piece.content_tag)
        ask = partial(ask, looked=piece.looked, doubt_ms=piece.doubt_ms)
        found = ask(candidate)
        from_ms = min(since_ms, place.captured_from_ms)
        ends_by_change = piece.goes_on or place.captured_to_ms - candidate.changed_ms in {0, 1}
        doubt_ms = CHANGED_DOUBT_MS if ends_by_change else 0
        if found is None and (from_ms < place.captured_from_ms or doubt_ms):
            to_ms = place.captured_to_ms + doubt_ms
            place = msgspec.structs.replace(place, captured_from_ms=from_ms, captured_to_ms=to_ms)
            found = ask(msgspec.structs.replace(candidate, place=place))
            uncertain = uncertain or self._takes(candidate)
        return msgspec.structs.replace(found, certain=False) if found is not None and uncertain else found

    def forbidden(
        self,
        tx: Tx,
        candidate: Candidate,
        *,
        camera: str,
        content: bytes = b"",
        looked: tuple[int, int] = (0, 0),
        doubt_ms: int = 0,
    ) -> Forbidden | None:
        """Return why this file was deleted before; unread, it may be another where it is ours.

        A log that was read is known by its content alone: what looks like a deleted one may have gone on. One that is
        ours was begun when it says, but is certainly of before a delete only where its last change is. What was written
        behind a look, ``looked``, may be off by up to ``doubt_ms``.
        """
        place = candidate.place
        is_our_log = self._takes(candidate) and is_read_by_line(candidate)
        of_source = b"" if content or self._takes(candidate) else source_tag(candidate, key=self.key)
        return tombstone.forbidden(
            tx,
            source_tag=of_source,
            content_tag=content,
            camera=camera,
            category=place.category,
            captured_from_ms=place.captured_from_ms,
            captured_to_ms=place.captured_to_ms,
            source=candidate.source,
            is_dated=candidate.is_dated,
            doubt_ms=max(candidate.doubt_ms, doubt_ms),
            changed_ms=candidate.changed_ms if is_our_log else 0,
            looked=looked,
        )

    def _takes(self, candidate: Candidate) -> bool:
        return candidate.source in self._taking


def _as_last_changed(candidate: Candidate) -> Candidate:
    since_ms = candidate.changed_ms
    place = msgspec.structs.replace(candidate.place, captured_from_ms=since_ms, captured_to_ms=since_ms + 1)
    return msgspec.structs.replace(candidate, place=place)
