"""What a key of the key set may ask, and what it is answered: roles, verbs, waits, receipts."""

import asyncio
import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agent import age, envelope
from agent.envelope import Quota
from agent.errors import RefusedError
from agent.ids import Ids
from agent.index import Tx
from agent.model import Outcome, new_id
from agent.outbox import WAITING_MAX, Alert
from agent.policy import Rights
from tests.commands.office import START_S, Office, at, run

DOCS = Path(__file__).parents[2] / "docs"
SELECT_ALL = {"all": True}

# (role, verb) -> status of an otherwise good command
MATRIX = {
    ("client", "delete"): "done",
    ("client", "export"): "done",
    ("client", "inventory"): "done",
    ("client", "approve"): "refused",  # nothing waits
    ("client", "consent"): "done",
    ("client", "withdraw"): "refused",  # it rests on no consent
    ("client", "object"): "done",
    ("client", "consents"): "done",
    ("client", "time"): "done",
    ("backend", "delete"): "done",
    ("backend", "export"): "done",
    ("backend", "inventory"): "done",
    ("backend", "approve"): "refused",
    ("backend", "consent"): "refused",
    ("backend", "withdraw"): "refused",
    ("backend", "object"): "refused",
    ("backend", "consents"): "refused",
    ("backend", "time"): "refused",
    ("store", "delete"): "refused",
    ("store", "export"): "refused",
    ("store", "inventory"): "refused",
    ("store", "approve"): "refused",
    ("store", "consent"): "refused",
    ("store", "withdraw"): "refused",
    ("store", "object"): "refused",
    ("store", "consents"): "refused",
    ("store", "time"): "refused",
    ("clock", "delete"): "refused",
    ("clock", "export"): "refused",
    ("clock", "inventory"): "refused",
    ("clock", "approve"): "refused",
    ("clock", "consent"): "refused",
    ("clock", "withdraw"): "refused",
    ("clock", "object"): "refused",
    ("clock", "consents"): "refused",
    ("clock", "time"): "done",
}
OWN: dict[str, dict[str, Any]] = {
    "delete": {"select": SELECT_ALL},
    "export": {"select": SELECT_ALL, "form": "objects"},
    "inventory": {"select": SELECT_ALL},
    "approve": {"command": "a" * 26, "selection": "0" * 64},
    "consent": {"purpose": "security", "decision": "given"},
    "withdraw": {"purpose": "security"},
    "object": {"do_not_track": True},
    "consents": {},
    "time": {"now": START_S},
}


@pytest.mark.parametrize(("role", "verb"), MATRIX)
def test_each_role_may_do_its_verbs_and_no_other(office: Office, role: str, verb: str) -> None:
    async def scenario() -> None:
        kept = await office.keep()
        who = getattr(office, role)
        receipt = await office.submit(who, verb, **OWN[verb])
        assert receipt["status"] == MATRIX[role, verb], receipt
        if receipt["status"] == "refused":
            own = {"approve": "nothing_waiting", "withdraw": "wrong_basis"} if role == "client" else {}
            assert receipt["reason"] == own.get(verb, "verb_not_allowed")
        deleted = verb == "delete" and receipt["status"] == "done"
        assert (office.get(kept.id) is None) == deleted
        assert bool(office.told_times) == (verb == "time" and receipt["status"] == "done")

    run(scenario())


def test_delete_is_accepted_first_and_done_after_its_last_effect(office: Office) -> None:
    async def scenario() -> None:
        one, two = await office.keep(), await office.keep()
        raw = office.command(office.client, "delete", select={"ids": [one.id, two.id]})
        first = await office.receive(office.client, raw)
        assert first is not None
        assert first["status"] == "accepted"
        assert first["selection"] == {"count": 2, "hash": Ids.of([one.id, two.id]).selection_hash()}
        assert first["protection"] == "software"
        await office.commands.resume(office.moment)
        (last,) = office.waiting(office.client)
        assert last["status"] == "done"
        assert last["cmd"] == first["cmd"]
        assert [outcome["result"] for outcome in last["outcomes"]] == ["deleted", "deleted"]
        assert not list((office.folder / "objects").iterdir())
        assert office.audit_kinds()[-1] == "command_done"

    run(scenario())


def test_running_task_carries_out_what_is_received(office: Office) -> None:
    async def scenario() -> None:
        one = await office.keep()
        running = asyncio.ensure_future(office.commands.run())
        raw = office.command(office.client, "delete", select={"ids": [one.id]})
        assert await office.receive(office.client, raw)
        async with asyncio.timeout(60):
            while office.waiting(office.client)[0]["status"] != "done":
                await office.changed.wait()
                office.changed.clear()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert office.get(one.id) is None

    run(scenario())


def test_receipt_says_per_object_what_happened(office: Office) -> None:
    async def scenario() -> None:
        gone, held, bound, absent = await office.keep(), await office.keep(), await office.keep(), new_id()
        office.hold(held.id)
        office.rights[bound.id] = Rights(restricted=True)
        ids = [gone.id, held.id, bound.id, absent]
        receipt = await office.submit(office.backend, "delete", select={"ids": ids})
        found = {outcome["id"]: outcome["result"] for outcome in receipt["outcomes"]}
        expected = {gone.id: "deleted", held.id: "held", bound.id: "restricted", absent: "already_gone"}
        assert (receipt["status"], found) == ("partial", expected)
        assert office.get(held.id) is not None
        again = await office.submit(office.client, "delete", select={"ids": [bound.id]})
        assert again["outcomes"][0]["result"] == "deleted"  # the owner's erase lifts a restriction

    run(scenario())


def test_everything_held_is_not_reported_as_done(office: Office) -> None:
    async def scenario() -> None:
        held = await office.keep()
        office.hold(held.id)
        receipt = await office.submit(office.client, "delete", select=SELECT_ALL)
        assert receipt["status"] == "failed"
        assert receipt["outcomes"] == [{"id": held.id, "result": "held"}]

    run(scenario())


def test_delete_waits_until_the_store_confirms_and_names_whose_word_it_is(office: Office) -> None:
    async def scenario() -> None:
        kept = await office.keep()
        upload = office.upload(kept.id)
        receipt = await office.submit(office.client, "delete", select={"ids": [kept.id]})
        assert receipt["status"] == "waiting"
        assert "reason" not in receipt
        assert receipt["outcomes"][0]["result"] == "waiting_for_cloud"
        assert "cloud_unconfirmed" in receipt["outcomes"][0]["remarks"]
        assert office.confirm_erased(upload, manifest="b" * 64) == ()
        assert office.waiting(office.client)[-1]["status"] == "waiting"
        assert office.confirm_erased(upload) == (receipt["cmd"],)
        (last,) = office.waiting(office.client)
        assert last["status"] == "done"
        assert last["outcomes"][0]["stated_by"] == office.store.kid

    run(scenario())


def test_deletes_of_one_object_by_two_keys_are_both_answered(office: Office) -> None:
    async def scenario() -> None:
        kept = await office.keep()
        raws = [office.command(who, "delete", select={"ids": [kept.id]}) for who in (office.client, office.backend)]
        for who, raw in zip((office.client, office.backend), raws, strict=True):
            assert await office.receive(who, raw)
        await office.commands.resume(office.moment)
        results = [office.waiting(who)[-1]["outcomes"][0]["result"] for who in (office.client, office.backend)]
        assert set(results) <= {"deleted", "already_gone"}
        assert "deleted" in results

    run(scenario())


def test_delete_by_category_leaves_a_cut_off(office: Office) -> None:
    async def scenario() -> None:
        kept = await office.keep(category="photo", media_type="image/jpeg")
        other = await office.keep()
        receipt = await office.submit(office.client, "delete", select={"category": "photo"})
        assert [outcome["id"] for outcome in receipt["outcomes"]] == [kept.id]
        assert office.get(other.id) is not None
        with pytest.raises(RefusedError):
            await office.keep(category="photo", media_type="image/jpeg")

    run(scenario())


def test_above_its_quota_a_command_waits_for_the_owners_word_on_that_very_selection(tmp_path: Path) -> None:
    async def scenario(office: Office) -> None:
        kept = [await office.keep() for _number in range(3)]
        ids = [item.id for item in kept]
        first = await office.submit(office.backend, "delete", select={"ids": ids[:1]})
        assert first["status"] == "done"
        waiting = await office.submit(office.backend, "delete", select={"ids": ids[1:]})
        assert (waiting["status"], waiting["reason"], waiting["retry"]) == ("waiting", "quota_exceeded", "later")
        assert waiting["selection"] == {"count": 2, "hash": Ids.of(ids[1:]).selection_hash()}
        (alert,) = office.waiting(office.client)
        assert alert["code"] == "mass_delete_waiting"
        assert alert["what"] == "A command over 2 objects is above the quota of its key."
        own = {"command": waiting["cmd"], "selection": "0" * 64}
        wrong = await office.submit(office.client, "approve", **own)
        assert (wrong["status"], wrong["reason"]) == ("refused", "nothing_waiting")
        assert office.get(ids[1]) is not None
        late = await office.keep()
        own["selection"] = waiting["selection"]["hash"]
        assert (await office.submit(office.client, "approve", **own))["status"] == "done"
        done = office.waiting(office.backend)[-1]
        assert (done["cmd"], done["status"]) == (waiting["cmd"], "done")
        assert [office.get(name) for name in ids[1:]] == [None, None]
        assert office.get(late.id) is not None

    office = Office(tmp_path / "state", quota=Quota(objects=2, bytes=10**9, window_s=3600))
    run(scenario(office))
    office.close()


def test_quota_is_a_rolling_window(tmp_path: Path) -> None:
    async def scenario(office: Office) -> None:
        kept = [await office.keep() for _number in range(4)]
        for number, (seconds, status) in enumerate([(0, "done"), (10, "done"), (20, "waiting"), (3601, "done")]):
            office.moment = at(seconds)
            receipt = await office.submit(office.backend, "delete", select={"ids": [kept[number].id]})
            assert receipt["status"] == status
        assert office.get(kept[2].id) is not None

    office = Office(tmp_path / "state", quota=Quota(objects=2, bytes=10**9, window_s=3600))
    run(scenario(office))
    office.close()


def test_unsure_clock_stops_a_backends_delete_until_it_is_trusted(office: Office) -> None:
    async def scenario() -> None:
        one, two = await office.keep(), await office.keep()
        office.moment = at(trusted=False)
        waiting = await office.submit(office.backend, "delete", select={"ids": [one.id]})
        assert (waiting["status"], waiting["reason"]) == ("waiting", "clock_unconfirmed")
        done = await office.submit(office.client, "delete", select={"ids": [two.id]}, exp=START_S - 5)
        assert done["status"] == "done"  # the owner's erase acts on its sequence alone
        assert office.get(one.id) is not None
        office.moment = at(5)
        await office.commands.resume(office.moment)
        assert office.waiting(office.backend)[-1]["status"] == "done"
        assert office.get(one.id) is None

    run(scenario())


def test_command_that_expired_while_it_waited_is_refused(office: Office) -> None:
    async def scenario() -> None:
        kept = await office.keep()
        office.moment = at(trusted=False)
        await office.submit(office.backend, "delete", select={"ids": [kept.id]}, exp=START_S + 60)
        office.moment = at(61)
        await office.commands.tick(office.moment)
        last = office.waiting(office.backend)[-1]
        assert (last["status"], last["reason"]) == ("refused", "expired")
        assert office.get(kept.id) is not None

    run(scenario())


def test_after_waits_for_the_terminal_receipt_of_the_other(office: Office) -> None:
    async def scenario() -> None:
        kept = await office.keep()
        first = new_id()
        waiting = await office.submit(office.client, "inventory", select=SELECT_ALL, after=first)
        assert (waiting["status"], waiting["reason"]) == ("waiting", "after_pending")
        await office.submit(office.client, "delete", select={"ids": [kept.id]}, jti=first)
        told = [message for message in office.waiting(office.client) if message["cmd"] == waiting["cmd"]]
        assert [message["status"] for message in told] == ["done"]
        assert told[0]["outcomes"] == []

    run(scenario())


def test_waiting_commands_of_a_key_are_bounded(office: Office) -> None:
    async def scenario() -> None:
        for _number in range(64):
            receipt = await office.submit(office.client, "inventory", select=SELECT_ALL, after="a" * 26)
            assert receipt["status"] == "waiting"
        raw = office.command(office.client, "inventory", select=SELECT_ALL, after="a" * 26)
        busy = await office.receive(office.client, raw)
        assert busy is not None
        assert (busy["status"], busy["reason"], busy["retry"]) == ("refused", "busy", "later")
        office.moment = at(86_400)  # the waiting ones expire, and the same bytes may come again
        await office.commands.tick(office.moment)
        office.moment = at()
        again = await office.receive(office.client, raw)
        assert again is not None
        assert again["status"] == "waiting"

    run(scenario())


def test_backend_is_told_sizes_and_codes_and_the_owner_everything(office: Office) -> None:
    async def scenario() -> None:
        kept = await office.keep(b"x" * 1000)
        told = (await office.submit(office.backend, "inventory", select=SELECT_ALL))["outcomes"]
        assert told == [
            {
                "id": kept.id,
                "result": "listed",
                "object": {"id": kept.id, "category": "recording", "bytes": kept.size_bytes, "state": "sealed"},
            }
        ]
        view = (await office.submit(office.client, "inventory", select=SELECT_ALL))["outcomes"][0]["object"]
        assert view["camera_label"] == "Küche cam1"
        assert view["name"] == "Haustür 10-15.mp4"
        assert view["until"] == "2027-01-29T08:00:00.000Z"
        assert view["rule"] == "category.recording.keep.age"

    run(scenario())


def test_inventory_is_paged(office: Office) -> None:
    async def scenario() -> None:
        kept = sorted([(await office.keep()).id for _number in range(5)])
        seen: list[str] = []
        own = {"select": SELECT_ALL, "limit": 2}
        while True:
            receipt = await office.submit(office.client, "inventory", **own)
            assert "selection" not in receipt, "no page counts or hashes what is not on it"
            seen += [outcome["id"] for outcome in receipt["outcomes"]]
            if "cursor" not in receipt:
                break
            own["cursor"] = receipt["cursor"]
        assert seen == kept

    run(scenario())


def test_claims_of_every_receipt_are_those_of_prose_and_schema(office: Office) -> None:
    schema = json.loads((DOCS / "schemas" / "receipt.json").read_text())
    claims = re.search(r"^## 5\..*?^Claims: .*?\n\n", (DOCS / "protocol.md").read_text(), re.DOTALL | re.MULTILINE)
    assert claims is not None
    optional = set(re.findall(r"`(\w+)`\?", claims[0]))
    assert optional == set(schema["properties"]) - set(schema["required"])

    async def scenario() -> None:
        kept = await office.keep()
        listed = await office.submit(office.client, "inventory", select=SELECT_ALL)
        reused = await office.submit(office.client, "inventory", select=SELECT_ALL, seq=listed["seq"])
        assert reused["reason"] == "seq_reused"
        approve = {"command": "a" * 26, "selection": "0" * 64}
        refused = await office.submit(office.client, "approve", **approve)
        deleted = await office.submit(office.client, "delete", select={"ids": [kept.id]})
        told = (listed, reused, refused, deleted)
        assert ["selection" in receipt for receipt in told] == [False, False, False, True]
        for receipt in told:
            assert set(schema["required"]) <= set(receipt) <= set(schema["properties"])

    run(scenario())


def test_more_outcomes_than_a_receipt_holds_are_paged_behind_their_hash(office: Office) -> None:
    async def scenario() -> None:
        kept = await asyncio.gather(*(office.keep(b"") for _number in range(230)))
        receipt = await office.submit(office.client, "delete", select=SELECT_ALL)
        assert (receipt["status"], receipt["selection"]["count"]) == ("done", 230)
        assert "outcomes" not in receipt
        seen = []
        cursor = receipt["cursor"]
        while cursor:
            page = await office.submit(office.client, "inventory", select=SELECT_ALL, cursor=cursor)
            seen += page["outcomes"]
            cursor = page.get("cursor")
        assert [(outcome["id"], outcome["result"]) for outcome in seen] == [
            (name, "deleted") for name in sorted(item.id for item in kept)
        ]

    run(scenario())


def test_terminal_receipt_stays_until_its_issuer_acknowledges_it(office: Office) -> None:
    async def scenario() -> None:
        receipt = await office.submit(office.client, "inventory", select=SELECT_ALL)
        await office.commands.receive(office.ack(office.backend, receipt["jti"]), moment=office.moment)
        assert office.waiting(office.client) == [receipt]
        await office.commands.receive(office.ack(office.client, receipt["jti"]), moment=office.moment)
        assert office.waiting(office.client) == []

    run(scenario())


def test_acknowledged_command_still_answers_its_repeat(office: Office) -> None:
    async def scenario() -> None:
        raw = office.command(office.client, "inventory", select=SELECT_ALL)
        first = await office.receive(office.client, raw)
        assert first is not None
        await office.commands.receive(office.ack(office.client, first["jti"]), moment=office.moment)
        assert await office.receive(office.client, raw) == first
        assert office.waiting(office.client) == [first]

    run(scenario())


def test_key_taken_out_of_the_set_is_not_heard_and_its_waiting_commands_end(office: Office) -> None:
    async def scenario() -> None:
        kept = await office.keep()
        office.moment = at(trusted=False)
        await office.submit(office.backend, "delete", select={"ids": [kept.id]})
        office.moment = at()
        keys = office.sign_keyset(2, envelope.signing_input_sha256(office.keyset_raw), office.client)
        assert (await office.commands.submit(keys, moment=office.moment)).receipt == b""
        await office.commands.resume(office.moment)
        assert office.get(kept.id) is not None
        raw = office.command(office.backend, "inventory", select=SELECT_ALL)
        assert await office.receive(office.backend, raw) is None
        assert office.commands.counters["unknown_key"] == 1

    run(scenario())


def test_command_file_needs_no_broker_and_no_seal(office: Office) -> None:
    async def scenario() -> None:
        jws = office.client.sign(office.claims(office.client, "inventory", select=SELECT_ALL))
        bare = await office.commands.submit(jws + b"\n", moment=office.moment)
        assert (bare.status, office.client.open(bare.receipt)["status"]) == ("done", "done")
        sealed = age.encrypt(
            office.client.sign(office.claims(office.client, "inventory", select=SELECT_ALL)),
            [age.parse_recipient(office.keystore.recipient())],
        )
        answer = await office.commands.submit(sealed, moment=office.moment)
        assert office.client.open(answer.receipt)["status"] == "done"
        with pytest.raises(RefusedError):
            await office.commands.submit(office.command(office.stranger, "inventory", select={}), moment=office.moment)

    run(scenario())


def test_signed_time_is_handed_on_and_a_refusal_is_answered(office: Office) -> None:
    async def scenario() -> None:
        assert (await office.submit(office.clock, "time", now=START_S + 5))["status"] == "done"
        assert office.told_times == [START_S + 5]
        office.refuse_time = True
        refused = await office.submit(office.clock, "time", now=START_S + 6)
        assert (refused["status"], refused["reason"]) == ("refused", "not_yet_valid")
        foreign = await office.submit(office.clock, "time", now=START_S + 10**6)
        assert (foreign["status"], foreign["reason"]) == ("refused", "malformed")

    run(scenario())


def test_progress_is_told_at_most_once_a_second(office: Office) -> None:
    async def scenario() -> None:
        for _number in range(10):
            await office.keep(b"")
        office.label_takes_ms = 400
        last = 0
        told = []

        async def watch() -> None:
            nonlocal last
            while True:
                messages = await office.index.read(partial(office.outbox.pending, after=last))
                for message in messages:
                    last = message.row
                    told.append(office.client.open(message.body))
                await office.changed.wait()  # as the post office waits: progress that is no news is never sent
                office.changed.clear()

        watching = asyncio.ensure_future(watch())
        await office.submit(office.client, "export", select=SELECT_ALL, form="objects")
        watching.cancel()
        rows = office.index.read_now(lambda tx: tx.execute("SELECT max(row) FROM outbox"))
        assert rows[0][0] <= 2 + 4  # accepted, terminal, and four whole seconds
        steps = [message["progress"] for message in told if message["status"] == "in_progress"]
        assert steps
        assert all(step["total"] == 10 and 0 < step["done"] < 10 for step in steps)

    run(scenario())


def test_late_word_about_a_settled_command_is_a_receipt_of_its_own(office: Office) -> None:
    async def scenario() -> None:
        receipt = await office.submit(office.client, "delete", select={"category": "photo"})
        outcome = Outcome(id=new_id(), result="failed", remarks=("source_copy_remains",))
        office.index.write_now(lambda tx: office.ledger.on_finish(tx, receipt["cmd"], (outcome,), office.moment))
        first, second = office.waiting(office.client)
        assert first == receipt
        assert (second["cmd"], second["status"]) == (receipt["cmd"], "partial")
        assert second["jti"] != first["jti"]
        assert second["outcomes"][0]["remarks"] == ["source_copy_remains"]

    run(scenario())


def test_reader_that_never_acknowledges_fills_no_disk(office: Office) -> None:
    def put(tx: Tx) -> None:
        for number in range(WAITING_MAX + 50):
            office.outbox.put_receipt(
                tx, to="reader", about=str(number), jti=new_id(), body=b"x", light=number % 2 == 0
            )

    office.index.write_now(put)
    waiting = office.index.read_now(lambda tx: office.outbox.pending(tx, limit=5000))
    assert len(waiting) == WAITING_MAX
    assert {str(number) for number in range(1, WAITING_MAX + 50, 2)} <= {message.about for message in waiting}


def test_alert_is_one_message_for_each_reader_and_counts_up(office: Office) -> None:
    alert = Alert(code="disk_full", what="w", effect="e", next="n")
    readers = (office.client.key(), office.backend.key())

    def raise_it(seconds: float) -> bool:
        return office.index.write_now(
            lambda tx: office.outbox.raise_alert(tx, alert, readers=readers, moment=at(seconds))
        )

    assert [raise_it(0), raise_it(1), raise_it(61)] == [True, False, True]
    for who in (office.client, office.backend):
        (told,) = office.waiting(who)
        assert (told["code"], told["count"], told["since"]) == ("disk_full", 3, "2027-01-15T08:00:00.000Z")
        assert told["aud"] == who.kid
    office.index.write_now(lambda tx: office.outbox.clear_alert(tx, "disk_full", moment=at(70)))
    assert raise_it(71)
    assert office.waiting(office.client)[0]["count"] == 1
    assert office.audit_kinds().count("alert_raised") == 2


def test_command_is_not_settled_before_its_last_object_is_decided(office: Office) -> None:
    async def scenario() -> None:
        ids = sorted([new_id(), new_id()])
        first = await office.receive(office.client, office.command(office.client, "delete", select={"ids": ids}))
        assert first is not None
        for object_id, status in zip(ids, ("accepted", "done"), strict=True):
            outcome = Outcome(id=object_id, result="deleted")
            office.index.write_now(
                partial(office.ledger.on_finish, command=first["cmd"], outcomes=(outcome,), moment=office.moment)
            )
            assert [told["status"] for told in office.waiting(office.client)] == [status]

    run(scenario())


def test_what_waits_for_a_key_is_dropped_with_the_key_and_counted_in_the_log(office: Office) -> None:
    """Its acks are a stranger's: receipts and alerts for it were repeated at each connection for ever."""

    async def scenario() -> None:
        for who in (office.backend, office.client):
            await office.submit(who, "delete", select={"category": "photo"})
        raw = office.sign_keyset(2, envelope.signing_input_sha256(office.keyset_raw), office.client, office.store)
        await office.commands.submit(raw, moment=office.moment)
        assert office.waiting(office.backend) == []
        assert len(office.waiting(office.client)) == 1
        rows = office.index.read_now(lambda tx: tx.execute("SELECT line FROM audit ORDER BY seq"))
        accepted = [line for (line,) in rows if b'"keyset_accepted"' in line]
        assert [b'"messages_dropped":1' in line for line in accepted] == [False, True]

    run(scenario())


def test_command_that_is_answered_or_unknown_is_never_judged_again(office: Office) -> None:
    async def act() -> None:
        await office.keep()
        done = await office.submit(office.client, "delete", select=SELECT_ALL)
        refused = await office.submit(office.backend, "approve", **OWN["approve"])
        assert (done["status"], refused["status"]) == ("done", "refused")
        before = office.audit_kinds()
        for jti in (done["cmd"], refused["cmd"], "a" * 26):
            again = partial(office.commands._admission.reconsider, jti=jti, moment=office.moment)
            assert await office.index.write(again) is False
        assert office.audit_kinds() == before

    run(act())
