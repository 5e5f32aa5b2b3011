"""Each limit of a policy ends what is beyond it by itself: without a network, through a kill, by a clock that lies."""

import json
from pathlib import Path

import pytest

from tests.flow.house import House
from tests.waiting import until

CLIP = 'upload = "before-expiry"\nkeep = { age = "14d" }'
PHOTO = 'upload = "never"\nkeep = { age = "14d" }'


@pytest.mark.promise("RETAIN")
def test_number_and_size_keep_the_newest_without_a_network_through_a_kill(tmp_path: Path) -> None:
    with House(tmp_path) as house:
        assert house.broker is not None
        house.broker.stop()
        policy = tmp_path / "policy.toml"
        text = policy.read_text()
        assert CLIP in text
        assert PHOTO in text
        text = text.replace(CLIP, 'keep = { size = "700kB" }', 1)
        policy.write_text(text.replace(PHOTO, "keep = { count = 2 }"))

        def rules() -> set[str]:
            log = house.run("privacy-agent", "audit", "show", "--config", house.config)
            return {json.loads(line).get("rule", "") for line in log.splitlines()}

        def left(category: str) -> list[str]:
            return sorted(one["captured_from"] for one in house.held() if one["category"] == category)

        def start() -> None:
            house.start("agent", "privacy-agent", "run", "--config", house.config, "-v")
            until((house.state / "control.sock").exists, what="the agent up")

        def taken() -> bool:
            return not [path for path in house.spool.rglob("*.*") if path.is_file()]

        start()
        for seed in (1, 2, 3):  # what came last is the newest
            assert 250_000 < len(house.record(seed=seed)) < 350_000
            until(taken, what="a clip taken in", within_s=90)
        photos = ("--count", "4", "--rate", "0", "--no-clips", "--photos")
        house.run("device-sim", "camera", "--spool", house.spool, *photos)
        until(taken, what="the photos taken in", within_s=90)
        house.kill("agent")
        (house.state / "control.sock").unlink(missing_ok=True)
        start()
        until(lambda: len(left("photo")) == 2, what="two photos left", within_s=90)
        until(lambda: len(left("recording")) == 2, what="two clips left", within_s=90)
        assert left("recording") == ["2026-03-01T10:17:00.000Z", "2026-03-01T10:18:00.000Z"]
        assert {"category.recording.keep.size", "category.photo.keep.count"} <= rules()
