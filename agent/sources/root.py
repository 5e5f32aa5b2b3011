"""The folder of a source while it is open: whether it is the one that it should be, and what is done beneath it.

Rules: it is on the medium that the config says, also when it was mounted or replaced after the start; it is given back
when the last call that uses it has ended. So it can be exchanged while files beneath it are still opened or removed: no
call ever meets a descriptor that means something else by now.

Every call here may wait for the medium, for as long as that does not answer.
"""

import fcntl
import hashlib
import os
import signal
from collections.abc import Iterator
from functools import partial
from typing import Final

from agent.errors import CorruptError, LinkError
from agent.files import ASIDE_PREFIX, born_ms, file_system_magic, open_beneath, open_folder, remove_beneath
from agent.sources.candidate import Candidate, IncompleteError, MediumError
from agent.sources.settings import SourceSettings, require_medium
from agent.sources.walk import Found, every_file

# statfs(2): NFS, SMB, SMB2, CIFS, FUSE, 9P, AFS. Changes made elsewhere raise no events here.
_REMOTE: Final = frozenset({0x6969, 0x517B, 0xFE534D42, 0xFF534D42, 0x65735546, 0x01021997, 0x5346414F})


class Root:
    """An open folder; whoever uses ``fd`` holds the object meanwhile.

    ``identity`` tells it from another at the same path, also after a restart, so that what is absent from one is not
    taken for removed from the other. It is 0 on a tmpfs, of which nothing is left once it is another.
    Opening raises ``ConfigError`` when the folder is not there or not on its medium, ``MediumError`` or ``OSError``
    when it cannot be looked at.
    """

    __slots__ = ("_settings", "device", "fd", "identity", "remote")

    def __init__(self, settings: SourceSettings) -> None:
        self._settings = settings
        try:
            self.fd = open_folder(settings.path, private=False)  # closed by ``__del__``, also when the next lines raise
        except LinkError as error:
            raise MediumError(error.message, hint=error.hint) from error
        self.device = os.fstat(self.fd).st_dev
        self.remote = file_system_magic(self.fd) in _REMOTE
        require_medium(settings, self.fd)
        self.identity = 0 if settings.medium == "tmpfs" else _identity(self.fd)

    def __del__(self) -> None:
        if hasattr(self, "fd"):
            os.close(self.fd)

    def stands(self) -> bool:
        """Tell whether the source's path still means this folder: it may be removed, replaced or mounted over."""
        try:
            return os.path.samestat(self._settings.path.stat(), os.fstat(self.fd))
        except FileNotFoundError:
            return False

    def open_file(self, candidate: Candidate) -> int:
        """Open the very file that was offered; the caller closes the descriptor.

        Raises ``IncompleteError`` when it vanished, changed since, or is open for writing; ``CorruptError`` when what
        stands there now is not acceptable.
        """
        fd = self._open(candidate)
        problem = ""
        if not _same(os.fstat(fd), candidate):
            problem = "the file changed"
        elif _being_written(fd):
            problem = "the file is open for writing"
        if problem:
            os.close(fd)
            raise IncompleteError(problem, hint="it is tried again once its writer is done")
        return fd

    def open_log(self, candidate: Candidate) -> int:
        """Open the file that was offered for what is written in it by now, also while its writer goes on.

        The caller closes the descriptor. Raises ``IncompleteError`` when another file stands there, or none.
        """
        fd = self._open(candidate)
        status = os.fstat(fd)
        if (status.st_ino, status.st_dev) != (candidate.inode, candidate.device):
            os.close(fd)
            raise IncompleteError("another file took its place", hint="that one is taken by itself")
        return fd

    def _open(self, candidate: Candidate) -> int:
        try:
            return open_beneath(self.fd, candidate.path)
        except FileNotFoundError:
            raise IncompleteError("the file vanished", hint="nothing to do") from None

    def give_up(self, candidate: Candidate) -> bool:
        """Remove the file that was read; return whether it was there, after which the removal survives a power cut.

        It was not when nothing has its name any more, or another file has. Raises ``IncompleteError`` when it was
        written to since, and ``LinkError`` when it cannot be removed for now.
        """
        if self.device != candidate.device:
            raise MediumError("another medium is mounted there", hint="the copy is removed when its own is back")
        try:
            status = self.describe(candidate.path)
            if status is None or status.st_ino != candidate.inode:
                return False
            # Asked here, for what puts it aside changes it. A new name or right does too, and costs one more look.
            if not _same(status, candidate) or status.st_ctime_ns != candidate.ctime_ns:
                raise _changed()
            return remove_beneath(
                self.fd,
                candidate.path,
                inode=candidate.inode,
                device=candidate.device,
                look=partial(_require_unwritten, candidate=candidate),
            )
        except CorruptError as error:
            raise _not_removed(error.message, 'let nothing else link to it, or say: after = "leave"') from error
        except OSError as error:
            hint = 'let the agent write in the source\'s folder, or say: after = "leave"'
            raise _not_removed(os.strerror(error.errno or 0), hint) from error

    def describe(self, path: str) -> os.stat_result | None:
        """Return what is known of the plain file with that path; ``None`` when there is nothing.

        Raises ``CorruptError`` when what is there may not be opened, ``LinkError`` when it cannot be for now.
        """
        folder, _, leaf = path.rpartition("/")
        try:
            fd = open_beneath(self.fd, path)
        except FileNotFoundError:  # or a cut left it aside
            try:
                fd = open_beneath(self.fd, f"{folder}/{ASIDE_PREFIX}{leaf}" if folder else ASIDE_PREFIX + leaf)
            except (FileNotFoundError, CorruptError):
                return None
        try:
            return os.fstat(fd)
        except OSError as error:
            raise LinkError(f"not looked at: {os.strerror(error.errno or 0)}", hint="it is tried again") from error
        finally:
            os.close(fd)

    def may_be_open(self, path: str) -> bool:
        """Tell whether the kernel does not say if somebody has the file open for writing."""
        try:
            fd = open_beneath(self.fd, path)
        except (FileNotFoundError, CorruptError, LinkError):
            return False  # whoever takes it is told why it cannot be
        try:
            return _being_written(fd) is None
        finally:
            os.close(fd)

    def every_file(self) -> Iterator[Found]:
        """Yield what stands there now, whether it was ever offered or not; its absence is then known.

        Raises ``MediumError`` when another folder stands there by now, ``OSError`` where it cannot be looked at.
        """
        if not self.stands():
            raise MediumError(f"{self._settings.path} is another folder now", hint="is its disk mounted?")
        yield from every_file(self.fd)


def _identity(fd: int) -> int:
    """Return a number of 63 bits made of the file system's own id, which it keeps when mounted again, and the inode.

    Some tell in its place the number of their device (XFS, FAT), which another disk has there next time, or nothing
    (NFS, FUSE): with them the folder's time of birth stands for it, where that is told.
    """
    status = os.fstat(fd)
    own: int | str = os.fstatvfs(fd).f_fsid
    if own in {0, status.st_dev} and (born := born_ms(fd)):
        own = f"born {born}"
    about = f"{own} {status.st_ino}".encode("ascii")
    return int.from_bytes(hashlib.sha256(about).digest()[:8], "big") >> 1


def _not_removed(reason: str, hint: str) -> LinkError:
    return LinkError(f"the source's copy cannot be removed: {reason}", hint=hint)


def _same(status: os.stat_result, candidate: Candidate) -> bool:
    return (status.st_size, status.st_mtime_ns, status.st_ino, status.st_dev) == (
        candidate.size_bytes,
        candidate.mtime_ns,
        candidate.inode,
        candidate.device,
    )


def _changed() -> IncompleteError:
    return IncompleteError("the file changed after it was read", hint="it is taken in again as it is now")


def _require_unwritten(fd: int, *, candidate: Candidate) -> None:
    """Raise ``IncompleteError`` where the file that was read is written anew beneath its name, or is about to be."""
    if not _same(os.fstat(fd), candidate) or _being_written(fd):
        raise _changed()


def _being_written(fd: int) -> bool | None:
    """Tell whether somebody has the file open for writing: then the kernel grants no read lease (fcntl(2)).

    ``None`` where leases are not for us (another user's file without CAP_LEASE, a file system that has none): other
    signs must do.
    """
    try:
        # A writer who comes while we hold the lease makes the kernel send a signal: not SIGIO, which would end us.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return True
    except OSError:
        return None
    # Given back at once: a held lease would make the next writer wait for us.
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False
