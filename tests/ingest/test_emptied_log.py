"""A usage log in a folder that is emptied: each line is sealed once, and a deleted one does not return."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agent import bookmark, tally
from agent.ingest import IngestEvent
from agent.ingest.giving_up import GivingUp
from tests.ingest.test_field_rules import under
from tests.ingest.test_ingest import erase

Home = Any  # the fixture's class; tests are no package

LOG = "front/usage-log/camera.jsonl"
COUNTED = """\
fields.said = "keep"
counts.purpose = "support"
counts.epsilon = 1
counts.budget = 10
counts.said = ["motion"]
"""


def line(word: object) -> bytes:
    return b'{"said":"%s"}\n' % str(word).encode()


def lines(words: Iterable[object]) -> bytes:
    return b"".join(map(line, words))


class Camera:
    """It writes one log into a spool, opened for each line, and an agent empties that."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.path: Path = home.spool / LOG
        self.path.parent.mkdir(parents=True)

    def write(self, *words: object) -> None:
        with self.path.open("ab") as log:
            log.write(lines(words))

    def copy(self, content: bytes) -> None:
        self.home.put(LOG, content)

    def look(self, *, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Empty the folder once; ``meanwhile`` happens when something is acknowledged and not yet removed."""

        def on_event(event: IngestEvent) -> None:
            self.home.events.append(event)
            if event.kind == "admitted":
                meanwhile()

        async def once() -> None:
            flow = self.home.ingest(on_event=on_event)
            try:
                await flow.scan_once()
            finally:
                flow.close()
                await self.home.sealers[-1].aclose()

        asyncio.run(once())

    def look_after_a_restart(self) -> None:
        self.home.reopen()
        self.look()

    def sealed(self) -> list[bytes]:
        """All lines in the vault, in the order of objects' arrival."""
        found = self.home.index.read_now(lambda tx: tx.execute("SELECT id FROM object ORDER BY n"))
        held = {item.id: item for item in self.home.objects()}
        return b"".join(self.home.opened(held[one]) for (one,) in found).splitlines(keepends=True)

    def delete_all_objects(self) -> None:
        erase(self.home, *(item.id for item in self.home.objects()))
        self.home.reopen()  # in another event loop
        assert self.sealed() == []

    def rows(self) -> int:
        ((found,),) = self.home.index.read_now(lambda tx: tx.execute("SELECT count(*) FROM bookmark"))
        return int(found)


@pytest.fixture
def camera(home: Home) -> Camera:
    return Camera(home)


def test_lines_that_were_deleted_while_their_log_could_not_be_removed_do_not_return(camera: Camera) -> None:
    # The log was added to behind the seal, so it stayed, and was sealed whole again behind the delete.
    camera.write(1, 2)
    camera.look(meanwhile=lambda: camera.write(3))
    assert camera.sealed() == [line(1), line(2)]
    assert camera.home.left() == [LOG]
    camera.delete_all_objects()
    camera.look()
    assert camera.sealed() == [line(3)]
    assert camera.home.left() == []
    assert camera.home.left_over() == ()


@pytest.mark.parametrize("before", [3, 400])
def test_deleted_lines_do_not_return_with_a_longer_copy_of_their_log(camera: Camera, before: int) -> None:
    camera.copy(lines(range(before)))
    camera.look()
    assert camera.home.left() == []
    camera.delete_all_objects()
    for count in (before + 1, before + 1, before + 3):
        camera.copy(lines(range(count)))
        camera.look_after_a_restart()
        assert camera.home.left() == []
    assert camera.sealed() == [line(before), line(before + 1), line(before + 2)]


def test_older_copy_of_a_deleted_log_brings_nothing_back(camera: Camera) -> None:
    camera.copy(lines(range(9)))
    camera.look()
    camera.delete_all_objects()
    camera.copy(lines(range(5)))
    camera.look()
    assert camera.sealed() == []
    assert camera.home.left() == []


def test_each_line_is_in_one_object_however_often_the_log_changes_behind_a_seal(camera: Camera) -> None:
    # With counts, 300 lines were told as 440.
    camera.write(*range(10))
    for first in range(10, 60, 10):
        camera.look(meanwhile=partial(camera.write, *range(first, first + 10)))
        assert camera.home.left() == [LOG]
    camera.look_after_a_restart()
    assert camera.home.left() == []
    assert camera.home.left_over() == ()
    assert camera.sealed() == list(map(line, range(60)))


def test_lines_of_a_log_that_changes_behind_a_seal_are_counted_once(camera: Camera) -> None:
    home = camera.home
    home.policy = under(home, COUNTED)
    camera.write(*["motion"] * 10)
    for _ in range(3):
        camera.look(meanwhile=lambda: camera.write(*["motion"] * 10))
    camera.look()
    assert home.index.read_now(tally.sums)["spool"].lines == 40
    found = home.index.read_now(lambda tx: tx.execute("SELECT sum(count) FROM counted WHERE value = 'motion'"))
    assert found == [(40,)]


def test_longer_copy_of_a_log_that_is_held_is_taken_from_where_it_went_on(camera: Camera) -> None:
    camera.copy(lines(range(400)))
    camera.look()
    camera.copy(lines(range(401)))
    camera.look()
    assert camera.sealed() == list(map(line, range(401)))
    assert camera.home.left() == []


@pytest.mark.parametrize("words", [("b",), ("a", "b", "b"), ("a", "b", "c", "d"), ("a", "b")])
def test_new_log_of_the_same_name_is_taken_whole_though_it_begins_as_one_that_is_held(
    camera: Camera, words: tuple[str, ...]
) -> None:
    # Lines that tell no time are alike: nobody deleted those of the log before.
    camera.write("a", "b", "c")
    camera.look()
    assert camera.home.left() == []
    camera.write(*words)
    camera.look()
    assert camera.sealed() == [*map(line, ("a", "b", "c", *words))]
    assert camera.home.left() == []


def test_short_log_is_taken_whole_though_a_long_one_that_is_held_began_so(camera: Camera) -> None:
    camera.write(*["motion"] * 400)
    camera.look()
    camera.write(*["motion"] * 300, "photo")
    camera.look()
    camera.write(*["motion"] * 5)
    camera.look()
    assert camera.sealed()[-5:] == [line("motion")] * 5
    assert camera.home.left() == []


def test_new_log_that_begins_as_one_that_changed_behind_its_seal_is_taken_whole(camera: Camera) -> None:
    camera.write("a", "b", "c")
    camera.look(meanwhile=lambda: camera.write("d"))
    camera.look()
    assert camera.home.left() == []
    camera.write("a", "b", "c")
    camera.look()
    assert camera.sealed() == [*map(line, "abcdabc")]
    first, *_ = sorted(camera.home.objects(), key=lambda item: item.plain_bytes)
    erase(camera.home, first.id)  # of the first log only its last line
    camera.home.reopen()
    camera.write(*"abcde")
    camera.look()
    assert camera.sealed()[-1] == line("e")
    assert camera.sealed().count(line("d")) == 0


def test_log_that_was_cut_while_it_could_not_be_removed_is_another_one(camera: Camera) -> None:
    camera.write("a", "b", "c")

    def cut() -> None:
        camera.path.write_bytes(lines(("x", "b", "c", "d")))

    camera.look(meanwhile=cut)
    camera.look()
    assert camera.sealed() == [*map(line, ("a", "b", "c", "x", "b", "c", "d"))]
    assert camera.home.left() == []


@pytest.mark.parametrize("deleted", [False, True])
@pytest.mark.parametrize("more", [False, True])
def test_power_that_fails_between_the_commit_and_the_removal_leaves_no_line_twice(
    camera: Camera, monkeypatch: pytest.MonkeyPatch, *, deleted: bool, more: bool
) -> None:
    async def power_fails(*_args: object) -> None:
        return None

    camera.write(1, 2)
    with monkeypatch.context() as cut:
        cut.setattr(GivingUp, "acknowledged", power_fails)
        camera.look()
    assert camera.home.left() == [LOG]
    if deleted:
        camera.delete_all_objects()
    if more:
        camera.write(3)
    camera.look_after_a_restart()
    wanted = Counter(map(line, () if deleted else (1, 2))) + Counter(map(line, (3,) if more else ()))
    assert Counter(camera.sealed()) == wanted
    assert camera.home.left() == []
    assert camera.home.left_over() == ()


def test_what_is_known_of_logs_that_are_gone_is_bounded_and_the_newest_stays(
    camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bookmark, "EMPTIED_MAX", 3)
    for n in range(6):
        camera.home.put(LOG.replace("camera", f"batch-{n}-x"), lines((n, "first")))
        camera.look()
    assert camera.rows() == 3
    for _ in range(2):
        camera.home.confirm_absences()
    assert camera.rows() == 3
    camera.delete_all_objects()
    camera.home.put(LOG.replace("camera", "batch-5-x"), lines((5, "first", "more")))
    camera.look()
    assert camera.sealed() == [line("more")]


def test_what_two_cameras_say_alike_is_taken_of_both(camera: Camera) -> None:
    camera.copy(lines(range(400)))
    camera.home.put(LOG.replace("front", "back"), lines(range(400)))
    camera.look()
    assert len(camera.home.objects()) == 2
    assert camera.home.left() == []
