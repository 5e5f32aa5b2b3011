"""Somebody has everything: a copy of the disk made earlier, and the device as it is today, keystore and all.

An independent reading of how the vault keeps keys, written to try every way from a key to a recording: each index, each
root in the keystore, each branch key that opens under one of them, each group key, each slot, and last the payload.

    keystore   two copies of 4096 bytes, at 0 and at 1 MiB: mark, u32 length, msgpack, zeros, SHA-256
    index      SQLite, ChaCha20, under the keystore's index key
    branch key 12-byte nonce and ChaCha20-Poly1305 under a root; "branch", root, branch and version as associated data
    group key  the same under a branch key; "group", branch, group, version, "branch" and the branch's version
    slot       the same under a group key; "slot", group, version, object, hash of the payload and kind
    payload    16-byte nonce, then age's STREAM of 64 KiB chunks under HKDF-SHA-256 of the slot's file key
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_MARK: Final = b"pv1-keystore-1\n\x00"
_COPIES_AT: Final = (0, 1 << 20)
_COPY_BYTES: Final = 4096
_SUM_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_PAYLOAD_NONCE_BYTES: Final = 16
_CHUNK_BYTES: Final = 65_536 + 16


@dataclass(frozen=True, slots=True)
class Stolen:
    """What a keystore still holds: the index's key and every root, in either copy."""

    index_key: bytes
    roots: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class Slot:
    """A row of a stolen index: an object, and the wrapped keys that lead to it."""

    object: str
    payload_sha256: bytes
    kind: str
    branch: str
    branch_version: int
    wrapped_branch: bytes
    group: str
    version: int
    wrapped_group: bytes
    wrapped_slot: bytes


def read_keystore(path: Path) -> Stolen:
    """Read both copies; a thief takes every root that either still holds. Raises ``ValueError`` for no keystore."""
    states = [state for state in map(_read_copy, _copies(path.read_bytes())) if state is not None]
    if not states:
        raise ValueError(f"{path}: no copy of a keystore can be read")
    roots = {str(name): bytes(key) for state in states for name, key in state["roots"]}
    return Stolen(bytes(states[0]["index_key"]), tuple(roots.items()))


def read_index(path: Path, stolen: Stolen) -> tuple[Slot, ...]:
    """Read every slot of a stolen index. Raises ``ValueError`` when the key does not open it."""
    connection = apsw.Connection(str(path))
    try:
        connection.pragma("cipher", "chacha20")
        connection.execute(f'PRAGMA key = "raw:{stolen.index_key.hex()}"').fetchall()
        rows: list[Any] = connection.execute(
            "SELECT o.id, o.payload_sha256, o.kind, b.id, b.version, b.wrapped, g.id, s.version, g.wrapped, s.wrapped"
            " FROM object o JOIN slot s ON s.object = o.n JOIN key_group g ON g.n = s.key_group"
            " JOIN key_branch b ON b.n = g.branch"
        ).fetchall()
    except apsw.Error as error:
        raise ValueError(f"{path}: {error}") from error
    finally:
        connection.close()
    return tuple(Slot(*row) for row in rows)


def open_object(object_id: str, *, keys: Stolen, indexes: Iterable[Path], payloads: Iterable[Path]) -> bytes | None:
    """Try every way to an object's content; return it, or None when no way is left."""
    for index in indexes:
        for slot in read_index(index, keys):
            if slot.object != object_id:
                continue
            for file_key in _file_keys(slot, keys):
                for payload in payloads:
                    if (plain := _open_payload(payload, file_key)) is not None:
                        return plain
    return None


def _copies(raw: bytes) -> Iterator[bytes]:
    for at in _COPIES_AT:
        yield raw[at : at + _COPY_BYTES]


def _read_copy(copy: bytes) -> dict[str, Any] | None:
    content, checksum = copy[:-_SUM_BYTES], copy[-_SUM_BYTES:]
    if not content.startswith(_MARK) or hashlib.sha256(content).digest() != checksum:
        return None
    start = len(_MARK) + 4
    length = int.from_bytes(content[len(_MARK) : start])
    state: dict[str, Any] = msgspec.msgpack.decode(content[start : start + length])
    return state


def _file_keys(slot: Slot, keys: Stolen) -> Iterator[bytes]:
    for root_id, root in keys.roots:
        about = "\n".join(("branch", root_id, slot.branch, str(slot.branch_version))).encode()
        if (branch := _unwrap(root, slot.wrapped_branch, about)) is None:
            continue
        about = "\n".join(
            ("group", slot.branch, slot.group, str(slot.version), "branch", str(slot.branch_version))
        ).encode()
        if (group := _unwrap(branch, slot.wrapped_group, about)) is None:
            continue
        parts = ("slot", slot.group, str(slot.version), slot.object, slot.payload_sha256.hex(), slot.kind)
        if (file_key := _unwrap(group, slot.wrapped_slot, "\n".join(parts).encode())) is not None:
            yield file_key


def _unwrap(key: bytes, wrapped: bytes, about: bytes) -> bytes | None:
    try:
        return ChaCha20Poly1305(key).decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], about)
    except InvalidTag:
        return None


def _open_payload(path: Path, file_key: bytes) -> bytes | None:
    if not path.is_file():
        return None
    sealed = path.read_bytes()
    nonce, body = sealed[:_PAYLOAD_NONCE_BYTES], sealed[_PAYLOAD_NONCE_BYTES:]
    cipher = ChaCha20Poly1305(HKDF(algorithm=SHA256(), length=32, salt=nonce, info=b"payload").derive(file_key))
    plain: list[bytes] = []
    try:
        for number, start in enumerate(range(0, len(body), _CHUNK_BYTES)):
            last = start + _CHUNK_BYTES >= len(body)
            chunk = body[start : start + _CHUNK_BYTES]
            plain.append(cipher.decrypt(number.to_bytes(11) + bytes((last,)), chunk, None))
    except InvalidTag:
        return None
    return b"".join(plain)


def matches(object_id: str, *, keys: Stolen, indexes: Iterable[Path], payloads: Iterable[Path], sha256: str) -> bool:
    """Say whether a way was found, and what it leads to is what the camera wrote."""
    plain = open_object(object_id, keys=keys, indexes=indexes, payloads=list(payloads))
    return plain is not None and hashlib.sha256(plain).hexdigest() == sha256
