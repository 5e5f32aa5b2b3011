"""Tables of ``agent/registry.py``; none yet."""

from typing import Final

MIGRATIONS: Final[tuple[str, ...]] = ()
