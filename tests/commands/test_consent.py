"""What an owner says of purposes: recorded, in force at once, and what becomes of each object sealed for one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent import age
from agent.index import consent as rows
from agent.model import Object
from agent.policy import Consents, Rights
from agent.retention import Disk
from agent.rights import consent
from agent.rights.consent import By
from tests.commands.consenting import VENDOR, VENDOR_KEY, Consulate, consulate
from tests.commands.office import START_S, at, run
from tests.commands.test_export_stays import made_here


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Consulate]:
    opened = consulate(tmp_path)
    yield opened
    opened.close()


def results(receipt: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    return {one["id"]: (one["result"], *one.get("remarks", ())) for one in receipt["outcomes"]}


def standing(office: Consulate) -> Consents:
    return office.index.read_now(consent.standing)


def opens(office: Consulate, object_id: str, identity: age.Identity) -> bool:
    """Tell whether the header that would be uploaded opens with an identity."""
    header = office.index.read_now(lambda tx: office.vault.header(tx, object_id))
    assert header is not None
    try:
        age.unwrap_header(header, [identity])
    except age.NoMatchError:
        return False
    return True


def test_consent_is_recorded_with_who_when_what_was_told_and_under_which_policy(office: Consulate) -> None:
    async def scenario() -> None:
        receipt = await office.give(category="recording")
        assert receipt["status"] == "done"
        (record,) = receipt["records"]
        (process,) = record["dpv:hasProcess"]
        (status,) = process["dpv:hasConsentStatus"]
        assert record["@type"] == ["dpv:ConsentRecord"]
        assert status["@type"] == ["dpv:ConsentGiven", "dpv:ExplicitlyExpressedConsent"]
        assert status["dpv:isIndicatedBy"] == office.client.kid
        assert record["dpv:hasEntity"][office.client.kid]["dpv:hasName"] == "phone"
        assert status["dpv:isIndicatedAtTime"] == record["dct:created"] == "2027-01-15T08:00:00.000Z"
        assert receipt["cmd"] in status["dpv:isExercisedAt"]
        assert process["dpv:hasLegalBasis"] == ["dpv:Consent"]
        assert process["dpv:hasPurpose"][0]["skos:definition"] == "To see which functions are used."
        assert process["dpv:hasPersonalData"][0]["skos:prefLabel"] == "recording"
        assert process["dpv:hasRecipient"] == ["owner", "vendor"]
        assert record["dpv:hasDataSubject"]["dpv:hasIdentifier"] == office.owner().kid
        assert {"dpv:hasDuration": {"@type": "dpv:TemporalDuration", "rdf:value": "P14D"}}.items() <= process[
            "dpv:hasStorageCondition"
        ][-1].items()
        assert standing(office).words == {("analytics", "recording"): "given"}
        assert office.rights_changes == 1
        assert office.audit_kinds().count("purpose_said") == 1

    run(scenario())


def test_consent_without_a_category_is_for_each_that_the_policy_uses_for_it(office: Consulate) -> None:
    async def scenario() -> None:
        assert len((await office.give())["records"]) == 3
        assert {category for _, category in standing(office).words} == {"recording", "photo", "usage-log"}

    run(scenario())


def test_refusing_one_purpose_leaves_the_others(office: Consulate) -> None:
    async def scenario() -> None:
        await office.give()
        refused = await office.submit(office.client, "consent", purpose="improvement", decision="refused")
        assert refused["status"] == "done"
        words = standing(office).words
        assert words["improvement", "usage-log"] == "refused"
        assert words["analytics", "usage-log"] == "given"

    run(scenario())


@pytest.mark.parametrize(
    ("verb", "own", "reason"),
    [
        ("consent", {"purpose": "marketing", "decision": "given"}, "unknown_purpose"),
        ("consent", {"purpose": "analytics", "decision": "given", "category": "export"}, "unknown_purpose"),
        ("consent", {"purpose": "analytics", "decision": "perhaps"}, "malformed"),
        ("withdraw", {"purpose": "improvement"}, "wrong_basis"),
        ("withdraw", {"purpose": "../x"}, "malformed"),
        ("object", {}, "malformed"),
        ("object", {"purpose": "analytics", "do_not_track": True}, "malformed"),
        ("object", {"do_not_track": True, "category": "photo"}, "malformed"),
        ("consent", {"purpose": "records", "decision": "refused"}, "wrong_basis"),
        ("object", {"purpose": "records"}, "wrong_basis"),
        ("object", {"purpose": "access"}, "wrong_basis"),
    ],
)
def test_word_that_means_nothing_here_is_refused_and_changes_nothing(
    office: Consulate, verb: str, own: dict[str, Any], reason: str
) -> None:
    async def scenario() -> None:
        receipt = await office.receive(office.client, office.command(office.client, verb, **own))
        assert receipt is not None
        assert (receipt["status"], receipt["reason"]) == ("refused", reason)
        assert standing(office) == Consents()
        assert office.rights_changes == 0

    run(scenario())


def test_withdrawal_says_of_each_object_what_became_of_it(office: Consulate) -> None:
    async def scenario() -> None:
        await office.give()
        both = await office.keep_for("security", "analytics")
        half = await office.keep_for("security", "analytics")
        upload = office.begin_upload(half.id)
        alone = await office.keep_for("analytics", category="photo")
        theirs = await office.keep_for("analytics", owner=False, category="usage-log")
        blind = await office.keep_for("security", "analytics", kind="header-key")
        stored = await office.keep_for("security", "analytics")
        office.upload(stored.id)
        untouched = await office.keep_for("security", vendor=False)

        receipt = await office.withdraw()
        assert receipt["status"] == "done"
        assert results(receipt) == {
            both.id: ("resealed",),
            half.id: ("resealed", "half_upload_aborted"),
            alone.id: ("kept",),
            theirs.id: ("deleted",),
            blind.id: ("kept", "not_readable_here"),
            stored.id: ("continues", "store_copy_remains"),
        }
        assert len(receipt["records"]) == 3
        for item in (both, half, alone):
            assert opens(office, item.id, office.owner_identity)
            assert not opens(office, item.id, VENDOR)
        for item, purposes, readers in (
            (both, ("security",), (office.owner_recipient,)),
            (alone, (), (office.owner_recipient,)),
            (blind, ("security",), blind.recipients),
            (stored, ("security",), stored.recipients),
            (untouched, ("security",), untouched.recipients),
        ):
            found = office.get(item.id)
            assert found is not None
            assert (found.purposes, found.recipients) == (purposes, readers)
        assert office.get(theirs.id) is None
        asked = office.index.read_now(lambda tx: office.erasure.pending_remote(tx, office.store.kid, 10))
        assert [copy.upload for copy in asked] == [upload], "the half-sent copy is asked back, the finished one is not"

    run(scenario())


def test_withdrawal_of_what_a_limit_ended_meanwhile_tells_of_the_copy_in_an_export(office: Consulate) -> None:
    # Its receipt said that it was gone, and not where it still was: a delete's does.
    async def scenario() -> None:
        await office.give()
        gone = await office.keep_for("security", "analytics")
        made = await made_here(office)
        frozen = await office.receive(office.client, office.command(office.client, "withdraw", purpose="analytics"))
        assert frozen is not None
        await office.erasure.erase([gone.id], actor="device", rule="keep.age", command="", moment=office.moment)
        await office.commands.resume(office.moment)
        (told,) = [one for one in office.waiting(office.client) if one["cmd"] == frozen["cmd"]]
        assert told["outcomes"] == [
            {"id": gone.id, "result": "already_gone", "remarks": ["export_copy_remains"], "exports": [made.id]}
        ]

    run(scenario())


def test_copy_that_only_the_store_has_after_a_withdrawal_stays_and_a_delete_still_finds_it(office: Consulate) -> None:
    async def scenario() -> None:
        await office.give()
        theirs = await office.keep_for("analytics", owner=False, category="usage-log")
        upload = office.upload(theirs.id)
        receipt = await office.withdraw()
        assert results(receipt) == {theirs.id: ("deleted", "store_copy_remains")}
        assert office.get(theirs.id) is None
        deleted = await office.submit(office.client, "delete", select={"ids": [theirs.id]})
        assert deleted["status"] == "waiting"
        assert office.confirm_erased(upload)

    run(scenario())


FREEZING: dict[str, tuple[tuple[str, dict[str, Any]], tuple[str, str]]] = {
    "held": (("hold", {"reason": "claim 7", "until": "2027-02-01T08:00:00.000Z"}), ("release", "hold")),
    "restricted": (("restrict", {"ground": "accuracy"}), ("unrestrict", "restriction")),
}


@pytest.mark.promise("CONSENT-WITHDRAW")
@pytest.mark.parametrize("result", FREEZING)
def test_what_is_frozen_is_for_nothing_any_more_and_goes_when_that_is_over(office: Consulate, result: str) -> None:
    (verb, own), (lifts, names) = FREEZING[result]

    async def scenario() -> None:
        who = office.backend if verb == "hold" else office.client
        await office.give()
        theirs = await office.keep_for("analytics", owner=False, category="usage-log")
        kept = await office.keep_for("analytics", category="photo")
        upload = office.begin_upload(theirs.id)
        frozen = await office.submit(who, verb, select={"ids": [theirs.id]}, **own)
        receipt = await office.withdraw()
        assert (receipt["status"], results(receipt)) == ("partial", {theirs.id: (result,), kept.id: ("kept",)})
        assert set(standing(office).words.values()) == {"withdrawn"}
        asked = office.index.read_now(lambda tx: office.erasure.pending_remote(tx, office.store.kid, 10))
        assert [copy.upload for copy in asked] == [upload], "what a store has of it is asked back"

        office.moment = at(60)
        await office.give()
        found = office.get(theirs.id)
        assert found is not None
        assert found.purposes == (), "a yes that is said again does not give it back"
        retention = office.retention()
        await retention.run_pass(office.moment, Disk())
        assert office.get(theirs.id) is not None
        assert (await office.submit(who, lifts, **{names: frozen["cmd"]}))["status"] == "done"
        await retention.run_pass(office.moment, Disk())
        await office.erasure.resume(office.moment)
        assert office.get(theirs.id) is None
        assert office.get(kept.id) is not None, "its owner can read it"

    run(scenario())


def test_word_on_what_is_all_frozen_is_in_force_and_so_no_failure(office: Consulate) -> None:
    async def scenario() -> None:
        await office.give()
        theirs = await office.keep_for("analytics", owner=False, category="usage-log")
        await office.submit(office.client, "restrict", select={"all": True}, ground="accuracy")
        receipt = await office.withdraw()
        assert (receipt["status"], results(receipt)) == ("partial", {theirs.id: ("restricted",)})

    run(scenario())


@pytest.mark.promise("CONSENT-WITHDRAW")
def test_yes_said_right_behind_a_withdrawal_does_not_keep_what_was_there_as_it_was(office: Consulate) -> None:
    async def scenario() -> None:
        await office.give()
        old = await office.keep_for("security", "analytics")
        office.moment = at(60)
        for verb, own in (("withdraw", {}), ("consent", {"decision": "given"})):
            await office.receive(office.client, office.command(office.client, verb, purpose="analytics", **own))
        assert set(standing(office).words.values()) == {"given"}
        new = await office.keep_for("security", "analytics")
        await office.commands.resume(office.moment)
        found = office.get(old.id)
        assert found is not None
        assert found.purposes == ("security",)
        assert not opens(office, old.id, VENDOR)
        assert office.get(new.id) == new, "what came behind the yes is the yes's"

    run(scenario())


def test_what_was_taken_in_before_a_yes_is_not_uploaded_for_it(office: Consulate) -> None:
    async def scenario() -> None:
        await office.give()
        item = await office.keep_for("analytics", owner=False, category="usage-log")
        assert rights_of(office, item).consents.words["analytics", "usage-log"] == "given"
        office.moment = at(60)
        for verb, own in (("withdraw", {}), ("consent", {"decision": "given"})):
            await office.receive(office.client, office.command(office.client, verb, purpose="analytics", **own))
        assert rights_of(office, item).consents.words["analytics", "usage-log"] == "withdrawn"

    run(scenario())


def rights_of(office: Consulate, item: Object) -> Rights:
    return office.index.read_now(lambda tx: office.snapshot.of(tx, item))


def test_late_no_of_another_key_lets_no_older_yes_through(office: Consulate) -> None:
    async def scenario() -> None:
        phone, tablet = office.client, office.stranger
        keys = office.sign_keyset(2, _hash_of(office), phone, tablet, office.backend, office.store, office.clock)
        await office.commands.submit(keys, moment=office.moment)
        own = {"purpose": "analytics", "decision": "given"}
        delayed = office.claims(phone, "consent", **own) | {"iat": START_S - 50}
        newest = office.claims(phone, "withdraw", purpose="analytics") | {"iat": START_S - 40}
        await office.receive(phone, office.seal(phone.sign(newest)))
        late_no = office.claims(tablet, "withdraw", purpose="analytics") | {"iat": START_S - 60}
        taken = await office.receive(tablet, office.seal(tablet.sign(late_no)))
        assert taken is not None
        assert taken["status"] == "done"
        refused = await office.receive(phone, office.seal(phone.sign(delayed)))
        assert refused is not None
        assert (refused["status"], refused["reason"]) == ("refused", "superseded")
        third = office.claims(tablet, "consent", **own) | {"iat": START_S - 45}
        refused = await office.receive(tablet, office.seal(tablet.sign(third)))
        assert refused is not None
        assert refused["reason"] == "superseded", "the phone's withdrawal is newer"
        assert set(standing(office).words.values()) == {"withdrawn"}

    run(scenario())


def test_consent_given_again_brings_nothing_back_that_was_narrowed(office: Consulate) -> None:
    async def scenario() -> None:
        await office.give()
        item = await office.keep_for("security", "analytics")
        await office.withdraw()
        await office.give()
        found = office.get(item.id)
        assert found is not None
        assert found.purposes == ("security",)
        assert not opens(office, item.id, VENDOR)

    run(scenario())


def test_objection_switches_off_what_rests_on_no_consent(office: Consulate) -> None:
    async def scenario() -> None:
        log = await office.keep_for("improvement", owner=False, category="usage-log")
        receipt = await office.submit(office.client, "object", purpose="improvement")
        assert results(receipt) == {log.id: ("deleted",)}
        (record,) = receipt["records"]
        assert record["@type"] == ["dpv:RightExerciseRecord"]
        assert record["dpv:hasProcess"][0]["dpv:hasRight"] == ["eu-gdpr:A21"]
        assert standing(office).words == {("improvement", "usage-log"): "objected"}

    run(scenario())


def test_do_not_track_ends_what_was_allowed_and_what_comes_later_until_it_is_off_again(office: Consulate) -> None:
    async def scenario() -> None:
        await office.give()
        log = await office.keep_for("analytics", "improvement", owner=False, category="usage-log")
        receipt = await office.submit(office.client, "object", do_not_track=True)
        assert results(receipt) == {log.id: ("deleted",)}
        assert standing(office).do_not_track
        assert set(standing(office).words.values()) == {"objected"}
        await office.give("improvement")
        assert standing(office).words["improvement", "usage-log"] == "given", "a word on just that is newer"
        off = await office.submit(office.client, "object", do_not_track=False)
        assert off["status"] == "done"
        assert not standing(office).do_not_track
        assert standing(office).words["analytics", "recording"] == "objected", "nothing comes back by itself"

    run(scenario())


def test_older_word_that_comes_late_changes_nothing(office: Consulate) -> None:
    async def scenario() -> None:
        early = office.command(office.client, "consent", purpose="analytics", decision="given")
        await office.withdraw()
        late = await office.receive(office.client, early)
        assert late is not None
        assert (late["status"], late["reason"]) == ("refused", "superseded")
        assert set(standing(office).words.values()) == {"withdrawn"}

    run(scenario())


def test_word_of_another_key_gives_only_if_it_is_newer_and_takes_in_any_case(office: Consulate) -> None:
    async def scenario() -> None:
        await office.withdraw()
        consent_of = {"purpose": "analytics", "decision": "given"}
        other = office.stranger
        keys = office.sign_keyset(2, _hash_of(office), office.client, other, office.backend, office.store, office.clock)
        await office.commands.submit(keys, moment=office.moment)
        same_second = await office.receive(other, office.command(other, "consent", **consent_of))
        assert same_second is not None
        assert same_second["reason"] == "superseded"
        newer = office.claims(other, "consent", **consent_of) | {"iat": START_S - 5}
        taken = await office.receive(other, office.seal(other.sign(newer)))
        assert taken is not None
        assert taken["status"] == "done"
        older = office.claims(office.client, "withdraw", purpose="analytics") | {"iat": START_S - 100}
        taken = await office.receive(office.client, office.seal(office.client.sign(older)))
        assert taken is not None
        assert taken["status"] == "done"
        assert set(standing(office).words.values()) == {"withdrawn"}

    run(scenario())


def _hash_of(office: Consulate) -> str:
    keys = office.index.read_now(office.trust.key_set)
    assert keys is not None
    return keys.sha256


def test_withdrawal_acts_while_the_clock_is_unsure(office: Consulate) -> None:
    async def scenario() -> None:
        await office.give()
        office.moment = at(60, trusted=False)
        receipt = await office.withdraw()
        assert receipt["status"] == "done"
        assert "unsure" in receipt["records"][0]["dpv:hasProcess"][0]["dpv:hasConsentStatus"][0]["dct:description"]

    run(scenario())


def test_withdrawal_that_waited_reaches_what_came_in_meanwhile(office: Consulate) -> None:
    async def scenario() -> None:
        await office.give()
        first = office.claims(office.client, "inventory", select={"all": True})
        waiting = office.command(office.client, "withdraw", purpose="analytics", after=first["jti"])
        receipt = await office.receive(office.client, waiting)
        assert receipt is not None
        assert receipt["reason"] == "after_pending"
        assert set(standing(office).words.values()) == {"given"}
        item = await office.keep_for("security", "analytics")
        await office.receive(office.client, office.seal(office.client.sign(first)))
        told = office.client.open((await office.commands.submit(waiting, moment=office.moment)).receipt)
        assert (told["status"], results(told)) == ("done", {item.id: ("resealed",)})

    run(scenario())


def test_records_are_listed_in_pages_and_every_word_stays(office: Consulate) -> None:
    async def scenario() -> None:
        for _ in range(2):
            await office.give()
            await office.withdraw()
        found: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        while True:
            page = await office.submit(office.client, "consents", limit=5, **cursor)
            found += page["records"]
            if not page.get("cursor"):
                break
            cursor = {"cursor": page["cursor"]}
        assert len(found) == 12
        assert len({record["dpv:hasIdentifier"] for record in found}) == 12
        backend = await office.receive(office.backend, office.command(office.backend, "consents"))
        assert backend is not None
        assert backend["reason"] == "verb_not_allowed"

    run(scenario())


def test_records_are_bounded_and_the_last_word_never_goes(office: Consulate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consent, "RECORDS_MAX", 4)

    async def scenario() -> None:
        await office.give(category="photo")
        for _ in range(4):
            await office.give(category="recording")
            await office.withdraw(category="recording")
        records = office.index.read_now(consent.page)
        assert len(records) == 4
        assert standing(office).words == {("analytics", "photo"): "given", ("analytics", "recording"): "withdrawn"}
        assert {one.category for one in records} == {"photo", "recording"}

    run(scenario())


def test_far_too_many_purposes_are_refused_and_leave_nothing(
    office: Consulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consent, "WORDS_MAX", 2)

    async def scenario() -> None:
        receipt = await office.receive(
            office.client, office.command(office.client, "consent", purpose="analytics", decision="given")
        )
        assert receipt is not None
        assert (receipt["status"], receipt["reason"]) == ("refused", "too_large")
        assert standing(office) == Consents()

    run(scenario())


def test_newest_words_of_keys_are_bounded_and_the_latest_stay(
    office: Consulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consent, "KEYS_MAX", 2)
    targets = (("analytics", "photo"),)

    def by(number: int) -> By:
        return By(kid=f"k{number}", name="", command=f"c{number}", seq=1, iat_s=number)

    def say(tx: Any) -> None:  # noqa: ANN401 - a transaction
        for number in (3, 1, 2):
            consent.say(tx, targets, "withdrawn", policy=office.world.policy(), by=by(number), moment=office.moment)

    office.index.write_now(say)
    assert sorted(kid for kid, _, _ in office.index.read_now(lambda tx: rows.newest(tx, *targets[0]))) == ["k2", "k3"]


def test_vendor_key_reads_what_was_sealed_for_its_purpose() -> None:
    assert VENDOR.recipient().to_text() == VENDOR_KEY
