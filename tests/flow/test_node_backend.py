"""A store and a backend in another language, written from docs/ alone, take the place of ours and nothing else changes.

What both sides said is told as JSON and checked here against docs/schemas.
"""

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from tests.conftest import NODE, NODE_TESTS, RunNode
from tests.flow.house import TENANT, House
from tests.waiting import until

BACKEND = NODE_TESTS / "backend" / "main.mjs"
DOCS = Path(__file__).parents[2] / "docs"
SCHEMAS = DOCS / "schemas"
VECTORS = DOCS / "vectors"

STRANGER = "age1qyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqs3290gq"

pytestmark = pytest.mark.usefixtures("node_modules")


class NodeHouse(House):
    """A household whose cloud is the Node backend."""

    _cloud: subprocess.Popen[bytes]

    @staticmethod
    def first(folder: Path) -> None:
        NodeHouse(folder).set_up()

    def init_cloud(self) -> None:
        subprocess.run([NODE, BACKEND, "init", "--dir", self.folder / "cloud"], check=True, timeout=60)

    def start_cloud(self, *arguments: str) -> None:
        already = len(self.events("online"))
        self._cloud = self.start_process(
            "cloud", NODE, BACKEND, "--dir", self.folder / "cloud", "--broker", self.url, "--identity",
            self.folder / "tls" / "backend", "--tenant", TENANT, "--device-descriptor", self.state / "device.jws",
            *arguments, stdin=subprocess.PIPE,
        )  # fmt: skip
        until(lambda: len(self.events("online")) > already, what="the Node backend online")

    def kill(self, name: str) -> None:
        super().kill(name)
        self._hang_up(name)

    def stop(self, name: str) -> int:
        code = super().stop(name)
        self._hang_up(name)
        return code

    def _hang_up(self, name: str) -> None:
        if name == "cloud" and self._cloud.stdin is not None:
            self._cloud.stdin.close()

    def events(self, kind: str) -> list[dict[str, Any]]:
        return super().events(kind) if (self.folder / "cloud.log").exists() else []

    def kids(self) -> dict[str, str]:
        """Return the key ids of backend and store."""
        kids: dict[str, str] = self.events("online")[0]["kids"]
        return kids

    def heard(self, kind: str, **having: str) -> list[dict[str, Any]]:
        """Return the claims of what the device said so far, of one kind and with these claims."""
        return self._claims("heard", kind, having)

    def said(self, kind: str, **having: str) -> list[dict[str, Any]]:
        """Return the claims of what store and backend said so far."""
        return self._claims("said", kind, having)

    def _claims(self, event: str, kind: str, having: dict[str, str]) -> list[dict[str, Any]]:
        found = [told["claims"] for told in self.events(event) if told["kind"] == kind]
        return [claims for claims in found if having.items() <= claims.items()]

    def tell(self, **command: object) -> None:
        """Give the backend a line of its standard input and wait until it has done it."""
        done = len(self.events("did"))
        assert self._cloud.stdin is not None
        self._cloud.stdin.write(json.dumps(command).encode() + b"\n")
        self._cloud.stdin.flush()
        until(lambda: len(self.events("did")) > done, what=f"the backend doing {command}")

    def command(self, verb: str, **own: object) -> dict[str, Any]:
        """Have the backend send a command and return its terminal receipt."""
        self.tell(do=verb, **own)
        jti = self.said("command")[-1]["jti"]
        receipt: dict[str, Any] = until(lambda: self.terminal(jti), what=f"the receipt of {verb}")[0]
        return receipt

    def terminal(self, jti: str) -> list[dict[str, Any]]:
        """Return the terminal receipts of a command, repeats included."""
        return [told for told in self.heard("receipt", cmd=jti) if told["status"] in {"done", "partial", "refused"}]

    def part(self, upload: str, part: str) -> Path:
        """Tell where the store keeps a part of an upload."""
        return self.folder / "cloud" / "store" / f"{upload}.{part}"

    def opened(self, upload: str) -> bytes:
        """Return what the owner's identity opens of header and payload as they are stored."""
        whole = self.folder / "whole.age"
        whole.write_bytes(self.part(upload, "header").read_bytes() + self.part(upload, "payload").read_bytes())
        self.run(
            "privacy-agent", "decrypt", "-i", self.home / "identity.txt", "-o", self.folder / "opened.mp4", whole
        )  # fmt: skip
        return (self.folder / "opened.mp4").read_bytes()

    def upload_of(self, object_id: str) -> str:
        """Return the upload under which the store holds an object."""
        told: list[dict[str, Any]] = until(lambda: self.said("stored", object=object_id), what=f"{object_id} stored")
        return str(told[-1]["upload"])

    def erased(self, upload: str) -> list[dict[str, Any]]:
        """Return what the store said of the removal of an upload, the first answer first."""
        return [item for told in self.said("erased") for item in told["items"] if item["upload"] == upload]

    def check_schemas(self, *events: str) -> set[str]:
        """Validate what was heard (from the device) or said (to it) against the schemas; returns the kinds."""
        texts = {path.name: json.loads(path.read_text()) for path in SCHEMAS.glob("*.json")}
        registry: Registry[Any] = Registry().with_resources(
            [(name, Resource.from_contents(schema)) for name, schema in texts.items()]
        )
        seen = set()
        for told in [told for event in events for told in self.events(event)]:
            Draft202012Validator(texts[told["kind"] + ".json"], registry=registry).validate(told["claims"])
            seen.add(told["kind"])
        assert self.events("dropped") == []
        return seen


def test_every_vector_is_read_by_the_backend(run_node: RunNode) -> None:
    told = json.loads(run_node("backend/vectors.mjs", VECTORS).stdout)
    assert told["wrong"] == []
    vectors = json.loads((VECTORS / "messages.json").read_text())["vectors"]
    assert sum(told["read"].values()) == len(vectors)
    assert set(told["read"]) == {vector["kind"] for vector in vectors}


def test_uploads_are_stored_listed_exported_and_deleted(tmp_path: Path) -> None:
    with NodeHouse(tmp_path) as house:
        house.start_cloud()
        house.start_agent()
        clip = house.record(seed=1)
        house.record(seed=2)
        first, second = sorted(house.one("uploaded", count=2), key=lambda item: item["captured_from"])
        upload = house.upload_of(first["id"])
        assert hashlib.sha256(house.opened(upload)).digest() == hashlib.sha256(clip).digest()

        listed = house.command("inventory", select={"all": True})
        assert listed["status"] == "done"
        assert [set(outcome["object"]) for outcome in listed["outcomes"]] == [{"id", "category", "bytes", "state"}] * 2
        assert {outcome["id"] for outcome in listed["outcomes"]} == {first["id"], second["id"]}

        exported = house.command("export", select={"ids": [second["id"]]}, form="objects")
        assert exported["status"] == "done"
        assert exported["export"]["files"]
        assert [set(file) for file in exported["export"]["files"]] == [{"bytes", "sha256"}] * len(
            exported["export"]["files"]
        )
        assert "ront" not in json.dumps(exported)  # Front door, front_door

        deleted = house.command("delete", select={"ids": [first["id"]]})
        assert deleted["status"] == "done"
        (outcome,) = deleted["outcomes"]
        assert outcome["id"] == first["id"]
        assert outcome["result"] == "deleted"
        assert "cloud_confirmed" in outcome["remarks"]
        assert outcome["stated_by"] == house.kids()["store"]
        ids = hashlib.sha256(f"{first['id']}\n".encode()).hexdigest()
        assert deleted["selection"] == {"count": 1, "hash": ids}
        assert not house.part(upload, "header").exists()
        assert not house.part(upload, "payload").exists()
        assert (house.erased(upload)[0]["header"], house.erased(upload)[0]["payload"]) == ("erased", "erased")

        by_owner = house.upload_of(second["id"])
        assert house.owner_json("delete", second["id"], "--yes")["status"] == "done"
        assert (house.erased(by_owner)[0]["header"], house.erased(by_owner)[0]["payload"]) == ("erased", "erased")
        assert not house.part(by_owner, "payload").exists()
        until(lambda: second["id"] not in {held["id"] for held in house.held()}, what="the object given up")

        assert house.check_schemas("heard", "said") >= {
            "command", "ack", "receipt", "begin", "end", "erase", "go", "upload-ack", "stored", "erased", "state",
        }  # fmt: skip


def test_backend_killed_in_mid_upload_resumes_from_its_durable_offset(tmp_path: Path) -> None:
    with NodeHouse(tmp_path) as house:
        house.start_cloud("--stall-at", str(3 << 20))
        house.start_agent()
        clip = house.record(seconds=8, bits_per_s=8_000_000)
        assert len(clip) > 6 << 20
        acknowledged = until(
            lambda: [told for told in house.said("upload-ack") if told["offset"] >= 2 << 20], what="two MiB durable"
        )[-1]
        payload = house.part(acknowledged["upload"], "payload")
        until(lambda: payload.stat().st_size > 3 << 20, what="bytes that are written and not durable")
        house.kill("cloud")
        durable = house.said("upload-ack")[-1]["offset"]
        before = len(house.said("go"))

        house.start_cloud()
        resumed = until(lambda: house.said("go")[before:], what="leave to go on")[0]
        assert resumed["upload"] == acknowledged["upload"]
        assert resumed["manifest"] == acknowledged["manifest"]
        assert resumed["offset"] == durable
        house.one("uploaded")
        assert {told["upload"] for told in house.said("stored")} == {acknowledged["upload"]}
        assert house.opened(acknowledged["upload"]) == clip
        house.check_schemas("heard", "said")


def test_receipts_repeat_until_they_are_acknowledged(tmp_path: Path) -> None:
    with NodeHouse(tmp_path) as house:
        house.start_cloud()
        house.start_agent()
        house.tell(do="acks", on=False)
        jti = house.command("inventory", select={"all": True})["cmd"]
        house.stop("agent")
        house.start_agent()
        until(lambda: len(house.terminal(jti)) > 1, what="the receipt again")

        house.tell(do="acks", on=True)
        house.stop("agent")
        house.start_agent()
        until(lambda: house.said("ack"), what="an acknowledgement")
        # What follows was sent behind the ack on the same connection, so the agent has taken the ack in.
        house.command("inventory", select={"all": True})
        repeats = len(house.terminal(jti))
        house.stop("agent")
        house.start_agent()
        house.command("inventory", select={"all": True})
        assert len(house.terminal(jti)) == repeats
        house.check_schemas("heard", "said")


def test_store_that_lost_an_object_gets_it_again(tmp_path: Path) -> None:
    with NodeHouse(tmp_path) as house:
        house.start_cloud()
        house.start_agent()
        clip = house.record()
        (item,) = house.one("uploaded")
        lost = house.upload_of(item["id"])
        house.stop("agent")
        house.kill("cloud")
        (tmp_path / "cloud" / "store").rename(tmp_path / "gone")

        house.start_cloud()
        house.start_agent()
        again = until(
            lambda: [told for told in house.said("stored", object=item["id"]) if told["upload"] != lost],
            what="the object under a new upload id",
        )[0]
        assert house.opened(again["upload"]) == clip
        assert house.said("go", upload=lost)[-1]["re"] == house.heard("resync")[-1]["jti"]
        assert "resync" in house.check_schemas("heard", "said")


def test_delete_of_what_is_half_sent_leaves_nothing_at_the_store(tmp_path: Path) -> None:
    with NodeHouse(tmp_path) as house:
        house.start_cloud("--stall-at", str(2 << 20))
        house.start_agent()
        house.record(seconds=8, bits_per_s=8_000_000)
        acknowledged = until(lambda: house.said("upload-ack"), what="a part of the recording at the store")[0]
        deleted = house.command("delete", select={"ids": [house.held()[0]["id"]]})
        assert deleted["status"] == "done"
        assert deleted["outcomes"][0]["stated_by"] == house.kids()["store"]
        assert not house.part(acknowledged["upload"], "header").exists()
        assert not house.part(acknowledged["upload"], "payload").exists()
        assert house.held() == []
        assert house.said("stored") == []
        house.check_schemas("heard", "said")


def test_commands_against_a_rule_are_refused_by_its_name(tmp_path: Path) -> None:
    everything = {"all": True}
    with NodeHouse(tmp_path) as house:
        house.start_cloud()
        house.start_agent()

        def refused(verb: str, **own: object) -> tuple[str, str]:
            receipt = house.command(verb, **own)
            assert receipt["status"] == "refused"
            return receipt["reason"], receipt["retry"]

        assert refused("approve", command="a" * 26, selection="0" * 64) == ("verb_not_allowed", "never")
        assert refused("export", select=everything, form="zip", to=[STRANGER]) == ("not_granted", "never")
        assert refused("inventory", select=everything, iat=900, exp=1000) == ("expired", "after_fix")
        assert refused("frobnicate", seq=7) == ("unknown_verb", "after_fix")
        assert refused("inventory", select=everything, unheard_of=1, seq=7) == ("malformed", "after_fix")
        assert refused("inventory", select=everything, aud="cam-02", seq=7) == ("wrong_audience", "never")
        # None of the last three used its number up; a command that is carried out does.
        assert house.command("inventory", select=everything, seq=7)["status"] == "done"
        assert refused("inventory", select=everything, seq=7) == ("seq_reused", "after_fix")

        assert house.command("inventory", select=everything, seq=5000)["status"] == "done"
        stale = house.command("inventory", select=everything, seq=7)
        assert (stale["reason"], stale["next_seq"]) == ("stale_seq", 5001)
        # The backend learns its next number from the receipt.
        assert house.command("inventory", select=everything)["seq"] > 5000
        house.check_schemas("heard")
