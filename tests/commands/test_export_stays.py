"""An export that cannot be removed: its delete stays open, also behind a restart, until it is gone.

A file in the folder's place stands for whatever keeps it there; ``tests/cli/test_not_removed.py`` has real ones.
"""

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent import bundle
from agent.envelope import signing_input_sha256
from agent.errors import SpaceError
from agent.index import bundle as export_rows
from agent.model import Selection, new_id
from tests.commands.office import START_S, Office, at, run

SELECT_ALL = {"all": True}


def block(folder: Path) -> Path:
    """Put a file in an export's place; it is gone as soon as that is."""
    folder.rename(folder.parents[1] / f"aside-{folder.name}")
    folder.touch()
    return folder


def unblock(folder: Path) -> None:
    folder.unlink()


def folder_of(office: Office, receipt: dict[str, Any]) -> Path:
    return office.bundle.folder / str(receipt["export"]["object"])


def ends_of(office: Office, export: str) -> list[dict[str, Any]]:
    rows = office.index.read_now(lambda tx: tx.execute("SELECT line FROM audit ORDER BY seq"))
    told = [json.loads(row[0]) for row in rows]
    return [one for one in told if one["kind"] == "erased" and one["object"] == export]


async def made_here(office: Office, progress: Callable[[int, int], None] = lambda _done, _total: None) -> bundle.Export:
    """Export everything for the person at this machine."""
    select = Selection(all=True)
    return await office.commands.export_here(new_id(), select, form="objects", moment=office.moment, progress=progress)


async def here(office: Office) -> Path:
    """Export everything for the person at this machine; returns its folder."""
    return (await made_here(office)).folder


def test_delete_of_an_export_is_open_until_it_is_gone_also_behind_a_restart(office: Office) -> None:
    # Its receipt said failed, and an agent that was started anew left the export to its age.
    async def begin() -> Path:
        await office.keep()
        folder = block(
            folder_of(office, await office.submit(office.client, "export", select=SELECT_ALL, form="objects"))
        )
        told = await office.submit(office.client, "delete", select={"ids": [folder.name]})
        assert told["status"] == "accepted"
        (stays,) = office.index.read_now(office.bundle.lying)
        assert bundle.view(stays, policy=office.world.policy())["state"] == "erasing"
        return folder

    async def go_on(folder: Path) -> None:
        await office.commands.resume(office.moment)
        assert office.index.read_now(bundle.put_off) == (folder.name,), "the start meets what is there still"
        assert ends_of(office, folder.name) == []
        unblock(folder)
        await office.commands.resume(office.moment)
        told = office.waiting(office.client)[-1]
        assert (told["status"], told["outcomes"]) == ("done", [{"id": folder.name, "result": "deleted"}])
        (end,) = ends_of(office, folder.name)
        assert end["actor"] == office.client.kid
        assert office.index.read_now(bundle.put_off) == ()

    folder = run(begin())
    office.restart()
    run(go_on(folder))


def test_delete_of_everything_erases_the_rest_and_does_not_mean_an_export_that_is_made_later(office: Office) -> None:
    # Each try meant whatever lay there by then.
    async def begin() -> tuple[Path, str]:
        kept = await office.keep()
        raw = office.command(office.client, "delete", select=SELECT_ALL)
        assert await office.receive(office.client, raw)
        folder = block(await here(office))  # begun behind the command, of which it is no part
        submitted = await office.commands.submit(raw, moment=office.moment)
        assert office.client.open(submitted.receipt)["status"] == "accepted"
        assert office.get(kept.id) is None
        office.moment = at(3600)
        when_ms = (START_S + 1800) * 1000
        await office.keep(b"later", captured_from_ms=when_ms, captured_to_ms=when_ms)
        return folder, (await here(office)).name

    async def go_on(folder: Path, later: str) -> None:
        unblock(folder)
        await office.commands.resume(office.moment)
        told = office.waiting(office.client)[-1]
        assert (told["status"], {one["id"]: one["result"] for one in told["outcomes"]}[folder.name]) == (
            "done",
            "deleted",
        )
        assert [path.name for path in office.bundle.folder.iterdir()] == [later]

    begun = run(begin())
    office.restart()
    run(go_on(*begun))


def test_two_deletes_of_an_export_are_both_open_until_it_is_gone(office: Office) -> None:
    async def scenario() -> None:
        await office.keep()
        folder = block(
            folder_of(office, await office.submit(office.client, "export", select=SELECT_ALL, form="objects"))
        )
        for select in ({"ids": [folder.name]}, SELECT_ALL):
            assert (await office.submit(office.client, "delete", select=select))["status"] == "accepted"
        unblock(folder)
        await office.commands.resume(office.moment)
        ends = {
            next(one["result"] for one in told["outcomes"] if one["id"] == folder.name)
            for told in office.waiting(office.client)
            if told["verb"] == "delete" and told["status"] == "done"
        }
        assert ends == {"deleted", "already_gone"}
        assert len(ends_of(office, folder.name)) == 1

    run(scenario())


def test_limit_of_the_policy_leaves_what_a_command_waits_for_to_it_and_tries_its_own_again(office: Office) -> None:
    async def scenario() -> None:
        await office.keep()
        asked, due = [
            block(folder_of(office, await office.submit(office.client, "export", select=SELECT_ALL, form="objects")))
            for _ in range(2)
        ]
        assert (await office.submit(office.client, "delete", select={"ids": [asked.name]}))["status"] == "accepted"
        assert (
            office.bundle.expire(lambda one, _freed: "age" if one.id == due.name else None, moment=office.moment) == ()
        )
        for folder in (asked, due):
            unblock(folder)
        assert office.bundle.expire(lambda _one, _freed: None, moment=office.moment) == (due.name,)
        await office.commands.resume(office.moment)
        assert office.waiting(office.client)[-1]["outcomes"] == [{"id": asked.name, "result": "deleted"}]

    run(scenario())


def test_delete_of_everything_behind_another_that_waits_takes_no_export_that_is_asked_for_later(office: Office) -> None:
    # Only the other one's mark said that exports were looked for before, so each try took what was there by then.
    async def scenario() -> None:
        await office.keep()
        folder = block(
            folder_of(office, await office.submit(office.client, "export", select=SELECT_ALL, form="objects"))
        )
        for select in ({"ids": [folder.name]}, SELECT_ALL):
            assert (await office.submit(office.client, "delete", select=select))["status"] == "accepted"
        office.moment = at(3600)
        when_ms = (START_S + 1800) * 1000
        await office.keep(b"later", captured_from_ms=when_ms, captured_to_ms=when_ms)
        later = (await here(office)).name
        for _ in range(2):
            await office.commands.resume(office.moment)
            assert (office.bundle.folder / later).is_dir()
        unblock(folder)
        await office.commands.resume(office.moment)
        assert [path.name for path in office.bundle.folder.iterdir()] == [later]
        assert {told["status"] for told in office.waiting(office.client) if told["verb"] == "delete"} >= {"done"}

    run(scenario())


def test_cut_between_two_exports_that_a_delete_means_ends_it_with_neither(office: Office) -> None:
    # The mark of the first said that the delete was tried before, and the second was meant no more.
    async def begin() -> list[Path]:
        await office.keep()
        raw = office.command(office.client, "delete", select=SELECT_ALL)
        assert await office.receive(office.client, raw)
        folders = sorted([block(await here(office)), block(await here(office))])
        await office.commands.submit(raw, moment=office.moment)
        return folders

    async def go_on(folders: list[Path]) -> None:
        office.index.write_now(
            lambda tx: tx.execute("UPDATE export SET retried_by = '' WHERE id = ?", (folders[1].name,))
        )
        await office.commands.resume(office.moment)
        unblock(folders[0])
        await office.commands.resume(office.moment)
        assert office.index.read_now(office.bundle.exports) == {folders[1].name}
        assert "done" not in {told["status"] for told in office.waiting(office.client)}
        unblock(folders[1])
        await office.commands.resume(office.moment)
        assert office.index.read_now(office.bundle.exports) == frozenset()
        told = office.waiting(office.client)[-1]
        assert told["status"] == "done"
        assert {one["id"] for one in told["outcomes"] if one["result"] == "deleted"} >= {one.name for one in folders}

    folders = run(begin())
    office.restart()
    run(go_on(folders))


def test_export_that_stays_on_a_full_disk_keeps_no_other_from_making_room(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    # That nothing could be written down of it ended the pass, and with a sync that failed too the start.
    def full(*_words: object) -> None:
        raise SpaceError("the disk is full", hint="free space")

    async def scenario() -> None:
        await office.keep()
        stays, goes = [
            folder_of(office, await office.submit(office.client, "export", select=SELECT_ALL, form="objects"))
            for _ in range(2)
        ]
        block(stays)
        monkeypatch.setattr(export_rows, "put_off", full)
        assert office.bundle.expire(lambda _one, _freed: "age", moment=office.moment) == (goes.name,)
        assert office.index.read_now(office.bundle.exports) == {stays.name}

    run(scenario())


def test_delete_that_waits_for_a_store_alone_ends_with_its_word_whatever_export_is_made_meanwhile(
    office: Office,
) -> None:
    # The export was asked for before it, and nothing looked at a delete that waits any more.
    async def scenario() -> None:
        gone, held = await office.keep(), await office.keep(b"held")
        office.hold(held.id)
        upload = office.upload(gone.id)
        export = office.command(office.client, "export", select=SELECT_ALL, form="objects")
        assert await office.receive(office.client, export)
        office.moment = at(10)
        delete = office.command(office.client, "delete", select=SELECT_ALL)
        assert await office.receive(office.client, delete)
        running = office.index.read_now(lambda tx: office.trust.running(tx, limit=10))
        await office.commands._work_on(next(row.jti for row in running if row.verb == "delete"))
        await office.commands.submit(export, moment=office.moment)
        assert office.index.read_now(office.bundle.exports)
        office.confirm_erased(upload)
        assert office.waiting(office.client)[-1]["status"] == "partial"

    run(scenario())


def test_erase_all_means_the_exports_that_are_there_when_it_is_carried_out(office: Office) -> None:
    async def scenario() -> None:
        await office.keep()
        first = office.claims(office.client, "delete", select={"ids": [new_id()]})
        waits = await office.submit(office.client, "erase-all", after=first["jti"])
        assert waits["status"] == "waiting"
        office.moment = at(5)
        folder = await here(office)
        await office.receive(office.client, office.seal(office.client.sign(first)))
        await office.commands.resume(office.moment)
        assert office.index.read_now(office.bundle.exports) == frozenset()
        assert len(ends_of(office, folder.name)) == 1

    run(scenario())


def test_key_that_may_delete_for_the_owner_no_more_leaves_an_export_to_its_age(office: Office) -> None:
    # It said that a command tries again, and none did.
    async def scenario() -> None:
        await office.keep()
        folder = block(await here(office))
        assert (await office.submit(office.client, "delete", select=SELECT_ALL))["status"] == "accepted"
        office.client.role, office.client.verbs = "backend", office.backend.verbs
        keys = office.sign_keyset(2, signing_input_sha256(office.keyset_raw))
        await office.commands.submit(keys, moment=office.moment)
        await office.commands.resume(office.moment)
        unblock(folder)
        assert office.index.read_now(bundle.put_off) == ()
        assert office.bundle.expire(lambda _one, _freed: None, moment=office.moment) == ()
        assert office.bundle.expire(lambda _one, _freed: "age", moment=office.moment) == (folder.name,)

    run(scenario())


def test_export_that_no_command_may_remove_any_more_is_not_told_as_going(office: Office) -> None:
    async def scenario() -> None:
        await office.keep()
        folder = block(await here(office))
        assert (await office.submit(office.client, "delete", select=SELECT_ALL))["status"] == "accepted"
        office.index.write_now(lambda tx: office.bundle.keep(tx, folder.name))
        (stays,) = office.index.read_now(office.bundle.lying)
        assert bundle.view(stays, policy=office.world.policy())["state"] == "sealed"
        unblock(folder)
        assert office.bundle.expire(lambda _one, _freed: "age", moment=office.moment) == (folder.name,)

    run(scenario())


def test_export_that_a_limit_and_a_delete_remove_at_once_is_told_once(office: Office) -> None:
    async def scenario() -> None:
        await office.keep()
        folder = folder_of(office, await office.submit(office.client, "export", select=SELECT_ALL, form="objects"))
        delete = office.command(office.client, "delete", select={"ids": [folder.name]})
        loop = asyncio.get_running_loop()

        def ends(_one: bundle.Lying, _freed: int) -> str:  # between the look and the removal
            asyncio.run_coroutine_threadsafe(office.commands.submit(delete, moment=office.moment), loop).result()
            return "age"

        await asyncio.to_thread(office.bundle.expire, ends, moment=office.moment)
        assert len(ends_of(office, folder.name)) == 1
        assert office.waiting(office.client)[-1]["outcomes"] == [{"id": folder.name, "result": "deleted"}]

    run(scenario())


def test_exports_whose_whole_folder_a_person_removed_are_gone(office: Office) -> None:
    # It ended the agent, at each delete and at each look at what has to go.
    async def scenario() -> None:
        await office.keep()
        named = folder_of(office, await office.submit(office.client, "export", select=SELECT_ALL, form="objects"))
        await here(office)
        shutil.rmtree(office.bundle.folder)
        told = await office.submit(office.client, "delete", select={"ids": [named.name]})
        assert told["outcomes"] == [{"id": named.name, "result": "deleted"}]
        shutil.rmtree(office.bundle.folder)
        assert len(office.bundle.expire(lambda _export, _freed: "keep.age", moment=office.moment)) == 1
        assert office.index.read_now(office.bundle.exports) == frozenset()

    run(scenario())
