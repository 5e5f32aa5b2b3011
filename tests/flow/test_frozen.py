"""A restriction and a hold in a household: what stands still, what goes on, and what its owner sees of it."""

from pathlib import Path
from typing import Any

import pytest

from tests.flow.house import House
from tests.waiting import until


def of_camera(house: House, label: str) -> dict[str, Any]:
    """Return the newest object of a camera that is here, once there is one."""

    def found() -> list[dict[str, Any]]:
        return sorted(
            (one for one in house.held() if label in one["camera_label"]), key=lambda one: str(one["captured_from"])
        )

    return until(found, what=f"something of {label}")[-1]


def begun(house: House) -> set[str]:
    """Return the objects that the cloud has heard of."""
    return {str(event["object"]) for event in house.events("begin")}


@pytest.mark.promise("RESTRICT")
def test_restricted_camera_is_taken_in_and_neither_uploaded_nor_exported_until_it_is_lifted(tmp_path: Path) -> None:
    with House(tmp_path) as house:
        house.start_cloud()
        house.start_agent()
        house.record(seed=1)
        house.one("uploaded")
        door = of_camera(house, "front_door")["camera"]
        restriction = house.owner_json("restrict", "--camera", door, "--ground", "claims")
        assert restriction["status"] == "done"

        house.record(seed=2)
        later = until(lambda: next((one for one in house.held() if one["state"] == "sealed"), None), what="it is here")
        assert [one["ground"] for one in later["restrictions"]] == ["claims"]
        house.record(seed=3, camera="garden")
        house.one("uploaded", count=2)
        assert later["id"] in {one["id"] for one in house.one("sealed")}
        assert later["id"] not in begun(house)
        shown = house.run("privacy-agent", "explain", later["id"], "--config", house.config)
        assert "restricted" in shown
        assert restriction["cmd"] in shown
        house.run("privacy-agent", "export", later["id"], "--config", house.config, expect=1)

        house.owner("unrestrict", restriction["cmd"])
        house.one("uploaded", count=3)
        assert house.agent_json("status")["frozen"] == {"holds": [], "restrictions": [], "more": 0}


@pytest.mark.promise("HOLD")
def test_hold_keeps_what_it_names_from_its_owner_who_sees_it_everywhere_and_nothing_else(tmp_path: Path) -> None:
    with House(tmp_path) as house:
        house.start_cloud()
        house.start_agent()
        house.owner("client", "grant", "owner", "hold", "release", "--out", tmp_path / "keys.jws")
        house.run("privacy-agent", "submit", tmp_path / "keys.jws", "--config", house.config)
        house.record(seed=1)
        house.record(seed=2, camera="garden")
        house.one("uploaded", count=2)
        door, garden = of_camera(house, "front_door"), of_camera(house, "garden")
        hold = house.owner_json("hold", "--camera", door["camera"], "--reason", "claim 7/26", "--until", "30d")["cmd"]

        refused = house.owner("delete", "--all", "--yes", expect=1)
        assert "held" in refused
        (left,) = house.held()
        assert left["id"] == door["id"], garden["id"]
        assert [(one["id"], one["reason"]) for one in left["holds"]] == [(hold, "claim 7/26")]
        assert left["rule"] == "hold"
        assert "held" in {one["code"] for one in house.agent_json("status")["alerts"]}
        assert [one["id"] for one in house.agent_json("status")["frozen"]["holds"]] == [hold]
        assert "claim 7/26" in house.run("privacy-agent", "explain", door["id"], "--config", house.config)
        (from_afar,) = house.owner_json("inventory")["objects"]
        assert from_afar["holds"] == left["holds"]

        house.owner("release", hold)
        house.owner("delete", "--all", "--yes")
        assert house.held() == []
