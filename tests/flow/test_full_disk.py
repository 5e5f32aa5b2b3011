"""The device's disk is full to the last byte: new recordings stay with their source, everything else goes on."""

import json
import os
import re
from pathlib import Path

from tests.disk import as_root, fill, small_disk
from tests.flow.house import House
from tests.waiting import until

CLIP_BYTES = 6_000_000


def is_full(eaten: Path) -> bool:
    """Take every free byte, and tell whether none is free then."""
    fill(eaten)
    return os.statvfs(eaten).f_bavail == 0


@as_root
def test_full_disk_refuses_the_new_loudly_and_still_deletes_and_answers(tmp_path: Path) -> None:
    with small_disk(tmp_path / "state", size="64m"), House(tmp_path) as house:
        eaten = house.state / "eaten"

        def alerts() -> list[str]:
            return [one["code"] for one in house.agent_json("status")["alerts"]]

        house.start_cloud()
        house.start_agent()
        for seed in (1, 2, 3):
            house.record(seed=seed)
        first, second, third = house.one("uploaded", count=3)
        until(lambda: not list(house.spool.rglob("*.mp4")), what="the spool given up")

        fill(eaten)
        content = house.record(seed=4)
        until(lambda: "disk_full" in alerts(), what="the full disk said aloud")
        (kept,) = house.spool.rglob("*.mp4")
        assert kept.read_bytes() == content, "the source keeps what was refused"
        assert len(house.held()) == 3

        until(lambda: is_full(eaten), what="no byte free, whatever the agent gives back meanwhile", pace_s=0)
        looked = house.run("privacy-agent", "doctor", "--offline", "--config", house.config, expect=1)
        assert re.search(rf"^disk +look +{re.escape(str(house.state))}: \d+ B of [\d.]+ MB free$", looked, re.MULTILINE)
        assert re.search(r"^alert +bad +disk_full since ", looked, re.MULTILINE)
        receipt = house.owner_json("delete", first["id"], "--yes")
        assert (receipt["status"], receipt["outcomes"][0]["result"]) == ("done", "deleted")

        house.kill("agent")
        assert is_full(eaten)
        house.start_agent()  # a start has no more room than a delete
        receipt = house.owner_json("delete", second["id"], "--yes")
        assert receipt["status"] == "done"
        fill(eaten)
        assert [row["id"] for row in house.owner_json("inventory")["objects"]] == [third["id"]]
        assert "consistent" in house.run("privacy-agent", "audit", "verify", "--config", house.config)
        log = house.run("privacy-agent", "audit", "show", "--config", house.config)
        told = [entry for line in log.splitlines() if (entry := json.loads(line)).get("object") == second["id"]]
        assert len(told) > 1, "taken in, and deleted"
        assert kept.read_bytes() == content

        eaten.unlink()
        until(lambda: len(house.held()) == 2, what="the refused recording taken in", within_s=90)
        until(lambda: not kept.exists(), what="the spool given up")
        until(lambda: "disk_full" not in alerts(), what="the alert ended")


@as_root
def test_full_disk_gives_the_oldest_up_for_the_new_where_the_policy_says_so(tmp_path: Path) -> None:
    with small_disk(tmp_path / "state", size="96m"), House(tmp_path) as house:
        policy = house.folder / "policy.toml"
        policy.write_text(policy.read_text().replace('keep = { age = "14d" }', 'on_full = "drop-oldest"', 1))
        house.start_cloud()
        house.start_agent()
        folder = house.spool / "front_door" / "recording"
        folder.mkdir(parents=True)
        names = [f"2026-03-01T10-{minute:02}-00.000Z_2s.mp4" for minute in range(20)]  # 120 MB in all
        for name in names:
            (house.spool / "part").write_bytes(os.urandom(CLIP_BYTES))
            (house.spool / "part").rename(folder / name)
            until(lambda: not list(folder.iterdir()), what=f"{name} taken in", within_s=90)
        captured = [item["captured_from"] for item in house.held()]
        assert "2026-03-01T10:19:00.000Z" in captured
        assert "2026-03-01T10:00:00.000Z" not in captured
        assert len(captured) > 5, "no more went than had to"
        log = house.run("privacy-agent", "audit", "show", "--config", house.config)
        assert '"rule":"category.recording.on_full"' in log
