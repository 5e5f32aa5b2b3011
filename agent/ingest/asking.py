"""Steps 2, 5 and 6 at a camera with storage of its own: it is asked, and what it answers is what happened.

Step 5 is to acknowledge: from then on the camera may give its copy up by itself. What may not be taken in, and what was
deleted here, it is asked to delete, unread: that is done when it says so (I6), and it is asked again until it does.

A deletion that waits is one of a recording on one card, by its id there and its content. What waited before the index
had a place for these cannot be asked for and is left, before anything else (``source_left``).

    D1  Which card is in: deletions on others wait. *Power fails: nothing was asked.*
    D2  What has the ids now: another content is left alone, and told. *The same.*
    D3  It is asked, by id, content and card: neither a card that is put in nor a recording that is made meanwhile is
        meant. *Power fails: it is asked again, and what is gone already is answered as gone.*
    D4  Its answer is noted, with what it ends. *Power fails before that is durable: as after D3.*
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Final

from agent.erasure import Erasure, SourceCopyRow
from agent.errors import SpaceError
from agent.index import Index
from agent.ingest.opening import Opened
from agent.ingest.work import Now, Work
from agent.model import Moment, Object
from agent.sources import Candidate
from agent.sources.camera import CameraSource, is_away
from agent.sources.candidate import MediumError, card_number
from agent.vault import Vault

AT_ONCE: Final = 1_000
"""Copies whose deletion is asked for between two looks at the index and at the camera's list."""

PAUSE_MAX: Final = 360
"""Looks at a camera until it is asked again for what it refused: an hour of them. The first pauses are shorter."""

REFUSED_MAX: Final = 10_000
"""Refused copies that are known one by one; of a card that refuses more nothing is asked while that pauses."""


class Asking:
    """Asks one camera; belongs to the running event loop."""

    def __init__(self, source: CameraSource, *, vault: Vault, erasure: Erasure, now: Now) -> None:
        self._source = source
        self._vault = vault
        self._index: Index = vault.index
        self._erasure = erasure
        self._now = now
        self._refused = _Refused("")

    async def open(self, work: Work) -> Opened:
        """Make a part file for a recording, and the order by which it is fetched."""
        part_fd, part = await asyncio.to_thread(self._vault.new_part)
        return Opened(work=work, order=self._source.order(work.first), part_fd=part_fd, part=part)

    def holding(self, _candidate: Candidate) -> Object | None:
        """Return nothing: what a camera lists was not acknowledged, and asking again costs one request."""
        return None

    async def acknowledged(self, work: Work, _item: Object, _moment: Moment) -> None:
        """Do step 5."""
        # 5. If power fails before it, the camera lists the recording again, and it is known by its identity.
        await self._acknowledge(work.first)

    async def taken_before(self, work: Work, _item: Object | None) -> None:
        """Do step 5 once more."""
        await self._acknowledge(work.first)

    async def destroy(self, work: Work) -> bool:
        """Have it deleted from the card that it was listed on, unread."""
        told = work.first.told
        assert told is not None  # noqa: S101 - it came from a camera
        await self._source.delete(work.first.path, sha256=told.sha256, card=told.card)
        return True

    async def recover(self, source: str) -> None:
        """Have deleted at the camera what was deleted here: whenever it is met.

        Raises ``MediumError`` with the last answer that was no promise, once the others were asked for, or because
        something that a command waits for is to be deleted from a card that is not in. What retention removed waits
        for its card in silence: cards in turn are ordinary.
        """
        if not await self._index.read(partial(self._erasure.waits_at_source, source=source)):
            return
        await self._leave_unnamed(source)
        card = self._source.card  # D1
        number = card_number(card)
        after = ""
        if card != self._refused.card:
            self._refused = _Refused(card)
        self._refused.begin()
        with suppress(SpaceError):  # also what was done is done again then, which changes nothing
            while page := await self._index.read(
                partial(self._erasure.pending_at_source, source=source, card=number, after=after, limit=AT_ONCE)
            ):
                due = [copy for copy in page if self._refused.is_due(copy.object)]
                held = await self._source.listed({copy.recording for copy in due}, card=card) if due else {}  # D2
                for copy in due:
                    error = await self._deleted(copy, held, card=card)
                    if error is not None and is_away(error):
                        raise error
                    if error is not None:  # a card that fails at one recording may do the next
                        self._refused.note(copy.object, error)
                after = page[-1].object
            self._refused.end()
        if self._refused.error is not None:
            raise self._refused.error
        if await self._index.read(partial(self._erasure.waits_for_card, source=source, card=number)):
            raise MediumError(
                "a deletion waits for another card than the one in the camera",
                hint="put the camera's other card in; if there is none any more, forget the camera and enrol it again",
            )

    async def _leave_unnamed(self, source: str) -> None:
        while await self._index.read(partial(self._erasure.has_unnamed, source=source)):
            note = partial(self._erasure.note_unnamed_left, source=source, moment=self._now())
            await self._index.write(note, urgent=True)

    async def _deleted(self, copy: SourceCopyRow, held: Mapping[str, bytes], *, card: str) -> MediumError | None:
        """Have one copy deleted; return why that was not answered."""
        if held.get(copy.recording, copy.sha256) != copy.sha256:
            return MediumError(
                "the camera gave the id of a deleted recording to another one, which is left alone",
                hint="look at its firmware; the deletion waits until that id is free",
            )
        try:
            await self._source.delete(copy.recording, sha256=copy.sha256, card=card)  # D3
        except MediumError as error:
            return error
        # D4. If power fails before this is durable, it is asked once more, which changes nothing.
        await self._index.write(
            partial(
                self._erasure.note_source_erased,
                object_id=copy.object,
                stated_by=self._source.kid,
                blocks_remain=self._source.settings.medium == "disk",
                moment=self._now(),
            ),
            urgent=True,
        )
        return None

    async def _acknowledge(self, candidate: Candidate) -> None:
        assert candidate.told is not None  # noqa: S101 - it came from a camera
        await self._source.acknowledge(candidate.path, candidate.told.sha256)


class _Refused:
    """What a camera was asked to delete from the card that is in and did not, and the pause until it is asked again.

    A look at the whole list of a card costs it many requests, and an id that was given twice may stay so for ever: so
    each pause is twice the one before. What is new is asked for at once.
    """

    def __init__(self, card: str) -> None:
        self.card = card
        self.error: MediumError | None = None
        """Why the last of them was refused."""
        self._objects: set[str] = set()
        self._still: set[str] = set()
        self._pause = 0
        self._left = 0

    def begin(self) -> None:
        """Begin a look at what waits for the card."""
        self._left -= 1
        self._still = set()

    def is_due(self, object_id: str) -> bool:
        """Tell whether a copy is asked for in this look."""
        due = self._left <= 0 or not (object_id in self._objects or len(self._objects) >= REFUSED_MAX)
        if not due:
            self._keep(object_id)
        return due

    def note(self, object_id: str, error: MediumError) -> None:
        """Note that a copy was refused."""
        self.error = error
        self._keep(object_id)

    def end(self) -> None:
        """End a look at all that waits."""
        self._objects = self._still
        if not self._objects:
            self.error, self._pause, self._left = None, 0, 0
        elif self._left <= 0:
            self._pause = self._left = min(2 * self._pause or 1, PAUSE_MAX)

    def _keep(self, object_id: str) -> None:
        if len(self._still) < REFUSED_MAX:
            self._still.add(object_id)
