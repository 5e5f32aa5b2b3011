"""How often the counter may be raised: a TPM's memory wears out, so that is a budget, and what exceeds it waits.

A raise writes one cell of the TPM. ``ENDURANCE`` is the number of writes that this project counts on: makers of TPMs
state 100,000 to 500,000 for a cell. Ten years have 87,660 hours, so one raise an hour in the long run, and a burst of
12,000 besides, stay below it. What is due while nothing is left of the burst is done together at the next full hour
(``Keystore.settle``); until then receipts say ``software``, because a copy of the file would still open.

The generic cell rate algorithm would keep one time; here two numbers are kept, because a person wants to read the rest.
"""

from typing import Final

import msgspec

PAUSE_MS: Final = 3_600_000
BURST: Final = 12_000
ENDURANCE: Final = 100_000
LIFE_MS: Final = 3_652_500 * 86_400
"""Ten years of 365.25 days."""

ANCHOR_MS: Final = 24 * PAUSE_MS
"""An index that is older than this is refused when it is put back: the roots change at least so often."""


class Wear(msgspec.Struct, frozen=True, array_like=True):
    """Raises that may be made at once, the agent time until when they were counted, and that of the last raise."""

    left: int = BURST
    counted_ms: int = 0
    raised_ms: int = 0

    def at(self, now_ms: int) -> "Wear":
        """Count the hours that have passed; a clock that went back gives none."""
        hours = (now_ms - self.counted_ms) // PAUSE_MS
        if hours <= 0:
            return self
        return Wear(min(BURST, self.left + hours), self.counted_ms + hours * PAUSE_MS, self.raised_ms)

    def raised(self, now_ms: int) -> "Wear":
        """Take one."""
        assert self.left > 0, "no raise is left"  # noqa: S101 - a caller's mistake
        return Wear(self.left - 1, self.counted_ms, max(self.raised_ms, now_ms))

    def anchor_is_due(self, now_ms: int) -> bool:
        """Tell whether the counter was not raised for so long that an index of then would still be believed."""
        return self.left > 0 and now_ms - self.raised_ms >= ANCHOR_MS
