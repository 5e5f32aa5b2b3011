"""What field rules did to logs, as numbers: no name and no value is in it."""

from collections.abc import Iterable

import msgspec


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the lines and fields of one log, or of many together.

    ``lines`` stayed, ``bad_lines`` were no JSON object or too long, ``bare_lines`` had nothing left. ``unknown`` fields
    no rule names; ``dropped`` ones a rule drops; ``unfit`` ones were not of the kind that their rule is for;
    ``changed`` ones stayed as something else.
    """

    lines: int = 0
    bad_lines: int = 0
    bare_lines: int = 0
    unknown: int = 0
    dropped: int = 0
    unfit: int = 0
    changed: int = 0

    @classmethod
    def of(cls, numbers: Iterable[int]) -> "Tally":
        """Return it from its numbers, in the order of the fields above."""
        return cls(**dict(zip(cls.__struct_fields__, numbers, strict=True)))

    def numbers(self) -> tuple[int, ...]:
        """Return its numbers, in the order of the fields above."""
        return tuple(getattr(self, name) for name in self.__struct_fields__)
