"""Counts of usage logs: told with noise, each line once, for a purpose, and never beyond the budget."""

import asyncio
import json
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from agent import counting
from agent.app import counts
from agent.app.parts import Parts
from agent.errors import ConfigError, CorruptError, LinkError, RefusedError
from agent.noise import client
from agent.noise.message import Answer, Question
from tests.app.station import Station
from tests.intake import take_in
from tests.writing import policy_text

T = TypeVar("T")

SOURCE = '[[source]]\nkind = "spool"\nname = "spool"\npath = "{path}"\nmedium = "disk"\n'
FIELDS = """\
keep = { age = "14d" }
[category.usage-log.fields]
event = "keep"
"""
RULES = f"""{FIELDS}
[category.usage-log.counts]
purpose = "security"
epsilon = 10
budget = 20
event = ["motion", "album"]
"""
NEAR = 4
"""By epsilon 10 a count is off by more than this once in the age of the universe."""


class Desk:
    """A device whose camera writes logs."""

    def __init__(self, folder: Path) -> None:
        self.spool = folder / "spool"
        self.spool.mkdir()
        self.station = Station(folder, sources=SOURCE.format(path=self.spool))
        self.written = 0
        self.obey(RULES)

    def obey(self, rules: str) -> None:
        text = policy_text(self.station.recipient, recording="", usage_log=rules)
        text = text.replace('purpose = "support"', 'purpose = "security"')
        self.station.config.policy.write_text(text, encoding="utf-8")

    def log(self, *events: str) -> None:
        self.written += 1
        path = self.spool / f"front/usage-log/2026-11-22T{self.written:02}-00-00.000Z.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(json.dumps({"event": event, "n": 1}).encode() + b"\n" for event in events))

    def do(self, act: Callable[[Parts], Awaitable[T]]) -> T:
        """Open the device anew, as each start does, take in what is there, and do something."""

        async def run() -> T:
            async with self.station.parts() as parts:
                await take_in(parts)
                return await act(parts)

        return asyncio.run(run())

    def told(self) -> dict[str, int]:
        return dict(self.do(counts.tell)["counts"]["event"])

    def spent(self) -> float:
        return float(self.do(counts.standing)["spent"])


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.mark.promise("DEIDENTIFY")
def test_counts_are_told_once_with_noise_and_never_beyond_the_budget_whatever_starts_again(desk: Desk) -> None:
    desk.log(*["motion"] * 100, *["album"] * 30, *["wifi"] * 50)
    first = desk.told()
    assert abs(first["motion"] - 100) <= NEAR
    assert abs(first["album"] - 30) <= NEAR
    assert set(first) == {"motion", "album"}, "what the policy does not name is counted by nobody"
    assert desk.spent() == pytest.approx(10)
    desk.log(*["motion"] * 50)
    second = desk.told()
    assert abs(second["motion"] - 50) <= NEAR, "a line is in one telling only"
    desk.log(*["motion"] * 70)
    with pytest.raises(RefusedError, match="the privacy budget is spent"):
        desk.told()
    standing = desk.do(counts.standing)
    assert standing["spent"] == pytest.approx(20)
    assert standing["last"]["counts"]["event"] == second, "what was told stays as it was told"

    async def kinds(parts: Parts) -> list[str]:
        lines = await parts.index.read(lambda tx: tx.execute("SELECT line FROM audit ORDER BY seq"))
        return [json.loads(line)["kind"] for (line,) in lines]

    assert desk.do(kinds).count("counts_told") == 2


def test_index_from_before_a_telling_is_refused_and_tells_nothing_again_with_other_noise(
    desk: Desk, tmp_path: Path
) -> None:
    desk.log("motion")
    assert desk.spent() == 0
    index, copy = desk.station.config.index, tmp_path / "index.db"
    shutil.copy(index, copy)
    desk.told()
    shutil.copy(copy, index)
    with pytest.raises(CorruptError, match="lacks root"):
        desk.told()


def test_what_was_deleted_before_it_was_told_is_not_told(desk: Desk) -> None:
    desk.log(*["motion"] * 100)
    desk.log(*["album"] * 100)

    async def delete(parts: Parts) -> None:
        ids = await parts.index.read(lambda tx: [item.id for item in parts.vault.page(tx)])
        await parts.erasure.erase(tuple(ids), actor="owner", rule="owner_erase", command="c" * 26, moment=parts.now())

    desk.do(delete)
    desk.log(*["album"] * 10)
    told = desk.told()
    assert abs(told["motion"]) <= NEAR
    assert abs(told["album"] - 10) <= NEAR


def test_nothing_is_spent_or_lost_where_the_noise_does_not_come(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.log(*["motion"] * 100)
    with monkeypatch.context() as patch:
        patch.setattr(client, "ANSWER_S", 0.0)
        with pytest.raises(LinkError, match="died"):
            desk.told()
    assert desk.spent() == 0
    assert abs(desk.told()["motion"] - 100) <= NEAR


def test_log_that_comes_while_the_noise_is_made_is_for_the_next_telling(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.log(*["motion"] * 100)

    async def tell(parts: Parts) -> dict[str, Any]:
        async def ask(question: Question) -> Answer:
            desk.log(*["motion"] * 500)
            await take_in(parts)
            return await client.ask(question)

        monkeypatch.setattr(counts, "ask", ask)
        return await counts.tell(parts)

    first = desk.do(tell)["counts"]["event"]
    monkeypatch.undo()
    assert abs(first["motion"] - 100) <= NEAR
    assert abs(desk.told()["motion"] - 500) <= NEAR


def test_one_telling_takes_so_many_logs_and_says_that_there_are_more(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        desk.log(*["motion"] * 100)
        desk.do(counts.standing)
    monkeypatch.setattr(counts, "LOGS_MAX", 2)
    first = desk.do(counts.tell)
    assert first["more"]
    assert abs(first["counts"]["event"]["motion"] - 200) <= NEAR
    second = desk.do(counts.tell)
    assert not second["more"]
    assert abs(second["counts"]["event"]["motion"] - 100) <= NEAR


def test_policy_that_counts_nothing_has_nothing_counted_or_told(desk: Desk) -> None:
    desk.obey(FIELDS)
    desk.log(*["motion"] * 100)
    with pytest.raises(ConfigError, match="lets nothing be counted"):
        desk.told()
    desk.obey(RULES)
    assert abs(desk.told()["motion"]) <= NEAR

    async def rows(parts: Parts) -> Any:  # noqa: ANN401 - rows
        return await parts.index.read(lambda tx: counting.objects(tx, after=""))

    assert desk.do(rows) == []


def test_noise_is_new_each_time_and_costs_what_was_asked() -> None:
    async def asked() -> Answer:
        return await client.ask(Question(((1000, 0), (5,)), 0.5))

    answers = [asyncio.run(asked()) for _ in range(3)]
    assert all(answer.spent == pytest.approx(1.0) for answer in answers)
    assert len({answer.histograms for answer in answers}) > 1, "by chance alike three times: once in 10**4 or less"
    assert all(abs(answer.histograms[0][0] - 1000) < 200 for answer in answers)
