"""Whatever comes over a camera's link: an answer within its limits or a declared error, in bounded memory and time."""

import itertools
import socket
import ssl
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.camera.answer import BODY_MAX_BYTES, AnswerError
from agent.camera.session import ASK_S, PIECE_BYTES, Session
from agent.camera.tls import CutError
from agent.errors import CorruptError, LinkError
from tests.camera.answers import BLANK, body, spoiled, spoiled_head, told

MEMORY_BYTES = 2 << 20
"""Several pieces, and the largest answer twice; what is sent in these tests is more than that."""
ENDLESS_BYTES = 32 << 20
BOTH = (200, 204)


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A real camera's answers, head and body."""
    return told(tmp_path_factory.mktemp("camera"))


class Dripping(socket.socket):
    """Gives one byte at a time, whatever has come."""

    def recv_into(self, buffer: memoryview, *_: int) -> int:  # type: ignore[override]  # as bytes-like
        return super().recv_into(buffer[:1])


@contextmanager
def session(
    talk: Callable[[socket.socket], None],
    *,
    monotonic: Callable[[], float] = lambda: 0.0,
    kind: type[socket.socket] = socket.socket,
) -> Iterator[Session]:
    """A session with a far end that does what the test says; the handshake is over, so TLS adds nothing here."""
    near, theirs = socket.socketpair()
    ours = kind(fileno=near.detach())

    def speak() -> None:
        with theirs, suppress(OSError):
            theirs.recv(PIECE_BYTES)  # what it was asked
            talk(theirs)
            theirs.shutdown(socket.SHUT_WR)
            theirs.recv(PIECE_BYTES)  # until the session ends

    speaking = threading.Thread(target=speak)
    speaking.start()
    try:
        with Session(cast("ssl.SSLSocket", ours), monotonic=monotonic) as made:
            yield made
    finally:
        ours.close()
        speaking.join()


def saying(raw: bytes) -> Callable[[socket.socket], None]:
    return lambda line: line.sendall(raw)


def changed(data: st.DataObject, raw: bytes) -> bytes:
    return data.draw(st.one_of(spoiled_head(raw), spoiled(raw), st.binary(max_size=300)))


def test_answers_unchanged_are_read(said: dict[str, bytes]) -> None:
    for name in ("page", "status", "collection", "acknowledged"):
        with session(saying(said[name])) as made:
            answer = made.ask("GET", "/", done=BOTH)
            assert (answer.status, answer.body) == (204 if name == "acknowledged" else 200, body(said[name]))
    with session(saying(said["error"])) as made, pytest.raises(AnswerError, match="not_found"):
        made.ask("GET", "/")


@settings(max_examples=500, deadline=None)
@given(data=st.data())
def test_any_answer_is_whole_and_within_its_limits_or_a_declared_error(
    said: dict[str, bytes], data: st.DataObject
) -> None:
    raw = changed(data, said[data.draw(st.sampled_from(sorted(said)))])
    with session(saying(raw)) as made:
        try:
            answer = made.ask("GET", "/v1/camera", done=BOTH)
        except AnswerError:
            return
        except (CutError, CorruptError):
            assert made.closed, "nobody knows where in an answer it stands"
            return
        assert answer.status in BOTH
        assert len(answer.body) <= BODY_MAX_BYTES
        assert answer.body in raw
        assert all(name == name.lower() for name in answer.head)
        said_length = answer.head.get("content-length", "0")
        assert answer.status == 204 or len(answer.body) == int(said_length)
        assert "transfer-encoding" not in answer.head or answer.status == 204


@settings(max_examples=500, deadline=None)
@given(data=st.data())
def test_any_content_comes_piece_by_piece_or_ends_in_a_declared_error(
    said: dict[str, bytes], data: st.DataObject
) -> None:
    raw = changed(data, said["content"])
    with session(saying(raw)) as made:
        came, buffer = b"", memoryview(bytearray(64))
        try:
            content = made.begin("/v1/recordings/a/content", head={})
            while count := content.readinto(buffer):
                came += buffer[:count]
        except (LinkError, CorruptError):
            return
        assert content.status in {200, 206}
        assert came in raw
        assert len(came) <= content.length


@pytest.mark.parametrize(
    "lengths",
    [
        b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n",
        b"Content-Length: 2\r\nContent-Length: 2\r\n",
        b"Content-Length: 2, 2\r\n",
        b"Content-Length: +2\r\n",
        b"Content-Length: \xb2\r\n",
        b"",
    ],
)
def test_answer_that_says_its_length_twice_or_otherwise_is_refused(lengths: bytes) -> None:
    raw = b"HTTP/1.1 200 OK\r\n" + lengths + b"\r\n2\r\n{}\r\n0\r\n\r\n"
    with session(saying(raw)) as made:
        with pytest.raises(CorruptError, match="how long"):
            made.ask("GET", "/v1/camera")
        assert made.closed


@pytest.mark.parametrize(
    "begin",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nX: ",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 99999999\r\n\r\n",
        b"HTTP/1.1 200 OK" + BLANK,
    ],
)
@pytest.mark.parametrize(
    "piece", [b"x" * 1000, b"A: b\r\n" * 200, b"HTTP/1.1 100 Continue\r\n\r\n" * 40, b"A: " + bytes(60_000) + b"\r\n"]
)
def test_answer_without_an_end_is_refused_in_bounded_memory(begin: bytes, piece: bytes) -> None:
    poured = 0

    def pour(line: socket.socket) -> None:
        nonlocal poured
        line.sendall(begin)
        while poured < ENDLESS_BYTES:
            line.sendall(piece)
            poured += len(piece)

    tracemalloc.start()
    try:
        with session(pour) as made:
            with pytest.raises((CutError, CorruptError)):
                made.ask("GET", "/v1/camera")
            assert made.closed
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < MEMORY_BYTES
    assert poured < MEMORY_BYTES, "it reads no further"


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"])
def test_answer_that_drips_ends_when_its_time_is_over(head: bytes) -> None:
    """The clock goes on a second with each byte; no single read ever waits for long."""
    seconds = itertools.count()
    raw = head + b"x" * 5000

    with session(saying(raw), monotonic=lambda: float(next(seconds)), kind=Dripping) as made:
        with pytest.raises(CutError, match="TimeoutError"):
            made.ask("GET", "/v1/camera")
        assert made.closed
    assert next(seconds) <= ASK_S + 10
