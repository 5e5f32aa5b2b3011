"""How an enrolled camera is told to a person: what it answered last, and what is missing."""

import pytest

from agent.app.camera_state import FRESH_MS, Said, how_view
from agent.camera.answer import AnswerError
from agent.enrolment import Enrolled
from agent.nearby.reach import Reach

NOW_MS = 1_000_000
PAIRED = Enrolled(camera="garden00", level="proved", kid="k", advert_key=b"\1" * 32)
NEW = Enrolled(camera="garden00", level="proved", kid="k")
PINNED = Enrolled(camera="garden00", level="pinned", endpoint="192.0.2.7:443")


@pytest.mark.parametrize(
    ("camera", "said", "reachable", "state"),
    [
        (NEW, Said(), True, "not_paired_yet"),
        (NEW, Said(reason="the camera answers", code="setup_closed"), True, "not_paired_yet"),
        (NEW, Said(), None, "not_looked_for"),
        (NEW, Said(looked_for=True), None, "not_heard"),
        (PAIRED, Said(), None, "not_looked_for"),
        (PAIRED, Said(), False, "not_heard"),
        (PAIRED, Said(met_ms=NOW_MS - 1), True, "collecting"),
        (PAIRED, Said(met_ms=NOW_MS - 1), False, "not_heard"),
        (PAIRED, Said(met_ms=NOW_MS - FRESH_MS), True, "not_heard"),
        (PAIRED, Said(met_ms=NOW_MS - 1, reason="the camera answers", code="storage_missing"), True, "failed"),
        (PINNED, Said(), True, "answers"),
        (PINNED, Said(), None, "not_looked_for"),
    ],
)
def test_state_is_what_was_answered_last(camera: Enrolled, said: Said, state: str, *, reachable: bool | None) -> None:
    told = how_view(camera, said, Reach(reachable=reachable), running=True, now_ms=NOW_MS, findable=True)
    assert told["state"] == state
    is_set_up_next = camera is NEW and state == "not_looked_for"
    assert ("next" in told) == (is_set_up_next or state in {"not_paired_yet", "not_heard", "failed"})


def test_camera_that_is_switched_off_is_not_said_to_be_collected_from() -> None:
    answered, away = (
        how_view(PAIRED, said, Reach(reachable=True), running=True, now_ms=NOW_MS, findable=True, is_off=True)
        for said in (Said(met_ms=NOW_MS - 1), Said(met_ms=NOW_MS - FRESH_MS))
    )
    assert (answered["state"], away["state"]) == ("switched_off", "not_heard")


def test_card_that_is_missing_is_named_with_what_to_do() -> None:
    said = Said(reason="the camera answers", code="storage_missing")
    told = how_view(PAIRED, said, Reach(reachable=True), running=True, now_ms=NOW_MS, findable=True)
    assert (told["reason"], told["next"]) == ("its card is missing", AnswerError("storage_missing").hint)


@pytest.mark.parametrize(
    ("said", "state", "reason"),
    [
        (Said(met_ms=NOW_MS - 1, storage="missing"), "failed", "its card is missing"),
        (Said(met_ms=NOW_MS - 1, storage="failing"), "failed", "its card answers with errors"),
        (Said(met_ms=NOW_MS - 1, storage="full"), "collecting", ""),
        (Said(met_ms=NOW_MS - 1, storage="ok", reason="no card", code="storage_missing"), "collecting", ""),
        (
            Said(storage="missing", reason="closed", code="setup_closed"),
            "not_paired_yet",
            "its set-up window is closed",
        ),
        (Said(met_ms=NOW_MS - 1, storage="ok", reason="it sent no page"), "failed", "it sent no page"),
    ],
)
def test_what_a_camera_says_of_its_card_now_counts_before_what_it_answered_earlier(
    said: Said, state: str, reason: str
) -> None:
    told = how_view(PAIRED, said, Reach(reachable=True), running=True, now_ms=NOW_MS, findable=True)
    assert (told["state"], told.get("reason", "")) == (state, reason)


def test_camera_in_whose_place_something_else_answers_is_not_said_to_be_without_power() -> None:
    told = how_view(
        PAIRED, Said(), Reach(reachable=False), running=True, now_ms=NOW_MS, findable=True, is_impersonated=True
    )
    assert told["state"] == "not_heard"
    assert "something else answers" in told["reason"]


def test_camera_that_nobody_can_find_says_which_line_is_missing() -> None:
    told = how_view(PAIRED, Said(), Reach(), running=True, now_ms=NOW_MS, findable=False)
    assert told["state"] == "not_looked_for"
    assert "[discovery]" in told["next"]


def test_camera_that_nobody_has_looked_for_is_not_said_to_be_away_and_has_its_set_up_window_as_next_step() -> None:
    new, paired = (
        how_view(camera, Said(), Reach(), running=True, now_ms=NOW_MS, findable=True) for camera in (NEW, PAIRED)
    )
    assert new == {"state": "not_looked_for", "next": "press the set-up button at the camera"}
    assert paired == {"state": "not_looked_for"}


def test_nothing_is_known_without_an_agent_but_whether_it_is_paired() -> None:
    assert [how_view(one, Said(), Reach(), running=False, now_ms=NOW_MS, findable=True) for one in (PAIRED, NEW)] == [
        {"state": "paired"},
        {"state": "not_paired_yet"},
    ]


def test_reason_that_is_no_answer_of_the_camera_is_told_as_it_is() -> None:
    reason = AnswerError("setup_closed").message
    told = how_view(PAIRED, Said(reason=reason), Reach(), running=True, now_ms=NOW_MS, findable=True)
    assert (told["state"], told["reason"]) == ("failed", reason), (
        "what it answered is told by its code, never its words"
    )
