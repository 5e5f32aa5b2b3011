"""Files, once: the durable write, the safe open, the removal that stays removed.

Rules that every caller gets from here and nowhere else:

- a file appears under its final name only when its bytes are on the medium (``fsync`` of the file, link or rename,
  ``fsync`` of the directory);
- a removal counts only after ``fsync`` of the directory, else a power cut brings the file back; one that fails says in
  its kind of error whether a person or time mends it;
- a source's file is opened beneath its folder and must be a plain file with one name (``open_beneath``);
- a failed ``fsync`` is never retried: the kernel may have dropped the pages and marked them clean.

Files are 0600 and folders 0700.
"""

import ctypes
import errno
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from agent.access import denied
from agent.errors import ConfigError, CorruptError, LinkError, SpaceError

FILE_MODE: Final = 0o600
FOLDER_MODE: Final = 0o700

# Linux openat2(2); the numbers are the same on x86-64 and aarch64.
_SYS_OPENAT2: Final = 437
_RESOLVE_NO_XDEV: Final = 0x01
_RESOLVE_NO_MAGICLINKS: Final = 0x02
_RESOLVE_NO_SYMLINKS: Final = 0x04
_RESOLVE_BENEATH: Final = 0x08

PART_SUFFIX: Final = ".part"
"""Of a file that is still being written."""

ASIDE_PREFIX: Final = ".privacy-agent."
"""Of a source's file that is being removed; hidden, so that nobody takes it for a recording."""

_RENAME_NOREPLACE: Final = 1  # renameat2(2)
_RENAME_EXCHANGE: Final = 2
_NOT_RENAMED_SO: Final = frozenset({errno.EINVAL, errno.ENOSYS})
"""What it says where a file system, or the kernel, has no such rename."""

# statx(2), which Python's own stat does not ask: the time of birth of a descriptor's file, and where the answer has it.
_AT_EMPTY_PATH: Final = 0x1000
_STATX_BTIME: Final = 0x800
_STATX_BYTES: Final = 256
_STATX_MASK: Final = slice(0, 4)
_STATX_BTIME_S: Final = slice(80, 88)
_STATX_BTIME_NS: Final = slice(88, 92)

TMPFS_MAGIC: Final = 0x01021994  # statfs(2)
_STATFS_BYTES: Final = 256

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})

# What rename(2) says where a longer name is none, a full disk has no room for it, or a file system changes no names.
_NO_OTHER_NAME: Final = _FULL | {errno.ENAMETOOLONG, errno.ENOSYS, errno.EOPNOTSUPP}

# What openat2(2) says of a name that is not acceptable, or not for us; everything else may pass.
_NOT_OPENED: Final = {
    errno.ELOOP: "a symbolic link",
    errno.EXDEV: "outside the folder",
    errno.ENXIO: "a FIFO or socket",
    **{code: os.strerror(code) for code in (errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.ENAMETOOLONG)},
}

# What open(2) says of a file that a person named, where its own words do not tell what it is.
_NOT_NAMED: Final = {errno.ENXIO: "a socket, and no plain file"}

# What open(2) says of a path that a person mends, and how; everything else may pass.
_NO_FOLDER: Final = {
    errno.ENOENT: "create the folder: mkdir -m 700 -p {path}",
    **dict.fromkeys((errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG), "name a folder"),
}
# What unlink(2) says of what only a person can remove.
_NOT_REMOVED: Final = {
    **dict.fromkeys(
        (errno.EPERM, errno.EACCES), "look at its attributes and rights: lsattr -R {path}; chattr -R -i {path}"
    ),
    errno.EROFS: "mount its file system for writing: {path}",
    **dict.fromkeys((errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY), "it is none of ours, move it away: ls -ld {path}"),
}
_TRIED_AGAIN: Final = "it is tried again; if it stays, check the medium and the limit of open files"


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_libc = ctypes.CDLL(None, use_errno=True)


def open_folder(path: Path, *, private: bool = True) -> int:
    """Open a folder for ``fsync`` and ``*at`` calls; the caller closes the descriptor.

    Raises ``ConfigError`` when it is absent, no folder, not for this user, or (``private``) readable by anybody else;
    ``LinkError`` when the medium or this process cannot open it now.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError as error:
        raise denied(path) from error
    except OSError as error:
        told = f"{path}: {os.strerror(error.errno or 0)}"
        hint = _NO_FOLDER.get(error.errno or 0)
        if hint is None:
            raise LinkError(told, hint=_TRIED_AGAIN) from error
        raise ConfigError(told, hint=hint.format(path=path)) from error
    if private and stat.S_IMODE(os.fstat(fd).st_mode) & 0o077:
        os.close(fd)
        raise ConfigError(f"{path}: others may read this folder", hint=f"chmod 700 {path}")
    return fd


def make_folder(path: Path) -> None:
    """Create a private folder with its parents and make each new name durable; an existing one is left as it is."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=FOLDER_MODE)
        sync_folder(folder.parent)


def make_named_folder(path: Path, *, hint: str) -> None:
    """Create a private folder that a person named, as ``make_folder`` does.

    Raises ``ConfigError`` with the next step ``hint`` where this user cannot, ``SpaceError`` where there is no room.
    """
    try:
        with translated_space():
            make_folder(path)
    except OSError as error:
        raise ConfigError(f"{error.filename or path}: {error.strerror}", hint=hint) from error


def is_there(path: Path) -> bool:
    """Tell whether a file exists; raises ``ConfigError`` where this user may not even look."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except PermissionError as error:
        raise denied(path) from error
    return True


def is_folder(path: Path) -> bool:
    """Tell whether a folder exists; raises ``ConfigError`` where this user may not even look.

    ``Path.is_dir`` raises there, or says no, as the Python has it.
    """
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except PermissionError as error:
        raise denied(path) from error


def sync_folder(path: Path) -> None:
    """Make every name in the folder durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def open_beneath(folder_fd: int, name: str) -> int:
    """Open ``name`` for reading beneath an open folder, refusing everything that is not a plain file of its own.

    No symbolic link, traversal, mount crossing, FIFO, device or second hard link. The open cannot block. Raises
    ``CorruptError`` saying which rule was broken; ``FileNotFoundError`` when the file vanished meanwhile; ``LinkError``
    when the medium or this process cannot open it now.
    """
    how = _OpenHow(
        flags=os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY,
        mode=0,
        resolve=_RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS | _RESOLVE_NO_XDEV,
    )
    fd: int = _libc.syscall(_SYS_OPENAT2, folder_fd, os.fsencode(name), ctypes.byref(how), ctypes.sizeof(how))
    if fd < 0:
        code = ctypes.get_errno()
        if code == errno.ENOENT:
            raise FileNotFoundError(code, os.strerror(code))
        if code in _NOT_OPENED:
            raise CorruptError(f"not opened: {_NOT_OPENED[code]}")
        raise LinkError(f"not opened: {os.strerror(code)}", hint=_TRIED_AGAIN)
    status = os.fstat(fd)
    problem = ""
    if not stat.S_ISREG(status.st_mode):
        problem = "not a plain file"
    elif status.st_nlink != 1:
        problem = "it has more than one name (hard link)"
    if problem:
        os.close(fd)
        raise CorruptError(f"not opened: {problem}")
    return fd


def born_ms(fd: int) -> int | None:
    """Return when an open file was made, in Unix milliseconds; ``None`` where its file system or kernel tells nobody.

    A file that is renamed keeps it, a copy has one of its own.
    """
    if not hasattr(_libc, "statx"):  # musl has it since 1.2.5
        return None
    answer = ctypes.create_string_buffer(_STATX_BYTES)
    failed: int = _libc.statx(fd, b"", _AT_EMPTY_PATH, _STATX_BTIME, answer)
    if failed or not int.from_bytes(answer.raw[_STATX_MASK], sys.byteorder) & _STATX_BTIME:
        return None
    seconds = int.from_bytes(answer.raw[_STATX_BTIME_S], sys.byteorder, signed=True)
    return seconds * 1000 + int.from_bytes(answer.raw[_STATX_BTIME_NS], sys.byteorder) // 1_000_000


_MAKE_ROOM: Final = "free space or lower the keep limits in policy.toml"
"""What the agent's own files need; a tool that has no policy says what helps there."""


@contextmanager
def translated_space(*, hint: str = _MAKE_ROOM) -> Iterator[None]:
    """Turn "no space" and "over quota" into ``SpaceError``; other failures pass through unchanged."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise SpaceError("the disk is full", hint=hint) from error
        raise


def new_file(folder: Path, *, hint: str = _MAKE_ROOM) -> tuple[int, Path]:
    """Create a nameless-to-others temporary file in ``folder`` and return its descriptor and path.

    It shares the file system with its final name; ``settle`` gives it that name. Left-overs of a crash match
    ``*.part`` and are swept at start.
    """
    path = folder / f"{secrets.token_hex(16)}{PART_SUFFIX}"
    with translated_space(hint=hint):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    return fd, path


def settle(part: Path, final: Path, *, folder_synced: bool = True) -> None:
    """Give a fully synced temporary file its final name; with ``folder_synced`` the name is durable on return.

    A caller that settles many files passes ``folder_synced=False`` and calls ``sync_folder`` once before it relies
    on any of them.
    """
    os.rename(part, final)  # noqa: TID251, PTH104 - the durable write stands here
    if folder_synced:
        sync_folder(final.parent)


def write_durably(path: Path, data: bytes) -> None:
    """Write a whole file so that after any cut either the old or the new bytes are there.

    Order: temporary file in the same folder, write, ``fsync``, rename, ``fsync`` of the folder. Raises ``SpaceError``
    when there is no room; the old file is then untouched.
    """
    fd, part = new_file(path.parent)
    try:
        with translated_space():
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            os.fsync(fd)
        settle(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)


@contextmanager
def translated_removal(path: Path) -> Iterator[None]:
    """Turn what keeps a file from being removed into an error that says who mends it; "not there" passes through.

    ``ConfigError`` where a person does, ``LinkError`` where it is the medium's weather.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        named = Path(os.fsdecode(error.filename or path))
        where = named if named.is_absolute() else path
        told = f"{where}: cannot be removed: {error.strerror or error}"
        hint = _NOT_REMOVED.get(error.errno or 0)
        if hint is None:
            raise LinkError(told, hint=_TRIED_AGAIN) from error
        raise ConfigError(told, hint=hint.format(path=where)) from error


def remove(path: Path, *, folder_synced: bool = True) -> bool:
    """Remove a file; return whether it was there. With ``folder_synced`` the removal survives a power cut on return.

    Raises what ``translated_removal`` makes of a failure.
    """
    with translated_removal(path):
        try:
            os.unlink(path)  # noqa: TID251, PTH108 - removals stand here
        except FileNotFoundError:
            existed = False
        else:
            existed = True
        if folder_synced:
            sync_folder(path.parent)
    return existed


def remove_tree(folder: Path) -> bool:
    """Remove a folder with all that is in it, durably; return whether it was there. A link to one is refused.

    Raises what ``translated_removal`` makes of a failure; some of it may then be gone.
    """
    with translated_removal(folder):
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            existed = False
        else:
            existed = True
            sync_folder(folder.parent)
    return existed


def remove_beneath(
    folder_fd: int, name: str, *, inode: int, device: int, look: Callable[[int], None] = lambda _fd: None
) -> bool:
    """Remove ``name`` beneath an open folder if it still is the very file that was read; return whether it was.

    The parent folder is synced, so the removal survives a power cut on return. A file that was replaced since is left,
    also one that takes its place between the look and the removal, which therefore goes in steps:

    1. the name is put aside, whatever stands there. *Power fails behind it: ``bring_back`` finds it at the next look.*
    2. what was put aside is the file, and ``look``, which is given a descriptor of it, raises nothing: it is removed.
       *Power fails before: as behind 1. After: it is gone.*
    3. it is another one, ``look`` raised, or it cannot be removed: it gets its name back. Where its writer has given
       that away meanwhile it waits aside until 1 puts what stands there aside, and has the name again in that moment:
       it may hold what nobody has read. *Power fails: as behind 1.*

    It is removed where it stands when it can be given no hidden name, as on a full disk whose removal makes room, or
    when its inode goes by its name, as on some file systems that join others.
    """
    parent, _, leaf = name.rpartition("/")
    try:
        parent_fd = _open_folder_beneath(folder_fd, parent) if parent else os.dup(folder_fd)
    except FileNotFoundError:
        return False
    hidden = aside = ASIDE_PREFIX + leaf
    try:
        waits = not bring_back(parent_fd, hidden)
        if not _is(parent_fd, leaf, inode, device):
            return False
        if not _put_aside(parent_fd, leaf, hidden, waits=waits):
            aside = leaf
        removed = _is(parent_fd, aside, inode, device)
        if not removed:
            removed, aside = bring_back(parent_fd, hidden) and _is(parent_fd, leaf, inode, device), leaf
        if removed:
            _look_and_remove(parent_fd, aside, look)
            if waits and aside == leaf:
                bring_back(parent_fd, hidden)
        os.fsync(parent_fd)
    except FileNotFoundError:
        return False
    finally:
        os.close(parent_fd)
    return removed


def _put_aside(folder_fd: int, leaf: str, aside: str, *, waits: bool) -> bool:
    """Give a file its hidden name, and its own to what ``waits`` there; return whether it can have one."""
    if waits:
        return _rename(folder_fd, leaf, aside, _RENAME_EXCHANGE) == 0
    try:
        os.rename(leaf, aside, src_dir_fd=folder_fd, dst_dir_fd=folder_fd)  # noqa: TID251 - removals stand here
    except OSError as error:
        if error.errno in _NO_OTHER_NAME:
            return False
        raise
    return True


def _look_and_remove(folder_fd: int, name: str, look: Callable[[int], None]) -> None:
    """Have what is to be removed looked at, and remove it; what is raised gives it its name back."""
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder_fd)
        try:
            look(fd)
        finally:
            os.close(fd)
        os.unlink(name, dir_fd=folder_fd)  # noqa: TID251 - removals stand here
    except BaseException:
        bring_back(folder_fd, name)
        raise


def _is(folder_fd: int, name: str, inode: int, device: int) -> bool:
    status = os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
    return (status.st_ino, status.st_dev) == (inode, device)


def bring_back(folder_fd: int, aside: str) -> bool:
    """Give a file that ``remove_beneath`` put aside its name back, if it stands there.

    ``False`` where another has that name by now, and this one stays aside. Its writer may have replaced it, but may as
    well have added to it by a descriptor, and begun the other by the name that was free for a moment.
    """
    leaf = aside.removeprefix(ASIDE_PREFIX)
    if leaf == aside:
        return True
    code = _rename(folder_fd, aside, leaf, _RENAME_NOREPLACE)
    if code in _NOT_RENAMED_SO:
        code = _rename_by_link(folder_fd, aside, leaf)
    if code == errno.EEXIST:
        if not _is_one_file(folder_fd, aside, leaf):
            return False
        os.unlink(aside, dir_fd=folder_fd)  # noqa: TID251 - removals stand here
    elif code not in {0, errno.ENOENT, errno.ENAMETOOLONG}:
        raise OSError(code, os.strerror(code))
    return True


def _rename(folder_fd: int, old: str, new: str, flags: int) -> int:
    """Rename with renameat2(2); return its error, 0 where there is none."""
    if (rename := getattr(_libc, "renameat2", None)) is None:  # not every C library has it
        return errno.ENOSYS
    failed: int = rename(folder_fd, os.fsencode(old), folder_fd, os.fsencode(new), flags)
    return ctypes.get_errno() if failed else 0


def _rename_by_link(folder_fd: int, old: str, new: str) -> int:
    """Rename unless there is one of the new name, where the file system cannot do it at once; return the error.

    If power fails between the two names, the file has both: then its hidden one goes the next time.
    """
    try:
        os.link(old, new, src_dir_fd=folder_fd, dst_dir_fd=folder_fd, follow_symlinks=False)
    except FileNotFoundError:
        return errno.ENOENT
    except FileExistsError:
        return errno.EEXIST
    except OSError:  # no second names either: there is a moment between the look and the rename
        if _stands(folder_fd, new):
            return errno.EEXIST
        os.rename(old, new, src_dir_fd=folder_fd, dst_dir_fd=folder_fd)  # noqa: TID251 - removals stand here
        return 0
    os.unlink(old, dir_fd=folder_fd)  # noqa: TID251 - removals stand here
    return 0


def _is_one_file(folder_fd: int, one: str, other: str) -> bool:
    try:
        found = (os.stat(name, dir_fd=folder_fd, follow_symlinks=False) for name in (one, other))
        return os.path.samestat(*found)
    except FileNotFoundError:
        return False


def _stands(folder_fd: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _open_folder_beneath(folder_fd: int, name: str) -> int:
    how = _OpenHow(
        flags=os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY,
        mode=0,
        resolve=_RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS | _RESOLVE_NO_XDEV,
    )
    fd: int = _libc.syscall(_SYS_OPENAT2, folder_fd, os.fsencode(name), ctypes.byref(how), ctypes.sizeof(how))
    if fd < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code)) if code != errno.ENOENT else FileNotFoundError(code, name)
    return fd


def read_whole(path: Path, *, max_bytes: int, hint: str, too_large: str = "", secret: bool = False) -> bytes:
    """Read a file that a person named; raises ``ConfigError`` when it cannot be read, is larger or no plain file.

    The open cannot block: a FIFO would keep whoever reads it for ever. A file that is written to meanwhile is refused,
    since half of it may say something else. ``too_large`` is the next step of what is larger, where that is another
    than ``hint``. What is ``secret`` nobody is told to give to another user.
    """
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            before = os.fstat(file.fileno())
            if not stat.S_ISREG(before.st_mode):
                kind = "a FIFO" if stat.S_ISFIFO(before.st_mode) else "a device"
                raise ConfigError(f"{path}: {kind}, and no plain file", hint=hint)
            raw = file.read(max_bytes + 1)
            after = os.fstat(file.fileno())
    except PermissionError as error:
        raise denied(path, secret=secret) from error
    except OSError as error:
        raise ConfigError(f"{path}: {_NOT_NAMED.get(error.errno or 0, error.strerror)}", hint=hint) from error
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        hint = "write it beside and rename it, then read it again"
        raise ConfigError(f"{path}: it was written to while it was read", hint=hint)
    if len(raw) > max_bytes:
        raise ConfigError(f"{path}: larger than {max_bytes} bytes", hint=too_large or hint)
    return raw


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)


def file_system_magic(place: Path | int) -> int:
    """Return the ``f_type`` of statfs(2) for the file system that holds a path or an open file or folder."""
    buffer = ctypes.create_string_buffer(_STATFS_BYTES)
    failed = _libc.fstatfs(place, buffer) if isinstance(place, int) else _libc.statfs(os.fsencode(place), buffer)
    if failed:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(place))
    return ctypes.c_long.from_buffer(buffer).value


def free_bytes(path: Path) -> tuple[int, int]:
    """Return (bytes free for us, bytes in all) of the file system that holds ``path``."""
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize
