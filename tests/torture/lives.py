"""The lives that are lived under every fault, by name; the start after a death is one more (``life_start.py``)."""

from typing import Final

from tests.torture import (
    life_delete,
    life_export,
    life_hold,
    life_ingest,
    life_leave,
    life_policy,
    life_restrict,
    life_retain,
    life_rotate,
    life_upload,
    life_withdraw,
)
from tests.torture.script import Script

LIVES: Final[dict[str, Script]] = {
    life.SCRIPT.name: life.SCRIPT
    for life in (
        life_ingest,
        life_upload,
        life_delete,
        life_hold,
        life_restrict,
        life_withdraw,
        life_policy,
        life_rotate,
        life_retain,
        life_export,
        life_leave,
    )
}

SAMPLED: Final = frozenset(LIVES) - {"ingest", "upload", "delete"}
"""Lives of which the short form tries some points by seed; every point of every life is the long form's."""
