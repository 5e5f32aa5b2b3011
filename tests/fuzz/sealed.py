"""The age format: headers, files, payloads, armor, and keys as people keep them."""

import io
from collections.abc import Iterator
from typing import Final

from agent import age
from agent.age.armor import without_armor
from agent.age.format import parse_header
from agent.age.stream import decrypt_bytes, encrypt_bytes
from agent.errors import ConfigError, CorruptError
from tests.age.test_age_vectors import ALL, Vector
from tests.fuzz.target import Target, text
from tests.fuzz.vectors import GOOD, IDENTITIES, PARTIES, payload_of

FILE_KEY: Final = bytes(range(16))
NONCE: Final = bytes(16)
LOG_N_MAX: Final = 6
"""A larger work factor takes the fuzzer's time and tells nothing."""

VECTORS: Final = tuple(Vector(ALL[name]) for name in sorted(ALL))
OPENERS: Final[tuple[age.Unwraps, ...]] = (*IDENTITIES, age.ScryptIdentity("password", log_n_max=LOG_N_MAX))
_SMALL: Final = 8192


def header(raw: bytes) -> object:
    """Read a header as a stream gives it, and take it apart."""
    return parse_header(age.read_header(io.BytesIO(raw))[0])


def file(raw: bytes) -> object:
    """Open a whole file with every identity of the vectors."""
    return age.decrypt(raw, OPENERS)


def payload(raw: bytes) -> object:
    """Open a payload from its start, and read it from its end."""
    plain = decrypt_bytes(FILE_KEY, raw)
    reader = age.SeekableReader(FILE_KEY, io.BytesIO(raw), len(raw))
    reader.seek(-min(reader.size_bytes, 3), io.SEEK_END)
    assert reader.read() == plain[-min(len(plain), 3) :] or not plain
    return plain


def seekable(raw: bytes) -> object:
    """Read a payload from its end only."""
    return age.SeekableReader(FILE_KEY, io.BytesIO(raw), len(raw)).read()


def armor(raw: bytes) -> object:
    """Read what stands in an armor, or the bytes as they are."""
    reader, buffer, plain = without_armor(io.BytesIO(raw)), memoryview(bytearray(1000)), b""
    while count := reader.readinto(buffer):
        plain += buffer[:count]
    return plain


def recipients(raw: bytes) -> object:
    """Read a file of recipients and try each of them."""
    found = age.parse_recipient_file(text(raw))
    for recipient in found[:2]:
        age.require_usable(recipient.to_text())
    return found


def identities(raw: bytes) -> object:
    """Read a file of identities."""
    return [identity.recipient().to_text() for identity in age.parse_identity_file(text(raw))]


def files() -> Iterator[bytes]:
    """Yield age files: those of the test kit and of the protocol's vectors."""
    yield from (vector.file for vector in VECTORS if len(vector.file) <= _SMALL)
    yield from (payload_of(vector)[1:] for vector in GOOD if vector.get("reader"))


def payload_seeds() -> Iterator[bytes]:
    """Yield payloads of one chunk, of two, and of none."""
    for size in (0, 1, 100, 65_536, 65_537):
        yield encrypt_bytes(FILE_KEY, bytes(size), nonce=NONCE)
    yield NONCE


TARGETS: Final = (
    Target(name="age-header", read=header, declared=(CorruptError,), seeds=files, largest=_SMALL),
    Target(name="age-file", read=file, declared=(CorruptError,), seeds=files, largest=_SMALL),
    Target(name="age-payload", read=payload, declared=(CorruptError,), seeds=payload_seeds, largest=66_000),
    Target(name="age-seekable", read=seekable, declared=(CorruptError,), seeds=payload_seeds, largest=66_000),
    Target(
        name="age-armor",
        read=armor,
        declared=(CorruptError,),
        seeds=lambda: (v.file for v in VECTORS if len(v.file) <= _SMALL),
        largest=_SMALL,
    ),
    Target(
        name="age-recipients",
        read=recipients,
        declared=(ConfigError,),
        seeds=lambda: (f"# {name}\n{party['recipient']}\n".encode() for name, party in PARTIES.items()),
    ),
    Target(
        name="age-identities",
        read=identities,
        declared=(ConfigError,),
        seeds=lambda: (f"# created\n{party['identity']}\n".encode() for party in PARTIES.values()),
    ),
)
