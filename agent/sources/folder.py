"""One source folder: notice files, wait until they are complete, offer them, open them safely, give their copies up.

A file is *complete* when the kernel says that its writer closed it or that it was moved in, or when size and time of
last change stayed the same for ``settle_s``; and in any case only while nobody has it open for writing. Files are
noticed by inotify where that works, by looking every ``poll_s`` where it does not, and by looking at everything again
every ``rescan_s``, after a lost event and at start.

What is offered may have been taken before: who takes it decides. What could not be taken now comes again (``again``).

A folder that is away, on the wrong medium, or whose medium fails (a disk that was pulled, a network that is down) is
told, given back and opened anew every ``poll_s``; that ends no other source. As often it is seen whether the path still
means the folder that is open: a disk may be mounted there, or the folder replaced, at any time.
"""

import asyncio
import fcntl
import os
import signal
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterator
from itertools import islice
from typing import Final

import msgspec

from agent.clock import monotonic_s
from agent.errors import ConfigError, CorruptError, LinkError
from agent.files import file_system_magic, open_beneath, open_folder, remove_beneath
from agent.sources.inotify import FOLDERS_MAX, Event, Watches
from agent.sources.name import check_path, is_temporary
from agent.sources.place import MEDIA, Place, place_finder
from agent.sources.root import Root
from agent.sources.settings import SourceSettings
from agent.sources.walk import Found, every_file, walk

PENDING_MAX: Final = 4096
"""Files that wait to settle; a scan of more stops until some have."""

EVENTS_MAX: Final = 8192
QUIET_MAX: Final = 2 * FOLDERS_MAX
"""Folders remembered as unchanged: all that are watched, and as many that are gone."""

REFUSED_KEPT: Final = 1024
"""Refusals remembered so that each is told once."""

BATCH: Final = 256
AGAIN_S: Final = 10.0

# statfs(2): NFS, SMB, SMB2, CIFS, FUSE, 9P, AFS. Changes made elsewhere raise no events here.
_REMOTE: Final = frozenset({0x6969, 0x517B, 0xFE534D42, 0xFF534D42, 0x65735546, 0x01021997, 0x5346414F})
_NS_PER_MS: Final = 1_000_000


class IncompleteError(LinkError):
    """The file is not, or no longer, the complete one that was offered: it comes again if it is still there."""


class MediumError(LinkError):
    """The folder cannot be read: it is given back and opened again later."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A complete file that may be taken in; ``path`` is beneath the source's folder and acceptable, and personal."""

    source: str
    path: str
    place: Place
    size_bytes: int
    mtime_ns: int
    inode: int
    device: int


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """A file that will not be taken as it is; ``unverified_path`` is personal and may hold anything."""

    source: str
    unverified_path: str
    reason: str


Offer = Callable[[tuple[Candidate, ...]], Awaitable[None]]
"""Takes candidates, waiting while there is no room."""

Fresh = Callable[[tuple[Candidate, ...]], Awaitable[tuple[Candidate, ...]]]
"""Returns those that were not taken before."""


class FolderSource:
    """The folder of one ``SourceSettings``; belongs to the running event loop once it runs.

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
        self.polling = False
        self._find = place_finder(settings)
        self._on_refusal = on_refusal
        self._on_trouble = on_trouble
        self._trouble: str | None = None
        self._monotonic = monotonic
        self._root: Root | None = None
        self._watches: Watches | None = None
        self._events: deque[Event] = deque()
        self._lost = False
        self._woken = asyncio.Event()
        self._pending: dict[str, _Pending] = {}
        self._refused: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._quiet: dict[str, _Quiet] = {}

    def open(self) -> Root:
        """Open the folder, anew when the path means another one by now.

        Raises ``ConfigError`` when it is not there or not on its medium, ``MediumError`` when it cannot be looked at.
        """
        try:
            if self._root is not None and not self._root.stands():
                self.close()
            if self._root is None:
                self._root = Root(self.settings)
        except OSError as error:
            raise _failed(error) from error
        return self._root

    def _opened(self) -> Root:
        root = self._root
        if root is None:
            raise MediumError("the folder is away", hint="it is opened again by itself")
        return root

    def close(self) -> None:
        """Give the folder and its watches back; what was remembered of it is found again when it is opened again."""
        self._stop_watching()
        self._events.clear()
        self._pending.clear()
        self._quiet.clear()
        self.polling = False
        self._root = None

    # -- noticing

    async def run(self, offer: Offer, fresh: Fresh) -> None:
        """Offer files as they become complete, for ever; a folder that cannot be read is tried every ``poll_s``."""
        try:
            while True:
                try:
                    root = self.open()
                    self._watch(root)
                    await self.scan(offer, fresh)
                    self._tell_trouble("")
                    await self._listen(root, offer, fresh)
                except (ConfigError, MediumError) as error:
                    self.close()
                    self._tell_trouble(error.message)
                    await self._wait(self.settings.poll_s)
        finally:
            self.close()

    async def scan(self, offer: Offer, fresh: Fresh, *, at_once: bool = False) -> None:
        """Look at everything once; ``at_once`` takes as complete what nobody has open for writing.

        Raises ``ConfigError`` when the folder is not there and ``MediumError`` when it cannot be read.
        """
        root = self.open()
        self._lost = False
        files = walk(root.fd, enter=self._enter, refuse=self._refuse_for_now)
        while found := await asyncio.to_thread(_take, root, files):
            candidates = tuple(filter(None, (self._candidate(item) for item in found)))
            unknown = await fresh(candidates)
            if at_once:
                await offer(tuple(filter(None, (self._look(item.path) for item in unknown))))
                continue
            for item in unknown:
                while len(self._pending) >= PENDING_MAX:
                    await self._settle(offer)
                    await self._wait(self.settings.settle_s)
                self._note(item.path, item.size_bytes, item.mtime_ns, after_s=self.settings.settle_s)

    def reconsider(self) -> None:
        """Look at everything again soon, also where nothing changed (after a new policy)."""
        self._quiet.clear()
        self._lost = True
        self._woken.set()

    def again(self, path: str) -> None:
        """Offer the file again later."""
        self._quiet.pop(path.rpartition("/")[0], None)
        if len(self._pending) < PENDING_MAX:
            self._note(path, -1, -1, after_s=AGAIN_S)
            self._woken.set()  # who listens may have begun to wait for longer before this was noted

    async def _listen(self, root: Root, offer: Offer, fresh: Fresh) -> None:
        """Take what comes until it is time to look at everything, or the path means another folder."""
        now_s = self._monotonic()
        until_s = now_s + (self.settings.poll_s if self.polling else self.settings.rescan_s)
        seen_s = now_s
        while (left_s := until_s - self._monotonic()) > 0 and not self._lost:
            if self._monotonic() - seen_s >= self.settings.poll_s:
                if self.open() is not root:
                    return
                seen_s = self._monotonic()
            left_s = min(left_s, self.settings.poll_s)
            if self._pending:
                first_s = min(item.due_s for item in self._pending.values())
                left_s = min(left_s, max(0.05, first_s - self._monotonic()))
            await self._wait(left_s)
            await self._hear(offer, fresh)
            await self._settle(offer)

    async def _wait(self, seconds: float) -> None:
        self._woken.clear()
        if self._events:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            pass

    async def _hear(self, offer: Offer, fresh: Fresh) -> None:
        ready: dict[str, Candidate] = {}
        while self._events and len(ready) < BATCH:
            event = self._events.popleft()
            path = f"{event.folder}/{event.name}" if event.folder else event.name
            if event.kind == "lost":
                self._lost = True
            elif is_temporary(event.name):
                continue
            elif event.kind == "folder":
                await self._scan_new_folder(path, fresh)
            elif (candidate := self._look(path)) is not None:
                self._pending.pop(path, None)
                ready[path] = candidate
        if ready:
            await offer(tuple(ready.values()))

    async def _scan_new_folder(self, folder: str, fresh: Fresh) -> None:
        """Watch a new folder and note what is in it already: its events were before the watch."""
        root = self._opened()
        try:
            check_path(folder)
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=root.fd)
        except CorruptError as error:
            self._refuse(folder, error.message)
            return
        except FileNotFoundError:
            return
        except OSError:
            self._lost = True  # the look at everything says what is wrong
            return
        try:
            files = walk(fd, enter=self._enter, refuse=self._refuse_for_now, folder=folder)
            while found := await asyncio.to_thread(_take, root, files):
                candidates = tuple(filter(None, (self._candidate(item) for item in found)))
                for item in await fresh(candidates):
                    if len(self._pending) >= PENDING_MAX:
                        self._lost = True
                        return
                    self._note(item.path, item.size_bytes, item.mtime_ns, after_s=self.settings.settle_s)
        except MediumError:
            self._lost = True  # the same
        finally:
            os.close(fd)

    def _note(self, path: str, size_bytes: int, mtime_ns: int, *, after_s: float) -> None:
        held = self._pending.get(path)
        if held is None or (held.size_bytes, held.mtime_ns) != (size_bytes, mtime_ns):
            self._pending[path] = _Pending(size_bytes, mtime_ns, self._monotonic() + after_s)

    async def _settle(self, offer: Offer) -> None:
        now_s = self._monotonic()
        ready = []
        for path, held in [(path, held) for path, held in self._pending.items() if held.due_s <= now_s]:
            del self._pending[path]
            candidate = self._look(path)
            if candidate is None:
                continue
            if held.size_bytes in {-1, candidate.size_bytes} and held.mtime_ns in {-1, candidate.mtime_ns}:
                ready.append(candidate)
            else:
                self._pending[path] = _Pending(
                    candidate.size_bytes, candidate.mtime_ns, now_s + self.settings.settle_s
                )  # fmt: skip
        if ready:
            await offer(tuple(ready))

    # -- watching

    def _watch(self, root: Root) -> None:
        if self._watches is not None or self.polling:
            return
        try:
            if file_system_magic(root.fd) in _REMOTE:
                self.polling = True
                return
            self._watches = Watches()
        except OSError:
            self.polling = True
            return
        asyncio.get_running_loop().add_reader(self._watches.fd, self._drain)

    def _drain(self) -> None:
        assert self._watches is not None  # noqa: S101 - its reader is removed first
        for event in self._watches.read():
            if len(self._events) >= EVENTS_MAX:
                self._lost = True
            else:
                self._events.append(event)
        self._woken.set()

    def _stop_watching(self) -> None:
        if self._watches is not None:
            asyncio.get_running_loop().remove_reader(self._watches.fd)
            self._watches.close()
            self._watches = None

    def _enter(self, fd: int, folder: str, mtime_ns: int) -> bool:
        """Watch the folder before it is listed, so that nothing falls between; pass over what did not change."""
        if self._watches is None:
            return True
        if not self._watches.add(fd, folder):
            self.polling = True  # the watches that there are still help; looking finds the rest
            return True
        held = self._quiet.get(folder)
        if held is None and len(self._quiet) >= QUIET_MAX:
            self._quiet.clear()  # mostly folders that are gone; those that are not are looked at once more
        if held is None or held.mtime_ns != mtime_ns:
            self._quiet[folder] = _Quiet(mtime_ns, looked=1)
            return True
        # Twice: a file that came within the clock tick of the first look did not change the folder's time.
        self._quiet[folder] = _Quiet(mtime_ns, looked=held.looked + 1)
        return held.looked < 2  # noqa: PLR2004 - see the line above

    # -- looking and opening

    def _candidate(self, found: Found) -> Candidate | None:
        place = self._place(found.path, found.mtime_ns)
        if place is None:
            return None
        return Candidate(
            source=self.settings.name,
            path=found.path,
            place=place,
            size_bytes=found.size_bytes,
            mtime_ns=found.mtime_ns,
            inode=0,
            device=0,
        )

    def _place(self, path: str, mtime_ns: int) -> Place | None:
        try:
            place = self._find(check_path(path), mtime_ns // _NS_PER_MS)
        except CorruptError as error:
            self._refuse(path, error.message)
            return None
        if place is None and path.rpartition(".")[2] in MEDIA:
            self._refuse(path, "no pattern of the source matches its path")
        return place

    def _look(self, path: str) -> Candidate | None:
        """Open the file by the rules and describe it; ``None`` when it is gone, refused, or none of ours.

        One that cannot be opened for now comes again.
        """
        try:
            fd = open_beneath(self._opened().fd, check_path(path))
        except FileNotFoundError:
            return None
        except CorruptError as error:
            self._refuse_for_now(path, error.message)
            return None
        except LinkError as error:
            self._refuse_for_now(path, error.message)
            self.again(path)
            return None
        try:
            status = os.fstat(fd)
        finally:
            os.close(fd)
        place = self._place(path, status.st_mtime_ns)
        if place is None:
            return None
        return Candidate(
            source=self.settings.name,
            path=path,
            place=place,
            size_bytes=status.st_size,
            mtime_ns=status.st_mtime_ns,
            inode=status.st_ino,
            device=status.st_dev,
        )

    def stands(self, path: str) -> bool:
        """Tell whether a plain file has that path now.

        Raises ``CorruptError`` when what is there may not be opened, ``ConfigError`` and ``LinkError`` when nothing can
        be said.
        """
        try:
            root = self._root or Root(self.settings)
            os.close(open_beneath(root.fd, path))
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _failed(error) from error
        return True

    def every_file(self) -> Iterator[Found]:
        """Yield what stands there now, whether it was ever offered or not; its absence is then known.

        Raises ``ConfigError`` when the folder is away, ``LinkError`` when it is another one than files are taken from,
        ``OSError`` where it cannot be looked at.
        """
        fd = open_folder(self.settings.path, private=False)
        try:
            root = self._root
            if root is not None and not os.path.samestat(os.fstat(fd), os.fstat(root.fd)):
                raise LinkError(f"{self.settings.path} is another folder now", hint="is its disk mounted?")
            yield from every_file(fd)
        finally:
            os.close(fd)

    def open_file(self, candidate: Candidate) -> int:
        """Open the very file that was offered; the caller closes the descriptor.

        Raises ``IncompleteError`` when it vanished, changed since, or is open for writing; ``CorruptError`` when what
        stands there now is not acceptable.
        """
        try:
            fd = open_beneath(self._opened().fd, candidate.path)
        except FileNotFoundError:
            raise IncompleteError("the file vanished", hint="nothing to do") from None
        except CorruptError as error:
            self._refuse_for_now(candidate.path, error.message)
            raise
        problem = ""
        if not _same(os.fstat(fd), candidate):
            problem = "the file changed"
        elif _being_written(fd):
            problem = "the file is open for writing"
        if problem:
            os.close(fd)
            raise IncompleteError(problem, hint="it is tried again once its writer is done")
        return fd

    def give_up(self, candidate: Candidate) -> bool:
        """Remove the file that was read; return whether it was there, after which the removal survives a power cut.

        It was not when nothing has its name any more, or another file has. Raises ``IncompleteError`` when it was
        written to since, and ``LinkError`` when it cannot be removed for now.
        """
        root = self._opened()
        if root.device != candidate.device:
            raise MediumError("another medium is mounted there", hint="the copy is removed when its own is back")
        try:
            status = _describe(root, candidate.path)
            if status is None or status.st_ino != candidate.inode:
                return False
            if not _same(status, candidate):
                raise IncompleteError("the file changed after it was read", hint="it is taken in again as it is now")
            return remove_beneath(root.fd, candidate.path, inode=candidate.inode, device=candidate.device)
        except CorruptError as error:
            raise _not_removed(error.message, 'let nothing else link to it, or say: after = "leave"') from error
        except OSError as error:
            hint = 'let the agent write in the source\'s folder, or say: after = "leave"'
            raise _not_removed(os.strerror(error.errno or 0), hint) from error

    def _tell_trouble(self, reason: str) -> None:
        if reason != self._trouble:
            self._trouble = reason
            self._on_trouble(reason)

    def _refuse_for_now(self, unverified_path: str, reason: str) -> None:
        """Refuse for what may pass and leave no trace in the folder's time: the next look at everything reads it."""
        self._quiet.pop(unverified_path, None)
        self._quiet.pop(unverified_path.rpartition("/")[0], None)
        self._refuse(unverified_path, reason)

    def _refuse(self, unverified_path: str, reason: str) -> None:
        key = (unverified_path, reason)
        if key in self._refused:
            return
        self._refused[key] = None
        if len(self._refused) > REFUSED_KEPT:
            self._refused.popitem(last=False)
        self.refusals[reason] = self.refusals.get(reason, 0) + 1
        self._on_refusal(Refusal(source=self.settings.name, unverified_path=unverified_path, reason=reason))


class _Pending(msgspec.Struct, frozen=True):
    size_bytes: int
    mtime_ns: int
    due_s: float


class _Quiet(msgspec.Struct, frozen=True):
    mtime_ns: int
    looked: int


def _take(_root: Root, files: Iterator[Found]) -> list[Found]:
    """Return the next ones; holding the root keeps it open until then, whatever becomes of who asked."""
    try:
        return list(islice(files, BATCH))
    except OSError as error:
        raise _failed(error) from error


def _failed(error: OSError) -> MediumError:
    return MediumError(
        f"the folder cannot be read: {os.strerror(error.errno or 0)}",
        hint="look at its disk or network; it is opened again by itself",
    )


def _describe(root: Root, path: str) -> os.stat_result | None:
    try:
        fd = open_beneath(root.fd, path)
    except FileNotFoundError:
        return None
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


def _not_removed(reason: str, hint: str) -> LinkError:
    return LinkError(f"the source's copy cannot be removed: {reason}", hint=hint)


def _same(status: os.stat_result, candidate: Candidate) -> bool:
    return (status.st_size, status.st_mtime_ns, status.st_ino, status.st_dev) == (
        candidate.size_bytes,
        candidate.mtime_ns,
        candidate.inode,
        candidate.device,
    )


def _being_written(fd: int) -> bool:
    """Tell whether somebody has the file open for writing: then the kernel grants no read lease (fcntl(2)).

    Where leases are not for us (another user's file, a remote file system) the answer is no: other signs must do.
    """
    try:
        # A writer who comes while we hold the lease makes the kernel send a signal: not SIGIO, which would end us.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    # Given back at once: a held lease would make the next writer wait for us.
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False
