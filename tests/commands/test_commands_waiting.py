"""A command that waits for nothing but a store's word stands in nobody's way.

A store that was away for good made the owner's 65th delete ``busy``, and 256 such commands hid every other that waited.
"""

from functools import partial

import msgspec
import pytest

from agent.model import new_id
from agent.trust import UNCONFIRMED_MAX, UNFINISHED_MAX, CommandRow
from tests.commands.office import Office, run

MANY = 300


async def unconfirmed(office: Office) -> CommandRow:
    """Delete one object whose store says nothing, and return the row of that command."""
    kept = await office.keep()
    office.upload(kept.id)
    told = await office.submit(office.client, "delete", select={"ids": [kept.id]})
    assert (told["status"], told.get("reason")) == ("waiting", None)
    row = office.index.read_now(lambda tx: office.trust.command(tx, told["cmd"]))
    assert row is not None
    return row


def repeat(office: Office, row: CommandRow, count: int) -> None:
    def copy(number: int) -> CommandRow:
        return msgspec.structs.replace(row, jti=new_id(), seq=row.seq + number, digest=f"{number:064}")

    for number in range(count):
        office.index.write_now(partial(office.trust.keep, row=copy(number)))


def test_deletes_that_wait_for_a_store_make_no_further_one_busy(office: Office) -> None:
    async def live() -> None:
        for _ in range(UNFINISHED_MAX + 1):
            await unconfirmed(office)

    run(live())


def test_what_waits_for_a_store_hides_nothing_else_that_waits(office: Office) -> None:
    async def live() -> None:
        repeat(office, await unconfirmed(office), MANY)
        office.moment = msgspec.structs.replace(office.moment, trusted=False)
        kept = await office.keep()
        told = await office.submit(office.backend, "delete", select={"ids": [kept.id]})
        assert told["reason"] == "clock_unconfirmed"
        office.moment = msgspec.structs.replace(office.moment, trusted=True)
        await office.commands.resume(office.moment)
        assert office.get(kept.id) is None

    run(live())


def test_commands_that_wait_for_a_store_are_bounded_too(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    assert UNCONFIRMED_MAX >= 10 * UNFINISHED_MAX
    monkeypatch.setattr("agent.commands.admission.UNCONFIRMED_MAX", 3)

    async def live() -> None:
        for _ in range(3):
            await unconfirmed(office)
        kept = await office.keep()
        told = await office.submit(office.client, "delete", select={"ids": [kept.id]})
        assert told["reason"] == "busy"
        other = await office.submit(office.backend, "delete", select={"ids": [kept.id]})
        assert other["status"] == "done", "another key has its own bound"

    run(live())
