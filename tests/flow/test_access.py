"""A person asks what is held of them, and gets all of it: at the device, and from afar with the owner's key."""

from pathlib import Path

import pytest

from tests.flow.house import House

ASKED = "2026-01-01T00:00:00.000Z"


@pytest.mark.promise("ACCESS")
def test_person_is_told_what_is_held_since_when_why_until_when_for_whom_and_where_its_copies_are(
    tmp_path: Path,
) -> None:
    with House(tmp_path) as house:
        house.start_cloud()
        house.start_agent()
        house.record()
        (uploaded,) = house.one("uploaded")
        export = house.owner_json("export", uploaded["id"])["cmd"]

        (told,) = house.agent_json("inventory")["objects"]
        assert told["category"] == "recording"
        assert told["camera_label"]
        assert told["captured_from"] > ASKED
        assert told["taken_in"] > ASKED
        assert told["until"] > told["taken_in"], "it ends by its age"
        assert told["rule"] == "category.recording.keep.age"
        from_afar = house.owner_json("inventory")["objects"]
        (far,) = (one for one in from_afar if one["id"] == told["id"])
        places_from_afar = far.pop("copies")
        assert far == told
        assert {one["id"] for one in from_afar} == {told["id"], export}

        explained = house.agent_json("explain", told["id"])
        assert explained["purposes"] == ["security"]
        assert explained["recipients"] == [recipient(house)]
        assert explained["decision"]["rule"] == told["rule"]
        places = {"this device", "store, region eu", f"export {export}"}
        assert {copy["where"] for copy in explained["copies"]} == places
        assert places_from_afar == explained["copies"]
        shown = house.run("privacy-agent", "explain", told["id"], "--config", house.config)
        assert "security" in shown
        assert export in shown

        assert f"export {export}: sealed" in house.owner("inventory", told["id"])
        house.owner("rectify", "--camera", told["camera"], "--location", "At the gate")
        (moved,) = house.owner_json("inventory", told["id"])["objects"]
        assert moved["camera_location"] == "At the gate"

        house.owner("delete", told["id"], "--yes")
        assert house.held() == []
        left = house.agent_json("explain", told["id"])
        assert [copy["where"] for copy in left["copies"]] == [f"export {export}"]
        house.owner("delete", export, "--yes")
        assert "no object" in house.run("privacy-agent", "explain", told["id"], "--config", house.config, expect=1)


def recipient(house: House) -> str:
    policy = (house.folder / "policy.toml").read_text(encoding="utf-8")
    return policy.partition('owner = ["')[2].partition('"')[0]
