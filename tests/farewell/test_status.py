"""What ``status`` shows of a device that is leaving its owner."""

import re
from pathlib import Path

from tests.flow.house import House


def test_owner_who_leaves_is_told_by_the_key_alone(tmp_path: Path) -> None:
    with House(tmp_path) as house:
        house.start_agent()
        house.owner("erase-all", "--yes", "--out", house.folder / "erase.cmd")
        house.run("privacy-agent", "submit", house.folder / "erase.cmd", "--config", house.config)
        told = house.run("privacy-agent", "status", "--config", house.config)
    assert re.search(r"^owner +gone  \([0-9a-f]{4} ", told, re.MULTILINE), told
