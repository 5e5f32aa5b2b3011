"""What has no answer is counted where somebody sees it: in ``status``, and in the log also when silence follows."""

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest

from agent import audit
from agent.app.ignored import ignored
from agent.broker import Counters
from agent.cli.ignored import ignored_words
from agent.commands.stranger import AUDIT_PAUSE_MS
from agent.control import ask
from agent.errors import RefusedError
from tests.app.resident import resident
from tests.app.station import Station
from tests.commands.office import party


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return Station(tmp_path)


async def told(station: Station, verb: str, **args: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    answer: dict[str, Any] = await ask(station.config.socket, verb, args, progress=lambda _step: None)
    return answer


async def forge(station: Station, count: int) -> None:
    nobody = party("client", "nobody", "inventory")
    for _ in range(count):
        file = base64.b64encode(station.command(nobody, "inventory", select={"all": True})).decode("ascii")
        with pytest.raises(RefusedError):
            await told(station, "submit", file=file)


def numbers(lines: list[str]) -> list[int]:
    found = [json.loads(line) for line in lines if '"command_refused"' in line]
    return [line["detail"]["count"] for line in found if line["rule"] == "unknown_key"]


def test_agent_tells_what_it_ignored_and_writes_the_rest_at_the_end_of_the_pause(station: Station) -> None:
    async def act() -> None:
        assert (await told(station, "status"))["ignored"] == {}
        await forge(station, 3)
        assert (await told(station, "status"))["ignored"] == {"commands": {"unknown_key": 3}}
        station.let_pass(AUDIT_PAUSE_MS)
        lines: list[str] = []
        while sum(numbers(lines)) < 3:  # the deadline of the test ends it
            lines = (await told(station, "audit"))["lines"]
        assert numbers(lines) == [1, 2]

    asyncio.run(resident(station, act))


def test_ordered_stop_of_the_agent_writes_what_the_pause_collected(station: Station) -> None:
    async def log() -> list[str]:
        async with station.parts() as parts:
            _first, lines = await parts.index.read(lambda tx: audit.entries(tx, 0))
            return [line.decode() for line in lines if b'"kind"' in line]

    asyncio.run(resident(station, lambda: forge(station, 3)))
    lines = asyncio.run(log())
    assert numbers(lines) == [1, 2]
    kinds = [json.loads(line)["kind"] for line in lines]
    assert [kind for kind in kinds if kind in {"command_refused", "stopped"}] == [*2 * ["command_refused"], "stopped"]


def test_only_what_came_is_told_and_of_a_device_without_a_line_nothing_of_one() -> None:
    assert ignored(line=None, commands={"flood": 0}, answers={}) == {}
    line = Counters(connections=2, ignored_retained=1, dropped_full=2, dropped_large=3, dropped_topic=4)
    assert ignored(line=line, commands={"flood": 5, "unreadable": 0}, answers={"late_go": 6}) == {
        "line": {"retained": 1, "queue_full": 2, "too_large": 3, "unknown_topic": 4},
        "commands": {"flood": 5},
        "answers": {"late_go": 6},
    }


def test_counts_are_one_line_of_plain_words() -> None:
    counts = {
        "line": {"retained": 1},
        "commands": {"bad_signature": 3},
        "answers": {"bad_signature": 2, "late_go": 4, "late_stored": 5, "some_reason": 1},
    }
    assert ignored_words(counts) == (
        "late answers of a store: 9, forged commands: 3, forged answers of a store: 2, retained messages: 1, "
        "answers: some reason: 1 (since the start)"
    )
