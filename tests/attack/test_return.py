"""What was deleted is offered again, in other clothes, by whoever can write into the spool."""

import os
from typing import Any

from agent.model import Selection
from tests.ingest.conftest import home
from tests.ingest.test_ingest import NAME, erase

__all__ = ["home"]  # a fixture
Home = Any  # the fixture's class

LATER_S = 1_800_000_200
CONTENT = b"secret" * 1000


def test_deleted_content_under_a_later_date_stays_away_also_after_a_delete_of_everything(home: Home) -> None:
    home.put(NAME, CONTENT)
    home.scan()
    erase(home, home.only().id)
    home.put("front/other.mp4", b"other")
    home.scan()
    erase(home, home.only().id, cutoff=Selection(all=True))

    again = home.put("front/holiday.mp4", CONTENT)
    os.utime(again, (LATER_S, LATER_S))
    home.scan()

    assert home.objects() == ()
    assert home.left() == []


def test_half_copied_then_completed_file_of_deleted_content_is_refused_once_complete(home: Home) -> None:
    home.put(NAME, CONTENT)
    home.scan()
    erase(home, home.only().id)

    path = home.put("front/again.mp4", CONTENT[:3000])
    with path.open("ab") as writer:  # open for writing: not taken while it grows
        home.scan()
        assert home.objects() == ()
        writer.write(CONTENT[3000:])
    home.scan()

    assert home.objects() == ()
    assert home.left() == []


def same_to_the_clock(home: Home, content: bytes) -> None:
    """Write a recording as a camera does that has no clock and counts from one again."""
    file = home.put("front/recording/0001.mp4", content)
    os.utime(file, ns=(10**18, 10**18))


def test_other_recording_of_the_same_name_size_and_time_is_sealed_and_not_destroyed_unread(home: Home) -> None:
    for content in (b"A" * 1000, b"B" * 1000, b"A" * 1000):
        same_to_the_clock(home, content)
        home.scan()
        assert home.left() == []
    assert sorted(home.opened(item)[:1] for item in home.objects()) == [b"A", b"B"]


def test_other_recording_of_the_same_name_size_and_time_as_a_deleted_one_is_sealed(home: Home) -> None:
    same_to_the_clock(home, b"A" * 1000)
    home.scan()
    erase(home, home.only().id)
    same_to_the_clock(home, b"A" * 1000)
    home.scan()
    assert home.objects() == ()
    same_to_the_clock(home, b"B" * 1000)
    home.scan()
    assert home.opened(home.only()) == b"B" * 1000
    assert home.left() == []


def test_recording_that_took_the_place_of_one_whose_giving_up_a_cut_prevented_is_sealed(home: Home) -> None:
    same_to_the_clock(home, b"A" * 1000)
    home.scan()
    first = home.only()
    home.index.write_now(lambda tx: tx.execute("UPDATE object SET source_gone = 0"))
    same_to_the_clock(home, b"B" * 1000)
    home.reopen()
    home.scan()
    assert sorted(home.opened(item)[:1] for item in home.objects()) == [b"A", b"B"]
    home.scan()
    left_over = home.left_over()
    assert first.id not in {item.id for item in left_over}
    assert left_over == ()
