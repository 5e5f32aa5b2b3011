"""Consent given, refused, withdrawn and objected to, through the owner's tool, a broker, an agent and a store."""

from pathlib import Path

import pytest

from tests.flow.consenting import household
from tests.waiting import until


@pytest.mark.promise("CONSENT-GIVE")
def test_purpose_is_off_until_consent_is_given_and_refusing_one_leaves_the_others(tmp_path: Path) -> None:
    with household(tmp_path) as house:
        house.choose()
        house.start_agent()
        house.photograph()
        until(lambda: "no_consent" in house.log_lines(), what="a photo not taken in without consent")
        house.record(seed=1)
        (before,) = house.one("sealed")
        assert house.readers(before["id"]) == {"owner"}
        assert not house.standing()["analytics", "photo"]["allowed"]

        given = house.owner_json("consent", "give", "analytics", "--category", "recording")
        assert given["status"] == "done"
        (record,) = given["records"]
        assert record["dpv:hasProcess"][0]["dpv:hasConsentStatus"][0]["@type"][0] == "dpv:ConsentGiven"
        assert record["dpv:hasNotice"][0]["dpv:hasIdentifier"].startswith("sha256:")
        house.owner_json("consent", "refuse", "marketing")
        house.record(seed=2)
        after = next(one for one in house.one("sealed", count=2) if one["id"] != before["id"])
        assert house.readers(after["id"]) == {"owner", "vendor"}
        assert house.readers(before["id"]) == {"owner"}, "what was taken in before it is not shared by it"
        standing = house.standing()
        assert standing["analytics", "recording"]["allowed"]
        assert not standing["analytics", "photo"]["allowed"], "each category by itself"
        assert not standing["marketing", "usage-log"]["allowed"]
        assert standing["improvement", "usage-log"]["allowed"]

        listed = house.owner_json("consent", "list")["records"]
        assert len(listed) == 2
        assert listed == house.agent_json("consents")["records"]
        assert "marketing" in house.owner("consent", "list")


@pytest.mark.promise("CONSENT-WITHDRAW")
def test_withdrawal_stops_collection_and_upload_at_once_and_says_what_became_of_each_object(tmp_path: Path) -> None:
    with household(tmp_path) as house:
        house.choose(upload='rate = "400KB"')
        house.start_cloud()
        house.start_agent()
        house.owner_json("consent", "give", "analytics")
        house.record(seed=1)
        (stored,) = house.one("uploaded")
        house.photograph()
        (photo,) = house.one("sealed")
        house.record(seed=2, seconds=10, bits_per_s=8_000_000)
        waiting = next(one for one in house.one("sealed", count=2) if one["id"] != photo["id"])
        half = until(
            lambda: [one for one in house.events("ack") if one["upload"] != house.events("stored")[0]["upload"]],
            what="half of it at the store",
        )[0]

        withdrawn = house.owner_json("withdraw", "analytics")
        assert withdrawn["status"] == "done"
        outcomes = {one["id"]: (one["result"], one["remarks"]) for one in withdrawn["outcomes"]}
        assert outcomes == {
            stored["id"]: ("continues", ["store_copy_remains"]),
            photo["id"]: ("kept", []),
            waiting["id"]: ("resealed", ["half_upload_aborted"]),
        }
        assert house.readers(waiting["id"]) == {"owner"}
        assert house.readers(photo["id"]) == {"owner"}
        until(
            lambda: [one for one in house.events("erased") if one["upload"] == half["upload"]],
            what="what the store had of it erased",
        )
        house.stop("agent")
        (tmp_path / "policy.toml").write_text((tmp_path / "policy.toml").read_text().replace('rate = "400KB"', ""))
        house.start_agent()
        house.one("uploaded", count=2)
        assert not house.stored_opens_for_vendor(waiting["id"])
        assert house.stored_opens_for_vendor(stored["id"]), "earlier use stays lawful, and the receipt said so"

        count = len(house.held())
        house.photograph()
        until(lambda: "consent_withdrawn" in house.log_lines(), what="the next photo not taken in")
        house.record(seed=3)
        house.one("uploaded", count=3)
        assert len(house.held()) == count + 1
        assert all(house.readers(one["id"]) == {"owner"} for one in house.held() if one["id"] != stored["id"])


@pytest.mark.promise("OBJECT")
def test_purpose_is_objected_to_at_once_and_do_not_track_is_honoured(tmp_path: Path) -> None:
    with household(tmp_path) as house:
        house.choose()
        house.start_agent()
        log = house.spool / "front_door" / "usage-log"
        log.mkdir(parents=True)
        (log / "1.jsonl").write_text('{"event":"app_opened"}\n')
        (held,) = house.one("sealed")
        assert house.readers(held["id"]) == {"vendor"}
        objected = house.owner_json("object", "improvement")
        assert [(one["id"], one["result"]) for one in objected["outcomes"]] == [(held["id"], "deleted")]
        assert objected["records"][0]["@type"] == ["dpv:RightExerciseRecord"]
        (log / "2.jsonl").write_text('{"event":"app_closed"}\n')
        until(lambda: "objected" in house.log_lines(), what="the next log not taken in")
        assert house.held() == []

        house.owner_json("consent", "give", "improvement")
        (log / "3.jsonl").write_text('{"event":"app_shown"}\n')
        house.one("sealed")
        assert (log / "2.jsonl").exists(), "what was written while it was objected to stays where it is"
        tracked = house.owner_json("object", "--do-not-track", "on")
        assert [one["result"] for one in tracked["outcomes"]] == ["deleted"]
        assert house.agent_json("consents")["do_not_track"]
        assert not any(one["allowed"] for name, one in house.standing().items() if name[0] != "security")
        assert house.standing()["security", "recording"]["allowed"]
