"""A block device of a test's own: a file system in an image file, its power, and every byte that lies on it.

Nothing gets to the medium that nobody asked for: ext4 would write a file that was cut to nothing and filled again as
soon as it is closed (``auto_da_alloc`` in ext4(5)), which hides that it was never synced. No promise is built on that.

Rules: the image lies in a folder of the test's, the loop device frees itself when nothing is mounted from it, and
mounts are this process's alone, so that nothing is left however it ends. Root only: a machine that gives no loop
device makes the test fail, and it says what is missing.
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import shutil
import stat
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal, Self

from tests.disk import mounts_of_our_own
from tests.waiting import until

Kind = Literal["ext4", "xfs"]

MEMORY: Final = Path("/dev/shm")  # noqa: S108 - images of a test's own are made in folders of its own
SIZE_MIB: Final[dict[Kind, int]] = {"ext4": 64, "xfs": 320}
"""XFS is made no smaller than 300 MiB (mkfs.xfs 6)."""
UNHELPFUL: Final[dict[Kind, bytes]] = {"ext4": b",noauto_da_alloc", "xfs": b""}

PATH: Final = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])

# Linux <linux/loop.h>, <linux/xfs_fs.h> (ext4 has the same), <sys/mount.h>
_LOOP_MAJOR: Final = 7
_CONTROL: Final = os.makedev(10, 237)
_GET_FREE: Final = 0x4C82
_CONFIGURE: Final = 0x4C0A
_AUTOCLEAR: Final = 4
_CONFIG: Final = struct.Struct("=II 52xI 176x 64x")  # file, block size, info.lo_flags
_SHUTDOWN: Final = 0x8004587D
_NO_LOG_FLUSH: Final = 2
_NO_ATIME: Final = 1024

_TRIES: Final = 50
"""Another program may take the free device first."""

_PAGE_BYTES: Final = 4096

_libc = ctypes.CDLL(None, use_errno=True)


class Disk:
    """A file system of ``kind`` in ``folder``; the context manager mounts it at ``top``.

    With ``discard`` the medium forgets the blocks that become free, as a mount option of that name has it do. With that
    no power is cut: where the journal is given up, ext4 tells the medium also of blocks whose removal it never wrote.
    """

    def __init__(self, folder: Path, kind: Kind, *, discard: bool = False) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self.kind = kind
        self.image = folder / "image"
        self.top = folder / "disk"
        self._devices = folder / "devices"
        self._discards = discard

    def __enter__(self) -> Self:
        """Make the file system and mount it."""
        tool = shutil.which(f"mkfs.{self.kind}", path=PATH)
        assert tool, f"mkfs.{self.kind} is missing\n  next: install {'xfsprogs' if self.kind == 'xfs' else 'e2fsprogs'}"
        assert os.geteuid() == 0, "a loop device is root's alone\n  next: run this test as root"
        mounts_of_our_own()
        self._devices.mkdir()
        self.top.mkdir(mode=0o700)
        with self.image.open("wb") as file:
            file.truncate(SIZE_MIB[self.kind] << 20)
        subprocess.run([tool, "-q", self.image], check=True)
        self.mount()
        return self

    def __exit__(self, *_: object) -> None:
        """Unmount it, in use or not."""
        if self.top.is_mount():
            _libc.umount2(os.fsencode(self.top), 2)  # MNT_DETACH

    def mount(self) -> None:
        """Mount it, which recovers what a power cut left."""
        with self._attached() as device:
            what = os.fsencode(device), os.fsencode(self.top), self.kind.encode()
            options = (b"discard" if self._discards else b"nodiscard") + UNHELPFUL[self.kind]
            _checked(_libc.mount(*what, _NO_ATIME, options), f"mount a loop device as {self.kind}")

    def unmount(self) -> None:
        """Unmount it, once nobody uses it any more: somebody who was killed may not be gone yet."""
        until(self._unmounted, what="the disk free of users", pace_s=0.002)

    def _unmounted(self) -> bool:
        if _libc.umount2(os.fsencode(self.top), 0) == 0:
            return True
        if ctypes.get_errno() != errno.EBUSY:
            raise OSError(ctypes.get_errno(), "umount")
        return False

    def cut(self) -> None:
        """Cut the power: what is not on the medium yet never gets there, its journal's end neither."""
        assert not self._discards
        fd = os.open(self.top, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, _SHUTDOWN, struct.pack("=I", _NO_LOG_FLUSH))
        finally:
            os.close(fd)

    @property
    def is_cut(self) -> bool:
        """Whether nothing gets to the medium any more."""
        try:
            os.close(os.open(self.top / "probe", os.O_CREAT | os.O_WRONLY, 0o600))
        except OSError as error:
            return error.errno == errno.EIO
        (self.top / "probe").unlink()
        return False

    def written(self) -> Iterator[tuple[int, bytes]]:
        """Yield every stretch of pages of the image that are not blank, and where it begins; read it unmounted."""
        assert not self.top.is_mount(), "what is in memory alone would be missed"
        size = self.image.stat().st_size
        with self.image.open("rb") as file:
            end = 0
            while end < size:
                try:
                    start = os.lseek(file.fileno(), end, os.SEEK_DATA)
                except OSError as error:
                    if error.errno != errno.ENXIO:
                        raise
                    return
                end = os.lseek(file.fileno(), start, os.SEEK_HOLE)
                yield from _not_blank(start, os.pread(file.fileno(), end - start, start))

    @contextlib.contextmanager
    def _attached(self) -> Iterator[Path]:
        with self.image.open("r+b") as image:
            for _ in range(_TRIES):
                number = self._free_device()
                device = self._node(f"loop{number}", os.makedev(_LOOP_MAJOR, number), kind=stat.S_IFBLK)
                fd = os.open(device, os.O_RDWR | os.O_CLOEXEC)
                try:
                    if _configured(fd, image.fileno()):
                        yield device
                        return
                finally:
                    os.close(fd)
        raise AssertionError("every loop device is taken by another program as soon as it is free")

    def _free_device(self) -> int:
        try:
            control = os.open(self._node("control", _CONTROL, kind=stat.S_IFCHR), os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise AssertionError(
                f"this machine gives no loop device ({error.strerror})\n"
                "  next: modprobe loop, or run this where the container may have devices"
            ) from None
        try:
            return fcntl.ioctl(control, _GET_FREE)
        finally:
            os.close(control)

    def _node(self, name: str, device: int, *, kind: int) -> Path:
        """Return the machine's node, or one of ours: a chroot has none."""
        theirs = Path("/dev") / ("loop-control" if name == "control" else name)
        if theirs.exists():
            return theirs
        path = self._devices / name
        if not path.exists():
            os.mknod(path, kind | 0o600, device)
        return path


def _not_blank(start: int, data: bytes) -> Iterator[tuple[int, bytes]]:
    begun = -1
    for page in range(0, len(data), _PAGE_BYTES):
        some = data[page : page + _PAGE_BYTES]
        blank = some.count(0) == len(some)
        if blank and begun >= 0:
            yield start + begun, data[begun:page]
        begun = -1 if blank else page if begun < 0 else begun
    if begun >= 0:
        yield start + begun, data[begun:]


def _configured(device: int, image: int) -> bool:
    """Put an image behind a device; ``False`` when somebody else was first."""
    try:
        fcntl.ioctl(device, _CONFIGURE, _CONFIG.pack(image, 0, _AUTOCLEAR))
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        return False
    return True


def _checked(answer: int, what: str) -> None:
    if answer != 0:
        code = ctypes.get_errno()
        raise AssertionError(f"this machine does not {what}: {os.strerror(code)}\n  next: run it where root may mount")
