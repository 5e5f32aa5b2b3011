"""Counts of usage logs' values, until they are told with noise, and the privacy budget that telling them spends.

Rules: what a log adds stands with the object that it became, written in the same transaction, and goes with it: what
was deleted is not told. Counts are forgotten in the transaction that spends the budget for them and keeps what is told,
so each line is in one telling and none is told twice with other noise, wherever power fails. No line is in two objects
(``agent/bookmark.py``), but where a short log is copied again into a folder that is emptied.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from agent.index import Tx
from agent.index import counting as rows

PAGE: Final = 500

_NEAR: Final = 1e-9
"""What the library rounds up at each telling."""


def keep(tx: Tx, object_id: str, counts: Mapping[str, Mapping[str, int]]) -> None:
    """Keep what an object's log adds; the object is there."""
    rows.insert(tx, object_id, ((name, value, n) for name, of in counts.items() for value, n in of.items() if n))


def objects(tx: Tx, *, after: str) -> Sequence[str]:
    """Return the next page of objects whose counts were not told, by id."""
    return rows.objects(tx, after=after, limit=PAGE)


def of_object(tx: Tx, object_id: str) -> Sequence[tuple[str, str, int]]:
    """Return (field, value, count) of what an object adds."""
    return [(field, value, count) for field, value, count in rows.of_object(tx, object_id)]


def spent(tx: Tx) -> float:
    """Return the sum of epsilon over all tellings."""
    found = rows.told(tx)
    return 0.0 if found is None else float(found[0])


def last(tx: Tx) -> dict[str, Any] | None:
    """Return what was told last, as it was told."""
    found = rows.told(tx)
    return None if found is None else msgspec.json.decode(found[1], type=dict[str, Any])


def affords(tx: Tx, cost: float, *, budget: float) -> bool:
    """Tell whether the budget has so much left."""
    return spent(tx) + cost <= budget + _NEAR


def tell(tx: Tx, told: dict[str, Any], *, cost: float, of: Iterable[str]) -> None:
    """Spend the budget, keep what is told, and forget the counts of the objects that it is of."""
    rows.set_told(tx, spent=spent(tx) + cost, told=msgspec.json.encode(told).decode())
    rows.delete(tx, of)
