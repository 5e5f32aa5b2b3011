"""Memory that begins on a page."""

import ctypes
import mmap

import pytest

from agent.pages import page_buffer


@pytest.mark.parametrize("size_bytes", [1, 4096, 512 * 1024 + 1])
def test_buffer_is_zeroed_as_long_as_asked_and_begins_on_a_page(size_bytes: int) -> None:
    buffer = page_buffer(size_bytes)
    assert bytes(buffer) == bytes(size_bytes)
    assert ctypes.addressof(ctypes.c_char.from_buffer(buffer)) % mmap.PAGESIZE == 0


def test_part_of_a_buffer_keeps_all_of_it() -> None:
    part = page_buffer(2 * mmap.PAGESIZE)[mmap.PAGESIZE :]
    part[:] = b"x" * mmap.PAGESIZE
    assert bytes(part) == b"x" * mmap.PAGESIZE
