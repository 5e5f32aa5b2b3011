"""What a fuzz target is: a reader of bytes, the errors that it declares, and examples to begin with."""

from collections.abc import Callable, Iterable
from typing import Final

import msgspec

LARGEST: Final = 4096
"""Bytes of an input where the target says nothing else: small ones are tried more often."""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """``read`` hands the bytes to a parser as the program does; only ``declared`` may come out of it."""

    name: str
    read: Callable[[bytes], object]
    declared: tuple[type[Exception], ...] = ()
    seeds: Callable[[], Iterable[bytes]]
    largest: int = LARGEST

    def takes(self, raw: bytes) -> bool:
        """Tell whether an input was read; a declared error is a no, and every other one escapes."""
        try:
            self.read(raw)
        except self.declared:
            return False
        return True


def text(raw: bytes) -> str:
    """Return what a file or a message can hold as text."""
    return raw.decode("utf-8", "replace")


def words(raw: bytes) -> str:
    """Return what somebody typed, or what a folder holds: bytes that are no UTF-8 come as half characters."""
    return raw.decode("utf-8", "surrogateescape")


BETWEEN: Final = b"\x00|\x00"
"""What stands between the parts of an input that has several."""


def parts(raw: bytes, *, least: int) -> list[bytes]:
    """Split an input into its parts, empty ones behind them as far as ``least``."""
    found = raw.split(BETWEEN)
    return [*found, *([b""] * (least - len(found)))]
