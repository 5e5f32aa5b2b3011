"""The two fingerprints of a sealing: of what was written, for the manifest; of what was read, to know it again.

SHA-256 is the slowest step of sealing where the processor has no instruction for it, so for a long payload a second
thread reads what was just written back from the page cache and hashes it while the next piece is encrypted. It also
starts the write-back, so that the fsync at the end finds little to do.

The content tag is a secret-keyed universal hash, then a pseudo-random function: Poly1305 (RFC 8439) under a key made
from one of the keystore, its output hidden by HMAC-SHA256. Two different contents of up to 16 GiB
share a tag with a probability of at most 2**-73, nobody without the key can make two that do, and it costs a sixth
of a second SHA-256.
"""

import ctypes
import errno
import hashlib
import hmac
import os
import threading
from typing import Final

from cryptography.hazmat.primitives.poly1305 import Poly1305

from agent.pages import page_buffer

PIECE_BYTES: Final = 256 * 1024
WRITE_BACK_BYTES: Final = 8 * 1024 * 1024
"""Often enough that an fsync finds at most this much to do, rarely enough to cost no system calls."""

_SYNC_FILE_RANGE_WRITE: Final = 2  # Linux <fcntl.h>: start the write-back, wait for nothing

_libc = ctypes.CDLL(None, use_errno=True)


class ContentTag:
    """The tag of one content; equal contents under one key have equal tags."""

    __slots__ = ("_hash", "_key")

    def __init__(self, tag_key: bytes) -> None:
        self._key = tag_key
        self._hash = Poly1305(hmac.digest(tag_key, b"content tag: key of the hash", "sha256"))

    def update(self, piece: memoryview) -> None:
        """Take the next piece of the content."""
        self._hash.update(piece)

    def digest(self) -> bytes:
        """Return the tag, 32 bytes; nothing may follow."""
        return hmac.digest(self._key, b"content tag: value" + self._hash.finalize(), "sha256")


class Follower:
    """Hashes a file in its own thread, close behind its writer."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._hash = hashlib.sha256()
        self._changed = threading.Condition()
        self._written = 0
        self._ended = False
        self._failure: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="payload-hash", daemon=True)
        self._thread.start()

    def wrote(self, count: int) -> None:
        """Say that ``count`` more bytes were written."""
        with self._changed:
            self._written += count
            self._changed.notify()

    def digest(self) -> bytes:
        """Return SHA-256 of all that was written; raises ``OSError`` when it could not be read back."""
        self.end()
        if self._failure is not None:
            raise self._failure
        return self._hash.digest()

    def end(self) -> None:
        """Let the thread end; it hashes to the end of what was written first."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._follow()
        except OSError as error:
            self._failure = error

    def _follow(self) -> None:
        buffer = page_buffer(PIECE_BYTES)
        done = started = 0
        while True:
            with self._changed:
                while self._written == done and not self._ended:
                    self._changed.wait()
                written, ended = self._written, self._ended
            while done < written:
                count = os.preadv(self._fd, [buffer[: min(PIECE_BYTES, written - done)]], done)
                if count == 0:
                    raise OSError(errno.EIO, "what was written is not there")
                self._hash.update(buffer[:count])
                done += count
            if done - started >= WRITE_BACK_BYTES:
                # Only a start: whether the bytes are on the medium is the fsync's to say.
                _libc.sync_file_range(
                    self._fd, ctypes.c_int64(started), ctypes.c_int64(done - started), _SYNC_FILE_RANGE_WRITE
                )  # fmt: skip
                started = done
            if ended and done >= written:
                return
