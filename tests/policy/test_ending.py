"""From stage to stage: a service that ends, by a signed word or by silence; never by a clock that is unsure."""

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model import Moment
from agent.policy import Policy, parse_policy
from agent.policy.ending import LOOK_MAX_MS, Service, Stage, advance, noticed

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
START_MS = 1_800_000_000_000


def policy(text: str = 'silent = "1d"\ngrace = "2d"') -> Policy:
    return parse_policy(f"version = 1\n[recipients]\n[end_of_service]\n{text}\n".encode(), file="policy.toml")


def at(ms: int, *, trusted: bool = True) -> Moment:
    return Moment(agent_ms=START_MS + ms, wall_ms=START_MS + ms, trusted=trusted)


def looks(now: Service, hours: Sequence[int], *, of: Policy, trusted: bool = True) -> Service:
    for hour in hours:
        now = advance(now, of, heard=False, cloud="there", moment=at(hour * HOUR_MS, trusted=trusted))
    return now


def test_silence_beyond_the_limit_ends_the_service_and_the_plan_follows_when_grace_is_over() -> None:
    of = policy()
    now = looks(Service(), range(24), of=of)
    assert now.stage == "served"
    now = looks(now, [24], of=of)
    assert (now.stage, now.by, now.due_ms) == ("ended", "", START_MS + 3 * DAY_MS)
    assert looks(now, range(25, 72), of=of).stage == "ended"
    assert looks(now, range(25, 73), of=of).stage == "deleting"


def test_word_of_the_cloud_begins_the_silence_anew_and_takes_back_an_end_by_silence() -> None:
    of = policy()
    now = looks(Service(), range(24), of=of)
    now = advance(now, of, heard=True, cloud="there", moment=at(24 * HOUR_MS))
    assert (now.stage, now.silent_ms) == ("served", 0)
    ended = looks(Service(), range(26), of=of)
    assert ended.stage == "ended"
    assert advance(ended, of, heard=True, cloud="there", moment=at(27 * HOUR_MS)).stage == "served"


def test_time_in_which_nobody_looked_is_no_silence() -> None:
    of = policy()
    now = looks(Service(), [0, 1, 400 * 24], of=of)
    assert (now.stage, now.silent_ms) == ("served", HOUR_MS + LOOK_MAX_MS)


def test_cloud_may_be_silent_for_ever_where_the_policy_names_no_limit() -> None:
    assert looks(Service(), range(5_000), of=policy("")).stage == "served"


@pytest.mark.parametrize("stage", ["served", "noticed", "ended"])
def test_no_stage_is_entered_while_the_clock_is_unsure(stage: Stage) -> None:
    now = Service(stage=stage, ends_ms=START_MS, due_ms=START_MS, silent_ms=100 * DAY_MS, looked_ms=START_MS)
    later = looks(now, [1, 1_000], of=policy(), trusted=False)
    assert (later.stage, later.silent_ms) == (stage, 100 * DAY_MS)


def test_signed_notice_waits_for_its_time_and_silence_does_not_take_its_place() -> None:
    of = policy()
    now = noticed(Service(), by="kid", command="jti", ends_ms=START_MS + 5 * HOUR_MS, moment=at(0))
    assert looks(now, range(5), of=of).stage == "noticed"
    ended = looks(now, range(6), of=of)
    assert (ended.stage, ended.by, ended.due_ms) == ("ended", "kid", START_MS + 5 * HOUR_MS + 2 * DAY_MS)
    assert advance(ended, of, heard=True, cloud="there", moment=at(6 * HOUR_MS)).stage == "ended", (
        "its cloud may still be there"
    )
    assert noticed(ended, by="other", command="x", ends_ms=0, moment=at(6 * HOUR_MS)) == ended


def test_device_without_a_cloud_never_ends_for_its_silence_and_goes_on_once_its_cloud_is_taken_away() -> None:
    of = policy()
    now = Service()
    for hour in range(500):
        now = advance(now, of, heard=False, cloud="none", moment=at(hour * HOUR_MS))
    assert (now.stage, now.silent_ms) == ("served", 0)
    for hours in (26, 80):
        silent = looks(Service(), range(hours), of=of)
        assert silent.stage in {"ended", "deleting"}
        alone = advance(silent, of, heard=False, cloud="none", moment=at(hours * HOUR_MS))
        assert (alone.stage, alone.silent_ms) == ("served", 0)
    signed = noticed(Service(), by="kid", command="jti", ends_ms=START_MS, moment=at(0))
    for hour in (1, 100):
        signed = advance(signed, of, heard=False, cloud="none", moment=at(hour * HOUR_MS))
    assert signed.stage == "deleting", "a signed word needs no cloud that goes on speaking"


def test_cloud_whose_keys_expired_takes_nothing_back_and_its_silence_stands_still() -> None:
    """A key that expired set the silence to nothing, and had collection go on behind the end."""
    of = policy()
    now = looks(Service(), range(24), of=of)
    for hour in range(24, 500):
        now = advance(now, of, heard=False, cloud="mute", moment=at(hour * HOUR_MS))
    assert (now.stage, now.silent_ms) == ("served", 23 * HOUR_MS)
    assert looks(now, [500], of=of).stage == "ended", "the last hour of its silence, with another key"
    for hours in (26, 80):
        silent = looks(Service(), range(hours), of=of)
        assert advance(silent, of, heard=False, cloud="mute", moment=at(hours * HOUR_MS)).stage == silent.stage
    late = advance(looks(Service(), range(26), of=of), of, heard=False, cloud="mute", moment=at(200 * HOUR_MS))
    assert late.stage == "deleting", "its grace goes on"


def test_notice_for_the_far_future_does_not_put_off_an_end_by_silence() -> None:
    of = policy()
    far = noticed(Service(), by="kid", command="jti", ends_ms=START_MS + 300 * DAY_MS, moment=at(0))
    assert looks(far, range(24), of=of).stage == "noticed"
    ended = looks(far, range(25), of=of)
    assert (ended.stage, ended.by, ended.ends_ms) == ("ended", "", START_MS + DAY_MS)
    back = advance(ended, of, heard=True, cloud="there", moment=at(26 * HOUR_MS))
    assert back.stage == "served", "it is there after all"


def test_plan_that_keeps_deletes_nothing_and_stops_one_that_runs() -> None:
    of = policy('silent = "1d"\ngrace = "2d"\nplan = "keep"')
    ended = looks(Service(), range(26), of=of)
    assert looks(ended, range(26, 500), of=of).stage == "ended"
    running = msgspec.structs.replace(ended, stage="deleting")
    assert looks(running, [26], of=of).stage == "ended"


@given(
    steps=st.lists(st.tuples(st.integers(0, 3 * DAY_MS), st.booleans(), st.booleans()), max_size=30),
    silent=st.sampled_from(["24h", "2d", "30d"]),
)
def test_nothing_is_deleted_before_limit_and_grace_have_passed(
    steps: list[tuple[int, bool, bool]], silent: str
) -> None:
    of = policy(f'silent = "{silent}"\ngrace = "2d"')
    assert of.silent_ms is not None
    now, at_ms = advance(Service(), of, heard=True, cloud="there", moment=at(0)), 0
    heard_ms = 0
    for pause_ms, heard, trusted in steps:
        at_ms += pause_ms
        now = advance(now, of, heard=heard, cloud="there", moment=at(at_ms, trusted=trusted))
        if heard and now.stage == "served":
            heard_ms = at_ms
        assert now.stage != "ended" or at_ms - heard_ms >= of.silent_ms
        assert now.stage != "deleting" or at_ms - heard_ms >= of.silent_ms + of.grace_ms
