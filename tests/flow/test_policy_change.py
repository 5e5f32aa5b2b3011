"""A policy edited by mistake: the dry run tells what it would delete, and the pass stops and asks the owner first."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.flow.house import House
from tests.waiting import until

COUNT = 24


@pytest.mark.promise("RETAIN")
def test_policy_that_would_delete_nearly_everything_is_told_asks_and_goes_on_when_approved(tmp_path: Path) -> None:
    with House(tmp_path) as house:
        house.start_agent()
        house.run(
            "device-sim", "camera", "--spool", house.spool, "--count", str(COUNT), "--rate", "0", "--no-clips",
            "--photos", "--size", "160x120",
        )  # fmt: skip
        photos = house.one("sealed", count=COUNT)

        mistake = tmp_path / "mistake.toml"
        good = (tmp_path / "policy.toml").read_text()
        photo = good.index("[category.photo]")
        mistake.write_text(good[:photo] + good[photo:].replace('age = "14d"', 'age = "1s"', 1))

        def everything() -> Any:  # noqa: ANN401 - JSON
            found = house.agent_json("policy", "check", mistake, "--dry-run")["would_delete"]
            return found if len(found["objects"]) == COUNT else None

        plan = until(everything, what="all photos a second old")
        assert {one["id"] for one in plan["objects"]} == {one["id"] for one in photos}
        assert {one["rule"] for one in plan["objects"]} == {"category.photo.keep.age"}
        assert plan["asks_first"]
        unchanged = house.agent_json("policy", "check", "--dry-run")["would_delete"]
        assert unchanged["objects"] == []

        (tmp_path / "policy.toml").write_text(mistake.read_text())
        house.stop("agent")
        house.start_agent()  # a pass at once
        line = until(
            lambda: re.search(r"privacy-owner approve (\w+) (\w+)", (tmp_path / "agent.log").read_text()),
            what="the pass asks",
        )
        assert "retention_waiting" in {one["code"] for one in house.agent_json("status")["alerts"]}
        assert len(house.held()) == COUNT, "nothing goes before the owner's word"
        explained = house.agent_json("explain", photos[0]["id"])["decision"]
        assert explained["rule"] == "category.photo.keep.age"

        house.owner("approve", line[1], "0" * 64, "--yes", expect=1)
        assert len(house.held()) == COUNT, "another selection is not what was asked about"
        house.owner("approve", line[1], line[2], "--yes")
        house.stop("agent")
        house.start_agent()
        until(lambda: not house.held(), what="the approved ones gone")
