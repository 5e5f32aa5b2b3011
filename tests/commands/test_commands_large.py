"""Deletes of many objects: in parts, in the order of arrival, each part's outcome kept, one receipt at the end.

A delete of a million held up everything else: its ids were made into rows in one transaction, its outcomes decided in
another, and of its parts none emptied a group of keys.
"""

import asyncio
import hashlib
from functools import partial
from pathlib import Path

import apsw
import pytest

from agent import erasure as erasing
from agent.commands import flow, ledger
from agent.envelope import Quota
from agent.errors import SpaceError
from agent.ids import Ids
from agent.index import Tx
from agent.model import Outcome, new_id
from tests.commands.office import Office, Party, run

SELECT_ALL = {"all": True}


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (erasing, flow):
        monkeypatch.setattr(module, "PART", 4)


async def carried_out(office: Office, who: Party) -> None:
    """Run until nothing is left of the newest command."""
    running = asyncio.ensure_future(office.commands.run())
    while office.waiting(who)[-1]["status"] in {"accepted", "in_progress"}:
        office.changed.clear()
        await office.changed.wait()
    running.cancel()


def asked(office: Office) -> list[int]:
    """Return how many objects each request to the erasure named, in the order in which they came."""
    rows = office.index.read_now(lambda tx: tx.execute("SELECT line FROM audit ORDER BY seq"))
    return [int(line.split(b'"asked":')[1].split(b",")[0]) for (line,) in rows if b'"erase_asked"' in line]


def erased(office: Office) -> list[str]:
    rows = office.index.read_now(lambda tx: tx.execute("SELECT line FROM audit ORDER BY seq"))
    return [line.split(b'"object":"')[1][:26].decode() for (line,) in rows if b'"kind":"erased"' in line]


def test_large_delete_goes_in_parts_in_the_order_of_arrival_and_then_what_is_not_here(office: Office) -> None:
    async def scenario() -> None:
        kept = [(await office.keep(b"")).id for _number in range(10)]
        absent = [new_id() for _number in range(3)]
        receipt = await office.submit(office.client, "delete", select={"ids": kept + absent})
        assert receipt["status"] == "done"
        results = {outcome["id"]: outcome["result"] for outcome in receipt["outcomes"]}
        assert results == dict.fromkeys(kept, "deleted") | dict.fromkeys(absent, "already_gone")
        assert asked(office)[:3] == [4, 4, 2]
        assert sum(asked(office)) == 13
        order = erased(office)
        assert [set(order[start : start + 4]) for start in (0, 4, 8)] == [
            set(kept[start : start + 4]) for start in (0, 4, 8)
        ]

    run(scenario())


def test_small_delete_does_not_wait_for_the_end_of_a_large_one(office: Office) -> None:
    async def scenario() -> None:
        for _number in range(40):
            await office.keep(b"")
        running = asyncio.ensure_future(office.commands.run())
        large = office.command(office.backend, "delete", select={"category": "recording"})
        small = (await office.keep(b"", category="photo")).id
        assert await office.receive(office.backend, large)
        await office.submit(office.client, "delete", select={"ids": [small]})
        assert office.waiting(office.backend)[-1]["status"] in {"accepted", "in_progress"}
        while office.waiting(office.backend)[-1]["status"] != "done":
            office.changed.clear()
            await office.changed.wait()
        running.cancel()

    run(scenario())


def test_large_delete_that_is_cut_off_between_parts_goes_on_where_it_was(office: Office) -> None:
    class PowerCutError(BaseException):
        pass

    steps = 0

    def cut(step: int) -> None:
        nonlocal steps
        steps += step == 7
        if steps == 2:
            raise PowerCutError

    async def before() -> list[str]:
        kept = [(await office.keep(b"")).id for _number in range(10)]
        office.erasure._at = cut
        with pytest.raises(PowerCutError):
            await office.submit(office.client, "delete", select=SELECT_ALL)
        return kept

    kept = run(before())
    office.restart()

    async def after() -> None:
        await office.erasure.resume(office.moment)
        await office.commands.resume(office.moment)
        (told,) = office.waiting(office.client)
        assert (told["status"], told["selection"]["count"]) == ("done", 10)
        assert sorted(erased(office)) == sorted(kept)
        assert asked(office) == [4, 4, 2]

    run(after())


def test_resumed_large_delete_asks_for_nothing_that_was_decided_although_it_is_still_here(office: Office) -> None:
    class PowerCutError(BaseException):
        pass

    def cut(step: int) -> None:
        if step == 7:
            raise PowerCutError

    async def before() -> tuple[list[str], list[str]]:
        kept = [(await office.keep(b"")).id for _number in range(10)]
        absent = [new_id() for _number in range(3)]
        for object_id in kept[:3]:
            office.hold(object_id)
        office.erasure._at = cut
        with pytest.raises(PowerCutError):
            await office.submit(office.client, "delete", select={"ids": kept + absent})
        return kept, absent

    kept, absent = run(before())
    office.restart()

    async def after() -> None:
        await office.erasure.resume(office.moment)
        await office.commands.resume(office.moment)
        (told,) = office.waiting(office.client)
        assert told["status"] == "accepted", "nine are left: that may take long, and nobody is let in before the end"
        await carried_out(office, office.client)
        (told,) = office.waiting(office.client)
        results = {outcome["id"]: outcome["result"] for outcome in told["outcomes"]}
        assert results == (
            dict.fromkeys(kept[:3], "held") | dict.fromkeys(kept[3:], "deleted") | dict.fromkeys(absent, "already_gone")
        )
        assert asked(office)[:3] == [4, 4, 2]
        assert sum(asked(office)) == 13

    run(after())


def test_progress_of_a_large_delete_is_told(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "PROGRESS_MS", 0)

    async def scenario() -> None:
        for _number in range(10):
            await office.keep(b"")
        last, steps = 0, []

        async def watch() -> None:
            nonlocal last
            while True:
                for message in await office.index.read(partial(office.outbox.pending, after=last)):
                    last = message.row
                    told = office.client.open(message.body)
                    if told["status"] == "in_progress":
                        steps.append((told["progress"]["done"], told["progress"]["total"]))
                await asyncio.sleep(0)

        watching = asyncio.ensure_future(watch())
        await office.submit(office.client, "delete", select=SELECT_ALL)
        watching.cancel()
        assert steps
        assert set(steps) <= {(0, 10), (4, 10), (8, 10)}
        assert steps == sorted(steps)

    run(scenario())


def test_many_that_wait_for_the_cloud_are_told_once_and_then_done(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "MAX_OUTCOMES", 3)

    async def scenario() -> None:
        kept = [(await office.keep(b"")).id for _number in range(10)]
        uploads = [office.upload(object_id) for object_id in kept]
        waiting = await office.submit(office.client, "delete", select=SELECT_ALL)
        assert waiting["status"] == "waiting"
        for upload in uploads[:-1]:
            office.confirm_erased(upload)
            assert office.waiting(office.client) == [waiting]
        office.confirm_erased(uploads[-1])
        (done,) = office.waiting(office.client)
        lines = "".join(f"{object_id} deleted\n" for object_id in sorted(kept))
        assert (done["status"], done["outcomes_hash"]) == ("done", hashlib.sha256(lines.encode()).hexdigest())
        assert office.index.read_now(lambda tx: tx.execute("SELECT count(*) FROM erasure")) == [(0,)]

    run(scenario())


def test_object_that_two_deletes_name_answers_both_when_its_last_copy_is_confirmed(office: Office) -> None:
    async def scenario() -> None:
        kept = (await office.keep(b"")).id
        first = office.upload(kept)
        office.index.write_now(lambda tx: office.vault.note_lost(tx, first, moment=office.moment))
        second = office.upload(kept, manifest="b" * 64)
        for who in (office.client, office.backend):
            assert (await office.submit(who, "delete", select={"ids": [kept]}))["status"] == "waiting"
        office.confirm_erased(first)
        assert [office.waiting(who)[0]["status"] for who in (office.client, office.backend)] == ["waiting"] * 2
        office.confirm_erased(second, manifest="b" * 64)
        assert [office.waiting(who)[0]["status"] for who in (office.client, office.backend)] == ["done"] * 2

    run(scenario())


def test_export_that_was_made_after_the_selection_was_frozen_settles_nothing_early(office: Office) -> None:
    ids = Ids.of([new_id(), new_id()])
    accepted = run(office.receive(office.client, office.command(office.client, "delete", select={"ids": list(ids)})))
    assert accepted is not None
    jti = accepted["cmd"]

    def decide(tx: Tx) -> list[int]:
        left = [office.trust.left(tx, jti)]
        office.trust.decide(tx, jti, (Outcome(id=new_id(), result="deleted"),), selected=False)
        left.append(office.trust.left(tx, jti))
        for _again in range(2):
            office.trust.decide(tx, jti, (Outcome(id=ids[0], result="waiting_for_cloud"),))
            left.append(office.trust.left(tx, jti))
        office.trust.decide(tx, jti, (Outcome(id=ids[0], result="deleted"), Outcome(id=ids[1], result="held")))
        assert office.trust.tally(tx, jti) == {"deleted": 2, "held": 1}
        return [*left, office.trust.left(tx, jti)]

    assert office.index.read_now(decide) == [2, 2, 1, 1, 0]


def test_selection_of_a_large_delete_is_written_and_read_without_a_copy_in_sqlite(office: Office) -> None:
    ids = Ids(b"".join(b"%026d" % number for number in range(200_000)))
    jti = new_id()

    def freeze(tx: Tx) -> int:
        tx.execute("PRAGMA defer_foreign_keys = ON")
        before = apsw.memory_used()
        apsw.memory_high_water(True)  # noqa: FBT003 - from here on
        office.trust.freeze(tx, jti, ids, objects=0, size_bytes=0)
        assert office.trust.frozen(tx, jti) == ids
        return apsw.memory_high_water() - before

    assert office.index.read_now(freeze) < len(ids.value) // 2


def test_command_that_an_older_version_froze_is_carried_out(office: Office) -> None:
    async def scenario() -> None:
        for _number in range(6):
            await office.keep(b"")
        raw = office.command(office.client, "delete", select=SELECT_ALL)
        assert await office.receive(office.client, raw)
        office.index.write_now(lambda tx: tx.execute("DELETE FROM command_measure"))
        await office.commands.resume(office.moment)
        await carried_out(office, office.client)
        assert office.waiting(office.client)[0]["status"] == "done"

    run(scenario())


def test_waiting_command_of_an_older_version_waits_for_the_owner(tmp_path: Path) -> None:
    office = Office(tmp_path / "state", quota=Quota(objects=1, bytes=10**9, window_s=60))

    async def scenario() -> None:
        for _number in range(2):
            await office.keep(b"")
        waiting = await office.submit(office.backend, "delete", select=SELECT_ALL)
        assert waiting["reason"] == "quota_exceeded"
        office.index.write_now(lambda tx: tx.execute("DELETE FROM command_measure"))
        await office.commands.tick(office.moment)
        assert office.waiting(office.backend) == [waiting]
        approve = {"command": waiting["cmd"], "selection": waiting["selection"]["hash"]}
        assert (await office.submit(office.client, "approve", **approve))["status"] == "done"
        assert office.waiting(office.backend)[0]["status"] == "done"

    run(scenario())
    office.close()


def test_delete_that_has_no_room_to_tell_how_far_it_is_goes_on(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """What only informs is no urgent write: the room kept back for deletes is not spent on it."""
    asked_for = 0

    def no_room(*_: object, **_progress: object) -> None:
        nonlocal asked_for
        asked_for += 1
        raise SpaceError("the disk is full")

    async def scenario() -> None:
        for _number in range(10):
            await office.keep(b"")
        monkeypatch.setattr(office.ledger, "progress", no_room)
        monkeypatch.setattr(flow, "PROGRESS_MS", 0)
        assert (await office.submit(office.client, "delete", select=SELECT_ALL))["status"] == "done"
        assert asked_for

    run(scenario())
