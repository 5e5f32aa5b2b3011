"""What is not the device's own is off, listed, for a purpose, and logged; what is refused or kept has a reason."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent import age
from agent.app.integrations import OFF, integrations, note
from agent.config import parse_config
from agent.envelope import Key
from agent.index import Index
from agent.index import integration as rows
from agent.policy import Policy, parse_policy
from agent.policy.processing import record
from tests.commands.office import at, party
from tests.flow.house import House
from tests.waiting import until
from tests.writing import policy_text

LAB = age.generate_identity(post_quantum=True).recipient().to_text()
SHARED = f"""
lab = ["{LAB}"]
[purpose.research]
description = "To find out why photos are blurred."
basis = "consent"
seal_to = ["lab"]
"""


def test_nothing_is_on_that_nobody_turned_on_and_every_kind_is_listed(tmp_path: Path) -> None:
    config = parse_config(b'device = "cam-01"\n', file=tmp_path / "agent.toml")
    owner = age.generate_identity(post_quantum=False).recipient().to_text()
    policy = parse_policy(policy_text(owner, recording='keep = { age = "14d" }').encode(), file="policy.toml")
    assert integrations(config, policy, ()) == OFF
    assert all(not one.on and one.purpose and one.gets and one.by for one in OFF)


@pytest.mark.promise("THIRD-PARTY")
def test_one_in_the_place_of_another_of_its_kind_is_logged(tmp_path: Path) -> None:
    """Only how many there are was compared: another broker, key, camera or reader was no event."""
    index = Index(tmp_path / "index.db", key=bytes(32))
    owner = age.generate_identity(post_quantum=False).recipient().to_text()
    policy = parse_policy(policy_text(owner, recording='keep = { age = "14d" }').encode(), file="policy.toml")

    def look(
        policy: Policy, *keys: Key, url: str = "mqtts://one.example:8883", host: str = ""
    ) -> list[tuple[str, int]]:
        text = f'device = "cam-01"\n[broker]\nurl = "{url}"\ntenant = "acme"\nidentity = "tls"\n'
        stream = f'[[source]]\nkind = "rtsp"\nname = "yard"\nurl = "rtsp://{host}yard.lan/live"\n'
        config = parse_config((text + stream).encode(), file=tmp_path / "agent.toml")
        before = len(logged())
        found = integrations(config, policy, keys)
        index.write_now(lambda tx: note(tx, found, moment=at()))
        return logged()[before:]

    def logged() -> list[tuple[str, int]]:
        rows = index.read_now(lambda tx: tx.execute("SELECT line FROM audit ORDER BY seq"))
        entries = [json.loads(row[0]) for row in rows]
        return [(one["rule"], one["detail"]["now"]) for one in entries if one["kind"] == "integration_changed"]

    one, other = (party("backend", "cloud", "delete").key() for _ in range(2))
    assert look(policy, one) == [("backend", 1), ("broker", 1), ("rtsp", 1)]
    assert look(policy, one) == []
    assert look(policy, other) == [("backend", 1)], "another key under the name"
    assert look(policy, other, url="mqtts://two.example:8883") == [("broker", 1)]
    assert look(policy, other, url="mqtts://two.example:8883", host="new-") == [("rtsp", 1)]
    lab = msgspec.structs.replace(policy, recipients={**policy.recipients, "lab": (LAB,)})
    assert look(lab, other, url="mqtts://two.example:8883", host="new-") == [("reader", 1)]
    swapped = msgspec.structs.replace(policy, recipients={**policy.recipients, "lab": (owner,)})
    assert look(swapped, other, url="mqtts://two.example:8883", host="new-") == [("reader", 1)]
    index.close()


def test_what_an_older_version_counted_is_no_change(tmp_path: Path) -> None:
    index = Index(tmp_path / "index.db", key=bytes(32))
    config = parse_config(
        b'device = "cam-01"\n[broker]\nurl = "mqtts://a.example:8883"\ntenant = "acme"\nidentity = "tls"\n',
        file=tmp_path / "agent.toml",
    )
    policy = parse_policy(policy_text(LAB, recording='keep = { age = "14d" }').encode(), file="policy.toml")
    found = integrations(config, policy, ())
    index.write_now(lambda tx: rows.note(tx, "broker", count=1, which=b""))
    index.write_now(lambda tx: note(tx, found, moment=at()))
    assert index.read_now(lambda tx: tx.execute("SELECT count(*) FROM audit")) == [(0,)]
    ((_count, which),) = index.read_now(rows.known).values()
    assert which
    index.close()


def of_kind(house: House, kind: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = house.agent_json("integrations")["integrations"]
    return [one for one in found if one["kind"] == kind]


@pytest.mark.promise("THIRD-PARTY")
def test_reader_that_the_policy_names_is_listed_with_its_purpose_logged_and_gets_nothing_unasked(
    tmp_path: Path,
) -> None:
    with House(tmp_path) as house:
        policy = tmp_path / "policy.toml"
        text = policy.read_text().replace("\n[upload]", f"{SHARED}[upload]", 1)
        photo = text.index("[category.photo]")
        text = text[:photo] + text[photo:].replace('purpose = "security"', 'purposes = ["security", "research"]', 1)
        policy.write_text(text)
        house.start_agent()
        assert [one["on"] for one in of_kind(house, "discovery ble")] == [False]
        assert [(one["on"], one["purpose"]) for one in of_kind(house, "rtsp")] == [
            (False, "to take in what a camera streams")
        ]
        (reader,) = of_kind(house, "reader")
        assert (reader["name"], reader["on"], reader["purpose"]) == ("lab", True, "research of photo")
        assert {one["kind"] for one in house.agent_json("integrations")["integrations"] if one["on"]} == {
            "broker", "backend", "store", "reader",
        }  # fmt: skip

        def logged() -> set[str]:
            log = house.run("privacy-agent", "audit", "show", "--config", house.config)
            entries = [json.loads(line) for line in log.splitlines()]
            return {one["rule"] for one in entries if one.get("kind") == "integration_changed"}

        until(lambda: logged() == {"broker", "backend", "store", "reader"}, what="what is on written down")
        house.run(
            "device-sim", "camera", "--spool", house.spool, "--count", "1", "--rate", "0", "--no-clips", "--photos"
        )
        (item,) = house.one("sealed")
        assert LAB not in item["recipients"], "nobody consented to its purpose"


@pytest.mark.promise("EXPLAIN")
def test_what_is_refused_and_what_is_kept_say_by_which_rule_to_a_person(tmp_path: Path) -> None:
    with House(tmp_path) as house:
        policy = tmp_path / "policy.toml"
        text = policy.read_text()
        policy.write_text(text[: text.index("[category.photo]")])
        house.start_agent()
        house.record()
        (item,) = house.one("sealed")
        told = house.agent_json("explain", item["id"])
        assert (told["decision"]["stays_because"], told["decision"]["rule"]) == (
            "not_due",
            "category.recording.keep.age",
        )
        house.run(
            "device-sim", "camera", "--spool", house.spool, "--count", "1", "--rate", "0", "--no-clips", "--photos"
        )

        def refused() -> list[dict[str, Any]]:
            sources = house.agent_json("status")["sources"]
            return [one for source in sources for one in source["not_taken"] if "no_rule" in one["reason"]]

        until(refused, what="the photo refused, with its reason")

        shown = json.loads(house.run("privacy-agent", "policy", "record", "--config", house.config, "--json"))
        process, _exports = shown["dpv:hasProcess"]
        assert process["dpv:hasIdentifier"] == "category.recording"
        assert process["dpv:hasPurpose"][0]["dpv:hasLegalBasis"] == "dpv:Contract"
        assert process["dpv:hasRecipient"][0] == {"@type": ["dpv:Recipient"], "dct:title": "owner"}
        assert process["dpv:hasStorageCondition"]["dct:description"] == (
            "on this device erased after 14 days; at the store kept until it is deleted by the owner or a backend"
        )
        written = house.run("privacy-agent", "policy", "record", policy)
        assert "security (contract)" in written
        assert "erased after 14 days" in written


def test_record_names_every_rule_its_purposes_readers_places_and_limits() -> None:
    text = f"""version = 1
[recipients]
owner = ["{LAB}"]
lab = ["{LAB}"]
[upload]
regions = ["eu-central"]
[purpose.research]
description = "To find out why."
basis = "consent"
seal_to = ["lab"]
[category.photo]
purposes = ["security", "research"]
seal_to = ["owner"]
upload = "allowed"
keep = {{ age = "36h", size = "2GB", count = 7, disk_free = "10%" }}
[category.usage-log]
purpose = "research"
seal_to = ["owner"]
[category.usage-log.fields]
event = "keep"
ip.truncate = "/24"
serial = "drop"
"""
    photo, log, _exports = record(parse_policy(text.encode(), file="policy.toml"), device="cam-01")["dpv:hasProcess"]
    assert [one["dpv:hasLegalBasis"] for one in photo["dpv:hasPurpose"]] == ["dpv:Contract", "dpv:Consent"]
    told = [(one["@type"][0], one["dct:title"]) for one in photo["dpv:hasRecipient"]]
    assert told == [
        ("dpv:Recipient", "owner"),
        ("dpv:Recipient", "lab"),
        ("dpv:DataProcessor", "the store"),
        ("dpv:DataProcessor", "the backends of the owner's key set"),
    ]
    assert photo["dpv:hasLocation"] == ["this device", "eu-central"]
    assert "dpv:Transfer" in photo["dpv:hasProcessing"]
    words = photo["dpv:hasStorageCondition"]["dct:description"]
    assert words.endswith("at the store kept until it is deleted by the owner or a backend"), "36 hours are here"
    for part in ("after 36 hours", "above 2000000000 bytes", "above 7 of them", "short of room"):
        assert part in words
    assert log["dpv:hasLocation"] == ["this device"]
    assert "dpv:Transfer" not in log["dpv:hasProcessing"]
    assert log["dpv:hasStorageCondition"]["dct:description"] == "kept until the owner deletes it"
    assert "the store" not in [one["dct:title"] for one in log["dpv:hasRecipient"]]
    (data,) = log["dpv:hasPersonalData"]
    assert data["dct:description"] == "of its fields only these are kept, each by its rule: event, ip"


@pytest.mark.parametrize(("written", "days"), [("", 7), ("[category.export]\nKEEP", 7), ("[category.export]\nKEEP", 2)])
def test_record_tells_when_exports_end_and_that_no_store_gets_one(written: str, days: int) -> None:
    """Without an age of their own the record said that exports are kept until the owner deletes them."""
    keep = 'purpose = "access"\nseal_to = ["owner"]\nkeep = { size = "1GB"' + (', age = "2d" }' if days == 2 else " }")
    text = 'version = 1\n[recipients]\nowner = ["age1pq1owner"]\n' + written.replace("KEEP", keep)
    (exports,) = record(parse_policy(text.encode(), file="policy.toml"), device="cam-01")["dpv:hasProcess"]
    assert exports["dpv:hasIdentifier"] == "category.export"
    assert [one["dpv:hasIdentifier"] for one in exports["dpv:hasPurpose"]] == ["access"]
    assert [one["dct:title"] for one in exports["dpv:hasRecipient"]] == [
        "owner",
        "whom the owner names for one export",
        "the backends of the owner's key set",
    ]
    assert exports["dpv:hasLocation"] == ["this device", "where the owner has an export put"]
    assert exports["dpv:hasStorageCondition"]["dct:description"].startswith(f"erased after {days} days")
