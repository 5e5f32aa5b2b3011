"""The owner's tool says what turned up after a delete."""

from typing import Any

import msgspec

from agent.owner import show
from agent.owner.receipt import Receipt


def receipt(**late: int) -> Receipt:
    ids = {"jti": "a" * 26, "cmd": "b" * 26}
    claims: dict[str, Any] = {
        "iss": "cam-01",
        "aud": "k",
        "iat": 1,
        "verb": "delete",
        "seq": 1,
        "protection": "software",
    }
    head = {"seq": 1, "hash": "0" * 64}
    status = "partial" if late["remaining"] else "done"
    return msgspec.convert({**claims, **ids, "audit_head": head, "status": status, "late": late}, Receipt)


def test_files_that_were_destroyed_late_need_nothing_more() -> None:
    told = receipt(destroyed=3, remaining=0)
    assert "turned up after it: 3 destroyed unread, 0 left to their source" in show.end(told)
    assert show.shortfall(told) == ""


def test_files_that_remain_with_their_source_have_a_next_step_there() -> None:
    told = show.shortfall(receipt(destroyed=0, remaining=2))
    assert "2 files that turned up later remain with their source" in told
    assert "next: remove them there" in told
