"""The rules for the fields of a usage log, as frozen values; they travel to the sealing process in MessagePack.

A rule says what becomes of one field's value, or of each value of its list. ``null`` stays ``null`` under each of them
but ``Drop``: it says that there was nothing to say. A value that a rule cannot be applied to is dropped, and counted.
"""

from typing import Final

import msgspec

FIELDS_MAX: Final = 256
"""Rules of one category, those within objects included; a camera's usage log has some dozens of fields."""

DEPTH_MAX: Final = 4
"""Objects within objects."""

PERIODS_MAX: Final = 8
"""Different rotation periods: each has a key of its own in the keystore, whose size is fixed."""


class Keep(msgspec.Struct, frozen=True, tag="keep"):
    """As it is: a text, a number, true, false, or a list of these. What is inside an object needs rules of its own."""


class Drop(msgspec.Struct, frozen=True, tag="drop"):
    """Neither name nor value stays."""


class Pseudonym(msgspec.Struct, frozen=True, tag="pseudonym"):
    """A text or number becomes a keyed hash: the same for the same value of the same field until the key's rotation."""

    period_ms: int


class Truncate(msgspec.Struct, frozen=True, tag="truncate"):
    """Of an IP address so many leading bits stay, the others become 0."""

    v4_bits: int
    v6_bits: int


class Round(msgspec.Struct, frozen=True, tag="round"):
    """A number is rounded down to a multiple of ``step``; down, so that the coarser of two follows from the finer."""

    step: int | float


class RoundTime(msgspec.Struct, frozen=True, tag="round-time"):
    """A time, RFC 3339 or Unix, is rounded down to a multiple of ``step_ms`` since 1970, in UTC."""

    step_ms: int


class Ranges(msgspec.Struct, frozen=True, tag="ranges"):
    """A number becomes the range that it lies in; ``bounds`` rise, and each begins a range."""

    bounds: tuple[int | float, ...]


class Groups(msgspec.Struct, frozen=True, tag="groups"):
    """A text becomes the name of its group, or ``other``."""

    groups: dict[str, tuple[str, ...]]


class Inside(msgspec.Struct, frozen=True, tag="fields"):
    """An object, or each of a list, has rules for its own fields."""

    fields: "dict[str, FieldRule]"


FieldRule = Keep | Drop | Pseudonym | Truncate | Round | RoundTime | Ranges | Groups | Inside

OTHER: Final = "other"
"""The group of what is in none."""


class Fields(msgspec.Struct, frozen=True):
    """The rules for one category, by the fields' names."""

    rules: dict[str, FieldRule]


class KeyedFields(msgspec.Struct, frozen=True, array_like=True):
    """The rules as they travel to where they are applied, with the pseudonyms' key of each rotation period.

    ``counted`` names fields, and those of their values that are to be counted, as the log has them.
    """

    fields: Fields
    keys: dict[int, bytes]
    counted: dict[str, tuple[str, ...]] = {}

    def __repr__(self) -> str:
        return f"KeyedFields({len(self.fields.rules)} fields, {len(self.keys)} keys)"


encode_rules: Final = msgspec.msgpack.Encoder().encode
decode_rules: Final = msgspec.msgpack.Decoder(KeyedFields).decode


def periods_ms(fields: Fields) -> frozenset[int]:
    """Return the rotation periods for which keys are needed."""
    return frozenset(_periods(fields.rules))


def count_rules(rules: dict[str, FieldRule]) -> int:
    """Return how many rules there are, those within objects included."""
    return len(rules) + sum(count_rules(rule.fields) for rule in rules.values() if isinstance(rule, Inside))


def _periods(rules: dict[str, FieldRule]) -> list[int]:
    found = []
    for rule in rules.values():
        if isinstance(rule, Pseudonym):
            found.append(rule.period_ms)
        elif isinstance(rule, Inside):
            found.extend(_periods(rule.fields))
    return found
