"""Times that people write and read, in this machine's zone, and back."""

import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.clock import rfc3339_ms
from agent.errors import ConfigError
from agent.shell.times import parse_when, when, when_text

NOW_MS = 1_772_000_000_000
IN_2100_S = 4_102_444_800


@pytest.fixture(params=["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"])
def _zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("_zone")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, IN_2100_S))
def test_what_is_shown_can_be_typed_back(unix_s: int) -> None:
    assert parse_when(when(unix_s * 1000), now_ms=NOW_MS) == unix_s * 1000
    assert when_text(rfc3339_ms(unix_s * 1000)) == when(unix_s * 1000)


def test_time_without_an_offset_is_this_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        assert rfc3339_ms(parse_when("2026-03-01", now_ms=NOW_MS)) == "2026-02-28T23:00:00.000Z"
        assert rfc3339_ms(parse_when("2026-07-01T10:15", now_ms=NOW_MS)) == "2026-07-01T08:15:00.000Z"
        assert when_text("2026-03-01T10:15:00.250Z") == "2026-03-01 11:15:00 +0100"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("now", NOW_MS),
        ("90s", NOW_MS - 90_000),
        (" 36h ", NOW_MS - 36 * 3_600_000),
        ("14d", NOW_MS - 14 * 86_400_000),
        ("2w", NOW_MS - 14 * 86_400_000),
        ("2026-03-01T10:15:00Z", 1_772_360_100_000),
        ("2026-03-01T10:15:00.5+01:00", 1_772_356_500_500),
    ],
)
def test_age_and_rfc3339_are_read(text: str, ms: int) -> None:
    assert parse_when(text, now_ms=NOW_MS) == ms


@pytest.mark.parametrize("text", ["", "yesterday", "7 d", "-7d", "9999999d", "2026-13-01", "0001-01-01", "10:15"])
def test_what_is_no_time_says_what_to_write(text: str) -> None:
    with pytest.raises(ConfigError) as told:
        parse_when(text, now_ms=NOW_MS)
    assert "write 2026-03-01" in told.value.hint


def test_text_that_is_no_time_is_shown_as_it_is() -> None:
    assert when_text("") == ""
    assert when_text("soon") == "soon"
