"""A damaged file raises ``CorruptError`` and nothing else, and never yields a byte that was not authenticated."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.age import (
    Identity,
    PayloadError,
    SeekableReader,
    decrypt,
    decrypt_stream,
    encrypt,
    encrypt_stream,
    generate_identity,
    new_file_key,
    payload_size,
    plain_size,
    read_header,
    split_header,
    unwrap_header,
    wrap_header,
)
from agent.age.stream import CHUNK_BYTES, NONCE_BYTES, SEALED_CHUNK_BYTES, TAG_BYTES, encrypt_bytes
from agent.errors import CorruptError
from tests.age.armoring import armor, dearmor

FILE_KEY = b"sixteen byte key"
NONCE = b"a payload nonce!"
CLASSIC = generate_identity(post_quantum=False)
STRANGER = generate_identity(post_quantum=False)
HYBRID = generate_identity(post_quantum=True)


def plain_of(chunks: float) -> bytes:
    """Content whose every 64 bytes differ, so a moved chunk shows."""
    size = int(chunks * CHUNK_BYTES)
    return b"".join(number.to_bytes(64, "big") for number in range(size // 64 + 1))[:size]


def open_all(payload: bytes) -> tuple[bytes, BaseException | None]:
    """Open a payload; return what was released, and the error."""
    out = io.BytesIO()
    try:
        decrypt_stream(FILE_KEY, io.BytesIO(payload), out)
    except CorruptError as error:
        return out.getvalue(), error
    return out.getvalue(), None


# Every place where a chunk, a tag or the nonce begins or ends, and one byte to each side.
EDGES = sorted(
    {
        edge + step
        for chunk in range(3)
        for edge in (
            0,
            NONCE_BYTES,
            NONCE_BYTES + chunk * SEALED_CHUNK_BYTES,
            NONCE_BYTES + chunk * SEALED_CHUNK_BYTES + CHUNK_BYTES,
            NONCE_BYTES + chunk * SEALED_CHUNK_BYTES + TAG_BYTES,
        )
        for step in (-1, 0, 1)
        if edge + step >= 0
    }
)


@pytest.mark.parametrize("chunks", [0, 0.5, 1, 2, 2.5])
def test_payload_is_cut_anywhere_releases_only_whole_true_chunks(chunks: float) -> None:
    plain = plain_of(chunks)
    payload = encrypt_bytes(FILE_KEY, plain, nonce=NONCE)
    for cut in [edge for edge in EDGES if edge < len(payload)] + [len(payload) - 1]:
        released, error = open_all(payload[:cut])
        assert isinstance(error, CorruptError), cut
        assert plain.startswith(released)
        assert len(released) % CHUNK_BYTES == 0


@pytest.mark.parametrize("chunks", [0, 0.5, 1, 2.5])
@pytest.mark.parametrize("extra", [b"\0", bytes(TAG_BYTES), bytes(SEALED_CHUNK_BYTES)])
def test_payload_is_extended_raises_and_releases_only_the_truth(chunks: float, extra: bytes) -> None:
    plain = plain_of(chunks)
    released, error = open_all(encrypt_bytes(FILE_KEY, plain, nonce=NONCE) + extra)
    assert isinstance(error, PayloadError)
    assert plain.startswith(released)


def test_payload_has_one_flipped_bit_raises_and_releases_nothing_of_that_chunk() -> None:
    plain = plain_of(2.5)
    payload = encrypt_bytes(FILE_KEY, plain, nonce=NONCE)
    for place in [edge for edge in EDGES if edge < len(payload)] + [len(payload) - 1]:
        flipped = bytearray(payload)
        flipped[place] ^= 1
        released, error = open_all(bytes(flipped))
        assert isinstance(error, PayloadError), place
        assert plain.startswith(released)
        assert len(released) == max(0, place - NONCE_BYTES) // SEALED_CHUNK_BYTES * CHUNK_BYTES


@pytest.mark.parametrize("order", [(1, 0, 2), (0, 2, 1), (0, 0, 1, 2), (1, 2), (0, 2), (2,), (0, 1)])
def test_chunks_are_reordered_repeated_or_missing_raises_and_releases_a_true_prefix(order: tuple[int, ...]) -> None:
    plain = plain_of(3)
    payload = encrypt_bytes(FILE_KEY, plain, nonce=NONCE)
    chunks = [payload[at : at + SEALED_CHUNK_BYTES] for at in range(NONCE_BYTES, len(payload), SEALED_CHUNK_BYTES)]
    released, error = open_all(payload[:NONCE_BYTES] + b"".join(chunks[number] for number in order))
    assert isinstance(error, PayloadError)
    assert plain.startswith(released)


def test_chunk_of_another_payload_is_put_in_raises() -> None:
    plain = plain_of(2)
    payload = encrypt_bytes(FILE_KEY, plain, nonce=NONCE)
    other = encrypt_bytes(FILE_KEY, plain, nonce=b"another payload.")
    released, error = open_all(payload[: NONCE_BYTES + SEALED_CHUNK_BYTES] + other[NONCE_BYTES + SEALED_CHUNK_BYTES :])
    assert isinstance(error, PayloadError)
    assert released == plain[:CHUNK_BYTES]


def test_batches_are_crossed_before_the_damage_releases_all_chunks_before_it() -> None:
    plain = plain_of(40)
    payload = bytearray(encrypt_bytes(FILE_KEY, plain, nonce=NONCE))
    payload[NONCE_BYTES + 35 * SEALED_CHUNK_BYTES] ^= 0x80
    released, error = open_all(bytes(payload))
    assert isinstance(error, PayloadError)
    assert released == plain[: 35 * CHUNK_BYTES]


MESSAGES = {
    "classic": (encrypt(b"open the gate", [CLASSIC.recipient()]), [CLASSIC]),
    "several": (encrypt(b"open the gate", [STRANGER.recipient(), CLASSIC.recipient()]), [CLASSIC]),
    "hybrid": (encrypt(b"open the gate", [HYBRID.recipient()]), [HYBRID, CLASSIC]),
}

Mutation = tuple[str, float, bytes]
mutations = st.lists(
    st.tuples(
        st.sampled_from(["replace", "insert", "delete", "cut"]),
        st.floats(min_value=0, max_value=1, exclude_max=True),
        st.binary(min_size=1, max_size=8) | st.sampled_from([b"\n", b"\n-> ", b"--- ", b" ", b"=", b"\r\n", b"X25519"]),
    ),
    min_size=1,
    max_size=4,
)


def mutate(raw: bytes, changes: list[Mutation]) -> bytes:
    for what, where, piece in changes:
        at = int(where * len(raw))
        if what == "replace":
            raw = raw[:at] + piece + raw[at + len(piece) :]
        elif what == "insert":
            raw = raw[:at] + piece + raw[at:]
        elif what == "delete":
            raw = raw[:at] + raw[at + len(piece) :]
        else:
            raw = raw[:at]
    return raw


@pytest.mark.parametrize("kind", sorted(MESSAGES))
@settings(max_examples=150, deadline=None)
@given(changes=mutations)
def test_file_is_mutated_at_random_opens_unchanged_or_raises_only_the_one_error(
    kind: str, changes: list[Mutation]
) -> None:
    raw, identities = MESSAGES[kind]
    mutated = mutate(raw, changes)
    try:
        opened = decrypt(mutated, identities)
    except CorruptError:
        assert mutated != raw
    else:
        assert mutated == raw
        assert opened == b"open the gate"


@settings(max_examples=150, deadline=None)
@given(changes=mutations)
def test_armor_is_mutated_at_random_gives_what_was_in_it_or_raises_only_the_one_error(changes: list[Mutation]) -> None:
    raw, identities = MESSAGES["classic"]
    try:
        opened = decrypt(dearmor(mutate(armor(raw), changes)), identities)
    except CorruptError:
        return
    assert opened == b"open the gate"  # white space around the armor may change


@settings(max_examples=100, deadline=None)
@given(raw=st.binary(max_size=300))
def test_anything_is_read_as_a_header_raises_only_the_one_error(raw: bytes) -> None:
    for start in (b"", b"age-encryption.org/v1\n", b"age-encryption.org/v1\n-> X25519 "):
        with pytest.raises(CorruptError):
            unwrap_header(split_header(start + raw)[0], [CLASSIC, HYBRID])
        with pytest.raises(CorruptError):
            read_header(io.BytesIO(start + raw + b"\0"))


@settings(max_examples=40, deadline=None)
@given(changes=mutations)
def test_payload_is_mutated_at_random_releases_only_a_true_prefix(changes: list[Mutation]) -> None:
    plain = plain_of(2.5)
    payload = encrypt_bytes(FILE_KEY, plain, nonce=NONCE)
    mutated = mutate(payload, changes)
    released, error = open_all(mutated)
    assert plain.startswith(released)
    assert (error is None) == (mutated == payload)


def test_header_never_ends_is_refused_at_the_limit() -> None:
    class Endless:
        read_bytes = 0

        def readinto(self, buffer: memoryview, /) -> int:
            if self.read_bytes > 1_000_000:
                return 0  # far enough: a reader with no limit must fail here, not hang
            start = b"age-encryption.org/v1\n-> X\n" if self.read_bytes == 0 else b""
            line = start + (b"A" * 64 + b"\n") * (len(buffer) // 65)
            count = min(len(line), len(buffer))
            buffer[:count] = line[:count]
            self.read_bytes += count
            return count

    endless = Endless()
    with pytest.raises(CorruptError, match="no header ends within"):
        read_header(endless)
    assert endless.read_bytes < 140 * 1024


def test_size_that_no_payload_has_is_asked_raises() -> None:
    for plain in (0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 5_000_000):
        assert plain_size(payload_size(plain)) == plain
    for size in (0, NONCE_BYTES, NONCE_BYTES + TAG_BYTES - 1, payload_size(CHUNK_BYTES) + TAG_BYTES):
        with pytest.raises(PayloadError):
            plain_size(size)


def sealed_file(plain: bytes, identity: Identity) -> tuple[bytes, bytes, bytes]:
    file_key = new_file_key()
    out = io.BytesIO()
    encrypt_stream(file_key, io.BytesIO(plain), out)
    return file_key, wrap_header(file_key, [identity.recipient()]), out.getvalue()


@settings(max_examples=60, deadline=None)
@given(data=st.data(), chunks=st.sampled_from([0, 0.2, 1, 2, 2.5]))
def test_any_place_is_read_gives_the_same_as_reading_it_all(data: st.DataObject, chunks: float) -> None:
    plain = plain_of(chunks)
    file_key, header, payload = sealed_file(plain, CLASSIC)
    reader = SeekableReader(file_key, io.BytesIO(header + payload), len(payload), offset=len(header))
    assert reader.size_bytes == len(plain)
    buffered = io.BufferedReader(reader)
    for _ in range(4):
        start = data.draw(st.integers(0, len(plain) + 2))
        count = data.draw(st.integers(0, 70_000))
        assert buffered.seek(start) == start
        assert buffered.read(count) == plain[start : start + count]
    assert reader.seek(0, io.SEEK_END) == len(plain)
    reader.seek(-min(5, len(plain)), io.SEEK_CUR)
    assert reader.read() == plain[-5:]


def test_end_of_seekable_file_was_cut_is_refused_at_once() -> None:
    file_key, _, payload = sealed_file(plain_of(2.5), CLASSIC)
    for size in (len(payload) - 1, NONCE_BYTES + 2 * SEALED_CHUNK_BYTES, NONCE_BYTES + SEALED_CHUNK_BYTES):
        with pytest.raises(PayloadError):
            SeekableReader(file_key, io.BytesIO(payload[:size]), size)
    with pytest.raises(PayloadError):
        SeekableReader(file_key, io.BytesIO(payload[:-1]), len(payload))


def test_middle_of_seekable_file_was_changed_is_refused_where_it_is_read() -> None:
    plain = plain_of(2.5)
    file_key, _, payload = sealed_file(plain, CLASSIC)
    damaged = bytearray(payload)
    damaged[NONCE_BYTES + SEALED_CHUNK_BYTES + 5] ^= 1
    reader = SeekableReader(file_key, io.BytesIO(damaged), len(damaged))
    assert reader.read(10) == plain[:10]
    reader.seek(CHUNK_BYTES)
    with pytest.raises(PayloadError):
        reader.read(1)
    with pytest.raises(ValueError, match="before the start"):
        reader.seek(-1)
