"""What a source sees of its folder while that is open: the files in it, what is unchanged, and the kernel's watches.

Every call may wait for the medium, so all are made in the source's own thread (``lane``); what is to be refused is
collected for who asked.
"""

import os
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Final

import msgspec

from agent.errors import CorruptError, LinkError
from agent.sources.inotify import FOLDERS_MAX, Watches
from agent.sources.name import check_path
from agent.sources.root import Root
from agent.sources.rotation import is_log
from agent.sources.settings import SourceSettings
from agent.sources.walk import Found, walk

QUIET_MAX: Final = 2 * FOLDERS_MAX
"""Folders remembered as unchanged: all that are watched, and as many that are gone."""

BATCH: Final = 256
"""Files of one call."""

REFUSED_MAX: Final = 4096
"""Refusals of one call that are told; the others are at a later look."""


class Seen(msgspec.Struct, frozen=True):
    """A path that was looked at: its file, or why it cannot be opened, or that nothing is there."""

    path: str
    status: os.stat_result | None = None
    error: CorruptError | LinkError | None = None


class View:
    """An open folder and what is remembered of it; errors as of ``Root``.

    ``polling`` says that the kernel does not tell of everything, so that looking has to find the rest.
    """

    def __init__(self, settings: SourceSettings) -> None:
        self.root = Root(settings)
        self.refused: deque[tuple[str, str]] = deque(maxlen=REFUSED_MAX)
        self.polling = self.root.remote
        self._leaves = not settings.takes
        self.watches: Watches | None = None
        self._quiet: dict[str, _Quiet] = {}
        if not self.polling:
            try:
                self.watches = Watches()
            except OSError:
                self.polling = True

    def close(self) -> None:
        """Give the watches back; the folder goes with the last call that uses it."""
        if self.watches is not None:
            self.watches.close()

    def everything(self) -> Iterator[Found]:
        """Find the files in every folder that is not known to be unchanged; ``OSError`` as of ``walk``."""
        for found in walk(self.root.fd, enter=self._enter, refuse=self._refuse, takes=not self._leaves):
            if self._grows(found.path):
                self._quiet.pop(found.path.rpartition("/")[0], None)  # that leaves no trace in the folder's time
            yield found

    def within(self, folder: str) -> Iterator[Found]:
        """Watch a new folder and find what is in it already: its events were before the watch."""
        try:
            check_path(folder)
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(folder, flags, dir_fd=self.root.fd)
        except CorruptError as error:
            self._refuse(folder, error.message)
            return
        except FileNotFoundError:
            return
        try:
            yield from walk(fd, enter=self._enter, refuse=self._refuse, takes=not self._leaves, folder=folder)
        finally:
            os.close(fd)

    def look(self, paths: tuple[str, ...]) -> list[Seen]:
        """Open the files by the rules and describe them."""
        return [self._look(path) for path in paths]

    def unsure(self, paths: tuple[str, ...]) -> list[str]:
        """Return those of which the kernel does not say whether somebody has them open for writing."""
        return [path for path in paths if self.root.may_be_open(path)]

    def look_anew(self, folder: str | None = None) -> None:
        """Take a folder, or all of them, for changed."""
        if folder is None:
            self._quiet.clear()
        else:
            self._quiet.pop(folder, None)

    def _look(self, path: str) -> Seen:
        try:
            return Seen(path, self.root.describe(check_path(path)))
        except (CorruptError, LinkError) as error:
            self._look_again_at(path)
            return Seen(path, error=error)

    def _grows(self, path: str) -> bool:
        return self._leaves and is_log(path)

    def _refuse(self, unverified_path: str, reason: str) -> None:
        self._look_again_at(unverified_path)
        self.refused.append((unverified_path, reason))

    def _look_again_at(self, unverified_path: str) -> None:
        """Read its folder the next time: what is wrong may pass and leave no trace in the folder's time."""
        self._quiet.pop(unverified_path, None)
        self._quiet.pop(unverified_path.rpartition("/")[0], None)

    def _enter(self, fd: int, folder: str, mtime_ns: int) -> bool:
        """Watch the folder before it is listed, so that nothing falls between; pass over what did not change."""
        if self.watches is None:
            return True
        if not self.watches.add(fd, folder):
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


class _Quiet(msgspec.Struct, frozen=True):
    mtime_ns: int
    looked: int


def next_of(files: Iterator[Found]) -> list[Found]:
    """Return the next of what ``everything`` and ``within`` find; empty at the end."""
    return list(islice(files, BATCH))
