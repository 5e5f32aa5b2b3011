"""A folder whose file system does not answer, as of a network that is down: it keeps itself waiting and nobody else."""

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from agent import files
from agent.app import running
from agent.config import parse_config
from agent.ingest.share import AT_ONCE
from agent.sealer.client import PLACES
from agent.sources import Candidate
from agent.sources import folder as folder_module
from agent.sources.root import Root

Home = Any  # the fixture's class; tests are no package
Until = Callable[[Callable[[], bool]], Awaitable[None]]

NAME = "front/recording/2026-11-22T10-15-00.000Z_10s.mp4"
DEADLINE_S = 60


class Server:
    """The C library, whose calls beneath one folder do not come back while the server is down."""

    def __init__(self, folder: Path) -> None:
        self._libc = files._libc
        self._folder = folder
        self._up = threading.Event()
        self.answers = 0
        """So many opens are still answered."""
        self.waiting = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._libc, name)

    def back(self) -> None:
        self._up.set()

    def syscall(self, number: int, folder_fd: int, *arguments: object) -> object:
        if self._folder in (here := Path(f"/proc/self/fd/{folder_fd}").readlink(), *here.parents):
            self._wait()
        return self._libc.syscall(number, folder_fd, *arguments)

    def statfs(self, path: bytes, buffer: object) -> object:
        if Path(os.fsdecode(path)) == self._folder:
            self._wait()
        return self._libc.statfs(path, buffer)

    def _wait(self) -> None:
        self.answers -= 1
        if self.answers < 0:
            self.waiting += 1
            if not self._up.wait(DEADLINE_S):
                self._up.set()


@pytest.fixture
def server(home: Home, monkeypatch: pytest.MonkeyPatch) -> Server:
    (home.top / "away").mkdir()
    down = Server(home.top / "away")
    monkeypatch.setattr(files, "_libc", down)
    return down


async def running_both(home: Home, act: Callable[[Any], Awaitable[None]]) -> None:
    """Run the flow over the spool and a folder on the server while ``act`` does something."""
    flow = home.ingest(home.settings(), home.settings(name="away", path=home.top / "away"))
    try:
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(flow.run())
            await act(flow)
            task.cancel()
    finally:
        flow.close()
        await home.sealers[-1].aclose()


@pytest.mark.parametrize("answers", [0, AT_ONCE + 8], ids=["looking", "opening"])
def test_folder_that_does_not_answer_keeps_no_other_source_waiting_is_told_and_taken_from_later(
    home: Home, server: Server, until: Until, monkeypatch: pytest.MonkeyPatch, answers: int
) -> None:
    # It was looked at in the event loop, which stood still; and what waited for it used up the room of all sources.
    monkeypatch.setattr(folder_module, "HUNG_S", 1.0)
    server.answers = answers
    for number in range(AT_ONCE + 8):
        home.put(f"front/photo/{number:02}.jpg", b"%d" % number, folder=home.top / "away")

    async def act(flow: Any) -> None:  # noqa: ANN401 - the flow
        await until(lambda: server.waiting > 0 and "the folder does not answer" in home.reasons("source_failed"))
        monkeypatch.setattr(folder_module, "HUNG_S", 60.0)  # what is slow from now on is a busy machine
        home.put(NAME, b"content")
        await until(lambda: home.left() == [] and home.left_over() == ())
        server.back()
        await until(lambda: flow.counts["admitted"] == AT_ONCE + 9)

    asyncio.run(running_both(home, act))
    assert home.events[-1].kind != "source_failed"
    assert [event.source for event in home.events if event.kind == "source_failed"] == ["away"]


def test_files_that_cannot_be_read_to_their_end_leave_a_place_to_other_sources(
    home: Home, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.still_s = 600.0
    (home.top / "away").mkdir()
    pipes = []
    open_file = Root.open_file

    def opened(root: Root, candidate: Candidate) -> int:
        fd = open_file(root, candidate)
        if candidate.source == "away":
            os.close(fd)
            pipes.append(os.pipe())
            return pipes[-1][0]
        return fd

    monkeypatch.setattr(Root, "open_file", opened)
    for number in range(PLACES + 2):
        home.put(f"front/photo/{number}.jpg", b"content", folder=home.top / "away")

    async def act(flow: Any) -> None:  # noqa: ANN401 - the flow
        await until(lambda: len(pipes) == PLACES + 2)
        home.put(NAME, b"content")
        await until(lambda: flow.counts["admitted"] == 1)

    asyncio.run(running_both(home, act))
    for _, writable in pipes:
        os.close(writable)
    assert home.only().source == "spool"


def test_start_does_not_wait_for_a_folder_that_does_not_answer(
    home: Home, server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(running, "MEDIUM_S", 0.05)
    config = parse_config(
        f'device = "cam-01"\n[[source]]\nkind = "spool"\npath = "{home.top}/away"\nmedium = "tmpfs"\n'.encode(),
        file=home.top / "agent.toml",
    )
    asyncio.run(running._look_at_media(config))
    assert server.waiting == 1
    assert "does not answer" in caplog.text
    server.back()
