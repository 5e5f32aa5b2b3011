"""The key tree: what opens where, and that nothing opens anywhere else."""

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import CorruptError
from agent.keytree import (
    KEY_BYTES,
    SLOT_KEY_BYTES,
    BranchKey,
    GroupKey,
    Root,
    new_branch,
    new_group,
    new_root,
    next_version,
    open_header,
    seal_header,
    unwrap_branch,
    unwrap_group,
    unwrap_slot,
    wrap_branch,
    wrap_group,
    wrap_slot,
)
from agent.model import Kind, new_id

AROUND_BYTES = 12 + 16  # nonce and tag, docs/formats.md
SLOT_KEY = bytes(range(SLOT_KEY_BYTES))
IDS = st.text("abcdefghijklmnopqrstuvwxyz234567", min_size=26, max_size=26)
KINDS: st.SearchStrategy[Kind] = st.sampled_from(["file-key", "header-key"])
DIGESTS = st.binary(min_size=32, max_size=32)
KEYS = st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES)
SLOT_KEYS = st.binary(min_size=SLOT_KEY_BYTES, max_size=SLOT_KEY_BYTES)
GROUPS = st.builds(GroupKey, IDS, st.integers(min_value=1, max_value=2**62), KEYS)
BRANCHES = st.builds(BranchKey, IDS, st.integers(min_value=1, max_value=2**62), KEYS)
ROOTS = st.builds(Root, IDS, KEYS)


def spoilt(wrapped: bytes, at: int) -> bytes:
    place = at % (8 * len(wrapped))
    changed = bytearray(wrapped)
    changed[place // 8] ^= 1 << place % 8
    return bytes(changed)


class Slot(msgspec.Struct, frozen=True):
    """One slot in its place."""

    group: GroupKey
    object_id: str
    payload_sha256: bytes
    kind: Kind

    def wrap(self, slot_key: bytes) -> bytes:
        return wrap_slot(
            self.group, slot_key, object_id=self.object_id, payload_sha256=self.payload_sha256, kind=self.kind
        )

    def unwrap(self, wrapped: bytes) -> bytes:
        return unwrap_slot(
            self.group, wrapped, object_id=self.object_id, payload_sha256=self.payload_sha256, kind=self.kind
        )


SLOTS = st.builds(Slot, GROUPS, IDS, DIGESTS, KINDS)


@given(SLOTS, SLOT_KEYS)
def test_slot_opens_in_its_place_and_has_one_size(slot: Slot, slot_key: bytes) -> None:
    wrapped = slot.wrap(slot_key)
    assert len(wrapped) == SLOT_KEY_BYTES + AROUND_BYTES
    assert slot.unwrap(wrapped) == slot_key
    assert slot_key not in wrapped


@given(SLOTS, SLOTS)
def test_slot_moved_to_any_other_place_does_not_open(one: Slot, other: Slot) -> None:
    wrapped = one.wrap(SLOT_KEY)
    for field in ("object_id", "payload_sha256", "kind"):
        moved = msgspec.structs.replace(one, **{field: getattr(other, field)})
        if moved != one:
            with pytest.raises(CorruptError, match="slot"):
                moved.unwrap(wrapped)
    for field in ("id", "version", "key"):
        group = msgspec.structs.replace(one.group, **{field: getattr(other.group, field)})
        if group != one.group:
            with pytest.raises(CorruptError, match="slot"):
                msgspec.structs.replace(one, group=group).unwrap(wrapped)


@given(SLOTS, st.integers(min_value=0))
def test_slot_with_any_bit_changed_does_not_open(slot: Slot, at: int) -> None:
    with pytest.raises(CorruptError):
        slot.unwrap(spoilt(slot.wrap(SLOT_KEY), at))


@given(SLOTS, st.binary(max_size=200))
def test_bytes_that_are_no_slot_raise_only_our_error(slot: Slot, raw: bytes) -> None:
    with pytest.raises(CorruptError):
        slot.unwrap(raw)


@given(SLOTS, st.integers(min_value=0, max_value=SLOT_KEY_BYTES + AROUND_BYTES - 1))
def test_cut_slot_does_not_open(slot: Slot, length: int) -> None:
    with pytest.raises(CorruptError):
        slot.unwrap(slot.wrap(SLOT_KEY)[:length])


@given(ROOTS, GROUPS)
def test_group_key_opens_under_its_root_and_has_one_size(root: Root, group: GroupKey) -> None:
    wrapped = wrap_group(root, group)
    assert len(wrapped) == KEY_BYTES + AROUND_BYTES
    assert unwrap_group(root, wrapped, id=group.id, version=group.version) == group
    assert group.key not in wrapped


@given(ROOTS, ROOTS, GROUPS, GROUPS)
def test_group_key_of_another_root_group_or_version_does_not_open(
    root: Root, other_root: Root, group: GroupKey, other: GroupKey
) -> None:
    wrapped = wrap_group(root, group)
    places = [
        (Root(other_root.id, root.key), group.id, group.version),
        (Root(root.id, other_root.key), group.id, group.version),
        (root, other.id, group.version),
        (root, group.id, other.version),
    ]
    for place in places:
        if place != (root, group.id, group.version):
            with pytest.raises(CorruptError, match="group key"):
                unwrap_group(place[0], wrapped, id=place[1], version=place[2])


@given(ROOTS, ROOTS, BRANCHES, BRANCHES, GROUPS)
def test_group_key_opens_under_its_own_branch_and_that_under_its_own_root_alone(
    root: Root, other_root: Root, branch: BranchKey, other: BranchKey, group: GroupKey
) -> None:
    wrapped, above = wrap_group(branch, group), wrap_branch(root, branch)
    assert unwrap_group(branch, wrapped, id=group.id, version=group.version) == group
    assert unwrap_branch(root, above, id=branch.id, version=branch.version) == branch
    assert len(above) == KEY_BYTES + AROUND_BYTES
    assert branch.key not in above
    wrongs: list[Root | BranchKey] = [other, Root(branch.id, branch.key)]
    wrongs += [BranchKey(branch.id, branch.version + 1, branch.key), BranchKey(other.id, branch.version, branch.key)]
    for wrong in wrongs:
        if wrong != branch:
            with pytest.raises(CorruptError, match="group key"):
                unwrap_group(wrong, wrapped, id=group.id, version=group.version)
    for place in ((other_root, branch.id, branch.version), (root, other.id, branch.version), (root, branch.id, 0)):
        if place != (root, branch.id, branch.version):
            with pytest.raises(CorruptError, match="branch key"):
                unwrap_branch(place[0], above, id=place[1], version=place[2])


@given(ROOTS, GROUPS, st.integers(min_value=0))
def test_group_key_with_any_bit_changed_does_not_open(root: Root, group: GroupKey, at: int) -> None:
    with pytest.raises(CorruptError):
        unwrap_group(root, spoilt(wrap_group(root, group), at), id=group.id, version=group.version)


@given(SLOT_KEYS, st.binary(max_size=3000), IDS)
def test_header_comes_back_byte_for_byte(slot_key: bytes, header: bytes, object_id: str) -> None:
    sealed = seal_header(slot_key, header, object_id=object_id)
    assert open_header(slot_key, sealed, object_id=object_id) == header


@given(SLOT_KEYS, SLOT_KEYS, IDS, IDS, st.integers(min_value=0))
def test_header_of_another_key_object_or_bytes_does_not_open(
    slot_key: bytes, other_key: bytes, object_id: str, other_id: str, at: int
) -> None:
    sealed = seal_header(slot_key, b"age-encryption.org/v1", object_id=object_id)
    wrong = [(other_key, sealed, object_id), (slot_key, sealed, other_id), (slot_key, spoilt(sealed, at), object_id)]
    for key, raw, name in wrong:
        if (key, raw, name) != (slot_key, sealed, object_id):
            with pytest.raises(CorruptError, match="header"):
                open_header(key, raw, object_id=name)


def test_slot_and_header_are_never_taken_for_each_other() -> None:
    """The key of a slot's group has the same size as the key that a header is sealed with."""
    slot = Slot(new_group(), new_id(), bytes(32), "file-key")
    wrapped = slot.wrap(SLOT_KEY)
    with pytest.raises(CorruptError):
        open_header(SLOT_KEY, wrapped, object_id=slot.object_id)
    with pytest.raises(CorruptError):
        slot.unwrap(seal_header(SLOT_KEY, SLOT_KEY, object_id=slot.object_id))


def test_next_version_shares_nothing_with_the_one_before_but_its_id() -> None:
    group = new_group()
    following = next_version(group)
    assert (following.id, following.version) == (group.id, group.version + 1)
    assert following.key != group.key
    wrapped = wrap_slot(group, SLOT_KEY, object_id="o", payload_sha256=bytes(32), kind="file-key")
    with pytest.raises(CorruptError):
        unwrap_slot(following, wrapped, object_id="o", payload_sha256=bytes(32), kind="file-key")


def test_what_is_wrapped_twice_differs_because_each_nonce_is_fresh() -> None:
    root, branch, slot = new_root(), new_branch(), Slot(new_group(), new_id(), bytes(32), "file-key")
    makers: list[Callable[[], bytes]] = [
        lambda: slot.wrap(SLOT_KEY),
        lambda: wrap_group(root, slot.group),
        lambda: wrap_branch(root, branch),
        lambda: seal_header(SLOT_KEY, b"header", object_id=slot.object_id),
    ]
    for make in makers:
        assert len({make()[:12] for _ in range(500)}) == 500


def test_randomness_is_asked_for_by_size_and_used_as_it_comes() -> None:
    asked: list[int] = []

    def random(count: int) -> bytes:
        asked.append(count)
        return bytes([len(asked)]) * count

    root, group = new_root(random), new_group(random)
    assert (root.key, group.key) == (bytes([2]) * KEY_BYTES, bytes([4]) * KEY_BYTES)
    assert group.version == 1
    assert next_version(group, random).key == bytes([5]) * KEY_BYTES
    assert wrap_group(root, group, random=random)[:12] == bytes([6]) * 12


def test_key_is_never_shown_in_a_log_or_a_traceback() -> None:
    root, branch, group = new_root(), new_branch(), new_group()
    for told in (repr(root), str(root), repr(branch), f"{branch}", repr(group), f"{group}"):
        for key in (root.key, branch.key, group.key):
            assert key.hex() not in told
            assert repr(key) not in told
    assert root.id in repr(root)
    assert f"version {group.version}" in repr(group)


def test_slot_key_of_another_size_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(AssertionError):
        wrap_slot(new_group(), bytes(32), object_id="o", payload_sha256=bytes(32), kind="file-key")
