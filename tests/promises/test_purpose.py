"""What is taken in is read for the purposes that are allowed, and by nobody else; proved with the ``age`` of others."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.flow.house import DEVICE, House
from tests.waiting import until

READERS = ("owner", "support", "vendor")

POLICY = """\
version = 1
[recipients]
owner = ["{owner}"]
support = ["{support}"]
vendor = ["{vendor}"]
[upload]
regions = ["eu"]
[purpose.diagnosis]
description = "To find out why the camera fails."
basis = "contract"
seal_to = ["support"]
[purpose.analytics]
description = "To see which functions are used."
seal_to = ["vendor"]
[category.usage-log]
purposes = ["security", "diagnosis", "analytics"]
seal_to = ["owner"]
upload = "allowed"
[category.photo]
purpose = "analytics"
seal_to = ["owner"]
"""

SOURCE = """
[[source]]
kind = "spool"
name = "recorder"
path = "{path}"
after = "leave"
medium = "disk"
settle = "1s"
rescan = "1s"
batch_age = "1s"
"""

LINES = b'{"event":"motion","at":1}\n{"event":"wifi","at":2}\n'


class Home:
    """A household with three readers, and a recorder that writes logs and photos."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.identities = {name: house.folder / f"{name}.age" for name in READERS}
        keys = {name: self._key(path) for name, path in self.identities.items()}
        (house.folder / "policy.toml").write_text(POLICY.format(**keys))
        self.recorder = house.folder / "recorder"
        for category in ("usage-log", "photo"):
            (self.recorder / "hall" / category).mkdir(parents=True)
        with house.config.open("a") as config:
            config.write(SOURCE.format(path=self.recorder))

    @staticmethod
    def _key(path: Path) -> str:
        subprocess.run(["age-keygen", "-o", path], check=True, capture_output=True)
        told = subprocess.run(["age-keygen", "-y", path], check=True, capture_output=True, text=True)
        return told.stdout.strip()

    def put(self, category: str, name: str, content: bytes) -> None:
        """Write what the recorder gives."""
        (self.recorder / "hall" / category / name).write_bytes(content)

    def stored(self) -> Path:
        """Return the folder of the one object that the store confirmed."""
        (item,) = self.house.one("uploaded")
        return self.house.folder / "cloud" / "store" / DEVICE / str(item["id"])

    def reads(self, stored: Path) -> Iterator[str]:
        """Yield who opens what lies at the store, with the stock tool."""
        whole = (stored / "header").read_bytes() + (stored / "payload").read_bytes()
        for name, identity in self.identities.items():
            done = subprocess.run(["age", "-d", "-i", identity], input=whole, capture_output=True, check=False)
            if done.returncode == 0:
                assert done.stdout == LINES
                yield name

    def log(self, kind: str) -> list[dict[str, Any]]:
        """Return the audit log's entries of one kind."""
        text = self.house.run("privacy-agent", "audit", "show", "--config", self.house.config)
        return [entry for line in text.splitlines() if (entry := json.loads(line)).get("kind") == kind]


@pytest.mark.promise("PURPOSE-KEY")
def test_log_is_read_by_those_whose_purposes_are_allowed_and_by_nobody_else(tmp_path: Path) -> None:
    with House(tmp_path) as house:
        home = Home(house)
        house.start_cloud()
        house.start_agent()
        home.put("usage-log", "a.jsonl", LINES)
        assert list(home.reads(home.stored())) == ["owner", "support"], "nobody consented to analytics"
        assert [item["purposes"] for item in house.held()] == [["security", "diagnosis"]]


@pytest.mark.promise("COLLECT-LEGIT")
def test_category_without_an_allowed_purpose_never_reaches_the_storage_and_that_is_said(tmp_path: Path) -> None:
    with House(tmp_path) as house:
        home = Home(house)
        house.start_agent()
        home.put("photo", "2026-03-01T10-15-00.000Z.jpg", b"\xff\xd8\xff\xe0 nobody consented")
        until(lambda: home.log("ingest_refused") or house.held(), what="it was looked at")
        told = home.log("ingest_refused")
        assert [(one["rule"], one["detail"]["reason"]) for one in told] == [("purpose.analytics", "no_consent")]
        home.put("usage-log", "a.jsonl", LINES)
        (item,) = house.one("sealed")
        assert item["category"] == "usage-log", "a purpose that is off breaks no other"
        assert list((house.state / "vault" / "objects").iterdir()) == [house.state / "vault" / "objects" / item["id"]]


@pytest.mark.promise("RESIDENCY")
def test_recording_is_stored_in_the_region_that_the_policy_names_and_nowhere_else(tmp_path: Path) -> None:
    with House(tmp_path, upload='regions = ["eu"]') as house:
        house.start_cloud("--region", "us")
        house.start_agent()
        house.record()

        def ended() -> bool:
            alerts = {one["code"] for one in house.agent_json("status")["alerts"]}
            return "upload_region_refused" in alerts or bool(house.events("stored"))

        until(ended, what="the store refused")
        assert house.events("ack") == [], "not a byte of it"
        assert not list((tmp_path / "cloud" / "store").rglob("payload"))
        house.stop("cloud")
        house.stop("agent")
        house.start_cloud("--region", "eu")
        house.start_agent()
        (item,) = house.one("uploaded")
        assert [one["where"] for one in house.agent_json("explain", item["id"])["copies"]][-1] == "store, region eu"
