"""Answers of the simulated camera, word for word as they go over its link, and what may become of them on the way."""

import json
import socket
import ssl
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from hypothesis import strategies as st

from tests.link_server.stand import LIMIT_S, NOW, Caller, Stand

Where = tuple[str | int, ...]
"""Where something is in a document."""

BLANK: Final = b"\r\n\r\n"

ODD: Final[st.SearchStrategy[Any]] = st.one_of(
    st.sampled_from(
        [None, True, False, 0, -1, 1, 2**53 - 1, 2**53, 10**30, 1.5, float("nan"), "", "\ud800", "0" * 70, "\x1b[2J",
         "2026-02-30T00:00:00.000Z", "0000-01-01T00:00:00.000Z", "9999-12-31T23:59:60.000Z", "2026-11-22T10:15:00Z",
         "2001-01-01T00:00:00.000Z", "2031-01-01T00:00:00.000Z", "AAAA", "A" * 43,
         "recording", "export", "trusted", "abc", "../../etc/passwd", "ABC", "ff" * 32, [], {}, [[[[[[[[[]]]]]]]]]]
    ),
    st.integers(),
    st.text(max_size=80),
    st.lists(st.integers(), max_size=3),
)  # fmt: skip

LINES: Final = st.one_of(
    st.sampled_from(
        [b"Transfer-Encoding: chunked", b"Content-Length: 5", b"Content-Length: -1", b"Content-Length: 0",
         b"Content-Length: \xb2", b"Content-Length: " + b"9" * 400, b"Content-Length: +7", b"Content-Length: 1 2",
         b"Connection: close", b": x", b" folded", b"\t", b"X: " + b"y" * 9000, b"no colon", b"\xff\xfe: \x00", b"",
         b"HTTP/1.1 100 Continue", b"HTTP/1.1 204 No Content", b"Location: http://198.51.100.1/", b"ETag:"]
    ),
    st.binary(max_size=60),
)  # fmt: skip


def told(folder: Path) -> dict[str, bytes]:
    """Ask a simulated camera everything that the agent does; return each answer, head and body."""
    with Stand(folder / "camera") as stand:
        agent = Caller(folder / "agent")
        stand.pair(agent)
        for number in range(3):
            entry = stand.record(bytes((number,)) * 500, start=NOW + timedelta(minutes=number))
        stand.begin(NOW + timedelta(minutes=5))
        wanted = {
            "page": "GET /v1/recordings?acknowledged=false&limit=2",
            "rest": "GET /v1/recordings?acknowledged=false&limit=200",
            "status": "GET /v1/camera",
            "collection": "GET /v1/collection",
            "content": f"GET /v1/recordings/{entry.id}/content",
            "acknowledged": f"DELETE /v1/recordings/{entry.id}",
            "error": "GET /v1/recordings/zzzz/content",
        }
        return {name: _asked(stand.port, agent, line) for name, line in wanted.items()}


def _asked(port: int, agent: Caller, line: str) -> bytes:
    head = f"{line} HTTP/1.1\r\nHost: camera\r\nConnection: close\r\n\r\n".encode()
    with (
        socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S) as plain,
        agent.context().wrap_socket(plain) as secured,
    ):
        secured.sendall(head)
        came = b""
        try:
            while piece := secured.recv(65_536):
                came += piece
        except ssl.SSLError:
            pass
        return came


def body(raw: bytes) -> bytes:
    """Return an answer's body."""
    return raw.partition(BLANK)[2]


@st.composite
def spoiled(draw: st.DrawFn, raw: bytes) -> bytes:
    """Bytes of which some were changed, left out, or put in."""
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(raw)))
        raw = raw[:at] + draw(st.binary(max_size=12)) + raw[at + draw(st.integers(0, 30)) :]
    return raw


@st.composite
def spoiled_head(draw: st.DrawFn, raw: bytes) -> bytes:
    """An answer in whose head lines were put, changed, doubled or left out; also its bytes may be spoiled."""
    head, _, rest = raw.partition(BLANK)
    lines = head.split(b"\r\n")
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(lines)))
        lines[at : at + draw(st.integers(0, 1))] = [draw(LINES)] * draw(st.integers(0, 3))
    raw = b"\r\n".join(lines) + BLANK + rest
    return draw(spoiled(raw)) if draw(st.booleans()) else raw


@st.composite
def spoiled_document(draw: st.DrawFn, raw: bytes) -> bytes:
    """A JSON body of which members or entries are others, missing, more or in double."""
    document = json.loads(raw)
    for _ in range(draw(st.integers(1, 3))):
        document = _changed(draw, document)
    text = json.dumps(document)
    if draw(st.booleans()) and "," in text:  # a member twice, which no dict of ours can hold
        first, _, more = text.partition(",")
        text = f"{first},{first.lstrip('{')},{more}"
    return text.encode("utf-8", "surrogatepass")


def _changed(draw: st.DrawFn, document: Any) -> Any:  # noqa: ANN401 - JSON
    """Change one place of a document, any of them as likely as another."""
    places = list(_places(document))
    path = draw(st.sampled_from(places)) if places else ()
    return _changed_at(document, path, draw, what=draw(st.sampled_from(["other", "other", "without", "more", "many"])))


def _places(node: Any, path: Where = ()) -> Iterator[Where]:  # noqa: ANN401 - JSON
    names = node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    for name in names:
        yield (*path, name)
        yield from _places(node[name], (*path, name))


def _changed_at(node: Any, path: Where, draw: st.DrawFn, *, what: str) -> Any:  # noqa: ANN401 - JSON
    if not path:
        if what == "many" and isinstance(node, list):
            return node * draw(st.sampled_from([2, 90, 210]))
        if what == "more" and isinstance(node, dict):
            return node | {draw(st.text(max_size=10)): draw(ODD)}
        return draw(ODD)
    first, *rest = path
    made: Any = dict(node) if isinstance(node, dict) else list(node)
    if what == "without" and not rest:
        del made[first]
    else:
        made[first] = _changed_at(node[first], tuple(rest), draw, what=what)
    return made
