"""Every kind of event that the documents name is really written down, in the transaction of its change.

Seven of them never were; a policy that deleted more than the one before left no trace.
"""

import ast
import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from agent import audit, chain, registry, tombstone
from agent.app.parts import Parts
from agent.app.running import run
from agent.control import ask
from agent.errors import SpaceError
from agent.index import Index, Tx
from agent.model import Moment
from agent.timeline import EARLIEST_MS, LEAP_MS, Timeline
from tests.app.station import Station
from tests.store.home import Home
from tests.store.home import run as wait_for
from tests.time.test_timeline import START, reading

AGENT = Path(__file__).resolve().parents[2] / "agent"
NOW = Moment(agent_ms=START, wall_ms=START, trusted=True)


def kinds_in(tree: ast.AST) -> Iterator[str]:
    """Yield what is handed as ``kind`` to an event, or to what makes one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "kind" and isinstance(node.value, ast.Constant):
            yield str(node.value.value)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id
            if name == "_note":
                yield from (str(one.value) for one in node.args if isinstance(one, ast.Constant))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "kind":
            yield from (str(one.value) for one in ast.walk(node) if isinstance(one, ast.Constant))


def test_no_kind_is_documented_that_nothing_writes() -> None:
    written = {
        kind
        for path in AGENT.rglob("*.py")
        if path.name != "chain.py"
        for kind in kinds_in(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert set(get_args(chain.EventKind)) - written == set()


def log(index: Index) -> list[dict[str, Any]]:
    return [json.loads(line) for line in index.read_now(lambda tx: audit.entries(tx, 0))[1] if b'"kind"' in line]


def of(index: Index, kind: str) -> list[dict[str, Any]]:
    return [entry for entry in log(index) if entry["kind"] == kind]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# --- the policy


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return Station(tmp_path)


def while_open(station: Station, look: Callable[[Parts], Any]) -> Any:  # noqa: ANN401 - whatever is looked at
    async def live() -> Any:  # noqa: ANN401 - the same
        async with station.parts() as parts:
            found = look(parts)
            return await found if isinstance(found, Awaitable) else found

    return asyncio.run(live())


def changes(parts: Parts) -> list[tuple[str, str, str]]:
    return [(one["actor"], one["detail"]["sha256"], one["rule"]) for one in of(parts.index, "policy_changed")]


def stricter(station: Station) -> str:
    station.config.policy.write_text(station.config.policy.read_text().replace('"14d"', '"1d"'))
    return sha256(station.config.policy)


def test_policy_that_changed_while_the_agent_was_off_stands_in_the_log(station: Station) -> None:
    first = sha256(station.config.policy)
    assert while_open(station, changes) == [("local", first, "")]
    assert while_open(station, changes) == [("local", first, "")], "the same policy is no change"
    second = stricter(station)
    assert while_open(station, changes) == [("local", first, ""), ("local", second, "")]


def test_policy_that_is_reloaded_stands_in_the_log_before_it_is_obeyed(station: Station) -> None:
    async def reload(parts: Parts) -> None:
        before = parts.policy
        second = stricter(station)

        def full(_tx: Tx) -> None:
            raise SpaceError("the disk is full")

        write, parts.index.write = parts.index.write, lambda _fn, **_more: write(full)  # type: ignore[method-assign] # a disk without room
        with pytest.raises(SpaceError):
            await parts.propose(station.config.policy.read_bytes())
        assert parts.policy is before, "what the log could not take is not obeyed"
        parts.index.write = write  # type: ignore[method-assign] # and back
        await parts.propose(station.config.policy.read_bytes())
        assert parts.policy != before
        assert [one[1] for one in changes(parts)][-1] == second

    while_open(station, reload)


# --- the life of the process


def test_start_reload_and_stop_of_the_agent_stand_in_the_log(station: Station) -> None:
    async def live() -> None:
        stop, reload, ready = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def direct() -> None:
            await ready.wait()
            stricter(station)
            reload.set()
            told: list[str] = []
            while sum('"policy_changed"' in line for line in told) < 2:
                answer = await ask(station.config.socket, "audit", {}, progress=lambda _step: None)
                told = answer["lines"]
            stop.set()

        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            group.create_task(direct(), name="direct")
            await run(station.config, read_clock=station.read_clock, stop=stop, reload=reload, ready=ready.set)

    asyncio.run(live())
    told = while_open(station, lambda parts: [entry["kind"] for entry in log(parts.index)])
    life = [kind for kind in told if kind in {"started", "stopped", "policy_changed"}]
    assert life == ["policy_changed", "started", "policy_changed", "stopped"]


# --- the clock


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    made = Index(tmp_path / "index.db", key=bytes(32))
    yield made
    made.close()


def test_every_change_of_what_is_thought_of_the_clock_stands_in_the_log(index: Index) -> None:
    line = Timeline()
    looks = [
        reading(EARLIEST_MS, 1000, synchronised=False),
        reading(START, 2000),
        reading(START + 1000, 3000),
        reading(START + 2 * LEAP_MS, 4000),
        reading(0, 1000, boot="two", synchronised=False),
    ]
    for look in looks:
        line.look(look)
        index.write_now(line.keep)
    index.write_now(lambda tx: line.sign_in(tx, looks[-1], now_ms=START + 2 * LEAP_MS))
    told = [(entry["rule"], entry["trusted"]) for entry in of(index, "clock_changed")]
    assert told == [("trusted", True), ("jump", False), ("unsure", False), ("signed", True)]
    at = [entry["at"] for entry in of(index, "clock_changed")]
    assert at == sorted(at)


# --- cameras, uploads, marks


def test_camera_is_enrolled_once_and_its_label_stands_nowhere(index: Index) -> None:
    for _ in range(2):
        name = index.write_now(lambda tx: registry.camera_id(tx, "door", "Haustür", moment=NOW))
    (entry,) = of(index, "camera_enrolled")
    assert entry["detail"] == {"camera": name}
    assert "Haust" not in json.dumps(log(index), ensure_ascii=False)


def test_upload_that_may_leave_a_copy_stands_in_the_log_with_its_store(tmp_path: Path) -> None:
    home = Home(tmp_path / "vault")
    kept = wait_for(home.keep())
    home.upload(kept.id, stored=False)
    (entry,) = of(home.index, "upload_begun")
    assert (entry["object"], entry["detail"]) == (kept.id, {"store": "store"})
    home.close()


def test_mark_stands_in_the_log_when_it_moves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tombstone, "TOMBSTONES_MAX", 8)
    home = Home(tmp_path / "vault")
    times = [1_700_000_000_000 + 1000 * number for number in range(12)]
    for time_ms in times:
        kept = wait_for(home.keep(source_copy="left", captured_from_ms=time_ms, captured_to_ms=time_ms + 1))
        wait_for(home.erase(kept.id))
    moved = of(home.index, "mark_moved")
    before = [entry["detail"]["before"] for entry in moved]
    assert before == [time_ms + 1 for time_ms in times[: len(before)]]
    assert before
    assert {entry["detail"]["camera"] for entry in moved} == {"cam1"}
    home.close()
