"""Many ids as one value: every answer is that of the sorted ids themselves."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import ids as ids_module
from agent.ids import Ids

ID = st.text("ab", min_size=26, max_size=26)


@given(st.lists(ID))
def test_ids_are_sorted_and_each_is_there_once(some: list[str]) -> None:
    found = Ids.of(some)
    assert list(found) == sorted(set(some))
    assert len(found) == len(set(some))
    assert [found[place] for place in range(len(found))] == list(found)
    assert all(one in found for one in some)
    assert Ids(found.value) == found


@given(st.lists(ID), ID)
def test_one_that_was_not_given_is_not_in_it(some: list[str], other: str) -> None:
    assert (other in Ids.of(some)) == (other in some)


@given(st.lists(ID), st.integers(-5, 5), st.integers(-5, 5))
def test_piece_is_the_piece_of_the_list(some: list[str], start: int, stop: int) -> None:
    assert list(Ids.of(some)[start:stop]) == sorted(set(some))[start:stop]


@given(st.lists(ID), st.lists(ID))
def test_joined_are_those_of_both(some: list[str], more: list[str]) -> None:
    assert Ids.of(some).joined(more) == Ids.of(some + more)


@given(st.lists(ID, max_size=9))
def test_hash_is_that_of_the_protocol_in_whatever_blocks(some: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ids_module, "_BLOCK", 2)
        assert (
            Ids.of(some).selection_hash()
            == hashlib.sha256("".join(f"{one}\n" for one in sorted(set(some))).encode()).hexdigest()
        )


def test_place_outside_is_an_error() -> None:
    with pytest.raises(IndexError):
        Ids.of(["a" * 26])[1]
