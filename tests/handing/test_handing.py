"""An export that goes to a third party's server: what it gets, what is refused before a byte, what a crash leaves."""

import asyncio
import contextlib
import os
import socket
import sqlite3
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from agent import age, envelope
from agent.commands.again import LONGEST_AGAIN_MS
from agent.commands.handing import _End
from agent.commands.ledger import command_of
from agent.courier import Courier, Errand
from agent.courier.message import Delivered
from agent.courier.worker import _put
from agent.errors import LinkError, RefusedError
from agent.index.delivery import MIGRATIONS
from agent.model import Object
from agent.policy import Policy
from agent.rights import delivery
from agent.trust import CommandRow
from tests.commands.consenting import Consulate
from tests.commands.office import START_S, Office, at, party, run
from tests.commands.test_export_stays import SELECT_ALL
from tests.commands.test_export_under_way import ask, from_its_thread, under_way
from tests.disk import as_root, read_only
from tests.fuzz.peers import ERRAND, Line
from tests.handing.inbox import Inbox, inbox

FRIEND = age.generate_identity(post_quantum=False)
TO = FRIEND.recipient().to_text()


class House:
    """A device, its owner, and the third party."""

    def __init__(self, folder: Path, third: Inbox, *, kind: type[Office] = Office) -> None:
        self.office = kind(folder)
        self.third = third
        self.allow("127.0.0.1")

    def allow(self, *hosts: str) -> None:
        """Have the policy name these hosts, and trust the third party's authority."""
        world = self.office.world
        policy: Policy = msgspec.structs.replace(world.policy(), private_hosts=hosts)
        for part in (self.office.commands._handing, self.office.commands._exports):
            part._world = msgspec.structs.replace(world, policy=lambda: policy, authorities=str(self.third.ca))

    def restart(self) -> None:
        self.office.restart()
        self.allow("127.0.0.1")

    def ask(self, *items: Object, **own: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        """Ask for an export at the third party's and return the newest receipt."""
        claims = {"select": {"ids": [item.id for item in items]}, "form": "objects", "to": [TO], "party": "Insurer"}
        told: dict[str, Any] = run(
            self.office.submit(self.office.client, "export", **(claims | {"put": self.third.url} | own))
        )
        return told

    def newest(self, command: str) -> dict[str, Any]:
        return next(one for one in self.office.waiting(self.office.client) if one["cmd"] == command)

    def go_on(self, *, after_s: float = 0) -> None:
        """Let time pass, and try again what waits."""
        self.office.moment = at(after_s)

        async def work() -> None:
            await self.office.commands.tick(self.office.moment)
            await self.office.commands._drain()

        run(work())

    def exports(self) -> list[str]:
        return sorted(path.name for path in (self.office.folder / "exports").iterdir())


@pytest.fixture
def third(tmp_path: Path) -> Iterator[Inbox]:
    with inbox(tmp_path / "third") as server:
        yield server


@pytest.fixture
def house(tmp_path: Path, third: Inbox) -> Iterator[House]:
    made = House(tmp_path / "state", third)
    yield made
    made.office.close()


def opened(third: Inbox, name: str) -> bytes:
    (found,) = [body for path, body in third.taken.items() if path.endswith(name)]
    return age.decrypt(found, [FRIEND])


def test_third_party_gets_what_it_can_open_the_manifest_last_and_nothing_stays_here(house: House, third: Inbox) -> None:
    items = [run(house.office.keep(content)) for content in (b"one", b"two")]
    told = house.ask(*items)
    assert told["status"] == "done"
    found = told["export"]["delivery"]
    assert (found["party"], found["host"], found["files"], found["taken"]) == ("Insurer", "127.0.0.1", 3, 3)
    assert (found["state"], len(found["certificate_sha256"])) == ("delivered", 64)
    assert [opened(third, f"{item.id}.age") for item in items] == [b"one", b"two"]
    assert [path.rpartition("-")[2] for path in third.asked][-1] == "manifest.jws.age"
    assert all(path.startswith(f"/claims/42/{told['cmd']}-") for path in third.asked)
    assert house.exports() == []
    assert house.office.audit_kinds().count("handed_out") == 1
    (copy,) = house.office.index.read_now(lambda tx: delivery.copies(tx, items[0].id))
    assert (copy["where"], copy["state"]) == ("third party Insurer (127.0.0.1)", "handed out")


@pytest.mark.promise("EXPORT")
def test_private_address_is_refused_before_anybody_is_spoken_to(house: House, third: Inbox) -> None:
    house.allow()
    told = house.ask(run(house.office.keep()))
    assert (told["status"], told["reason"]) == ("failed", "not_delivered")
    assert (told["export"]["delivery"]["why"], told["export"]["delivery"]["taken"]) == ("address_refused", 0)
    assert third.asked == []
    assert house.exports() == []


def test_name_that_stands_for_this_machine_is_refused_too(house: House, third: Inbox) -> None:
    house.allow("127.0.0.1")
    told = house.ask(run(house.office.keep()), put=third.url.replace("127.0.0.1", "localhost"))
    assert told["export"]["delivery"]["why"] == "address_refused"
    assert third.asked == []


def test_server_whose_certificate_is_for_another_name_gets_nothing(tmp_path: Path) -> None:
    with inbox(tmp_path / "third", names=("inbox.example",)) as other:
        house = House(tmp_path / "state", other)
        told = house.ask(run(house.office.keep()))
        house.office.close()
        assert told["export"]["delivery"]["why"] == "certificate_refused"
        assert other.asked == []


@pytest.mark.promise("ENCRYPT")
@pytest.mark.promise("EXPORT")
def test_server_of_an_authority_that_nobody_named_gets_nothing(house: House, third: Inbox, tmp_path: Path) -> None:
    with inbox(tmp_path / "second") as second:
        third.ca.write_bytes(second.ca.read_bytes())
        told = house.ask(run(house.office.keep()))
    assert told["export"]["delivery"]["why"] == "certificate_refused"
    assert third.asked == []


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirect_is_not_followed(house: House, third: Inbox, tmp_path: Path, status: int) -> None:
    with inbox(tmp_path / "elsewhere") as elsewhere:
        third.answers.append((status, {"Location": elsewhere.url}))
        told = house.ask(run(house.office.keep()))
        assert told["export"]["delivery"]["why"] == "redirected"
        assert elsewhere.asked == []
    assert len(third.asked) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413])
def test_server_that_does_not_take_it_ends_it(house: House, third: Inbox, status: int) -> None:
    third.answers.append((status, {}))
    told = house.ask(run(house.office.keep()))
    assert (told["status"], told["export"]["delivery"]["why"]) == ("failed", "rejected")
    assert len(third.asked) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_server_that_is_in_trouble_gets_the_rest_later_and_no_file_twice(
    house: House, third: Inbox, status: int
) -> None:
    third.answers += [(201, {}), (status, {})]
    told = house.ask(*[run(house.office.keep()) for _ in range(2)])
    assert told["status"] in {"accepted", "in_progress"}
    house.go_on(after_s=1)
    assert len(third.asked) == 2, "it is left alone for a while"
    house.go_on(after_s=20)
    assert house.newest(told["cmd"])["status"] == "done"
    assert len(third.asked) == 4
    assert len(third.taken) == 3


@pytest.mark.promise("EXPORT")
def test_restart_in_between_goes_on_with_the_next_file(house: House, third: Inbox) -> None:
    third.answers += [(201, {}), (503, {})]
    told = house.ask(*[run(house.office.keep()) for _ in range(3)])
    house.restart()
    house.go_on(after_s=1)
    settled = house.newest(told["cmd"])
    assert (settled["status"], settled["export"]["delivery"]["taken"]) == ("done", 4)
    assert len(third.asked) == 5
    assert house.exports() == []


@pytest.mark.parametrize("after_s", [1, 90_000], ids=["soon", "when the command is over"])
def test_restart_behind_the_last_file_ends_it_without_putting_anything(
    house: House, third: Inbox, after_s: int
) -> None:
    third.answers.append((503, {}))
    item = run(house.office.keep())
    told = house.ask(item)

    def all_taken(tx: Any) -> None:  # noqa: ANN401 - a transaction
        while (file := delivery.next_file(tx, told["cmd"])) is not None:
            delivery.taken(tx, told["cmd"], file, certificate_sha256="0" * 64)

    house.office.index.write_now(all_taken)
    house.restart()
    house.go_on(after_s=after_s)
    settled = house.newest(told["cmd"])
    assert (settled["status"], settled["export"]["delivery"]["state"]) == ("done", "delivered")
    (copy,) = house.office.index.read_now(lambda tx: delivery.copies(tx, item.id))
    assert copy["state"] == "handed out"
    assert len(third.asked) == 1
    assert house.exports() == []


def test_what_cannot_be_reached_is_given_up_when_the_command_ends(house: House, third: Inbox) -> None:
    third.answers += [(503, {})] * 50
    told = house.ask(run(house.office.keep()))
    house.go_on(after_s=LONGEST_AGAIN_MS / 1000)
    assert house.newest(told["cmd"])["status"] in {"accepted", "in_progress"}
    house.go_on(after_s=90_000)
    settled = house.newest(told["cmd"])
    assert (settled["status"], settled["export"]["delivery"]["why"]) == ("failed", "gave_up")
    assert house.exports() == []


def test_delete_of_everything_ends_what_is_under_way(house: House, third: Inbox) -> None:
    third.answers += [(503, {})] * 9
    told = house.ask(run(house.office.keep()))
    run(house.office.submit(house.office.client, "delete", select={"all": True}))
    house.go_on(after_s=30)
    settled = house.newest(told["cmd"])
    assert (settled["status"], settled["export"]["delivery"]["why"]) == ("failed", "removed")
    assert house.exports() == []


def results(told: dict[str, Any]) -> dict[str, str]:
    return {one["id"]: one["result"] for one in told["outcomes"]}


def copies(house: House, item: Object) -> list[str]:
    return [one["state"] for one in house.office.index.read_now(lambda tx: delivery.copies(tx, item.id))]


def test_what_the_server_has_of_a_failed_hand_out_is_told_by_object_and_remembered(house: House, third: Inbox) -> None:
    third.answers += [(201, {}), (403, {})]
    items = [run(house.office.keep()) for _ in range(3)]
    told = house.ask(*items)
    assert (told["status"], told["export"]["delivery"]["why"]) == ("failed", "rejected")
    (given,) = [item for item in items if any(path.endswith(f"{item.id}.age") for path in third.taken)]
    assert results(told) == {item.id: "exported" if item is given else "failed" for item in items}
    assert [copies(house, item) for item in items] == [
        ["handed out, then ended"] if item is given else [] for item in items
    ]


def test_archive_that_the_server_has_names_what_is_in_it(house: House, third: Inbox) -> None:
    third.answers += [(201, {}), (403, {})]
    items = [run(house.office.keep()) for _ in range(2)]
    told = house.ask(*items, form="zip")
    assert results(told) == {item.id: "exported" for item in items}
    assert [copies(house, item) for item in items] == [["handed out, then ended"]] * 2


def test_server_that_took_nothing_has_nothing_and_nothing_is_remembered(house: House, third: Inbox) -> None:
    third.answers += [(403, {})]
    item = run(house.office.keep())
    told = house.ask(item)
    assert results(told) == {item.id: "failed"}
    assert copies(house, item) == []
    assert house.office.index.read_now(lambda tx: delivery.get(tx, told["cmd"])) is None


def test_key_that_leaves_the_key_set_hands_nothing_more_out(house: House, third: Inbox) -> None:
    office = house.office
    third.answers += [(201, {}), (503, {})]
    told = house.ask(*[run(office.keep()) for _ in range(2)])
    before = len(third.asked)
    other = party("client", "laptop", *envelope.VERBS)
    keys = office.sign_keyset(2, envelope.signing_input_sha256(office.keyset_raw), other, office.backend, office.store)
    run(office.commands.submit(keys, moment=office.moment))
    house.go_on(after_s=60)
    assert len(third.asked) == before
    row = office.index.read_now(lambda tx: office.trust.command(tx, told["cmd"]))
    assert row is not None
    assert (row.status, row.reason) == ("failed", "not_delivered")
    assert house.exports() == []


def test_key_that_leaves_while_a_file_is_on_its_way_ends_that_too(house: House, third: Inbox) -> None:
    office = house.office
    third.answers.append((503, {}))
    told = house.ask(run(office.keep()))
    third.holds.clear()
    third.arrived.clear()
    other = party("client", "laptop", *envelope.VERBS)
    keys = office.sign_keyset(2, envelope.signing_input_sha256(office.keyset_raw), other, office.backend, office.store)

    async def act() -> None:
        office.moment = at(60)
        await office.commands.tick(office.moment)
        work = asyncio.ensure_future(office.commands._work_on(told["cmd"]))
        await asyncio.to_thread(third.arrived.wait, 60)
        await office.commands.submit(keys, moment=office.moment)
        await work

    run(act())
    row = office.index.read_now(lambda tx: office.trust.command(tx, told["cmd"]))
    assert row is not None
    assert row.status == "failed"
    assert third.taken == {}


def test_delete_of_one_object_ends_the_hand_out_that_holds_it(house: House, third: Inbox) -> None:
    third.answers += [(201, {}), (503, {})]
    items = [run(house.office.keep()) for _ in range(2)]
    told = house.ask(*items)
    before = len(third.asked)
    deleted = run(house.office.submit(house.office.client, "delete", select={"ids": [items[1].id]}))
    assert deleted["status"] == "done"
    house.go_on(after_s=60)
    settled = house.newest(told["cmd"])
    assert (settled["status"], settled["export"]["delivery"]["why"]) == ("failed", "removed")
    assert len(third.asked) == before
    assert house.exports() == []
    assert results(settled) == {
        item.id: "exported" if any(item.id in path for path in third.taken) else "failed" for item in items
    }


@as_root
def test_export_that_its_delete_cannot_remove_yet_is_handed_out_no_further(tmp_path: Path) -> None:
    # The third party got the rest of it, behind the owner's delete.
    with inbox(tmp_path / "third") as third:
        house = House(tmp_path / "state", third)
        third.answers += [(201, {}), (503, {})]
        told = house.ask(*[run(house.office.keep()) for _ in range(2)])
        before = len(third.asked)
        with read_only(house.office.bundle.folder / told["cmd"]):
            deleted = run(house.office.submit(house.office.client, "delete", select={"ids": [told["cmd"]]}))
            assert deleted["status"] == "accepted"
            house.go_on(after_s=60)
            settled = house.newest(told["cmd"])
            assert (settled["status"], settled["export"]["delivery"]["why"]) == ("failed", "removed")
            assert len(third.asked) == before
            assert house.exports() == [told["cmd"]]
        house.go_on(after_s=61)
        assert results(house.newest(deleted["cmd"])) == {told["cmd"]: "deleted"}
        assert house.exports() == []
        house.office.close()


@pytest.mark.promise("ERASE")
def test_delete_by_camera_ends_the_hand_out_of_what_a_limit_ended_here(house: House, third: Inbox) -> None:
    # It selected nothing, and the copy went on to the third party.
    third.answers += [(503, {})]
    office = house.office
    item = run(office.keep())
    told = house.ask(item)
    run(office.erasure.erase([item.id], actor="device", rule="keep.age", command="", moment=office.moment))
    before = len(third.asked)
    deleted = run(office.submit(office.client, "delete", select={"camera": item.camera}))
    assert results(deleted) == {item.id: "already_gone"}
    house.go_on(after_s=60)
    settled = house.newest(told["cmd"])
    assert (settled["status"], settled["export"]["delivery"]["why"]) == ("failed", "removed")
    assert (len(third.asked), third.taken) == (before, {})
    assert house.exports() == []


@pytest.mark.parametrize("during", ["before it is built", "while it is built", "while a limit ends it too"])
def test_what_a_delete_under_way_means_is_not_handed_out(house: House, third: Inbox, during: str) -> None:
    # A large one reaches its last object minutes behind its first: what it had not reached went to the third party.
    office = house.office

    async def scenario() -> tuple[str, str]:
        item, other = await office.keep(), await office.keep()
        meanwhile = from_its_thread()
        deletes: list[str] = []

        async def delete() -> None:
            accepted = await office.receive(office.client, office.command(office.client, "delete", select=SELECT_ALL))
            assert accepted is not None
            deletes.append(accepted["cmd"])
            if during == "while a limit ends it too":  # gone, and the delete has not decided yet
                gone = [item.id, other.id]
                await office.erasure.erase(gone, actor="device", rule="keep.age", command="", moment=office.moment)

        def progress(done: int, _total: int) -> None:
            if done and not deletes:
                meanwhile(delete()).result()

        export = await ask(office, select={"ids": [item.id, other.id]}, to=[TO], party="Insurer", put=third.url)
        if during == "before it is built":
            await delete()
        row, request = under_way(office, export)
        with pytest.raises(LinkError, match="goes first"):
            await office.commands._exports.carry_out(row, request, progress=progress)
        assert house.exports() == []
        await office.commands._drain()
        return export, deletes[0]

    export, delete = run(scenario())
    assert house.newest(delete)["status"] == "done"
    house.go_on(after_s=60)
    assert set(results(house.newest(export)).values()) == {"already_gone"}
    assert (third.asked, third.taken, house.exports()) == ([], {}, [])


def test_objection_ends_the_hand_out_of_what_nobody_is_left_to_read(tmp_path: Path, third: Inbox) -> None:
    house = House(tmp_path / "state", third, kind=Consulate)
    office = house.office
    assert isinstance(office, Consulate)
    third.answers += [(503, {})]
    item = run(office.keep_for("improvement", owner=False, category="usage-log"))
    told = house.ask(item)
    before = len(third.asked)
    objected = run(office.submit(office.client, "object", purpose="improvement"))
    assert results(objected) == {item.id: "deleted"}
    house.go_on(after_s=60)
    settled = house.newest(told["cmd"])
    assert (settled["status"], settled["export"]["delivery"]["why"]) == ("failed", "removed")
    assert (len(third.asked), third.taken) == (before, {})
    assert house.exports() == []
    office.close()


def test_what_an_objection_under_way_means_is_not_handed_out(tmp_path: Path, third: Inbox) -> None:
    house = House(tmp_path / "state", third, kind=Consulate)
    office = house.office
    assert isinstance(office, Consulate)

    async def scenario() -> tuple[str, str]:
        item = await office.keep_for("improvement", owner=False, category="usage-log")
        meanwhile = from_its_thread()
        objections: list[str] = []

        async def objected() -> None:
            raw = office.command(office.client, "object", purpose="improvement")
            accepted = await office.receive(office.client, raw)
            assert accepted is not None
            objections.append(accepted["cmd"])

        def progress(done: int, _total: int) -> None:
            if done and not objections:
                meanwhile(objected()).result()

        export = await ask(office, select={"ids": [item.id]}, to=[TO], party="Insurer", put=third.url)
        with pytest.raises(LinkError, match="object of some of this goes first"):
            await office.commands._exports.carry_out(*under_way(office, export), progress=progress)
        await office.commands._drain()
        return export, item.id

    export, item = run(scenario())
    house.go_on(after_s=60)
    assert results(house.newest(export)) == {item: "already_gone"}
    assert (third.asked, third.taken, house.exports()) == ([], {}, [])
    office.close()


@pytest.mark.parametrize(
    ("verb", "own"),
    [
        ("object", {"purpose": "improvement"}),
        ("withdraw", {"purpose": "analytics"}),
        ("consent", {"purpose": "analytics", "decision": "refused"}),
    ],
)
def test_what_a_word_takes_away_is_not_built_for_a_third_party(
    tmp_path: Path, third: Inbox, verb: str, own: dict[str, str]
) -> None:
    house = House(tmp_path / "state", third, kind=Consulate)
    office = house.office
    assert isinstance(office, Consulate)

    async def scenario() -> tuple[str, str]:
        await office.give()
        item = await office.keep_for(own["purpose"], owner=False, category="usage-log")
        await accepted(office, verb, **own)
        export = await ask(office, select={"ids": [item.id]}, to=[TO], party="Insurer", put=third.url)
        with pytest.raises(LinkError, match=f"{verb} of some of this goes first"):
            await office.commands._exports.carry_out(*under_way(office, export), progress=built_anyway)
        await office.commands._drain()
        return export, item.id

    export, item = run(scenario())
    house.go_on(after_s=60)
    assert results(house.newest(export)) == {item: "already_gone"}
    assert third.asked == []
    office.close()


async def accepted(office: Office, verb: str, **own: Any) -> str:  # noqa: ANN401 - JSON
    """Have a word of the owner's taken up and not yet begun; return its command."""
    told = await office.receive(office.client, office.command(office.client, verb, **own))
    assert told is not None
    assert told["status"] == "accepted"
    command: str = told["cmd"]
    return command


def built_anyway(_done: int, _total: int) -> None:
    raise AssertionError("it is built, and thrown away")


@pytest.mark.parametrize("verb", ["delete", "object"])
def test_word_that_has_not_come_to_it_stops_the_next_file_of_a_hand_out_that_is_under_way(
    tmp_path: Path, third: Inbox, verb: str
) -> None:
    # Which of them the loop takes up first is chance; an objection to hundreds reaches its last one minutes later.
    house = House(tmp_path / "state", third, kind=Consulate)
    office = house.office
    assert isinstance(office, Consulate)
    third.answers += [(201, {}), (503, {})]
    items = [run(office.keep_for("improvement", owner=False, category="usage-log")) for _ in range(2)]
    export = house.ask(*items)["cmd"]
    assert len(third.taken) == 1
    before = len(third.asked)
    office.moment = at(60)

    async def scenario() -> str:
        own = {"select": SELECT_ALL} if verb == "delete" else {"purpose": "improvement"}
        word = await accepted(office, verb, **own)
        with pytest.raises(LinkError, match=f"{verb} of some of this goes first"):
            await office.commands._handing.carry_out(*in_full(office, export))
        await office.commands._drain()
        return word

    word = run(scenario())
    assert len(third.asked) == before
    assert set(results(house.newest(word)).values()) == {"deleted"}
    house.go_on(after_s=60)
    assert house.newest(export)["export"]["delivery"]["why"] == "removed"
    assert len(third.asked) == before
    office.close()


def in_full(office: Office, export: str) -> tuple[CommandRow, envelope.Command]:
    row = office.index.read_now(lambda tx: office.trust.command(tx, export))
    assert row is not None
    return row, command_of(row)


def test_word_that_comes_while_a_file_is_put_lets_that_be_taken_and_the_next_one_wait(
    house: House, third: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    office = house.office
    put = office.commands._handing._put
    deletes: list[str] = []

    async def scenario() -> str:
        item, other = await office.keep(), await office.keep()

        async def interrupted(*about: Any, **more: Any) -> Any:  # noqa: ANN401 - as the method
            if not deletes:
                deletes.append(await accepted(office, "delete", select={"ids": [max(item.id, other.id)]}))
            return await put(*about, **more)

        monkeypatch.setattr(office.commands._handing, "_put", interrupted)
        export = await ask(office, select={"ids": [item.id, other.id]}, to=[TO], party="Insurer", put=third.url)
        await office.commands._exports.carry_out(*under_way(office, export), progress=lambda _done, _total: None)
        with pytest.raises(LinkError, match="delete of some of this goes first"):
            await office.commands._handing.carry_out(*in_full(office, export))
        assert len(third.taken) == 1
        await office.commands._drain()
        return export

    export = run(scenario())
    house.go_on(after_s=60)
    told = house.newest(export)["export"]["delivery"]
    assert (told["taken"], told["why"], len(third.asked)) == (1, "removed", 1)


def test_what_is_gone_before_anything_is_built_waits_for_no_word(house: House, third: Inbox) -> None:
    office = house.office

    async def scenario() -> str:
        item = await office.keep()
        await accepted(office, "delete", select={"ids": [item.id]})
        await office.erasure.erase([item.id], actor="device", rule="keep.age", command="", moment=office.moment)
        export = await ask(office, select={"ids": [item.id]}, to=[TO], party="Insurer", put=third.url)
        await office.commands._work_on(export)
        return export

    assert list(results(house.newest(run(scenario()))).values()) == ["already_gone"]
    assert third.asked == []


def test_delete_that_waits_for_the_hand_out_lets_it_go_first(house: House, third: Inbox) -> None:
    office = house.office

    async def scenario() -> tuple[str, str]:
        item = await office.keep()
        export = await ask(office, select={"ids": [item.id]}, to=[TO], party="Insurer", put=third.url)
        raw = office.command(office.client, "delete", select={"ids": [item.id]}, after=export)
        waiting = await office.receive(office.client, raw)
        assert waiting is not None
        assert (waiting["status"], waiting["reason"]) == ("waiting", "after_pending")
        await office.commands._drain()
        return export, waiting["cmd"]

    export, delete = run(scenario())
    house.go_on(after_s=60)
    assert (house.newest(export)["status"], house.newest(delete)["status"]) == ("done", "done")
    assert len(third.taken) == 2


def test_backends_delete_is_not_the_owners_word_and_stops_nothing(house: House, third: Inbox) -> None:
    office = house.office

    async def scenario() -> str:
        item = await office.keep()
        raw = office.command(office.backend, "delete", select={"ids": [item.id]})
        told = await office.receive(office.backend, raw)
        assert told is not None
        assert told["status"] == "accepted"
        export = await ask(office, select={"ids": [item.id]}, to=[TO], party="Insurer", put=third.url)
        await office.commands._exports.carry_out(*under_way(office, export), progress=lambda _done, _total: None)
        await office.commands._handing.carry_out(*in_full(office, export))
        return export

    assert house.newest(run(scenario()))["status"] == "done"
    assert len(third.taken) == 2


def test_objection_ends_the_hand_out_of_what_a_limit_ended_here_meanwhile(tmp_path: Path, third: Inbox) -> None:
    house = House(tmp_path / "state", third, kind=Consulate)
    office = house.office
    assert isinstance(office, Consulate)
    third.answers += [(503, {})]
    item = run(office.keep_for("improvement", owner=False, category="usage-log"))
    export = house.ask(item)["cmd"]
    before = len(third.asked)

    async def scenario() -> str:
        word = await accepted(office, "object", purpose="improvement")
        await office.erasure.erase([item.id], actor="device", rule="keep.age", command="", moment=office.moment)
        await office.commands._drain()
        return word

    word = run(scenario())
    house.go_on(after_s=60)
    assert results(house.newest(word)) == {item.id: "already_gone"}
    assert house.newest(export)["export"]["delivery"]["why"] == "removed"
    assert len(third.asked) == before
    office.close()


def test_hand_out_that_waits_beyond_its_command_is_told_expired(house: House, third: Inbox) -> None:
    office = house.office

    async def scenario() -> str:
        item = await office.keep()
        await accepted(office, "delete", select={"ids": [item.id]})
        export = await ask(office, select={"ids": [item.id]}, to=[TO], party="Insurer", put=third.url)
        await office.commands._work_on(export)
        row, _ = under_way(office, export)
        assert row.settled_ms is None
        office.moment = at(command_of(row).exp - START_S)
        await office.commands._work_on(export)
        return export

    told = house.newest(run(scenario()))
    assert (told["status"], told["reason"]) == ("failed", "expired")
    assert (third.asked, house.exports()) == ([], [])


def test_hand_out_that_waited_goes_on_at_the_next_look_and_rests_no_longer(house: House, third: Inbox) -> None:
    office = house.office

    async def scenario() -> str:
        item, other = await office.keep(), await office.keep()
        delete = await accepted(office, "delete", select={"ids": [item.id]})
        export = await ask(office, select={"ids": [item.id, other.id]}, to=[TO], party="Insurer", put=third.url)
        await office.commands._work_on(export)
        await office.commands._work_on(delete)
        await office.commands.tick(office.moment)
        await office.commands._drain()
        return export

    assert sorted(results(house.newest(run(scenario()))).values()) == ["already_gone", "exported"]
    assert len(third.taken) == 2


def test_restriction_by_another_client_ends_it_and_one_of_whoever_asked_does_not(house: House, third: Inbox) -> None:
    office = house.office
    other = party("client", "laptop", *envelope.VERBS)
    keys = office.sign_keyset(
        2, envelope.signing_input_sha256(office.keyset_raw), office.client, other, office.backend, office.store
    )
    run(office.commands.submit(keys, moment=office.moment))
    for who, ends in ((office.client, False), (other, True)):
        third.answers += [(503, {})]
        item = run(office.keep())
        told = house.ask(item)
        run(office.submit(who, "restrict", select={"ids": [item.id]}, ground="claims"))
        house.go_on(after_s=office.moment.agent_ms / 1000 - START_S + 60)
        settled = house.newest(told["cmd"])
        assert (settled["status"], settled["export"]["delivery"].get("why")) == (
            ("failed", "restricted") if ends else ("done", None)
        )


def test_end_is_the_same_whatever_came_between_its_folder_and_its_receipt(house: House, third: Inbox) -> None:
    third.answers.append((302, {"Location": "/"}))
    ledger, settle = house.office.ledger, house.office.ledger.settle

    def fail(*_arguments: Any, **_named: Any) -> None:  # noqa: ANN401 - a power cut behind the folder
        raise LinkError("power")

    ledger.settle = fail  # type: ignore[method-assign, assignment]  # the power goes there
    told = house.ask(run(house.office.keep()))
    assert told["status"] in {"accepted", "in_progress"}
    assert house.exports() == []
    ledger.settle = settle  # type: ignore[method-assign]  # and is back
    house.restart()
    house.go_on(after_s=1)
    assert house.newest(told["cmd"])["export"]["delivery"]["why"] == "redirected"


def test_slow_third_party_stops_no_other_export(house: House, third: Inbox) -> None:
    office = house.office
    third.holds.clear()
    item = run(office.keep())
    claims = {"select": {"ids": [item.id]}, "form": "objects"}
    slow = office.command(office.client, "export", to=[TO], party="Insurer", put=third.url, **claims)
    own = office.command(office.client, "export", **claims)

    async def act() -> list[str]:
        async with asyncio.TaskGroup() as group:
            running = group.create_task(office.commands.run())
            await office.commands.receive(slow, moment=office.moment)
            await asyncio.to_thread(third.arrived.wait, 60)
            await office.commands.receive(own, moment=office.moment)
            async with asyncio.timeout(60):
                while "done" not in (said := [one["status"] for one in office.waiting(office.client)]):
                    office.changed.clear()
                    await office.changed.wait()
            third.holds.set()
            running.cancel()
        return said

    assert sorted(run(act())) == ["accepted", "done"]


def test_file_that_cannot_be_opened_is_weather(house: House, third: Inbox) -> None:
    third.answers.append((503, {}))
    told = house.ask(run(house.office.keep()))
    folder = house.office.folder / "exports" / told["cmd"]
    for path in folder.iterdir():
        path.rename(path.with_suffix(".away"))
        path.symlink_to(path.with_suffix(".away"))  # ELOOP
    house.go_on(after_s=60)
    assert house.newest(told["cmd"])["status"] in {"accepted", "in_progress"}
    assert len(third.asked) == 1


def test_pause_begins_anew_with_each_file_that_got_through(house: House, third: Inbox) -> None:
    third.answers += [(201, {}), (503, {})] * 3
    told = house.ask(*[run(house.office.keep()) for _ in range(3)])
    for files, after_s in enumerate((16, 32, 48), start=1):
        said = house.newest(told["cmd"])
        assert (said["status"], said["progress"]) == ("in_progress", {"done": files, "total": 4})
        house.go_on(after_s=after_s)
    assert house.newest(told["cmd"])["status"] == "done"


def test_erase_all_between_two_files_leaves_nothing_to_tell(house: House, third: Inbox) -> None:
    third.answers.append((503, {}))
    told = house.ask(run(house.office.keep()))
    house.office.index.write_now(lambda tx: tx.execute("DELETE FROM delivery"))
    run(house.office.commands._handing._end(told["cmd"], request_of(house, told["cmd"]), _End("removed")))
    assert house.office.index.read_now(lambda tx: delivery.told(tx, told["cmd"], recipients=())) is None


def request_of(house: House, command: str) -> Any:  # noqa: ANN401 - a request
    row = house.office.index.read_now(lambda tx: house.office.trust.command(tx, command))
    assert row is not None
    return command_of(row).request


def test_party_is_forgotten_with_the_last_object_of_it(house: House) -> None:
    items = [run(house.office.keep()) for _ in range(2)]
    told = house.ask(*items)
    for item, kept in zip(items, (True, False), strict=True):
        run(house.office.submit(house.office.client, "delete", select={"ids": [item.id]}))
        found = house.office.index.read_now(lambda tx: delivery.get(tx, told["cmd"]))
        assert (found is not None) is kept


@pytest.mark.parametrize(
    "own",
    [
        {"to": []},
        {"party": ""},
        {"put": ""},
        {"party": "a\nb"},
        {"put": "http://127.0.0.1/"},
        {"put": "https://user@127.0.0.1/"},
    ],
    ids=range(6),
)
def test_command_without_a_form_hands_nothing_out(house: House, third: Inbox, own: dict[str, Any]) -> None:
    told = house.ask(run(house.office.keep()), **own)
    assert (told["status"], told["reason"]) == ("refused", "malformed")
    assert third.asked == []


def test_backend_hands_nothing_out(house: House, third: Inbox) -> None:
    item = run(house.office.keep())
    own = {"select": {"ids": [item.id]}, "form": "objects", "to": [TO], "put": third.url, "party": "Insurer"}
    told = run(house.office.submit(house.office.backend, "export", **own))
    assert (told["status"], told["reason"]) == ("refused", "not_granted")
    assert third.asked == []


def test_object_that_goes_takes_with_it_to_whom_it_was_handed(house: House) -> None:
    item = run(house.office.keep())
    house.ask(item)
    run(house.office.submit(house.office.client, "delete", select={"ids": [item.id]}))
    assert house.office.index.read_now(lambda tx: delivery.copies(tx, item.id)) == []


def errand(port: int, *, size_bytes: int = 3) -> Errand:
    return Errand(host="127.0.0.1", port=port, target="/x", size_bytes=size_bytes, may_be_private=True, ca="")


async def put(port: int, path: Path, *, within_s: float | None = None) -> None:
    with path.open("rb") as file:
        async with Courier() as courier:
            await courier.put(errand(port), file.fileno(), within_s=within_s)


def test_server_that_says_nothing_costs_no_more_than_its_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(LinkError, match="takes too long"):
        asyncio.run(put(silent.getsockname()[1], tmp_path / "file", within_s=1.0))


def test_answer_without_end_is_not_heard_out() -> None:
    """A chunk of -1 bytes had the standard reader take all that came, however little it was asked for."""
    near, theirs = socket.socketpair()
    block, sent = bytes(1 << 20), 0

    def say() -> None:
        nonlocal sent
        theirs.sendall(b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n")
        with contextlib.suppress(ConnectionError):
            while sent < 64 * len(block):
                theirs.sendall(block)
                sent += len(block)
        theirs.close()

    file = os.memfd_create("part")
    os.write(file, b"1234567")
    saying = threading.Thread(target=say)
    saying.start()
    with Line(fileno=near.detach()) as line:
        answer = _put(ERRAND, cast("ssl.SSLSocket", line), file)
    saying.join()
    os.close(file)
    assert isinstance(answer, Delivered)
    assert sent < 8 * len(block), "more than lies in the buffers of a socket"


def test_nobody_there_is_weather(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(LinkError, match="Connection refused"):
        asyncio.run(put(port, tmp_path / "file"))


def test_process_that_puts_ends_with_the_export() -> None:
    async def act() -> int:
        async with Courier() as courier:
            return courier._child.pid

    assert not Path(f"/proc/{asyncio.run(act())}").exists()


@pytest.mark.parametrize("host", ["a..b", "a" * 64 + ".example"])
def test_name_that_is_none_is_refused_and_kills_nobody(tmp_path: Path, host: str) -> None:
    (tmp_path / "file").write_bytes(b"abc")

    async def act() -> None:
        with (tmp_path / "file").open("rb") as file:
            async with Courier() as courier:
                await courier.put(msgspec.structs.replace(errand(443), host=host), file.fileno())

    with pytest.raises(RefusedError) as caught:
        asyncio.run(act())
    assert caught.value.reason == "address_refused"


def test_refusal_names_no_retry(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")

    async def act() -> None:
        with (tmp_path / "file").open("rb") as file:
            async with Courier() as courier:
                private = msgspec.structs.replace(errand(443), may_be_private=False)
                await courier.put(private, file.fileno())

    with pytest.raises(RefusedError) as caught:
        asyncio.run(act())
    assert caught.value.reason == "address_refused"


def test_delivery_that_an_older_version_wrote_is_kept() -> None:
    old = sqlite3.connect(":memory:")
    old.execute("CREATE TABLE object (id TEXT)")
    first, *later = MIGRATIONS
    old.executescript(first)
    old.execute("INSERT INTO object VALUES ('o')")
    old.execute("INSERT INTO delivery VALUES ('e', 'Insurer', 'inbox.example', 'delivered', 1, 9, 2, 'c', 7)")
    old.execute("INSERT INTO delivery_object VALUES ('o', 'e')")
    for script in later:
        old.executescript(script)
    assert old.execute("SELECT party, state, why, ended_ms FROM delivery").fetchall() == [
        ("Insurer", "delivered", "", 7)
    ]
    old.execute("DELETE FROM object")
    assert old.execute("SELECT count(*) FROM delivery").fetchall() == [(0,)]
    old.close()
