"""Seal one open file into another: what happens to clear bytes happens here, in memory, and nowhere else.

Rules: the part file is written with sealed bytes only and is fsynced before an answer is given; a source that changed
while it was read is no source (``SourceChangedError``, its owner keeps it); a failed fsync is never retried.
"""

import errno
import hashlib
import os
import socket
import stat
from collections.abc import Callable
from contextlib import closing, suppress
from functools import lru_cache
from typing import Final, NamedTuple, Self

from agent.age.filekey import new_file_key, wrap_header
from agent.age.format import Reader
from agent.age.keys import Recipient, parse_recipient
from agent.age.stream import Buffers, Sizes, encrypt_bytes, encrypt_stream
from agent.camera.identity import Order
from agent.errors import AgentError, CorruptError, LinkError, SpaceError
from agent.keytree import SLOT_KEY_BYTES, seal_header, wrap_slot
from agent.sealer.digest import ContentTag, Follower
from agent.sealer.job import Sealed, SealJob, SourceChangedError

RECIPIENTS_KEPT: Final = 64
"""Parsed recipients remembered: reading a post-quantum one takes a millisecond."""

SHORT_BYTES: Final = 512 * 1024
"""Up to here one read and one write do it (measured: a stream's buffers cost 2 ms, the rest of a segment 0.7 ms)."""

LONG_BYTES: Final = 8 * 1024 * 1024
"""From here on a second thread hashes (measured: a fifth less time; at 4 MiB no gain, and a sixth more processor)."""

_BUFFERS: Final = Buffers()
"""As long as the process lives: it ends when it is idle."""

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def seal(job: SealJob, *, source_fd: int, part_fd: int, order: Order | None = None) -> Sealed:
    """Read the source to its end and write its payload, synced, to the part file, which is emptied first.

    A seekable source is read from its start. With an ``order`` it is a camera's recording, fetched over connections
    that are asked for at ``source_fd``. The descriptors stay open. Raises ``ConfigError`` for recipients that cannot be
    used, ``SpaceError`` when there is no room, ``LinkError`` when the source cannot be read and its special case
    ``SourceChangedError`` when it changed meanwhile, ``CorruptError`` when the part file's medium failed or a camera
    sent something else than it said.
    """
    if order is not None:
        return _seal_fetched(job, order, source_fd=source_fd, part_fd=part_fd)
    before = _rewind(source_fd)
    file_key = new_file_key()
    header = wrap_header(file_key, [_recipient(text) for text in job.recipients])
    content = ContentTag(job.tag_key)
    with _Part(part_fd, long=before is None or before.size_bytes >= LONG_BYTES) as part:
        if before is not None and before.size_bytes <= SHORT_BYTES and not job.cleaning:
            through = _seal_short(file_key, source_fd, part, content=content, size_bytes=before.size_bytes)
        else:
            through = _encrypt(job, file_key, _Source(source_fd), part, on_read=content.update)
        if before is not None and (_look(source_fd) != before or through.read_bytes != before.size_bytes):
            raise SourceChangedError("the source changed while it was read", hint="it is tried again")
        digest = part.sync(read_soon=job.read_soon)
    return _sealed(job, file_key, header, through, digest=digest, content=content)


def _seal_fetched(job: SealJob, order: Order, *, source_fd: int, part_fd: int) -> Sealed:
    from agent.camera.content import Content, Progress, through  # noqa: PLC0415 - sealing files needs neither TLS nor HTTP

    file_key = new_file_key()
    header = wrap_header(file_key, [_recipient(text) for text in job.recipients])
    content = ContentTag(job.tag_key)
    with (
        socket.socket(fileno=os.dup(source_fd)) as channel,
        closing(Content(order, connect=through(channel))) as fetched,
        _Part(part_fd, long=order.size_bytes >= LONG_BYTES) as part,
    ):
        progress = Progress(channel)

        def on_read(piece: memoryview) -> None:
            content.update(piece)
            if job.cleaning:  # else the part file tells how it gets on
                progress.read(len(piece))

        # It raises at its end unless all of it is what the camera said: then nothing was sealed.
        sealed = _encrypt(job, file_key, fetched, part, on_read=on_read)
        digest = part.sync(read_soon=job.read_soon)
    return _sealed(job, file_key, header, sealed, digest=digest, content=content)


def _encrypt(
    job: SealJob, file_key: bytes, source: Reader, part: "_Part", *, on_read: Callable[[memoryview], None]
) -> "_Through":
    """Encrypt the source to its end, through the job's field rules where it has some."""
    if not job.cleaning:
        sizes = encrypt_stream(file_key, source, part, on_plaintext=on_read, buffers=_BUFFERS)
        return _Through(sizes, sizes.plain_bytes)
    from agent.sealer.cleaning import Cleaning  # noqa: PLC0415 - what is sealed as it is needs nothing of it

    cleaning = Cleaning(source, job.cleaning, on_read=on_read)
    sizes = encrypt_stream(file_key, cleaning, part, buffers=_BUFFERS)
    return _Through(sizes, cleaning.read_bytes, cleaning.tally, cleaning.counted)


class _Through(NamedTuple):
    """What was sealed, how much was read for it, and what field rules made of that."""

    sizes: Sizes
    read_bytes: int
    tally: tuple[int, ...] = ()
    counted: dict[str, dict[str, int]] | None = None


def _sealed(
    job: SealJob, file_key: bytes, header: bytes, through: _Through, *, digest: bytes, content: ContentTag
) -> Sealed:
    slot_key = file_key if job.kind == "file-key" else os.urandom(SLOT_KEY_BYTES)
    return Sealed(
        plain_bytes=through.sizes.plain_bytes,
        size_bytes=through.sizes.payload_bytes,
        payload_sha256=digest,
        header_sha256=hashlib.sha256(header).digest(),
        sealed_header=seal_header(slot_key, header, object_id=job.object_id),
        slot=wrap_slot(job.group, slot_key, object_id=job.object_id, payload_sha256=digest, kind=job.kind),
        content_tag=content.digest(),
        tally=through.tally,
        counted=through.counted or {},
    )


def _seal_short(file_key: bytes, source_fd: int, part: "_Part", *, content: ContentTag, size_bytes: int) -> _Through:
    source = _Source(source_fd)
    # One byte more, to see a file that grew.
    plain = memoryview(bytearray(size_bytes + 1))
    count = 0
    while piece := source.readinto(plain[count:]):
        count += piece
    content.update(plain[:count])
    payload = memoryview(encrypt_bytes(file_key, bytes(plain[:count])))
    size = len(payload)
    while payload:
        payload = payload[part.write(payload) :]
    return _Through(Sizes(count, size), count)


class _Look(tuple[int, int, int, int]):
    """What must not change while a file is read: device, inode, size, time of the last write."""

    __slots__ = ()

    @property
    def size_bytes(self) -> int:
        return self[2]


def _look(fd: int) -> _Look:
    status = os.fstat(fd)
    return _Look((status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns))


def _rewind(fd: int) -> _Look | None:
    """Go to the start of a plain file and say what it is; a pipe has neither."""
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        return None
    os.lseek(fd, 0, os.SEEK_SET)
    with suppress(OSError):  # only advice
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
    return _look(fd)


@lru_cache(maxsize=RECIPIENTS_KEPT)
def _recipient(text: str) -> Recipient:
    return parse_recipient(text)


class _Source:
    """The clear side; its failures are weather."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def readinto(self, buffer: memoryview, /) -> int:
        try:
            return os.readv(self._fd, [buffer])
        except OSError as error:
            raise LinkError(f"the source cannot be read: {os.strerror(error.errno or 0)}") from error


class _Part:
    """The sealed side; its failures are "no room" or a broken medium."""

    __slots__ = ("_fd", "_follower", "_hash")

    def __init__(self, fd: int, *, long: bool) -> None:
        self._fd = fd
        try:
            os.ftruncate(fd, 0)
            os.lseek(fd, 0, os.SEEK_SET)
        except OSError as error:
            raise _part_error(error) from error
        self._hash = hashlib.sha256()
        self._follower = Follower(fd) if long else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._follower is not None:
            self._follower.end()

    def write(self, data: memoryview, /) -> int:
        try:
            count = os.write(self._fd, data)
        except OSError as error:
            raise _part_error(error) from error
        if self._follower is not None:
            self._follower.wrote(count)
        else:
            self._hash.update(data[:count])
        return count

    def sync(self, *, read_soon: bool) -> bytes:
        """Put all of it on the medium and return its SHA-256."""
        try:
            digest = self._follower.digest() if self._follower is not None else self._hash.digest()
            os.fsync(self._fd)
        except OSError as error:
            raise _part_error(error) from error
        if not read_soon:
            with suppress(OSError):  # only advice: the memory serves the next one
                os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)
        return digest


def _part_error(error: OSError) -> AgentError:
    if error.errno in _FULL:
        return SpaceError("the disk is full", hint="free space or lower the keep limits in policy.toml")
    return CorruptError(
        f"the vault's medium failed: {os.strerror(error.errno or 0)}", hint="check the disk; sources keep their copies"
    )
