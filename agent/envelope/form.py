"""The forms of single claims (``docs/protocol.md`` §2), once; each is anchored so that no line feed slips through."""

import datetime as dt
import re
from typing import Final

from agent.errors import RefusedError

ID: Final = r"\A[a-z2-7]{26}\Z"
KID: Final = r"\A[A-Za-z0-9_-]{43}\Z"
HASH: Final = r"\A[0-9a-f]{64}\Z"
AGE_RECIPIENT: Final = r"\Aage1[a-z0-9]{16,4096}\Z"
REGION: Final = r"\A[A-Za-z0-9._-]{1,64}\Z"
EPOCH: Final = r"\A[A-Za-z0-9_-]{1,64}\Z"
PURPOSE: Final = r"\A[a-z][a-z0-9_-]{0,31}\Z"
"""A purpose's name, as a policy may have it."""
NAME: Final = r"\A[^\x00-\x1f\x7f]{0,100}\Z"
SECONDS: Final = 253_402_300_799
"""The last second of the year 9999: every later one breaks RFC 3339."""
UINT: Final = 2**53 - 1

_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)
_MS_PER_S: Final = 1000


def unix_ms(text: str) -> int:
    """Read a data field's time into Unix milliseconds; raises ``RefusedError`` (``malformed``)."""
    wrong = RefusedError("a time is written 2026-03-01T10:15:00.000Z", reason="malformed", retry="after_fix")
    if _TIME.fullmatch(text) is None:
        raise wrong
    try:
        return round(dt.datetime.fromisoformat(text).timestamp() * _MS_PER_S)
    except ValueError as error:
        raise wrong from error
