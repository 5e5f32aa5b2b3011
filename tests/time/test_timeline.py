"""Every clock case of ``agent/timeline.py``'s table, and what must hold for any history of clocks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.clock import Reading
from agent.errors import RefusedError
from agent.model import Moment
from agent.timeline import (
    DRIFT_PART,
    EARLIEST_MS,
    LEAP_MS,
    LONGEST_OFF_MS,
    SIGNED_AHEAD_MS,
    Timeline,
    accept_signed_time,
    advance,
    lag_ms,
)

DAY = 86_400_000
START = EARLIEST_MS + 100 * DAY


def reading(wall_ms: int, boot_ms: int, *, boot: str = "one", synchronised: bool = True) -> Reading:
    return Reading(wall_ms=wall_ms, boot_ms=boot_ms, boot_id=boot, synchronised=synchronised)


def running(*, synchronised: bool = True) -> Timeline:
    line = Timeline()
    line.look(reading(START, 1000, synchronised=synchronised))
    return line


def test_first_start_synchronised_is_trusted() -> None:
    assert Timeline().look(reading(START, 5)) == Moment(agent_ms=START, wall_ms=START, trusted=True)


def test_first_start_with_a_clock_of_1970_begins_at_the_earliest_possible_time() -> None:
    moment = Timeline().look(reading(0, 5, synchronised=False))
    assert moment.agent_ms == EARLIEST_MS
    assert not moment.trusted


def test_unsynchronised_clock_advances_by_boot_time_alone() -> None:
    line = running()
    moment = line.look(reading(START + 10 * 365 * DAY, 61_000, synchronised=False))
    assert moment.agent_ms == START + 60_000
    assert not moment.trusted


def test_reboot_without_synchronisation_does_not_count_the_time_spent_off() -> None:
    line = running()
    moment = line.look(reading(START + 5 * DAY, 3000, boot="two", synchronised=False))
    assert moment.agent_ms == START


def test_reboot_with_synchronisation_counts_it() -> None:
    moment = running().look(reading(START + 5 * DAY, 3000, boot="two"))
    assert moment == Moment(agent_ms=START + 5 * DAY, wall_ms=START + 5 * DAY, trusted=True)


def test_wall_clock_behind_the_floor_is_not_believed() -> None:
    line = running()
    moment = line.look(reading(START - 30 * DAY, 61_000))
    assert moment.agent_ms == START + 60_000
    assert not moment.trusted
    assert line.leapt


def test_leap_ahead_while_running_is_not_believed_and_stays_so_until_the_clocks_agree() -> None:
    line = running()
    assert not line.look(reading(START + LEAP_MS * 2 + 1000, 2000)).trusted
    assert not line.look(reading(START + LEAP_MS * 2 + 2000, 3000)).trusted
    back = line.look(reading(START + 4000, 5000))
    assert back.trusted
    assert not line.leapt


@pytest.mark.parametrize(
    ("each_ms", "step_ms"),
    [
        pytest.param(60_000, -58 * 60_000, id="set back by 58 minutes each hour"),
        pytest.param(60_000, 58 * 60_000, id="set ahead by 58 minutes each hour"),
        pytest.param(0, 0, id="stands still"),
        pytest.param(120_000, 0, id="goes twice as fast"),
    ],
)
def test_clock_that_strays_by_less_than_an_hour_at_once_is_followed_no_further_than_an_hour(
    each_ms: int, step_ms: int
) -> None:
    """Set back again and again it stopped time: nothing reached its age in thirty days, and the clock was trusted."""
    line, wall_ms, run_ms, days = running(), START, 0, 30
    for minute in range(days * 24 * 60):
        run_ms += 60_000
        wall_ms += each_ms + (step_ms if minute % 60 == 0 else 0)
        moment = line.look(reading(wall_ms, 1000 + run_ms))
        assert abs(moment.agent_ms - START - run_ms) <= LEAP_MS + run_ms // DRIFT_PART
    assert not moment.trusted
    assert line.leapt


def test_clock_that_lost_its_time_is_not_believed_far_ahead_later_in_the_same_boot() -> None:
    line = running()
    assert not line.look(reading(START + 60_000, 61_000, synchronised=False)).trusted
    assert line.look(reading(START + 30 * DAY, 121_000)) == Moment(
        agent_ms=START + 120_000, wall_ms=START + 30 * DAY, trusted=False
    )


def test_ten_years_ahead_after_a_reboot_is_not_believed() -> None:
    moment = running().look(reading(START + 3650 * DAY, 3000, boot="two"))
    assert moment.agent_ms == START
    assert not moment.trusted


def test_clock_that_gets_its_time_after_boot_becomes_trusted() -> None:
    line = running(synchronised=False)
    moment = line.look(reading(START + 30 * DAY, 9000))
    assert moment == Moment(agent_ms=START + 30 * DAY, wall_ms=START + 30 * DAY, trusted=True)


def test_signed_time_anchors_the_rest_of_the_boot() -> None:
    state, _ = advance(None, reading(START, 1000, synchronised=False))
    state, _ = accept_signed_time(state, reading(0, 2000, synchronised=False), now_ms=START + 9 * DAY)
    line = Timeline(state)
    moment = line.look(reading(0, 12_000, synchronised=False))
    assert moment == Moment(agent_ms=START + 9 * DAY + 10_000, wall_ms=0, trusted=True)
    assert not line.look(reading(0, 1, boot="two", synchronised=False)).trusted


def test_signed_time_behind_the_floor_is_refused() -> None:
    state, _ = advance(None, reading(START, 1000))
    with pytest.raises(RefusedError) as caught:
        accept_signed_time(state, reading(START, 2000), now_ms=START - DAY)
    assert caught.value.reason == "not_yet_valid"


def test_no_row_of_signed_times_leaves_a_wall_clock_that_is_right() -> None:
    # Three of them, each as far as its command was valid, ended a hold of 90 days, and no word of the owner was heard.
    state, _ = advance(None, reading(START, 1000))
    for minute in range(1, 200):
        own = reading(START + minute * 60_000, 1000 + minute * 60_000)
        with pytest.raises(RefusedError) as caught:
            accept_signed_time(state, own, now_ms=own.wall_ms + SIGNED_AHEAD_MS + 1)
        assert caught.value.reason == "not_yet_valid"
        state, moment = accept_signed_time(state, own, now_ms=own.wall_ms + SIGNED_AHEAD_MS)
        assert moment == Moment(agent_ms=own.wall_ms + SIGNED_AHEAD_MS, wall_ms=own.wall_ms, trusted=True)


def test_signed_time_settles_what_the_wall_clock_is_not_believed_in() -> None:
    state, _ = advance(None, reading(START, 1000))
    state, moment = advance(state, reading(START + 30 * DAY, 2000))
    assert not moment.trusted
    _state, moment = accept_signed_time(state, reading(START + 30 * DAY, 3000), now_ms=START + 29 * DAY)
    assert moment == Moment(agent_ms=START + 29 * DAY, wall_ms=START + 30 * DAY, trusted=True)


def test_signed_time_that_was_late_is_put_right_by_the_next() -> None:
    state, _ = advance(None, reading(START, 1000, synchronised=False))
    state, _ = accept_signed_time(state, reading(START, 2000, synchronised=False), now_ms=START + DAY)
    own = reading(START + 2 * DAY, 3000)
    _state, moment = accept_signed_time(state, own, now_ms=START + 2 * DAY)
    assert moment == Moment(agent_ms=START + 2 * DAY, wall_ms=START + 2 * DAY, trusted=True)


@given(
    st.lists(
        st.tuples(st.integers(-(10 * 365 * DAY), 10 * 365 * DAY), st.integers(0, DAY), st.booleans(), st.booleans()),
        max_size=30,
    )
)
def test_any_history_of_clocks_never_runs_backwards_nor_faster_than_it_may(
    looks: list[tuple[int, int, bool, bool]],
) -> None:
    state, moment = advance(None, reading(START, 0))
    boot_number, boot_ms = 0, 0
    for jump_ms, run_ms, reboots, synchronised in looks:
        boot_number += reboots
        boot_ms = run_ms if reboots else boot_ms + run_ms
        before, was = moment.agent_ms, state
        state, moment = advance(
            state, reading(START + jump_ms, boot_ms, boot=str(boot_number), synchronised=synchronised)
        )
        assert moment.agent_ms >= before
        if not moment.trusted:
            assert moment.agent_ms - before <= run_ms, "while unsure only the boot clock counts"
        elif was.boot_id == state.boot_id and was.trusted:
            assert moment.agent_ms - before <= run_ms + LEAP_MS
        else:
            assert moment.agent_ms - before <= run_ms + LONGEST_OFF_MS


def test_clock_that_ran_ahead_before_its_first_synchronisation_is_waited_for() -> None:
    line = running(synchronised=False)
    behind = line.look(reading(START - 60_000, 2000))
    assert behind == Moment(agent_ms=START, wall_ms=START - 60_000, trusted=True)
    assert line.look(reading(START - 1000, 61_000)).agent_ms == START
    assert line.look(reading(START + 5000, 67_000)).agent_ms == START + 5000


def test_timeline_lags_by_what_the_wall_clock_is_ahead_where_that_may_be_right() -> None:
    def lag(ahead_ms: int, *, trusted: bool = False) -> int:
        return lag_ms(Moment(agent_ms=START, wall_ms=START + ahead_ms, trusted=trusted))

    assert lag(DAY) == DAY
    assert lag(-DAY) == 0
    assert lag(DAY, trusted=True) == 0
    assert lag(500 * DAY) == 0, "nobody would believe it"
