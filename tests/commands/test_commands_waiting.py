"""A command that waits for nothing but a store's word stands in nobody's way.

A store that was away for good made the owner's 65th delete ``busy``, and 256 such commands hid every other that waited.
"""

from functools import partial
from pathlib import Path

import msgspec
import pytest

from agent.model import new_id
from agent.rights import consent
from agent.trust import UNCONFIRMED_MAX, UNFINISHED_MAX, CommandRow
from tests.commands.consenting import Consulate
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


@pytest.mark.parametrize(
    ("verb", "own"),
    [
        ("object", {"do_not_track": True}),
        ("withdraw", {"purpose": "analytics"}),
        ("consent", {"purpose": "analytics", "decision": "refused"}),
        ("rectify", {"camera": "cam1", "set": {"name": "Tor"}}),
    ],
)
def test_what_says_no_or_corrects_waits_behind_no_deletes_and_is_bounded_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, own: dict[str, object]
) -> None:
    """A right that came ``after`` deletes was refused as ``busy`` where those could not go on."""
    monkeypatch.setattr("agent.commands.admission.UNCONFIRMED_MAX", 3)
    monkeypatch.setattr("agent.commands.admission.UNFINISHED_MAX", 2)
    office = Consulate(tmp_path / "consulate")

    async def live() -> None:
        stuck = [(await unconfirmed(office)).jti for _ in range(2)]
        kept = await office.keep()
        for _ in range(3):
            told = await office.submit(office.client, verb, after=stuck[0], **own)
            assert (told["status"], told["reason"]) == ("waiting", "after_pending")
        told = await office.submit(office.client, verb, after=stuck[0], **own)
        assert (told["status"], told["reason"]) == ("refused", "busy")
        await unconfirmed(office)
        told = await office.submit(office.client, "delete", select={"ids": [kept.id]})
        assert (told["status"], told["reason"]) == ("refused", "busy")

    run(live())
    office.close()


def test_withdrawal_behind_deletes_that_cannot_go_on_acts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.commands.admission.UNCONFIRMED_MAX", 1)
    office = Consulate(tmp_path / "consulate")

    async def live() -> None:
        await unconfirmed(office)
        await office.give()
        held = await office.keep_for("security", "analytics")
        told = await office.withdraw()
        assert told["status"] == "done"
        assert [one["id"] for one in told["outcomes"]] == [held.id]

    run(live())
    office.close()


def test_withdrawal_that_is_refused_as_busy_has_no_effect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.commands.admission.UNCONFIRMED_MAX", 1)
    office = Consulate(tmp_path / "consulate")

    async def live() -> None:
        await office.give()
        told = await office.submit(office.client, "object", do_not_track=True, after=new_id())
        assert told["reason"] == "after_pending"
        state = office.index.read_now(consent.state)
        assert (await office.withdraw())["reason"] == "busy"
        assert office.index.read_now(consent.state) == state

    run(live())
    office.close()
