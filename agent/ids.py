"""Many ids as one value: sorted, each once, 26 bytes each with nothing between them (docs/decisions/0005).

A selection may hold a million. As separate strings they take a hundred megabytes and seconds; as one value 26 MB, and
what is asked of it (is an id in it, what comes behind one, its hash) is found without taking it apart.
"""

import hashlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Self, TypeVar, overload

ID_BYTES: Final = 26

_BLOCK: Final = 1 << 14
"""Ids that are hashed at once: bounds memory, and how long nobody else runs."""

Value = TypeVar("Value", int, str)


def among(ordered: Sequence[Value], wanted: Value) -> bool:
    """Tell whether a value is among sorted ones."""
    place = bisect_left(ordered, wanted)
    return place < len(ordered) and ordered[place] == wanted


class Ids(Sequence[str]):
    """Sorted ids; ``value`` is what is kept of them."""

    __slots__ = ("value",)

    def __init__(self, value: bytes = b"") -> None:
        assert len(value) % ID_BYTES == 0  # noqa: S101 - a caller's mistake, never input
        self.value = value

    @classmethod
    def of(cls, ids: Iterable[str]) -> Self:
        """Take ids in any order; for some thousands, not for a million."""
        return cls("".join(sorted(set(ids))).encode("ascii"))

    def __len__(self) -> int:
        return len(self.value) // ID_BYTES

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self, place: slice) -> Self: ...

    def __getitem__(self, place: int | slice) -> "str | Self":
        if isinstance(place, slice):
            start, stop, step = place.indices(len(self))
            assert step == 1  # noqa: S101 - a caller's mistake, never input
            return type(self)(self.value[start * ID_BYTES : max(start, stop) * ID_BYTES])
        if not -len(self) <= place < len(self):
            raise IndexError(place)
        start = place % len(self) * ID_BYTES
        return self.value[start : start + ID_BYTES].decode("ascii")

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self.value), ID_BYTES):
            yield self.value[start : start + ID_BYTES].decode("ascii")

    def __contains__(self, wanted: object) -> bool:
        return isinstance(wanted, str) and among(self, wanted)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ids) and self.value == other.value

    def __hash__(self) -> int:
        return hash(self.value)

    def __repr__(self) -> str:
        return f"Ids({len(self)})"

    def joined(self, more: Iterable[str]) -> Self:
        """Return them and a few more."""
        pieces, done = [], 0
        for one in sorted(set(more)):
            place = bisect_left(self, one) * ID_BYTES
            pieces.append(self.value[done:place])
            done = place
            if self.value[place : place + ID_BYTES] != one.encode("ascii"):
                pieces.append(one.encode("ascii"))
        return type(self)(b"".join([*pieces, self.value[done:]])) if pieces else self

    def selection_hash(self) -> str:
        """Return the SHA-256 in hex over the ids, each followed by a line feed (docs/protocol.md §5)."""
        digest = hashlib.sha256()
        for start in range(0, len(self.value), _BLOCK * ID_BYTES):
            block = self.value[start : start + _BLOCK * ID_BYTES]
            lines = bytearray(b"\n" * (len(block) // ID_BYTES * (ID_BYTES + 1)))
            for place in range(ID_BYTES):
                lines[place :: ID_BYTES + 1] = block[place::ID_BYTES]
            digest.update(lines)
        return digest.hexdigest()
