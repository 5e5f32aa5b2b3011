"""A recorder keeps its log open for ever and rotates it; the agent beside it is killed at any moment."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.flow.house import House
from tests.waiting import until

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


class Recorder:
    """Writes numbered lines of one length into a log that is always open."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "hall" / "usage-log" / "recorder.jsonl"
        self.log.parent.mkdir(parents=True)
        self._fd = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.written: list[bytes] = []

    def write(self) -> None:
        line = b'{"event":"motion","n":%06d}\n' % (10**5 + len(self.written))
        self.written.append(line)
        half = len(line) // 2
        os.write(self._fd, line[:half])
        os.write(self._fd, line[half:])

    def rotate_by_renaming(self) -> None:
        self.log.rename(self.log.with_name(f"{self.log.name}.{len(self.written)}"))
        os.close(self._fd)
        self._fd = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def rotate_by_copying(self) -> None:
        self.log.with_name(f"{self.log.name}.{len(self.written)}").write_bytes(self.log.read_bytes())
        os.truncate(self.log, 0)

    def close(self) -> None:
        os.close(self._fd)


def lines_in(house: House) -> Iterator[bytes]:
    """Return every line that the owner finds in an export of all that is held."""
    answer = house.agent_json("export", "--form", "zip")
    opened = house.folder / "opened"
    house.owner("open", answer["folder"], "-o", opened)
    for path in sorted(opened.rglob("*.jsonl")):
        yield from path.read_bytes().splitlines(keepends=True)


@pytest.mark.promise("COLLECT-LOGS")
def test_log_that_is_never_closed_is_sealed_line_by_line_through_kills_and_rotations(tmp_path: Path) -> None:
    live(tmp_path)


def test_the_same_holds_for_a_log_under_field_rules(tmp_path: Path) -> None:
    live(tmp_path, rules='[category.usage-log.fields]\nevent = "keep"\nn.round = 1\n')


def live(tmp_path: Path, *, rules: str = "") -> None:
    """Write, rotate, delete and kill, and look that each line is held once; the rules leave the lines as they are."""
    with House(tmp_path) as house:
        with (tmp_path / "policy.toml").open("a") as policy:
            policy.write(rules)
        recorder = Recorder(tmp_path / "recorder")
        with house.config.open("a") as config:
            config.write(SOURCE.format(path=tmp_path / "recorder"))
        house.start_cloud()
        house.start_agent()

        def logs() -> list[dict[str, Any]]:
            return [item for item in house.held() if item["category"] == "usage-log"]

        def held(count: int) -> list[dict[str, Any]]:
            return until(
                lambda: logs() if sum(item["bytes"] for item in logs()) == count * len(recorder.written[0]) else None,
                what=f"{count} lines sealed",
            )

        recorder.write()
        recorder.write()
        for item in held(2):
            house.owner("delete", item["id"], "--yes", "--timeout", "20")
        assert logs() == []
        for act in (recorder.write, recorder.rotate_by_renaming, recorder.write, recorder.rotate_by_copying):
            recorder.write()
            act()
            recorder.write()
            house.kill("agent")  # wherever it is with this
            recorder.write()
            house.start_agent()
            held(len(recorder.written) - 2)
        assert sorted(lines_in(house)) == recorder.written[2:]
        told = house.agent_json("status")["field_rules"]
        assert (told["recorder"]["lines"] if rules else len(recorder.written)) == len(recorder.written)
        recorder.close()
