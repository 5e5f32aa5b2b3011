"""Which names are usage logs', and which of them a rotation gave: ``x.jsonl.1``, ``x.1.jsonl``, ``x.jsonl-20261122``.

Rules: a number or a date behind the name, or before its ending, is a rotation's; a date may have its hour, minute and
second behind it (``x.jsonl.2026-11-22_10-30``). A name that only a rotation gives (the ending is not the last thing in
it) is read as the end of a log that is known, never as a log of its own. What a rotation compressed is not read.
"""

import re
from typing import Final

from agent.sources.place import MEDIA

_LOGS: Final = "|".join(ending for ending, (_, category) in MEDIA.items() if category == "usage-log")
_ENDING: Final = f"(?i:{_LOGS})"
_LOG: Final = re.compile(rf".+\.{_ENDING}", re.DOTALL)
_CLOCK: Final = r"[-_T.]?\d\d(?:[-_.:]?\d\d){0,2}"
_STAMP: Final = rf"(?:\d{{1,14}}|\d{{4}}-?\d\d-?\d\d(?:{_CLOCK})?)"
_BEHIND: Final = re.compile(rf"(.+\.{_ENDING})[.-]{_STAMP}", re.DOTALL)
_BEFORE: Final = re.compile(rf"(.+?)[.-]{_STAMP}(\.{_ENDING})", re.DOTALL)


def unrotated(path: str) -> str:
    """Return the path that a log had before its rotation; any other path as it is."""
    behind = _BEHIND.fullmatch(path)
    if behind is not None:
        return behind[1]
    before = _BEFORE.fullmatch(path)
    return path if before is None else before[1] + before[2]


def is_log(path: str) -> bool:
    """Tell whether a usage log has such a name, rotated or not."""
    return _LOG.fullmatch(path) is not None or is_only_rotated(path)


def is_only_rotated(path: str) -> bool:
    """Tell whether only a rotation gives such a name."""
    return _BEHIND.fullmatch(path) is not None
