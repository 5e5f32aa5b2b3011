"""Who never acknowledges: what is kept of its answers is bounded in bytes, and nothing that matters goes for that."""

import secrets
from pathlib import Path
from typing import Any

import pytest

from agent import trust
from agent.model import new_id
from tests.commands.office import Office, Party, run

SMALL = 256 << 10


async def asked(office: Office, party: Party, verb: str, **select: object) -> dict[str, Any]:
    return await office.submit(party, verb, select=select)


async def until_busy(office: Office, verb: str, **select: object) -> int:
    """Ask until the backend is told busy; return how often it was answered before."""
    for count in range(100):
        told = await asked(office, office.backend, verb, **select)
        if told["status"] == "refused":
            assert (told["reason"], told["retry"]) == ("busy", "later")
            return count
    pytest.fail("it was answered for ever")


@pytest.mark.parametrize("verb", ["inventory", "delete"])
def test_backend_that_never_acknowledges_is_told_busy_before_its_answers_fill_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """The bound was 4,096 answers, of up to 97 KiB each: 200 inventories took 12 MiB of the index."""
    monkeypatch.setattr(trust, "UNREAD_BYTES_MAX", SMALL)
    office = Office(tmp_path / "state")

    async def scenario() -> None:
        kept = [await office.keep(secrets.token_bytes(10)) for _ in range(100)]
        select = {"all": True} if verb == "inventory" else {"ids": [new_id() for _ in range(200)]}
        first = office.command(office.backend, verb, select=select)
        told = office.backend.open((await office.commands.submit(first, moment=office.moment)).receipt)
        assert 1 < await until_busy(office, verb, **select) < 40

        again = await office.receive(office.backend, first)
        assert again == told, "a repeat gets the receipt that it had"
        deleted = await asked(office, office.client, "delete", ids=[kept[0].id])
        assert deleted["status"] == "done", "the owner always gets through"

        jtis = [message["jti"] for message in office.waiting(office.backend)]
        await office.receive(office.backend, office.ack(office.backend, *jtis))
        assert (await asked(office, office.backend, "inventory", all=True))["status"] == "done"

    run(scenario())
    office.close()


def test_receipt_of_a_delete_outlives_that_of_an_inventory_where_not_all_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust, "KEPT_SETTLED_MAX", 3)
    office = Office(tmp_path / "state")

    async def scenario() -> None:
        kept = await office.keep(b"x")
        delete = office.command(office.client, "delete", select={"ids": [kept.id]})
        told = office.client.open((await office.commands.submit(delete, moment=office.moment)).receipt)
        assert told["status"] == "done"
        for _ in range(5):
            await asked(office, office.client, "inventory", all=True)
        assert await office.receive(office.client, delete) == told

    run(scenario())
    office.close()


def test_acknowledged_results_are_kept_only_as_far_as_they_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "KEPT_RESULTS_BYTES", 8 << 10)
    office = Office(tmp_path / "state")

    async def scenario() -> None:
        for _ in range(20):
            told = await asked(office, office.backend, "inventory", all=True)
            await office.receive(office.backend, office.ack(office.backend, told["jti"]))

        lengths = office.index.read_now(lambda tx: tx.execute("SELECT length(receipt) FROM command"))
        assert 0 < sum(length for (length,) in lengths) <= 8 << 10

    run(scenario())
    office.close()
