"""Whatever a stranger sends: only the declared errors, and the camera goes on serving its agent."""

import os
import socket
import ssl
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_sim.camera.order import OrderError, read
from device_sim.link.byterange import UnsatisfiableError, wanted
from device_sim.link.request import AnswerError, Request, split_target
from tests.link_server.stand import Caller, Stand, anonymous

RANGES = st.one_of(
    st.text(),
    st.from_regex(r"bytes=\d{0,14}-\d{0,14}", fullmatch=True),
    st.builds(lambda first, last: f"bytes={first}-{last}", st.integers(0, 40), st.integers(0, 40)),
    st.builds(lambda last: f"bytes=-{last}", st.integers(0, 40)),
)


@given(header=RANGES, size=st.integers(1, 30))
def test_range_is_inside_the_recording_or_refused(header: str, size: int) -> None:
    try:
        part = wanted(header, size)
    except UnsatisfiableError:
        return
    assert part is None or 0 <= part[0] < part[1] <= size


@given(first=st.integers(0, 40), last=st.integers(0, 40), size=st.integers(1, 30))
def test_range_is_what_slicing_gives(first: int, last: int, size: int) -> None:
    content = list(range(size))
    if first > last:
        assert wanted(f"bytes={first}-{last}", size) is None
    elif first >= size:
        with pytest.raises(UnsatisfiableError):
            wanted(f"bytes={first}-{last}", size)
    else:
        begin, end = wanted(f"bytes={first}-{last}", size) or (-1, -1)
        assert content[begin:end] == content[first : last + 1]


@given(target=st.binary(max_size=200))
def test_target_is_read_or_refused(target: bytes) -> None:
    with suppress(AnswerError):
        path, query = split_target(target)
        assert path.isascii()
        assert len(query) <= 8


@given(body=st.binary(max_size=200))
def test_body_is_read_or_refused(body: bytes) -> None:
    asked = Request(caller="", method="PUT", path="", query={}, headers={"content-type": "application/json"}, body=body)
    with suppress(AnswerError):
        assert isinstance(asked.json(enabled=bool)["enabled"], bool)


@given(line=st.text(max_size=100))
def test_order_is_read_or_refused(line: str) -> None:
    with suppress(OrderError):
        read(line)


def test_garbage_and_half_requests_leave_the_camera_serving(stand: Stand, agent: Caller) -> None:
    for sent in (b"", b"GET / HTTP/1.1\r\n\r\n", os.urandom(5000), b"\x16\x03\x01\xff\xff" + bytes(70_000)):
        with socket.create_connection(("127.0.0.1", stand.port), timeout=20) as plain, suppress(ConnectionError):
            plain.sendall(sent)
            plain.shutdown(socket.SHUT_WR)
            while plain.recv(4096):
                pass
    for sent in (b"", b"PUT /v1/agent HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{", os.urandom(500)):
        with (
            socket.create_connection(("127.0.0.1", stand.port), timeout=20) as plain,
            suppress(ConnectionError, ssl.SSLError),
            agent.context().wrap_socket(plain) as line,
        ):
            line.sendall(sent)
    with (
        socket.create_connection(("127.0.0.1", stand.port), timeout=20) as plain,
        suppress(ConnectionError, ssl.SSLError),
        anonymous().wrap_socket(plain) as line,
    ):
        line.recv(1)
    assert agent.ask(stand.port, "GET", "/v1/camera").status == 200
