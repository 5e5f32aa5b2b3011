"""The rotating id of docs/camera-link.md §7 tells its own agent, for three days, and nobody else."""

import base64

import pytest

from agent.enrolment import Enrolled
from agent.nearby.rotating import DAY_MS, expected_ids, rotating_ids

pytestmark = pytest.mark.promise("FIND-AUTH")

KEY = bytes(range(32))
CAMERA = Enrolled(camera="garden00", device="abcdefgh234567xy", level="proved", kid="G" * 43, advert_key=KEY)
DAY = 20783


def test_ids_are_those_of_the_document() -> None:
    assert rotating_ids(KEY, unix_day=DAY)[0] == "ewyjkd5kfj4utll5"
    assert rotating_ids(KEY, unix_day=0)[0] == "zttpp3oexzfb2t6u"


def test_short_id_is_the_beginning_of_the_same_bytes() -> None:
    long, short = rotating_ids(KEY, unix_day=DAY)
    raw = base64.b32decode(short.upper() + "===")
    assert len(raw) == 8
    assert base64.b32decode(long.upper())[:8] == raw


def test_yesterday_today_and_tomorrow_are_expected() -> None:
    told = expected_ids([CAMERA], now_ms=DAY * DAY_MS + 5)
    assert set(told.values()) == {"garden00"}
    assert set(told) == {one for day in (DAY - 1, DAY, DAY + 1) for one in rotating_ids(KEY, unix_day=day)}


def test_camera_that_was_never_paired_is_expected_under_no_id() -> None:
    unpaired = Enrolled(camera="porch000", device="bcdefgh234567xyz", level="proved", kid="P" * 43)
    assert expected_ids([unpaired], now_ms=DAY * DAY_MS) == {}
    assert expected_ids([CAMERA], now_ms=0) != {}
