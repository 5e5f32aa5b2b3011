"""A usage log that grows in a folder of which nothing is taken: each line is sealed once, and a deleted one is gone."""

import asyncio
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from agent import bookmark
from agent.clock import rfc3339_ms
from agent.ingest import growing
from agent.ingest.growing import PIECE_BYTES
from agent.model import Moment, Selection
from agent.sources import Candidate
from agent.sources.root import Root
from agent.sources.rotation import is_log, is_only_rotated, unrotated
from agent.sources.usage_log import LINES_MAX
from tests.ingest.test_ingest import NOW as LATER
from tests.ingest.test_ingest import erase

Home = Any  # the fixture's class; tests are no package
Until = Any  # likewise

LOG = "front/usage-log/camera.jsonl"
NAMED = "front/usage-log/2026-11-22T10-00-00.000Z.jsonl"


def line(word: object) -> bytes:
    return b'{"said":"%s"}\n' % str(word).encode()


def lines(words: Iterable[object]) -> bytes:
    return b"".join(map(line, words))


class Recorder:
    """A folder's log, and an agent that looks at it."""

    def __init__(self, home: Home, name: str = LOG) -> None:
        self.home = home
        self.path: Path = home.spool / name
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, *words: object) -> None:
        with self.path.open("ab") as log:
            log.write(lines(words))

    def look(self, **changes: object) -> None:
        self.home.scan(self.home.settings(**{"after": "leave", **changes}))

    def look_after_a_restart(self) -> None:
        self.home.reopen()
        self.look()

    def confirm_absences(self) -> None:
        self.home.confirm_absences(self.home.settings(after="leave"))

    def sealed(self) -> list[bytes]:
        """All lines in the vault, in the order of objects' arrival."""
        found = self.home.index.read_now(lambda tx: tx.execute("SELECT id FROM object ORDER BY n"))
        held = {item.id: item for item in self.home.objects()}
        return b"".join(self.home.opened(held[one]) for (one,) in found).splitlines(keepends=True)

    def delete_all_objects(self, cutoff: Selection | None = None) -> None:
        erase(self.home, *(item.id for item in self.home.objects()), cutoff=cutoff)
        self.home.reopen()  # in another event loop

    def rows(self) -> int:
        ((found,),) = self.home.index.read_now(lambda tx: tx.execute("SELECT count(*) FROM bookmark"))
        return int(found)


@pytest.fixture
def recorder(home: Home) -> Recorder:
    return Recorder(home)


def test_only_new_lines_are_sealed_and_deleted_ones_do_not_return(recorder: Recorder) -> None:
    # The log was sealed whole at each change, and what was deleted of it came back with the next line.
    recorder.write(1, 2)
    recorder.look()
    recorder.write(3)
    recorder.look()
    assert recorder.sealed() == [line(1), line(2), line(3)]
    assert sorted(map(recorder.home.opened, recorder.home.objects())) == [line(1) + line(2), line(3)]
    recorder.delete_all_objects()
    recorder.write(4)
    recorder.look()
    recorder.look_after_a_restart()
    assert recorder.sealed() == [line(4)]
    assert recorder.home.left() == [LOG]


def test_log_that_nobody_wrote_to_is_not_opened_again(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder.write(1)
    recorder.look()
    recorder.delete_all_objects()
    read: list[object] = []
    monkeypatch.setattr(Root, "open_log", lambda _root, candidate: read.append(candidate))
    recorder.look_after_a_restart()
    assert read == []


def test_log_that_is_always_open_is_taken_up_to_its_last_whole_line(recorder: Recorder) -> None:
    with recorder.path.open("ab", buffering=0) as writer:
        writer.write(line(1) + b'{"half":')
        recorder.look()
        assert recorder.sealed() == [line(1)]
        writer.write(b'"done"}\n')
        recorder.look()
        assert recorder.sealed() == [line(1), b'{"half":"done"}\n']
        assert recorder.home.reasons("later") == []


def test_open_log_in_a_folder_that_is_emptied_stays_until_it_is_closed(recorder: Recorder) -> None:
    with recorder.path.open("ab", buffering=0) as writer:
        writer.write(line(1))
        recorder.look(after="take")
        assert recorder.home.objects() == ()
        assert recorder.home.left() == [LOG]
    recorder.look(after="take")
    assert recorder.sealed() == [line(1)]
    assert recorder.home.left() == []


def test_last_line_without_its_end_is_taken_if_it_is_whole_and_once(recorder: Recorder) -> None:
    recorder.path.write_bytes(line(1) + line(2).rstrip())
    recorder.look()
    assert recorder.sealed() == [line(1), line(2)]
    with recorder.path.open("ab") as log:
        log.write(b"\n")
    recorder.look()
    recorder.write(3)
    recorder.look()
    assert [one for one in recorder.sealed() if one.strip()] == [line(1), line(2), line(3)]


def test_same_line_again_is_new_also_when_it_was_deleted(recorder: Recorder) -> None:
    recorder.write("begin")
    recorder.look()
    recorder.write("motion")
    recorder.look()
    recorder.delete_all_objects()
    recorder.write("motion")
    recorder.look()
    assert recorder.sealed() == [line("motion")]


Rotate = Callable[[Recorder, str], None]


def rename(recorder: Recorder, to: str) -> None:
    recorder.path.rename(recorder.path.with_name(to))


def copy_and_cut(recorder: Recorder, to: str) -> None:
    recorder.path.with_name(to).write_bytes(recorder.path.read_bytes())
    os.truncate(recorder.path, 0)


@pytest.mark.parametrize("rotate", [rename, copy_and_cut])
@pytest.mark.parametrize(
    "name",
    [
        "camera.jsonl.1", "camera.1.jsonl", "camera.jsonl-20261122", "camera-20261122.jsonl",
        "camera.jsonl.2026-11-22", "camera.jsonl.2026-11-22_10-30-00", "camera-2026-11-22.jsonl",
    ],
)  # fmt: skip
def test_rotated_log_is_taken_to_its_end_and_nothing_of_it_twice(recorder: Recorder, rotate: Rotate, name: str) -> None:
    recorder.write(1, 2)
    recorder.look()
    recorder.delete_all_objects()
    recorder.write("between reading and rotating")
    rotate(recorder, name)
    recorder.write("new log")
    recorder.look()
    assert sorted(recorder.sealed()) == sorted([line("between reading and rotating"), line("new log")])
    recorder.delete_all_objects()
    recorder.look_after_a_restart()
    recorder.write("newer")
    recorder.look()
    assert recorder.sealed() == [line("newer")]


@pytest.mark.parametrize("rotate", [rename, copy_and_cut])
def test_many_rotations_leave_nothing_deleted_to_return_and_no_line_out(recorder: Recorder, rotate: Rotate) -> None:
    wanted = []
    for day in range(6):
        recorder.write(f"{day} early")
        recorder.look()
        recorder.delete_all_objects()
        recorder.write(f"{day} late")
        for older in range(4, 0, -1):
            one = recorder.path.with_name(f"camera.jsonl.{older}")
            if one.exists():
                one.rename(one.with_name(f"camera.jsonl.{older + 1}"))
        rotate(recorder, "camera.jsonl.1")
        recorder.write(f"{day} after")
        recorder.look_after_a_restart()
        wanted = [line(f"{day} late"), line(f"{day} after")]
        assert sorted(recorder.sealed()) == sorted(wanted)
        recorder.delete_all_objects()
    assert recorder.rows() <= 2 * 6


def rotated_before(recorder: Recorder, count: int, *words: str) -> None:
    for day in range(count):
        content = lines((*words, *(f"{day:03} {number:03}" for number in range(20))))
        recorder.path.with_name(f"camera-2026{day:04}.jsonl").write_bytes(content)
    recorder.look()


@pytest.mark.parametrize("begin", ["begin", ""], ids=["alike", "not alike"])
def test_log_of_which_more_is_kept_than_is_tried_brings_nothing_back_and_goes_on(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, begin: str
) -> None:
    # The longest of all were tried, which were the rotated ones: what the log itself was known by never was.
    monkeypatch.setattr(bookmark, "RELATED_MAX", 4)
    words = [begin] if begin else []
    rotated_before(recorder, 6, *words)
    recorder.write(*words, "deleted")
    recorder.look()
    recorder.delete_all_objects()
    recorder.write("new 1")
    recorder.look()
    recorder.write("new 2")
    rename(recorder, "camera-20261122.jsonl")
    recorder.look_after_a_restart()
    assert recorder.sealed() == [line("new 1"), line("new 2")]


@pytest.mark.parametrize("kept", [100, 98], ids=["whole", "cut"])
def test_copy_of_one_of_more_alike_logs_than_are_tried_brings_nothing_back(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    monkeypatch.setattr(bookmark, "RELATED_MAX", 4)
    for day in range(6):
        content = lines(("begin", *(f"{day} {number:0100}" for number in range(99 + 20 * day))))
        recorder.path.with_name(f"{day}.jsonl").write_bytes(content)
    recorder.look()
    recorder.delete_all_objects()
    copied = recorder.path.with_name("0.jsonl").read_bytes().splitlines(keepends=True)
    recorder.path.with_name("of the summer.jsonl").write_bytes(b"".join(copied[:kept]) + line("new"))
    recorder.look()
    assert recorder.sealed() == [line("new")]


def test_log_that_was_renamed_to_anything_is_known_by_its_file(recorder: Recorder) -> None:
    recorder.write(1, 2)
    recorder.look()
    recorder.delete_all_objects()
    recorder.write(3)
    rename(recorder, "of the summer.jsonl")
    recorder.look()
    assert recorder.sealed() == [line(3)]


def test_copy_that_is_met_after_the_cut_log_was_taken_anew_is_taken_to_its_end(recorder: Recorder) -> None:
    recorder.write(1)
    recorder.look()
    recorder.delete_all_objects()
    recorder.write(2)
    copy_and_cut(recorder, "camera.1.jsonl")
    copy = recorder.path.with_name("camera.1.jsonl")
    aside = copy.rename(recorder.home.top / "aside")
    recorder.write(3)
    recorder.look()
    aside.rename(copy)
    recorder.look()
    assert recorder.sealed() == [line(3), line(2)]


def test_copy_that_was_not_cut_yet_is_sealed_once(recorder: Recorder) -> None:
    recorder.write(1)
    recorder.look()
    recorder.write(2)
    recorder.path.with_name("camera.jsonl.1").write_bytes(recorder.path.read_bytes())
    whole = recorder.path.rename(recorder.home.top / "aside")  # the copy is met first
    recorder.look()
    recorder.delete_all_objects()
    whole.rename(recorder.path)
    recorder.look()
    assert recorder.sealed() == []


def test_rotated_file_of_no_known_log_is_not_read_as_a_log(recorder: Recorder) -> None:
    recorder.write(1)
    recorder.look()
    recorder.path.with_name("camera.jsonl.1").write_bytes(line("of before"))
    recorder.path.with_name("other.jsonl.7").write_bytes(line("of another"))
    recorder.look()
    assert recorder.sealed() == [line(1)]


@pytest.mark.parametrize("content", [lines(("new", "log")), line("new") * 50])
def test_log_that_took_the_place_of_another_is_a_new_log(recorder: Recorder, content: bytes) -> None:
    recorder.write(1, 2, 3)
    recorder.look()
    recorder.path.unlink()
    recorder.path.write_bytes(content)
    recorder.look()
    assert b"".join(recorder.sealed()) == lines((1, 2, 3)) + content


def test_log_that_begins_alike_and_is_longer_is_a_new_log(recorder: Recorder) -> None:
    recorder.write("begin", 1)
    recorder.look()
    os.truncate(recorder.path, 0)
    recorder.write("begin", 2, 3)
    recorder.look()
    assert recorder.sealed() == [*map(line, ("begin", 1)), *map(line, ("begin", 2, 3))]


def test_log_that_was_cut_and_begins_alike_is_a_new_log_once_it_rests(recorder: Recorder) -> None:
    recorder.write("begin", 1, 2)
    recorder.look()
    os.truncate(recorder.path, 0)
    recorder.write("begin", 3)
    recorder.look()
    assert recorder.sealed() == [*map(line, ("begin", 1, 2)), *map(line, ("begin", 3))]


def test_log_that_is_being_written_anew_when_it_is_read_brings_nothing_back(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As ``cp`` does it: the file is cut, and its lines come back one by one.
    recorder.write(*range(5))
    recorder.look()
    recorder.delete_all_objects()
    content = recorder.path.read_bytes()
    recorder.write("more")
    open_log = Root.open_log

    def opened_half_way(root: Root, candidate: Candidate) -> int:
        recorder.path.write_bytes(content[: len(line(0)) * 2])
        return open_log(root, candidate)

    monkeypatch.setattr(Root, "open_log", opened_half_way)
    recorder.look()
    assert recorder.sealed() == []
    monkeypatch.undo()
    recorder.path.write_bytes(content + line("more"))
    recorder.look()
    assert recorder.sealed() == [line("more")]


def taken_in_pieces(recorder: Recorder, *, lines_each: int = 50) -> None:
    for first in range(0, 5 * lines_each, lines_each):
        recorder.write(*range(first, first + lines_each))
        recorder.look()
    recorder.delete_all_objects()
    assert recorder.sealed() == []


@pytest.mark.parametrize("new", [(), ("new",), tuple(f"new {n}" for n in range(9))], ids=["shorter", "short", "longer"])
def test_log_that_lost_its_end_goes_on_behind_what_is_left(recorder: Recorder, new: tuple[str, ...]) -> None:
    taken_in_pieces(recorder)
    os.truncate(recorder.path, recorder.path.stat().st_size - 3 * len(line(249)))
    recorder.write(*new)
    recorder.look_after_a_restart()
    assert recorder.sealed() == [line(one) for one in new]


@pytest.mark.parametrize("after", ["leave", "take"])
@pytest.mark.parametrize("lost", [1, 3])
def test_log_that_lost_its_end_and_begins_as_an_older_one_ended_brings_nothing_back(
    recorder: Recorder, after: str, lost: int
) -> None:
    # The older one's bookmark, which fitted still, was asked alone: all behind it was taken once more.
    begin = "camera 7", "format 2"
    recorder.write(*begin)
    recorder.look()
    rename(recorder, "camera.jsonl.1")
    recorder.write(*begin, "a", "secret", "b", "c", "d")
    recorder.look()
    recorder.delete_all_objects()
    os.truncate(recorder.path, recorder.path.stat().st_size - lost * len(line("d")))
    recorder.write("new 1", "new 2")
    recorder.look(after=after)
    assert recorder.sealed() == [line("new 1"), line("new 2")]


@pytest.mark.parametrize("turn", [rename, copy_and_cut])
@pytest.mark.parametrize("looks", ["boot|a|b|c", "boot|a b c", "boot|a b c d|e"])
def test_log_that_says_again_what_an_older_one_said_is_taken(
    recorder: Recorder, turn: Callable[[Recorder, str], None], looks: str
) -> None:
    # The older one's lines are longer than what was taken of this file, and counted as taken of it.
    recorder.write("boot", "a", "b", "c")
    recorder.look()
    turn(recorder, "camera.jsonl.1")
    recorder.look()
    for words in looks.split("|"):
        recorder.write(*words.split())
        recorder.look()
    assert recorder.sealed()[4:] == [*map(line, looks.replace("|", " ").split())]


def beside(recorder: Recorder) -> Path:
    return recorder.path.with_name("put back.jsonl")


def anew(recorder: Recorder) -> Path:
    recorder.path.rename(recorder.home.spool.parent / "aside.jsonl")
    return recorder.path


def in_place(recorder: Recorder) -> Path:
    os.truncate(recorder.path, 0)
    return recorder.path


@pytest.mark.parametrize(
    ("where", "count", "at"),
    [(beside, 300, 25), (anew, 8, 2), (anew, 100, 25), (anew, 300, 25), (in_place, 8, 2), (in_place, 100, 20)],
)
def test_log_that_is_put_back_slower_than_it_is_looked_at_brings_nothing_back(
    recorder: Recorder, where: Callable[[Recorder], Path], count: int, at: int
) -> None:
    # The first part got a bookmark of its own, and what was behind that was new.
    each = [line("begin"), *(line(f"{number:060}") for number in range(count))]
    recorder.path.write_bytes(b"".join(each))
    recorder.look()
    recorder.delete_all_objects()
    target = where(recorder)
    for part in (each[: -2 * at], each[-2 * at : -at], each[-at:], [line("new")]):
        with target.open("ab") as log:
            log.write(b"".join(part))
        recorder.look()
        recorder.look()
    assert recorder.sealed() == [line("new")]


@pytest.mark.parametrize("between", [(), ("new",)])
def test_older_copy_without_its_end_that_is_written_over_a_log_that_lost_more_brings_nothing_back(
    recorder: Recorder, between: tuple[str, ...]
) -> None:
    each = [line(f"{number:060}") for number in range(100)]
    recorder.path.write_bytes(b"".join(each))
    recorder.look()
    recorder.delete_all_objects()
    os.truncate(recorder.path, len(b"".join(each[:60])))
    recorder.write(*between)
    recorder.look()
    with recorder.path.open("r+b") as log:
        log.write(b"".join(each[:90]))
        log.truncate()
    recorder.look()
    recorder.look()
    assert recorder.sealed() == [*map(line, between)]


def test_older_copy_of_a_log_that_was_taken_at_once_brings_back_no_more_than_a_few_lines_before_its_end(
    recorder: Recorder,
) -> None:
    # Only the ends of its last lines were known, and the copy ends before them.
    each = [line(f"{number:060}") for number in range(1000)]
    recorder.path.write_bytes(b"".join(each))
    recorder.look()
    recorder.delete_all_objects()
    anew(recorder).write_bytes(b"".join(each[:200]))
    recorder.look()
    recorder.look()
    back = recorder.sealed()
    assert len(back) <= 1000 / bookmark.EARLIER_ENDS
    assert back == each[200 - len(back) : 200]


def test_log_is_known_by_its_own_bookmark_however_many_longer_ones_stood_at_its_path(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(bookmark, "RELATED_MAX", 4)
    (tmp_path / "aside").mkdir()
    for turn in range(6):
        recorder.write(f"{turn} begin", *(f"{turn} {number}" for number in range(5)))
        recorder.look()
        recorder.path.rename(tmp_path / "aside" / str(turn))  # compressed, or sent away
    recorder.write("x begin", "secret")
    recorder.look()
    recorder.delete_all_objects()
    recorder.write("new")
    recorder.look()
    assert recorder.sealed() == [line("new")]


def test_copy_that_was_cut_is_known_though_more_alike_ones_fit_than_are_tried(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bookmark, "RELATED_MAX", 4)
    for day in range(8):
        content = lines(("begin", *(f"{day:03} {number:0100}" for number in range(40 + day))))
        recorder.path.with_name(f"log{day}x.jsonl").write_bytes(content)
    recorder.look()
    recorder.delete_all_objects()
    kept = recorder.path.with_name("log7x.jsonl").read_bytes().splitlines(keepends=True)[:-2]
    recorder.path.with_name("put back.jsonl").write_bytes(b"".join(kept) + line("new"))
    recorder.look()
    assert recorder.sealed() == [line("new")]


def test_log_whose_last_line_became_zeros_goes_on_behind_them(recorder: Recorder) -> None:
    taken_in_pieces(recorder)
    with recorder.path.open("r+b") as file:
        file.seek(-5, os.SEEK_END)
        file.write(bytes(5))
    recorder.write("new")
    recorder.look_after_a_restart()
    (whole,) = recorder.sealed()  # what was a line is none any more, and has no end
    assert whole.endswith(bytes(5) + line("new"))


def test_log_that_lost_its_end_is_held_once(recorder: Recorder) -> None:
    recorder.write(*range(100))
    recorder.look()
    os.truncate(recorder.path, recorder.path.stat().st_size - len(line(99)))
    recorder.write("new")
    recorder.look()
    assert recorder.sealed() == [*map(line, range(100)), line("new")]


def test_copy_that_stopped_half_way_brings_nothing_back(recorder: Recorder) -> None:
    taken_in_pieces(recorder)
    copy = recorder.path.with_name("camera-20261122.jsonl")
    copy.write_bytes(recorder.path.read_bytes()[: len(lines(range(100)))])
    recorder.look()
    assert recorder.sealed() == []


@pytest.mark.parametrize("name", ["front/usage-log/of the summer.jsonl", "back/usage-log/camera.jsonl"])
@pytest.mark.parametrize("kept", [500, 480], ids=["whole", "cut"])
def test_copy_under_any_name_brings_nothing_back_and_goes_on(recorder: Recorder, name: str, kept: int) -> None:
    # It was taken for a new log wherever the log had been taken in more than one piece.
    taken_in_pieces(recorder, lines_each=100)
    copy = recorder.home.spool / name
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_bytes(recorder.path.read_bytes()[: len(lines(range(kept)))])
    recorder.look()
    assert recorder.sealed() == []
    with copy.open("ab") as log:
        log.write(line("new"))
    recorder.look_after_a_restart()
    assert recorder.sealed() == [line("new")]


def test_copy_that_is_met_once_its_folder_is_ours_brings_nothing_back(recorder: Recorder) -> None:
    taken_in_pieces(recorder, lines_each=100)
    recorder.path.with_name("of the summer.jsonl").write_bytes(recorder.path.read_bytes() + line("new"))
    recorder.look(after="take")
    assert recorder.sealed() == [line("new")]
    assert recorder.home.left() == []


@pytest.mark.parametrize("words", [("begin", 1), ("begin", *range(1000))], ids=["few lines", "others behind them"])
def test_another_log_that_begins_alike_is_taken_whole(recorder: Recorder, words: tuple[object, ...]) -> None:
    recorder.write("begin", 1)
    recorder.look()
    recorder.write(*(f"other {number}" for number in range(1000)) if len(words) > 2 else ())
    recorder.look()
    before = recorder.sealed()
    recorder.path.with_name("another.jsonl").write_bytes(lines(words) + line("end"))
    recorder.look()
    assert recorder.sealed() == [*before, *map(line, words), line("end")]


@pytest.mark.parametrize("cuts", [4, 5])
def test_copy_of_a_log_that_was_cut_many_times_since_brings_nothing_back(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, cuts: int
) -> None:
    # The third cut took the bookmark away by which the copy of the first was known.
    known = 5
    monkeypatch.setattr(bookmark, "LONG_OF_ONE_FILE", known)
    archive = recorder.home.top / "archive"
    for day in range(cuts + 1):
        for half in ("morning", "evening"):
            recorder.write(*(f"{day} {half} {number:04}" for number in range(100)))
            recorder.look()
        if not archive.exists():
            shutil.copy2(recorder.path, archive)
        os.truncate(recorder.path, 0)
        recorder.look()
    recorder.delete_all_objects()
    shutil.copy2(archive, recorder.path.with_name("of the summer.jsonl"))
    recorder.look()
    assert len(recorder.sealed()) == (0 if cuts < known else 200), "a bound that is met forgets the oldest"
    assert recorder.rows() <= known + 2


def test_older_copy_that_is_put_back_and_then_the_newer_one_bring_nothing_back(recorder: Recorder) -> None:
    taken_in_pieces(recorder)
    newer = recorder.path.read_bytes()
    recorder.path.write_bytes(lines(range(210)))
    recorder.look()
    recorder.path.write_bytes(newer + line("new"))
    recorder.look()
    assert recorder.sealed() == [line("new")]


def test_log_that_lost_more_than_its_last_lines_goes_on_behind_an_earlier_piece(recorder: Recorder) -> None:
    taken_in_pieces(recorder, lines_each=400)
    os.truncate(recorder.path, len(lines(range(900))))
    recorder.look()
    again = recorder.sealed()
    assert len(again) <= 100 + bookmark.LAST_LINES  # the last lines of the piece before were known, some still are
    assert again == [line(n) for n in range(900)][-len(again) :]


def test_ends_that_a_bookmark_knows_are_bounded_and_the_last_lines_are_among_them() -> None:
    marks = b""
    for first in range(0, 10_000, 100):
        marks = bookmark.with_ends(marks, [(at, at.to_bytes(16)) for at in range(first, first + 100)])
    known = [at for at, _ in bookmark.earlier_ends(marks)]
    assert len(known) <= bookmark.LAST_LINES + bookmark.EARLIER_ENDS
    assert known[: bookmark.LAST_LINES] == list(range(9_999, 9_999 - bookmark.LAST_LINES, -1))
    assert min(known) < 5_000


def test_log_that_was_saved_anew_under_its_name_goes_on(recorder: Recorder) -> None:
    recorder.write(1, 2)
    recorder.look()
    recorder.delete_all_objects()
    fresh = recorder.path.with_name("camera.jsonl.tmp")
    fresh.write_bytes(recorder.path.read_bytes() + line(3))
    fresh.rename(recorder.path)
    recorder.look()
    assert recorder.sealed() == [line(3)]


def test_large_log_is_read_in_pieces_and_no_line_is_left_out(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    pread = os.pread

    def watched(fd: int, count: int, start: int) -> bytes:
        part = pread(fd, count, start)
        read.append(len(part))
        return part

    monkeypatch.setattr("agent.ingest.growing.os.pread", watched)
    content = lines("x" * 1000 + str(n) for n in range(10_000))
    assert len(content) > 2 * PIECE_BYTES
    recorder.path.write_bytes(content)
    recorder.look()
    assert b"".join(recorder.sealed()) == content
    assert max(read) <= PIECE_BYTES
    recorder.delete_all_objects()
    recorder.write("last")
    recorder.look()
    assert recorder.sealed() == [line("last")]


def test_log_of_very_many_short_lines_is_taken_in_parts(recorder: Recorder) -> None:
    recorder.path.write_bytes(b"{}\n" * (LINES_MAX + 5))
    recorder.look()
    assert recorder.sealed() == [b"{}\n"] * (LINES_MAX + 5)
    assert len(recorder.home.objects()) == 2


def test_line_longer_than_a_piece_is_bad_and_keeps_nothing_behind_it(recorder: Recorder) -> None:
    recorder.write(1)
    recorder.look()
    with recorder.path.open("ab") as log:
        log.write(b"x" * (PIECE_BYTES + 10) + b"\n" + line(2))
    recorder.look()
    assert recorder.sealed()[0] == line(1)
    assert recorder.sealed()[-1] == line(2)
    assert b"".join(recorder.sealed()).count(b"x") == PIECE_BYTES + 10


def test_new_file_without_a_good_line_is_no_log_and_a_bad_line_of_a_known_one_is_kept(recorder: Recorder) -> None:
    recorder.path.write_bytes(b"no log\n")
    recorder.look()
    assert recorder.home.reasons("unreadable") == ["it holds no line that is a JSON object"]
    recorder.write(1)
    recorder.look()
    with recorder.path.open("ab") as log:
        log.write(b"Traceback\n")
    recorder.look()
    assert recorder.sealed() == [b"no log\n", line(1), b"Traceback\n"]


def test_cut_off_covers_what_was_written_before_it_and_nothing_that_comes_later(home: Home) -> None:
    # By its name the log began before the delete, so that none of its later lines was ever taken.
    recorder = Recorder(home, NAMED)
    deleted_ms = LATER.agent_ms  # as ``erase`` has it

    def at(seconds: int) -> None:
        """Let it be so long after the delete, also by the log's own time."""
        ms = deleted_ms + seconds * 1000
        home.now = Moment(agent_ms=ms, wall_ms=ms, trusted=True)
        os.utime(recorder.path, (ms // 1000, ms // 1000))

    recorder.write("read before it")
    at(-60)
    recorder.look()
    recorder.delete_all_objects(cutoff=Selection(all=True))
    recorder.write("not known to be of after it")
    at(10)
    recorder.look()
    assert recorder.sealed() == []
    assert home.reasons("deleted_before") == ["the source's copy remains"]
    recorder.write("after it")
    at(20)
    recorder.look_after_a_restart()
    assert recorder.sealed() == [line("after it")]
    (item,) = home.objects()
    assert (item.captured_from_ms, item.captured_to_ms) == (deleted_ms + 10_000, deleted_ms + 20_000)
    assert len(home.reasons("deleted_before")) == 1


class Clocked(Recorder):
    """A recorder whose files are born, and changed, by the clock of the test: seconds from a delete of everything."""

    def __init__(self, home: Home, name: str = LOG, *, born_s: float | None) -> None:
        super().__init__(home, name)
        self.born_s = born_s

    def at(self, seconds: int, *words: object) -> None:
        """Let it be so long after the delete, and have something written."""
        ms = LATER.agent_ms + seconds * 1000
        self.home.now = Moment(agent_ms=ms, wall_ms=ms, trusted=True)
        if words:
            self.write(*words)
            os.utime(self.path, (ms // 1000, ms // 1000))

    def born_ms(self, _fd: int) -> int | None:
        return None if self.born_s is None else LATER.agent_ms + round(self.born_s * 1000)


@pytest.fixture
def clocked(home: Home, monkeypatch: pytest.MonkeyPatch) -> Clocked:
    recorder = Clocked(home, born_s=-60)
    monkeypatch.setattr(growing, "born_ms", recorder.born_ms)
    return recorder


def delete_everything(clocked: Clocked) -> None:
    """As an owner's command does it at the zero of the recorder's clock, of nothing at all."""
    clocked.at(0)
    clocked.delete_all_objects(cutoff=Selection(all=True))


@pytest.mark.parametrize(
    ("born_s", "told"),
    [(-60, {"deleted_before": ["the source's copy remains"]}), (None, {"refused": ["before_mark"]})],
    ids=["older than the delete", "nobody knows how old"],
)
def test_lines_of_before_a_delete_stay_out_also_where_their_log_was_not_known(
    clocked: Clocked, born_s: float | None, told: dict[str, list[str]]
) -> None:
    # What was there when everything was deleted was captured when the log was changed last, and that is behind it.
    clocked.born_s = born_s
    clocked.at(-50, "before it")
    delete_everything(clocked)
    clocked.at(600, "not known to be of after it")
    clocked.look()
    assert clocked.sealed() == []
    assert {kind: clocked.home.reasons(kind) for kind in told} == told
    clocked.at(700, "after it")
    clocked.look_after_a_restart()
    assert clocked.sealed() == [line("after it")]


def test_log_that_begins_anew_behind_a_delete_as_the_deleted_one_did_is_taken(clocked: Clocked) -> None:
    # What fits was read behind the delete, and the deleted log's own bookmark, which reached further, before it. What
    # both say is not told from a copy that is being put back.
    header = "camera 7", "format 2", "locale en", "mode day"
    clocked.at(-3600, *header, "yesterday 1", "yesterday 2")
    clocked.look()
    delete_everything(clocked)
    os.truncate(clocked.path, 0)
    clocked.at(600, *header[:2])
    clocked.look()
    clocked.at(700)
    clocked.look()
    clocked.at(900, *header[2:], "new 1", "new 2")
    clocked.look()
    clocked.at(1000, "new 3")
    clocked.look()
    assert clocked.sealed()[-3:] == [*map(line, ("new 1", "new 2", "new 3"))]


def test_lines_that_nobody_had_looked_at_before_a_delete_stay_out_where_their_log_is_put_back_in_parts(
    clocked: Clocked,
) -> None:
    # The first part's bookmark is of behind the delete, and these lines are not.
    clocked.at(-60, *range(100))
    clocked.look()
    clocked.at(-10, "not looked at")
    delete_everything(clocked)
    each = clocked.path.read_bytes().splitlines(keepends=True)
    anew(clocked)
    for seconds, part in ((600, each[:60]), (700, each[60:]), (800, [line("new")])):
        with clocked.path.open("ab") as log:
            log.write(b"".join(part))
        clocked.at(seconds)
        os.utime(clocked.path, ns=(clocked.home.now.wall_ms * 1_000_000,) * 2)
        clocked.look()
    assert clocked.sealed() == [line("new")]


def test_log_that_is_cut_each_day_and_begins_alike_goes_on_from_the_day_before_and_not_from_before_a_delete(
    clocked: Clocked,
) -> None:
    banner = "camera 7", "format 2"
    clocked.at(-60, *banner, "first")
    clocked.look()
    clocked.at(-50, *(f"before it {number:0100}" for number in range(100)))  # long: it is known for a month
    clocked.look()
    delete_everything(clocked)
    for day in range(1, 4):
        os.truncate(clocked.path, 0)
        clocked.at(day * 86_400, *banner, f"morning {day}")
        clocked.look()
        clocked.at(day * 86_400 + 600, f"noon {day}")
        clocked.look()
    # Behind a delete the first piece is passed over once: it may have been written since the look before.
    told = b"".join(clocked.sealed()).decode()
    assert [word for word in ("morning 1", "noon 1", "morning 2", "noon 2", "morning 3", "noon 3") if word in told] == [
        "noon 1", "morning 2", "noon 2", "morning 3", "noon 3",
    ]  # fmt: skip


def test_all_pieces_of_a_log_that_was_not_known_are_as_old_as_it_is(
    clocked: Clocked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growing, "LINES_MAX", 2)
    clocked.at(-50, *range(5))
    delete_everything(clocked)
    clocked.at(600, "not known to be of after it")
    clocked.look()
    assert clocked.sealed() == []
    clocked.at(700, "after it")
    clocked.look()
    assert clocked.sealed() == [line("after it")]


def test_log_that_was_begun_behind_a_delete_is_taken_whole(clocked: Clocked) -> None:
    delete_everything(clocked)
    clocked.born_s = 10
    clocked.at(600, 1, 2)
    clocked.look()
    assert clocked.sealed() == [line(1), line(2)]


@pytest.mark.parametrize("born_s", [-60, None])
def test_log_that_is_cut_again_and_again_is_no_older_than_its_last_look(clocked: Clocked, born_s: float | None) -> None:
    # The file is as old as ever, or nobody knows how old: what is in it by now was written since.
    clocked.born_s = born_s
    clocked.at(-50, "before it")
    clocked.look()
    delete_everything(clocked)
    clocked.at(600, "passed over")
    clocked.look()
    os.truncate(clocked.path, 0)
    clocked.at(700, "cut", "after it")
    clocked.look()
    assert clocked.sealed() == [line("cut"), line("after it")]


def test_log_that_took_the_path_of_a_known_one_is_no_older_than_the_last_look(clocked: Clocked) -> None:
    clocked.born_s = None
    clocked.at(-50, "before it")
    clocked.look()
    delete_everything(clocked)
    clocked.at(600, "passed over")
    clocked.look()
    rename(clocked, "camera.jsonl.1")
    clocked.at(700, "new log")
    clocked.look()
    assert clocked.sealed() == [line("new log")]


@pytest.mark.parametrize("born_s", [-60, None])
def test_log_of_before_and_after_a_delete_is_not_destroyed_where_it_is_ours(
    clocked: Clocked, born_s: float | None
) -> None:
    # Where nobody knows when it was begun its last change counts: else nothing would be taken there any more.
    clocked.born_s = born_s
    clocked.at(-50, "before it")
    delete_everything(clocked)
    clocked.at(600, "after it")
    clocked.look(after="take")
    if born_s is None:
        assert clocked.sealed() == [line("before it"), line("after it")]
    else:
        assert clocked.sealed() == []
        assert clocked.home.left() == [LOG]
        assert clocked.home.reasons("refused") == ["before_mark"]
        assert clocked.home.reasons("deleted_before") == ["the source's copy remains"], "its owner is told"


OURS = f"front/usage-log/{rfc3339_ms(LATER.agent_ms - 60_000).replace(':', '-')}.jsonl"


def is_left_and_told(recorder: Recorder, name: str) -> bool:
    told = [recorder.home.reasons(kind) for kind in ("refused", "deleted_before")]
    return recorder.home.left() == [name] and told == [["before_mark"], ["the source's copy remains"]]


def nothing_is_taken_once_ours(clocked: Clocked, name: str, *, is_destroyed: bool) -> None:
    clocked.look(after="take")
    assert clocked.sealed() == []
    if is_destroyed:
        assert clocked.home.left() == []
    else:
        assert is_left_and_told(clocked, name)


@pytest.mark.parametrize("changed_s", [-50, 0, 600])
def test_log_whose_name_says_that_it_was_begun_before_a_delete_is_destroyed_only_if_nothing_was_written_behind_it(
    clocked: Clocked, changed_s: int
) -> None:
    # It was open while the delete came, and was destroyed unread with what was written behind that.
    clocked.path = clocked.path.with_name(Path(OURS).name)
    clocked.at(-50, "before it")
    delete_everything(clocked)
    if changed_s >= 0:
        clocked.at(changed_s, "after it")
    nothing_is_taken_once_ours(clocked, OURS, is_destroyed=changed_s < 0)


def test_recording_that_was_begun_before_a_delete_is_destroyed_also_where_it_ended_behind_it(home: Home) -> None:
    recording = Clocked(home, OURS.replace("usage-log", "recording").replace(".jsonl", ".mp4"), born_s=None)
    delete_everything(recording)
    recording.at(600, "a picture")
    recording.look(after="take")
    assert home.objects() == ()
    assert home.left() == []


@pytest.mark.parametrize("changed_s", [-10, 600])
def test_known_log_of_before_and_after_a_delete_is_not_destroyed_where_its_folder_becomes_ours(
    clocked: Clocked, changed_s: int
) -> None:
    # All behind its bookmark counts as of before the delete, for nobody looked since.
    clocked.at(-50, "before it")
    clocked.look()
    clocked.at(-10, "before it too")
    delete_everything(clocked)
    if changed_s > 0:
        clocked.at(changed_s, "after it")
    nothing_is_taken_once_ours(clocked, LOG, is_destroyed=changed_s < 0)


def test_folder_that_becomes_ours_brings_nothing_back_and_is_emptied(recorder: Recorder) -> None:
    recorder.write(1, 2)
    recorder.look()
    recorder.delete_all_objects()
    recorder.write(3)
    kept = recorder.home.top / "kept"
    shutil.copy2(recorder.path, kept)
    recorder.look(after="take")
    assert recorder.sealed() == [line(3)]
    assert recorder.home.left() == []
    shutil.copy2(kept, recorder.path)  # as if power failed before it was given up
    recorder.home.reopen()
    recorder.look(after="take")
    assert recorder.sealed() == [line(3)]
    assert recorder.home.left() == []


def test_log_that_was_taken_to_its_end_is_given_up_when_its_folder_becomes_ours(recorder: Recorder) -> None:
    recorder.write(1)
    recorder.look()
    recorder.write(2)
    recorder.look()
    before = recorder.home.objects()
    recorder.look(after="take")
    assert recorder.home.objects() == before
    assert recorder.home.left() == []
    recorder.write("another of the same name")
    recorder.look(after="take")
    assert recorder.sealed()[-1] == line("another of the same name")


def test_bookmark_goes_when_two_looks_found_neither_the_log_nor_its_path(recorder: Recorder) -> None:
    other = Recorder(recorder.home, "back/usage-log/camera.jsonl")
    recorder.write(1)
    other.write(2)
    recorder.look()
    assert recorder.rows() == 2
    aside = recorder.path.rename(recorder.home.top / "aside")
    recorder.confirm_absences()
    assert recorder.rows() == 2
    aside.rename(recorder.path)
    recorder.confirm_absences()  # it was back, and is there
    aside = recorder.path.rename(recorder.home.top / "aside")
    recorder.confirm_absences()
    assert recorder.rows() == 2
    recorder.confirm_absences()
    assert recorder.rows() == 1
    recorder.delete_all_objects()
    other.write(3)
    recorder.look()
    assert recorder.sealed() == [line(3)]


def test_folder_that_is_another_or_empty_takes_no_bookmark_away(recorder: Recorder) -> None:
    recorder.write(1)
    recorder.look()
    disk = recorder.home.spool.rename(recorder.home.top / "disk")
    other = recorder.home.put("front/recording/2026-11-22T10-15-00.000Z_10s.mp4", b"on another disk")
    for _ in range(2):
        recorder.confirm_absences()
    assert recorder.rows() == 1
    shutil.rmtree(other.parents[2])
    disk.rename(recorder.home.spool)
    (recorder.home.top / "aside").mkdir()
    recorder.path.rename(recorder.home.top / "aside" / "log")
    for _ in range(2):
        recorder.confirm_absences()
    assert recorder.rows() == 1


def test_log_above_the_limit_is_told_and_left_and_known_ones_go_on(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bookmark, "BOOKMARKS_MAX", 1)
    recorder.write(1)
    recorder.look()
    other = Recorder(recorder.home, "front/usage-log/other.jsonl")
    other.write("other")
    recorder.write(2)
    recorder.look()
    assert recorder.sealed() == [line(1), line(2)]
    assert recorder.home.reasons("unreadable") == ["more logs are there than can be known"]


def test_bookmark_tells_nothing_of_the_log(recorder: Recorder) -> None:
    recorder.write("at the garden gate")
    recorder.look()
    recorder.delete_all_objects(cutoff=Selection(all=True))
    rows = recorder.home.index.read_now(lambda tx: tx.execute("SELECT * FROM bookmark"))
    assert len(rows) == 1
    told = repr(rows).encode()
    for word in (b"front", b"camera", b"garden", b"said", str(recorder.path.stat().st_ino).encode()):
        assert word not in told


def test_running_agent_takes_what_an_open_log_gets(recorder: Recorder, until: Until) -> None:
    async def run() -> None:
        home = recorder.home
        flow = home.ingest(home.settings(after="leave", batch_age_s=0.1, rescan_s=0.2))
        try:
            with recorder.path.open("ab", buffering=0) as writer:
                async with asyncio.TaskGroup() as tasks:
                    running = tasks.create_task(flow.run())
                    for n in range(3):
                        writer.write(line(n))
                        await until(lambda n=n: len(home.objects()) == n + 1)
                    running.cancel()
        finally:
            flow.close()
            await home.sealers[-1].aclose()

    asyncio.run(run())
    assert recorder.sealed() == [line(0), line(1), line(2)]


@pytest.mark.parametrize(
    ("path", "base"),
    [
        ("a/x.jsonl", "a/x.jsonl"), ("a/x.jsonl.1", "a/x.jsonl"), ("a/x.1.jsonl", "a/x.jsonl"),
        ("a/x.ndjson-20261122", "a/x.ndjson"), ("a/x-20261122.jsonl", "a/x.jsonl"),
        ("a/x.jsonl.2026-11-22", "a/x.jsonl"), ("a/x-2026-11-22.jsonl", "a/x.jsonl"),
        ("a/x.jsonl.2026-11-22_10", "a/x.jsonl"), ("a/x.jsonl.2026-11-22_10-30-00", "a/x.jsonl"),
        ("a/x.jsonl-20261122-103000", "a/x.jsonl"), ("a/x-2026-11-22T10:30.jsonl", "a/x.jsonl"),
        ("a/x.jsonl-2026-W47", "a/x.jsonl-2026-W47"), ("a/x.jsonl.2026-11-22.gz", "a/x.jsonl.2026-11-22.gz"),
        ("a/x.jsonl.2.gz", "a/x.jsonl.2.gz"), ("a/x.mp4", "a/x.mp4"),
        ("2026-11-22T10-00-00.000Z.jsonl", "2026-11-22T10-00-00.000Z.jsonl"),
    ],
)  # fmt: skip
def test_name_before_a_rotation(path: str, base: str) -> None:
    assert unrotated(path) == base
    assert is_only_rotated(path) == (path != base and not path.endswith(".jsonl"))
    assert is_log(path) == (base.endswith((".jsonl", ".ndjson")))
