"""A backend that asks for much must not make the owner wait."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.commands.flow import RUNNING_MAX
from tests.commands.office import Office, run

EXPORTS = RUNNING_MAX + 1
ENOUGH = 3


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    opened = Office(tmp_path / "state")
    yield opened
    opened.close()


def test_owners_delete_does_not_queue_behind_a_backends_exports(office: Office) -> None:
    async def scenario() -> None:
        kept, other = await office.keep(), await office.keep()
        for _ in range(EXPORTS):
            raw = office.command(office.backend, "export", select={"ids": [other.id]}, form="objects")
            answer = await office.receive(office.backend, raw)
            assert answer is not None
            assert answer["status"] == "accepted"
        async with asyncio.TaskGroup() as group:
            async with office.commands._exports.line:  # a very long export is being built
                working = group.create_task(office.commands.run(), name="commands")
                await asyncio.sleep(0)
                delete = office.command(office.client, "delete", select={"ids": [kept.id]})
                await office.receive(office.client, delete)
                async with asyncio.timeout(60):
                    while office.get(kept.id) is not None:
                        await office.index.read(lambda _tx: None)
            async with asyncio.timeout(60):  # and then the exports go on, one after the other
                while len(office.index.read_now(office.bundle.exports)) < ENOUGH:
                    await office.index.read(lambda _tx: None)
            working.cancel()

    run(scenario())
