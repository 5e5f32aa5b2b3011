"""Between a delete's acceptance and its end nothing slips through; what was recorded while it waited stays."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.envelope import Quota
from agent.errors import RefusedError
from tests.commands.office import START_S, Office, at, run

HOUR_S = 3600
RANGE = {"from": "2023-01-01T00:00:00.000Z", "to": "2032-01-01T00:00:00.000Z"}


@pytest.fixture
def careful(tmp_path: Path) -> Iterator[Office]:
    """An office where a backend may delete one object and asks for more."""
    opened = Office(tmp_path / "state", quota=Quota(objects=1, bytes=10**9, window_s=HOUR_S))
    yield opened
    opened.close()


def recorded(after_s: int) -> dict[str, Any]:
    start_ms = (START_S + after_s) * 1000
    return {"captured_from_ms": start_ms, "captured_to_ms": start_ms + 60_000}


@pytest.mark.parametrize("select", [{"all": True}, {"camera": "cam1"}, {"category": "recording"}, RANGE], ids=str)
def test_recording_that_arrives_while_an_accepted_delete_has_not_begun_is_refused(
    careful: Office, select: dict[str, Any]
) -> None:
    if "camera" in select:
        select = {"camera": "a234bcde"}

    async def scenario() -> None:
        kept = await careful.keep(camera="a234bcde")
        first = await careful.receive(careful.client, careful.command(careful.client, "delete", select=select))
        assert first is not None
        assert first["status"] == "accepted"
        with pytest.raises(RefusedError) as refused:
            await careful.keep(camera="a234bcde")
        assert refused.value.reason == "deleted_before"
        careful.restart()  # the cut-off survives a power cut before the first erasing step
        with pytest.raises(RefusedError):
            await careful.keep(camera="a234bcde")
        await careful.commands.resume(careful.moment)
        assert careful.get(kept.id) is None

    run(scenario())


def test_approved_delete_reaches_nothing_that_was_recorded_while_it_waited(careful: Office) -> None:
    async def scenario() -> None:
        kept = [await careful.keep(), await careful.keep()]
        first = await careful.receive(careful.backend, careful.command(careful.backend, "delete", select={"all": True}))
        assert first is not None
        assert first["reason"] == "quota_exceeded"
        careful.moment = at(10 * HOUR_S)
        told = first["selection"]["hash"]
        await careful.submit(careful.client, "approve", command=first["cmd"], selection=told)
        await careful.commands.resume(careful.moment)
        assert [careful.get(one.id) for one in kept] == [None, None]
        later = await careful.keep(**recorded(5 * HOUR_S))
        assert careful.get(later.id) is not None, "recorded after the command, and named by nobody"
        with pytest.raises(RefusedError):
            await careful.keep(**recorded(-5 * HOUR_S))

    run(scenario())


def test_delete_that_waited_for_time_cuts_off_where_it_was_commanded(careful: Office) -> None:
    async def scenario() -> None:
        careful.moment = at(-HOUR_S, trusted=False)  # off for an hour, and the clock with it
        first = await careful.receive(careful.backend, careful.command(careful.backend, "delete", select={"all": True}))
        assert first is not None
        assert first["reason"] == "clock_unconfirmed"
        careful.moment = at(2 * HOUR_S)
        await careful.commands.tick(careful.moment)
        await careful.commands.resume(careful.moment)
        with pytest.raises(RefusedError):
            await careful.keep(**recorded(-HOUR_S // 2))
        later = await careful.keep(**recorded(HOUR_S))
        assert careful.get(later.id) is not None

    run(scenario())


def test_refused_delete_leaves_no_cut_off(careful: Office) -> None:
    async def scenario() -> None:
        await careful.keep()
        await careful.keep()
        await careful.receive(careful.backend, careful.command(careful.backend, "delete", select={"all": True}))
        careful.moment = at(2 * 86_400)
        await careful.commands.tick(careful.moment)
        late = await careful.keep()
        assert careful.get(late.id) is not None

    run(scenario())
