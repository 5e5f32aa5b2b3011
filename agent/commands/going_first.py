"""The words of the owner's that go before what is handed out to a third party, which no receipt takes back.

A delete, an objection, a withdrawal and a refusal go first: each that runs and has not decided yet about some object. A
large one reaches its last object minutes behind its first. One that waits, perhaps for this very export, does not run.
"""

from collections.abc import Callable, Collection, Iterator
from typing import Final

from agent.commands.ledger import RUNNING
from agent.index import Tx
from agent.trust import CommandRow, Trust

_VERBS: Final = ("delete", "object", "withdraw", "consent")
"""One of these that gives (a consent) has selected nothing, and is never met here."""


def going_first(
    tx: Tx, trust: Trust, objects: Callable[[], Collection[str]]
) -> Iterator[tuple[CommandRow, tuple[str, ...]]]:
    """Yield each such word with those of some objects about which it has not decided; mostly none is asked for."""
    for jti in (jti for verb in _VERBS for jti in sorted(trust.open_of(tx, verb))):
        row = trust.command(tx, jti)
        if row is None or row.status not in RUNNING or row.role != "client":
            continue
        selected, ids = trust.frozen(tx, jti), objects()
        few, many = (selected, frozenset(ids)) if len(selected) < len(ids) else (ids, selected)
        if undecided := trust.undecided(tx, jti, [one for one in few if one in many]):
            yield row, undecided
