"""A delete reaches the camera's own storage, and its receipt says what happened there (ERASE)."""

import os
import threading
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agent import enrolment, tombstone
from agent.clock import rfc3339_ms
from agent.index import Tx
from agent.ingest import asking
from agent.model import Selection
from agent.policy import Hold, Rights
from agent.sources.camera import ANEW_S
from agent.sources.candidate import card_number
from tests.camera.liar import STATUS, Asked, Liar, entry
from tests.camera.place import LIMIT_S, NOW_MS, WHEN, Place, at
from tests.waiting import until as wait_until

COMMAND = "c" * 26


def away(place: Place) -> None:
    place.at = ()


def back(place: Place) -> None:
    place.at = None


def test_deleted_recording_waits_for_its_camera_and_is_gone_from_the_card_when_that_is_back(place: Place) -> None:
    place.record(b"content")
    place.collect(place.is_clean())
    away(place)
    (outcome,) = place.erase(place.only().id)
    assert (outcome.result, outcome.remarks) == (
        "waiting_for_camera", ("clear_source_blocks_may_remain", "camera_unconfirmed")
    )  # fmt: skip
    assert place.objects() == ()
    assert len(place.card()) == 1
    place.reopen()
    place.erasure = place.new_erasure()
    back(place)
    place.collect(lambda: place.card() == {} and place.outcomes[COMMAND][0].result == "deleted")
    (outcome,) = place.outcomes[COMMAND]
    assert outcome.remarks == ("clear_source_blocks_may_remain", "camera_confirmed")
    assert (outcome.stated_by, outcome.camera_stated_by) == ("", place.pinned.kid)
    assert not place.waits()


def test_deleted_recording_that_its_camera_never_heard_acknowledged_is_deleted_unread(
    place: Place, tmp_path: Path
) -> None:
    with Liar(tmp_path / "liar", place.stand.device.identity) as liar:
        place.at = (liar.address,)
        liar.contents["a"] = b"content"
        liar.on_list = lambda asked, _query: asked.say({"recordings": [entry("a", b"content")]})
        place.collect(lambda: bool(liar.acknowledged))
        place.erase(place.only().id)
        place.collect(lambda: liar.deleted.count("a") >= 2)  # once as asked, and once as it is still listed
        assert len(liar.fetched) == 1
    assert place.objects() == ()


def test_deleted_content_that_the_camera_offers_under_another_id_does_not_return(place: Place) -> None:
    place.record(b"content")
    place.collect(place.is_clean())
    place.erase(place.only().id)
    place.record(b"content")
    place.collect(lambda: place.card() == {})
    assert place.objects() == ()


def test_camera_enrolled_anew_brings_nothing_back(place: Place, tmp_path: Path) -> None:
    with Liar(tmp_path / "liar", place.stand.device.identity) as liar:
        place.at = (liar.address,)
        liar.contents["a"] = b"content"
        place.collect(lambda: bool(liar.acknowledged))
        place.erase(place.only().id)
        place.index.write_now(lambda tx: enrolment.forget(tx, place.enrolled.camera, moment=place.now))
        place.index.write_now(lambda tx: tx.execute("DELETE FROM camera"))  # as when all was deleted
        device = place.stand.device
        place.enrolled = place.index.write_now(
            lambda tx: enrolment.enrol(tx, level="proved", device=device.id, kid=place.pinned.kid, moment=place.now)
        )
        liar.acknowledged.clear()
        place.collect(lambda: liar.deleted == ["a"])
        assert len(liar.fetched) == 1
    assert place.objects() == ()


def test_what_a_cutoff_covers_and_turns_up_on_the_card_later_is_destroyed_unread(place: Place, tmp_path: Path) -> None:
    place.erase(cutoff=Selection(all=True))
    with Liar(tmp_path / "liar", place.stand.device.identity) as liar:
        place.at = (liar.address,)
        new = entry("new", b"new", **{"from": "2026-11-25T00:00:00.000Z", "to": "2026-11-25T00:00:10.000Z"})
        liar.contents |= {"old": b"old", "new": b"new"}

        def listing(asked: Asked, _query: dict[str, str]) -> None:
            gone = {*liar.deleted, *liar.acknowledged}
            rows = [entry("old", b"old"), new]
            asked.say({"recordings": [row for row in rows if row["id"] not in gone]})

        liar.on_list = listing
        place.collect(lambda: bool(liar.acknowledged) and place.index.read_now(tombstone.late) != ())
        assert liar.deleted == ["old"]
        assert liar.fetched == [("new", "")]
    assert place.contents() == [b"new"]
    (late,) = place.index.read_now(tombstone.late)
    assert (late.by.jti, late.destroyed, late.remaining) == (COMMAND, 1, 0)


@pytest.mark.parametrize("off_s", [-540, -30, 30, 540])
def test_recording_whose_camera_is_off_by_as_much_as_lies_between_it_and_a_cutoff_is_neither_destroyed_nor_taken(
    place: Place, off_s: int
) -> None:
    off = timedelta(seconds=off_s)
    place.erase(cutoff=Selection(all=True))
    after_s = 20 if off_s < 0 else -20  # each is dated on the other side of the delete than it was made on
    made = place.record(b"made near the delete", start=WHEN + timedelta(seconds=after_s) + off)
    place.record(b"made long after it", start=WHEN + timedelta(hours=1) + off)
    place.record(b"made long before it", start=WHEN - timedelta(hours=1) + off)
    place.now = at(place.now.agent_ms + 30_000)
    place.stand.hands.at = WHEN + timedelta(seconds=30) + off
    place.collect(lambda: sum(place.card().values()) == 1)  # sealed and acknowledged
    place.collect_passes(3)
    assert place.card()[made.id] is False
    assert len(place.card()) == 2
    assert place.contents() == [b"made long after it"]
    (kept,) = place.objects()
    assert kept.captured_from_ms == NOW_MS + 3_600_000 + off_s * 1_000  # as the camera said
    (late,) = place.index.read_now(tombstone.late)
    assert (late.destroyed, late.remaining) == (1, 1)


def test_recording_of_a_clock_that_was_put_right_since_is_as_much_in_doubt_as_before(place: Place) -> None:
    place.erase(cutoff=Selection(all=True))
    behind = timedelta(seconds=300)
    place.now = at(place.now.agent_ms + 20_000)
    place.stand.hands.at = WHEN + timedelta(seconds=20) - behind
    place.record(b"made after the delete", start=place.stand.hands.at)
    seen = place.statuses

    def right() -> bool:
        if len(seen) == 4:
            place.stand.hands.at = WHEN + timedelta(seconds=20)
            place.later_s = ANEW_S + 1
        return len(seen) >= 8

    place.collect(right)
    assert list(place.card().values()) == [False]
    assert place.objects() == ()


@pytest.mark.parametrize(
    ("beyond_ms", "is_meant"), [(0, "yes"), (999, "yes"), (1_000, "perhaps"), (1_999, "perhaps"), (2_000, "no")]
)
def test_cutoff_by_time_is_certain_only_of_what_it_covers_wherever_it_may_lie(
    place: Place, beyond_ms: int, is_meant: str
) -> None:
    from_ms, to_ms = NOW_MS - 60_000, NOW_MS - 50_000
    when = Selection(from_=rfc3339_ms(from_ms), to=rfc3339_ms(to_ms))
    by = tombstone.Commanded(COMMAND, "k", 1)
    place.index.write_now(
        lambda tx: tombstone.cut_off(
            tx, when, rule="owner_erase", by=by, before_ms=NOW_MS, commanded_ms=NOW_MS, wall_ms=NOW_MS
        )
    )

    def forbidden(tx: Tx, captured_from_ms: int, captured_to_ms: int) -> str:
        found = tombstone.forbidden(
            tx, source_tag=b"", content_tag=b"", camera="c", category="recording", source="s",
            captured_from_ms=captured_from_ms, captured_to_ms=captured_to_ms, doubt_ms=500,
        )  # fmt: skip
        return "no" if found is None else "yes" if found.certain else "perhaps"

    at_end = to_ms - 1_500 + beyond_ms
    at_begin = from_ms + 1_500 - beyond_ms
    assert place.index.read_now(lambda tx: forbidden(tx, at_end, at_end + 10)) == is_meant
    assert place.index.read_now(lambda tx: forbidden(tx, at_begin - 10, at_begin)) == is_meant


def test_hold_keeps_on_the_card_what_a_cutoff_covers(place: Place) -> None:
    place.erase(cutoff=Selection(all=True))
    place.now = at(place.now.agent_ms + 60_000)
    place.rights = Rights(hold=Hold(reason="court", author="k", until_ms=place.now.agent_ms + 10**9))
    place.record(b"held", start=WHEN - timedelta(hours=1))
    place.collect_passes(4)
    assert list(place.card().values()) == [False]
    assert place.objects() == ()


def test_camera_that_is_forgotten_keeps_its_copy_and_the_receipt_says_so(place: Place) -> None:
    place.record(b"content")
    place.collect(place.is_clean())
    away(place)
    place.erase(place.only().id)
    note = partial(place.erasure.note_sources_lost, asked=(), moment=place.now)
    assert place.index.read_now(lambda tx: place.erasure.lost_sources(tx, ()))
    assert not place.index.read_now(lambda tx: place.erasure.lost_sources(tx, (place.name,)))
    place.index.write_now(note)
    (outcome,) = place.outcomes[COMMAND]
    assert (outcome.result, outcome.remarks) == (
        "deleted", ("clear_source_blocks_may_remain", "source_copy_remains")
    )  # fmt: skip


@pytest.mark.parametrize("name", ["birthday", "Birthday of Ada", ""])
def test_recording_whose_name_was_corrected_is_deleted_under_the_id_that_its_camera_gave_it(
    place: Place, name: str
) -> None:
    """The camera was asked for the corrected name: it had none, which was told as its word, or it was never asked."""
    made = place.record(b"content")
    place.collect(place.is_clean())
    item = place.only()
    place.index.write_now(lambda tx: place.vault.set_name(tx, item.id, name))
    assert (place.only().name, place.only().source_name) == (name, made.id)
    (outcome,) = place.erase(item.id)
    assert outcome.result == "waiting_for_camera"
    place.collect(lambda: place.outcomes[COMMAND][0].result == "deleted")
    assert (place.outcomes[COMMAND][0].remarks[-1], place.card()) == ("camera_confirmed", {})
    index = repr(place.index.read_now(everything))
    assert made.id not in index
    assert "irthday" not in index


def everything(tx: Tx) -> list[object]:
    """Return all rows of the index."""
    tables = tx.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
    return [tx.execute(f"SELECT * FROM {table}") for (table,) in tables]  # noqa: S608 - the index's own names


def unname(tx: Tx) -> None:
    """Leave what the index's script leaves of one from before it had a place for a copy's content and card."""
    tx.execute("UPDATE source_erase SET card = 0, sha256 = x''")
    tx.execute("UPDATE object SET source_sha256 = x''")


@pytest.mark.parametrize("when", ["before", "since"])
def test_copy_whose_content_an_older_version_did_not_note_is_left_and_the_receipt_says_so(
    place: Place, tmp_path: Path, when: str
) -> None:
    with Liar(tmp_path / "liar", place.stand.device.identity) as liar:  # what has that id now may be another
        place.at = (liar.address,)
        liar.contents["a"] = b"content"
        place.collect(lambda: liar.acknowledged == ["a"])
        name = place.only().id
        if when == "before":
            place.erase(name)
        place.index.write_now(unname)
        if when == "since":
            place.erase(name)
        liar.contents.clear()
        place.collect_passes()
        assert (liar.deleted, told(place)) == ([], False)
    (outcome,) = place.outcomes[COMMAND]
    assert outcome.result == "deleted"
    assert sorted(outcome.remarks) == ["clear_source_blocks_may_remain", "source_copy_remains"]
    assert not place.waits()


@pytest.mark.parametrize(("taken", "deleted"), [("key", "unlink"), ("unlink", "key"), ("key", "key")])
def test_receipt_says_that_blocks_may_remain_where_the_camera_said_so_when_it_was_taken_or_deleted(
    place: Place, tmp_path: Path, taken: str, deleted: str
) -> None:
    said = {"erasure": taken}
    with Liar(tmp_path / "liar", place.stand.device.identity) as liar:
        place.at = (liar.address,)
        liar.on_status = lambda asked: asked.say(STATUS | {"storage": STATUS["storage"] | said})
        liar.contents["a"] = b"content"
        place.collect(lambda: liar.acknowledged == ["a"])
        said["erasure"] = deleted
        place.erase(place.only().id)
        place.collect(lambda: place.outcomes[COMMAND][0].result == "deleted")
    remarks = list(place.outcomes[COMMAND][0].remarks)
    assert remarks.count("clear_source_blocks_may_remain") == int("unlink" in {taken, deleted})
    assert "camera_confirmed" in remarks


@pytest.mark.parametrize("fault", ["card-failing", "card-missing"])
def test_card_that_fails_is_not_reported_as_emptied(place: Place, fault: Any) -> None:  # noqa: ANN401 - a literal
    place.record(b"content")
    place.collect(place.is_clean())
    place.stand.do(lambda: place.stand.device.faults.add(fault))
    place.erase(place.only().id)
    place.collect(lambda: "source_failed" in [event.kind for event in place.events])
    assert place.outcomes[COMMAND][0].result == "waiting_for_camera"
    place.stand.do(lambda: place.stand.device.faults.discard(fault))
    place.collect(lambda: place.outcomes[COMMAND][0].result == "deleted")
    assert place.card() == {}


def test_camera_that_knows_no_such_recording_has_promised_nothing(place: Place, tmp_path: Path) -> None:
    with Liar(tmp_path / "liar", place.stand.device.identity) as liar:
        place.at = (liar.address,)
        liar.contents |= {"a": b"content", "b": b"other"}
        place.collect(lambda: len(liar.acknowledged) == 2)
        place.erase(*(item.id for item in place.objects()))

        def knowing_but_one(asked: Asked, name: str) -> None:
            if name == "a":
                asked.say({"code": "not_found", "detail": ""}, status=404)
            else:
                asked.agree()

        liar.on_delete = knowing_but_one
        liar.contents["c"] = b"new"
        flow = place.collect(lambda: "c" in liar.acknowledged and liar.deleted.count("a") > 1 and told(place))
        assert flow.counts["source_failed"] == 1
        assert liar.deleted.count("b") == 1
        waiting = place.index.read_now(
            lambda tx: place.erasure.pending_at_source(tx, place.name, 10, card=card_number(liar.card))
        )
        assert [copy.recording for copy in waiting] == ["a"]
        liar.on_delete = lambda asked, _name: asked.agree()
        place.collect(lambda: {one.result for one in place.outcomes[COMMAND]} == {"deleted"})
    assert {one.camera_stated_by for one in place.outcomes[COMMAND]} == {place.pinned.kid}


def told(place: Place) -> bool:
    return "source_failed" in [event.kind for event in place.events]


def test_each_copy_is_asked_for_though_there_are_more_than_one_page(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "AT_ONCE", 50)
    with Liar(tmp_path / "liar", place.stand.device.identity) as liar:
        place.at = (liar.address,)
        place.poll_s = 0.5
        liar.contents |= {f"r{number}": os.urandom(20) for number in range(130)}
        place.collect(lambda: len(liar.acknowledged) >= 130)
        place.erase(*(item.id for item in place.objects()))
        place.collect(lambda: place.outcomes[COMMAND][0].result == "deleted" and len(set(liar.deleted)) == 130)
    assert {outcome.result for outcome in place.outcomes[COMMAND]} == {"deleted"}


def test_second_command_over_a_recording_that_its_camera_still_has_waits_too(place: Place) -> None:
    place.record(b"content")
    place.collect(place.is_clean())
    away(place)
    name = place.only().id
    place.erase(name)
    (again,) = place.erase(name, command="d" * 26)
    assert again.result == "waiting_for_camera"
    back(place)
    place.collect(lambda: all(place.outcomes[jti][0].result == "deleted" for jti in (COMMAND, "d" * 26)))


def retain(place: Place) -> None:
    async def run() -> None:
        await place.erasure.begin([place.only().id], rule="max_age", moment=place.now)
        await place.erasure.resume(place.now)

    place.run(run())
    assert place.objects() == ()


def test_what_retention_removes_is_deleted_at_the_camera_too(place: Place) -> None:
    place.record(b"content")
    place.collect(place.is_clean())
    retain(place)
    place.collect(lambda: place.card() == {} and not place.waits())


def test_what_retention_removed_and_the_camera_lists_again_is_deleted_there_again(place: Place, tmp_path: Path) -> None:
    with Liar(tmp_path / "liar", place.stand.device.identity) as liar:
        place.at = (liar.address,)
        liar.contents["a"] = b"content"
        place.collect(lambda: liar.acknowledged == ["a"])
        retain(place)
        place.collect(lambda: liar.deleted == ["a"] and not place.waits())
        liar.acknowledged.clear()
        place.collect(lambda: len(liar.deleted) > 1)
        assert len(liar.fetched) == 1
    assert place.objects() == ()


def test_what_retention_removed_keeps_no_fingerprint_of_its_content_once_it_is_gone_from_the_camera(
    place: Place,
) -> None:
    place.record(b"content")
    place.collect(place.is_clean())
    retain(place)
    assert place.index.read_now(fingerprints) != [b""]
    place.collect(lambda: place.index.read_now(fingerprints) == [b""])
    place.record(b"content", start=WHEN + timedelta(minutes=1))  # another one of the same bytes
    place.collect(place.is_clean())
    assert place.contents() == [b"content"]


def test_delete_does_not_wait_for_what_is_being_fetched(place: Place, tmp_path: Path) -> None:
    over = threading.Event()
    with Liar(tmp_path / "liar", place.stand.device.identity) as liar:
        place.at = (liar.address,)
        liar.contents["old"] = b"old"
        place.collect(lambda: liar.acknowledged == ["old"])
        place.erase(place.only().id, command=COMMAND)
        place.index.write_now(lambda tx: tx.execute("UPDATE source_erase SET state = 'erased'"))  # not due yet
        liar.contents |= {f"new{number}": b"new" for number in range(5)}

        def slowly(asked: Asked, name: str) -> None:
            place.index.write_now(lambda tx: tx.execute("UPDATE source_erase SET state = 'waiting'"))
            over.wait(LIMIT_S)
            liar.give_truly(asked, name)

        liar.on_content = slowly
        place.collect(lambda: liar.deleted == ["old"])
        over.set()


def fingerprints(tx: Tx) -> list[bytes]:
    return [row[0] for row in tx.execute("SELECT content_tag FROM tombstone")]


@pytest.mark.parametrize("status", [200, 202, 203, 206])
def test_another_success_than_the_documented_one_promises_nothing(place: Place, tmp_path: Path, status: int) -> None:
    with Liar(tmp_path / "liar", place.stand.device.identity) as liar:
        place.at = (liar.address,)
        liar.contents["a"] = b"content"
        liar.on_acknowledge = lambda asked: asked.say({}, status=status)
        liar.on_delete = lambda asked, _name: asked.say({}, status=status)
        liar.on_list = lambda asked, _query: asked.say({"recordings": [entry("a", b"content")]})
        place.collect(lambda: len(liar.acknowledged) > 1 and told(place))
        place.events.clear()
        place.erase(place.only().id)
        place.collect(lambda: len(liar.deleted) > 2 and told(place))
        assert place.outcomes[COMMAND][0].result == "waiting_for_camera"
        liar.on_delete = lambda asked, _name: asked.agree()
        place.collect(lambda: place.outcomes[COMMAND][0].result == "deleted")


# -- a camera's clock


def undated(name: str, content: bytes, when: str = "1970-01-01T00:00:00.000Z") -> dict[str, Any]:
    return entry(name, content, clock="unsure", **{"from": when, "to": when})


@pytest.mark.parametrize("when", ["1970-01-01T00:00:00.000Z", "2037-01-01T00:00:00.000Z"])
def test_recording_of_nobody_knows_when_is_neither_destroyed_nor_taken_under_a_cutoff(
    place: Place, tmp_path: Path, when: str
) -> None:
    place.erase(cutoff=Selection(all=True))
    with Liar(tmp_path / "liar", place.stand.device.identity) as liar:
        place.at = (liar.address,)
        liar.on_list = lambda asked, _query: asked.say({"recordings": [undated("a", b"content", when)]})
        place.collect(lambda: liar.listed > 5 and place.index.read_now(tombstone.late) != ())
        assert (liar.deleted, liar.fetched, liar.acknowledged) == ([], [], [])
    (late,) = place.index.read_now(tombstone.late)
    assert (late.destroyed, late.remaining) == (0, 1)


@pytest.mark.parametrize("when", ["2026-11-20T00:00:00.000Z", "2031-01-01T00:00:00.000Z"])
def test_cutoff_that_comes_while_a_recording_of_nobody_knows_when_is_fetched_neither_destroys_nor_takes_it(
    place: Place, tmp_path: Path, when: str
) -> None:
    with Liar(tmp_path / "liar", place.stand.device.identity) as liar:
        place.at = (liar.address,)
        liar.contents["a"] = b"content"
        liar.on_list = lambda asked, _query: asked.say({"recordings": [undated("a", b"content", when)]})

        def deleting(asked: Asked, name: str) -> None:
            place.erase(cutoff=Selection(all=True))
            liar.give_truly(asked, name)

        liar.on_content = deleting
        place.collect(lambda: bool(liar.fetched) and place.index.read_now(tombstone.late) != ())
        assert (liar.deleted, liar.acknowledged) == ([], [])
    assert place.objects() == ()
    (late,) = place.index.read_now(tombstone.late)
    assert (late.by.jti, late.destroyed, late.remaining) == (COMMAND, 0, 1)


def test_cutoff_that_comes_while_a_recording_is_fetched_does_not_take_what_is_dated_too_near_to_it(
    place: Place, tmp_path: Path
) -> None:
    with Liar(tmp_path / "liar", place.stand.device.identity) as liar:
        place.at = (liar.address,)
        liar.contents["a"] = b"content"
        near = {"from": rfc3339_ms(NOW_MS + 500), "to": rfc3339_ms(NOW_MS + 900)}
        liar.on_list = lambda asked, _query: asked.say({"recordings": [entry("a", b"content", **near)]})

        def deleting(asked: Asked, name: str) -> None:
            place.erase(cutoff=Selection(all=True))
            liar.give_truly(asked, name)

        liar.on_content = deleting
        place.collect(lambda: bool(liar.acknowledged) or place.index.read_now(tombstone.late) != ())
        assert (liar.deleted, liar.acknowledged) == ([], [])
    assert place.objects() == ()


def test_recording_without_a_clock_that_was_not_there_after_a_cutoff_is_taken(place: Place, tmp_path: Path) -> None:
    place.erase(cutoff=Selection(all=True))
    place.now = at(place.now.agent_ms + 60_000)
    with Liar(tmp_path / "liar", place.stand.device.identity) as liar:
        place.at = (liar.address,)
        liar.contents |= {"old": b"old", "new": b"new"}

        def listing(asked: Asked, _query: dict[str, str]) -> None:
            rows = [undated("old", b"old")]
            if liar.listed > 3 and not liar.acknowledged:
                rows.append(undated("new", b"new"))
            asked.say({"recordings": rows})

        liar.on_list = listing
        place.collect(lambda: liar.acknowledged == ["new"])
        assert liar.deleted == []
    assert place.contents() == [b"new"]
    assert place.only().captured_from_ms == place.now.agent_ms


def test_recording_without_a_clock_that_may_have_begun_on_either_side_of_a_cutoff_is_neither_destroyed_nor_taken(
    place: Place, tmp_path: Path
) -> None:
    with Liar(tmp_path / "liar", place.stand.device.identity) as liar:
        place.at = (liar.address,)

        def listing(asked: Asked, _query: dict[str, str]) -> None:
            if liar.listed == 3:  # it was away since the last look, and somebody deleted everything meanwhile
                place.now = at(place.now.agent_ms + 60_000)
                place.erase(cutoff=Selection(all=True))
                place.now = at(place.now.agent_ms + 60_000)
            asked.say({"recordings": [undated("new", b"new")] if liar.listed >= 3 else []})

        liar.on_list = listing
        place.collect(lambda: liar.listed > 6 and place.index.read_now(tombstone.late) != ())
        assert (liar.deleted, liar.fetched) == ([], [])
    (late,) = place.index.read_now(tombstone.late)
    assert (late.destroyed, late.remaining) == (0, 1)


def test_camera_that_believes_a_wrong_clock_loses_nothing_by_a_cutoff(place: Place) -> None:
    place.erase(cutoff=Selection(all=True))
    place.now = at(place.now.agent_ms + 60_000)
    place.stand.do(lambda: place.stand.device.faults.add("clock-wrong"))
    seen = len(place.statuses)
    recorded: list[bytes] = []

    def condition() -> bool:
        if len(place.statuses) > seen + 3 and not recorded:
            recorded.append(b"content")
            place.record(recorded[0], start=place.stand.device.now())
        return bool(recorded) and list(place.card().values()) == [True]

    place.collect(condition)
    assert place.contents() == [b"content"]


def test_clock_that_is_set_right_in_a_long_look_does_not_date_what_was_recorded_before(
    place: Place, tmp_path: Path
) -> None:
    place.erase(cutoff=Selection(category="photo"))
    asked_for = [0]
    with Liar(tmp_path / "liar", place.stand.device.identity) as liar:
        place.at = (liar.address,)
        liar.contents |= dict.fromkeys("abc", b"content")

        def wrong_first(asked: Asked) -> None:
            asked_for[0] += 1
            asked.say(STATUS if asked_for[0] > 1 else STATUS | {"time": "2026-11-20T00:00:00.000Z"})

        def pages(asked: Asked, query: dict[str, str]) -> None:
            if query.get("after"):
                asked.say({"recordings": [entry("p", b"photo", category="photo")]})
            else:
                waiting = [entry(name, b"content") for name in "abc" if name not in liar.acknowledged]
                asked.say({"recordings": waiting, "next": "1"})

        def slowly(asked: Asked, name: str) -> None:
            wait_until(lambda: asked_for[0] > 1, what="another status")
            liar.give_truly(asked, name)

        liar.on_status, liar.on_list, liar.on_content = wrong_first, pages, slowly
        place.collect(lambda: bool(liar.deleted) or place.index.read_now(tombstone.late) != ())
        assert liar.deleted == []
    (late,) = place.index.read_now(tombstone.late)
    assert (late.destroyed, late.remaining) == (0, 1)


def test_recording_without_a_clock_is_taken_where_nothing_was_deleted(place: Place) -> None:
    place.stand.do(lambda: place.stand.device.faults.add("clock-unsure"))
    place.record(b"content")
    place.collect(place.is_clean())
    assert place.contents() == [b"content"]
