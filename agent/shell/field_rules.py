"""What field rules did to usage logs, in words, for the device and for its owner."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

_LEFT_OUT: Final = (
    ("bad_lines", "lines that are no JSON objects"),
    ("bare_lines", "lines of which nothing was left"),
    ("dropped", "fields that a rule drops"),
    ("unknown", "fields that no rule names"),
    ("unfit", "values that their rule is not for"),
)


def words_of(told: Mapping[str, Any]) -> str:
    """Return a sentence of the numbers that are told of one log, or of many; they may be anybody's, and odd."""
    left_out = [f"{told[name]} {words}" for name, words in _LEFT_OUT if told.get(name)]
    kept = f"{told.get('lines', 0)} lines kept, {told.get('changed', 0)} values changed"
    return f"{kept}; left out: {', '.join(left_out)}" if left_out else f"{kept}; nothing left out"


def summed(objects: Iterable[Mapping[str, Any]]) -> str:
    """Return the same of all listed objects that were made under field rules, or ``""`` where none was."""
    sums: dict[str, int] = {}
    for one in objects:
        told = one.get("fields")
        if isinstance(told, dict):
            sums |= {name: sums.get(name, 0) + count for name, count in told.items() if type(count) is int}
    return f"usage logs by field rules: {words_of(sums)}" if sums else ""
