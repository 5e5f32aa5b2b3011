"""The deadline of an owner's request: kept through restarts, warned of, told once it is over, shown by ``status``."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agent.app.alarm import Alarm
from agent.app.answering import look_at_requests
from agent.app.parts import Parts
from agent.app.verbs import offline
from agent.model import new_id
from agent.policy.working_day import DAY_MS
from agent.rights import deadline
from tests.app.station import START_S, Station

DUE = "2027-02-06T00:00:00.000Z"
"""15 working days behind START_S, a Friday."""


def waiting(station: Station, who: str = "client") -> bytes:
    """Return a delete that waits for a command that never comes, for a month."""
    party = getattr(station, who)
    exp = START_S + 30 * 86_400
    return station.command(party, "delete", select={"category": "photo"}, after=new_id(), exp=exp)


async def look(parts: Parts) -> list[str]:
    """Look at the deadlines and return what stands."""
    alarm = Alarm(index=parts.index, trust=parts.trust, outbox=parts.outbox)
    await look_at_requests(parts, alarm, parts.now())
    found = await parts.index.read(parts.outbox.alerts)
    return [code for code, _since, count in found for _ in range(count) if code.startswith("request_")]


async def status(parts: Parts) -> dict[str, Any]:
    told = await offline(parts, "status", {}, progress=lambda _told: None)
    found: dict[str, Any] = told["requests"]
    return found


async def asked(station: Station, parts: Parts) -> list[dict[str, Any]]:
    raw = station.command(station.client, "requests", exp=START_S + 30 * 86_400)
    receipt = (await parts.commands.submit(raw, moment=parts.now())).receipt
    told: list[dict[str, Any]] = station.client.open(receipt)["requests"]
    return told


@pytest.mark.promise("RECTIFY")
def test_request_is_warned_of_once_told_once_it_is_over_and_both_end_with_the_answer(tmp_path: Path) -> None:
    station = Station(tmp_path)

    async def days(count: int) -> tuple[list[str], list[str], dict[str, Any], list[dict[str, Any]]]:
        station.let_pass(count * DAY_MS)
        async with station.parts() as parts:  # each time the agent was started anew
            return await look(parts), await look(parts), await status(parts), await asked(station, parts)

    async def begin() -> dict[str, Any]:
        async with station.parts() as parts:
            submitted = await parts.commands.submit(waiting(station), moment=parts.now())
            return station.client.open(submitted.receipt)

    told = asyncio.run(begin())
    assert (told["status"], told["due"]) == ("waiting", DUE)

    first, again, shown, listed = asyncio.run(days(0))
    assert first == again == []
    assert shown == {"open": 1, "overdue": 0, "due_soon": 0, "next_due": DUE}
    assert [(one["command"], one["state"], one["working_days_left"]) for one in listed] == [(told["cmd"], "open", 15)]

    first, again, shown, _ = asyncio.run(days(18))
    assert first == again == ["request_due"]
    assert (shown["due_soon"], shown["overdue"]) == (1, 0)

    first, again, shown, listed = asyncio.run(days(4))
    assert first == again == ["request_overdue"]
    assert (shown["due_soon"], shown["overdue"]) == (0, 1)
    assert [one["state"] for one in listed] == ["overdue"]

    station.let_pass(9 * DAY_MS)

    async def end() -> tuple[list[str], dict[str, Any], tuple[deadline.Clock, ...]]:
        async with station.parts() as parts:
            await parts.commands.tick(parts.now())
            return await look(parts), await status(parts), await parts.index.read(deadline.clocks)

    alerts, shown, (clock,) = asyncio.run(end())
    assert alerts == []
    assert shown == {"open": 0, "overdue": 0, "due_soon": 0}
    assert (clock.status, deadline.view(clock, moment=_now(station))["state"]) == ("refused", "answered_late")


def _now(station: Station) -> Any:  # noqa: ANN401 - a moment
    async def read() -> Any:  # noqa: ANN401 - a moment
        async with station.parts() as parts:
            return parts.now()

    return asyncio.run(read())


def test_clock_starts_when_the_owner_signed_and_not_when_the_device_came_back(tmp_path: Path) -> None:
    station = Station(tmp_path)
    raw = waiting(station)
    station.let_pass(10 * DAY_MS)

    async def take() -> str:
        async with station.parts() as parts:
            due: str = station.client.open((await parts.commands.submit(raw, moment=parts.now())).receipt)["due"]
            return due

    assert asyncio.run(take()) == DUE


def test_request_that_is_answered_at_once_is_listed_as_answered(tmp_path: Path) -> None:
    station = Station(tmp_path)

    async def take() -> list[dict[str, Any]]:
        async with station.parts() as parts:
            raw = station.command(station.client, "delete", select={"category": "photo"})
            await parts.commands.submit(raw, moment=parts.now())
            return await asked(station, parts)

    (told,) = asyncio.run(take())
    assert (told["state"], told["status"], "working_days_left" in told) == ("answered", "done", False)


def test_policy_with_fewer_days_answers_earlier(tmp_path: Path) -> None:
    station = Station(tmp_path)
    document = station.config.policy.read_text().replace("[recipients]", "[requests]\nworking_days = 5\n[recipients]")
    station.config.policy.write_text(document)

    async def take() -> str:
        async with station.parts() as parts:
            due: str = station.client.open((await parts.commands.submit(waiting(station), moment=parts.now())).receipt)[
                "due"
            ]
            return due

    assert asyncio.run(take()) == "2027-01-23T00:00:00.000Z"


def test_answered_requests_are_kept_in_a_bounded_number(tmp_path: Path) -> None:
    station = Station(tmp_path)

    async def fill() -> int:
        async with station.parts() as parts:

            def many(tx: Any) -> int:  # noqa: ANN401 - a transaction
                moment = parts.now()
                for _ in range(deadline.ANSWERED_KEPT + 5):
                    jti = new_id()
                    deadline.start(tx, jti, verb="delete", iat_s=START_S, working_days=15, moment=moment)
                    deadline.stop(tx, jti, status="done", moment=moment)
                return int(tx.execute("SELECT count(*) FROM request_clock")[0][0])

            return await parts.index.write(many)

    assert asyncio.run(fill()) == deadline.ANSWERED_KEPT
