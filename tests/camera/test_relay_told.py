"""What came of each connection that a fetch was given is told: only so is an address that cuts recordings known."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress

import pytest

from agent.camera.route import Given
from agent.errors import AgentError, CorruptError, LinkError
from agent.sealer.fetching import Switchboard


class Gives:
    """Gives connections, numbered, and keeps what it is told of them."""

    def __init__(self) -> None:
        self.told: list[tuple[int, str]] = []
        self.given = 0
        self._ends: list[socket.socket] = []

    async def connect(self) -> Given:
        self.given += 1
        number = self.given
        line, far_end = socket.socketpair()
        self._ends.append(far_end)
        return Given(
            line=line,
            served=lambda: self.told.append((number, "served")),
            broke=lambda: self.told.append((number, "broke")),
        )

    def close(self) -> None:
        for one in self._ends:
            one.close()


def fetched(asks: int, end: Callable[[Switchboard], None] = lambda _board: None) -> list[tuple[int, str]]:
    """Let a job ask so often, and end; return what was told."""
    gives = Gives()

    async def job() -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, suppress(AgentError), Switchboard(ours, gives.connect) as board:
            for _ in range(asks):
                theirs.send(b"?")
                _, fds, _, _ = await asyncio.to_thread(socket.recv_fds, theirs, 1, 1)
                with ExitStack() as received:
                    for fd in fds:
                        received.enter_context(socket.socket(fileno=fd))
            end(board)

    asyncio.run(job())
    gives.close()
    return gives.told


def fails(error: AgentError) -> Callable[[Switchboard], None]:
    def end(_board: Switchboard) -> None:
        raise error

    return end


def test_connection_that_another_is_asked_for_broke_and_the_last_of_a_whole_recording_served() -> None:
    assert fetched(3) == [(1, "broke"), (2, "broke"), (3, "served")]


def test_last_connection_of_a_recording_that_failed_by_its_link_broke() -> None:
    assert fetched(2, fails(LinkError("cut", hint="again"))) == [(1, "broke"), (2, "broke")]


def test_camera_that_gave_another_content_than_it_said_is_no_matter_of_the_address() -> None:
    assert fetched(1, fails(CorruptError("another"))) == []


@pytest.mark.parametrize("times", [1, 2])
def test_connection_of_a_recording_that_is_given_up_broke_once(times: int) -> None:
    def end(board: Switchboard) -> None:
        for _ in range(times):
            board.give_up()

    assert fetched(1, end) == [(1, "broke")]
