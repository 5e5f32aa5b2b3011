"""A delete means one recording, by its content, on one card: neither another card's word nor a reused id ends it."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from agent import erasure as erasure_module
from agent import tombstone
from agent.clock import rfc3339_ms
from agent.ingest import asking
from agent.model import Selection
from agent.sources import camera as camera_module
from tests.camera.liar import CARD, STATUS, Asked, Liar, entry, etag
from tests.camera.place import NOW_MS, Place, at

COMMAND = "c" * 26
OTHER = "anothercardother"


def told(place: Place) -> set[str]:
    return {event.reason for event in place.events if event.kind == "source_failed"}


def take_and_delete(place: Place, liar: Liar) -> None:
    """Collect the one recording that the liar has from now on, and delete it here."""
    place.at = (liar.address,)
    liar.contents["a"] = b"content"
    place.collect(lambda: liar.acknowledged == ["a"])
    place.erase(place.only().id)


def test_delete_names_content_and_card(place: Place, tmp_path: Path) -> None:
    with Liar(tmp_path / "liar", place.stand.device.identity) as liar:
        take_and_delete(place, liar)
        place.collect(lambda: not place.waits())
        assert liar.conditions == [(CARD, etag(b"content"))]


def test_recording_under_an_id_that_was_used_before_is_not_destroyed_for_the_older_one(
    place: Place, tmp_path: Path
) -> None:
    with Liar(tmp_path / "liar", place.stand.device.identity) as liar:  # which looks at no condition
        take_and_delete(place, liar)
        liar.acknowledged.clear()
        liar.contents["a"] = b"another"
        place.collect(lambda: liar.acknowledged == ["a"] and any("gave the id" in reason for reason in told(place)))
        assert (liar.deleted, len(liar.fetched)) == ([], 2)
        assert place.contents() == [b"another"]
        assert place.outcomes[COMMAND][0].result == "waiting_for_camera"
        liar.contents.clear()
        place.collect(lambda: place.outcomes[COMMAND][0].result == "deleted")
        assert liar.deleted == ["a"]


def test_recording_that_is_being_made_under_the_id_is_not_destroyed_either(place: Place, tmp_path: Path) -> None:
    with Liar(tmp_path / "liar", place.stand.device.identity) as liar:
        take_and_delete(place, liar)
        running = {"id": "a", "complete": False, "clock": "trusted"}
        liar.on_list = lambda asked, _query: asked.say({"recordings": [running]})
        place.collect(lambda: bool(told(place)))
        assert liar.deleted == []


def test_camera_that_refuses_because_another_has_the_id_is_asked_again(place: Place, tmp_path: Path) -> None:
    with Liar(tmp_path / "liar", place.stand.device.identity) as liar:
        take_and_delete(place, liar)
        liar.on_delete = lambda asked, _name: asked.say({"code": "hash_mismatch", "detail": ""}, status=412)
        place.collect(lambda: len(liar.deleted) > 1 and bool(told(place)))
        assert place.outcomes[COMMAND][0].result == "waiting_for_camera"


def test_refused_delete_costs_a_camera_ever_fewer_looks_at_its_whole_list_and_a_new_one_is_asked_for_at_once(
    place: Place, tmp_path: Path
) -> None:
    place.poll_s = 0.01
    with Liar(tmp_path / "liar", place.stand.device.identity) as liar:
        place.at = (liar.address,)
        liar.contents |= {"a": b"content", "b": b"other"}
        place.collect(lambda: len(liar.acknowledged) == 2)
        named = {place.opened(item): item.id for item in place.objects()}
        place.erase(named[b"content"])
        running = {"id": "a", "complete": False, "clock": "trusted"}
        whole = [0]

        def listing(asked: Asked, query: dict[str, str]) -> None:
            whole[0] += "acknowledged" not in query
            asked.say({"recordings": [running]})

        liar.on_list = listing
        erased_at: list[int] = []
        deleted_at: list[int] = []
        begun = len(place.statuses)

        def deleting(asked: Asked, _name: str) -> None:
            deleted_at.append(len(place.statuses))
            asked.agree()

        def condition() -> bool:
            if len(place.statuses) > begun + 40 and not erased_at:
                place.erase(named[b"other"], command="d" * 26)
                erased_at.append(len(place.statuses))
            return bool(deleted_at)

        liar.on_delete = deleting
        place.collect(condition)
        assert whole[0] < 12  # of 40 looks those at 1, 2, 4, 8, 16 and 32, at the start and for the new one
        assert liar.deleted == ["b"]
        assert deleted_at[0] <= erased_at[0] + 1
        assert place.outcomes[COMMAND][0].result == "waiting_for_camera"
        assert any("gave the id" in reason for reason in told(place))


@pytest.mark.parametrize(("bound", "value", "least", "most"), [("PAUSE_MAX", 2, 20, 60), ("REFUSED_MAX", 1, 2, 16)])
def test_pause_after_a_refusal_and_what_is_known_of_refused_copies_are_bounded(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, bound: str, value: int, least: int, most: int
) -> None:
    monkeypatch.setattr(asking, bound, value)
    place.poll_s = 0.01
    with Liar(tmp_path / "liar", place.stand.device.identity) as liar:
        place.at = (liar.address,)
        liar.contents |= {"a": b"content", "b": b"other"}
        place.collect(lambda: len(liar.acknowledged) == 2)
        place.erase(*(item.id for item in place.objects()))
        liar.on_delete = lambda asked, _name: asked.say({"code": "hash_mismatch", "detail": ""}, status=412)
        asked_for: list[int] = []
        begun = len(place.statuses)

        def status(asked: Asked) -> None:
            asked_for.append(len(liar.deleted))
            asked.say(STATUS)

        liar.on_status = status
        place.collect(lambda: len(place.statuses) > begun + 40)
        assert least <= asked_for[40] <= most


def test_delete_waits_for_the_card_that_the_recording_is_on(place: Place) -> None:
    place.record(b"content")
    place.collect(place.is_clean())
    place.stand.do(lambda: place.stand.device.break_("card-swapped"))
    place.erase(place.only().id)
    place.record(b"on the other card")
    place.collect(lambda: place.contents() == [b"on the other card"] and bool(told(place)))
    assert any("another card" in reason for reason in told(place))
    assert place.outcomes[COMMAND][0].result == "waiting_for_camera"
    place.stand.do(lambda: place.stand.device.mend("card-swapped"))
    place.collect(lambda: place.outcomes[COMMAND][0].result == "deleted")
    assert place.card() == {}
    assert place.contents() == [b"on the other card"]


def test_what_retention_removed_waits_for_its_card_and_the_camera_is_not_told_as_failed(place: Place) -> None:
    place.record(b"content")
    place.collect(place.is_clean())
    place.stand.do(lambda: place.stand.device.break_("card-swapped"))
    first = place.only().id

    async def retain() -> None:
        await place.erasure.begin([first], rule="max_age", moment=place.now)
        await place.erasure.resume(place.now)

    place.run(retain())
    place.record(b"on the other card")
    place.collect(lambda: place.contents() == [b"on the other card"])
    place.collect_passes()
    assert (told(place), place.waits()) == (set(), True)
    place.erase(first)  # now a command waits for it too
    place.collect(lambda: any("another card" in reason for reason in told(place)))
    place.stand.do(lambda: place.stand.device.mend("card-swapped"))
    place.collect(lambda: place.outcomes[COMMAND][0].result == "deleted" and not place.waits())
    assert place.card() == {}


def test_copies_on_a_card_that_never_comes_back_are_waited_for_up_to_a_bound(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        place.record(b"%d" % number)
    place.collect(place.is_clean())
    place.at = ()
    wanted, *others = [item.id for item in place.objects()]
    place.erase(wanted)
    monkeypatch.setattr(erasure_module, "AT_SOURCES_MAX", 2)

    async def retain() -> None:
        await place.erasure.begin(others, rule="max_age", moment=place.now)
        await place.erasure.resume(place.now)

    place.run(retain())
    waiting = place.index.read_now(lambda tx: [row[0] for row in tx.execute("SELECT object FROM source_erase")])
    assert (len(waiting), wanted in waiting) == (2, True)
    assert place.outcomes[COMMAND][0].result == "waiting_for_camera"
    monkeypatch.setattr(erasure_module, "AT_SOURCES_MAX", 0)
    place.erase("none", command="d" * 26)
    (outcome,) = place.outcomes[COMMAND]
    assert (outcome.result, outcome.remarks) == ("deleted", ("clear_source_blocks_may_remain", "source_copy_remains"))


def test_card_that_is_put_in_between_look_and_delete_does_not_answer_for_the_other(place: Place) -> None:
    place.record(b"content")
    place.collect(place.is_clean())
    place.erase(place.only().id)
    card = place.stand.device.card
    meant = card.require

    def swapped(name: str, **about: Any) -> None:  # noqa: ANN401 - as the real one
        place.stand.device.break_("card-swapped")
        meant(name, **about)

    card.require = swapped  # type: ignore[method-assign]  # the moment that is meant
    place.collect(lambda: bool(told(place)))
    assert place.outcomes[COMMAND][0].result == "waiting_for_camera"


@pytest.mark.parametrize("when", ["at the start", "while it is collected from"])
def test_deleted_recording_that_is_back_with_its_card_is_deleted_there_again(
    place: Place, tmp_path: Path, when: str
) -> None:
    place.record(b"content")
    place.collect(place.is_clean())
    card = place.stand.device.card
    shutil.copytree(card.folder, tmp_path / "copy")
    place.erase(place.only().id)
    place.collect(lambda: place.outcomes[COMMAND][0].result == "deleted")
    folder, seen = card.folder, len(place.statuses)

    def put_back() -> None:
        shutil.copytree(tmp_path / "copy", folder, dirs_exist_ok=True)
        card.insert(folder)

    if when == "at the start":
        place.stand.do(put_back)
        assert len(place.card()) == 1
        place.collect(lambda: place.card() == {})
    else:
        swaps = [put_back, lambda: card.insert(tmp_path / "other")]

        def condition() -> bool:
            if swaps and len(place.statuses) > seen + 3 * (3 - len(swaps)):
                place.stand.do(swaps.pop())
                return False
            return not swaps and place.card() == {}

        place.collect(condition)
    assert place.objects() == ()


def test_what_was_acknowledged_and_not_deleted_here_is_let_alone(place: Place, tmp_path: Path) -> None:
    place.erase(cutoff=Selection(category="photo"))
    with Liar(tmp_path / "liar", place.stand.device.identity) as liar:
        place.at = (liar.address,)
        queries: list[dict[str, str]] = []
        rows = [
            entry("a", b"of another agent", acknowledged=True),
            entry("b", b"a photo of no known time", category="photo", clock="unsure", acknowledged=True),
            entry("c", b"a photo", category="photo", acknowledged=True),
        ]

        def listing(asked: Asked, query: dict[str, str]) -> None:
            queries.append(query)
            there = [row for row in rows if row["id"] not in liar.deleted]
            asked.say({"recordings": [row for row in there if query.get("acknowledged") != "false"]})

        liar.on_list = listing
        place.collect(lambda: liar.deleted == ["c"] and len(queries) > 5)
        assert (liar.fetched, liar.acknowledged) == ([], [])
        assert sum("acknowledged" not in query for query in queries) == 1  # once at each start


def test_acknowledged_recording_of_nobody_knows_when_is_not_dated_by_the_look_that_met_it(
    place: Place, tmp_path: Path
) -> None:
    with Liar(tmp_path / "liar", place.stand.device.identity) as liar:
        place.at = (liar.address,)
        when, whole = "1970-01-01T00:00:00.000Z", [0]
        old = entry("old", b"old", clock="unsure", acknowledged=True, **{"from": when, "to": when})

        def listing(asked: Asked, query: dict[str, str]) -> None:
            whole[0] += "acknowledged" not in query
            asked.say({"recordings": [old] if "acknowledged" not in query and whole[0] > 1 else []})

        def condition() -> bool:
            if liar.listed > 3 and not place.later_s:
                place.now = at(NOW_MS + 60_000)
                span = Selection(from_=rfc3339_ms(NOW_MS - 1), to=rfc3339_ms(NOW_MS + 1))
                place.erase(cutoff=span)  # which does not mean it
                place.later_s = camera_module.ANEW_S
            return whole[0] > 1 and liar.listed > 10

        liar.on_list = listing
        place.collect(condition)
        assert (liar.deleted, liar.fetched) == ([], [])


@pytest.mark.parametrize(("card", "taken"), [(CARD, [b"content"]), (OTHER, [])])
def test_what_a_camera_without_a_clock_brings_on_another_card_is_not_dated_by_looks_at_the_first(
    place: Place, tmp_path: Path, card: str, taken: list[bytes]
) -> None:
    place.erase(cutoff=Selection(all=True))
    place.now = at(place.now.agent_ms + 60_000)
    with Liar(tmp_path / "liar", place.stand.device.identity) as liar:
        place.at = (liar.address,)
        when = "1970-01-01T00:00:00.000Z"
        liar.contents["a"] = b"content"
        undated = entry("a", b"content", clock="unsure", **{"from": when, "to": when})

        def listing(asked: Asked, _query: dict[str, str]) -> None:
            there = liar.listed > 3 and not liar.acknowledged
            if there:
                liar.card = card  # its last status named the first one
            asked.say({"recordings": [undated] if there else []})

        liar.on_list = listing
        place.collect(lambda: bool(liar.acknowledged) or place.index.read_now(tombstone.late) != ())
    assert place.contents() == taken
