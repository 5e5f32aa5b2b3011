"""The key tree: root → branch keys → group keys → slots, as bytes only.

A *slot* holds one object's 16-byte key wrapped under its group's key; at most ``GROUP_SLOTS`` slots share a group. A
group's key is wrapped under that of its branch, at most ``BRANCH_GROUPS`` of them, and a branch's under the root.
Whoever destroys a root makes every slot that was only reachable through it unreadable, so a delete rewrites the slots
of one group, the groups of one branch and the small table of branch keys: some hundred wraps, of a million survivors
as of a thousand. A group from before there were branches is wrapped under the root, until the next change of roots.

Every wrap is ChaCha20-Poly1305 (RFC 8439) under a fresh random 96-bit nonce, with associated data that binds the bytes
to their place: a slot moved to another object, group or version does not open. A group key wraps at most
``GROUP_SLOTS`` slots per version, a branch key ``BRANCH_GROUPS`` groups, and a rotation changes the version and the
key, so nonces cannot run out.
"""

import secrets
from typing import Final, TypeVar

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

GROUP_SLOTS: Final = 128
BRANCH_GROUPS: Final = 128
"""Of a million objects there are 62 branches then: each of the three levels costs a delete about as much."""

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


class BranchKey(msgspec.Struct, frozen=True):
    """One version of one branch's key."""

    id: str
    version: int
    key: bytes

    def __repr__(self) -> str:
        return f"BranchKey({self.id}, version {self.version})"


Version = TypeVar("Version", GroupKey, BranchKey)


def new_root(random: RandomBytes = secrets.token_bytes) -> Root:
    """Return a fresh root with a random id."""
    return Root(new_id(random), random(KEY_BYTES))


def new_group(random: RandomBytes = secrets.token_bytes) -> GroupKey:
    """Return version 1 of a fresh group."""
    return GroupKey(new_id(random), 1, random(KEY_BYTES))


def new_branch(random: RandomBytes = secrets.token_bytes) -> BranchKey:
    """Return version 1 of a fresh branch."""
    return BranchKey(new_id(random), 1, random(KEY_BYTES))


def next_version(key: Version, random: RandomBytes = secrets.token_bytes) -> Version:
    """Return the next version of a group or a branch, with a key that tells nothing of the one before."""
    return type(key)(key.id, key.version + 1, random(KEY_BYTES))


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


def wrap_group(above: Root | BranchKey, group: GroupKey, *, random: RandomBytes = secrets.token_bytes) -> bytes:
    """Wrap a group's key under its branch: nonce, ciphertext, tag."""
    return _wrap(above.key, group.key, about=_group_place(above, group.id, group.version), random=random)


def unwrap_group(above: Root | BranchKey, wrapped: bytes, *, id: str, version: int) -> GroupKey:  # noqa: A002 - the field's name
    """Return the group's key; raises ``CorruptError`` when it is not of this branch (or root), group and version."""
    return GroupKey(id, version, _unwrap(above.key, wrapped, about=_group_place(above, id, version), what="group key"))


def wrap_branch(root: Root, branch: BranchKey, *, random: RandomBytes = secrets.token_bytes) -> bytes:
    """Wrap a branch's key under the root: nonce, ciphertext, tag."""
    return _wrap(root.key, branch.key, about=_branch_place(root, branch.id, branch.version), random=random)


def unwrap_branch(root: Root, wrapped: bytes, *, id: str, version: int) -> BranchKey:  # noqa: A002 - the field's name
    """Return the branch's key; raises ``CorruptError`` when it is not of this root, branch and version."""
    return BranchKey(id, version, _unwrap(root.key, wrapped, about=_branch_place(root, id, version), what="branch key"))


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


def _group_place(above: Root | BranchKey, group_id: str, version: int) -> bytes:
    own = (b"group", above.id.encode("ascii"), group_id.encode("ascii"), str(version).encode("ascii"))
    return b"\n".join(own if isinstance(above, Root) else (*own, b"branch", str(above.version).encode("ascii")))


def _branch_place(root: Root, branch_id: str, version: int) -> bytes:
    return b"\n".join((b"branch", root.id.encode("ascii"), branch_id.encode("ascii"), str(version).encode("ascii")))


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
