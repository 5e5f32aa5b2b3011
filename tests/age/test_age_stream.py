"""The payload is the same however it is read, written and shared between threads, and memory stays bounded."""

import hashlib
import io
import tracemalloc
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import pytest

from agent.age import Sizes, decrypt_stream, encrypt_stream, payload_size
from agent.age.failure import PayloadError
from agent.age.stream import BATCH_CHUNKS, CHUNK_BYTES, SEALED_CHUNK_BYTES, Buffers, encrypt_bytes

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

FILE_KEY = b"sixteen byte key"
NONCE = b"a payload nonce!"
BATCH_BYTES = BATCH_CHUNKS * CHUNK_BYTES

SIZES = [
    0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, BATCH_BYTES - 1, BATCH_BYTES, BATCH_BYTES + 1,
    BATCH_BYTES + 4096, 3 * BATCH_BYTES, 3 * BATCH_BYTES + CHUNK_BYTES,
]  # fmt: skip


def content(size: int) -> bytes:
    return b"".join(number.to_bytes(64, "big") for number in range(size // 64 + 1))[:size]


class Trickle:
    """Reads and writes less than asked, as pipes and sockets do."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = io.BytesIO(data)

    def readinto(self, buffer: memoryview, /) -> int:
        return self.data.readinto(buffer[: max(1, len(buffer) // 3)])

    def write(self, data: memoryview, /) -> int:
        return self.data.write(data[: max(1, len(data) // 3)])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_stream_of_any_size_and_threads_equals_the_one_shot_payload(size: int, threads: int) -> None:
    out = io.BytesIO()
    sizes = encrypt_stream(FILE_KEY, io.BytesIO(content(size)), out, nonce=NONCE, threads=threads)
    assert out.getvalue() == encrypt_bytes(FILE_KEY, content(size), nonce=NONCE)
    assert sizes == Sizes(size, payload_size(size)) == Sizes(size, len(out.getvalue()))
    opened = io.BytesIO()
    assert decrypt_stream(FILE_KEY, io.BytesIO(out.getvalue()), opened, threads=threads) == sizes
    assert opened.getvalue() == content(size)


@pytest.mark.parametrize("threads", [1, 2])
def test_streams_that_use_the_same_buffers_one_after_another_hold_nothing_of_each_other(threads: int) -> None:
    buffers = Buffers()
    for size in (*SIZES[::-1], *SIZES):
        out = io.BytesIO()
        encrypt_stream(FILE_KEY, io.BytesIO(content(size)), out, nonce=NONCE, threads=threads, buffers=buffers)
        assert out.getvalue() == encrypt_bytes(FILE_KEY, content(size), nonce=NONCE)


def test_streams_that_run_at_once_share_no_buffer() -> None:
    buffers = Buffers()
    one, other = buffers.take(), buffers.take()
    assert one is not other
    buffers.keep(one)
    assert buffers.take() is one
    assert buffers.take() not in {one, other}


@pytest.mark.parametrize("size", [0, CHUNK_BYTES, BATCH_BYTES, BATCH_BYTES + 1])
@pytest.mark.parametrize("threads", [1, 2])
def test_short_reads_and_writes_change_nothing(size: int, threads: int) -> None:
    sealed, opened = Trickle(), Trickle()
    encrypt_stream(FILE_KEY, Trickle(content(size)), sealed, nonce=NONCE, threads=threads)
    assert sealed.data.getvalue() == encrypt_bytes(FILE_KEY, content(size), nonce=NONCE)
    sizes = decrypt_stream(FILE_KEY, Trickle(sealed.data.getvalue()), opened, threads=threads)
    assert opened.data.getvalue() == content(size)
    assert sizes == Sizes(size, payload_size(size))


@pytest.mark.parametrize("threads", [1, 2])
def test_hooks_are_given_see_every_byte_in_order(threads: int) -> None:
    plain = content(2 * BATCH_BYTES + 77)
    read, written, opened = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
    out = io.BytesIO()
    encrypt_stream(
        FILE_KEY, io.BytesIO(plain), out, on_plaintext=read.update, on_ciphertext=written.update, threads=threads
    )
    decrypt_stream(FILE_KEY, io.BytesIO(out.getvalue()), io.BytesIO(), on_plaintext=opened.update, threads=threads)
    assert read.digest() == opened.digest() == hashlib.sha256(plain).digest()
    assert written.digest() == hashlib.sha256(out.getvalue()).digest()


def test_start_of_payload_was_read_with_the_header_is_used_first() -> None:
    payload = encrypt_bytes(FILE_KEY, content(100_000), nonce=NONCE)
    for split in (0, 5, 16, 17, len(payload)):
        out = io.BytesIO()
        decrypt_stream(FILE_KEY, io.BytesIO(payload[split:]), out, prefix=payload[:split])
        assert out.getvalue() == content(100_000)


@pytest.mark.parametrize("threads", [1, 2])
def test_writer_fails_raises_its_error_and_ends_every_thread(threads: int) -> None:
    class Full:
        taken_bytes = 0

        def write(self, data: memoryview, /) -> int:
            if self.taken_bytes > BATCH_BYTES:
                raise OSError(28, "No space left on device")
            self.taken_bytes += len(data)
            return len(data)

    with pytest.raises(OSError, match="No space left"):
        encrypt_stream(FILE_KEY, io.BytesIO(content(6 * BATCH_BYTES)), Full(), threads=threads)


@pytest.mark.parametrize("threads", [1, 2])
def test_reader_fails_raises_its_error_and_writes_nothing_after_it(threads: int) -> None:
    class Broken:
        data = io.BytesIO(content(6 * BATCH_BYTES))

        def readinto(self, buffer: memoryview, /) -> int:
            if self.data.tell() > 3 * BATCH_BYTES:
                raise OSError(5, "Input/output error")
            return self.data.readinto(buffer)

    out = io.BytesIO()
    with pytest.raises(OSError, match="Input/output error"):
        encrypt_stream(FILE_KEY, Broken(), out, nonce=NONCE, threads=threads)
    assert encrypt_bytes(FILE_KEY, content(6 * BATCH_BYTES), nonce=NONCE).startswith(out.getvalue())


@pytest.mark.parametrize("opens", [False, True])
@pytest.mark.parametrize("failing", range(2, 8))
def test_nobody_reads_on_behind_a_read_that_failed(failing: int, *, opens: bool) -> None:
    """What another thread read there would have the number of what was lost."""

    class BrokenOnce(io.BytesIO):
        left, behind = failing, 0

        def readinto(self, buffer: "WriteableBuffer", /) -> int:
            self.left -= 1
            if self.left == 0:
                raise OSError(5, "Input/output error")
            self.behind += self.left < 0
            return super().readinto(buffer)

    plain, work = content(6 * BATCH_BYTES), decrypt_stream if opens else encrypt_stream
    reader, out = BrokenOnce(encrypt_bytes(FILE_KEY, plain, nonce=NONCE) if opens else plain), io.BytesIO()
    with pytest.raises(OSError, match="Input/output error"):
        work(FILE_KEY, reader, out, threads=2)
    assert reader.behind == 0
    if opens:
        assert plain.startswith(out.getvalue())


def test_long_input_is_streamed_holds_a_few_batches_in_memory() -> None:
    class Zeros:
        left = 64 * 1024 * 1024

        def readinto(self, buffer: memoryview, /) -> int:
            count = min(len(buffer), self.left)
            self.left -= count
            return count

    class Sink:
        def write(self, data: memoryview, /) -> int:
            return len(data)

    tracemalloc.start()
    encrypt_stream(FILE_KEY, Zeros(), Sink(), nonce=NONCE, threads=2)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5 * BATCH_BYTES


def test_two_payloads_get_no_nonce_begin_differently() -> None:
    assert encrypt_bytes(FILE_KEY, b"")[:16] != encrypt_bytes(FILE_KEY, b"")[:16]


DAMAGES: Final[dict[str, Callable[[bytes, int], bytes]]] = {
    "flipped": lambda payload, at: payload[:at] + bytes([payload[at] ^ 1]) + payload[at + 1 :],
    "cut": lambda payload, at: payload[:at],
    "extended": lambda payload, _at: payload + bytes(SEALED_CHUNK_BYTES),
}


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("damage", sorted(DAMAGES))
@pytest.mark.parametrize("chunk", [0, BATCH_CHUNKS - 1, BATCH_CHUNKS, 2 * BATCH_CHUNKS + 3, 5 * BATCH_CHUNKS])
def test_damage_anywhere_releases_all_chunks_before_it_and_nothing_else(threads: int, damage: str, chunk: int) -> None:
    plain = content(5 * BATCH_BYTES + 100)
    payload = encrypt_bytes(FILE_KEY, plain, nonce=NONCE)
    damaged = DAMAGES[damage](payload, len(NONCE) + chunk * SEALED_CHUNK_BYTES + 5)
    out = io.BytesIO()
    with pytest.raises(PayloadError):
        decrypt_stream(FILE_KEY, io.BytesIO(damaged), out, threads=threads)
    whole = plain[: chunk * CHUNK_BYTES] if damage != "extended" else plain[: 5 * BATCH_BYTES]
    assert out.getvalue() == whole


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_reader_that_fails_is_told_behind_all_that_was_read_before(threads: int) -> None:
    class Breaking(io.BytesIO):
        def readinto(self, buffer: "WriteableBuffer", /) -> int:
            if self.tell() >= len(NONCE) + 3 * BATCH_CHUNKS * SEALED_CHUNK_BYTES:
                raise OSError(5, "Input/output error")
            return super().readinto(buffer)

    plain = content(6 * BATCH_BYTES)
    out = io.BytesIO()
    with pytest.raises(OSError, match="Input/output"):
        decrypt_stream(FILE_KEY, Breaking(encrypt_bytes(FILE_KEY, plain, nonce=NONCE)), out, threads=threads)
    assert out.getvalue() == plain[: 3 * BATCH_BYTES]
