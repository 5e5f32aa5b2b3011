"""What is kept in files and read again: the keystore, an export's archives; and a quota that was typed."""

import hashlib
import io
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, cast

import msgspec

from agent import age
from agent.errors import ConfigError, CorruptError
from agent.keystore import _LENGTH_BYTES, _MAGIC, _SUM_BYTES, SLOT_BYTES, SLOT_OFFSETS, Algorithm, Keystore
from agent.owner.enrol import _quota
from agent.owner.manifest import File, Item, Manifest
from agent.owner.unpack import _Unpacking
from tests.fuzz.target import BETWEEN, Target, parts, words
from tests.fuzz.vectors import IDENTITIES, PARTIES

_ID: Final = "k3x4" + "a" * 22
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - where there is one, syncing costs nothing
_READER: Final = age.parse_recipient(PARTIES["client"]["recipient"])
PART: Final = "part-001.zip.age"
NAMES: Final = ("recordings/door.mp4", "a.jsonl")


def archive(raw: bytes) -> object:
    """Open a part of an export, which the device's signature covers, but which the device itself may have bent."""
    sealed = age.encrypt(raw, [_READER])
    item = Item(
        id=_ID, camera="k3x9", camera_label="door", category="recording", captured_from="2026-11-22T10:15:00.000Z",
        media_type="video/mp4", bytes=7, part=PART, files=NAMES,
    )  # fmt: skip
    file = File(name=PART, bytes=len(sealed), sha256=hashlib.sha256(sealed).hexdigest())
    manifest = Manifest(v=1, iss="cam-01", iat=1, export=_ID, form="zip", recipients=(), files=(file,), objects=(item,))
    with TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as place:
        folder, out = Path(place, "export"), Path(place, "out")
        folder.mkdir()
        out.mkdir()
        (folder / PART).write_bytes(sealed)
        _Unpacking(folder, out, IDENTITIES)._part(file, manifest)
        found = sorted(str(path.relative_to(place)) for path in Path(place).rglob("*") if path.is_file())
    assert found == sorted((f"export/{PART}", *(f"out/{name}" for name in NAMES)))
    return found


def keystore(raw: bytes) -> object:
    """Open a keystore whose copies hold this, one each where it has two parts, with the sum that belongs to it."""
    first, second = (parts(raw, least=1) * 2)[:2]
    with TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as place:
        path = Path(place, "keystore")
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        for offset, body in zip(SLOT_OFFSETS, (first, second), strict=True):
            slot = (_MAGIC + len(body).to_bytes(_LENGTH_BYTES) + body)[: SLOT_BYTES - _SUM_BYTES]
            slot = slot.ljust(SLOT_BYTES - _SUM_BYTES, b"\0")
            os.pwrite(fd, slot + hashlib.sha256(slot).digest(), offset)
        os.close(fd)
        found = Keystore.open(path, mend=False)
        assert found.roots()
        return found.sign(b"x"), found.recipient(), found.pseudonym_keys()


def states() -> Iterator[bytes]:
    """Yield what a copy holds, with a key of either kind, and two copies that differ."""
    both = []
    for signing, roots in (("EdDSA", 1), ("ES256", 2)):
        with TemporaryDirectory() as place:
            store = Keystore.create(Path(place, "keystore"), random=_ones, signing=cast("Algorithm", signing))
            store.rotate_pseudonyms((86_400_000,) * (roots - 1), now_ms=7, random=_ones)
            both.append(msgspec.msgpack.encode(store._state))
    yield from both
    yield BETWEEN.join(both)


def _ones(count: int) -> bytes:
    return bytes((1,)) * count


def archives() -> Iterator[bytes]:
    """Yield archives as the device writes them, and one that is packed."""
    for way in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        whole = io.BytesIO()
        with zipfile.ZipFile(whole, "w", way) as held:
            for name in NAMES:
                held.writestr(zipfile.ZipInfo(name), b"what it holds", compress_type=way)
        yield whole.getvalue()


TARGETS: Final = (
    Target(name="keystore", read=keystore, declared=(ConfigError, CorruptError), seeds=states),
    Target(name="export-archive", read=archive, declared=(CorruptError,), seeds=archives),
    Target(name="quota", read=lambda raw: _quota(words(raw)), declared=(ConfigError,), seeds=lambda: (b"5,1000,60",)),
)
