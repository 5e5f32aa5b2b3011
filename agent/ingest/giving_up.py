"""Steps 5 and 6: the source's copy is removed once ours is durable, and that is noted when it is so, not before.

Rules: a copy is gone when we removed it, when nothing has its name any more, or when another file has (invariant I6);
whatever else keeps it (a second name, missing rights, a writer who added to it) is told and tried again. What was read
and cannot be removed is remembered, so that it is not read each time.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import Final

import msgspec

from agent import audit
from agent.audit import Event
from agent.errors import AgentError, SpaceError
from agent.index import Tx
from agent.ingest.together import beneath
from agent.ingest.work import Now, Work
from agent.model import Moment, Object
from agent.sources import Candidate, FolderSource
from agent.sources.root import Root
from agent.vault import Vault

STUCK_MAX: Final = 1024
"""Files remembered that cannot be removed: each of the others is read again when it is offered again."""

AT_ONE_PLACE: Final = 8
"""Objects remembered that came from files of one name."""

_Place = tuple[str, str]  # the source's name, and a path beneath its folder


class _Stuck(msgspec.Struct, frozen=True):
    """An object whose copy may still stand at a place, and the file there, if it was read and is in the object."""

    item: Object
    candidate: Candidate | None = None


class _Removal(msgspec.Struct, frozen=True):
    """Which files have their names no more, whether we removed any, and what kept the first of the others."""

    gone: tuple[Candidate, ...]
    any_removed: bool
    error: AgentError | None


class GivingUp:
    """Gives the copies of all sources, by name, up; belongs to the running event loop."""

    def __init__(self, sources: Mapping[str, FolderSource], *, vault: Vault, now: Now) -> None:
        self._vault = vault
        self._index = vault.index
        self._now = now
        self._sources = sources
        self._remove = {name: beneath(source, _remove_one) for name, source in sources.items()}
        self._stuck: dict[_Place, tuple[_Stuck, ...]] = {}
        self._gone: list[tuple[str, Moment]] = []

    @property
    def unnoted(self) -> int:
        """How many copies are gone for which step 6 is due."""
        return len(self._gone)

    def holding(self, candidate: Candidate) -> Object | None:
        """Return the object that holds this very file, which was read before and could not be removed."""
        stuck = self._stuck.get(_place(candidate), ())
        return next((one.item for one in stuck if one.candidate == candidate), None)

    async def acknowledged(self, work: Work, item: Object, moment: Moment) -> None:
        """Do step 5 for the files that were read and became ``item`` just now."""
        await self._remove_read(work, item)
        self._gone.append((item.id, moment))

    async def taken_before(self, work: Work, item: Object | None) -> None:
        """Go on with step 5 of an object that was here already; the files of ``work`` were read, and are in it."""
        assert item is not None  # noqa: S101 - what is ours to remove is compared by its content
        await self._remove_read(work, item)
        await self._note_if_gone(item, read=tuple(one.path for one in work.members))

    async def destroy(self, work: Work) -> bool:
        """Remove what may not be taken in; tell whether there was something to remove."""
        removal = await self._remove[work.source.settings.name](work)
        await self._freed(removal.gone)
        if removal.error is not None:
            raise removal.error
        return removal.any_removed

    async def recover(self, source: str) -> None:
        """Do step 6 where a cut came between it and 5; where it came before 5, the scan reads the file and does both.

        To be called whenever the source's folder was opened.
        """
        after = ""
        while page := await self._index.read(partial(self._vault.source_left_over, source=source, after=after)):
            for item in page:
                await self._note_if_gone(item)
            await self.note()
            after = page[-1].id

    async def note(self) -> None:
        """Do step 6 for what went since the last time; until then ``recover`` would do it."""
        gone, self._gone = self._gone, []

        def write(tx: Tx) -> None:
            for object_id, moment in gone:
                self._vault.mark_source_gone(tx, object_id)
                audit.append(tx, Event(kind="source_given_up", object=object_id), moment=moment)

        if gone:
            try:
                await self._index.write(write)
            except SpaceError:
                self._gone = gone + self._gone

    # -- step 5

    async def _remove_read(self, work: Work, item: Object) -> None:
        removal = await self._remove[work.source.settings.name](work)
        await self._freed(removal.gone, beside=item.id)
        if removal.error is not None:
            for candidate in work.members:
                if candidate not in removal.gone:
                    self._keep(_place(candidate), _Stuck(item, candidate))
            raise removal.error

    async def _freed(self, gone: Iterable[Candidate], *, beside: str = "") -> None:
        """Look again at what else waits for the places where a file is no more."""
        for candidate in gone:
            for one in self._stuck.pop(_place(candidate), ()):
                if one.item.id != beside:
                    await self._note_if_gone(one.item, read=(candidate.path,))

    async def _note_if_gone(self, item: Object, *, read: tuple[str, ...] = ()) -> None:
        """Let step 6 follow if nothing stands at the source where the object's copy was.

        Where nobody knows where that was, it was where it was ``read`` just now; if it was not, it counts as there.
        """
        folder, paths = await self._index.read(
            lambda tx: (self._vault.source_folder(tx, item.id), self._vault.source_paths(tx, item))
        )
        for path in paths or read:
            standing = True  # also when it cannot be seen: the folder is away, or what is there may not be opened
            with suppress(AgentError):
                standing = await self._sources[item.source].do(partial(_stands, path, folder))
            if standing:  # its copy or another file: the scan takes that, and what waits here is looked at again
                self._keep((item.source, path), _Stuck(item))
                return
        if paths or read:
            self._gone.append((item.id, self._now()))

    def _keep(self, place: _Place, stuck: _Stuck) -> None:
        held = self._stuck.pop(place, ())
        if stuck.candidate is None and any(one.item.id == stuck.item.id for one in held):
            others = held
        else:
            others = (*(one for one in held if one.item.id != stuck.item.id), stuck)[-AT_ONE_PLACE:]
        while len(self._stuck) >= STUCK_MAX:
            del self._stuck[next(iter(self._stuck))]
        self._stuck[place] = others


def _place(candidate: Candidate) -> _Place:
    return candidate.source, candidate.path


def _stands(path: str, folder: int, root: Root) -> bool:
    return folder not in {0, root.identity} or root.describe(path) is not None


def _remove_one(root: Root, work: Work) -> _Removal:
    # 5. Each removal is synced before 6 may say that it happened.
    gone: list[Candidate] = []
    any_removed = False
    first: AgentError | None = None
    for candidate in work.members:
        try:
            any_removed |= root.give_up(candidate)
        except AgentError as error:
            first = first or error
        else:
            gone.append(candidate)
    return _Removal(tuple(gone), any_removed, first)
