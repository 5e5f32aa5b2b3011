"""An export's id is chosen by who commands it, so it must mean nothing else; and two may delete one export at once."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.erasure import Erasure
from agent.model import Selection, new_id
from tests.commands.office import Office, run

ALL = {"all": True}


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    opened = Office(tmp_path / "state")
    yield opened
    opened.close()


async def exported_as(office: Office, export_id: str, select: dict[str, Any]) -> tuple[str, str]:
    receipt = await office.submit(office.backend, "export", jti=export_id, select=select, form="objects")
    return receipt["status"], receipt.get("reason", "")


def test_export_that_bears_an_objects_id_does_not_save_it_from_its_owners_delete(office: Office) -> None:
    async def scenario() -> None:
        named, other = await office.keep(), await office.keep()
        assert await exported_as(office, named.id, {"ids": [other.id]}) == ("refused", "malformed")
        receipt = await office.submit(office.client, "delete", select=ALL)
        assert {outcome["result"] for outcome in receipt["outcomes"]} == {"deleted"}
        assert [office.get(one.id) for one in (named, other)] == [None, None]

    run(scenario())


def test_export_may_not_bear_the_id_of_what_only_a_store_still_has(office: Office) -> None:
    async def scenario() -> None:
        gone, other = await office.keep(), await office.keep()
        office.upload(gone.id)
        retention: Erasure = office.erasure
        await retention.begin([gone.id], rule="category.recording.keep.age", moment=office.moment)
        await retention.resume(office.moment)
        assert office.get(gone.id) is None
        assert await exported_as(office, gone.id, {"ids": [other.id]}) == ("refused", "malformed")
        receipt = await office.submit(office.client, "delete", select=ALL)
        results = {outcome["id"]: outcome["result"] for outcome in receipt["outcomes"]}
        assert results == {gone.id: "waiting_for_cloud", other.id: "deleted"}

    run(scenario())


def test_backends_export_does_not_replace_one_that_was_made_here(office: Office) -> None:
    async def scenario() -> None:
        await office.keep()
        made = await office.commands.export_here(new_id(), Selection(all=True), form="objects", moment=office.moment)
        before = sorted(path.read_bytes() for path in made.folder.iterdir())
        assert await exported_as(office, made.id, ALL) == ("refused", "malformed")
        assert sorted(path.read_bytes() for path in made.folder.iterdir()) == before

    run(scenario())


def test_export_that_two_commands_delete_at_once_goes_and_nothing_ends(office: Office) -> None:
    async def scenario() -> None:
        for _ in range(100):
            await office.keep()
        made = await office.submit(office.client, "export", select=ALL, form="objects")
        select = {"ids": [made["export"]["object"]]}
        commands = [office.claims(office.client, "delete", select=select) for _ in range(4)]
        for claims in commands:
            await office.receive(office.client, office.seal(office.client.sign(claims)))

        def results() -> list[str]:
            names = {claims["jti"] for claims in commands}
            told = [one for one in office.waiting(office.client) if one["cmd"] in names and "outcomes" in one]
            return sorted(one["outcomes"][0]["result"] for one in told)

        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            running = group.create_task(office.commands.run(), name="commands")
            while len(results()) < len(commands):
                await office.changed.wait()
                office.changed.clear()
            running.cancel()
        assert results() == ["already_gone", "already_gone", "already_gone", "deleted"]
        assert not any((office.folder / "exports").iterdir())

    run(scenario())
