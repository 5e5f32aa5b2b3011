"""One source folder: notice files, wait until they are complete, offer them.

A file is *complete* when the kernel says that its writer closed it or that it was moved in, or when size and time of
last change stayed the same for ``settle_s``; and in any case only while nobody has it open for writing. Where the
kernel does not say whether somebody has (another user's file without CAP_LEASE, a file system without leases), a file
rests for ``UNSURE_S``, also one that was closed, which some writers do between any two of their pieces: what its writer
adds after it is removed is lost.

Files are noticed by inotify where that works, by looking every ``poll_s`` where it does not, and by looking at
everything again every ``rescan_s``, after a lost event and at start.

What is offered may have been taken before: who takes it decides. What could not be taken now comes again (``again``).

A folder that is away, on the wrong medium, or whose medium fails (a disk that was pulled, a network that is down) is
told, given back and opened anew every ``poll_s``. As often it is seen whether the path still means the folder that is
open: a disk may be mounted there, or the folder replaced, at any time. One that does not answer is told as well. None
of this keeps another source, or the event loop, waiting: all that touches the folder runs in a thread of its own.
"""

import asyncio
import os
from collections import OrderedDict, deque
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

import msgspec

from agent.clock import monotonic_s
from agent.errors import ConfigError, CorruptError
from agent.sources.candidate import Candidate, MediumError, Refusal, RefusalKind
from agent.sources.inotify import Event
from agent.sources.lane import Lane
from agent.sources.name import check_path, is_temporary
from agent.sources.place import MEDIA, Place, place_finder
from agent.sources.root import Root
from agent.sources.rotation import is_only_rotated, unrotated
from agent.sources.settings import SourceSettings
from agent.sources.source import Fresh, Offer, Opened
from agent.sources.view import BATCH, Seen, View, next_of
from agent.sources.walk import Found

PENDING_MAX: Final = 4096
"""Files that wait to settle; a scan of more stops until some have."""

EVENTS_MAX: Final = 8192

REFUSED_KEPT: Final = 1024
"""Refusals remembered so that each is told once."""

AGAIN_S: Final = 10.0

UNSURE_S: Final = 60.0
"""How long a file rests of which nobody says whether it is open; few writers pause for as long."""

HUNG_S: Final = 30.0
"""A folder that answers nothing for so long is told; a sleeping disk takes half of it to come up."""

_NS_PER_MS: Final = 1_000_000
_OTHER: Final = f"by its ending it is no recording, photo or usage log (those end in {', '.join(MEDIA)})"

T = TypeVar("T")


async def _nothing() -> None:
    return None


class FolderSource:
    """The folder of one ``SourceSettings``; belongs to the running event loop.

    ``on_trouble`` is told why the folder as a whole cannot be read, once per reason, and ``""`` when it can.
    """

    def __init__(
        self,
        settings: SourceSettings,
        *,
        on_refusal: Callable[[Refusal], None],
        on_trouble: Callable[[str], None] = lambda _reason: None,
        monotonic: Callable[[], float] = monotonic_s,
    ) -> None:
        self.settings = settings
        self.refusals: dict[str, int] = {}
        self._find = place_finder(settings)
        self._on_refusal = on_refusal
        self._on_trouble = on_trouble
        self._trouble: str | None = None
        self._monotonic = monotonic
        self._lane = Lane(f"source {settings.name}")
        self._view: View | None = None
        self._opening = asyncio.Lock()
        self._events: deque[Event] = deque()
        self._lost = False
        self._woken = asyncio.Event()
        self._pending: dict[str, _Pending] = {}
        self._refused: OrderedDict[tuple[str, str], None] = OrderedDict()

    # -- the folder

    async def open(self) -> View:
        """Open the folder, anew when the path means another one by now.

        Raises ``ConfigError`` when it is not there or not on its medium, ``MediumError`` when it cannot be looked at.
        """
        async with self._opening:
            view = self._view
            if view is not None and not await self._ask(view.root.stands):
                self._leave()
                view = None
            if view is None:
                view = self._view = await self._ask(partial(View, self.settings))
                if view.watches is not None:
                    asyncio.get_running_loop().add_reader(view.watches.fd, self._drain)
            return view

    async def root(self) -> Root:
        """Return the open folder, opened first if it is not; another may stand at its path by now."""
        return (self._view or await self.open()).root

    async def do(self, call: Callable[[Root], T]) -> T:
        """Make a call with the open folder, in the source's thread; ``OSError`` becomes ``MediumError``.

        Waits while the folder does not answer. Raises ``MediumError`` when it is not open.
        """
        view = self._view
        if view is None:
            raise MediumError("the folder is away", hint="it is opened again by itself")
        return await self._ask(partial(call, view.root))

    def give_back(self, fd: int) -> None:
        """Close a file of the folder: that may wait for its server too."""
        self._lane.post(partial(os.close, fd))

    def close(self) -> None:
        """Give the folder, its watches and its thread back, once nobody asks any more."""
        self._leave()
        self._lane.close()

    def _leave(self) -> None:
        """Give the folder back; what was remembered of it is found again when it is opened again."""
        view, self._view = self._view, None
        self._events.clear()
        self._pending.clear()
        if view is not None and view.watches is not None:
            asyncio.get_running_loop().remove_reader(view.watches.fd)
            self._lane.post(view.close)

    async def _ask(self, call: Callable[[], T]) -> T:
        answer = self._lane.submit(call)
        hung = False
        try:
            await asyncio.wait((answer,), timeout=HUNG_S)
            if not answer.done():
                hung = True
                self._tell_trouble("the folder does not answer")
            found = await answer
        except OSError as error:
            raise _failed(error) from error
        finally:
            answer.cancel()  # what nobody waits for is not begun
            self._tell_refused()
        if hung:
            self._tell_trouble("")
        return found

    # -- noticing

    async def run(self, offer: Offer, fresh: Fresh, opened: Opened = _nothing) -> None:
        """Offer files as they become complete, for ever; a folder that cannot be read is tried every ``poll_s``."""
        known: View | None = None
        try:
            while True:
                try:
                    view = await self.open()
                    if view is not known:
                        await opened()
                        known = view
                    await self.scan(offer, fresh)
                    self._tell_trouble("")
                    await self._listen(view, offer, fresh)
                except (ConfigError, MediumError) as error:
                    self._leave()
                    self._tell_trouble(error.message)
                    await self._wait(self.settings.poll_s)
        finally:
            self._leave()

    async def scan(self, offer: Offer, fresh: Fresh, *, at_once: bool = False) -> None:
        """Look at everything once; ``at_once`` takes as complete what nobody is known to have open for writing.

        Raises ``ConfigError`` when the folder is not there and ``MediumError`` when it cannot be read.
        """
        view = await self.open()
        self._lost = False
        files = view.everything()
        while found := await self._ask(partial(next_of, files)):
            unknown = await fresh(self._candidates(found))
            if at_once:
                await offer(await self._look(view, tuple(item.path for item in unknown)))
                continue
            for item in unknown:
                while len(self._pending) >= PENDING_MAX:
                    await self._hear(view, offer, fresh)  # what was closed meanwhile waits for none of these
                    await self._settle(view, offer)
                    await self._wait(self.settings.settle_s)
                self._note_found(item)

    def reconsider(self) -> None:
        """Look at everything again soon, also where nothing changed (after a new policy)."""
        if self._view is not None:
            self._view.look_anew()
        self._lost = True
        self._woken.set()

    def again(self, path: str) -> None:
        """Offer the file again later."""
        if self._view is not None:
            self._view.look_anew(path.rpartition("/")[0])
        if len(self._pending) < PENDING_MAX:
            self._note(path, -1, -1, after_s=AGAIN_S)
            self._woken.set()  # who listens may have begun to wait for longer before this was noted

    async def _listen(self, view: View, offer: Offer, fresh: Fresh) -> None:
        """Take what comes until it is time to look at everything, or the path means another folder."""
        now_s = self._monotonic()
        until_s = now_s + (self.settings.poll_s if view.polling else self.settings.rescan_s)
        seen_s = now_s
        while (left_s := until_s - self._monotonic()) > 0 and not self._lost:
            if self._monotonic() - seen_s >= self.settings.poll_s:
                if await self.open() is not view:
                    return
                seen_s = self._monotonic()
            left_s = min(left_s, self.settings.poll_s)
            if self._pending:
                first_s = min(item.due_s for item in self._pending.values())
                left_s = min(left_s, max(0.05, first_s - self._monotonic()))
            await self._wait(left_s)
            await self._hear(view, offer, fresh)
            await self._settle(view, offer)

    async def _wait(self, seconds: float) -> None:
        self._woken.clear()
        if self._events:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            pass

    def _drain(self) -> None:
        assert self._view is not None  # noqa: S101 - its reader is removed first
        assert self._view.watches is not None  # noqa: S101 - the same
        for event in self._view.watches.read():
            if len(self._events) >= EVENTS_MAX:
                self._lost = True
            else:
                self._events.append(event)
        self._woken.set()

    async def _hear(self, view: View, offer: Offer, fresh: Fresh) -> None:
        finished: dict[str, None] = {}
        folders: list[str] = []
        while self._events and len(finished) + len(folders) < BATCH:
            event = self._events.popleft()
            path = f"{event.folder}/{event.name}" if event.folder else event.name
            if event.kind == "lost":
                self._lost = True
            elif is_temporary(event.name):
                continue
            elif event.kind == "folder":
                folders.append(path)
            else:
                finished[path] = None
        for folder in folders:
            await self._look_into(view, folder, fresh)
        closed = await self._look(view, tuple(finished))
        unsure = await self._unsure(view, closed)
        for candidate in closed:
            if candidate.path in unsure:
                self._note_closed(candidate)
            else:
                self._pending.pop(candidate.path, None)
        ready = tuple(item for item in closed if item.path not in unsure)
        if ready:
            await offer(ready)

    async def _look_into(self, view: View, folder: str, fresh: Fresh) -> None:
        """Watch a new folder and note what is in it already."""
        files = view.within(folder)
        try:
            while found := await self._ask(partial(next_of, files)):
                for item in await fresh(self._candidates(found)):
                    if len(self._pending) >= PENDING_MAX:
                        self._lost = True
                        return
                    self._note_found(item)
        except MediumError:
            self._lost = True  # the look at everything says what is wrong

    def _note_found(self, item: Candidate) -> None:
        """Wait until it rests; a log of which whole lines are taken need not, and may never."""
        size_bytes, mtime_ns = (-1, -1) if self._grows(item.place) else (item.size_bytes, item.mtime_ns)
        self._note(item.path, size_bytes, mtime_ns, after_s=self.settings.settle_s)

    def _note_closed(self, item: Candidate) -> None:
        """Wait until it rests for longer: it was closed, but may be open again, or by another."""
        if item.path in self._pending or len(self._pending) < PENDING_MAX:
            after_s = max(UNSURE_S, self.settings.settle_s)
            self._note(item.path, item.size_bytes, item.mtime_ns, after_s=after_s)
        else:
            self._lost = True

    def _grows(self, place: Place) -> bool:
        return not self.settings.takes and place.is_log

    def _note(self, path: str, size_bytes: int, mtime_ns: int, *, after_s: float) -> None:
        held = self._pending.get(path)
        if held is None or (held.size_bytes, held.mtime_ns) != (size_bytes, mtime_ns):
            now_s = self._monotonic()
            self._pending[path] = _Pending(size_bytes, mtime_ns, since_s=now_s, due_s=now_s + after_s)

    async def _settle(self, view: View, offer: Offer) -> None:
        now_s = self._monotonic()
        due = {path: held for path, held in self._pending.items() if held.due_s <= now_s}
        for path in due:
            del self._pending[path]
        rested = []
        for candidate in await self._look(view, tuple(due)):
            held = due[candidate.path]
            if held.size_bytes in {-1, candidate.size_bytes} and held.mtime_ns in {-1, candidate.mtime_ns}:
                rested.append(candidate)
            else:
                size_bytes, mtime_ns = candidate.size_bytes, candidate.mtime_ns
                self._note(candidate.path, size_bytes, mtime_ns, after_s=self.settings.settle_s)
        unsure = await self._unsure(view, tuple(item for item in rested if due[item.path].since_s + UNSURE_S > now_s))
        for candidate in rested:
            if candidate.path in unsure:
                held = due[candidate.path]
                since_s = now_s if held.size_bytes == -1 else held.since_s  # what comes again may have changed before
                self._pending[candidate.path] = _Pending(
                    candidate.size_bytes, candidate.mtime_ns, since_s=since_s, due_s=since_s + UNSURE_S
                )
        ready = tuple(item for item in rested if item.path not in unsure)
        if ready:
            await offer(ready)

    async def _unsure(self, view: View, rested: tuple[Candidate, ...]) -> set[str]:
        """Return those of which the kernel does not say whether they are open; a log that grows may be."""
        paths = tuple(item.path for item in rested if not self._grows(item.place))
        found: set[str] = set()
        for start in range(0, len(paths), BATCH):
            found.update(await self._ask(partial(view.unsure, paths[start : start + BATCH])))
        return found

    # -- looking

    async def _look(self, view: View, paths: tuple[str, ...]) -> tuple[Candidate, ...]:
        """Open the files by the rules; return those that may be taken in. One that cannot be opened now comes again."""
        found = []
        for start in range(0, len(paths), BATCH):
            for seen in await self._ask(partial(view.look, paths[start : start + BATCH])):
                candidate = self._seen(view, seen)
                if candidate is not None:
                    found.append(candidate)
        return tuple(found)

    def _seen(self, view: View, seen: Seen) -> Candidate | None:
        if seen.error is not None:
            self._refuse(seen.path, seen.error.message)
            if not isinstance(seen.error, CorruptError):
                self.again(seen.path)
            return None
        status = seen.status
        place = None if status is None else self._place(seen.path, status.st_mtime_ns)
        if status is None or place is None:
            return None
        return Candidate(
            source=self.settings.name,
            path=seen.path,
            place=place,
            size_bytes=status.st_size,
            mtime_ns=status.st_mtime_ns,
            ctime_ns=status.st_ctime_ns,
            inode=status.st_ino,
            device=status.st_dev,
            folder=view.root.identity,
        )

    def _candidates(self, found: list[Found]) -> tuple[Candidate, ...]:
        """Return what of a listing is ours, not looked at yet: without ctime, inode, device and folder."""
        return tuple(
            Candidate(
                source=self.settings.name,
                path=item.path,
                place=place,
                size_bytes=item.size_bytes,
                mtime_ns=item.mtime_ns,
                inode=0,
                device=0,
                folder=0,
            )
            for item in found
            if (place := self._place(item.path, item.mtime_ns)) is not None
        )

    def _place(self, path: str, mtime_ns: int) -> Place | None:
        try:
            place = self._find(check_path(path), mtime_ns // _NS_PER_MS)
            if place is None and not self.settings.takes and is_only_rotated(path):
                place = self._find(unrotated(path), mtime_ns // _NS_PER_MS)
        except CorruptError as error:
            self._refuse(path, error.message)
            return None
        if place is None:
            ours = path.rpartition(".")[2].lower() in MEDIA
            why = "no pattern of the source matches its path" if ours else _OTHER
            self._refuse(path, why, kind="unknown_name")
        return place

    # -- telling

    def _tell_trouble(self, reason: str) -> None:
        if reason != self._trouble:
            self._trouble = reason
            self._on_trouble(reason)

    def _tell_refused(self) -> None:
        while self._view is not None and self._view.refused:
            self._refuse(*self._view.refused.popleft())

    def _refuse(self, unverified_path: str, reason: str, *, kind: RefusalKind = "unreadable") -> None:
        key = (unverified_path, reason)
        if key in self._refused:
            return
        self._refused[key] = None
        if len(self._refused) > REFUSED_KEPT:
            self._refused.popitem(last=False)
        self.refusals[reason] = self.refusals.get(reason, 0) + 1
        refusal = Refusal(source=self.settings.name, unverified_path=unverified_path, reason=reason, kind=kind)
        self._on_refusal(refusal)


class _Pending(msgspec.Struct, frozen=True):
    size_bytes: int
    mtime_ns: int
    since_s: float
    due_s: float


def _failed(error: OSError) -> MediumError:
    return MediumError(
        f"the folder cannot be read: {os.strerror(error.errno or 0)}",
        hint="look at its disk or network; it is opened again by itself",
    )
