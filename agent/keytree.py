"""The key tree: root → group keys → slots, as bytes only.

A *slot* holds one object's 16-byte key wrapped under its group's key; at most ``GROUP_SLOTS`` slots share a group. A
group's key is wrapped under the root. Whoever destroys a root makes every slot that was only reachable through it
unreadable, so a delete rewrites one group and the small table of group keys, whatever the number of survivors.

Every wrap is ChaCha20-Poly1305 (RFC 8439) under a fresh random 96-bit nonce, with associated data that binds the bytes
to their place: a slot moved to another object, group or version does not open. A group key wraps at most
``GROUP_SLOTS`` slots per version and a rotation changes the version and the key, so nonces cannot run out.
"""

import secrets
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from agent.errors import CorruptError
from agent.model import Kind, RandomBytes, new_id

KEY_BYTES: Final = 32
SLOT_KEY_BYTES: Final = 16
"""An age file key (age v1 specification, "File key")."""

GROUP_SLOTS: Final = 1024

_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16


class Root(msgspec.Struct, frozen=True):
    """The key at the top, known by a random id."""

    id: str
    key: bytes

    def __repr__(self) -> str:
        return f"Root({self.id})"


class GroupKey(msgspec.Struct, frozen=True):
    """One version of one group's key."""

    id: str
    version: int
    key: bytes

    def __repr__(self) -> str:
        return f"GroupKey({self.id}, version {self.version})"


def new_root(random: RandomBytes = secrets.token_bytes) -> Root:
    """Return a fresh root with a random id."""
    return Root(new_id(random), random(KEY_BYTES))


def new_group(random: RandomBytes = secrets.token_bytes) -> GroupKey:
    """Return version 1 of a fresh group."""
    return GroupKey(new_id(random), 1, random(KEY_BYTES))


def next_version(group: GroupKey, random: RandomBytes = secrets.token_bytes) -> GroupKey:
    """Return the next version of a group, with a key that tells nothing of the one before."""
    return GroupKey(group.id, group.version + 1, random(KEY_BYTES))


def wrap_slot(
    group: GroupKey,
    slot_key: bytes,
    *,
    object_id: str,
    payload_sha256: bytes,
    kind: Kind,
    random: RandomBytes = secrets.token_bytes,
) -> bytes:
    """Wrap an object's key under its group: nonce, ciphertext, tag."""
    assert len(slot_key) == SLOT_KEY_BYTES  # noqa: S101 - a caller's mistake, never input
    return _wrap(group.key, slot_key, about=_slot_place(group, object_id, payload_sha256, kind), random=random)


def unwrap_slot(group: GroupKey, wrapped: bytes, *, object_id: str, payload_sha256: bytes, kind: Kind) -> bytes:
    """Return the object's key; raises ``CorruptError`` when the slot is not of this place or was changed."""
    return _unwrap(group.key, wrapped, about=_slot_place(group, object_id, payload_sha256, kind), what="slot")


def wrap_group(root: Root, group: GroupKey, *, random: RandomBytes = secrets.token_bytes) -> bytes:
    """Wrap a group's key under the root: nonce, ciphertext, tag."""
    return _wrap(root.key, group.key, about=_group_place(root, group.id, group.version), random=random)


def unwrap_group(root: Root, wrapped: bytes, *, id: str, version: int) -> GroupKey:  # noqa: A002 - the field's name
    """Return the group's key; raises ``CorruptError`` when it is not of this root, group and version."""
    return GroupKey(id, version, _unwrap(root.key, wrapped, about=_group_place(root, id, version), what="group key"))


def seal_header(slot_key: bytes, header: bytes, *, object_id: str, random: RandomBytes = secrets.token_bytes) -> bytes:
    """Seal the exact age header to be uploaded under a key derived from the slot's."""
    return _wrap(_header_key(slot_key), header, about=b"header\n" + object_id.encode("ascii"), random=random)


def open_header(slot_key: bytes, sealed: bytes, *, object_id: str) -> bytes:
    """Return the header that ``seal_header`` sealed; raises ``CorruptError`` for anything else."""
    return _unwrap(_header_key(slot_key), sealed, about=b"header\n" + object_id.encode("ascii"), what="header")


def _header_key(slot_key: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=b"privacy-agent header at rest").derive(slot_key)


def _slot_place(group: GroupKey, object_id: str, payload_sha256: bytes, kind: Kind) -> bytes:
    return b"\n".join(
        (
            b"slot",
            group.id.encode("ascii"),
            str(group.version).encode("ascii"),
            object_id.encode("ascii"),
            payload_sha256.hex().encode("ascii"),
            kind.encode("ascii"),
        )
    )


def _group_place(root: Root, group_id: str, version: int) -> bytes:
    return b"\n".join((b"group", root.id.encode("ascii"), group_id.encode("ascii"), str(version).encode("ascii")))


def _wrap(key: bytes, plain: bytes, *, about: bytes, random: RandomBytes) -> bytes:
    nonce = random(_NONCE_BYTES)
    return nonce + ChaCha20Poly1305(key).encrypt(nonce, plain, about)


def _unwrap(key: bytes, wrapped: bytes, *, about: bytes, what: str) -> bytes:
    if len(wrapped) < _NONCE_BYTES + _TAG_BYTES:
        raise CorruptError(f"the {what} is too short")
    try:
        return ChaCha20Poly1305(key).decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], about)
    except InvalidTag:
        raise CorruptError(f"the {what} does not open: it was changed, moved, or its key is gone") from None
