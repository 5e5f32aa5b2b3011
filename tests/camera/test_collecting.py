"""What a camera has on its card becomes sealed objects over its link, once."""

import os
from pathlib import Path

import pytest

from agent.clock import monotonic_s
from agent.policy import parse_policy
from agent.sources import camera as camera_module
from tests.camera.liar import STATUS, Asked, Liar, entry
from tests.camera.place import LIMIT_S, Place
from tests.waiting import until as wait_until
from tests.writing import policy_text

pytestmark = pytest.mark.promise("COLLECT-REC")


@pytest.mark.promise("COLLECT-LOGS")
def test_recording_photo_and_usage_log_on_the_card_become_objects_and_are_acknowledged(place: Place) -> None:
    contents = [os.urandom(200_000), os.urandom(3_000), b'{"event":"motion"}\n']
    for content, kind in zip(contents, ("recording", "photo", "usage-log"), strict=True):
        place.record(content, kind=kind)
    place.collect(place.is_clean())
    assert place.contents() == sorted(contents)
    assert {item.category for item in place.objects()} == {"recording", "photo", "usage-log"}
    assert {item.camera for item in place.objects()} == {place.enrolled.camera}
    assert {item.source_copy for item in place.objects()} == {"asked"}
    written = [path.read_bytes() for path in place.state.rglob("*") if path.is_file()]
    assert all(content not in raw for raw in written for content in contents)


def test_recording_is_taken_once_whatever_starts_again(place: Place) -> None:
    place.record(b"one")
    place.collect(place.is_clean())
    place.reopen()
    place.record(b"two")
    place.collect(place.is_clean())
    place.collect_passes()
    assert place.contents() == [b"one", b"two"]


def test_recording_whose_acknowledgement_was_not_heard_is_acknowledged_again_and_not_taken_again(
    place: Place, tmp_path: Path
) -> None:
    with Liar(tmp_path / "liar", place.stand.device.identity) as liar:
        place.at = (liar.address,)
        liar.contents["a"] = b"content"
        liar.on_list = lambda asked, _query: asked.say(
            {"recordings": [entry("a", b"content")] if len(liar.acknowledged) < 2 else []}
        )
        place.collect(lambda: len(liar.acknowledged) >= 1)
        place.reopen()
        place.erasure = place.new_erasure()
        place.collect(lambda: len(liar.acknowledged) >= 2)
        assert liar.fetched == [("a", "")]
    assert place.contents() == [b"content"]


def test_what_the_policy_does_not_let_in_is_not_even_fetched_and_stays_on_the_card(
    place: Place, tmp_path: Path
) -> None:
    owner = place.owner.recipient().to_text()
    policy = parse_policy(policy_text(owner, photo="").encode(), file="policy.toml")
    with Liar(tmp_path / "liar", place.stand.device.identity) as liar:
        place.at = (liar.address,)
        liar.contents |= {"video": b"not wanted", "photo": b"wanted"}

        def waiting(asked: Asked, _query: dict[str, str]) -> None:
            rows = [entry("video", b"not wanted"), entry("photo", b"wanted", category="photo")]
            asked.say({"recordings": [row for row in rows if row["id"] not in liar.acknowledged]})

        liar.on_list = waiting
        flow = place.collect(lambda: liar.acknowledged == ["photo"] and liar.listed > 3, policy=policy)
        assert place.contents() == [b"wanted"]
        assert flow.counts["refused"] == 1
        assert liar.fetched == [("photo", "")]
        place.collect(lambda: liar.acknowledged == ["photo", "video"])  # under another policy
    assert place.contents() == [b"not wanted", b"wanted"]


def test_recording_is_not_taken_while_it_is_being_recorded(place: Place) -> None:
    begun = place.stand.begin()
    place.record(b"whole")
    place.collect(lambda: len(place.objects()) == 1)
    assert place.card()[begun.id] is False
    place.stand.do(lambda: place.stand.device.card.finish(begun.id, b"now whole", end=place.stand.hands.at))
    place.collect(place.is_clean())
    assert place.contents() == [b"now whole", b"whole"]


def test_camera_is_switched_on_and_off_as_the_agent_says(place: Place) -> None:
    assert not place.stand.device.collecting
    place.collect(lambda: place.stand.device.collecting)
    place.collecting = False
    place.collect(lambda: not place.stand.device.collecting)


def test_camera_that_was_switched_is_soon_asked_again_what_it_does(place: Place) -> None:
    place.poll_s = LIMIT_S  # no other look comes by itself
    device = place.stand.device

    def asked_again() -> bool:
        if device.collecting:
            place.stand.do(lambda: device.note_recording(running=True))
        return len(place.statuses) == 2

    place.collect(asked_again)
    assert [status.recording for status in place.statuses] == [False, True]


def test_camera_that_is_switched_at_each_look_is_not_asked_more_often_for_it(place: Place) -> None:
    place.poll_s = LIMIT_S
    looks: list[float] = []

    def switched() -> bool:
        place.collecting = not place.stand.device.collecting
        looks.extend(monotonic_s() for _ in range(len(place.statuses) - len(looks)))
        return len(looks) > 2 or (len(looks) == 2 and monotonic_s() - looks[1] > 2 * camera_module.SOON_S)

    place.collect(switched)
    assert len(looks) == 2
    assert len(place.changes) >= len(looks)


def test_card_in_which_ten_thousand_recordings_wait_is_listed_page_by_page(place: Place, tmp_path: Path) -> None:
    owner = place.owner.recipient().to_text()
    policy = parse_policy(policy_text(owner, photo="").encode(), file="policy.toml")
    with Liar(tmp_path / "liar", place.stand.device.identity) as liar:
        place.at = (liar.address,)
        place.poll_s = 2.0
        last = b"the last one"
        liar.contents["last"] = last
        rows = [entry(f"r{number}", b"x", category="recording") for number in range(10_000)]
        rows.append(entry("last", last, category="photo"))
        limits: set[int] = set()

        def pages(asked: Asked, query: dict[str, str]) -> None:
            start, limit = int(query.get("after", "0")), int(query["limit"])
            limits.add(limit)
            page = {"recordings": rows[start : start + limit]}
            more = {"next": str(start + limit)} if start + limit < len(rows) else {}
            asked.say(page | more)

        liar.on_list = pages
        place.collect(lambda: liar.acknowledged == ["last"], policy=policy)
        assert [name for name, _ in liar.fetched] == ["last"]
    assert place.contents() == [last]
    assert max(limits) <= 200


@pytest.mark.parametrize(
    "lie",
    [
        {"size": -1}, {"size": 0}, {"size": 2**41}, {"size": "1"}, {"size": True}, {"id": "../../v1/agent"}, {"id": ""},
        {"sha256": "00"}, {"sha256": None}, {"category": "export"}, {"from": "2026-13-22T10:15:00.000Z"},
        {"to": "1970-01-01T00:00:00.000Z"}, {"media_type": "text/html\r\nX: y"}, {"clock": "perhaps"},
        {"complete": "yes"}, {"acknowledged": 0},
    ],
)  # fmt: skip
def test_entry_that_is_not_of_the_documents_form_is_passed_over_and_the_others_are_taken(
    place: Place, tmp_path: Path, lie: dict[str, object]
) -> None:
    with Liar(tmp_path / "liar", place.stand.device.identity) as liar:
        place.at = (liar.address,)
        liar.contents["good"] = b"good"
        listed = [entry("bad", b"bad", **lie), ["no object"], entry("good", b"good")]
        liar.on_list = lambda asked, _query: asked.say({"recordings": listed if not liar.acknowledged else []})
        flow = place.collect(lambda: liar.acknowledged == ["good"])
        assert [name for name, _ in liar.fetched] == ["good"]
    assert place.contents() == [b"good"]
    assert flow.counts["unreadable"] >= 1


CARD_TOLD = b'{"storage":"cardcardcardcard",'


@pytest.mark.parametrize(
    "answer",
    [
        b"{}", b"[]", b"not json", CARD_TOLD + b'"recordings":{}}', CARD_TOLD + b'"recordings":[],"recordings":[]}',
        CARD_TOLD + b'"recordings":null}', CARD_TOLD + b'"recordings":[],"next":"a b"}', b"[" * 100_000,
        CARD_TOLD + b'"recordings":[' + b"{}," * 200 + b"{}]}", b'{"recordings":[]}', b'{"storage":"","recordings":[]}',
    ],
)  # fmt: skip
def test_list_that_is_none_is_told_and_tried_again(place: Place, tmp_path: Path, answer: bytes) -> None:
    with Liar(tmp_path / "liar", place.stand.device.identity) as liar:
        place.at = (liar.address,)
        liar.contents["good"] = b"good"

        def lying_first(asked: Asked, query: dict[str, str]) -> None:
            if liar.listed < 3:
                asked.raw(answer)
            else:
                liar.list_truly(asked, query)

        liar.on_list = lying_first
        place.collect(lambda: liar.acknowledged == ["good"])
    assert place.contents() == [b"good"]


def test_list_without_an_end_is_cut_and_what_is_in_it_is_taken(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(camera_module, "PAGES_MAX", 20)
    with Liar(tmp_path / "liar", place.stand.device.identity) as liar:
        place.at = (liar.address,)
        liar.contents["good"] = b"good"

        def endless(asked: Asked, _query: dict[str, str]) -> None:
            waits = [] if liar.acknowledged else [entry("good", b"good")]
            asked.say({"recordings": waits, "next": "1"})

        liar.on_list = endless
        flow = place.collect(lambda: liar.listed > 50 and bool(liar.acknowledged))
    assert place.contents() == [b"good"]
    assert flow.counts["source_failed"] == 1


def test_camera_that_cannot_be_asked_for_a_moment_while_much_is_taken_loses_nothing_of_it(
    place: Place, tmp_path: Path
) -> None:
    with Liar(tmp_path / "liar", place.stand.device.identity) as liar:
        place.at = (liar.address,)
        liar.contents |= {f"r{number}": b"%d" % number for number in range(6)}
        refused: list[bool] = []

        def busy_meanwhile(asked: Asked) -> None:
            if liar.fetched and len(refused) < 3:
                refused.append(True)
                asked.say({"code": "busy", "detail": ""}, status=503)
            else:
                asked.say(STATUS)

        def slowly(asked: Asked, name: str) -> None:
            wait_until(lambda: len(refused) == 3, what="a look that is cut")
            liar.give_truly(asked, name)

        liar.on_status, liar.on_content = busy_meanwhile, slowly
        place.collect(lambda: len(set(liar.acknowledged)) == 6)
    assert place.contents() == [b"%d" % number for number in range(6)]


@pytest.mark.parametrize("during", ["GET", "PUT"])
def test_camera_that_a_person_switches_off_during_a_look_stays_off(place: Place, tmp_path: Path, during: str) -> None:
    with Liar(tmp_path / "liar", place.stand.device.identity) as liar:
        place.at = (liar.address,)
        liar.collecting = during == "GET"
        listed: list[int] = []

        def switched_off(method: str) -> None:
            if method == "PUT":
                listed.append(liar.listed)
            if method == during:
                place.collecting = False
                if during == "GET":
                    liar.collecting = False  # it was told by radio, just before it answers what it was asked

        liar.on_collection = switched_off
        place.collect_passes()
        assert liar.switched == ([] if during == "GET" else [True, False])
        assert place.changes == ([] if during == "GET" else [(False, True), (True, False)]), "each of them is told"
        assert not liar.collecting
        assert len(set(listed)) <= 1, "in the same look"
