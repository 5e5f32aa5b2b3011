"""``[category.usage-log.fields]``: what a person may write, and how a mistake is answered."""

import msgspec
import pytest

from agent.errors import ConfigError
from agent.policy import parse_policy
from agent.policy.counts import Counts
from agent.policy.fields.rule import (
    Drop,
    Fields,
    Groups,
    Inside,
    Keep,
    Pseudonym,
    Ranges,
    Round,
    RoundTime,
    Truncate,
    periods_ms,
)

GOOD = """\
version = 1
[recipients]
owner = ["age1pq1owner"]
[category.recording]
purpose = "security"
seal_to = ["owner"]
[category.usage-log]
purpose = "security"
seal_to = ["owner"]
[category.usage-log.fields]
event = "keep"
mac = "drop"
serial.pseudonym = "30d"
ip.truncate = "/24"
gps_lat.round = 0.1
time.round = "1h"
battery_percent.ranges = [20, 50, 80]
motion_zone.groups = { outside = ["door", "path"], inside = ["hall"] }
wifi.fields.rssi_dbm.round = 10
wifi.fields.ssid = "drop"
[camera.k3x9.usage-log.fields]
event = "drop"
ip.truncate = "/16 /32"
"""
HOUR_MS = 3_600_000


def fields_of(document: str, camera: str = "") -> Fields:
    rule = parse_policy(document.encode(), file="policy.toml").rule_for(camera, "usage-log")
    assert rule is not None
    assert rule.fields is not None
    return rule.fields


def test_each_kind_of_rule_is_read_and_a_camera_inherits_what_it_does_not_name() -> None:
    general, special = fields_of(GOOD), fields_of(GOOD, "k3x9")
    assert general.rules == {
        "event": Keep(),
        "mac": Drop(),
        "serial": Pseudonym(30 * 24 * HOUR_MS),
        "ip": Truncate(24, 48),
        "gps_lat": Round(0.1),
        "time": RoundTime(HOUR_MS),
        "battery_percent": Ranges((20, 50, 80)),
        "motion_zone": Groups({"outside": ("door", "path"), "inside": ("hall",)}),
        "wifi": Inside({"rssi_dbm": Round(10), "ssid": Drop()}),
    }
    assert special.rules == general.rules | {"event": Drop(), "ip": Truncate(16, 32)}
    assert periods_ms(general) == {30 * 24 * HOUR_MS}
    policy = parse_policy(GOOD.encode(), file="policy.toml")
    recording = policy.rule_for("", "recording")
    assert recording is not None
    assert recording.fields is None


def test_rules_survive_the_way_to_the_sealing_process() -> None:
    fields = fields_of(GOOD)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(fields), type=Fields) == fields


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('event = "keep"', 'event = "hide"', "use one of: keep, drop"),
        ('event = "keep"', "event = 3", "should be a text"),
        ('event = "keep"', '"" = "keep"', "is not a field's name"),
        ('serial.pseudonym = "30d"', 'serial.pseudonym = "10m"', "no period of rotation"),
        ('serial.pseudonym = "30d"', 'serial.pseudonym = "400d"', "no period of rotation"),
        ('serial.pseudonym = "30d"', 'serial.hash = "30d"', "is not one rule"),
        ('serial.pseudonym = "30d"', 'serial = { pseudonym = "30d", round = 1 }', "is not one rule"),
        ('ip.truncate = "/24"', 'ip.truncate = "/32"', "leaves a whole address"),
        ('ip.truncate = "/24"', 'ip.truncate = "24"', "leaves a whole address"),
        ("gps_lat.round = 0.1", "gps_lat.round = 0", "is no step"),
        ("gps_lat.round = 0.1", "gps_lat.round = nan", "should be a number"),
        ('time.round = "1h"', 'time.round = "0h"', "rounds nothing"),
        ("[20, 50, 80]", "[50, 20]", "numbers that rise"),
        ("[20, 50, 80]", '["a"]', "should be a number"),
        ('inside = ["hall"]', 'inside = ["door"]', "are no groups"),
        ('inside = ["hall"]', 'other = ["hall"]', "are no groups"),
        ("wifi.fields.rssi_dbm", "wifi.fields.a.fields.b.fields.c.fields.d", "nested too deeply"),
    ],
)
def test_a_mistake_names_its_line_and_the_fix(old: str, new: str, words: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError) as caught:
        parse_policy(GOOD.replace(old, new, 1).encode(), file="policy.toml")
    assert words in str(caught.value)
    assert caught.value.message.startswith("policy.toml:")
    assert caught.value.hint


def test_a_recording_has_no_fields() -> None:
    wrong = GOOD.replace("[category.usage-log.fields]", "[category.recording.fields]")
    with pytest.raises(ConfigError, match="a usage log's alone"):
        parse_policy(wrong.encode(), file="policy.toml")


def test_more_rules_than_are_needed_are_refused() -> None:
    many = "".join(f'f{number} = "keep"\n' for number in range(260))
    with pytest.raises(ConfigError, match="more than 256 rules"):
        parse_policy(GOOD.replace('event = "keep"\n', many, 1).encode(), file="policy.toml")
    periods = "".join(f'f{number}.pseudonym = "{number + 2}d"\n' for number in range(8))
    with pytest.raises(ConfigError, match="more than 8 different periods"):
        parse_policy(GOOD.replace('event = "keep"\n', periods, 1).encode(), file="policy.toml")


COUNTS = """
[category.usage-log.counts]
purpose = "security"
epsilon = 0.5
budget = 10
event = ["motion", "album"]
"""


def test_counts_are_read_for_all_cameras() -> None:
    document = GOOD.replace("[camera.k3x9", f"{COUNTS}[camera.k3x9")
    policy = parse_policy(document.encode(), file="policy.toml")
    for camera in ("", "k3x9"):
        rule = policy.rule_for(camera, "usage-log")
        assert rule is not None
        assert rule.counts == Counts(
            purpose="security", epsilon=0.5, budget=10.0, values={"event": ("motion", "album")}
        )


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('purpose = "security"\nepsilon', 'purpose = "analytics"\nepsilon', "use one of: security"),
        ("epsilon = 0.5", "epsilon = 0", "out of range"),
        ("epsilon = 0.5", "epsilon = 11", "out of range"),
        ("budget = 10", "budget = 0.4", "out of range"),
        ('event = ["motion", "album"]', "", "names no field"),
        ('event = ["motion", "album"]', 'event = ["motion", "motion"]', "no list of values"),
        ("[category.usage-log.counts]", "[category.recording.counts]", "are of all usage logs"),
        ("[category.usage-log.counts]", "[camera.k3x9.usage-log.counts]", "are of all usage logs"),
    ],
)
def test_a_mistake_in_counts_is_named(old: str, new: str, words: str) -> None:
    document = GOOD + COUNTS
    assert old in document
    with pytest.raises(ConfigError) as caught:
        parse_policy(document.replace(old, new, 1).encode(), file="policy.toml")
    assert words in str(caught.value)


def test_counts_without_field_rules_are_refused() -> None:
    document = GOOD[: GOOD.index("[category.usage-log.fields]")] + COUNTS
    with pytest.raises(ConfigError, match="need field rules"):
        parse_policy(document.encode(), file="policy.toml")
