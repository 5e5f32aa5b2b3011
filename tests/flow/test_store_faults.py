"""A store that lies, forges, loses and forgets: the agent gives nothing up and reports nothing without a valid word.

A local copy goes only on a storage receipt that the store's key signed over this very upload (I2); a deletion is
confirmed only by an erasure signed the same way, and then as that key's word (I6).
"""

import json
from pathlib import Path

import pytest

from agent.envelope import thumbprint
from tests.flow.directed import Directed
from tests.flow.house import DEVICE
from tests.waiting import until

FORGERIES = ("unknown_key", "stolen_kid", "other_device", "other_manifest")


def keep_newest(house: Directed, count: int) -> None:
    """Let the policy keep so many recordings; as many older ones wait for their upload first."""
    policy = house.folder / "policy.toml"
    before = 'upload = "before-expiry"\nkeep = { age = "14d" }\n[category.photo]'
    assert before in policy.read_text()
    policy.write_text(policy.read_text().replace(before, before.replace('age = "14d"', f"count = {count}")))


def stored_bytes(house: Directed, object_id: str) -> bytes:
    return (house.folder / "cloud" / "store" / DEVICE / object_id / "payload").read_bytes()


def local_bytes(house: Directed, object_id: str) -> bytes:
    return (house.state / "vault" / "objects" / object_id).read_bytes()


def store_kid(house: Directed) -> str:
    return thumbprint(json.loads((house.folder / "cloud" / "store.json").read_text())["jwk"])


def test_no_local_copy_is_given_up_on_a_forged_storage_receipt(tmp_path: Path) -> None:
    with Directed(tmp_path) as house:
        keep_newest(house, 2)
        # One of each first; an upload that is begun again on a busy machine is told nothing true either.
        specs = [*(f"forge={how}:stored" for how in FORGERIES), "lose=stored:1000"]
        house.start_cloud(*(word for spec in specs for word in ("--fault", spec)))
        house.start_agent()
        for seed in range(4):
            house.record(seed=seed)
        until(lambda: len(house.events("fault")) == 4, what="every forgery told")
        assert [item["state"] for item in house.held()] == ["sealed"] * 4
        house.restart_agent()  # its first retention pass would remove two, were they stored
        held = house.one("uploaded", count=4)
        assert all(stored_bytes(house, item["id"]) == local_bytes(house, item["id"]) for item in held)
        house.restart_agent()
        left = until(lambda: len(found := house.held()) == 2 and found, what="two given up, now that they are stored")
        newest = sorted(item["captured_from"] for item in held)[2:]
        assert sorted(item["captured_from"] for item in left) == newest
        assert len(list((tmp_path / "cloud" / "store" / DEVICE).glob("*/payload"))) == 4


@pytest.mark.parametrize("how", FORGERIES)
def test_no_deletion_is_confirmed_by_a_forged_erasure(tmp_path: Path, how: str) -> None:
    with Directed(tmp_path) as house:
        house.start_cloud("--fault", f"forge={how}:erased:500")
        house.start_agent()
        house.record()
        (item,) = house.one("uploaded")
        answer = house.owner("delete", item["id"], "--yes", "--timeout", "5", expect=1)
        assert "waits" in answer
        until(lambda: [one for one in house.events("fault") if one.get("how") == how], what=f"{how} sent")
        assert house.held() == []
        receipts = house.owner_json("receipts")
        assert {one["status"] for one in receipts if one["verb"] == "delete"} <= {"accepted", "waiting"}
        house.order("clear")
        house.restart_agent()
        house.owner("resend")
        assert [one for one in house.owner_json("receipts") if one["verb"] == "delete" and one["status"] == "done"]
        assert not list((tmp_path / "cloud" / "store" / DEVICE).glob("*/payload"))


def test_false_word_of_the_store_is_reported_as_its_word_and_never_as_ours(tmp_path: Path) -> None:
    with Directed(tmp_path) as house:
        house.start_cloud("--fault", "lie=wrong_hash", "--fault", "lie=not_erased:50")
        house.start_agent()
        house.record()
        until(lambda: "key_misused" in house.alerts(), what="the alert about other bytes")
        assert "corrupt_object" not in house.alerts(), "what is here is whole"
        assert [item["state"] for item in house.held()] == ["sealed"]
        house.restart_agent()
        (item,) = house.one("uploaded")
        (outcome,) = house.owner_json("delete", item["id"], "--yes")["outcomes"]
        assert outcome["result"] == "deleted"
        assert outcome["stated_by"] == store_kid(house)
        assert (tmp_path / "cloud" / "store" / DEVICE / item["id"] / "payload").exists(), "the store lied"


def test_what_a_rolled_back_store_lost_is_sent_again_and_nothing_else(tmp_path: Path) -> None:
    with Directed(tmp_path) as house:
        house.start_cloud()
        house.start_agent()
        house.record(seed=1)
        house.record(seed=2)
        house.one("uploaded", count=2)
        house.order("snapshot")
        house.record(seed=3)
        held = house.one("uploaded", count=3)
        lost = max(held, key=lambda item: item["captured_from"])["id"]
        begun = {one["upload"] for one in house.events("begin")}
        house.order("roll_back")
        assert not (tmp_path / "cloud" / "store" / DEVICE / lost).exists()
        house.record(seed=4)
        until(lambda: len(house.events("stored")) == 5, what="the lost one and the new one stored")
        (*_, new) = sorted(house.one("uploaded", count=4), key=lambda item: item["captured_from"])
        assert {one["object"] for one in house.events("stored")[3:]} == {lost, new["id"]}
        assert len({one["upload"] for one in house.events("begin")} - begun) == 2
        assert stored_bytes(house, lost) == local_bytes(house, lost)
        assert "store_rolled_back" in house.alerts()


def test_rolled_back_store_has_nothing_again_that_it_had_erased(tmp_path: Path) -> None:
    # Its backup brought back what it had signed as erased, and nobody asked for it any more.
    with Directed(tmp_path) as house:
        house.start_cloud()
        house.start_agent()
        house.record()
        (item,) = house.one("uploaded")
        house.order("snapshot")
        place = tmp_path / "cloud" / "store" / DEVICE / item["id"]
        assert (place / "payload").exists()
        (outcome,) = house.owner_json("delete", item["id"], "--yes")["outcomes"]
        assert "cloud_confirmed" in outcome["remarks"]
        house.order("roll_back")
        assert not (place / "payload").exists()
        assert not (place / "header").exists()


def test_receipt_for_what_was_never_kept_is_found_out_at_the_next_connection(tmp_path: Path) -> None:
    with Directed(tmp_path) as house:
        house.start_cloud("--fault", "lie=not_stored")
        house.start_agent()
        house.record(seconds=6, bits_per_s=6_000_000)
        (item,) = house.one("uploaded")
        assert not (tmp_path / "cloud" / "store" / DEVICE / item["id"]).exists(), "the store lied"
        house.restart_agent()
        until(lambda: len(house.events("stored")) == 2, what="it is sent again")
        house.one("uploaded")
        assert stored_bytes(house, item["id"]) == local_bytes(house, item["id"])
        assert "store_rolled_back" in house.alerts()


def test_store_that_acknowledges_what_it_does_not_have_gets_nothing_given_up(tmp_path: Path) -> None:
    with Directed(tmp_path) as house:
        house.start_cloud("--fault", "lie=ack_ahead:3")
        house.start_agent()
        clip = house.record(seconds=6, bits_per_s=6_000_000)
        until(lambda: house.events("fault"), what="the store lies")
        (item,) = house.one("uploaded")
        assert stored_bytes(house, item["id"]) == local_bytes(house, item["id"]), (
            "the rest was sent once it was asked for"
        )
        assert item["bytes"] == len(clip), "the recording is here whatever the store says"


def test_messages_lost_twice_late_and_in_disorder_end_in_the_same_bytes(tmp_path: Path) -> None:
    faults = (
        "lose=begin:1", "duplicate=go:1", "duplicate=chunk:3:5", "reorder=chunk:10", "lose=chunk:14:2",
        "delay=upload-ack:0.5:1:2", "lose=upload-ack:3", "lose=end:1", "duplicate=stored:1",
    )  # fmt: skip
    with Directed(tmp_path) as house:
        house.start_cloud(*(word for fault in faults for word in ("--fault", fault)))
        house.start_agent()
        house.record(seconds=6, bits_per_s=6_000_000)
        (item,) = house.one("uploaded")
        assert {one["fault"] for one in house.events("fault")} == {"lose", "duplicate", "reorder", "delay"}
        assert stored_bytes(house, item["id"]) == local_bytes(house, item["id"])
        house.fault("duplicate=erase", "delay=erased:0.3", "duplicate=erased")
        (outcome,) = house.owner_json("delete", item["id"], "--yes")["outcomes"]
        assert "cloud_confirmed" in outcome["remarks"]
        assert house.held() == []


def test_refused_region_and_full_store_keep_everything_here_and_say_so(tmp_path: Path) -> None:
    with Directed(tmp_path) as house:
        keep_newest(house, 1)
        house.start_cloud("--fault", "refuse_region")
        house.start_agent()
        house.record(seed=1)
        house.record(seed=2)
        until(lambda: "upload_region_refused" in house.alerts(), what="the alert")
        assert house.events("ack") == []
        house.order("clear")
        house.fault("no_room")
        house.restart_agent()
        until(lambda: [one for one in house.events("failed") if one["reason"] == "no_room"], what="no room answered")
        assert [item["state"] for item in house.held()] == ["sealed"] * 2, "over the limit, and kept: not stored yet"
        house.order("clear")
        house.restart_agent()
        house.one("uploaded", count=2)
