"""What somebody opens who has the disk and the keystore, and every page that the disk ever held.

The most that a thief may have is assumed: the index of before the delete, as if the medium had kept each of its old
pages, and its key. What stands between that and a deleted object is the old root alone. So whatever could be a key in
what was stolen, every 32 bytes at every place, is tried as the root, and as the key of a branch.
"""

from collections.abc import Iterator
from contextlib import suppress
from itertools import product
from typing import Final

from agent.errors import CorruptError
from agent.keytree import KEY_BYTES, BranchKey, Root, unwrap_branch, unwrap_group, unwrap_slot
from agent.model import Kind
from tests.residue.known import Known

LEAST_VALUES: Final = 8
"""Fewer distinct bytes in 32 are no key but padding."""

_PAGE_BYTES: Final = 4096


def opened_by(stolen: bytes, before: Known) -> dict[str, bytes]:
    """Return the keys of objects that open with what was stolen, by id."""
    found: dict[str, bytes] = {}
    branches = {(slot.branch, slot.branch_version, slot.wrapped_branch) for slot in before.slots.values()}
    groups = {(slot.branch, slot.group, slot.version, slot.wrapped_group) for slot in before.slots.values()}
    for candidate in _candidates(stolen):
        keys = [BranchKey(branch, version, candidate) for branch, version, _ in branches]
        for branch, version, wrapped in branches:
            with suppress(CorruptError):
                keys.append(unwrap_branch(Root(before.root, candidate), wrapped, id=branch, version=version))
        for key, (_branch, group_id, version, wrapped) in product(keys, groups):
            try:
                group = unwrap_group(key, wrapped, id=group_id, version=version)
            except CorruptError:  # of another branch, too
                continue
            for object_id, slot in before.slots.items():
                if (slot.group, slot.version) == (group_id, version):
                    kind: Kind = "file-key" if slot.kind == "file-key" else "header-key"
                    found[object_id] = unwrap_slot(
                        group, slot.wrapped, object_id=object_id, payload_sha256=slot.payload_sha256, kind=kind
                    )
    return found


def _candidates(stolen: bytes) -> Iterator[bytes]:
    for page in range(0, len(stolen), _PAGE_BYTES):
        some = stolen[page : page + _PAGE_BYTES + KEY_BYTES - 1]
        if some.count(0) == len(some):
            continue
        for start in range(len(some) - KEY_BYTES + 1):
            candidate = some[start : start + KEY_BYTES]
            if len(set(candidate)) >= LEAST_VALUES:
                yield candidate
