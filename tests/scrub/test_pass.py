"""How a pass goes: within its budget, on from where it was, from the medium, and never ahead of who is at work."""

import asyncio
import contextlib
import errno
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from agent.scrub.budget import OPEN_BYTES, PATIENCE_S, Budget
from agent.scrub.flow import NOTE_S, Scrub, scrub_view
from agent.scrub.look import PIECE_BYTES, Look
from agent.scrub.settings import ScrubSettings
from tests.failing import failing
from tests.scrub.scene import HOUR_MS, Scene, flip
from tests.waiting import at_most

ROOT = Path(__file__).parents[2]
DAY_S = 86_400.0


def told(scene: Scene) -> dict[str, object]:
    return scene.home.index.read_now(lambda tx: scrub_view(tx, scene.home.vault))


def test_pass_reads_no_faster_than_its_rate(scene: Scene) -> None:
    items = scene.keep_some(*[300_000] * 10)
    size = sum(item.size_bytes + OPEN_BYTES for item in items)

    async def one() -> None:
        await scene.scrub(ScrubSettings(rate_bytes_s=100_000)).whole_pass()

    asyncio.run(one())
    assert size / 100_000 - 5 <= scene.seconds <= size / 100_000, "a second's worth, and one piece, come at once"


def test_whoever_is_at_work_is_waited_for_and_not_for_ever(scene: Scene) -> None:
    asked: list[float] = []

    async def pieces(busy: Callable[[], bool]) -> float:
        began = scene.seconds
        budget = Budget(1 << 40, busy=busy, clock_s=lambda: scene.seconds, wait=scene._wait)
        for _ in range(3):
            await budget.spend(PIECE_BYTES)
            asked.append(scene.seconds)
        return scene.seconds - began

    assert asyncio.run(pieces(lambda: False)) == 0
    assert asyncio.run(pieces(lambda: scene.seconds < 5)) == 5, "it goes on when they are done"
    assert asyncio.run(pieces(lambda: True)) == 3 * PATIENCE_S, "one piece each minute"


def test_whoever_waits_for_the_answer_waits_for_nobody_at_work(scene: Scene) -> None:
    scene.keep_some(1000, 1000)
    scene.busy = lambda: True
    scene.look_over()
    assert scene.seconds == 0


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What passes look at, in order."""
    found: list[str] = []
    look = Scrub._look

    async def noted(self: Scrub, item: object) -> object:
        found.append(item.id)  # type: ignore[attr-defined] # what the pass hands it
        return await look(self, item)  # type: ignore[arg-type] # the same

    monkeypatch.setattr(Scrub, "_look", noted)
    return found


def test_pass_goes_on_behind_a_restart_where_it_was(scene: Scene, looked: list[str]) -> None:
    items = scene.keep_some(*[100] * 12)
    flip(scene.path(items[2]), 20)
    scrub = scene.scrub()

    async def some(count: int) -> None:
        for _ in range(count):
            scene.seconds += NOTE_S
            assert await scrub._advance()

    asyncio.run(some(7))  # it begins, and looks at six
    assert told(scene)["under_way"] == {
        "began": "2027-01-15T08:00:00.000Z", "objects": 6, "bytes": 6 * items[0].size_bytes, "damaged": 1,
    }  # fmt: skip
    scene.reopen()
    scene.keep_some(100)  # what came since is the next pass's
    scene.look_over()
    assert looked == [item.id for item in items]
    last = told(scene)["last"]
    assert isinstance(last, dict)
    assert (last["objects"], last["damaged"]) == (12, 1)
    assert told(scene)["under_way"] is None


def test_pass_begins_when_its_time_has_come_and_not_before(scene: Scene) -> None:
    scene.keep_some(100)
    settings = ScrubSettings(every_s=30 * DAY_S, rate_bytes_s=1 << 40)

    def passes() -> list[tuple[int, int]]:
        return [(row[0], row[1]) for row in scene.home.rows("SELECT last_began, began_ms FROM scrub")]

    asyncio.run(scene.scrub(settings).do_what_is_due())
    first = scene.moment.agent_ms
    assert passes() == [(first, 0)]
    scene.later(30 * 24 * HOUR_MS - 1)
    asyncio.run(scene.scrub(settings).do_what_is_due())
    assert passes() == [(first, 0)]
    scene.later(1)
    asyncio.run(scene.scrub(settings).do_what_is_due())
    assert passes() == [(scene.moment.agent_ms, 0)]


def test_scrub_that_is_off_begins_no_pass_and_looks_at_what_is_suspected(scene: Scene) -> None:
    bad, _good = scene.keep_some(100, 100)
    flip(scene.path(bad), 20)
    scrub = scene.scrub(ScrubSettings(every_s=0))
    asyncio.run(scrub.do_what_is_due())
    assert scene.damaged() == {}
    scrub.suspect(bad.id)
    asyncio.run(scrub.do_what_is_due())
    assert scene.damaged() == {bad.id: "changed"}
    assert scene.home.rows("SELECT count(*) FROM scrub") == [(0,)]


def test_what_the_memory_changed_is_read_again_and_condemns_nothing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (sound,) = scene.keep_some(100)
    real, reads = os.preadv, 0

    def wrong_once(fd: int, buffers: Sequence[memoryview], offset: int) -> int:
        nonlocal reads
        reads += 1
        count = real(fd, buffers, offset)
        if reads == 1:
            buffers[0][0] ^= 1
        return count

    monkeypatch.setattr(os, "preadv", wrong_once)
    scene.look_over()
    assert (scene.damaged(), scene.alerts) == ({}, [])
    assert f"object {sound.id} was read wrong once and is right on the medium" in caplog.text


def test_medium_is_read_and_nothing_stays_in_memory(tmp_path: Path) -> None:
    """The kernel is told to drop what it has of the file before the first read and behind each."""
    scene = Scene(tmp_path / "vault")
    (item,) = scene.keep_some(PIECE_BYTES)
    path, log = scene.path(item), tmp_path / "log"
    scene.close()
    traced = ["strace", "-f", "-qq", "-o", str(log), "-P", str(path), "-e", "trace=openat,preadv,preadv2,fadvise64"]
    program = [sys.executable, "-m", "tests.scrub.on_failing_medium", str(tmp_path / "vault"), "0"]
    subprocess.run([*traced, *program], cwd=ROOT, capture_output=True, timeout=120, check=True)
    calls = re.findall(r"\b(openat|preadv2?|POSIX_FADV_[A-Z]+)\b", log.read_text())
    read = ["preadv2", "POSIX_FADV_DONTNEED"]
    assert [call.replace("preadv", "preadv2") if call == "preadv" else call for call in calls] == [
        *("openat", "POSIX_FADV_DONTNEED", "POSIX_FADV_RANDOM"),
        *(read * 3),  # a whole piece, what is left of the last chunk, and the end
    ]


@pytest.mark.parametrize("fault", ["openat=EIO", "preadv,preadv2=EIO"], ids=["open", "read"])
def test_medium_that_answers_with_an_error_is_asked_again_an_hour_later(tmp_path: Path, fault: str) -> None:
    scene = Scene(tmp_path / "vault")
    bad, good = scene.keep_some(1000, 1000)
    path = scene.path(bad)
    scene.close()

    def ran(*words: str, when: str = "") -> str:
        program = [sys.executable, "-m", "tests.scrub.on_failing_medium", str(tmp_path / "vault"), *words]
        command = [*failing(path, fault + when), *program]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    assert ran("0") == f"damaged= doubted={bad.id}:unreadable"
    assert ran(str(HOUR_MS - 1)) == f"damaged= doubted={bad.id}:unreadable"
    assert ran(str(HOUR_MS)) == f"damaged={bad.id}:unreadable doubted="
    assert ran("0", when=":when=900") == "damaged= doubted=", "it answers again"
    assert good.id not in ran("0")


def test_look_holds_a_piece_and_no_more(scene: Scene) -> None:
    (item,) = scene.keep_some(3 * PIECE_BYTES)
    look = Look(scene.path(item), size_bytes=item.size_bytes, payload_sha256=item.payload_sha256)
    try:
        assert look.step() is None, "it was opened"
        for number in range(1, 4):
            assert look.step() is None
            assert look.done_bytes == number * PIECE_BYTES
        assert look._buffer.nbytes == PIECE_BYTES
    finally:
        look.close()


def test_who_asks_while_the_ordinary_pass_runs_ends_that_one_and_begins_none(scene: Scene, looked: list[str]) -> None:
    items = scene.keep_some(*[100] * 5)

    async def both(*, asked_first: bool) -> bool:
        scrub = scene.scrub()
        works = [scrub.do_what_is_due(), scrub.whole_pass()]
        told = await asyncio.gather(*(reversed(works) if asked_first else works))
        return any(one is not None and one.whole for one in told)

    for asked_first in (False, True):
        looked.clear()
        scene.later(31 * 24 * HOUR_MS)
        assert asyncio.run(both(asked_first=asked_first))
        assert looked == [item.id for item in items], "each once"
        assert told(scene)["under_way"] is None


def test_payload_smaller_than_a_piece_waits_once_for_who_is_at_work(scene: Scene) -> None:
    scene.keep_some(1000, 1000, 1000)
    scene.busy = lambda: True
    asyncio.run(scene.scrub().do_what_is_due())
    assert scene.seconds == 3 * PATIENCE_S


def none_left_once(monkeypatch: pytest.MonkeyPatch, path: Path) -> list[int]:
    """Let the process be out of descriptors when it first opens a file; return a list that grows with each opening."""
    real, opened = os.open, list[int]()

    def opens(what: str | Path, *words: int, **named: int) -> int:
        if what == path:
            opened.append(len(opened))
            if len(opened) == 1:
                raise OSError(errno.EMFILE, "Too many open files")
        return real(what, *words, **named)

    monkeypatch.setattr(os, "open", opens)
    return opened


def test_object_that_could_not_be_looked_at_is_not_left_out_of_the_pass(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    _first, bad, _last = scene.keep_some(100, 100, 100)
    flip(scene.path(bad), 20)
    none_left_once(monkeypatch, scene.path(bad))

    async def twice() -> int:
        scrub = scene.scrub()
        await scrub.do_what_is_due()
        assert scene.damaged() == {}
        return (await scrub.whole_pass()).objects

    assert asyncio.run(twice()) == 3
    assert scene.damaged() == {bad.id: "changed"}


def test_process_at_its_limits_ends_no_scrub_and_is_not_tried_again_at_once(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was away at the last look is read again behind a start, and that may fail for another reason."""
    lost, _whole = scene.keep_some(1000, 1000)
    away = scene.path(lost).rename(scene.folder / "elsewhere")
    scene.look_over()
    scene.later(HOUR_MS)
    scene.look_over()
    assert scene.damaged() == {lost.id: "missing"}
    away.rename(scene.path(lost))
    opened = none_left_once(monkeypatch, scene.path(lost))

    async def live() -> None:
        scrub = scene.scrub(ScrubSettings(every_s=0))
        pulse = asyncio.Event()

        async def so(found: Callable[[], bool]) -> None:
            async with asyncio.timeout(at_most(60)):
                while not found():
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(pulse.wait(), 0.01)

        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(scrub.run(), name="scrub")
            await so(lambda: bool(scrub._news._waiters))  # of the library: it waits for something to be told
            assert (len(opened), scene.damaged()) == (1, {lost.id: "missing"})
            scrub.suspect(lost.id)
            await so(lambda: not scene.damaged())
            running.cancel()

    asyncio.run(live())
    assert len(opened) == 2
