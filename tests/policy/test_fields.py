"""Field rules: nothing that is dropped or hidden survives, whatever the log holds and however it is cut."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.policy.fields.line import Deidentifier
from agent.policy.fields.log import LINE_MAX_BYTES, Cleaned
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
from agent.policy.fields.tally import Tally

DAY_MS = 86_400_000
KEYS = {DAY_MS: bytes(32), 7 * DAY_MS: bytes([7] * 32)}
NAMES = ("a", "b", "c", "d", "e")


def cleaned(raw: bytes, rules: dict[str, FieldRule], *, cuts: tuple[int, ...] = ()) -> tuple[bytes, Tally]:
    log = Cleaned(Deidentifier(Fields(rules), keys=KEYS))
    bounds = [0, *sorted(min(cut, len(raw)) for cut in cuts), len(raw)]
    left = b"".join(log.add(raw[one:other]) for one, other in pairwise(bounds))
    return left + log.end(), log.tally


def one(value: object, rule: FieldRule) -> Any:  # noqa: ANN401 - JSON
    """What becomes of one value; ``"-"`` when it is dropped."""
    left, _ = cleaned(json.dumps({"a": value, "stays": 1}).encode(), {"a": rule, "stays": Keep()})
    return json.loads(left).get("a", "-")


# -- properties

SECRET = st.text("xyz", min_size=12, max_size=20).map(lambda text: f"secret-{text}")
"""What must not be found again: nothing that a rule writes looks like it."""

PLAIN = st.one_of(st.text(max_size=8), st.integers(-(10**6), 10**6), st.booleans(), st.none())
HIDING = st.one_of(
    st.just(Drop()),
    st.builds(Pseudonym, st.sampled_from(sorted(KEYS))),
    st.builds(Truncate, st.integers(0, 31), st.integers(0, 127)),
    st.builds(Round, st.integers(1, 100)),
    st.builds(RoundTime, st.integers(1, DAY_MS)),
    st.just(Ranges((0, 10))),
    st.just(Groups({"one": ("a",)})),
)
SECRETS = st.recursive(SECRET, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SECRET, inner, max_size=2))
RULES = st.dictionaries(st.sampled_from(NAMES), HIDING | HIDING.map(lambda rule: Inside({"a": rule})), max_size=5)
LINE = st.dictionaries(st.sampled_from(NAMES) | SECRET, SECRETS, max_size=5)


@given(rules=RULES, lines=st.lists(LINE, max_size=4), junk=st.lists(SECRET, max_size=2))
@example(rules={"a": Pseudonym(DAY_MS)}, lines=[{"a": "secret-xyzxyzxyzxyz"}], junk=[])
@example(rules={}, lines=[{"secret-xyzxyzxyzxyz": 1}], junk=["secret-xyzxyzxyzxyz"])
def test_nothing_that_a_rule_hides_or_no_rule_names_survives(
    rules: dict[str, FieldRule], lines: list[dict[str, Any]], junk: list[str]
) -> None:
    raw = "\n".join([*junk, *map(json.dumps, lines)]).encode()
    left, tally = cleaned(raw, rules | {"stays": Keep()})
    assert b"secret-" not in left
    assert tally.lines + tally.bare_lines == len(lines)
    assert tally.bad_lines == len(junk)


@given(
    lines=st.lists(st.dictionaries(st.sampled_from(NAMES), PLAIN, max_size=5), max_size=6),
    ends=st.sampled_from(["\n", "\r\n"]),
    cuts=st.lists(st.integers(0, 400), max_size=8),
)
def test_a_log_comes_out_alike_however_it_is_cut(lines: list[dict[str, Any]], ends: str, cuts: list[int]) -> None:
    raw = ends.join(map(json.dumps, lines)).encode()
    rules: dict[str, FieldRule] = {"a": Keep(), "b": Pseudonym(DAY_MS), "c": Round(10), "d": Drop()}
    assert cleaned(raw, rules, cuts=tuple(cuts)) == cleaned(raw, rules)


@given(lines=st.lists(st.dictionaries(st.sampled_from(NAMES), PLAIN, min_size=1, max_size=5), max_size=6))
def test_what_is_kept_is_kept_as_it_was_in_its_order(lines: list[dict[str, Any]]) -> None:
    raw = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    left, tally = cleaned(raw, {name: Keep() for name in NAMES})
    assert [list(json.loads(line).items()) for line in left.splitlines()] == [list(line.items()) for line in lines]
    assert tally == Tally(lines=len(lines))


@given(raw=st.binary(max_size=300), cuts=st.lists(st.integers(0, 300), max_size=4))
def test_bytes_that_are_no_log_are_dropped_and_counted(raw: bytes, cuts: list[int]) -> None:
    left, tally = cleaned(raw, {"a": Keep()}, cuts=tuple(cuts))
    filled = [line for line in raw.split(b"\n") if line.strip()]
    assert tally.lines + tally.bare_lines + tally.bad_lines == len(filled)
    assert all(set(json.loads(line)) == {"a"} for line in left.splitlines())


@given(value=st.integers(-(10**9), 10**9) | st.floats(-(10**9), 10**9), step=st.sampled_from([0.01, 0.1, 1, 5, 250]))
def test_a_rounded_number_says_only_which_step_it_was_in(value: float, step: float) -> None:
    told = one(value, Round(step))
    slack = 1e-6 + abs(value) * 1e-12
    assert told - slack <= value < told + step + slack
    assert one(told, Round(step)) == pytest.approx(told), "rounded again it stays"


@given(address=st.ip_addresses(), v4_bits=st.integers(0, 31), v6_bits=st.integers(0, 127))
def test_a_truncated_address_keeps_no_bit_behind_its_prefix(address: Any, v4_bits: int, v6_bits: int) -> None:  # noqa: ANN401 - either kind of address
    mapped = getattr(address, "ipv4_mapped", None)
    address = mapped or address
    told = type(address)(one(str(address), Truncate(v4_bits, v6_bits)))
    if getattr(address, "sixtofour", None) is not None:
        v6_bits = min(v6_bits, 16 + v4_bits)  # it holds a whole IPv4 address, which counts as one
    behind = address.max_prefixlen - (v4_bits if address.version == 4 else v6_bits)
    assert int(told) >> behind == int(address) >> behind
    assert not int(told) & ((1 << behind) - 1)


# -- one by one


@pytest.mark.parametrize(
    ("rule", "value", "told"),
    [
        (Keep(), "door", "door"),
        (Keep(), ["door", 1, None], ["door", 1, None]),
        (Keep(), {"in": "side"}, "-"),
        (Keep(), [["nested"], "flat"], ["flat"]),
        (Keep(), None, None),
        (Drop(), None, "-"),
        (Truncate(24, 48), "192.0.2.77", "192.0.2.0"),
        (Truncate(24, 48), "2001:db8:1:2::9", "2001:db8:1::"),
        (Truncate(24, 48), "fe80::1%wlan0", "fe80::"),
        (Truncate(24, 48), "::ffff:192.0.2.77", "192.0.2.0"),
        (Truncate(24, 48), "2002:c000:24d:1::9", "2002:c000:200::"),
        (Truncate(24, 16), "2002:c000:24d:1::9", "2002::"),
        (Truncate(24, 48), "192.0.2.77:554", "-"),
        (Truncate(24, 48), 3221226061, "-"),
        (Round(0.1), 52.5163, 52.5),
        (Round(0.1), -0.05, -0.1),
        (Round(10), 47, 40),
        (Round(10), "47", "-"),
        (Round(10), True, "-"),
        (Round(10), 10**16, "-"),
        (RoundTime(3_600_000), "2026-11-22T10:15:32.123Z", "2026-11-22T10:00:00Z"),
        (RoundTime(3_600_000), "2026-11-22T10:15:32+05:30", "2026-11-22T04:00:00Z"),
        (RoundTime(3_600_000), "2026-11-22T10:15:32", "2026-11-22T10:00:00"),
        (RoundTime(3_600_000), "yesterday", "-"),
        (RoundTime(3_600_000), "0001-01-01T00:00:00+14:00", "-"),
        (RoundTime(3_600_000), 1_795_342_532, 1_795_341_600),
        (RoundTime(3_600_000), 1_795_342_532_123, 1_795_341_600_000),
        (Ranges((20, 50)), 19.5, "<20"),
        (Ranges((20, 50)), 20, "20..50"),
        (Ranges((20, 50)), 50, ">=50"),
        (Groups({"outside": ("door", "path")}), "path", "outside"),
        (Groups({"outside": ("door", "path")}), "bedroom", "other"),
        (Groups({"outside": ("door", "path")}), 7, "-"),
        (Inside({"ssid": Drop(), "rssi": Round(10)}), {"ssid": "Smith", "rssi": -43, "x": 1}, {"rssi": -50}),
        (Inside({"rssi": Round(10)}), [{"rssi": -43}, "text"], [{"rssi": -50}]),
        (Pseudonym(DAY_MS), True, "-"),
    ],
)
def test_a_rule_makes_of_a_value(rule: FieldRule, value: object, told: object) -> None:
    assert one(value, rule) == told


def test_a_pseudonym_is_the_same_for_the_same_value_of_the_same_field_under_the_same_key() -> None:
    rules: dict[str, FieldRule] = {"a": Pseudonym(DAY_MS), "b": Pseudonym(DAY_MS), "c": Pseudonym(7 * DAY_MS)}
    left, _ = cleaned(b'{"a":"S-1","b":"S-1","c":"S-1"}\n{"a":"S-1"}\n{"a":"S-2"}\n', rules)
    first, again, another = map(json.loads, left.splitlines())
    assert first["a"] == again["a"]
    assert len({first["a"], first["b"], first["c"], another["a"]}) == 4
    assert len(first["a"]) == 24
    later = Cleaned(Deidentifier(Fields(rules), keys=dict.fromkeys(KEYS, b"another key, behind the rotation")))
    assert json.loads(later.add(b'{"a":"S-1"}\n'))["a"] != first["a"]


def test_what_is_left_out_is_counted() -> None:
    raw = b'{"a":"x","mac":"00:00","new":1}\nnot json\n[1]\n{"new":2}\n\n{"ip":"nowhere","a":"y"}\n'
    left, tally = cleaned(raw, {"a": Groups({"g": ("x",)}), "mac": Drop(), "ip": Truncate(24, 48)})
    assert left == b'{"a":"g"}\n{"a":"other"}\n'
    assert tally == Tally(lines=2, bad_lines=2, bare_lines=1, unknown=2, dropped=1, unfit=1, changed=2)


def test_a_line_that_is_too_long_is_skipped_in_bounded_memory() -> None:
    log = Cleaned(Deidentifier(Fields({"a": Keep()}), keys={}))
    assert log.add(b'{"a":"') == b""
    for _ in range(64):
        assert log.add(b"x" * LINE_MAX_BYTES) == b""
        assert len(log._half) <= 2 * LINE_MAX_BYTES
    assert log.add(b'"}\n{"a":1}\n') == b'{"a":1}\n'
    assert log.tally == Tally(lines=1, bad_lines=1)


def test_a_key_that_stands_twice_in_a_line_hides_nothing() -> None:
    left, _ = cleaned(b'{"a":"secret","a":"known"}\n', {"a": Keep()})
    assert left == b'{"a":"known"}\n'
