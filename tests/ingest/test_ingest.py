"""From a file in the spool to a sealed, durable object."""

import os
from typing import Any

Home = Any  # the fixture's class; tests are no package


def test_complete_file_in_the_spool_becomes_one_sealed_object_and_leaves(home: Home) -> None:
    content = os.urandom(200_000)
    home.put("front/recording/2026-11-22T10-15-00.000Z_10s.mp4", content)
    home.scan()
    item = home.only()
    assert home.opened(item) == content
    assert home.left() == []
    assert (item.category, item.purpose, item.source_copy, item.state) == ("recording", "security", "taken", "sealed")
    assert item.captured_to_ms - item.captured_from_ms == 10_000
