"""All vectors of the age test kit (see README.md): what must open opens, what must not fails for the stated reason."""

import hashlib
import io
import tarfile
import zlib
from pathlib import Path

import pytest

from agent.age import (
    ArmorError,
    ArmorReader,
    HeaderError,
    HmacError,
    NoMatchError,
    PayloadError,
    ScryptIdentity,
    Unwraps,
    decrypt_stream,
    parse_identity,
    read_header,
    unwrap_header,
)
from agent.age.format import Reader, parse_header, write_header
from agent.errors import CorruptError

VECTORS = Path(__file__).parent / "cctv.tar.gz"
VECTOR_COUNT = 143

FAILURE = {
    "header failure": HeaderError,
    "HMAC failure": HmacError,
    "no match": NoMatchError,
    "payload failure": PayloadError,
    "armor failure": ArmorError,
}


def _load() -> dict[str, bytes]:
    with tarfile.open(VECTORS) as archive:
        files = {member.name: archive.extractfile(member) for member in archive.getmembers()}
        return {name: file.read() for name, file in files.items() if file is not None}


ALL = _load()


class Vector:
    def __init__(self, text: bytes) -> None:
        head, self.file = text.split(b"\n\n", 1)
        pairs = [line.split(": ", 1) for line in head.decode().split("\n")]
        self.facts = dict(pairs)
        assert set(self.facts) <= {
            "expect", "payload", "file key", "identity", "passphrase", "armored", "compressed", "comment"
        }  # fmt: skip
        if self.facts.get("compressed") == "zlib":
            self.file = zlib.decompress(self.file)
        self.expect = self.facts["expect"]
        self.identities: list[Unwraps] = [parse_identity(value) for key, value in pairs if key == "identity"]
        self.identities += [ScryptIdentity(value) for key, value in pairs if key == "passphrase"]

    def open(self, out: io.BytesIO) -> None:
        reader: Reader = io.BytesIO(self.file)
        if self.facts.get("armored") == "yes":
            reader = ArmorReader(reader)
        header, rest = read_header(reader)
        decrypt_stream(unwrap_header(header, self.identities), reader, out, prefix=rest)


def test_vector_file_is_opened_holds_every_vector() -> None:
    assert len(ALL) == VECTOR_COUNT


@pytest.mark.parametrize("name", sorted(ALL))
def test_vector_is_read_ends_as_it_says(name: str) -> None:
    vector = Vector(ALL[name])
    out = io.BytesIO()
    if vector.expect == "success":
        vector.open(out)
    else:
        with pytest.raises(FAILURE[vector.expect]) as caught:
            vector.open(out)
        assert isinstance(caught.value, CorruptError)
    # The kit names the hash of everything that may be released, also before a failure.
    assert hashlib.sha256(out.getvalue()).hexdigest() == vector.facts.get("payload", hashlib.sha256().hexdigest())


@pytest.mark.parametrize("name", sorted(name for name, text in ALL.items() if b"expect: success" in text))
def test_header_of_good_vector_is_written_again_gives_the_same_bytes(name: str) -> None:
    vector = Vector(ALL[name])
    reader: Reader = io.BytesIO(vector.file)
    if vector.facts.get("armored") == "yes":
        reader = ArmorReader(reader)
    header, _ = read_header(reader)
    assert write_header(parse_header(header).stanzas, bytes.fromhex(vector.facts["file key"])) == header
