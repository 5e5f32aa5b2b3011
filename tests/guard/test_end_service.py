"""When the service ends, by a signed word or by silence, collection stops, the owner is told, and the plan runs."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.app.alarm import Alarm
from agent.app.ending import Ending
from agent.app.parts import Parts
from agent.control import ask
from agent.errors import SpaceError
from agent.index import Tx
from agent.model import Object, Selection, new_id
from agent.policy.ending import Service
from agent.rights import freezing, service
from tests.app.resident import resident
from tests.app.station import Station
from tests.app.test_verbs import keep
from tests.flow.hostile import Hostile, besieged
from tests.waiting import until

HOUR_MS = 3_600_000
ENDING = '\n[end_of_service]\nsilent = "1d"\ngrace = "2d"\n'


# --- a signed word, through the real agent and broker


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hostile]:
    with besieged(tmp_path_factory.mktemp("ending"), policy='[end_of_service]\ngrace = "1s"\n') as found:
        yield found


@pytest.mark.promise("END-SERVICE")
def test_signed_end_stops_collection_tells_the_owner_and_deletes_everything(hostile: Hostile) -> None:
    house, backend, folder = hostile.house, hostile.backend, hostile.house.folder

    def notice() -> dict[str, Any]:
        now_s = backend._now_s()
        return hostile.claims(verb="end-service", ends=now_s)

    hostile.answer(backend.craft(notice()), reason="verb_not_allowed")
    assert len(house.held()) == 1
    house.owner("client", "remove", backend.party.kid, "--yes", "--out", folder / "2.jws")
    house.owner(
        "client", "add", folder / "cloud" / "backend.json", "--yes", "--grant", "end-service", "--out", folder / "3.jws"
    )
    for version in (2, 3):
        house.agent_json("submit", folder / f"{version}.jws")
    claims = notice()
    backend.send_raw(backend.craft(claims))
    until(lambda: [one for one in hostile.receipts if one["cmd"] == claims["jti"]], what="the notice taken up")
    until(lambda: not house.held(), what="everything deleted")
    house.record(seed=7)
    until(lambda: "service_ended" in (folder / "agent.log").read_text(), what="a new recording not taken in")
    assert list(house.spool.rglob("*.mp4")), "it stays with its source"
    assert house.held() == []
    until(lambda: not list((folder / "cloud" / "store").glob("*/*/payload")), what="the store's copy gone too")
    house.owner_json("inventory")
    (told,) = [one for one in house.owner_json("alerts") if one["code"] == "service_ending"][-1:]
    assert "ended" in told["what"]
    assert "privacy-owner" in told["next"]

    house.owner("end-service", "--resume")
    assert len(house.one("uploaded")) == 1, "what its source kept is taken in again"


# --- silence, with the clocks in the test's hands


async def stage(station: Station) -> str:
    told = await ask(station.config.socket, "status", {}, progress=lambda _step: None)
    return str(told["service"]["stage"])


def station_of(folder: Path, ending: str = ENDING) -> Station:
    station = Station(folder)
    with station.config.policy.open("a") as document:
        document.write(ending)
    return station


@pytest.mark.promise("END-SERVICE")
def test_cloud_that_is_silent_beyond_the_limit_ends_its_service_and_the_plan_runs_when_grace_is_over(
    tmp_path: Path,
) -> None:
    station = station_of(tmp_path)

    async def prepare() -> Object:
        async with station.parts() as parts:
            return await keep(parts)

    async def act() -> None:
        seen: list[str] = []
        while not seen or seen[-1] != "done":
            station.let_pass(HOUR_MS)
            if (now := await stage(station)) not in seen:
                seen.append(now)
        assert seen[0] == "served"
        assert seen[-2:] in (["deleting", "done"], ["ended", "done"]), seen

    async def left() -> tuple[int, list[dict[str, Any]]]:
        async with station.parts() as parts:
            waiting = await parts.index.read(parts.outbox.pending)
            told = [station.client.open(message.body) for message in waiting]
            return await parts.index.read(lambda tx: parts.vault.totals(tx).all.objects), told

    asyncio.run(prepare())
    asyncio.run(resident(station, act))
    objects, told = asyncio.run(left())
    assert objects == 0
    (notice,) = [one for one in told if one.get("code") == "service_ending"]
    assert "silent" in notice["what"]


@pytest.mark.promise("END-SERVICE")
def test_no_service_ends_while_the_clock_is_unsure(tmp_path: Path) -> None:
    station = station_of(tmp_path)
    station.reading = msgspec.structs.replace(station.reading, synchronised=False)

    async def live() -> None:
        async with station.parts() as parts:
            ending = ending_of(parts)
            for _ in range(100):
                station.let_pass(HOUR_MS)
                assert (await ending.look(parts.now())).stage == "served"
            station.reading = msgspec.structs.replace(station.reading, synchronised=True)
            for _ in range(24):
                station.let_pass(HOUR_MS)
                told = await ending.look(parts.now())
            assert told.stage == "ended", "the same silence ends it once the time is sure"

    asyncio.run(live())


# --- power that fails


async def ended(parts: Parts, *, due_ms: int = 1) -> None:
    now = Service(stage="ended", by="", since_ms=1, ends_ms=1, due_ms=due_ms)
    await parts.index.write(lambda tx: service.keep(tx, now, moment=parts.now()))


def ending_of(parts: Parts) -> Ending:
    alarm = Alarm(index=parts.index, trust=parts.trust, outbox=parts.outbox)
    return Ending(parts, alarm, changed=lambda: None)


def test_power_that_fails_before_a_stage_is_durable_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    station = station_of(tmp_path)

    async def live() -> None:
        async with station.parts() as parts:
            await keep(parts)
            await ended(parts)
            with monkeypatch.context() as broken:
                broken.setattr(parts.outbox, "raise_alert", _fail)
                with pytest.raises(SpaceError):
                    await ending_of(parts).look(parts.now())
            assert (await parts.index.read(service.standing)).stage == "ended"
            assert await parts.index.read(lambda tx: parts.vault.totals(tx).all.objects) == 1

    asyncio.run(live())


def test_power_that_fails_while_the_plan_runs_the_next_start_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    station = station_of(tmp_path)

    async def begin() -> None:
        async with station.parts() as parts:
            await keep(parts)
            await ended(parts)
            with monkeypatch.context() as broken:
                broken.setattr(parts.erasure, "erase", _fail)
                with pytest.raises(SpaceError):
                    await ending_of(parts).look(parts.now())
            assert (await parts.index.read(service.standing)).stage == "deleting"

    async def go_on() -> None:
        async with station.parts() as parts:
            assert (await ending_of(parts).look(parts.now())).stage == "done"
            assert await parts.index.read(lambda tx: parts.vault.totals(tx).all.objects) == 0

    asyncio.run(begin())
    asyncio.run(go_on())


def _fail(*_args: object, **_more: object) -> None:
    raise SpaceError("no room", hint="free space")


def test_what_a_hold_keeps_stays_and_goes_once_that_is_over(tmp_path: Path) -> None:
    station = station_of(tmp_path)

    async def live() -> None:
        async with station.parts() as parts:
            kept, _other = await keep(parts), await keep(parts)
            await ended(parts)
            until_ms = parts.now().agent_ms + HOUR_MS // 2

            def hold(tx: Tx) -> object:
                return freezing.put(
                    tx,
                    Selection(ids=(kept.id,)),
                    kind="hold",
                    freeze_id=new_id(),
                    author="court",
                    reason="claim 7",
                    until_ms=until_ms,
                    moment=parts.now(),
                )

            await parts.index.write(hold)
            ending = ending_of(parts)
            assert (await ending.look(parts.now())).stage == "deleting"
            assert parts.index.read_now(lambda tx: parts.vault.get(tx, kept.id)) is not None
            assert await parts.index.read(lambda tx: parts.vault.totals(tx).all.objects) == 1
            station.let_pass(HOUR_MS)
            await parts.index.write(lambda tx: freezing.end_holds(tx, moment=parts.now()))
            assert (await ending.look(parts.now())).stage == "done"
            assert await parts.index.read(lambda tx: parts.vault.totals(tx).all.objects) == 0

    asyncio.run(live())
