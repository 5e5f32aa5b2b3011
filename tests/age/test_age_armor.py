"""The armor's limits; what is right and wrong inside it is in the vectors."""

import io

import pytest

from agent.age import ArmorError, ArmorReader
from agent.age.armor import WHITESPACE_MAX_BYTES
from tests.age.armoring import armor, dearmor

RAW = bytes(range(256)) * 40


def test_white_space_around_is_at_the_limit_is_taken_and_beyond_it_refused() -> None:
    text = armor(RAW)
    room = b" " * (WHITESPACE_MAX_BYTES - 1) + b"\n"
    assert dearmor(room + text + room) == RAW
    with pytest.raises(ArmorError, match="before"):
        dearmor(b" " + room + text)
    with pytest.raises(ArmorError, match="after"):
        dearmor(text + room + b" ")


def test_line_never_ends_is_refused_before_it_fills_memory() -> None:
    class Endless:
        read_bytes = 0

        def readinto(self, buffer: memoryview, /) -> int:
            if self.read_bytes > 4_000_000:
                return 0  # far enough: a reader with no limit must fail here, not hang
            buffer[:] = b" " * len(buffer)
            self.read_bytes += len(buffer)
            return len(buffer)

    endless = Endless()
    with pytest.raises(ArmorError, match="too long"):
        ArmorReader(endless).readinto(memoryview(bytearray(10)))
    assert endless.read_bytes < 200_000


def test_armor_is_read_again_after_an_error_fails_again() -> None:
    reader = ArmorReader(io.BytesIO(b"nonsense\n" + armor(RAW)))
    for _ in range(2):
        with pytest.raises(ArmorError, match="does not begin"):
            reader.readinto(memoryview(bytearray(10)))
