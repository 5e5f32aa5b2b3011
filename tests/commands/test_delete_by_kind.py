"""A delete by camera, category, time or of everything reaches what is gone here and still lies in an export."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from agent.index.bundle import MIGRATIONS
from agent.model import Object
from tests.commands.office import Office, run
from tests.commands.test_export_stays import SELECT_ALL, made_here
from tests.commands.test_export_under_way import ask, from_its_thread, under_way

MEANT: dict[str, Any] = {
    "camera": "door",
    "category": "photo",
    "captured_from_ms": 1_760_000_000_000,
    "captured_to_ms": 1_760_000_060_000,
}
BY_KIND: dict[str, dict[str, Any]] = {
    "camera": {"camera": "door"},
    "category": {"category": "photo"},
    "time": {"from": "2025-10-09T08:54:00.000Z", "to": "2025-10-09T08:55:00.000Z"},
    "all of it": {"camera": "door", "category": "photo", "from": "2025-10-09T00:00:00.000Z"},
}


async def expire(office: Office, item: Object) -> None:
    """Let a limit of the policy end an object."""
    await office.erasure.erase([item.id], actor="device", rule="keep.age", command="", moment=office.moment)
    assert office.get(item.id) is None


@pytest.mark.promise("ERASE")
@pytest.mark.parametrize("select", BY_KIND.values(), ids=BY_KIND.keys())
@pytest.mark.parametrize("asks", ["client", "backend"])
def test_delete_by_what_it_was_names_the_export_that_has_a_copy_of_what_a_limit_ended(
    office: Office, asks: str, select: dict[str, Any]
) -> None:
    # It selected what is here, and said that all of it is done.
    async def scenario() -> None:
        meant, other = await office.keep(**MEANT), await office.keep()
        made = await made_here(office)
        await expire(office, meant)
        await expire(office, other)
        told = await office.submit(getattr(office, asks), "delete", select=select)
        assert (told["status"], told["selection"]["count"]) == ("done", 1)
        assert told["outcomes"] == [
            {"id": meant.id, "result": "already_gone", "remarks": ["export_copy_remains"], "exports": [made.id]}
        ]

    run(scenario())


def test_delete_by_what_it_was_names_the_copy_of_what_waits_for_its_key_to_be_destroyed(office: Office) -> None:
    async def scenario() -> None:
        meant = await office.keep(**MEANT)
        made = await made_here(office)
        await office.erasure.begin([meant.id], rule="keep.age", moment=office.moment)
        found = office.get(meant.id)
        assert found is not None
        assert found.state == "erasing"
        told = await office.submit(office.client, "delete", select={"camera": "door"})
        (outcome,) = told["outcomes"]
        assert (outcome["id"], outcome["exports"]) == (meant.id, [made.id])
        assert office.get(meant.id) is None

    run(scenario())


def test_delete_of_everything_removes_the_copy_with_its_export_and_names_what_it_was_of(office: Office) -> None:
    async def scenario() -> None:
        gone = await office.keep(**MEANT)
        made = await made_here(office)
        await expire(office, gone)
        told = await office.submit(office.client, "delete", select=SELECT_ALL)
        assert {one["id"]: (one["result"], one.get("exports")) for one in told["outcomes"]} == {
            gone.id: ("already_gone", None),
            made.id: ("deleted", None),
        }
        assert list(office.bundle.folder.iterdir()) == []

    run(scenario())


def test_backends_delete_of_everything_names_the_copy_in_the_owners_export(office: Office) -> None:
    async def scenario() -> None:
        gone = await office.keep(**MEANT)
        made = await made_here(office)
        await expire(office, gone)
        told = await office.submit(office.backend, "delete", select=SELECT_ALL)
        assert told["outcomes"] == [
            {"id": gone.id, "result": "already_gone", "remarks": ["export_copy_remains"], "exports": [made.id]}
        ]

    run(scenario())


def test_what_is_here_is_meant_by_what_it_is_now_and_not_by_what_an_export_has_of_it(office: Office) -> None:
    async def scenario() -> None:
        item = await office.keep()
        await made_here(office)
        office.index.write_now(lambda tx: tx.execute("UPDATE export_object SET camera = 'door'"))
        told = await office.submit(office.client, "delete", select={"camera": "door"})
        assert told["selection"]["count"] == 0
        assert office.get(item.id) is not None

    run(scenario())


@pytest.mark.parametrize("select", [*BY_KIND.values(), SELECT_ALL], ids=[*BY_KIND.keys(), "everything"])
def test_what_a_limit_ended_while_an_export_of_it_is_built_is_in_none_behind_its_delete(
    office: Office, select: dict[str, Any]
) -> None:
    # The copy was there, its row was not: nothing selected it.
    async def scenario() -> None:
        meant, other = await office.keep(**MEANT), await office.keep()
        export = await ask(office)
        meanwhile = from_its_thread()
        begun: list[Any] = []

        async def end_and_delete() -> None:
            await expire(office, meant)
            accepted = await office.receive(office.client, office.command(office.client, "delete", select=select))
            assert accepted is not None
            begun.append(accepted["cmd"])
            if select != SELECT_ALL:  # that waits for the export
                await office.commands._work_on(accepted["cmd"])

        def progress(done: int, total: int) -> None:
            if done == total and not begun:
                meanwhile(end_and_delete()).result()

        row, request = under_way(office, export)
        exports = office.commands._exports
        async with exports.line:
            await exports.carry_out(row, request, progress=progress)
        if select == SELECT_ALL:
            await asyncio.wait_for(office.commands._work_on(begun[0]), 60)
        told = next(one for one in office.waiting(office.client) if one["cmd"] == begun[0])
        results = {one["id"]: (one["result"], one.get("exports")) for one in told["outcomes"]}
        if select == SELECT_ALL:
            assert results == {
                meant.id: ("already_gone", None),
                other.id: ("deleted", None),
                export: ("deleted", None),
            }
            assert list(office.bundle.folder.iterdir()) == []
        else:
            assert results == {meant.id: ("already_gone", None)}
            assert office.index.read_now(lambda tx: office.bundle.holding(tx, meant.id)) == ()
            assert not (office.bundle.folder / export / f"{meant.id}.age").exists()
            assert (office.bundle.folder / export / f"{other.id}.age").exists()

    run(scenario())


def test_copies_that_an_older_version_wrote_are_found_by_what_was_left_of_their_objects(tmp_path: Path) -> None:
    old = sqlite3.connect(tmp_path / "old")
    for table in ("object (id TEXT", "remote_only (object TEXT"):
        old.execute(
            f"CREATE TABLE {table}, camera TEXT, category TEXT, captured_from_ms INTEGER, captured_to_ms INTEGER)"
        )
    *before, last = MIGRATIONS
    for script in before:
        old.executescript(script)
    old.execute("INSERT INTO object VALUES ('here', 'door', 'photo', 1, 2)")
    old.execute("INSERT INTO remote_only VALUES ('at_store', 'yard', 'recording', 3, 4)")
    old.execute("INSERT INTO export (id, made_ms, bytes) VALUES ('e', 0, 0)")
    old.executemany("INSERT INTO export_object VALUES ('e', ?)", [("here",), ("at_store",), ("gone",)])
    old.executescript(last)
    assert old.execute("SELECT * FROM export_object ORDER BY object").fetchall() == [
        ("e", "at_store", "yard", "recording", 3, 4),
        ("e", "gone", None, None, None, None),
        ("e", "here", "door", "photo", 1, 2),
    ]
    old.close()


def test_copy_of_which_an_older_version_noted_nothing_is_meant_by_a_delete_of_everything_alone(office: Office) -> None:
    async def scenario() -> None:
        gone = await office.keep(**MEANT)
        await made_here(office)
        await expire(office, gone)
        unknown = ", ".join(f"{name} = NULL" for name in MEANT)
        office.index.write_now(lambda tx: tx.execute(f"UPDATE export_object SET {unknown}"))  # noqa: S608 - our own names
        for select in BY_KIND.values():
            assert (await office.submit(office.client, "delete", select=select))["selection"]["count"] == 0
        told = await office.submit(office.backend, "delete", select=SELECT_ALL)
        assert [one["id"] for one in told["outcomes"]] == [gone.id]

    run(scenario())
