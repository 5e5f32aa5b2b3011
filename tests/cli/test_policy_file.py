"""The policy file proposes to the running agent alone: no command that only looks puts it in force, as none runs."""

from tests.cli.conftest import Device

OLD, NEW = '"14d"', '"1d"'


def test_check_diff_and_show_leave_the_policy_in_force_where_no_agent_runs(device: Device) -> None:
    with device.running():
        pass
    policy = device.folder / "policy.toml"
    text = policy.read_text()
    edited = text.replace(OLD, NEW)
    assert edited != text
    policy.write_text(edited)

    device.ok("policy", "check", "--dry-run")
    diff = device.ok("policy", "diff", "--json").json["changes"]
    shown = device.ok("policy", "show", "--json").json

    assert {change["after"] for change in diff} == {"1d"}
    assert shown["document"] == text
    assert shown["waiting"] == []
    with device.running():
        assert device.ok("policy", "show", "--json").json["document"] == edited


def test_policy_that_no_agent_ran_under_is_said_to_be_taken_from_the_file_still(device: Device) -> None:
    free = "until then the policy file may be edited freely"
    assert free in device.ok("policy", "show").out
    with device.running():
        assert free not in device.ok("policy", "show").out


def test_broken_file_stops_no_agent_and_doctor_names_its_line(device: Device) -> None:
    with device.running():
        pass
    policy = device.folder / "policy.toml"
    text = policy.read_text()
    policy.write_text(text + "\n[category.recor")

    with device.running():
        assert device.ok("policy", "show", "--json").json["document"] == text
        assert "policy_unreadable" in {one["code"] for one in device.ok("status", "--json").json["alerts"]}
    found = device.examined("--offline")["policy"]
    assert found["verdict"] == "bad"
    assert str(policy) in found["told"]


def test_one_line_that_allows_more_is_told_as_one(device: Device) -> None:
    with device.running():
        pass
    policy = device.folder / "policy.toml"
    policy.write_text(policy.read_text().replace(OLD, '"30d"', 1))
    assert "\n1 of 1 change allows more: all of it waits" in device.ok("policy", "diff").out


def test_consents_name_a_reader_without_a_key_as_nobody(device: Device) -> None:
    policy = device.folder / "policy.toml"
    text = policy.read_text().replace("[upload]", "vendor = []\n[upload]", 1)
    policy.write_text(text.replace('seal_to = ["owner"]', 'seal_to = ["owner", "vendor"]'))
    standing = device.ok("consents", "--json").json["standing"]
    assert {(*one["recipients"], *one["keyless"]) for one in standing} == {("owner", "vendor", "vendor")}
    assert "owner, vendor (no key: nobody)" in device.ok("consents").out
