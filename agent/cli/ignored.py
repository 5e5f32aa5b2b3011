"""What arrived and has no answer, in the words of a person who reads ``status``."""

from collections import Counter
from typing import Final

_WORDS: Final = {
    "line": {
        "retained": "retained messages",
        "too_large": "messages that are too large",
        "queue_full": "messages beyond what can wait",
        "unknown_topic": "messages on other topics",
    },
    "commands": {
        "unreadable": "unreadable commands",
        "unknown_key": "commands of unknown keys",
        "bad_signature": "forged commands",
        "flood": "commands of a flood",
    },
    "answers": {
        "no_store": "answers of unknown stores",
        "bad_signature": "forged answers of a store",
        "malformed": "unreadable answers of a store",
        "wrong_audience": "answers to another device",
    },
}
_LATE: Final = "late_"
"""Begins the reasons of answers for which nothing waits any more: a line that comes and goes brings some."""


def ignored_words(told: dict[str, dict[str, int]]) -> str:
    """Return the counts of ``status``, the most frequent first, in one line."""
    counts: Counter[str] = Counter()
    for name, reasons in told.items():
        for reason, count in reasons.items():
            late = "late answers of a store" if reason.startswith(_LATE) else f"{name}: {reason.replace('_', ' ')}"
            counts[_WORDS[name].get(reason, late)] += count
    return ", ".join(f"{words}: {count}" for words, count in counts.most_common()) + " (since the start)"
