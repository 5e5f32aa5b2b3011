"""What waits for room counts file by file, until it is taken in, kept out for another reason, or gone."""

import asyncio
from typing import Any

import pytest

from agent.ingest import room
from agent.ingest.wanting import GONE_S, WAITING_MAX, Wanting

Home = Any  # the fixture's class; tests are no package

LARGE = "front/recording/2026-11-22T10-15-00.000Z_10s.mp4"
SMALL = "front/recording/2026-11-22T10-16-00.000Z_10s.mp4"
CLIP, OTHER = ("spool", "a.mp4"), ("spool", "b.mp4")


class Clock:
    now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_one_that_is_taken_in_says_nothing_of_another_of_its_source(clock: Clock) -> None:
    wanting = Wanting(clock)
    wanting.refused([CLIP, OTHER])
    clock.now_s += 10
    wanting.settled([CLIP], since_s=clock.now_s)
    assert wanting.waits()
    wanting.settled([OTHER], since_s=clock.now_s)
    assert not wanting.waits()


def test_one_that_is_refused_again_while_it_is_tried_waits_still(clock: Clock) -> None:
    wanting = Wanting(clock)
    wanting.refused([CLIP])
    clock.now_s += 10
    began_s = clock.now_s
    wanting.refused([CLIP])
    wanting.settled([CLIP], since_s=began_s)
    assert wanting.waits()


def test_one_that_is_refused_no_more_is_gone_unless_it_is_under_way(clock: Clock) -> None:
    wanting = Wanting(clock)
    wanting.refused([CLIP])
    clock.now_s += GONE_S
    assert wanting.waits({CLIP})
    assert not wanting.waits()


def test_until_a_start_has_looked_at_everything_nothing_of_before_is_over(clock: Clock) -> None:
    quiet, refused = Wanting(clock), Wanting(clock)
    assert quiet.waits()
    refused.refused([CLIP])
    clock.now_s += 1
    refused.settled([CLIP], since_s=clock.now_s)
    assert (quiet.waits(), refused.waits()) == (True, False)
    clock.now_s += GONE_S
    assert not quiet.waits()


def test_the_last_of_very_many_are_remembered(clock: Clock) -> None:
    wanting = Wanting(clock)
    wanting.refused([CLIP])
    wanting.refused(("spool", f"{n}.mp4") for n in range(WAITING_MAX))
    clock.now_s += 1
    wanting.settled([("spool", f"{n}.mp4") for n in range(WAITING_MAX)], since_s=clock.now_s)
    assert not wanting.waits()


def test_large_file_waits_for_room_while_a_small_one_beside_it_is_taken_in(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.put(LARGE, b"x" * 5_000)
    home.put(SMALL, b"x" * 500)

    async def run() -> tuple[bool, int, bool]:
        flow = home.ingest()
        try:
            monkeypatch.setattr(room, "free_bytes", lambda _folder: (2_000, 1_000_000))
            await flow.scan_once()
            full, held = flow.waits_for_room, len(home.objects())
            monkeypatch.setattr(room, "free_bytes", lambda _folder: (500_000, 1_000_000))
            await flow.scan_once()
            return full, held, flow.waits_for_room
        finally:
            flow.close()
            await home.sealers[-1].aclose()

    assert asyncio.run(run()) == (True, 1, False)
    assert len(home.objects()) == 2
