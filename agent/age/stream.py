"""The payload: a 16-byte nonce, then chunks of 64 KiB, each sealed with ChaCha20-Poly1305.

A chunk's nonce holds its number and whether it is the last, so a chunk that is missing, moved or added is found.
Rules: memory is bounded by one batch of chunks; a byte reaches the writer only after its chunk opened; what was
written before an error is a true prefix, so a caller that needs all or nothing writes to a temporary file.

Speed: the cipher is three quarters of the time, so the loop copies nothing and allocates nothing: buffers and their
slices are made once, what is read begins on a page (``pages.py``), and a batch is one read and one write. (C2SP
``age.md``, section "Payload".)
"""

import io
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from agent.age.failure import HeaderError, PayloadError
from agent.age.format import PrefixedReader, Reader, derive
from agent.pages import page_buffer

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CHUNK_BYTES: Final = 64 * 1024
TAG_BYTES: Final = 16
SEALED_CHUNK_BYTES: Final = CHUNK_BYTES + TAG_BYTES
NONCE_BYTES: Final = 16

# Measured: fewer than four cost some percent, more than eight no longer fit a core's cache together with their output.
BATCH_CHUNKS: Final = 8

_AHEAD_BYTES: Final = 4096  # a page: copied once per batch
_COUNTER_BYTES: Final = 11
_MORE: Final = b"\0"
_LAST: Final = b"\1"

Hook = Callable[[memoryview], object]


class Writer(Protocol):
    """Anything opened for writing bytes; a short write is completed."""

    def write(self, data: memoryview, /) -> int | None:
        """Write some of ``data`` and return how much."""


class Sizes(NamedTuple):
    """What went through a stream: plain bytes, and bytes of the whole payload with its nonce and tags."""

    plain_bytes: int
    payload_bytes: int


def payload_size(plain_bytes: int) -> int:
    """Return how many bytes a payload takes for that many plain bytes."""
    chunks = max(1, -(-plain_bytes // CHUNK_BYTES))
    return NONCE_BYTES + plain_bytes + chunks * TAG_BYTES


def plain_size(payload_bytes: int) -> int:
    """Return how many plain bytes a payload of that size holds; ``PayloadError`` if there is no such payload.

    The answer is only as true as the size: the last chunk proves it.
    """
    sealed = payload_bytes - NONCE_BYTES
    chunks = max(1, -(-sealed // SEALED_CHUNK_BYTES))
    plain = sealed - chunks * TAG_BYTES
    if plain < 0 or payload_size(plain) != payload_bytes:
        raise PayloadError(f"no payload has {payload_bytes} bytes: it was cut")
    return plain


def encrypt_stream(
    file_key: bytes,
    reader: Reader,
    writer: Writer,
    *,
    nonce: bytes | None = None,
    on_plaintext: Hook | None = None,
    on_ciphertext: Hook | None = None,
    threads: int = 1,
    buffers: "Buffers | None" = None,
) -> Sizes:
    """Read to the end and write ``nonce‖chunks``; return the sizes.

    ``nonce`` is 16 fresh random bytes (made here if not given), never used before with this file key. The hooks see
    every byte read and every byte written, in order and before it is written; a view is valid only during the call.
    With ``threads=2`` a second one seals while the first reads and writes; a call is then interrupted only when a
    read returns, so keep it for plain files. A caller with many streams keeps their ``buffers`` between them.
    """
    nonce = os.urandom(NONCE_BYTES) if nonce is None else nonce
    stream = _Sealing(_payload_cipher(file_key, nonce), reader, writer, on_plaintext, on_ciphertext)
    _write_all(writer, memoryview(nonce), on_ciphertext)
    _Line(stream).run(threads, buffers or Buffers())
    return Sizes(stream.plain_bytes, payload_size(stream.plain_bytes))


def decrypt_stream(
    file_key: bytes,
    reader: Reader,
    writer: Writer,
    *,
    prefix: bytes = b"",
    on_plaintext: Hook | None = None,
    threads: int = 1,
) -> Sizes:
    """Read a payload to the end and write what it holds; return the sizes.

    ``prefix`` is the start of the payload that was already read together with the header. Raises ``PayloadError``
    for a payload that was truncated, flipped, reordered or extended, after writing the chunks before it, and nothing
    else; ``HeaderError`` when not even the nonce is there. ``on_plaintext`` sees every byte written. ``threads`` is as
    in ``encrypt_stream``.
    """
    source = PrefixedReader(prefix, reader)
    nonce = bytearray(NONCE_BYTES)
    if _read_full(source, memoryview(nonce)) != NONCE_BYTES:
        raise HeaderError("the file ends before its payload")
    stream = _Opening(_payload_cipher(file_key, bytes(nonce)), source, writer, on_plaintext)
    _Line(stream).run(threads, Buffers())
    stream.finish()
    return Sizes(stream.plain_bytes, NONCE_BYTES + stream.sealed_bytes)


def encrypt_bytes(file_key: bytes, plain: bytes, *, nonce: bytes | None = None) -> bytes:
    """Return the payload of a small message; ``nonce`` as in ``encrypt_stream``."""
    nonce = os.urandom(NONCE_BYTES) if nonce is None else nonce
    cipher = _payload_cipher(file_key, nonce)
    view = memoryview(plain)
    pieces = [nonce]
    last = max(0, (len(plain) - 1) // CHUNK_BYTES)
    for number in range(last + 1):
        flag = _LAST if number == last else _MORE
        chunk = view[number * CHUNK_BYTES : (number + 1) * CHUNK_BYTES]
        pieces.append(cipher.encrypt(_chunk_nonce(number, flag), chunk, None))
    return b"".join(pieces)


def decrypt_bytes(file_key: bytes, payload: bytes) -> bytes:
    """Return what a whole payload holds, all or nothing; raises ``PayloadError``."""
    plain = io.BytesIO()
    decrypt_stream(file_key, io.BytesIO(payload), plain)
    return plain.getvalue()


class SeekableReader(io.RawIOBase):
    """Random access to what a sealed file holds, opening only the chunks that are asked for.

    ``raw`` is an open binary file that is not used elsewhere meanwhile, ``offset`` where its payload starts and
    ``size`` how many bytes the payload has. The last chunk is opened first: it alone proves the size, so everything
    measured from the end is true. Raises ``PayloadError`` then, and when a chunk that is read was changed; chunks
    that are never read are never checked. Holds one chunk in memory. Closing it leaves ``raw`` open.
    """

    def __init__(self, file_key: bytes, raw: io.RawIOBase | io.BufferedIOBase, size: int, *, offset: int = 0) -> None:
        super().__init__()
        self._raw = raw
        self._offset = offset
        self._payload_bytes = size
        self._size = plain_size(size)
        self._last = max(0, (self._size - 1) // CHUNK_BYTES)
        self._position = 0
        self._held = -1
        self._chunk = memoryview(b"")
        self._cipher = _payload_cipher(file_key, bytes(self._read_raw(0, NONCE_BYTES)))
        self._hold(self._last)

    @property
    def size_bytes(self) -> int:
        """The plain size, proved by the last chunk."""
        return self._size

    def readable(self) -> bool:
        """Say yes."""
        return True

    def seekable(self) -> bool:
        """Say yes."""
        return True

    def tell(self) -> int:
        """Return the plain position."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move to a plain position, also beyond the end; ``ValueError`` before the start."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError("seek before the start")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """Fill ``buffer`` up to the end of the current chunk; 0 at the end."""
        if self._position >= self._size:
            return 0
        number, start = divmod(self._position, CHUNK_BYTES)
        self._hold(number)
        view = memoryview(buffer)
        piece = self._chunk[start : start + len(view)]
        view[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def _hold(self, number: int) -> None:
        if number == self._held:
            return
        start = NONCE_BYTES + number * SEALED_CHUNK_BYTES
        sealed = self._read_raw(start, min(SEALED_CHUNK_BYTES, self._payload_bytes - start))
        nonce = _chunk_nonce(number, _LAST if number == self._last else _MORE)
        try:
            self._chunk = memoryview(self._cipher.decrypt(nonce, sealed, None))
        except InvalidTag:
            raise PayloadError(f"chunk {number} of the payload was changed") from None
        self._held = number

    def _read_raw(self, start: int, count: int) -> bytearray:
        piece = bytearray(count)
        self._raw.seek(self._offset + start)
        if _read_full(self._raw, memoryview(piece)) != count:
            raise PayloadError("the payload is cut short")
        return piece


class _Batch:
    """Preallocated buffers for some chunks, plain and sealed, and the slices that the cipher takes."""

    __slots__ = ("count", "done", "ends", "failure", "number", "plain", "plain_slots", "sealed", "sealed_slots")

    def __init__(self) -> None:
        self.plain = page_buffer(BATCH_CHUNKS * CHUNK_BYTES)
        self.plain_slots = [self.plain[at : at + CHUNK_BYTES] for at in range(0, len(self.plain), CHUNK_BYTES)]
        self.sealed = memoryview(bytearray(BATCH_CHUNKS * SEALED_CHUNK_BYTES))
        self.sealed_slots = [
            self.sealed[at : at + SEALED_CHUNK_BYTES] for at in range(0, len(self.sealed), SEALED_CHUNK_BYTES)
        ]
        self.count = self.number = self.done = 0
        self.ends = False
        self.failure: PayloadError | None = None


class Buffers:
    """Buffers for as many streams as run at once, which the streams after them use again; for any thread.

    Measured: with buffers made anew for each of many streams an upload beside them is a twentieth slower.
    """

    def __init__(self) -> None:
        self._spare: list[_Batch] = []

    def take(self) -> _Batch:
        """Return buffers that nobody uses."""
        try:
            return self._spare.pop()
        except IndexError:
            return _Batch()

    def keep(self, batch: _Batch) -> None:
        """Take back what is used no more."""
        self._spare.append(batch)


class _Stream(Protocol):
    """What a line does with its batches; ``take`` and ``give`` are called in order and one at a time."""

    def take(self, batch: _Batch) -> bool:
        """Read the next batch; tell whether there was one."""

    def work(self, batch: _Batch) -> None:
        """Seal or open it, in any order and several at a time."""

    def give(self, batch: _Batch) -> None:
        """Write what came of it."""


class _Sealing:
    """Plain bytes in, sealed chunks out."""

    def __init__(
        self,
        cipher: ChaCha20Poly1305,
        reader: Reader,
        writer: Writer,
        on_plaintext: Hook | None,
        on_ciphertext: Hook | None,
    ) -> None:
        self.plain_bytes = 0
        self._cipher = cipher
        self._reader = reader
        self._writer = writer
        self._on_plaintext = on_plaintext
        self._on_ciphertext = on_ciphertext
        self._ahead = memoryview(bytearray(_AHEAD_BYTES))
        self._ahead_count = 0
        self._ended = False

    def take(self, batch: _Batch) -> bool:
        if self._ended:
            return False
        # Whether a full batch ends the file shows only beyond it, so a little is read ahead.
        batch.plain[: self._ahead_count] = self._ahead[: self._ahead_count]
        batch.count = self._ahead_count + _read_full(self._reader, batch.plain[self._ahead_count :])
        self._ahead_count = _read_full(self._reader, self._ahead)
        batch.ends = self._ended = self._ahead_count == 0
        self.plain_bytes += batch.count
        if self._on_plaintext is not None and batch.count:
            self._on_plaintext(batch.plain[: batch.count])
        return True

    def work(self, batch: _Batch) -> None:
        whole, rest = divmod(batch.count, CHUNK_BYTES)
        if batch.ends and rest == 0 and whole > 0:
            whole, rest = whole - 1, CHUNK_BYTES
        first = batch.number * BATCH_CHUNKS
        seal = self._cipher.encrypt_into
        for slot in range(whole):
            seal(_chunk_nonce(first + slot, _MORE), batch.plain_slots[slot], None, batch.sealed_slots[slot])
        batch.done = whole * SEALED_CHUNK_BYTES
        if batch.ends:
            last = batch.sealed_slots[whole][: rest + TAG_BYTES]
            seal(_chunk_nonce(first + whole, _LAST), batch.plain_slots[whole][:rest], None, last)
            batch.done += len(last)

    def give(self, batch: _Batch) -> None:
        _write_all(self._writer, batch.sealed[: batch.done], self._on_ciphertext)


class _Opening:
    """Sealed chunks in, plain bytes out; what is behind the last chunk, or a chunk that does not open, is an error."""

    def __init__(self, cipher: ChaCha20Poly1305, reader: Reader, writer: Writer, on_plaintext: Hook | None) -> None:
        self.plain_bytes = self.sealed_bytes = 0
        self._cipher = cipher
        self._reader = reader
        self._writer = writer
        self._on_plaintext = on_plaintext
        self._ended = False

    def take(self, batch: _Batch) -> bool:
        batch.count = _read_full(self._reader, batch.sealed)
        self.sealed_bytes += batch.count
        return batch.count > 0

    def work(self, batch: _Batch) -> None:
        batch.done, batch.ends, batch.failure = 0, False, None
        try:
            for slot in range(-(-batch.count // SEALED_CHUNK_BYTES)):
                batch.done += self._open(batch, slot)
        except PayloadError as failure:
            batch.failure = failure

    def _open(self, batch: _Batch, slot: int) -> int:
        if batch.ends:
            raise _goes_on()
        number = batch.number * BATCH_CHUNKS + slot
        sealed = batch.sealed_slots[slot][: batch.count - slot * SEALED_CHUNK_BYTES]
        size = len(sealed) - TAG_BYTES
        if size < 0 or (size == 0 and number > 0):
            raise _cut_short()
        # Only the last chunk may be short. A full one says what it is by how it opens.
        plain = batch.plain_slots[slot][:size]
        batch.ends = size < CHUNK_BYTES or not self._try(number, _MORE, sealed, plain)
        if batch.ends and not self._try(number, _LAST, sealed, plain):
            raise PayloadError(f"chunk {number} of the payload was changed, or the payload is cut short")
        return size

    def _try(self, number: int, flag: bytes, sealed: memoryview, plain: memoryview) -> bool:
        try:
            self._cipher.decrypt_into(_chunk_nonce(number, flag), sealed, None, plain)
        except InvalidTag:
            return False
        return True

    def give(self, batch: _Batch) -> None:
        if self._ended:
            raise _goes_on()
        self._ended = batch.ends
        # Chunks that opened are true even if a later one is not, and age's own tools release them too.
        _write_all(self._writer, batch.plain[: batch.done], self._on_plaintext)
        self.plain_bytes += batch.done
        if batch.failure is not None:
            raise batch.failure

    def finish(self) -> None:
        if not self._ended:
            raise _cut_short()


def _goes_on() -> PayloadError:
    return PayloadError("the payload goes on after its last chunk")


def _cut_short() -> PayloadError:
    return PayloadError("the payload is cut short")


class _Line:
    """Threads that all do the same: read the next batch, seal or open it, write it when its turn has come.

    Reading and writing are in order and one at a time; only the cipher's work overlaps, because it gives up the
    interpreter's lock. The first failure of any thread stops all and is raised.
    """

    def __init__(self, stream: _Stream) -> None:
        self._stream = stream
        self._reading = threading.Lock()
        self._turn = threading.Condition()
        self._taken = self._given = 0
        self._is_read = False
        self._failure: BaseException | None = None

    def run(self, threads: int, buffers: Buffers) -> None:
        """Work to the end with that many threads, the calling one among them."""
        others = [threading.Thread(target=self._work, args=(buffers,), daemon=True) for _ in range(threads - 1)]
        for other in others:
            other.start()
        self._work(buffers)
        for other in others:
            other.join()
        if self._failure is not None:
            raise self._failure

    def _work(self, buffers: Buffers) -> None:
        batch = buffers.take()
        try:
            while self._take(batch):
                self._stream.work(batch)
                self._give(batch)
            buffers.keep(batch)
        except Exception as failure:  # noqa: BLE001 - run() raises it in the calling thread
            with self._turn:
                self._await_turn(batch)  # what was read before is written
                self._fail(failure)
        except BaseException as failure:  # noqa: BLE001 - the same, and nobody waits any more
            with self._turn:
                self._fail(failure)

    def _fail(self, failure: BaseException) -> None:
        self._failure = self._failure or failure
        self._turn.notify_all()

    def _take(self, batch: _Batch) -> bool:
        with self._reading:
            batch.number = self._taken
            if self._is_read or self._failure is not None:
                return False
            self._is_read = True  # also where the read fails: what another one read behind it had its number
            if not self._stream.take(batch):
                return False
            self._is_read = False
            self._taken += 1
            return True

    def _give(self, batch: _Batch) -> None:
        with self._turn:
            self._await_turn(batch)
            if self._failure is None:
                self._stream.give(batch)
                self._given += 1
                self._turn.notify_all()

    def _await_turn(self, batch: _Batch) -> None:
        self._turn.wait_for(lambda: self._given == batch.number or self._failure is not None)


def _payload_cipher(file_key: bytes, nonce: bytes) -> ChaCha20Poly1305:
    assert len(nonce) == NONCE_BYTES  # noqa: S101 - a caller's mistake, not bad input
    return ChaCha20Poly1305(derive(file_key, salt=nonce, info=b"payload"))


def _chunk_nonce(number: int, flag: bytes) -> bytes:
    return number.to_bytes(_COUNTER_BYTES, "big") + flag


def _read_full(reader: Reader, view: memoryview) -> int:
    """Read until ``view`` is full or the input ends; return how much was read."""
    filled = 0
    while filled < len(view):
        count = reader.readinto(view[filled:] if filled else view)
        assert count is not None  # noqa: S101 - a non-blocking file is a caller's mistake
        if count == 0:
            break
        filled += count
    return filled


def _write_all(writer: Writer, view: memoryview, hook: Hook | None) -> None:
    if hook is not None and view:
        hook(view)
    while view:
        count = writer.write(view)
        assert count is not None  # noqa: S101 - a non-blocking file is a caller's mistake
        view = view[count:]
