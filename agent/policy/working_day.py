"""Working days, Monday to Friday in UTC: when a request has to be answered, and how many days are left. Pure.

The day on which something was asked does not count, and the last day counts to its end (as Regulation (EEC) No 1182/71
counts). Public holidays are working days here: they differ from place to place, and nobody is answered later by that.
"""

from typing import Final

DAY_MS: Final = 86_400_000
_WEEK_DAYS: Final = 7
_WORKING: Final = 5
_THURSDAY: Final = 3  # 1 January 1970


def due_ms(asked_ms: int, working_days: int) -> int:
    """Return when the last of that many working days ends; ``asked_ms`` is Unix milliseconds."""
    day = asked_ms // DAY_MS
    left = working_days
    while left:
        day += 1
        left -= _is_working(day)
    return (day + 1) * DAY_MS


def days_left(now_ms: int, due: int) -> int:
    """Return how many working days begin until ``due``, the present one not counted; 0 on the last and behind it."""
    first, end = now_ms // DAY_MS + 1, due // DAY_MS
    if end <= first:
        return 0
    weeks, rest = divmod(end - first, _WEEK_DAYS)
    return weeks * _WORKING + sum(_is_working(first + day) for day in range(rest))


def _is_working(day: int) -> bool:
    """Tell whether a day since 1970 is one from Monday to Friday."""
    return (day + _THURSDAY) % _WEEK_DAYS < _WORKING
