"""``agent/policy/order.py``: each field has a direction, the order is one, and what is tighter allows less."""

import typing
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.document import line_of
from agent.model import Moment, Requester
from agent.policy import (
    Action,
    Allow,
    Conditions,
    Consents,
    Policy,
    Rights,
    Subject,
    Word,
    compare,
    decide,
    loosens,
    recipients_for,
)
from agent.policy import parse_policy as parse
from agent.policy.order import DIRECTIONS, INSIDE, NAME
from tests.policy.policies import CAMERAS, KEEP, OWNER, RULE, WHOLE, neighbours, policies, rule_of

DAY = 86_400_000

DOCUMENT = """\
version = 1
[recipients]
owner = ["age1pq1owner"]
support = ["age1pq1support"]
[upload]
regions = ["eu-central", "eu-west"]
rate = "4MB"
hours = ["22:00-06:00"]
[retention]
largest_pass = "25%"
forget_within = "50m"
[category.recording]
purpose = "security"
seal_to = ["owner", "support"]
upload = "allowed"
keep = { age = "14d", size = "200GB", count = 1000, disk_free = "10%" }
[camera.k3x9.recording]
keep.age = "3d"
[purpose.marketing]
description = "To sell more."
basis = "consent"
seal_to = ["owner"]
[category.usage-log]
purpose = "marketing"
"""


def structs_in(hint: object) -> set[type[msgspec.Struct]]:
    """Return the structs that a type names."""
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return {hint}
    return set[type[msgspec.Struct]]().union(*(structs_in(one) for one in typing.get_args(hint)))


def test_every_field_that_a_policy_holds_has_a_direction() -> None:
    """A struct that a field holds is looked into, or compared as a whole by what the field's direction says."""
    open_: list[type[msgspec.Struct]] = [Policy]
    seen: set[type[msgspec.Struct]] = set()
    while open_:
        struct = open_.pop()
        seen.add(struct)
        assert set(DIRECTIONS.get(struct, {})) == set(struct.__struct_fields__), (
            f"{struct.__name__}: state in agent/policy/order.py which way each field is tighter"
        )
        for name, hint in typing.get_type_hints(struct).items():
            held = structs_in(hint)
            way = DIRECTIONS[struct][name].way
            assert not held or way is INSIDE or way.shades is not None, f"{struct.__name__}.{name}: nothing compares it"
            if way is INSIDE:
                open_ += held - seen
    assert len(seen) >= 3


def test_every_direction_is_obeyed_where_only_that_field_differs() -> None:
    """A field whose direction is stated and not compared would let anything pass."""
    untried = {"version", "seal_to"}
    tried = 0
    for struct, some in ((Policy, WHOLE), (type(policy_of().rules[0]), RULE), (type(policy_of().rules[0].keep), KEEP)):
        for name, field in DIRECTIONS[struct].items():
            assert field.way is not NAME or name in {"scope", "camera", "category"}
            if field.way in {NAME, INSIDE} or name in untried:
                continue
            assert name in some, f"{name}: give it two values in tests/policy/policies.py"
            for one in some[name]:
                for other in some[name]:
                    changes = compare(policy_of(**{name: one}), policy_of(**{name: other}))
                    assert bool(changes) == (one != other), f"{name}: {one} -> {other}"
                    tried += 1
    assert tried > 50


def policy_of(**changed: object) -> Policy:
    """Return a policy of one rule in which some fields have other values."""
    whole, rule, keep = ({name: some[-1] for name, some in table.items()} for table in (WHOLE, RULE, KEEP))
    for name, value in changed.items():
        table = next(
            mine
            for mine, known in ((keep, KEEP), (rule, RULE), (whole, WHOLE))
            if name in known and one_of(value, known[name])
        )
        table[name] = value
    return Policy(version=1, purposes={}, rules=(rule_of(rule, keep, camera="", category="recording"),), **whole)


def one_of(value: object, some: tuple[object, ...]) -> bool:
    return any(value is one or value == one for one in some)


@pytest.mark.parametrize(
    ("old", "new", "kinds", "line"),
    [
        ('age = "14d"', 'age = "30d"', ["looser"], 16),
        ('age = "14d"', 'age = "7d"', ["tighter"], 16),
        ('{ age = "14d", size', "{ size", ["looser"], 16),
        ('keep.age = "3d"', 'keep.age = "2d"', ["tighter"], 18),
        ('[camera.k3x9.recording]\nkeep.age = "3d"\n', "", ["looser"], 16),
        ('["owner", "support"]', '["owner"]', ["neutral", "tighter"], 14),
        ('["owner", "support"]', '["support"]', ["neutral", "looser"], 14),
        ('["owner", "support"]', "[]", ["neutral", "tighter"], 14),
        ('support = ["age1pq1support"]', 'support = ["age1pq1other"]', ["looser", "tighter"], 14),
        ('owner = ["age1pq1owner"]', 'owner = ["age1pq1owner", "age1pq1next"]', ["looser"], 3),
        ('regions = ["eu-central", "eu-west"]', 'regions = ["eu-central"]', ["tighter"], 6),
        ('regions = ["eu-central", "eu-west"]', 'regions = ["eu-central", "us-east"]', ["looser", "tighter"], 6),
        ('regions = ["eu-central", "eu-west"]', "regions = []", ["looser"], 6),
        ('rate = "4MB"', 'rate = "5MB"', ["looser"], 7),
        ('hours = ["22:00-06:00"]', 'hours = ["23:00-06:00"]', ["tighter"], 8),
        ('hours = ["22:00-06:00"]', "", ["looser"], 5),
        ('largest_pass = "25%"', 'largest_pass = "20%"', ["looser"], 10),
        ('forget_within = "50m"', 'forget_within = "30m"', ["tighter"], 11),
        ('forget_within = "50m"', 'forget_within = "29m"', ["looser"], 11),
        ('forget_within = "50m"', 'forget_within = "0s"', ["looser"], 11),
        ('forget_within = "50m"', 'forget_within = "51m"', ["looser"], 11),
        ('purpose = "security"', 'purpose = "marketing"', ["looser", "tighter"], 13),
        ('"To sell more."', '"To sell everything."', ["looser"], 20),
        ('basis = "consent"', 'basis = "contract"', ["looser"], 21),
        ('seal_to = ["owner"]\n[category', 'seal_to = ["owner", "support"]\n[category', ["looser", "neutral"], 22),
        ('upload = "allowed"', 'upload = "never"', ["tighter"], 15),
        ('upload = "allowed"', 'upload = "before-expiry"', ["looser"], 15),
        ('upload = "allowed"', 'upload = "allowed"\non_full = "drop-oldest"', ["looser"], 16),
        ('upload = "allowed"', 'upload = "allowed"\nreadable_by_device = false', ["tighter"], 16),
        ('upload = "allowed"', 'upload = "allowed"\npriority = 3', ["neutral"], 16),
        ('disk_free = "10%"', 'disk_free = "20%"', ["tighter"], 16),
        ("count = 1000", "count = 100", ["tighter", "tighter"], 16),
        (
            "[category.recording]",
            '[category.photo]\npurpose = "security"\nseal_to = ["owner"]\n[category.recording]',
            ["looser", "neutral"],
            12,
        ),
        ("version = 1", "# said otherwise\nversion = 1", [], 0),
    ],
)
def test_change_of_one_line_is_told_with_its_kind_and_the_line(old: str, new: str, kinds: list[str], line: int) -> None:
    assert old in DOCUMENT
    text = DOCUMENT.replace(old, new, 1)
    changes = compare(parse(DOCUMENT.encode(), file="old"), parse(text.encode(), file="new"))
    lines = {line_of(text, change.at) for change in changes}
    of_line = [change.kind for change in changes if line_of(text, change.at) == line]
    assert sorted(set(kinds)) == sorted(set(of_line)), [str(change) for change in changes]
    assert line in lines or not kinds
    assert bool(loosens(changes)) == ("looser" in kinds)


def test_camera_with_a_table_of_its_own_may_not_hold_more_beside_its_category() -> None:
    """Sizes and counts are a set's: two sets of 200 GB hold 400 GB, though each table says the same."""
    text = DOCUMENT.replace('[camera.k3x9.recording]\nkeep.age = "3d"\n', "")
    before = parse(text.encode(), file="before")
    split = parse(f'{text}[camera.m4n8.recording]\nkeep.age = "3d"\n'.encode(), file="after")
    told = {".".join(change.path): change.kind for change in compare(before, split)}
    assert told["category.recording.keep.size"] == told["category.recording.keep.count"] == "looser"
    halves = text.replace("200GB", "150GB").replace("1000", "900")
    split = parse(
        f'{halves}[camera.m4n8.recording]\nkeep = {{ age = "3d", size = "50GB", count = 100 }}\n'.encode(), file="after"
    )
    changes = compare(before, split)
    assert loosens(changes) == ()
    assert "tighter" in {change.kind for change in changes}


def test_category_whose_table_goes_is_not_tighter_for_what_it_held_has_no_end() -> None:
    text = DOCUMENT[: DOCUMENT.index("[category.recording]")]
    changes = compare(parse(DOCUMENT.encode(), file="before"), parse(text.encode(), file="after"))
    assert {".".join(change.path) for change in loosens(changes)} >= {
        "category.recording.keep.age",
        "category.recording.keep.size",
    }


def assert_the_same_if_neither_loosens(one: Policy, other: Policy) -> None:
    there, back = compare(one, other), compare(other, one)
    if not loosens(there) and not loosens(back):
        assert all(change.kind == "neutral" for change in (*there, *back)), "neither loosens: they do the same"


@given(policies(), policies())
def test_no_two_policies_are_each_tighter_than_the_other(one: Policy, other: Policy) -> None:
    assert compare(one, one) == ()
    assert_the_same_if_neither_loosens(one, other)


@given(st.data())
def test_no_two_neighbours_are_each_tighter_than_the_other(data: st.DataObject) -> None:
    one = data.draw(policies())
    other = data.draw(neighbours(one))
    assert_the_same_if_neither_loosens(one, other)


@given(st.data())
def test_tightenings_one_after_another_never_loosen_and_allow_less(data: st.DataObject) -> None:
    first = last = data.draw(policies())
    for _ in range(data.draw(st.integers(1, 5))):
        proposed = data.draw(neighbours(last))
        if not loosens(compare(last, proposed)):
            last = proposed
    assert loosens(compare(first, last)) == ()
    subject = Subject(
        camera=data.draw(st.sampled_from([*CAMERAS, "zzzz"])),
        category=data.draw(st.sampled_from(["recording", "photo", "export"])),
        taken_in_ms=0,
        state=data.draw(st.sampled_from(["sealed", "uploaded"])),
        purposes=data.draw(st.sampled_from([None, ("security",), ("analytics",), ("security", "analytics")])),
    )
    words = data.draw(st.dictionaries(st.sampled_from(["security", "analytics"]), st.sampled_from(get_args(Word))))
    consents = Consents(words={(name, subject.category): word for name, word in words.items()})
    conditions = data.draw(
        st.builds(
            Conditions,
            moment=st.integers(0, 20 * DAY).map(lambda now_ms: Moment(agent_ms=now_ms, wall_ms=now_ms, trusted=True)),
            free_bytes=st.integers(0, 100),
            total_bytes=st.just(100),
            rank=st.integers(0, 4),
            newer_bytes=st.integers(0, 40),
        )
    )

    def may(policy: Policy, action: Action) -> bool:
        rights, device = Rights(consents=consents), Requester(role="device")
        decision = decide(policy, action, requester=device, subject=subject, rights=rights, conditions=conditions)
        return isinstance(decision, Allow)

    actions: tuple[Action, ...] = () if subject.category == "export" else ("ingest", "upload")
    for action in actions:
        assert may(first, action) or not may(last, action)
    assert may(last, "expire") or not may(first, "expire")
    was, will = (policy.rule_for(subject.camera, subject.category) for policy in (first, last))
    if subject.category != "export" and will is not None and (readers := set(recipients_for(will, consents))):
        assert was is not None
        assert readers <= set(recipients_for(was, consents))
        given: dict[tuple[str, str], Word] = {(name, subject.category): "given" for name in ("security", "analytics")}
        assert OWNER in recipients_for(will, Consents(words=given)) or OWNER not in recipients_for(
            was, Consents(words=given)
        )


def test_change_is_told_in_bounded_words_however_many_keys_it_is_of() -> None:
    keys = ", ".join(f'"age1pq1{at:040}"' for at in range(300))
    text = DOCUMENT.replace('support = ["age1pq1support"]', f"support = [{keys}]")
    changes = compare(parse(DOCUMENT.encode(), file="policy.toml"), parse(text.encode(), file="policy.toml"))
    assert loosens(changes)
    assert max(len(str(change)) for change in changes) < 2000
