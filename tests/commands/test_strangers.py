"""The log's numbers of messages of nobody add up to what came, also of a flood that is followed by silence."""

import asyncio
import threading
from typing import Any

import pytest

from agent import envelope
from agent.commands.stranger import AUDIT_PAUSE_MS
from agent.errors import SpaceError
from agent.index import Tx
from tests.commands.office import Office, at, run

PAUSE_S = AUDIT_PAUSE_MS / 1000


def forge(office: Office, count: int, *, seconds: float) -> None:
    claims = office.claims(office.client, "inventory", select={"all": True})
    for _ in range(count):
        forged = office.seal(office.stranger.sign(claims | {"iss": office.stranger.kid}))
        assert run(office.commands.receive(forged, moment=at(seconds))) == ()


def counts(office: Office) -> list[int]:
    """Return the numbers that the log has of messages of unknown keys, each of one event."""
    rows = office.index.read_now(lambda tx: tx.execute("SELECT line FROM audit ORDER BY seq"))
    lines: list[dict[str, Any]] = [envelope.decode_strictly(row[0], max_bytes=5000) for row in rows]
    return [line["detail"]["count"] for line in lines if line["rule"] == "unknown_key"]


def test_what_came_in_a_pause_is_in_the_log_when_the_pause_ends_also_if_nothing_comes_behind_it(
    office: Office,
) -> None:
    forge(office, 3, seconds=0)
    run(office.commands.tick(at(PAUSE_S - 1)))
    assert counts(office) == [1]
    run(office.commands.tick(at(PAUSE_S)))
    assert counts(office) == [1, 2]
    for pause in (1, 2, 3):
        run(office.commands.tick(at(pause * PAUSE_S + 1)))
    assert counts(office) == [1, 2], "nothing came, so nothing is written"


def test_flood_that_goes_on_is_one_event_a_pause_and_its_numbers_add_up(office: Office) -> None:
    for second in range(0, int(3 * PAUSE_S), 5):
        forge(office, 2, seconds=second)
        run(office.commands.tick(at(second)))
    run(office.commands.tick(at(3 * PAUSE_S)))
    assert len(counts(office)) <= 4
    assert sum(counts(office)) == office.commands.counters["unknown_key"] == 2 * 3 * PAUSE_S / 5


def test_ordered_stop_writes_what_the_running_pause_collected(office: Office) -> None:
    forge(office, 3, seconds=0)
    run(office.commands.tell_strangers(at(1)))
    assert counts(office) == [1, 2]
    run(office.commands.tell_strangers(at(2)))
    assert counts(office) == [1, 2]


def test_number_for_which_there_was_no_room_is_written_when_there_is(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_args: object, **_more: object) -> None:
        raise SpaceError("no room")

    forge(office, 3, seconds=0)
    with monkeypatch.context() as patched:
        patched.setattr(office.commands._strangers._index, "write", full)
        run(office.commands._strangers.tell_collected(at(PAUSE_S)))
    assert counts(office) == [1]
    run(office.commands.tick(at(2 * PAUSE_S)))
    assert counts(office) == [1, 2]


def test_number_that_waits_for_the_index_when_a_stop_cancels_its_teller_is_in_the_log(office: Office) -> None:
    begun, end = threading.Event(), threading.Event()

    def busy(_tx: Tx) -> None:
        begun.set()
        assert end.wait(60.0)

    async def stop() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(office.index.write(busy), name="busy")
            await asyncio.to_thread(begun.wait, 60.0)
            telling = group.create_task(office.commands.tick(at(PAUSE_S)), name="telling")
            for _turn in range(100):  # of the event loop; many more than it takes to wait for the index
                await asyncio.sleep(0)
            telling.cancel()
            await asyncio.wait([telling])
            assert telling.cancelled()
            end.set()
        await office.index.write(lambda _tx: None)  # what an ordered stop writes last waits behind the number too

    forge(office, 3, seconds=0)
    run(stop())
    assert counts(office) == [1, 2]
