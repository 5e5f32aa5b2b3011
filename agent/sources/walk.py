"""Every file beneath a folder, found without following anything.

Rules: a folder is opened as a folder of its parent's descriptor and never through a symbolic link; another file system
mounted inside is not entered; hidden and temporary names are passed over; everything else that is no plain file is
told to ``refuse``. What is found is a hint: it is opened and looked at again before anything is done with it.

A folder that cannot be read is told and the rest goes on, for a few of them; then it is the medium that fails.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from agent.errors import CorruptError
from agent.files import ASIDE_PREFIX, bring_back
from agent.sources.name import check_path, is_temporary

FAILED_FOLDERS_MAX: Final = 16
"""Folders of one look that may fail alone: a bad block or two, not a disk that was pulled."""

_GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR})

Enter = Callable[[int, str, int], bool]
"""(descriptor, folder, its last change in ns), called before the folder is listed; ``False`` passes over its files."""

Refuse = Callable[[str, str], None]
"""(unverified path, reason)."""


class Found(msgspec.Struct, frozen=True):
    """A plain file with an acceptable name, as the folder's listing describes it."""

    path: str
    size_bytes: int
    mtime_ns: int
    inode: int


def walk(folder_fd: int, *, enter: Enter, refuse: Refuse, takes: bool, folder: str = "") -> Iterator[Found]:
    """Yield the plain files beneath an open folder; one that vanishes or may not be read is passed over or refused.

    ``folder`` is the path that ``folder_fd`` has beneath the source's folder. What a removal that was cut left aside is
    brought back only where this agent ``takes``: elsewhere it is another's, who may be about it now. Holds one
    descriptor per level. Raises ``OSError`` when ``folder_fd`` itself or more than ``FAILED_FOLDERS_MAX`` folders in it
    cannot be read.
    """
    return _Walk(enter, refuse, takes=takes).through(folder_fd, folder)


class _Walk:
    """One look at everything."""

    def __init__(self, enter: Enter, refuse: Refuse, *, takes: bool) -> None:
        self._takes = takes
        self._enter = enter
        self._refuse = refuse
        self._failed = 0

    def through(self, folder_fd: int, folder: str) -> Iterator[Found]:
        status = os.fstat(folder_fd)
        wanted = self._enter(folder_fd, folder, status.st_mtime_ns)
        inner: list[str] = []
        cut_short: list[str] = []
        with os.scandir(folder_fd) as entries:
            for entry in entries:
                if is_temporary(entry.name):
                    if self._takes and entry.name.startswith(ASIDE_PREFIX) and entry.is_file(follow_symlinks=False):
                        cut_short.append(entry.name)
                    continue
                path = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_dir(follow_symlinks=False):
                    inner.append(entry.name)
                elif wanted:
                    found = _found(entry, path, self._refuse)
                    if found is not None:
                        yield found
        for name in cut_short:
            yield from self._again(folder_fd, name, folder)
        inner.sort(reverse=True)  # dated folders: the newest first
        for name in inner:
            yield from self._inner(folder_fd, name, device=status.st_dev, folder=folder)

    def _inner(self, parent_fd: int, name: str, *, device: int, folder: str) -> Iterator[Found]:
        path = f"{folder}/{name}" if folder else name
        try:
            check_path(path)
            fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent_fd)
        except CorruptError as error:
            self._refuse(path, error.message)
            return
        except OSError as error:
            self._cannot(path, "opened", error)
            return
        try:
            if os.fstat(fd).st_dev != device:
                self._refuse(path, "another file system is mounted there")
                return
            yield from self.through(fd, path)
        except OSError as error:
            self._cannot(path, "read", error)
        finally:
            os.close(fd)

    def _again(self, folder_fd: int, aside: str, folder: str) -> Iterator[Found]:
        """Yield what a removal that was cut left aside, by its own name: it is offered, and removed, again."""
        leaf = aside.removeprefix(ASIDE_PREFIX)
        path = f"{folder}/{leaf}" if folder else leaf
        try:
            bring_back(folder_fd, aside)
            with os.scandir(folder_fd) as entries:
                found = [_found(entry, path, self._refuse) for entry in entries if entry.name == leaf]
        except OSError as error:
            self._refuse(path, f"it cannot be named again: {os.strerror(error.errno or 0)}")
            return
        yield from (one for one in found if one is not None)

    def _cannot(self, folder: str, what: str, error: OSError) -> None:
        if error.errno in _GONE:
            return
        if error.errno not in {errno.EACCES, errno.EPERM}:
            self._failed += 1
        if self._failed > FAILED_FOLDERS_MAX:
            raise error
        self._refuse(folder, f"the folder cannot be {what}: {os.strerror(error.errno or 0)}")


def _found(entry: "os.DirEntry[str]", path: str, refuse: Refuse) -> Found | None:
    try:
        check_path(path)
        status = entry.stat(follow_symlinks=False)
    except CorruptError as error:
        refuse(path, error.message)
        return None
    except FileNotFoundError:
        return None
    except OSError as error:
        refuse(path, f"it cannot be looked at: {os.strerror(error.errno or 0)}")
        return None
    if stat.S_ISLNK(status.st_mode):
        refuse(path, "a symbolic link")
    elif not stat.S_ISREG(status.st_mode):
        refuse(path, "not a plain file")
    elif status.st_nlink != 1:
        refuse(path, "it has more than one name (hard link)")
    else:
        return Found(path, status.st_size, status.st_mtime_ns, status.st_ino)
    return None


def every_file(folder_fd: int, *, folder: str = "") -> Iterator[Found]:
    """Yield every plain file beneath an open folder, whatever its other names: what is not yielded is not there.

    One of an unacceptable name is not yielded either: nothing of that name was ever taken in. Raises ``OSError`` where
    a part cannot be looked at; nothing can be said of absence then. A file that appears or moves while this runs may be
    missed.
    """
    device = os.fstat(folder_fd).st_dev
    inner: list[str] = []
    with os.scandir(folder_fd) as entries:
        for entry in entries:
            name = entry.name.removeprefix(ASIDE_PREFIX)  # of what a cut left aside
            path = f"{folder}/{name}" if folder else name
            if entry.is_dir(follow_symlinks=False):
                inner.append(entry.name)
                continue
            try:
                check_path(path)
                status = entry.stat(follow_symlinks=False)
            except (CorruptError, FileNotFoundError):
                continue
            if stat.S_ISREG(status.st_mode):
                yield Found(path, status.st_size, status.st_mtime_ns, status.st_ino)
    for name in inner:
        path = f"{folder}/{name}" if folder else name
        try:
            check_path(path)
            fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder_fd)
        except (CorruptError, FileNotFoundError):
            continue  # ``walk`` enters none of a bad name either
        try:
            if os.fstat(fd).st_dev != device:
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))  # it hides what is beneath it
            yield from every_file(fd, folder=path)
        finally:
            os.close(fd)
