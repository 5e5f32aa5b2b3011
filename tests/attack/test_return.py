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
