"""What a device that leaves its owner waits for: a store's word until the deadline, a hold's end without one."""

import asyncio
import errno
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from agent.app import unowned
from agent.app.alarm import Alarm
from agent.app.parts import Parts, opened
from agent.app.proposing import propose_file
from agent.clock import parse_rfc3339_ms
from agent.commands.farewell import ASKED_MS, KEPT_MS, parting
from agent.envelope import Key
from agent.errors import ConfigError
from agent.index import Tx
from agent.model import Selection, new_id
from agent.rights import force, freezing
from tests.app.station import Station
from tests.disk import as_root
from tests.farewell.leaver import DEADLINE_MS, Leaver, at_store, erase_all
from tests.farewell.leaving import contents_of
from tests.intake import take_in

DAY_MS = 86_400_000


@pytest.fixture
def leaver(tmp_path: Path) -> Leaver:
    """A device with two recordings, and its owner."""
    spool = tmp_path / "spool" / "front"
    spool.mkdir(parents=True)
    for name in ("a.mp4", "b.mp4"):
        (spool / name).write_bytes(name.encode() * 1000)
    sources = f'[[source]]\nkind = "spool"\npath = "{spool.parent}"\nmedium = "disk"\n'
    station = Station(tmp_path, sources=sources)
    station.config.file.write_text(f'device = "cam-01"\nstate = "state"\n{sources}')

    async def record() -> None:
        async with station.parts() as parts:
            await take_in(parts)

    asyncio.run(record())
    found = Leaver(tmp_path, station.client, station.reading)
    found.store = station.store.kid
    return found


@pytest.mark.promise("ACCOUNT-DELETE")
def test_store_that_never_answers_is_told_as_unconfirmed_when_the_deadline_passed(leaver: Leaver) -> None:
    async def leave() -> None:
        async with opened(leaver.config, read_clock=leaver.read_clock) as parts:
            one, _other = await parts.index.read(parts.vault.page)
            await parts.index.write(lambda tx: at_store(tx, parts, one.id, store=leaver.store))
            await parts.commands.submit(erase_all(leaver.client), moment=parts.now())
            await leaver.hear(parts)
            assert [told["farewell"]["cloud"] for told in leaver.told] == ["pending"]
            assert leaver.told[0]["farewell"]["deadline"] == "2027-02-06T00:00:00.000Z"
            left_ms = parse_rfc3339_ms("2027-02-06T00:00:00.000Z") - parts.now().agent_ms
            leaver.let_pass(left_ms - 1)
            assert not await parts.commands.part(parts.now())
            await leaver.hear(parts)
            assert len(leaver.told) == 1
            leaver.let_pass(1)
            assert not await parts.commands.part(parts.now())
            await leaver.hear(parts)
            assert (leaver.told[1]["status"], leaver.told[1]["farewell"]["cloud"]) == ("partial", "unconfirmed")
            leaver.let_pass(KEPT_MS)
            assert await parts.commands.part(parts.now())  # nobody ever acknowledged it

    asyncio.run(leave())
    with pytest.raises(ConfigError, match="no owner any more"):
        asyncio.run(leave())


@pytest.mark.promise("ACCOUNT-DELETE")
def test_held_object_puts_the_last_receipt_off_to_the_end_of_its_hold(leaver: Leaver) -> None:
    async def leave() -> None:
        async with opened(leaver.config, read_clock=leaver.read_clock) as parts:
            one, other = await parts.index.read(parts.vault.page)

            def hold(tx: Tx) -> None:
                freezing.put(
                    tx,
                    Selection(ids=(one.id,)),
                    kind="hold",
                    freeze_id=new_id(),
                    author=leaver.client.kid,
                    reason="court",
                    until_ms=parts.now().agent_ms + 2 * DEADLINE_MS,
                    moment=parts.now(),
                )

            await parts.index.write(hold)
            parts.keystore.rotate_pseudonyms((30 * DAY_MS,), now_ms=parts.now().agent_ms)
            await parts.commands.submit(erase_all(leaver.client), moment=parts.now())
            assert parts.keystore.pseudonym_keys() == (), "what stores have of them is linked by nobody any more"
            await leaver.hear(parts)
            (told,) = leaver.told
            assert (told["status"], told["farewell"]["held"]) == ("partial", 1)
            assert {one["id"]: one["result"] for one in told["outcomes"]} == {one.id: "held", other.id: "deleted"}
            leaver.let_pass(2 * DEADLINE_MS - DAY_MS)
            await parts.commands.part(parts.now())
            assert [item.id for item in await parts.index.read(parts.vault.page)] == [one.id]
            state = await parts.index.read(parting)
            assert state is not None
            assert (state.phase, state.held) == ("parted", 1)
            leaver.let_pass(2 * DAY_MS)
            await parts.index.write(lambda tx: freezing.end_holds(tx, moment=parts.now()))
            await parts.commands.part(parts.now())
            await leaver.hear(parts)
            assert (leaver.told[1]["status"], leaver.told[1]["farewell"]["held"]) == ("done", 0)
            assert await parts.index.read(parts.vault.page) == ()
            assert list(parts.vault.payloads.folder.iterdir()) == []

    asyncio.run(leave())


@pytest.mark.promise("ACCOUNT-DELETE")
@pytest.mark.promise("HOLD")
def test_hold_on_what_only_a_store_has_puts_the_last_receipt_off_and_the_store_is_asked_behind_it(
    leaver: Leaver,
) -> None:
    async def leave() -> None:
        async with opened(leaver.config, read_clock=leaver.read_clock) as parts:
            one, _other = await parts.index.read(parts.vault.page)
            upload = await parts.index.write(lambda tx: at_store(tx, parts, one.id, store=leaver.store))
            await parts.erasure.begin([one.id], rule="age", moment=parts.now())
            await parts.erasure.resume(parts.now())
            assert (await parts.index.read(parts.vault.at_stores)).objects == 1
            await parts.index.write(lambda tx: hold_all(tx, leaver, parts))
            await parts.commands.submit(erase_all(leaver.client), moment=parts.now())
            await leaver.hear(parts)
            assert [(told["status"], told["farewell"]["held"]) for told in leaver.told] == [("partial", 2)]
            leaver.let_pass(2 * DEADLINE_MS + DAY_MS)
            await parts.index.write(lambda tx: freezing.end_holds(tx, moment=parts.now()))
            await parts.commands.part(parts.now())
            await leaver.hear(parts)
            assert len(leaver.told) == 1, "the store has its time, whatever the deadline was"
            (asked,) = await parts.index.read(lambda tx: parts.erasure.pending_remote(tx, leaver.store, 9))
            assert asked.upload == upload
            assert leaver.store in {key.kid for key in await parts.index.read(lambda tx: keys(tx, parts))}
            leaver.let_pass(ASKED_MS)
            await parts.commands.part(parts.now())
            await leaver.hear(parts)
            assert (leaver.told[1]["status"], leaver.told[1]["farewell"]["cloud"]) == ("partial", "unconfirmed")

    asyncio.run(leave())


@pytest.mark.promise("ACCOUNT-DELETE")
def test_command_that_arrives_behind_its_deadline_gives_the_stores_their_time_all_the_same(leaver: Leaver) -> None:
    async def leave() -> None:
        command = erase_all(leaver.client)
        leaver.let_pass(25 * DAY_MS)
        async with opened(leaver.config, read_clock=leaver.read_clock) as parts:
            one, _other = await parts.index.read(parts.vault.page)
            await parts.index.write(lambda tx: at_store(tx, parts, one.id, store=leaver.store))
            await parts.commands.submit(command, moment=parts.now())
            await leaver.hear(parts)
            (told,) = leaver.told
            assert (told["farewell"]["phase"], told["farewell"]["cloud"]) == (1, "pending")
            assert parse_rfc3339_ms(told["farewell"]["deadline"]) == parts.now().agent_ms + ASKED_MS
            leaver.let_pass(ASKED_MS - 1)
            await parts.commands.part(parts.now())
            await leaver.hear(parts)
            assert len(leaver.told) == 1
            leaver.let_pass(1)
            await parts.commands.part(parts.now())
            await leaver.hear(parts)
            assert leaver.told[1]["farewell"]["cloud"] == "unconfirmed"

    asyncio.run(leave())


@pytest.mark.promise("ACCOUNT-DELETE")
def test_file_that_cannot_be_removed_keeps_no_owner_waiting(leaver: Leaver) -> None:
    # Nothing was told, no key lost its verbs and no deadline passed for as long as it lay there.
    async def leave() -> None:
        async with opened(leaver.config, read_clock=leaver.read_clock) as parts:
            one, other = await parts.index.read(parts.vault.page)
            path = parts.vault.payload_path(one.id)
            path.unlink()
            path.mkdir()  # stands for whatever keeps it there
            (path / "in-it").touch()
            await parts.commands.submit(erase_all(leaver.client), moment=parts.now())
            await leaver.hear(parts)
            (told,) = leaver.told
            assert (told["status"], told["farewell"]["phase"]) == ("done", 2)
            assert {one["id"]: one["result"] for one in told["outcomes"]} == {one.id: "failed", other.id: "deleted"}
            assert await parts.erasure.retry(parts.now()) == 1, "it is tried again"
            await parts.commands.submit(leaver.ack(), moment=parts.now())
            assert await parts.commands.part(parts.now())

    asyncio.run(leave())
    assert set(contents_of(leaver.config.state)) == {"lock", "former.json"}
    with pytest.raises(ConfigError, match="no owner any more"):
        asyncio.run(leave())


@pytest.mark.promise("ACCOUNT-DELETE")
def test_export_that_cannot_be_removed_keeps_no_owner_waiting(leaver: Leaver) -> None:
    async def leave() -> None:
        async with opened(leaver.config, read_clock=leaver.read_clock) as parts:
            export = await parts.commands.export_here(new_id(), Selection(all=True), form="objects", moment=parts.now())
            export.folder.rename(leaver.config.state.parent / "aside")
            export.folder.touch()  # stands for whatever keeps it there
            await parts.commands.submit(erase_all(leaver.client), moment=parts.now())
            await leaver.hear(parts)
            (told,) = leaver.told
            assert (told["status"], told["farewell"]["phase"]) == ("done", 2)
            assert {one["id"]: one["result"] for one in told["outcomes"]}[export.id] == "failed"
            assert parts.bundle.expire(lambda _one, _freed: None, moment=parts.now()) == ()
            export.folder.unlink()
            assert parts.bundle.expire(lambda _one, _freed: None, moment=parts.now()) == (export.id,), "tried again"

    asyncio.run(leave())


@pytest.mark.promise("ACCOUNT-DELETE")
def test_device_that_parted_needs_no_policy_file_to_end(leaver: Leaver) -> None:
    # Its owner took the file away, and no start came as far as the last receipt, or the end of its keys.
    async def begin() -> None:
        async with opened(leaver.config, read_clock=leaver.read_clock) as parts:
            one, _other = await parts.index.read(parts.vault.page)
            await parts.index.write(lambda tx: at_store(tx, parts, one.id, store=leaver.store))
            await parts.index.write(force.bind)
            await parts.commands.submit(erase_all(leaver.client), moment=parts.now())
            await leaver.hear(parts)
            assert [told["farewell"]["phase"] for told in leaver.told] == [1]

    async def end() -> None:
        async with opened(leaver.config, read_clock=leaver.read_clock) as parts:
            await propose_file(parts, Alarm(index=parts.index, trust=parts.trust, outbox=parts.outbox))
            assert (await parts.index.read(force.in_force)) is None, "it forgot the policy and asks for none"
            leaver.let_pass(DEADLINE_MS)
            await parts.commands.part(parts.now())
            await leaver.hear(parts)
            await parts.commands.submit(leaver.ack(), moment=parts.now())
            assert await parts.commands.part(parts.now())

    asyncio.run(begin())
    leaver.config.policy.unlink()
    asyncio.run(end())
    assert [told["farewell"]["phase"] for told in leaver.told] == [1, 2]
    assert set(contents_of(leaver.config.state)) == {"lock", "former.json"}


@pytest.mark.parametrize(("call", "name"), [("rmdir", "objects"), ("rmdir", "vault"), ("unlink", "device.jws")])
def test_last_removal_that_fails_once_is_made_all_the_same(
    leaver: Leaver, monkeypatch: pytest.MonkeyPatch, call: str, name: str
) -> None:
    # What was left was told to be removed by hand, and nobody came back to it.
    real: Any = getattr(os, call)
    failed: list[Any] = []

    def once(path: Any, **options: Any) -> None:  # noqa: ANN401 - as the real one
        if Path(path).name == name and not failed and unowned.was_begun(leaver.config):
            failed.append(path)
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        real(path, **options)

    monkeypatch.setattr(os, call, once)
    asyncio.run(leaver.leave(erase_all(leaver.client)))
    assert len(failed) == 1
    assert {path.name for path in leaver.config.state.iterdir()} == {"lock", "former.json"}


@pytest.mark.promise("ACCOUNT-DELETE")
@as_root
def test_what_is_not_the_agents_in_its_folder_keeps_no_owner_waiting(leaver: Leaver) -> None:
    # A state folder that is a file system of its own has a ``lost+found`` that nobody but root removes: each start
    # failed at it, the keystore's file stayed, and ``init`` gave the device to nobody.
    there = leaver.config.state / "lost+found"
    there.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", there], check=True)
    try:
        assert not asyncio.run(leaver.leave(erase_all(leaver.client)))
        assert {path.name for path in leaver.config.state.iterdir()} == {"lock", "former.json", "lost+found"}
        assert asyncio.run(leaver.leave(erase_all(leaver.client))), "it says so, and is stuck no more"
    finally:
        subprocess.run(["umount", there], check=True)


def hold_all(tx: Tx, leaver: Leaver, parts: Parts) -> None:
    freezing.put(
        tx,
        Selection(all=True),
        kind="hold",
        freeze_id=new_id(),
        author=leaver.client.kid,
        reason="court",
        until_ms=parts.now().agent_ms + 2 * DEADLINE_MS,
        moment=parts.now(),
    )


def keys(tx: Tx, parts: Parts) -> tuple[Key, ...]:
    found = parts.trust.key_set(tx)
    return () if found is None else found.keys


@pytest.mark.promise("ERASE")
def test_what_the_former_owner_recorded_stays_away_under_any_name_of_its_source(leaver: Leaver) -> None:
    command = erase_all(leaver.client)
    assert [asyncio.run(leaver.leave(command)) for _ in range(2)] == [False, True]
    spool, other = leaver.folder / "spool", leaver.folder / "another"
    for folder in (spool, other):
        (folder / "front" / "recording").mkdir(parents=True)
    former, new = (f"front/recording/{year}-03-01T10-15-00.000Z.mp4" for year in (2026, 2028))
    (spool / former).write_bytes(b"of the former owner" * 100)
    (spool / new).write_bytes(b"of the next one" * 100)
    (other / former).write_bytes(b"of the next one, and older" * 100)
    sources = "".join(
        f'[[source]]\nkind = "spool"\nname = "{name}"\npath = "{path}"\nmedium = "disk"\n'
        for name, path in (("renamed", spool), ("own", other))
    )
    station = Station(leaver.folder, sources=sources)

    async def record() -> list[tuple[str, str]]:
        async with station.parts() as parts:
            await take_in(parts)
            return sorted((item.source, item.name) for item in await parts.index.read(parts.vault.page))

    assert asyncio.run(record()) == [("own", former), ("renamed", new)]
    assert not (spool / former).exists()
    assert not (station.config.state / "former.json").exists()


@pytest.mark.promise("HOLD")
def test_running_agent_and_its_start_shorten_a_hold_that_lasts_too_long(leaver: Leaver) -> None:
    async def shorten() -> None:
        async with opened(leaver.config, read_clock=leaver.read_clock) as parts:
            assert parts.now().trusted
            await parts.index.write(lambda tx: hold_for(tx, leaver, parts, days=70 * 365))
            await parts.end_holds()
            assert await days_left(parts) == 90
            await parts.index.write(lambda tx: hold_for(tx, leaver, parts, days=70 * 365))
        async with opened(leaver.config, read_clock=leaver.read_clock) as parts:
            assert await days_left(parts) == 90

    asyncio.run(shorten())


def hold_for(tx: Tx, leaver: Leaver, parts: Parts, *, days: int) -> None:
    freezing.put(
        tx,
        Selection(all=True),
        kind="hold",
        freeze_id=new_id(),
        author=leaver.client.kid,
        reason="court",
        until_ms=parts.now().agent_ms + days * DAY_MS,
        moment=parts.now(),
    )


async def days_left(parts: Parts) -> int:
    holds = (await parts.index.read(freezing.standing)).holds
    return round(max(one.until_ms or 0 for one in holds) - parts.now().agent_ms) // DAY_MS
