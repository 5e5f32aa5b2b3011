"""JSON Lines, good and bad."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import CorruptError
from agent.sources.usage_log import LINE_MAX_BYTES, LINES_MAX, bad_lines

pytestmark = pytest.mark.promise("COLLECT-LOGS")


def test_good_lines_are_good() -> None:
    assert bad_lines(b'{"a": 1,  "b":"\xc3\xbc"}\n{"a":1,"a":2}\r\n\n{}') == 0


@pytest.mark.parametrize(
    "bad",
    [
        b"[]", b"1", b'"text"', b"null", b"{", b'{"a":1}{"b":2}', b'{"a":\xff}', b'{"a":"\xff"}', b'{"a":NaN}',
        b'{"a":' + b"[" * 20_000 + b"]" * 20_000 + b"}", b'{"a":"' + b"x" * LINE_MAX_BYTES + b'"}', b"{'a':1}", b"\x00",
        b"plain",
    ],
)  # fmt: skip
def test_bad_line_is_counted(bad: bytes) -> None:
    assert bad_lines(b'{"n":1}\n' + bad + b'\n{"n":2}\n') == 1


def test_file_without_a_good_line_is_refused_as_a_whole() -> None:
    with pytest.raises(CorruptError):
        bad_lines(b"not a log\nat all\n")


def test_empty_file_has_no_lines_and_no_fault() -> None:
    assert bad_lines(b"\n \n") == bad_lines(b"") == 0


@given(st.binary(max_size=400))
def test_any_bytes_give_a_count_or_the_one_error(raw: bytes) -> None:
    with contextlib.suppress(CorruptError):
        assert 0 <= bad_lines(raw) <= raw.count(b"\n") + 1


@pytest.mark.parametrize("line", [b"\n", b"{}\n", b"x\n"])
def test_file_of_too_many_short_lines_is_refused_before_any_is_read(line: bytes) -> None:
    assert bad_lines(b"{}\n" * LINES_MAX) == 0
    with pytest.raises(CorruptError, match="more than"):
        bad_lines(b"{}\n" + line * LINES_MAX)
