"""Which of two sets of field rules tells no more than the other: the partial order that the ratchet asks about.

``tells_no_more(new, old)`` holds only if what stays under ``new`` could be made of what stays under ``old``, or changes
its pseudonyms no less often. Rules that cannot be compared are not in order, either way round.
"""

from agent.policy.fields.rule import (
    OTHER,
    Drop,
    FieldRule,
    Fields,
    Groups,
    Inside,
    Keep,
    Pseudonym,
    Ranges,
    Round,
    RoundTime,
    Truncate,
)


def tells_no_more(new: Fields | None, old: Fields | None) -> bool:
    """Tell whether nothing is told under ``new`` that was not under ``old``; ``None`` keeps a log byte for byte."""
    if old is None:
        return True
    return new is not None and _all_below(new.rules, old.rules)


def _all_below(new: dict[str, FieldRule], old: dict[str, FieldRule]) -> bool:
    return all(_below(rule, old.get(name, Drop())) for name, rule in new.items())


def _below(new: FieldRule, old: FieldRule) -> bool:  # noqa: PLR0911 - one return per kind of rule
    if isinstance(new, Drop) or new == old:
        return True
    if isinstance(old, Keep):
        return not isinstance(new, Inside)
    match new, old:
        case Pseudonym(a), Pseudonym(b):
            return a <= b
        case Truncate(a4, a6), Truncate(b4, b6):
            return a4 <= b4 and a6 <= b6
        case Round(a), Round(b):
            return _is_multiple(a, b)
        case RoundTime(a), RoundTime(b):
            return a % b == 0
        case Ranges(a), Ranges(b):
            return set(a) <= set(b)
        case Groups(a), Groups(b):
            return _is_coarser(a, b)
        case Inside(a), Inside(b):
            return _all_below(a, b)
    return False


def _is_multiple(coarse: float, fine: float) -> bool:
    from fractions import Fraction  # noqa: PLC0415 - few policies round, and fewer are compared

    return (Fraction(repr(coarse)) / Fraction(repr(fine))).denominator == 1


def _is_coarser(coarse: dict[str, tuple[str, ...]], fine: dict[str, tuple[str, ...]]) -> bool:
    """Tell whether each group of ``fine`` lies within one of ``coarse``, what is in none taken as a group too."""
    above = {member: name for name, members in coarse.items() for member in members}
    named = {member for members in fine.values() for member in members}
    rest = {name for member, name in above.items() if member not in named}
    return not rest and all(
        len({above.get(one, OTHER) for one in members}) == 1 for members in fine.values() if members
    )
