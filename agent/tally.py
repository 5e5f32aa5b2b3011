"""What field rules did to usage logs: of each object that came of one, and in all by source.

Written in the transaction that makes a log an object, so that no line is counted twice or not at all (I7). Numbers
only: neither a field's name nor a value is in them.
"""

from typing import Any

import msgspec

from agent.index import Tx
from agent.index import tally as rows
from agent.policy.fields.tally import Tally


def keep(tx: Tx, object_id: str, *, source: str, told: Tally) -> None:
    """Keep what became of an object's lines and fields; the object is there."""
    rows.insert(tx, object_id, told.numbers())
    rows.add(tx, source, told.numbers())


def view(tx: Tx, object_id: str) -> dict[str, Any]:
    """Return ``{"fields": …}`` of an object that was made under field rules, else nothing."""
    found = rows.of_object(tx, object_id)
    return {} if found is None else {"fields": msgspec.to_builtins(Tally.of(found))}


def sums(tx: Tx) -> dict[str, Tally]:
    """Return what became of all that was taken in under field rules, by source."""
    return {source: Tally.of(numbers) for source, *numbers in rows.sums(tx)}
