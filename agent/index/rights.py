"""Tables of ``agent/rights.py``; none yet."""

from typing import Final

MIGRATIONS: Final[tuple[str, ...]] = ()
