"""``rectify`` on one device: what is corrected here, for which copies a store's word is missing, what goes again."""

from functools import partial
from typing import Any

import pytest

from agent import enrolment, envelope, registry
from agent.index import Tx
from agent.index import rectification as rows
from agent.model import Object, Outcome
from agent.rights import correction
from tests.commands.office import START_S, Office, at, party, run


def camera_of(office: Office, label: str = "front") -> str:
    return office.index.write_now(lambda tx: registry.camera_id(tx, "door", label, moment=office.moment))


def label_of(office: Office, camera: str) -> str:
    return office.index.read_now(lambda tx: enrolment.label_of(tx, camera))


def name_of(office: Office, item: Object) -> str:
    found = office.get(item.id)
    assert found is not None
    return found.name


def due(office: Office, target: str) -> int:
    return office.index.read_now(lambda tx: rows.due(tx, target))


def confirm(office: Office, target: str, *uploads: str, number: int = 1, kept: bool = True) -> int:
    """Note the store's word, as the flow of uploads does."""

    def note(tx: Tx) -> int:
        news = correction.confirmed(tx, office.store.kid, target=target, uploads=uploads, number=number, kept=kept)
        office.commands.corrected(tx, office.moment)
        return news

    return office.index.write_now(note)


def newest(office: Office, command: str) -> dict[str, Any]:
    return next(claims for claims in office.waiting(office.client) if claims["cmd"] == command)


@pytest.mark.promise("RECTIFY")
def test_camera_that_no_store_knows_is_corrected_at_once(office: Office) -> None:
    camera = camera_of(office)
    run(office.keep(camera=camera))
    told = run(office.submit(office.client, "rectify", camera=camera, set={"name": "Küche", "location": "Hof"}))
    assert (told["status"], told["outcomes"]) == ("done", [{"id": camera, "result": "rectified"}])
    assert label_of(office, camera) == "Küche"
    assert office.index.read_now(lambda tx: correction.location(tx, camera)) == "Hof"
    assert office.audit_kinds().count("rectified") == 1


def test_empty_name_lets_the_camera_be_called_as_its_source_calls_it(office: Office) -> None:
    camera = camera_of(office)
    for name, called in (("Küche", "Küche"), ("", "front")):
        run(office.submit(office.client, "rectify", camera=camera, set={"name": name}))
        assert label_of(office, camera) == called


def test_second_correction_states_what_the_first_did_too(office: Office) -> None:
    camera = camera_of(office)
    run(office.submit(office.client, "rectify", camera=camera, set={"location": "Hof"}))
    run(office.submit(office.client, "rectify", camera=camera, set={"name": "Tor"}))
    told = office.index.read_now(lambda tx: correction.stated(tx, camera))
    assert told is not None
    assert (told.name, told.location, told.number) == ("Tor", "Hof", 2)


@pytest.mark.promise("RECTIFY")
def test_correction_waits_for_the_word_of_the_store_for_each_copy(office: Office) -> None:
    camera = camera_of(office)
    kept = [run(office.keep(camera=camera)) for _ in range(2)]
    uploads = [office.upload(item.id) for item in kept]
    told = run(office.submit(office.client, "rectify", camera=camera, set={"name": "Tor"}))
    assert (told["status"], "reason" in told) == ("waiting", False)
    assert told["outcomes"] == [{"id": camera, "result": "waiting_for_cloud"}]
    assert label_of(office, camera) == "Tor"
    assert confirm(office, camera, uploads[0]) == 1
    assert newest(office, told["cmd"])["status"] == "waiting"
    office.restart()
    assert confirm(office, camera, uploads[1]) == 1
    settled = newest(office, told["cmd"])
    assert settled["status"] == "done"
    assert settled["outcomes"] == [{"id": camera, "result": "rectified", "stated_by": office.store.kid}]


def test_word_about_an_earlier_correction_does_not_answer_a_later_one(office: Office) -> None:
    item = run(office.keep())
    upload = office.upload(item.id)
    first = run(office.submit(office.client, "rectify", object=item.id, set={"name": "a.mp4"}))
    second = run(office.submit(office.client, "rectify", object=item.id, set={"name": "b.mp4"}))
    assert confirm(office, item.id, upload, number=1) == 0
    assert newest(office, second["cmd"])["status"] == "waiting"
    assert confirm(office, item.id, upload, number=2) == 1
    assert {newest(office, told["cmd"])["status"] for told in (first, second)} == {"done"}
    assert name_of(office, item) == "b.mp4"


def test_copy_that_is_stored_after_the_correction_is_due_and_one_recorded_after_it_is_not(office: Office) -> None:
    camera = camera_of(office)
    before = run(office.keep(camera=camera))
    run(office.submit(office.client, "rectify", camera=camera, set={"name": "Tor"}))
    after = run(office.keep(camera=camera))
    other = run(office.keep(camera="cam9"))
    uploads = [office.upload(item.id) for item in (before, after, other)]
    due_now, _after = office.index.read_now(lambda tx: correction.due_at(tx, office.store.kid, limit=9))
    assert [(copy.target, copy.upload) for copy in due_now] == [(camera, uploads[0])]


def test_delete_of_the_copies_answers_a_correction_that_waits_for_them(office: Office) -> None:
    camera = camera_of(office)
    item = run(office.keep(camera=camera))
    office.upload(item.id)
    told = run(office.submit(office.client, "rectify", camera=camera, set={"name": "Tor"}))
    assert due(office, camera) == 1
    run(office.submit(office.client, "delete", select={"ids": [item.id]}))
    assert due(office, camera) == 0
    run(office.commands.tick(office.moment))
    settled = newest(office, told["cmd"])
    assert (settled["status"], settled["outcomes"]) == ("done", [{"id": camera, "result": "rectified"}])


def test_object_that_is_deleted_before_its_store_said_anything_is_not_rectified(office: Office) -> None:
    item = run(office.keep())
    office.upload(item.id)
    told = run(office.submit(office.client, "rectify", object=item.id, set={"name": "b.mp4"}))
    deleted = run(office.submit(office.client, "delete", select={"ids": [item.id]}))
    assert deleted["status"] == "waiting"
    for upload in office.index.read_now(lambda tx: tx.execute("SELECT id FROM upload")):
        office.confirm_erased(upload[0])
    run(office.commands.tick(office.moment))
    assert newest(office, told["cmd"])["outcomes"] == [{"id": item.id, "result": "already_gone"}]


def test_copy_that_the_store_does_not_have_is_told_and_claimed_of_nobody(office: Office) -> None:
    camera = camera_of(office)
    uploads = [office.upload(run(office.keep(camera=camera)).id) for _ in range(2)]
    for number, kept in ((1, ()), (2, uploads[:1])):
        told = run(office.submit(office.client, "rectify", camera=camera, set={"name": "Tor"}))
        confirm(office, camera, *(one for one in uploads if one not in kept), number=number, kept=False)
        if kept:
            confirm(office, camera, *kept, number=number)
        wanted = {"id": camera, "result": "rectified", "remarks": ["copy_absent"]}
        assert newest(office, told["cmd"])["outcomes"] == [wanted | ({"stated_by": office.store.kid} if kept else {})]


def test_store_that_left_the_key_set_is_not_waited_for(office: Office) -> None:
    camera = camera_of(office)
    office.upload(run(office.keep(camera=camera)).id)
    told = run(office.submit(office.client, "rectify", camera=camera, set={"name": "Tor"}))
    assert told["status"] == "waiting"
    raw = office.sign_keyset(2, envelope.signing_input_sha256(office.keyset_raw), office.client, office.backend)
    run(office.commands.submit(raw, moment=office.moment))
    run(office.commands.tick(office.moment))
    assert newest(office, told["cmd"])["outcomes"] == [
        {"id": camera, "result": "rectified", "remarks": ["store_not_asked"]}
    ]
    assert due(office, camera) == 1, "it is corrected there if its key comes back"


def test_copies_of_a_store_come_one_after_the_other_whatever_it_confirms(office: Office) -> None:
    items = [run(office.keep()) for _ in range(5)]
    for item in items:
        office.upload(item.id)
        run(office.submit(office.client, "rectify", object=item.id, set={"name": "b.mp4"}))
    since, asked = correction.FIRST, []
    for _ in items:
        page, since = office.index.read_now(partial(correction.due_at, store=office.store.kid, since=since, limit=9))
        asked += [copy.target for copy in page]
    assert sorted(asked) == sorted(item.id for item in items)
    assert since == correction.FIRST


def test_what_was_corrected_of_an_object_goes_with_it(office: Office) -> None:
    item = run(office.keep())
    run(office.submit(office.client, "rectify", object=item.id, set={"name": "geheim.mp4"}))
    assert office.index.read_now(lambda tx: correction.stated(tx, item.id)) is not None
    run(office.submit(office.client, "delete", select={"ids": [item.id]}))
    assert office.index.read_now(lambda tx: correction.stated(tx, item.id)) is None


def test_what_is_not_known_is_refused_and_nothing_is_written(office: Office) -> None:
    gone = run(office.keep())
    run(office.submit(office.client, "delete", select={"ids": [gone.id]}))
    for target in ({"camera": "k3x9"}, {"object": gone.id}):
        told = run(office.submit(office.client, "rectify", set={"name": "x"}, **target))
        assert (told["status"], told["reason"], told["retry"]) == ("refused", "not_held", "after_fix")
    assert "rectified" not in office.audit_kinds()


@pytest.mark.parametrize(
    "own",
    [
        {"set": {}, "camera": "k3x9"},
        {"set": {"name": "x"}},
        {"set": {"name": "x"}, "camera": "k3x9", "object": "a" * 26},
        {"set": {"location": "x"}, "object": "a" * 26},
        {"set": {"name": "x\n"}, "camera": "k3x9"},
        {"set": {"name": "x" * 65}, "camera": "k3x9"},
        {"set": {"colour": "x"}, "camera": "k3x9"},
    ],
    ids=range(7),
)
def test_correction_without_a_form_is_malformed(office: Office, own: dict[str, Any]) -> None:
    told = run(office.submit(office.client, "rectify", **own))
    assert (told["status"], told["reason"]) == ("refused", "malformed")


def test_backend_corrects_nothing(office: Office) -> None:
    camera = camera_of(office)
    told = run(office.submit(office.backend, "rectify", camera=camera, set={"name": "x"}))
    assert (told["status"], told["reason"]) == ("refused", "verb_not_allowed")
    assert label_of(office, camera) == "front"


def test_object_of_which_only_a_store_has_a_copy_is_corrected_there(office: Office) -> None:
    item = run(office.keep())
    upload = office.upload(item.id)

    async def expire() -> None:
        await office.erasure.begin([item.id], rule="category.recording.keep.age", moment=office.moment)
        await office.erasure.resume(office.moment)

    run(expire())
    assert office.get(item.id) is None
    told = run(office.submit(office.client, "rectify", object=item.id, set={"name": "b.mp4"}))
    assert told["status"] == "waiting"
    (copy,), _after = office.index.read_now(lambda tx: correction.due_at(tx, office.store.kid, limit=9))
    assert (copy.upload, copy.recipients) == (upload, ())


def test_outcome_of_a_waiting_correction_is_answered_once(office: Office) -> None:
    item = run(office.keep())
    upload = office.upload(item.id)
    told = run(office.submit(office.client, "rectify", object=item.id, set={"name": "b.mp4"}))
    stores = (office.store.kid,)
    assert office.index.read_now(lambda tx: correction.is_any_over(tx, stores=stores)) is False
    confirm(office, item.id, upload)
    assert office.index.write_now(lambda tx: correction.answered(tx, stores=stores)) == ()
    assert [Outcome(**one) for one in newest(office, told["cmd"])["outcomes"]] == [
        Outcome(id=item.id, result="rectified", stated_by=office.store.kid)
    ]


def test_correction_that_a_broker_kept_back_does_not_undo_the_newer_one(office: Office) -> None:
    """It was taken up whenever it came, so whoever delivers commands chose which of them counted."""
    camera = camera_of(office)
    wrong = office.command(office.client, "rectify", camera=camera, set={"name": "Tor"})
    elsewhere = office.command(office.client, "rectify", camera=camera, set={"location": "Hof"})
    run(office.submit(office.client, "rectify", camera=camera, set={"name": "Tür"}))
    told = run(office.receive(office.client, wrong))
    assert told is not None
    assert (told["status"], told["reason"]) == ("refused", "superseded")
    assert label_of(office, camera) == "Tür"
    told = run(office.receive(office.client, elsewhere))
    assert told is not None
    assert told["status"] == "done", "nothing newer was said of where it is"


def test_what_is_known_of_the_newest_correction_goes_behind_what_was_corrected(office: Office) -> None:
    one, other = run(office.keep()), run(office.keep())
    run(office.submit(office.client, "rectify", object=one.id, set={"name": "a.mp4"}))
    run(office.submit(office.client, "delete", select={"ids": [one.id]}))
    run(office.submit(office.client, "rectify", object=other.id, set={"name": "b.mp4"}))
    assert office.index.read_now(lambda tx: tx.execute("SELECT matter, target FROM newest_word")) == [
        ("name", other.id)
    ]


def test_client_whose_clock_is_years_ahead_keeps_no_other_from_correcting(office: Office) -> None:
    camera = camera_of(office)
    other = party("client", "tablet", "rectify")
    raw = office.sign_keyset(2, envelope.signing_input_sha256(office.keyset_raw), office.client, other, office.store)
    run(office.commands.submit(raw, moment=office.moment))
    office.moment = at(trusted=False)
    for who, ahead_s, name in ((office.client, 10**8, "Tor"), (other, 600, "Tür")):
        told = run(
            office.submit(
                who, "rectify", camera=camera, set={"name": name}, iat=START_S + ahead_s, exp=START_S + ahead_s + 60
            )
        )
        assert told["status"] == "done"
    assert label_of(office, camera) == "Tür"
