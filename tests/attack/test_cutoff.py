"""Between an owner's delete and its end nothing slips through; a backend's reaches what is there and no further."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent import bookmark
from agent.bookmark import Bookmark
from agent.envelope import Quota
from agent.errors import RefusedError
from agent.index import Tx, opening, tombstone
from agent.model import Moment, new_id
from agent.timeline import lag_ms
from tests.commands.office import START_S, Office, at, run

HOUR_S = 3600
DAY_S = 86_400
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


def _execute(tx: Tx, *, sql: str, values: tuple[str | int, ...]) -> None:
    tx.execute(sql, values)


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


@pytest.mark.parametrize("ahead_s", [3650 * DAY_S, 2 * DAY_S], ids=["ten years", "two days"])
def test_delete_under_a_wall_clock_that_is_ahead_forbids_nothing_that_is_recorded_behind_it(
    careful: Office, ahead_s: int
) -> None:
    """Somebody had set the clock ten years ahead: an owner's delete had ten years of recordings destroyed unread."""

    async def scenario() -> None:
        ahead_ms = (START_S + ahead_s) * 1000
        careful.moment = msgspec.structs.replace(at(), wall_ms=ahead_ms, trusted=False)
        receipt = await careful.submit(careful.client, "delete", select={"all": True})
        assert receipt["status"] == "done"
        with pytest.raises(RefusedError):
            await careful.keep(**recorded(-60))
        later = await careful.keep(**recorded(DAY_S))
        assert careful.get(later.id) is not None

    run(scenario())


def test_delete_under_a_timeline_that_is_behind_cuts_off_where_the_wall_clock_says(careful: Office) -> None:
    async def scenario() -> None:
        careful.moment = msgspec.structs.replace(at(), agent_ms=(START_S - 30 * DAY_S) * 1000, trusted=False)
        receipt = await careful.submit(careful.client, "delete", select={"all": True})
        assert receipt["status"] == "done"
        with pytest.raises(RefusedError):
            await careful.keep(**recorded(-60))

    run(scenario())


def test_owners_delete_that_waited_cuts_off_where_it_was_commanded(careful: Office) -> None:
    async def scenario() -> None:
        before = new_id()
        order = careful.command(careful.client, "delete", select={"all": True}, after=before)
        first = await careful.receive(careful.client, order)
        assert first is not None
        assert first["reason"] == "after_pending"
        careful.moment = at(10 * HOUR_S)
        await careful.submit(careful.client, "inventory", select={"all": True}, jti=before)
        await careful.commands.resume(careful.moment)
        with pytest.raises(RefusedError):
            await careful.keep(**recorded(-5 * HOUR_S))
        later = await careful.keep(**recorded(5 * HOUR_S))
        assert careful.get(later.id) is not None, "recorded after the command, and named by nobody"

    run(scenario())


@pytest.mark.parametrize("select", [{"all": True}, {"camera": "cam1"}, {"category": "recording"}, RANGE], ids=str)
def test_backends_delete_of_nothing_has_no_recording_refused(careful: Office, select: dict[str, Any]) -> None:
    """What is yet to come weighs nothing: a cut-off for it would cost no quota, however often it is sent."""

    async def scenario() -> None:
        for minute in range(5):
            careful.moment = at(60 * minute)
            answer = await careful.submit(careful.backend, "delete", select=select)
            assert answer["status"] == "done"
            assert answer["selection"]["count"] == 0
            under_way = await careful.keep(**recorded(60 * minute - 30))
            assert careful.get(under_way.id) is not None
            await careful.submit(careful.client, "delete", select={"ids": [under_way.id]})

    run(scenario())


def test_backends_delete_ends_what_was_there_and_refuses_nothing_that_comes(careful: Office) -> None:
    async def scenario() -> None:
        kept = [await careful.keep(), await careful.keep()]
        first = await careful.receive(careful.backend, careful.command(careful.backend, "delete", select={"all": True}))
        assert first is not None
        assert first["reason"] == "quota_exceeded"
        careful.moment = at(HOUR_S)
        told = first["selection"]["hash"]
        await careful.submit(careful.client, "approve", command=first["cmd"], selection=told)
        under_way = await careful.keep()
        await careful.commands.resume(careful.moment)
        late = await careful.keep(**recorded(-5 * HOUR_S))
        assert [careful.get(one.id) for one in kept] == [None, None]
        assert all(careful.get(one.id) is not None for one in (under_way, late))

    run(scenario())


def test_cut_off_that_a_backend_left_before_goes_with_the_newer_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts = opening.MIGRATIONS["vault"]
    (newer,) = (at for at, script in enumerate(scripts) if "rule = 'backend_delete'" in script)
    old = {**opening.MIGRATIONS, "vault": scripts[:newer], "rectification": opening.MIGRATIONS["rectification"][:2]}
    with monkeypatch.context() as patched:
        patched.setattr(opening, "MIGRATIONS", old)
        office = Office(tmp_path / "state")
        for rule in ("backend_delete", "owner_erase"):
            put = "INSERT INTO cutoff (camera, category, before_ms, rule) VALUES (?, '', ?, ?)"
            office.index.write_now(partial(_execute, sql=put, values=(rule, START_S * 1000, rule)))
    office.restart()
    assert [row[1] for row in office.index.read_now(tombstone.cutoffs)] == ["owner_erase"]
    office.close()


def test_refused_delete_leaves_no_cut_off(careful: Office) -> None:
    async def scenario() -> None:
        await careful.keep()
        order = careful.command(careful.client, "delete", select={"all": True}, after=new_id())
        await careful.receive(careful.client, order)
        careful.moment = at(2 * 86_400)
        await careful.commands.tick(careful.moment)
        late = await careful.keep()
        assert careful.get(late.id) is not None

    run(scenario())


def test_what_is_dated_by_a_timeline_that_lags_is_not_taken_for_older_than_a_cut_off_at_the_wall_clock(
    careful: Office,
) -> None:
    """A stream was refused behind a delete for as long as the device had been off before it."""

    async def scenario() -> None:
        lag_s = 8 * HOUR_S
        careful.moment = msgspec.structs.replace(at(trusted=False), wall_ms=at(lag_s).wall_ms)
        order = careful.command(careful.client, "delete", select={"all": True}, iat=START_S + lag_s)
        told = await careful.receive(careful.client, order)
        assert told is not None
        with pytest.raises(RefusedError):
            await careful.keep(**recorded(-60), lag_ms=lag_ms(careful.moment))
        later = await careful.keep(**recorded(60), lag_ms=lag_ms(careful.moment))
        assert careful.get(later.id) is not None

    run(scenario())


@pytest.mark.parametrize(("looked_s", "behind_s"), [(0, 60), (100, 100.001)], ids=["as it came", "behind a power cut"])
def test_cut_off_of_a_delete_that_waited_is_of_when_it_came_by_both_clocks_and_behind_all_looks(
    careful: Office, looked_s: int, behind_s: float
) -> None:
    zero_ms = at().agent_ms

    def moment(*, agent_s: float, wall_s: float) -> Moment:
        ours_ms, wall_ms = (zero_ms + round(seconds * 1000) for seconds in (agent_s, wall_s))
        return Moment(agent_ms=ours_ms, wall_ms=wall_ms, trusted=True)

    look = Bookmark(
        source="door", folder=1, file_tag=b"f", path_tag=b"p", base_tag=b"b", head_tag=b"h", end_tag=b"e",
        look_tag=b"l", taken_bytes=1, since_ms=0, looked_ms=zero_ms + looked_s * 1000, wall_ms=zero_ms,
    )  # fmt: skip
    careful.index.write_now(lambda tx: bookmark.keep(tx, look))

    async def scenario() -> None:
        before = new_id()
        careful.moment = moment(agent_s=60, wall_s=160)
        delete = careful.command(careful.client, "delete", select={"all": True}, after=before)
        told = await careful.receive(careful.client, delete)
        assert told is not None
        assert told["reason"] == "after_pending"
        careful.moment = moment(agent_s=120, wall_s=1800)
        await careful.submit(careful.client, "inventory", select={"all": True}, jti=before)
        await careful.commands.resume(careful.moment)

    run(scenario())
    ((*_, commanded_ms, wall_ms),) = careful.index.read_now(tombstone.cutoffs)
    assert (commanded_ms, wall_ms) == (zero_ms + behind_s * 1000, zero_ms + 160_000)
