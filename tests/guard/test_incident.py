"""An incident is told the owner, signed: what changed, what it affects, what to do; again until it is acknowledged."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.app.alarm import MEANING
from agent.timeline import LEAP_MS
from device_sim.cloud.keys import Party
from tests.app.resident import alerts, resident
from tests.app.station import Station
from tests.flow.hostile import Hostile, besieged
from tests.waiting import until


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hostile]:
    with besieged(tmp_path_factory.mktemp("incident")) as found:
        yield found


def standing(hostile: Hostile) -> set[str]:
    return {one["code"] for one in hostile.house.agent_json("status")["alerts"]}


def incident(hostile: Hostile, code: str) -> dict[str, Any]:
    """Let the owner's next command take an alert in, and return what the owner's tool kept of it."""

    def kept() -> list[dict[str, Any]]:
        hostile.house.owner_json("inventory")
        return [one for one in hostile.house.owner_json("alerts", "--incidents") if one["code"] == code]

    (told,) = until(kept, what=f"{code} told")
    effect, following = MEANING[code]
    assert (told["incident"], told["effect"], told["next"]) == (True, effect, following)
    found: dict[str, Any] = told
    return found


@pytest.mark.promise("INCIDENT")
def test_forged_command_raises_an_incident_that_is_repeated_until_the_owner_has_it(hostile: Hostile) -> None:
    backend, house = hostile.backend, hostile.house
    stranger = Party.generate("backend", name="nobody")
    backend.send_raw(backend.craft(hostile.claims(), signer=stranger, kid=backend.party.kid))
    until(lambda: hostile.alerts, what="the incident said")
    before = hostile.alerts[-1]
    house.stop("agent")
    house.start_agent()
    until(lambda: hostile.alerts.count(before) > 1, what="said again: nobody has acknowledged it")
    told = incident(hostile, "forged_message")
    assert "did not sign" in told["what"]
    until(lambda: "forged_message" not in standing(hostile), what="over, for its owner has it")
    said = hostile.alerts.count(before)
    house.stop("agent")
    house.start_agent()
    house.owner_json("inventory")  # whatever waits for the owner comes in front of its answer
    assert hostile.alerts.count(before) == said
    assert len(house.held()) == 1


@pytest.mark.promise("INCIDENT")
def test_key_under_what_its_holder_cannot_have_meant_raises_an_incident_that_names_it(hostile: Hostile) -> None:
    claims = hostile.claims(verb="approve", command="a" * 26, selection="0" * 64)
    hostile.answer(hostile.backend.craft(claims), reason="verb_not_allowed")
    assert hostile.backend.party.kid in incident(hostile, "key_misused")["what"]


@pytest.mark.promise("INCIDENT")
def test_stored_object_that_was_tampered_with_raises_an_incident(hostile: Hostile) -> None:
    (item,) = hostile.house.held()
    stored = hostile.house.state / "vault" / "objects" / item["id"]
    bytes_ = stored.read_bytes()
    stored.write_bytes(os.urandom(len(bytes_)))
    try:
        hostile.house.owner("export", item["id"], expect=1)
        assert item["id"] in incident(hostile, "corrupt_object")["what"]
    finally:
        stored.write_bytes(bytes_)


@pytest.mark.promise("INCIDENT")
def test_clock_that_somebody_sets_raises_an_incident_that_says_by_how_much(tmp_path: Path) -> None:
    station = Station(tmp_path)

    told = station.reading

    async def attack() -> None:
        station.reading = msgspec.structs.replace(told, wall_ms=told.wall_ms + 48 * LEAP_MS)
        await alerts(station, {"clock_jump"})

    async def queued() -> list[dict[str, Any]]:
        async with station.parts() as parts:
            waiting = await parts.index.read(parts.outbox.pending)
            return [station.client.open(message.body) for message in waiting]

    asyncio.run(resident(station, attack))
    (incident,) = asyncio.run(queued())
    assert (incident["code"], incident["incident"]) == ("clock_jump", True)
    assert "48 hours ahead" in incident["what"]
