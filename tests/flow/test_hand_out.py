"""What is wrong is corrected, what is asked for is handed over: agent, broker, cloud, owner and third party, whole."""

import json
from pathlib import Path

import pytest

from agent import age, envelope
from agent.envelope import TYP_CORRECTION
from tests.flow.house import DEVICE, House
from tests.handing.inbox import inbox
from tests.waiting import until


@pytest.mark.promise("RECTIFY")
def test_wrong_name_is_corrected_here_and_at_the_store_for_whoever_can_read_its_copy(tmp_path: Path) -> None:
    with House(tmp_path) as house:
        house.start_cloud()
        house.start_agent()
        house.record()
        (item,) = house.one("uploaded")
        about = ("--camera", item["camera"], "--name", "Hintertür", "--location", "Hof")
        told = house.owner_json(
            "rectify", *about, "--timeout", "30"
        )  # less than a minute, when all is looked at anyway
        assert told["status"] == "done"
        (outcome,) = told["outcomes"]
        assert (outcome["id"], outcome["result"]) == (item["camera"], "rectified")
        assert outcome["stated_by"]
        assert house.held()[0]["camera_label"] == "Hintertür"
        assert house.agent_json("explain", item["id"])["camera_location"] == "Hof"

        kept = tmp_path / "cloud" / "store" / DEVICE / item["id"] / "camera.correction"
        assert "Hintertür".encode() not in kept.read_bytes()
        house.owner("decrypt", "-o", tmp_path / "correction.jws", kept)
        statement = envelope.parse((tmp_path / "correction.jws").read_bytes(), typ=TYP_CORRECTION)
        descriptor = envelope.parse_descriptor((house.state / "device.jws").read_bytes())
        claims = envelope.verify(statement, jwk=descriptor.jwk, alg=descriptor.alg)
        assert (claims["name"], claims["location"], claims["objects"]) == ("Hintertür", "Hof", [item["id"]])


@pytest.mark.promise("RECTIFY")
def test_correction_waits_for_a_store_that_is_away_and_is_listed_with_its_deadline(tmp_path: Path) -> None:
    with House(tmp_path) as house:
        house.start_cloud()
        house.start_agent()
        house.record()
        (item,) = house.one("uploaded")
        house.kill("cloud")
        answer = house.owner("rectify", item["id"], "--name", "parcel.mp4", "--timeout", "8", expect=1)
        assert "waits for a store's confirmation" in answer
        assert house.held()[0]["name"] == "parcel.mp4"
        (request,) = [one for one in house.owner_json("requests") if one["verb"] == "rectify"]
        assert (request["state"], request["working_days_left"]) == ("open", 15)
        house.kill("agent")
        before = len(house.events("subscribed"))
        house.start_cloud()
        until(lambda: len(house.events("subscribed")) > before, what="the cloud back")
        house.start_agent()
        house.owner("resend")
        assert [one["state"] for one in house.owner_json("requests")] == ["answered"]


@pytest.mark.promise("EXPORT")
def test_export_goes_to_the_third_party_that_the_owner_named_and_only_it_can_read_it(tmp_path: Path) -> None:
    friend = age.generate_identity(post_quantum=True)
    with House(tmp_path) as house, inbox(tmp_path / "third") as third:
        policy = (tmp_path / "policy.toml").read_text()
        (tmp_path / "policy.toml").write_text(f'{policy}\n[delivery]\nprivate_hosts = ["127.0.0.1"]\n')
        config = house.config.read_text()
        house.config.write_text(f'{config}\n[delivery]\nca = "{third.ca}"\n')
        house.start_agent()
        clip = house.record()
        (item,) = house.one("sealed")
        recipient = friend.recipient().to_text()
        asked = ("export", item["id"], "--recipient", recipient, "--put", third.url, "--party", "Insurer")

        answer = house.owner(*asked, expect=2)
        assert "who will be able to read it" in answer
        assert "you yourself are not among them" in answer
        assert "Nobody is here to be asked; nothing was done" in answer
        assert third.asked == []

        told = house.owner_json(*asked, "--yes")
        assert told["status"] == "done"
        assert told["export"]["delivery"]["state"] == "delivered"
        (body,) = [body for path, body in third.taken.items() if path.endswith(f"{item['id']}.age")]
        assert age.decrypt(body, [friend]) == clip
        (manifest,) = [body for path, body in third.taken.items() if path.endswith("manifest.jws.age")]
        (tmp_path / "manifest.age").write_bytes(manifest)
        assert "none of the identities opens this file" in house.owner("decrypt", tmp_path / "manifest.age", expect=1)
        assert list((house.state / "vault" / "exports").iterdir()) == []
        copies = house.agent_json("explain", item["id"])["copies"]
        assert [one["state"] for one in copies if "Insurer" in one["where"]] == ["handed out"]


@pytest.mark.promise("EXPORT")
def test_export_under_way_goes_on_when_the_agent_was_killed(tmp_path: Path) -> None:
    friend = age.generate_identity(post_quantum=False).recipient().to_text()
    with House(tmp_path) as house, inbox(tmp_path / "third") as third:
        policy = (tmp_path / "policy.toml").read_text()
        (tmp_path / "policy.toml").write_text(f'{policy}\n[delivery]\nprivate_hosts = ["127.0.0.1"]\n')
        house.config.write_text(f'{house.config.read_text()}\n[delivery]\nca = "{third.ca}"\n')
        house.start_agent()
        house.record(seed=1)
        house.record(seed=2)
        house.one("sealed", count=2)
        third.holds.clear()
        asked = ("export", "--all", "--recipient", friend, "--put", third.url, "--party", "Insurer", "--yes")
        house.owner(*asked, "--timeout", "2", expect=1)
        until(third.arrived.is_set, what="the first file at the third party")
        house.kill("agent")
        third.holds.set()
        house.start_agent()
        house.owner("resend")
        (receipt,) = [
            one for one in house.owner_json("receipts") if one["verb"] == "export" and one["status"] == "done"
        ]
        assert json.dumps(receipt["export"]["delivery"]["taken"]) == "3"
        assert len(third.taken) == 3
