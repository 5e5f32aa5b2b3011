"""``policy explain`` and ``policy diff`` tell a person what is so: no field stays that is dropped."""

from pathlib import Path

import pytest

from agent.cli.policy_words import explained
from agent.policy import compare, parse_policy
from agent.policy.processing import readers

PRESETS = Path(__file__).resolve().parents[2] / "agent" / "policy" / "presets"


def sentences(text: str) -> dict[str, str]:
    return {
        told["rule"]: "\n".join(told["says"]) for told in explained(parse_policy(text.encode(), file="policy.toml"))
    }


@pytest.mark.parametrize("preset", ["a", "b"])
def test_field_that_is_dropped_is_none_that_stays_and_each_other_says_what_of_it(preset: str) -> None:
    told = sentences((PRESETS / f"{preset}.toml").read_text())["category.usage-log"]
    assert "mac" not in told
    for said in (
        "serial (a pseudonym, another one every 30d)",
        "ip (its first 24 bits, of IPv6 ",
        "gps_lat (rounded to 1)",
        "time (rounded to 1h)",
        "event (as it is)",
        "battery_percent (which range, split at 20, 50, 80)",
    ):
        assert said in told


def test_end_of_a_service_that_deletes_everything_is_told_with_its_times() -> None:
    told = sentences((PRESETS / "b.toml").read_text())["the whole device"]
    assert "no word of it for 180d, ends collection and upload; 30d later all of it is deleted" in told
    assert "answered within 15 working days" in told
    assert "more than 30%" in told


def test_what_only_the_whole_says_is_told_too() -> None:
    text = (PRESETS / "b.toml").read_text()
    edited = text.replace(
        "[upload]", '[delivery]\nprivate_hosts = ["nas.lan"]\n[upload]\nrate = "4MB"\nhours = ["22:00-06:00"]'
    )
    edited = edited.replace('plan = "delete"', 'plan = "keep"')
    told = sentences(edited)["the whole device"]
    for said in ("22:00-06:00 (UTC), at most 4MB a second", "private addresses of: nas.lan", "30d later it stays"):
        assert said in told


def test_policy_without_a_rule_says_that_nothing_is_taken_in() -> None:
    assert "Nothing is taken in" in sentences("version = 1\n[recipients]\nowner = []\n")["category"]


def test_exports_end_also_where_the_policy_says_nothing_of_them() -> None:
    assert "It is kept for 7d at most." in sentences("version = 1\n")["category.export"]


def test_names_of_readers_are_not_called_harmless_beside_a_new_reader() -> None:
    text = """
version = 1
[recipients]
owner = ["age1a"]
vendor = ["age1b"]
[category.photo]
purpose = "security"
seal_to = ["owner"]
"""
    other = text.replace('seal_to = ["owner"]', 'seal_to = ["owner", "vendor"]')
    before, after = (parse_policy(one.encode(), file="policy.toml") for one in (text, other))
    changes = compare(before, after)
    assert [change.kind for change in changes] == ["looser", "neutral"]
    assert "nothing is kept, read or sent" not in "".join(change.because for change in changes)


NO_KEY = """
version = 1
[recipients]
owner = ["age1a"]
vendor = []
[purpose.analytics]
description = "To see which functions are used."
basis = "consent"
seal_to = ["vendor"]
[category.usage-log]
purpose = "analytics"
seal_to = ["owner"]
keep = { age = "90d", disk_free = "10%" }
[category.photo]
purpose = "analytics"
seal_to = ["vendor"]
"""


def test_name_without_a_key_is_said_to_be_nobody() -> None:
    told = sentences(NO_KEY)
    assert "It can be read by: owner, vendor (for analytics) (no key: nobody)." in told["category.usage-log"]
    assert "Nobody could read it" in told["category.photo"]
    policy = parse_policy(NO_KEY.encode(), file="policy.toml")
    assert readers(policy, policy.rules[0]) == ("owner", "vendor (no key: nobody)")
    assert "(no key" not in sentences(NO_KEY.replace("vendor = []", 'vendor = ["age1b"]'))["category.usage-log"]


def test_share_of_the_disk_is_told_as_one() -> None:
    assert "for 90d at most and while 10% of the disk is free" in sentences(NO_KEY)["category.usage-log"]


def test_what_a_device_may_open_again_is_said_in_words() -> None:
    other = NO_KEY.replace('seal_to = ["owner"]', 'seal_to = ["owner"]\nreadable_by_device = false')
    before, after = (parse_policy(one.encode(), file="policy.toml") for one in (other, NO_KEY))
    assert [change.because for change in compare(before, after)] == ["this device may open it again"]
