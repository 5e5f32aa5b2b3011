"""A usage log over clocks that are off, apart, or set in between: what a delete covers of it, and what not."""

import datetime as dt
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent import former, tombstone
from agent.clock import rfc3339_ms
from agent.former import Former
from agent.index import Tx
from agent.ingest import growing
from agent.model import Moment, Selection
from agent.sealer import Sealed, Sealer, SealJob
from tests.ingest.test_growing_log import OURS, Recorder, is_left_and_told, line
from tests.ingest.test_ingest import NOW as LATER
from tests.ingest.test_ingest import erase

Home = Any  # the fixture's class; tests are no package


class Apart(Recorder):
    """A recorder whose device has two clocks that need not agree; files are dated by the wall clock."""

    def at(self, *words: object, agent_s: float, wall_s: float, trusted: bool = False) -> None:
        """Let them stand so many seconds from a common zero, and have something written."""
        agent_ms, wall_ms = (LATER.agent_ms + round(seconds * 1000) for seconds in (agent_s, wall_s))
        self.home.now = Moment(agent_ms=agent_ms, wall_ms=wall_ms, trusted=trusted)
        if words:
            self.write(*words)
            os.utime(self.path, ns=(wall_ms * 1_000_000, wall_ms * 1_000_000))

    def delete(self, cutoff: Selection | None = None) -> None:
        """Delete as an owner's command does it now."""
        erase(self.home, cutoff=Selection(all=True) if cutoff is None else cutoff, moment=self.home.now)
        self.home.reopen()  # in another event loop


@pytest.fixture
def apart(home: Home, monkeypatch: pytest.MonkeyPatch) -> Apart:
    recorder = Apart(home)
    monkeypatch.setattr(growing, "born_ms", lambda _fd: LATER.agent_ms - 86_400_000)
    return recorder


LAG_S = 8 * 3600


def cut_off(at: Moment) -> Callable[[Tx], None]:
    """Return what puts the cut-off of a delete of everything that was commanded then."""
    return lambda tx: tombstone.cut_off(
        tx, Selection(all=True), rule="owner_erase", by=tombstone.Commanded(),
        before_ms=max(at.agent_ms, at.wall_ms), commanded_ms=at.agent_ms, wall_ms=at.wall_ms,
    )  # fmt: skip


def sealing_meets(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], None]) -> None:
    """Have something happen when a log was read and is not yet an object."""
    seal = Sealer.seal

    async def slow(sealer: Sealer, job: SealJob, *, source_fd: int, part_fd: int) -> Sealed:
        sealed = await seal(sealer, job, source_fd=source_fd, part_fd=part_fd)
        happens()
        return sealed

    monkeypatch.setattr(Sealer, "seal", slow)


def test_lines_behind_a_delete_are_taken_also_while_our_clock_lags(apart: Apart) -> None:
    # They were passed over for as long as the device had been off before the delete.
    apart.at("before it", agent_s=0, wall_s=LAG_S)
    apart.look()
    apart.at("perhaps before it", agent_s=60, wall_s=LAG_S + 60)
    apart.delete()
    apart.at("perhaps behind it", agent_s=120, wall_s=LAG_S + 120)
    apart.look()
    for seconds in (180, 240):
        apart.at(f"behind it {seconds}", agent_s=seconds, wall_s=LAG_S + seconds)
        apart.look_after_a_restart()
    assert apart.sealed() == [line("before it"), line("behind it 180"), line("behind it 240")]


def test_logs_that_are_cut_behind_a_delete_are_taken_also_while_our_clock_lags(apart: Apart) -> None:
    apart.at("before it", agent_s=0, wall_s=LAG_S)
    apart.look()
    apart.delete()
    for hour in range(1, 4):
        os.truncate(apart.path, 0)
        seconds = hour * 3600
        apart.at("banner", f"hour {hour}", agent_s=seconds, wall_s=LAG_S + seconds)
        apart.look()
    told = b"".join(apart.sealed()).decode()
    assert [hour for hour in (1, 2, 3) if f"hour {hour}" in told] == [2, 3]


@pytest.mark.parametrize(
    ("looked", "deleted", "later"),
    [
        # (agent time, wall clock) of the look before the delete, of the delete, and of the next look
        ((0, 0), (120, LAG_S), (180, LAG_S + 60)),  # the wall clock was set meanwhile
        ((0, 9 * LAG_S), (120, 120), (180, 180)),  # it was wrong at first
        ((1800, 0), (1800, 360), (1800, 600)),  # agent time stands still until the wall clock has caught up
        ((1800, 0), (1800, 360), (2000, 2000)),  # and has
        ((0, 0), (-30, 60), (10, 100)),  # a power cut put agent time back
    ],
)
def test_lines_of_before_a_delete_stay_out_however_the_clocks_are_apart(
    apart: Apart, looked: tuple[int, int], deleted: tuple[int, int], later: tuple[int, int]
) -> None:
    apart.at("taken", agent_s=looked[0], wall_s=looked[1])
    apart.look()
    apart.at("before it", agent_s=deleted[0], wall_s=deleted[1])
    apart.delete()
    apart.at(agent_s=later[0], wall_s=later[1])
    apart.look()
    apart.at("behind it", agent_s=later[0] + 60, wall_s=later[1] + 60)
    apart.look_after_a_restart()
    assert apart.sealed() == [line("taken"), line("behind it")]


def test_lines_behind_a_delete_are_taken_also_while_our_clock_stands_still(apart: Apart) -> None:
    for wall_s in (0, 60):
        apart.at(f"before it {wall_s}", agent_s=1800, wall_s=wall_s, trusted=True)
        apart.look()
    apart.delete()
    for wall_s in (120, 180):
        apart.at(f"behind it {wall_s}", agent_s=1800, wall_s=wall_s, trusted=True)
        apart.look()
    assert apart.sealed()[2:] == [line("behind it 180")]


@pytest.mark.parametrize("later_s", [600, 3600])
def test_delete_of_the_last_minutes_covers_lines_also_where_our_clock_was_ahead(apart: Apart, later_s: int) -> None:
    apart.at("taken", agent_s=1800, wall_s=0, trusted=True)
    apart.look()
    apart.at("in the minutes", agent_s=1800, wall_s=60, trusted=True)
    apart.at(agent_s=1800, wall_s=120, trusted=True)
    minutes = [rfc3339_ms(LATER.agent_ms + seconds * 1000) for seconds in (30, 90)]
    apart.delete(Selection(from_=minutes[0], to=minutes[1]))
    apart.at(agent_s=max(1800, later_s), wall_s=later_s, trusted=True)
    apart.look()
    assert apart.sealed() == [line("taken")]


@pytest.mark.parametrize(("from_s", "is_taken"), [(61, False), (63, True)])
@pytest.mark.parametrize("is_known", [False, True])
def test_delete_from_the_second_of_a_last_change_covers_it_also_where_that_is_told_in_steps_of_two(
    apart: Apart, from_s: int, *, is_known: bool, is_taken: bool
) -> None:
    if is_known:
        apart.at("taken", agent_s=0, wall_s=0, trusted=True)
        apart.look()
    apart.at("a line", agent_s=60, wall_s=60, trusted=True)
    apart.at(agent_s=120, wall_s=120, trusted=True)
    apart.delete(Selection(from_=rfc3339_ms(LATER.agent_ms + from_s * 1000)))
    apart.look()
    assert (line("a line") in apart.sealed()) is is_taken


def test_delete_that_comes_while_lines_are_sealed_covers_them_while_our_clock_lags(
    apart: Apart, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart.at("before it", agent_s=0, wall_s=LAG_S)
    apart.look()
    apart.delete()
    apart.at("perhaps behind it", agent_s=60, wall_s=LAG_S + 60)
    apart.look()
    apart.at("before another", agent_s=120, wall_s=LAG_S + 120)
    with monkeypatch.context() as patched:
        sealing_meets(patched, lambda: apart.home.index.write_now(cut_off(apart.home.now)))
        apart.look()
    assert apart.sealed() == [line("before it")]


def test_lines_behind_a_look_are_no_former_owners_whatever_the_clocks_say(apart: Apart) -> None:
    late = Former(
        salt=bytes(32),
        cutoffs=((former._tag(bytes(32), "source", "spool"), LATER.agent_ms + LAG_S * 1000),),
    )
    apart.home.index.write_now(lambda tx: former.keep(tx, late))
    apart.at("perhaps theirs", agent_s=0, wall_s=LAG_S - 60)
    apart.look()
    apart.at("not theirs", agent_s=60, wall_s=LAG_S + 60)
    apart.look()
    assert apart.sealed() == [line("not theirs")]


@pytest.mark.parametrize(
    ("changed_s", "deleted_s", "is_destroyed"),
    [(-3, (0, 0), True), (-2, (0, 0), False), (600, (1800, 0), False), (-3, (1800, 0), True), (-3, (-LAG_S, 0), True)],
    ids=["before it", "by the steps of FAT", "our clock is ahead", "ahead, before it", "our clock lags"],
)
def test_log_that_is_ours_is_destroyed_only_where_its_last_change_is_surely_before_the_delete(
    apart: Apart, changed_s: int, deleted_s: tuple[int, int], *, is_destroyed: bool
) -> None:
    # FAT rounds a last change down to two seconds; a cut-off lies where the clock was that was ahead.
    apart.path = apart.path.with_name(Path(OURS).name)
    apart.at("a line", agent_s=-60, wall_s=changed_s)
    apart.at(agent_s=deleted_s[0], wall_s=deleted_s[1])
    apart.delete()
    apart.at(agent_s=7200, wall_s=7200)
    apart.look(after="take")
    assert apart.sealed() == []
    assert (apart.home.left() == []) is is_destroyed


def named(apart: Apart, begun_s: int) -> None:
    """Have the log tell by its name when it was begun."""
    begun = dt.datetime.fromtimestamp(LATER.agent_ms / 1000 + begun_s, tz=dt.UTC)
    apart.path = apart.path.with_name(begun.strftime("%Y-%m-%dT%H-%M-%S.000Z.jsonl"))


def test_log_of_which_nothing_comes_for_long_behind_a_delete_is_taken_from_its_next_line_on(apart: Apart) -> None:
    # As it looked it was known, so the look from before the delete stood, and what came next was perhaps before that.
    apart.at("before it", agent_s=0, wall_s=0, trusted=True)
    apart.look()
    apart.at(agent_s=120, wall_s=120, trusted=True)
    apart.delete()
    for seconds in (180, 3600):
        apart.at(agent_s=seconds, wall_s=seconds, trusted=True)
        apart.look_after_a_restart()
    apart.at("a day later", agent_s=86_400, wall_s=86_400, trusted=True)
    apart.look()
    assert apart.sealed() == [line("before it"), line("a day later")]


def test_lines_of_before_a_delete_stay_out_where_the_wall_clock_is_set_back_once_more(apart: Apart) -> None:
    apart.at("taken", agent_s=1800, wall_s=600, trusted=True)
    apart.look()
    apart.at("before it", agent_s=1800, wall_s=50, trusted=True)
    apart.at(agent_s=1800, wall_s=100, trusted=True)
    apart.delete()
    apart.at(agent_s=1800, wall_s=160, trusted=True)
    apart.look()
    assert apart.sealed() == [line("taken")]


def test_log_that_is_ours_is_left_also_where_a_delete_of_before_its_last_line_comes_while_it_is_sealed(
    apart: Apart, monkeypatch: pytest.MonkeyPatch
) -> None:
    named(apart, -600)
    apart.at("before it", agent_s=-600, wall_s=-600)
    apart.at("behind it", agent_s=600, wall_s=600)
    apart.at(agent_s=700, wall_s=700)
    with monkeypatch.context() as patched:
        sealing_meets(patched, lambda: apart.home.index.write_now(cut_off(LATER)))
        apart.look(after="take")
    assert is_left_and_told(apart, str(apart.path.relative_to(apart.home.spool)))


@pytest.mark.parametrize("after", ["leave", "take"])
def test_delete_from_the_second_of_a_last_change_covers_also_a_log_whose_name_tells_only_its_beginning(
    apart: Apart, after: str
) -> None:
    named(apart, 0)
    apart.at("a line of second 61.9", agent_s=60, wall_s=60, trusted=True)
    apart.at(agent_s=120, wall_s=120, trusted=True)
    apart.delete(Selection(from_=rfc3339_ms(LATER.agent_ms + 61_000)))
    apart.look(after=after)
    assert apart.sealed() == []
    assert apart.home.left() != []
