"""``policy check --dry-run``: what a policy would delete, of which camera and time, and how much of all that is."""

import re

from tests.cli.conftest import Device
from tests.screen import on_screen
from tests.waiting import until


def test_dry_run_names_camera_and_time_of_what_would_go_and_its_share_of_all(device: Device) -> None:
    device.take_in("a.mp4", "b.mp4", "c.mp4")
    policy = device.folder / "stricter.toml"
    text = (device.folder / "policy.toml").read_text()
    policy.write_text(re.sub(r"^keep = \{[^}]*\}\non_full", "keep = { count = 1 }\non_full", text, flags=re.MULTILINE))

    told = device.ok("policy", "check", policy, "--dry-run")

    plan = device.ok("policy", "check", policy, "--dry-run", "--json").json["would_delete"]
    held = {one["id"]: one for one in device.ok("inventory", "--json").json["objects"]}
    assert len(plan["objects"]) == 2
    for one in plan["objects"]:
        assert (one["camera"], one["captured_from"]) == (
            held[one["id"]]["camera"],
            held[one["id"]]["captured_from"],
        )
        assert re.search(rf"^{one['id']} +{one['camera']} +\d{{4}}-", told.out, re.MULTILINE)
    assert "\nIt would delete 2 of 3 objects now.\n" in told.out


def test_dry_run_names_what_a_restriction_keeps_from_the_new_limits(device: Device) -> None:
    first, _ = device.take_in("a.mp4", "b.mp4")
    command = device.folder / "restrict.cmd"
    told = device.owner("restrict", first, "--ground", "accuracy", "--out", command)
    assert told.code == 0, told.err
    device.ok("submit", command)
    policy = device.folder / "stricter.toml"
    text = (device.folder / "policy.toml").read_text()
    policy.write_text(re.sub(r"^keep = \{[^}]*\}\non_full", "keep = { age = '1s' }\non_full", text, flags=re.MULTILINE))

    def is_told() -> bool:
        told = device.ok("policy", "check", policy, "--dry-run").out
        line = rf"^{first} .* category\.recording\.keep\.age +restricted$"
        return re.search(line, told, re.MULTILINE) is not None

    until(is_told, what="a restricted object that is older than its limit of a second")
    plan = device.ok("policy", "check", policy, "--dry-run", "--json").json["would_delete"]
    assert [(one["id"], one["reason"], one["until"]) for one in plan["stays"]] == [(first, "restricted", None)]
    assert first not in {one["id"] for one in plan["objects"]}


def test_dry_run_counts_as_staying_what_is_over_a_limit_and_nothing_else(device: Device) -> None:
    device.take_in("a.mp4", "b.mp4", "c.mp4")
    command = device.folder / "restrict.cmd"
    told = device.owner("restrict", "--all", "--ground", "accuracy", "--out", command)
    assert told.code == 0, told.err
    device.ok("submit", command)
    policy = device.folder / "stricter.toml"
    text = (device.folder / "policy.toml").read_text()
    policy.write_text(re.sub(r"^keep = \{[^}]*\}\non_full", "keep = { count = 1 }\non_full", text, flags=re.MULTILINE))

    told = device.ok("policy", "check", policy, "--dry-run")

    stays = device.ok("policy", "check", policy, "--dry-run", "--json").json["would_delete"]["stays"]
    assert len(stays) == 2
    assert "\nWhatever its limits say, stay for now: 2 restricted; " in told.out


def test_what_would_go_is_told_from_what_stays_on_a_narrow_screen_too(device: Device) -> None:
    device.take_in("a.mp4", "b.mp4", "c.mp4")
    policy = device.folder / "stricter.toml"
    text = (device.folder / "policy.toml").read_text()
    policy.write_text(re.sub(r"^keep = \{[^}]*\}\non_full", "keep = { count = 1 }\non_full", text, flags=re.MULTILINE))
    plan = device.ok("policy", "check", policy, "--dry-run", "--json").json["would_delete"]
    first, second = (one["id"] for one in plan["objects"])
    command = device.folder / "restrict.cmd"
    told = device.owner("restrict", first, "--ground", "accuracy", "--out", command)
    assert told.code == 0, told.err
    device.ok("submit", command)

    code, shown = on_screen(
        "privacy-agent", "policy", "check", policy, "--dry-run", "--config", device.config, columns=80
    )

    assert code == 0
    assert {f"would delete  {second}", f"stays  {first}"} <= set(shown.splitlines())


def test_diff_names_first_what_waits_for_the_owner(device: Device) -> None:
    policy = device.folder / "other.toml"
    text = (device.folder / "policy.toml").read_text()
    policy.write_text(text.replace('age = "14d"', 'age = "13d"', 1).replace('age = "14d"', 'age = "15d"', 1))

    rows = device.ok("policy", "diff", policy).out.splitlines()

    assert [row.split()[0] for row in rows[:3]] == ["way", "looser", "tighter"]
