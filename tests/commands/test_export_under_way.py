"""Deletes that meet an export which is asked for, or is being built: nothing that they mean stays in one untold."""

import asyncio
import errno
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

import pytest

from agent import files
from agent.bundle import ExportFile
from agent.bundle.work import Work
from agent.commands.ledger import command_of
from agent.envelope import Export, Quota
from agent.errors import CorruptError, LinkError, RefusedError
from agent.index import IndexLostError, Tx
from agent.model import Selection, new_id
from agent.trust import CommandRow
from tests.commands.office import Office, at, run
from tests.commands.test_export_stays import SELECT_ALL, block, ends_of, folder_of, made_here, unblock

T = TypeVar("T")


async def ask(office: Office, **own: object) -> str:
    """Ask for an export, of everything unless told, that nobody begins yet; return its id."""
    raw = office.command(office.client, "export", **({"select": SELECT_ALL, "form": "objects"} | own))
    accepted = await office.receive(office.client, raw)
    assert accepted is not None
    return str(accepted["cmd"])


def from_its_thread() -> Callable[[Coroutine[Any, Any, T]], "Future[T]"]:
    """Return what has this loop do something, called from the thread in which an export is built."""
    loop = asyncio.get_running_loop()
    return lambda work: asyncio.run_coroutine_threadsafe(work, loop)


def under_way(office: Office, export: str) -> tuple[CommandRow, Export]:
    """Return the command of an export as whoever carries it out has read it."""
    row = office.index.read_now(lambda tx: office.trust.command(tx, export))
    assert row is not None
    request = command_of(row).request
    assert isinstance(request, Export)
    return row, request


def test_object_that_is_deleted_while_an_export_of_it_is_built_is_in_no_export(office: Office) -> None:
    # It was copied by then: the export kept it, and the receipt of its delete named no copy.
    async def scenario() -> None:
        objects = sorted([(await office.keep(content)).id for content in (b"one", b"two", b"three")])
        deleted, *others = objects
        receipts: list[dict[str, Any]] = []
        meanwhile = from_its_thread()

        def progress(done: int, _total: int) -> None:
            if not receipts and done:
                delete = office.submit(office.client, "delete", select={"ids": [deleted]})
                receipts.append(meanwhile(delete).result())

        made = await made_here(office, progress)
        (receipt,) = receipts
        (outcome,) = receipt["outcomes"]
        assert (outcome["id"], outcome["result"]) == (deleted, "deleted")
        assert "export_copy_remains" not in outcome["remarks"]
        assert sorted(made.within) == others
        assert [outcome.id for outcome in made.outcomes if outcome.result == "exported"] == others
        assert sorted(path.name for path in made.folder.iterdir()) == sorted(file.name for file in made.files)
        assert office.index.read_now(lambda tx: office.bundle.holding(tx, deleted)) == ()
        assert [path.name for path in office.bundle.folder.iterdir()] == [made.id]

    run(scenario())


def test_object_that_goes_before_it_is_packed_is_left_out_of_the_archive(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It had been found whole: the export ended, and said that its payload cannot be read.
    real = Work.seal

    async def scenario() -> None:
        first, *others = sorted([(await office.keep(content)).id for content in (b"one", b"two")])
        meanwhile = from_its_thread()

        def seal(work: Work, name: str, pieces: Iterator[bytes]) -> ExportFile:
            if office.get(first) is not None:
                delete = office.submit(office.client, "delete", select={"ids": [first]})
                meanwhile(delete).result()
            return real(work, name, pieces)

        monkeypatch.setattr(Work, "seal", seal)
        made = await office.commands.export_here(new_id(), Selection(all=True), form="zip", moment=office.moment)
        assert [(one.id, one.result) for one in made.outcomes] == [
            (first, "already_gone"),
            *((one, "exported") for one in others),
        ]
        assert [path.name for path in office.bundle.folder.iterdir()] == [made.id]

    run(scenario())


def test_archive_of_an_object_whose_file_is_lost_as_it_is_packed_is_not_tried_without_end(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Work.seal

    async def scenario() -> None:
        item = await office.keep()

        def seal(work: Work, name: str, pieces: Iterator[bytes]) -> ExportFile:
            office.vault.payload_path(item.id).unlink()
            return real(work, name, pieces)

        monkeypatch.setattr(Work, "seal", seal)
        with pytest.raises(CorruptError, match=item.id):
            await office.commands.export_here(new_id(), Selection(all=True), form="zip", moment=office.moment)
        assert list(office.bundle.folder.iterdir()) == []

    run(scenario())


def test_what_a_limit_ends_while_an_export_is_built_is_in_it_and_begins_nothing_anew(office: Office) -> None:
    """In a full vault a camera that records ends the oldest all the time, and an export of them would never end."""

    async def scenario() -> None:
        objects = sorted([(await office.keep(content)).id for content in (b"one", b"two", b"three")])
        meanwhile = from_its_thread()
        told: list[int] = []

        def progress(done: int, _total: int) -> None:
            told.append(done)
            if told == [1]:
                ends = office.erasure.erase(
                    objects[:1], actor="device", rule="keep.count", command="", moment=office.moment
                )
                meanwhile(ends).result()

        made = await made_here(office, progress)
        assert office.get(objects[0]) is None
        assert sorted(made.within) == objects
        assert told == [1, 2, 3]

    run(scenario())


def test_export_of_nothing_but_what_is_deleted_meanwhile_is_none(office: Office) -> None:
    async def scenario() -> None:
        item = await office.keep()
        meanwhile = from_its_thread()

        def progress(done: int, _total: int) -> None:
            if done and office.get(item.id) is not None:
                delete = office.submit(office.client, "delete", select={"ids": [item.id]})
                meanwhile(delete).result()

        made = await made_here(office, progress)
        assert made.files == ()
        assert [(outcome.id, outcome.result) for outcome in made.outcomes] == [(item.id, "already_gone")]
        assert list(office.bundle.folder.iterdir()) == []

    run(scenario())


def test_delete_that_names_an_export_before_it_is_begun_keeps_it_from_being_made(office: Office) -> None:
    # It said that it was gone already, and the export was made behind it.
    async def scenario() -> None:
        await office.keep()
        export = await ask(office)
        told = await office.submit(office.client, "delete", select={"ids": [export]})
        assert (told["status"], told["outcomes"]) == ("done", [{"id": export, "result": "already_gone"}])
        ends = {receipt["cmd"]: receipt for receipt in office.waiting(office.client)}
        assert (ends[export]["status"], ends[export]["reason"]) == ("failed", "superseded")
        assert list(office.bundle.folder.iterdir()) == []

    run(scenario())


def test_delete_that_names_an_export_which_waits_for_another_command_keeps_it_from_being_made(office: Office) -> None:
    async def scenario() -> None:
        await office.keep()
        first = office.claims(office.client, "delete", select={"ids": [new_id()]})
        export = await ask(office, after=first["jti"])
        told = await office.submit(office.client, "delete", select={"ids": [export]})
        assert (told["status"], told["outcomes"]) == ("done", [{"id": export, "result": "already_gone"}])
        await office.receive(office.client, office.seal(office.client.sign(first)))
        await office.commands.resume(office.moment)
        ends = {receipt["cmd"]: receipt for receipt in office.waiting(office.client)}
        assert (ends[first["jti"]]["status"], ends[export]["reason"]) == ("done", "superseded")
        assert list(office.bundle.folder.iterdir()) == []

    run(scenario())


def test_delete_that_names_an_export_which_waits_for_its_owners_approve_ends_the_question_too(tmp_path: Path) -> None:
    office = Office(tmp_path / "device", quota=Quota(objects=1, bytes=10**9, window_s=3600))

    async def scenario() -> None:
        for content in (b"one", b"two"):
            await office.keep(content)
        waits = await office.submit(office.backend, "export", select=SELECT_ALL, form="objects")
        assert (waits["status"], waits["reason"]) == ("waiting", "quota_exceeded")
        assert [code for code, _, _ in office.index.read_now(office.outbox.alerts)] == ["mass_delete_waiting"]
        told = await office.submit(office.client, "delete", select={"ids": [waits["cmd"]]})
        assert told["outcomes"] == [{"id": waits["cmd"], "result": "already_gone"}]
        assert list(office.index.read_now(office.outbox.alerts)) == []
        assert office.waiting(office.backend)[-1]["reason"] == "superseded"

    try:
        run(scenario())
    finally:
        office.close()


def test_delete_that_names_an_export_which_is_only_asked_for_waits_for_no_other_one(office: Office) -> None:
    async def scenario() -> None:
        await office.keep()
        export = await ask(office)
        delete = await office.receive(office.client, office.command(office.client, "delete", select={"ids": [export]}))
        assert delete is not None
        async with office.commands._exports.line:  # another one is being built
            await office.commands._work_on(delete["cmd"])
        ends = {receipt["cmd"]: receipt for receipt in office.waiting(office.client)}
        assert ends[delete["cmd"]]["outcomes"] == [{"id": export, "result": "already_gone"}]

    run(scenario())


def test_export_that_was_asked_for_is_not_made_once_the_device_leaves_its_owner(office: Office) -> None:
    # It was made while something was held, and nothing knew of its files any more.
    async def scenario() -> None:
        office.hold((await office.keep(b"held")).id)
        export = await ask(office)
        await office.receive(office.client, office.command(office.client, "erase-all"))
        office.moment = at(5)
        await office.commands.resume(office.moment)
        await office.commands._work_on(export)
        ends = {receipt["cmd"]: receipt for receipt in office.waiting(office.client)}
        assert (ends[export]["status"], ends[export]["reason"]) == ("failed", "superseded")
        assert list(office.bundle.folder.iterdir()) == []

    run(scenario())


def test_nothing_is_exported_here_any_more_once_the_device_leaves_its_owner(office: Office) -> None:
    # It was made of what was held, its row went with everything, and its files stayed behind the last receipt.
    async def scenario() -> None:
        office.hold((await office.keep(b"held")).id)
        office.moment = at(5)
        await office.submit(office.client, "erase-all")
        with pytest.raises(RefusedError, match="leaves its owner"):
            await made_here(office)
        assert list(office.bundle.folder.iterdir()) == []

    run(scenario())


def test_export_here_that_is_being_built_as_the_device_begins_to_leave_its_owner_is_none(office: Office) -> None:
    async def scenario() -> None:
        office.hold((await office.keep(b"held")).id)
        meanwhile = from_its_thread()

        def progress(_done: int, _total: int) -> None:
            meanwhile(office.receive(office.client, office.command(office.client, "erase-all"))).result()

        with pytest.raises(RefusedError, match="leaves its owner"):
            await made_here(office, progress)
        assert list(office.bundle.folder.iterdir()) == []

    run(scenario())


def test_export_whose_name_is_not_durable_leaves_nothing_there(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    # A copy of everything stayed until the next start, and no delete knew of it.
    def settle(part: Path, final: Path) -> None:
        files.settle(part, final, folder_synced=False)
        raise OSError(errno.EIO, "of the sync behind it")

    async def scenario() -> None:
        await office.keep()
        monkeypatch.setattr("agent.bundle.build.settle", settle)
        with pytest.raises(LinkError, match="cannot be written"):
            await made_here(office)
        assert list(office.bundle.folder.iterdir()) == []

    run(scenario())


def test_delete_that_names_an_export_which_is_being_built_removes_it(office: Office) -> None:
    async def scenario() -> None:
        await office.keep()
        export = await ask(office)
        delete = office.command(office.client, "delete", select={"ids": [export]})
        accepted = await office.receive(office.client, delete)
        assert accepted is not None
        meanwhile = from_its_thread()
        begun = []

        def progress(_done: int, _total: int) -> None:
            begun.append(meanwhile(office.commands._work_on(accepted["cmd"])))

        row, request = under_way(office, export)
        exports = office.commands._exports
        async with exports.line:
            await exports.carry_out(row, request, progress=progress)
            assert [path.name for path in office.bundle.folder.iterdir()] == [export]
        await asyncio.wrap_future(begun[0])
        ends = {receipt["cmd"]: receipt for receipt in office.waiting(office.client)}
        assert ends[export]["status"] == "done"
        assert ends[accepted["cmd"]]["outcomes"] == [{"id": export, "result": "deleted"}]
        assert len(ends_of(office, export)) == 1
        assert list(office.bundle.folder.iterdir()) == []

    run(scenario())


def test_export_that_is_finished_behind_an_erase_all_is_nobodys(office: Office) -> None:
    # It ended the agent.
    async def scenario() -> None:
        await office.keep()
        export = await ask(office)
        meanwhile = from_its_thread()
        row, request = under_way(office, export)

        def progress(_done: int, _total: int) -> None:
            erase_all = office.submit(office.client, "erase-all")
            meanwhile(erase_all).result()

        office.commands._running[export] = asyncio.Event()  # by another task, which has read its row
        await office.commands._exports.carry_out(row, request, progress=progress)
        assert office.index.read_now(lambda tx: office.trust.command(tx, export)) is None
        assert office.index.read_now(office.bundle.exports) == frozenset()
        assert list(office.bundle.folder.iterdir()) == []

    run(scenario())


def test_export_that_is_built_anew_has_the_room_that_it_had(tmp_path: Path) -> None:
    class Small(Office):
        def policy_document(self) -> str:
            exports = '[category.export]\npurpose = "access"\nseal_to = ["owner"]\nkeep = { size = "450 kB" }\n'
            return f"{super().policy_document()}\n{exports}"

    office = Small(tmp_path / "device")
    office.room = (10**9, 10**10)

    async def scenario() -> None:
        objects = sorted([(await office.keep(bytes([number]) * 100_000)).id for number in range(4)])
        meanwhile = from_its_thread()

        def progress(done: int, _total: int) -> None:
            if done == len(objects) and office.get(objects[0]) is not None:
                delete = office.submit(office.client, "delete", select={"ids": objects[:1]})
                meanwhile(delete).result()

        made = await made_here(office, progress)
        assert sorted(made.within) == objects[1:]

    try:
        run(scenario())
    finally:
        office.close()


def test_export_whose_row_may_be_durable_although_its_sync_failed_keeps_its_files(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    # They were thrown away, and the next start found a row, and a receipt, without them.
    async def scenario() -> None:
        await office.keep()
        real = office.index.write_now

        def lost(work: Callable[[Tx], object], *, urgent: bool = False) -> object:
            real(work, urgent=urgent)
            raise IndexLostError("the medium failed")

        monkeypatch.setattr(office.index, "write_now", lost)
        with pytest.raises(IndexLostError):
            await made_here(office)
        (export,) = office.index.read_now(office.bundle.exports)
        assert [path.name for path in office.bundle.folder.iterdir()] == [export]

    run(scenario())


def test_delete_of_what_a_limit_ended_tells_of_the_copy_in_an_export(office: Office) -> None:
    async def scenario() -> None:
        item = await office.keep()
        made = await made_here(office)
        await office.erasure.erase([item.id], actor="device", rule="keep.age", command="", moment=office.moment)
        told = await office.submit(office.client, "delete", select={"ids": [item.id]})
        (outcome,) = told["outcomes"]
        assert (outcome["result"], outcome["remarks"]) == ("already_gone", ["export_copy_remains"])
        assert outcome["exports"] == [made.id]

    run(scenario())


def test_backend_that_names_an_owners_export_before_it_is_made_is_told_that_it_stays(office: Office) -> None:
    async def scenario() -> None:
        await office.keep()
        export = await ask(office)
        told = await office.submit(office.backend, "delete", select={"ids": [export]})
        assert (told["status"], told["outcomes"]) == ("failed", [{"id": export, "result": "failed"}])
        await office.commands.resume(office.moment)
        assert [path.name for path in office.bundle.folder.iterdir()] == [export]

    run(scenario())


def test_backends_delete_of_everything_takes_no_owners_delete_of_an_export_back(office: Office) -> None:
    async def scenario() -> None:
        await office.keep()
        folder = block(
            folder_of(office, await office.submit(office.client, "export", select=SELECT_ALL, form="objects"))
        )
        assert (await office.submit(office.client, "delete", select={"ids": [folder.name]}))["status"] == "accepted"
        accepted = await office.receive(office.backend, office.command(office.backend, "delete", select=SELECT_ALL))
        assert accepted is not None
        await office.commands._work_on(accepted["cmd"])
        (stays,) = office.index.read_now(office.bundle.lying)
        assert stays.retried_by == "command"

    run(scenario())


def test_delete_of_an_export_that_ends_behind_an_erase_all_leaves_it_to_the_device(office: Office) -> None:
    # Its try was under way, in a thread of its own, and ended the agent; who tried again was a command that is gone.
    async def scenario() -> None:
        await office.keep()
        folder = block(
            folder_of(office, await office.submit(office.client, "export", select=SELECT_ALL, form="objects"))
        )
        told = await office.submit(office.client, "delete", select={"ids": [folder.name]})
        office.moment = at(5)
        row = office.index.read_now(lambda tx: office.trust.command(tx, told["cmd"]))
        assert row is not None
        removal = office.commands._removal
        requester = office.index.read_now(lambda tx: office.ledger.requester(tx, row))
        ids = office.index.read_now(lambda tx: office.trust.frozen(tx, row.jti))
        select = Selection(ids=(folder.name,))
        await office.submit(office.client, "erase-all")
        assert office.index.read_now(lambda tx: office.trust.command(tx, row.jti)) is None
        (stays,) = office.index.read_now(office.bundle.lying)
        assert stays.retried_by == "device"
        unblock(folder)
        assert await removal.remove(row, ids, select, requester=requester, moment=office.moment) is None
        assert len(ends_of(office, folder.name)) == 1
        assert list(office.bundle.folder.iterdir()) == []

    run(scenario())
