"""When the service ends, by a signed word or by silence, collection stops, the owner is told, and the plan runs."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.app.alarm import Alarm
from agent.app.ending import Ending
from agent.app.parts import Parts, opened
from agent.clock import system_clock
from agent.config import read_config
from agent.envelope import Key
from agent.errors import RefusedError, SpaceError
from agent.index import Tx
from agent.index import bundle as exports
from agent.model import Selection, new_id
from agent.policy.ending import Service
from agent.rights import freezing, service
from agent.vault import Total
from tests.app.station import START_S, Station
from tests.app.test_verbs import keep
from tests.commands.office import Party, party
from tests.farewell.leaver import at_store
from tests.flow.hostile import Hostile, besieged
from tests.flow.house import House
from tests.waiting import until

HOUR_MS = 3_600_000
HOURS_MAX = 10 * 24
"""Three times what the day of silence and the two days of grace need."""
ENDING = '\n[end_of_service]\nsilent = "1d"\ngrace = "2d"\n'


# --- a signed word, through the real agent and broker


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hostile]:
    with besieged(tmp_path_factory.mktemp("ending"), policy='[end_of_service]\ngrace = "1d"\n') as found:
        yield found


async def let_grace_pass(house: House) -> None:
    """Have the time of grace, a day at least, be over in the index of an agent that does not run."""
    config = read_config(house.config)
    async with opened(config, read_clock=system_clock(source=config.clock)) as parts:
        now = parts.now()

        def over(tx: Tx) -> None:
            standing = service.standing(tx)
            assert standing.stage == "ended"
            assert standing.due_ms - standing.ends_ms == 24 * HOUR_MS
            service.keep(tx, msgspec.structs.replace(standing, due_ms=now.agent_ms), moment=now)

        await parts.index.write(over)


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

    def has_ended() -> bool:
        log = house.run("privacy-agent", "audit", "show", "--config", house.config)
        return any("service_changed" in line and "ended" in line for line in log.splitlines())

    until(has_ended, what="the end")
    house.record(seed=7)
    until(lambda: "service_ended" in (folder / "agent.log").read_text(), what="a new recording not taken in")
    assert list(house.spool.rglob("*.mp4")), "it stays with its source"
    assert len(house.held()) == 1, "its owner has the time of grace"
    house.stop("agent")
    asyncio.run(let_grace_pass(house))
    house.start_agent()
    until(lambda: not house.held(), what="everything deleted")
    until(lambda: not list((folder / "cloud" / "store").glob("*/*/payload")), what="the store's copy gone too")
    house.owner_json("inventory")
    (told,) = [one for one in house.owner_json("alerts") if one["code"] == "service_ending"][-1:]
    assert "ended" in told["what"]
    assert "privacy-owner" in told["next"]

    house.owner("end-service", "--resume")
    assert len(house.one("uploaded")) == 1, "what its source kept is taken in again"


# --- silence, with the clocks in the test's hands


LINE = '[broker]\nurl = "mqtts://broker.example"\ntenant = "acme"\nidentity = "tls"\n'


def station_of(folder: Path, *, cloud: bool = True, line: str = LINE, ending: str = ENDING) -> Station:
    """Return a device that belongs to a service, or to none."""
    members = (party("backend", "cloud", "export", "inventory", "end-service"),) if cloud else ()
    station = Station(folder, sources=line, members=members)
    with station.config.policy.open("a") as document:
        document.write(ending)
    return station


@pytest.mark.promise("END-SERVICE")
def test_cloud_that_is_silent_beyond_the_limit_ends_its_service_and_the_plan_runs_when_grace_is_over(
    tmp_path: Path,
) -> None:
    station = station_of(tmp_path)

    async def live() -> None:
        async with station.parts() as parts:
            await keep(parts)
            ending, seen = ending_of(parts), ["served"]
            for _hour in range(HOURS_MAX):
                station.let_pass(HOUR_MS)
                if (now := (await ending.look(parts.now())).stage) != seen[-1]:
                    seen.append(now)
                if now == "done":
                    break
            assert seen == ["served", "ended", "done"]
            assert await parts.index.read(left) == 0
            waiting = await parts.index.read(parts.outbox.pending)
            told = [station.client.open(one.body) for one in waiting if one.reader == station.client.kid]
            (notice,) = [one for one in told if one.get("code") == "service_ending"]
            assert "silent" in notice["what"]

    asyncio.run(live())


@pytest.mark.promise("END-SERVICE")
def test_device_without_a_cloud_is_served_for_ever_and_keeps_what_it_has(tmp_path: Path) -> None:
    """A policy with ``silent`` on a device that had no broker once deleted everything after limit and grace."""
    station = station_of(tmp_path, cloud=False, line="")

    async def live() -> None:
        async with station.parts() as parts:
            kept = await keep(parts)
            ending = ending_of(parts)
            for _ in range(4 * 24):
                station.let_pass(HOUR_MS)
                assert (await ending.look(parts.now())).stage == "served"
            assert not parts.service_ended
            assert await parts.index.read(lambda tx: parts.vault.get(tx, kept.id)) is not None

    asyncio.run(live())


@pytest.mark.parametrize(("cloud", "line"), [(False, LINE), (True, "")])
def test_no_silence_counts_where_nobody_could_be_heard(
    tmp_path: Path,
    cloud: bool,  # noqa: FBT001 - a parameter of the test
    line: str,
) -> None:
    station = station_of(tmp_path, cloud=cloud, line=line)

    async def live() -> None:
        async with station.parts() as parts:
            ending = ending_of(parts)
            for _ in range(100):
                station.let_pass(HOUR_MS)
                assert (await ending.look(parts.now())).stage == "served"

    asyncio.run(live())


@pytest.mark.parametrize(("lives_h", "ends"), [(200, ["ended", "done"]), (10, []), (30, ["ended", "done"])])
def test_backend_key_that_expires_takes_no_end_back_and_counts_no_silence(
    tmp_path: Path, lives_h: int, ends: list[str]
) -> None:
    """Within the grace the key expired, and the device collected again for a cloud that was gone."""
    key = party("backend", "cloud", "export")

    class Expiring(Party):
        def key(self) -> Key:
            return msgspec.structs.replace(key.key(), exp=START_S + lives_h * 3600)

    station = Station(tmp_path, sources=LINE, members=(Expiring(**vars(key)),))
    with station.config.policy.open("a") as document:
        document.write(ENDING)

    async def live() -> None:
        async with station.parts() as parts:
            await keep(parts)
            ending, seen = ending_of(parts), ["served"]
            for _ in range(120):
                station.let_pass(HOUR_MS)
                if (now := (await ending.look(parts.now())).stage) != seen[-1]:
                    seen.append(now)
            assert seen == ["served", *ends]
            assert parts.service_ended is bool(ends)

    asyncio.run(live())


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
    now = Service(stage="ended", by="backend", since_ms=1, ends_ms=1, due_ms=due_ms)
    await parts.index.write(lambda tx: service.keep(tx, now, moment=parts.now()))


def left(tx: Tx) -> int:
    return int(tx.execute("SELECT count(*) FROM object")[0][0])


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


def test_what_a_hold_keeps_stays_and_goes_once_that_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    station = station_of(tmp_path)

    async def live() -> None:
        async with station.parts() as parts:
            kept, other = await keep(parts), await keep(parts)
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
            asked, erase = [], parts.erasure.erase

            async def noted(ids: Any, **how: Any) -> object:  # noqa: ANN401 - handed on
                asked.extend(ids)
                return await erase(ids, **how)

            monkeypatch.setattr(parts.erasure, "erase", noted)
            assert (await ending.look(parts.now())).stage == "done", "a hold, or a restriction, may stand for ever"
            assert asked == [other.id], "what is kept is not asked to go, each hour again"
            assert parts.index.read_now(lambda tx: parts.vault.get(tx, kept.id)) is not None
            assert await parts.index.read(lambda tx: parts.vault.totals(tx).all.objects) == 1
            station.let_pass(HOUR_MS)
            await parts.index.write(lambda tx: freezing.end_holds(tx, moment=parts.now()))
            assert (await ending.look(parts.now())).stage == "done"
            assert await parts.index.read(lambda tx: parts.vault.totals(tx).all.objects) == 0

    asyncio.run(live())


# --- what comes between


async def resumed(station: Station, parts: Parts) -> None:
    key = station.client.key()
    await parts.index.write(lambda tx: service.resume(tx, key, command="go on", moment=parts.now()))


def test_resume_stops_the_plan_between_two_parts_and_what_is_left_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    station = station_of(tmp_path)

    async def live() -> None:
        async with station.parts() as parts:
            for _ in range(3):
                await keep(parts)
            await ended(parts)
            erase = parts.erasure.erase

            async def then_resume(ids: Any, **how: Any) -> object:  # noqa: ANN401 - handed on
                done = await erase(ids, **how)
                await resumed(station, parts)
                return done

            ending = ending_of(parts)
            with monkeypatch.context() as slow:
                slow.setattr("agent.app.ending.PART", 1)
                slow.setattr(parts.erasure, "erase", then_resume)
                await ending.look(parts.now())
            assert await parts.index.read(left) == 2
            assert (await parts.index.read(service.standing)).stage == "served"
            assert (await ending.look(parts.now())).stage == "served"
            assert await parts.index.read(left) == 2

    asyncio.run(live())


def test_resume_that_comes_as_the_last_part_goes_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    station = station_of(tmp_path)

    async def live() -> None:
        async with station.parts() as parts:
            await keep(parts)
            await ended(parts)
            erase = parts.erasure.erase

            async def then_resume(ids: Any, **how: Any) -> object:  # noqa: ANN401 - handed on
                done = await erase(ids, **how)
                await resumed(station, parts)
                return done

            monkeypatch.setattr(parts.erasure, "erase", then_resume)
            ending = ending_of(parts)
            assert (await ending.look(parts.now())).stage != "done"
            assert (await ending.look(parts.now())).stage == "served"
            assert not parts.service_ended

    asyncio.run(live())


def test_command_that_commits_between_a_look_and_its_writing_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    station = station_of(tmp_path)

    async def live() -> None:
        async with station.parts() as parts:
            await keep(parts)
            await ended(parts)
            write = parts.index.write

            async def behind_resume(act: Any, **how: Any) -> object:  # noqa: ANN401 - handed on
                key = station.client.key()
                await write(lambda tx: service.resume(tx, key, command="go on", moment=parts.now()))
                return await write(act, **how)

            with monkeypatch.context() as racing:
                racing.setattr(parts.index, "write", behind_resume)
                assert (await ending_of(parts).look(parts.now())).stage == "served"
            assert await parts.index.read(left) == 1

    asyncio.run(live())


def test_owner_who_goes_on_without_a_silent_cloud_is_not_ended_at_the_next_look(tmp_path: Path) -> None:
    """The silence of before was kept in memory, and ended the service again five seconds later."""
    station = station_of(tmp_path)

    async def live() -> None:
        async with station.parts() as parts:
            ending = ending_of(parts)
            for _ in range(26):
                station.let_pass(HOUR_MS)
                told = await ending.look(parts.now())
            assert told.stage == "ended"
            await resumed(station, parts)
            for _ in range(23):
                station.let_pass(HOUR_MS)
                assert (await ending.look(parts.now())).stage == "served"

    asyncio.run(live())


def test_policy_that_keeps_ends_a_plan_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    station = station_of(tmp_path)

    async def live() -> None:
        async with station.parts() as parts:
            for _ in range(2):
                await keep(parts)
            await ended(parts)
            erase = parts.erasure.erase

            async def then_keep(ids: Any, **how: Any) -> object:  # noqa: ANN401 - handed on
                done = await erase(ids, **how)
                parts.adopt(msgspec.structs.replace(parts.policy, ending="keep"), parts.document)
                return done

            monkeypatch.setattr("agent.app.ending.PART", 1)
            monkeypatch.setattr(parts.erasure, "erase", then_keep)
            await ending_of(parts).look(parts.now())
            assert await parts.index.read(left) == 1

    asyncio.run(live())


# --- what is not here any more


@pytest.mark.promise("END-SERVICE")
def test_plan_has_every_copy_erased_that_a_store_alone_has_and_is_done_when_each_is_confirmed(tmp_path: Path) -> None:
    station = station_of(tmp_path)

    async def live() -> None:
        async with station.parts() as parts:
            kept = await keep(parts)
            store = station.store.kid
            upload = await parts.index.write(lambda tx: at_store(tx, parts, kept.id, store=store))
            await parts.erasure.erase(
                (kept.id,),
                actor="device",
                rule="category.recording.keep.age",
                command="",
                moment=parts.now(),
                keeps_at_store=True,
            )
            assert await parts.index.read(parts.vault.at_stores) == Total(1, kept.size_bytes)
            await ended(parts)
            ending = ending_of(parts)
            assert (await ending.look(parts.now())).stage == "deleting"
            (asked,) = await parts.index.read(lambda tx: parts.erasure.pending_remote(tx, store, 10))
            assert asked.upload == upload
            assert (await ending.look(parts.now())).stage == "deleting", "its store has not said so"

            def confirm(tx: Tx) -> object:
                return parts.erasure.note_erased(
                    tx, upload, "a" * 64, header="erased", payload="erased", stated_by=store, moment=parts.now()
                )

            await parts.index.write(confirm)
            assert (await ending.look(parts.now())).stage == "done"

    asyncio.run(live())


@pytest.mark.promise("END-SERVICE")
def test_plan_removes_the_exports_too(tmp_path: Path) -> None:
    station = station_of(tmp_path)

    async def live() -> None:
        async with station.parts() as parts:
            made = parts.bundle.folder / new_id()
            made.mkdir()
            (made / "recordings.age").write_bytes(b"sealed")
            await parts.index.write(
                lambda tx: exports.put(
                    tx, made.name, asked_ms=1, made_ms=1, size_bytes=6, recipients=("age1owner",), objects=()
                )
            )
            await ended(parts)
            assert (await ending_of(parts).look(parts.now())).stage == "done"
            assert not made.exists()
            assert await parts.index.read(parts.bundle.exports) == frozenset()

    asyncio.run(live())


def test_agent_that_starts_behind_the_end_collects_nothing_before_its_first_look(tmp_path: Path) -> None:
    station = station_of(tmp_path)

    async def live() -> bool:
        async with station.parts() as parts:
            await ended(parts, due_ms=1 << 50)
        async with station.parts() as parts:
            return parts.service_ended

    assert asyncio.run(live())


# --- whose word it is


def test_notice_that_was_kept_back_does_not_end_what_its_owner_went_on_without(tmp_path: Path) -> None:
    """Whoever delivers commands had it carried out behind the word that was newer."""
    cloud = party("backend", "cloud", "end-service")
    station = Station(tmp_path, sources=LINE, members=(cloud,))

    async def live() -> None:
        async with station.parts() as parts:

            async def give(raw: bytes) -> tuple[str, str]:
                told = await parts.commands.submit(raw, moment=parts.now())
                return told.status, told.reason

            kept_back = [
                station.command(station.client, "end-service", ends=START_S + 60),
                station.command(cloud, "end-service", iat_s=START_S - 60, ends=START_S + 60),
            ]
            assert await give(station.command(station.client, "end-service", resume=True)) == ("done", "")
            for raw in kept_back:
                assert await give(raw) == ("refused", "superseded")
            assert (await parts.index.read(service.standing)).stage == "served"
            newer = station.command(cloud, "end-service", iat_s=START_S + 60, ends=START_S + 120)
            assert await give(newer) == ("done", "")
            resume = station.command(station.client, "end-service", iat_s=START_S - 60, resume=True)
            assert await give(resume) == ("done", ""), "no word of a backend makes the owner's an older one"

    asyncio.run(live())


def test_notice_names_a_time_within_a_year_and_is_moved_by_its_own_key_or_the_owner_alone(tmp_path: Path) -> None:
    station = station_of(tmp_path)
    one, other = (party("backend", name, "end-service").key() for name in ("one", "other"))
    known = {one.kid, other.kid, station.client.kid}

    async def live() -> None:
        async with station.parts() as parts:
            now = parts.now()

            def give(key: Key, ends_ms: int, *, trusted: set[str] = known) -> bool:
                return parts.index.write_now(
                    lambda tx: service.notice(tx, key, command="n", ends_ms=ends_ms, known=trusted, moment=now)
                )

            with pytest.raises(RefusedError, match="within a year"):
                give(one, now.agent_ms + 400 * 24 * HOUR_MS)
            soon, late = now.agent_ms + HOUR_MS, now.agent_ms + 300 * 24 * HOUR_MS
            assert give(one, soon)
            with pytest.raises(RefusedError, match="another key"):
                give(other, late)
            assert (await parts.index.read(service.standing)).ends_ms == soon
            assert give(one, soon + 1)
            assert give(other, late, trusted={other.kid}), "whoever gave it is trusted no more"
            assert give(station.client.key(), soon)
            assert (await parts.index.read(service.standing)).by == station.client.kid

    asyncio.run(live())
