"""Which field rules tell no more than others: a partial order, and true to what the rules do."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.policy.fields.line import Deidentifier
from agent.policy.fields.log import Cleaned
from agent.policy.fields.order import tells_no_more
from agent.policy.fields.rule import (
    Drop,
    FieldRule,
    Fields,
    Groups,
    Inside,
    Keep,
    Pseudonym,
    Ranges,
    Round,
    RoundTime,
    Truncate,
)

HOUR_MS = 3_600_000
WORDS = ("door", "path", "hall", "attic")


@st.composite
def groupings(draw: st.DrawFn) -> Groups:
    placed = draw(st.dictionaries(st.sampled_from(WORDS), st.sampled_from(("one", "two")), min_size=1))
    names = sorted(set(placed.values()))
    return Groups({name: tuple(word for word in WORDS if placed.get(word) == name) for name in names})


SIMPLE = st.one_of(
    st.just(Keep()),
    st.just(Drop()),
    st.builds(Pseudonym, st.integers(1, 3)),
    st.builds(Truncate, st.integers(0, 31), st.integers(0, 3)),
    st.builds(Round, st.sampled_from([0.1, 0.2, 0.5, 1, 2, 10])),
    st.builds(RoundTime, st.sampled_from([1, 2, 3, 6]).map(lambda hours: hours * HOUR_MS)),
    st.sets(st.integers(0, 5), min_size=1, max_size=4).map(lambda bounds: Ranges(tuple(sorted(bounds)))),
    groupings(),
)
RULE = SIMPLE | st.dictionaries(st.sampled_from("ab"), SIMPLE, max_size=2).map(Inside)
FIELDS = st.none() | st.dictionaries(st.sampled_from("ab"), RULE, max_size=2).map(Fields)
VALUE = st.one_of(
    st.sampled_from(WORDS),
    st.integers(-20, 20),
    st.floats(-20, 20),
    st.ip_addresses(v=4).map(str),
    st.datetimes().map(lambda moment: moment.isoformat()),
)


def under(value: object, rule: FieldRule) -> Any:  # noqa: ANN401 - JSON
    """What is told of a value, or ``"-"``."""
    by = Cleaned(Deidentifier(Fields({"a": rule, "z": Keep()}), keys={}))
    return json.loads(by.add(json.dumps({"a": value, "z": 1}).encode() + b"\n")).get("a", "-")


@given(fields=FIELDS)
def test_each_tells_no_more_than_itself_and_than_all_of_it(fields: Fields | None) -> None:
    assert tells_no_more(fields, fields)
    assert tells_no_more(fields, None)
    assert tells_no_more(Fields({}), fields)


@given(one=FIELDS, two=FIELDS, three=FIELDS)
def test_what_tells_no_more_twice_over_tells_no_more(
    one: Fields | None, two: Fields | None, three: Fields | None
) -> None:
    if tells_no_more(one, two) and tells_no_more(two, three):
        assert tells_no_more(one, three)


@given(one=SIMPLE, two=SIMPLE, values=st.lists(VALUE, min_size=2, max_size=12))
def test_what_tells_no_more_follows_from_what_the_other_tells(
    one: FieldRule, two: FieldRule, values: list[object]
) -> None:
    if (
        isinstance(one, Pseudonym)
        or isinstance(two, Pseudonym)
        or not tells_no_more(Fields({"a": one}), Fields({"a": two}))
    ):
        return
    told: dict[str, Any] = {}
    for value in values:
        coarse = told.setdefault(json.dumps(under(value, two)), under(value, one))
        assert coarse == under(value, one), "two values that looked alike are told apart now"


@pytest.mark.parametrize(
    ("tight", "loose"),
    [
        (Drop(), Pseudonym(1)),
        (Pseudonym(1), Pseudonym(2)),
        (Pseudonym(2), Keep()),
        (Truncate(16, 32), Truncate(24, 48)),
        (Round(1), Round(0.1)),
        (RoundTime(2 * HOUR_MS), RoundTime(HOUR_MS)),
        (Ranges((20,)), Ranges((20, 50))),
        (Groups({"out": ("door", "path", "hall")}), Groups({"a": ("door", "path"), "b": ("hall",)})),
        (Groups({"out": ("door",)}), Groups({"a": ("door",), "b": ("hall",)})),
        (Inside({"x": Drop()}), Inside({"x": Keep()})),
    ],
)
def test_the_tighter_of_two_rules_is_known(tight: FieldRule, loose: FieldRule) -> None:
    assert tells_no_more(Fields({"a": tight}), Fields({"a": loose}))
    assert not tells_no_more(Fields({"a": loose}), Fields({"a": tight}))


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (Truncate(16, 64), Truncate(24, 48)),
        (Round(3), Round(2)),
        (Pseudonym(1), Round(1)),
        (Inside({"x": Keep()}), Keep()),
        (Ranges((20,)), Ranges((50,))),
    ],
)
def test_what_cannot_be_compared_is_in_no_order(one: FieldRule, two: FieldRule) -> None:
    assert not tells_no_more(Fields({"a": one}), Fields({"a": two}))
    assert not tells_no_more(Fields({"a": two}), Fields({"a": one}))


def test_a_field_that_was_not_named_was_dropped() -> None:
    assert not tells_no_more(Fields({"a": Keep()}), Fields({}))
    assert not tells_no_more(None, Fields({"a": Keep()}))
