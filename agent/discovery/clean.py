"""The text of strangers, made fit for a terminal, a log and a table.

Rules: nothing that moves a cursor, turns the writing direction, breaks a line or cannot be seen is kept; neither are
piles of combining marks; what is left is cut to ``TEXT_MAX`` characters. Pure.
"""

import re
import unicodedata
from typing import Final

from agent.discovery.sighting import TEXT_MAX

MARKS_MAX: Final = 2
"""Combining marks in a row; Vietnamese needs two where no composed letter exists."""

_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
_READ_MAX: Final = 4 * TEXT_MAX  # no more of a long text is looked at

_CAMERA_ID: Final = re.compile(r"[a-z2-7]{16}")


def clean(raw: str) -> str:
    """Return the text with U+FFFD for every run of characters that cannot be printed."""
    kept: list[str] = []
    marks = 0
    for character in unicodedata.normalize("NFC", raw[:_READ_MAX]).strip():
        marks = marks + 1 if unicodedata.category(character) in {"Mn", "Me"} else 0
        if marks > MARKS_MAX:
            continue
        if character.isprintable():  # of the white space only U+0020 is
            kept.append(character)
        elif not kept or kept[-1] != _REPLACEMENT:
            kept.append(_REPLACEMENT)
    return "".join(kept)[:TEXT_MAX]


def camera_id(raw: str) -> str:
    """Return the rotating id of an advert (16 lower-case base32 characters), or "" for anything else."""
    return raw if _CAMERA_ID.fullmatch(raw) else ""
