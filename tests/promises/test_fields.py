"""Of a usage log only what the field rules leave is anywhere: at the agent, at the store, and for who may read it."""

import json
from pathlib import Path
from typing import Any

import pytest

from device_sim.camera.identity import identity
from device_sim.camera.usage_log import FIELDS
from tests.flow.house import House
from tests.flow.residue import Search
from tests.waiting import until

SEED = 11

RULES = """
[category.usage-log.fields]
event = "keep"
time.round = "1h"
serial.pseudonym = "30d"
ip.truncate = "/16"
gps_lat.round = 1
gps_lon.round = 1
battery_percent.ranges = [20, 50, 80]
motion_zone.groups = { outside = ["door", "path"] }
mac = "drop"
"""
KEPT = ("event", "time", "serial", "ip", "gps_lat", "gps_lon", "battery_percent", "motion_zone")


def write_logs(house: House) -> list[dict[str, Any]]:
    """Have a camera write usage logs into the spool; return its lines as they were."""
    house.run(
        "device-sim", "camera", "--spool", house.folder / "beside", "--seed", str(SEED), "--count", "1", "--rate", "0",
        "--seconds", "1", "--logs",
    )  # fmt: skip
    lines = []
    for path in sorted((house.folder / "beside").rglob("*.jsonl")):
        lines += [json.loads(raw) for raw in path.read_bytes().splitlines()]
        target = house.spool / path.relative_to(house.folder / "beside")
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    assert {*lines[0]} == {*FIELDS}
    return lines


def opened(house: House) -> list[dict[str, Any]]:
    """Return the lines that the owner finds in an export of all usage logs."""
    answer = house.agent_json("export", "--category", "usage-log", "--form", "zip")
    folder = house.folder / "opened"
    house.owner("open", answer["folder"], "-o", folder)
    return [json.loads(raw) for path in sorted(folder.rglob("*.jsonl")) for raw in path.read_bytes().splitlines()]


@pytest.mark.promise("DEIDENTIFY")
@pytest.mark.promise("COLLECT-LOGS")
def test_no_value_that_a_rule_drops_or_hides_is_anywhere_and_what_was_left_out_is_told(tmp_path: Path) -> None:
    with House(tmp_path) as house:
        policy = tmp_path / "policy.toml"
        policy.write_text(policy.read_text() + RULES)
        config = house.config.read_text()
        house.config.write_text(config.replace("[[source]]", '[[source]]\nbatch_age = "1s"\nsettle = "200ms"'))
        house.start_cloud()
        house.start_agent()
        house.kill("agent")  # what it does at its start is done twice
        lines = write_logs(house)
        house.start_agent()
        (item,) = house.one("uploaded")
        until(lambda: not list(house.spool.rglob("*.jsonl")), what="the camera's copies given up")

        told = opened(house)
        assert len(told) == len(lines)
        assert {name for line in told for name in line} == {*KEPT}
        assert [line["event"] for line in told] == [line["event"] for line in lines]
        assert [line["time"] for line in told] == [f"{line['time'][:13]}:00:00Z" for line in lines]
        assert len({line["serial"] for line in told}) == 1
        assert {line["motion_zone"] for line in told} <= {"outside", "other", None}

        # It is said how much was left out, at the device and to its owner, and which fields is not.
        counted = house.agent_json("explain", item["id"])["fields"]
        assert counted["lines"] == len(lines)
        assert counted["unknown"] == len(lines) * (len(FIELDS) - len(KEPT) - 1)
        assert counted["dropped"] == len(lines)
        assert house.agent_json("status")["field_rules"]["spool"] == counted
        (seen,) = (one for one in house.owner_json("inventory")["objects"] if one["id"] == item["id"])
        assert seen["fields"] == counted
        assert "fields that no rule names" in house.run(
            "privacy-agent", "explain", item["id"], "--config", house.config
        )

        house.stop("agent")
        house.stop("cloud")
        who = identity(SEED)
        words = [
            *who.traces(),
            str(who.lat_deg),
            str(who.lon_deg),
            *(line["time"] for line in lines[1:]),
        ]  # the first is in the log's name
        search = Search(pieces=(), words=words)
        roots = ["state", "agent.log", "cloud", "cloud.log", "broker", "opened", "home"]
        assert search.look([tmp_path / name for name in roots]) == []
        assert search.files > 20
        (tmp_path / "planted").write_bytes(b"\x93" * 99 + who.serial.encode())
        assert search.look([tmp_path / "planted"])


COUNTS = """
[category.usage-log.counts]
purpose = "diagnosis"
epsilon = 10
budget = 10
event = ["motion", "album"]
"""
NEAR = 4
"""By epsilon 10 a count is off by more than this once in the age of the universe."""


@pytest.mark.promise("DEIDENTIFY")
def test_counts_are_told_by_the_agent_with_noise_and_not_twice(tmp_path: Path) -> None:
    with House(tmp_path) as house:
        policy = tmp_path / "policy.toml"
        policy.write_text(policy.read_text() + RULES + COUNTS)
        config = house.config.read_text()
        house.config.write_text(config.replace("[[source]]", '[[source]]\nbatch_age = "1s"\nsettle = "200ms"'))
        house.start_agent()
        lines = write_logs(house)
        house.one("sealed")
        told = house.agent_json("counts", "--tell")
        assert set(told["counts"]) == {"event"}
        for value, count in told["counts"]["event"].items():
            assert abs(count - sum(one["event"] == value for one in lines)) <= NEAR
        assert "budget" in house.run("privacy-agent", "counts", "--tell", "--config", house.config, expect=1)
        assert house.agent_json("counts")["last"]["counts"] == told["counts"]
