"""The life of a recording, end to end, on real parts: taken in, sealed, uploaded, exported, deleted, and proved."""

import json
import re
import signal
from pathlib import Path

import pytest

from device_sim.broker import Engine
from tests.disk import as_root
from tests.flow.house import DEVICE, House
from tests.waiting import until


@pytest.mark.promise("AUDIT")
@pytest.mark.promise("ERASE")
@pytest.mark.promise("COLLECT-REC")
@pytest.mark.parametrize("engine", ["mosquitto", "amqtt"])
def test_recording_lives_and_dies_with_proof(tmp_path: Path, engine: Engine) -> None:
    with House(tmp_path, engine=engine) as house:
        house.start_cloud()
        house.start_agent()
        clip = house.record(seed=1)
        kept_clip = house.record(seed=2)
        first, second = sorted(house.one("uploaded", count=2), key=lambda item: item["captured_from"])
        until(lambda: not list(house.spool.rglob("*.mp4")), what="the spool given up")

        listed = house.owner_json("inventory")
        assert {row["id"] for row in listed["objects"]} == {first["id"], second["id"]}

        exported = house.owner_json("export", first["id"])
        folder = next((house.state / "vault" / "exports").iterdir())
        house.owner("open", folder, "-o", tmp_path / "opened")
        (opened,) = (tmp_path / "opened").glob("*.mp4")
        assert opened.read_bytes() == clip
        assert exported["status"] == "done"

        deleted = house.owner_json("delete", first["id"], "--yes")
        assert deleted["status"] == "done"
        (outcome,) = deleted["outcomes"]
        assert outcome["result"] == "deleted"
        assert "cloud_confirmed" in outcome["remarks"]
        assert outcome["stated_by"]
        assert not (house.state / "vault" / "objects" / first["id"]).exists()
        assert not (tmp_path / "cloud" / "store" / DEVICE / first["id"]).exists()
        assert [item["id"] for item in house.held()] == [second["id"]]

        (tmp_path / "audit.jsonl").write_text(house.run("privacy-agent", "audit", "show", "--config", house.config))
        assert "anchored" in house.owner("verify", tmp_path / "audit.jsonl")
        assert house.stop("agent") == 0

        stored = tmp_path / "cloud" / "store" / DEVICE / second["id"]
        (tmp_path / "whole.age").write_bytes((stored / "header").read_bytes() + (stored / "payload").read_bytes())
        house.run(
            "privacy-agent",
            "decrypt",
            "-i",
            house.home / "identity.txt",
            "-o",
            tmp_path / "clip.mp4",
            tmp_path / "whole.age",
        )
        assert (tmp_path / "clip.mp4").read_bytes() == kept_clip


@pytest.mark.promise("AUDIT")
def test_flipped_byte_of_the_log_is_named(tmp_path: Path) -> None:
    with House(tmp_path) as house:
        house.start_agent()
        house.record()
        house.one("sealed")
        house.owner_json("inventory")
        log = house.run("privacy-agent", "audit", "show", "--config", house.config)
        assert not [name for name in ("front_door", "Front door", ".mp4", str(house.spool)) if name in log]
        lines = log.splitlines()
        number = next(at for at, line in enumerate(lines) if json.loads(line).get("object"))
        lines[number] = lines[number].replace('"trusted":true', '"trusted":false')
        (tmp_path / "audit.jsonl").write_text("\n".join(lines) + "\n")
        answer = house.owner("verify", tmp_path / "audit.jsonl", expect=1)
        assert str(json.loads(log.splitlines()[number])["seq"]) in answer


def test_agent_killed_during_an_upload_sends_again_only_what_was_not_acknowledged(tmp_path: Path) -> None:
    with House(tmp_path, upload='rate = "2MB"') as house:
        house.start_cloud()
        house.start_agent()
        house.record(seconds=10, bits_per_s=8_000_000)

        def far() -> int:
            offsets = [event["offset"] for event in house.events("ack")]
            return offsets[-1] if offsets and offsets[-1] > 2_000_000 else 0

        until(far, what="2 MB acknowledged")
        house.kill("agent")
        acknowledged = house.events("ack")[-1]["offset"]
        house.start_agent()
        (item,) = house.one("uploaded")
        resumed = house.events("go")[-1]["offset"]
        assert resumed >= acknowledged > 0
        assert len(house.events("stored")) == 1
        assert house.events("stored")[0]["object"] == item["id"]


def test_broker_killed_during_an_upload_loses_nothing(tmp_path: Path) -> None:
    with House(tmp_path, upload='rate = "2MB"') as house:
        house.start_cloud()
        house.start_agent()
        house.record(seconds=8, bits_per_s=8_000_000)
        until(lambda: [one for one in house.events("ack") if one["offset"] > 2_000_000], what="2 MB acknowledged")
        assert house.broker is not None
        house.broker.kill()
        house.broker.start()
        house.one("uploaded")
        assert house.events("go")[-1]["offset"] > 0


@pytest.mark.promise("ERASE")
def test_delete_while_the_cloud_is_away_waits_and_finishes_when_it_is_back(tmp_path: Path) -> None:
    with House(tmp_path) as house:
        house.start_cloud()
        house.start_agent()
        house.record()
        (item,) = house.one("uploaded")
        house.kill("cloud")
        answer = house.owner("delete", item["id"], "--yes", "--timeout", "8", expect=1)
        assert "waits" in answer
        assert house.held() == []
        house.kill("agent")
        house.start_agent()
        house.start_cloud()
        house.owner("resend")
        receipts = house.owner_json("receipts")
        assert any(one["verb"] == "delete" and one["status"] == "done" for one in receipts)
        assert not (tmp_path / "cloud" / "store" / DEVICE / item["id"]).exists()


def test_commands_as_files_need_no_broker_and_no_running_agent(tmp_path: Path) -> None:
    with House(tmp_path) as house:
        house.start_agent()
        house.run(
            "device-sim", "camera", "--spool", house.spool, "--count", "1", "--rate", "0", "--no-clips", "--photos"
        )
        (item,) = house.one("sealed")  # a photo is not uploaded, so no store has to confirm anything
        house.stop("agent")
        house.owner("delete", item["id"], "--yes", "--out", tmp_path / "cmd.jws")
        house.agent_json("submit", tmp_path / "cmd.jws", "-o", tmp_path / "receipt.age")
        first = (tmp_path / "receipt.age").read_bytes()
        house.agent_json("submit", tmp_path / "cmd.jws", "-o", tmp_path / "receipt.age")
        assert (tmp_path / "receipt.age").read_bytes() == first, "a repeat gets the stored receipt (I4)"
        house.owner("receipt", tmp_path / "receipt.age")
        assert house.held() == []


@pytest.mark.promise("ERASE")
def test_deleted_file_that_returns_to_the_spool_is_not_taken_in_again(tmp_path: Path) -> None:
    with House(tmp_path) as house:
        house.start_cloud()
        house.start_agent()
        house.record()
        (item,) = house.one("uploaded")
        house.owner("delete", item["id"], "--yes", "--timeout", "20")
        house.record()  # the same seed writes the same bytes under the same name
        until(lambda: "deleted_before" in (tmp_path / "agent.log").read_text(), what="the return refused")
        assert house.held() == []


@pytest.mark.promise("EXPLAIN")
@pytest.mark.promise("RETAIN")
def test_photo_and_export_past_their_age_expire_by_themselves_and_explain_said_so_before(tmp_path: Path) -> None:
    with House(tmp_path, photo_age="3s") as house:
        with (tmp_path / "policy.toml").open("a") as policy:
            policy.write('[category.export]\npurpose = "access"\nseal_to = ["owner"]\nkeep.age = "1s"\n')
        house.start_agent()
        house.run(
            "device-sim", "camera", "--spool", house.spool, "--count", "1", "--rate", "0", "--no-clips", "--photos"
        )
        (photo,) = until(house.held, what="the photo held")
        told = house.agent_json("explain", photo["id"])
        assert told["decision"]["rule"] == "category.photo.keep.age"
        export = Path(house.agent_json("export")["folder"])
        assert list(export.iterdir())
        house.stop("agent")
        house.start_agent()  # retention passes at start, and each minute
        until(lambda: not house.held(), what="the photo expired", within_s=90)
        until(lambda: not export.exists(), what="the export expired", within_s=90)
        log = house.run("privacy-agent", "audit", "show", "--config", house.config)
        assert "category.photo.keep.age" in log
        assert "category.export.keep.age" in log


def test_export_by_the_person_at_the_machine_goes_to_the_owner_alone(tmp_path: Path) -> None:
    with House(tmp_path) as house:
        house.start_agent()
        clip = house.record()
        house.one("sealed")
        answer = house.agent_json("export", "--form", "zip")
        house.owner("open", answer["folder"], "-o", tmp_path / "opened")
        assert clip in [path.read_bytes() for path in (tmp_path / "opened").rglob("*.mp4")]


def test_second_agent_on_the_same_vault_is_refused(tmp_path: Path) -> None:
    with House(tmp_path) as house:
        house.start_agent()
        answer = house.run("privacy-agent", "run", "--config", house.config, expect=1)
        assert "another process has the vault open" in answer


@as_root  # nobody else may look into a process that is hardened, not even its own user
def test_nothing_listens_but_the_local_socket(tmp_path: Path) -> None:
    with House(tmp_path) as house:
        house.start_agent()
        pid = house._processes["agent"].pid
        inodes = {link.readlink().name for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()}
        listening = [
            line.split()
            for name in ("tcp", "tcp6", "udp", "udp6")
            for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]
        ]
        ours = [row for row in listening if f"socket:[{row[9]}]" in inodes and row[3] in {"0A", "07"}]
        assert ours == []
        mode = (house.state / "control.sock").stat().st_mode & 0o777
        assert mode == 0o660


def test_policy_is_read_anew_on_a_signal_and_a_bad_one_changes_nothing(tmp_path: Path) -> None:
    with House(tmp_path) as house:
        house.start_agent()
        log = tmp_path / "agent.log"
        policy = tmp_path / "policy.toml"
        good = policy.read_text()
        policy.write_text(good.replace('upload = "never"', 'upload = "perhaps"'))
        house.signal("agent", signal.SIGHUP)
        until(lambda: "was not changed" in log.read_text(), what="the bad policy refused")
        policy.write_text(good.replace("[category.recording]", "[camera.k3x9.recording]"))
        house.signal("agent", signal.SIGHUP)
        asked = re.compile(r"waits for its owner: privacy-owner approve (\w+) (\w+)")
        line = until(lambda: asked.search(log.read_text()), what="what would lift a limit asked about")
        house.owner("approve", line[1], line[2], "--yes")
        house.record()
        until(lambda: "no_rule" in log.read_text(), what="a category without a rule refused")
        assert house.held() == []
        assert list(house.spool.rglob("*.mp4")), "the source keeps its copy (I1)"
        assert not_taken(house) == ["no_rule"]
        policy.write_text(good)
        house.signal("agent", signal.SIGHUP)
        again = re.compile(rf"waits for its owner: privacy-owner approve (?!{line[1]})(\w+) (\w+)")
        line = until(lambda: again.search(log.read_text()), what="the category asked about")
        house.owner("approve", line[1], line[2], "--yes")
        until(lambda: len(house.held()) == 1, what="it taken in")
        assert not_taken(house) == [], "what another policy kept out is told no more"


def not_taken(house: House) -> list[str]:
    return [one["reason"] for source in house.agent_json("status")["sources"] for one in source["not_taken"]]
