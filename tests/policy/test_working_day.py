"""Working days: against a calendar that counts them one by one, and at the edges that people argue about."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.policy.working_day import DAY_MS, days_left, due_ms

MOMENTS = st.integers(min_value=0, max_value=100 * 365 * DAY_MS)


def ms(text: str) -> int:
    return round(dt.datetime.fromisoformat(f"{text}+00:00").timestamp() * 1000)


def day_of(at_ms: int) -> dt.date:
    return dt.datetime.fromtimestamp(at_ms / 1000, tz=dt.UTC).date()


def working(first: dt.date, behind: dt.date) -> int:
    """Count the days from Monday to Friday of a half-open interval, one by one."""
    days = (behind - first).days
    return sum((first + dt.timedelta(days=number)).weekday() < 5 for number in range(max(0, days)))


@pytest.mark.parametrize(
    ("asked", "days", "due"),
    [
        ("2027-01-15T08:00:00", 15, "2027-02-06T00:00:00"),  # a Friday; the last day is a Friday
        ("2027-01-15T23:59:59", 1, "2027-01-19T00:00:00"),  # Monday, to its end
        ("2027-01-16T08:00:00", 1, "2027-01-19T00:00:00"),  # a Saturday
        ("2027-01-17T23:59:59", 1, "2027-01-19T00:00:00"),  # a Sunday
        ("2027-01-18T00:00:00", 1, "2027-01-20T00:00:00"),  # a Monday: it does not count itself
        ("1970-01-01T00:00:00", 2, "1970-01-06T00:00:00"),  # the Thursday at which the clock begins
        ("2028-02-25T12:00:00", 3, "2028-03-02T00:00:00"),  # over a leap day
    ],
)
def test_request_is_due_at_the_end_of_its_last_working_day(asked: str, days: int, due: str) -> None:
    assert due_ms(ms(asked), days) == ms(due)


@given(MOMENTS, st.integers(min_value=1, max_value=40))
def test_exactly_so_many_working_days_begin_before_it_is_due(asked_ms: int, days: int) -> None:
    due = due_ms(asked_ms, days)
    first = day_of(asked_ms) + dt.timedelta(days=1)
    assert due % DAY_MS == 0
    assert working(first, day_of(due)) == days
    assert working(first, day_of(due - DAY_MS)) == days - 1, "the last day is a working day"


@given(MOMENTS, st.integers(min_value=-400 * DAY_MS, max_value=400 * DAY_MS))
def test_days_left_are_those_that_a_calendar_counts(now_ms: int, ahead_ms: int) -> None:
    due = max(0, now_ms + ahead_ms)
    assert days_left(now_ms, due) == working(day_of(now_ms) + dt.timedelta(days=1), day_of(due))
