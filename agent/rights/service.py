"""Whether the service that this device belongs to goes on, as it stands in the index.

The stages and what leads from one to the next are ``agent/policy/ending.py``; a change of stage is in one transaction
with its audit event (I7), so that power that fails leaves the old stage or the new one.
"""

from collections.abc import Collection
from typing import Final

import msgspec

from agent import audit
from agent.audit import Event
from agent.envelope import Key
from agent.errors import RefusedError
from agent.index import Tx
from agent.index import service as rows
from agent.model import Moment
from agent.policy.ending import Service, noticed

NOTICE_MAX_MS: Final = 366 * 86_400_000
"""A notice for later than this says nothing that anybody plans by; silence ends the service all the same."""


def standing(tx: Tx) -> Service:
    """Return how the service stands."""
    row = rows.read(tx)
    return Service() if row is None else msgspec.convert(row, Service)


def ended(tx: Tx) -> bool:
    """Tell whether nothing is collected any more."""
    return standing(tx).ended


def keep(tx: Tx, new: Service, *, actor: str = "device", moment: Moment) -> bool:
    """Write how the service stands; return whether that is another stage, which then stands in the audit log too."""
    changed = new.stage != standing(tx).stage
    rows.write(tx, msgspec.structs.asdict(new))
    if changed:
        audit.append(tx, Event(kind="service_changed", rule=new.stage, actor=actor, command=new.command), moment=moment)
    return changed


def notice(tx: Tx, key: Key, *, command: str, ends_ms: int, known: Collection[str], moment: Moment) -> bool:
    """Take a signed notice that the service ends; return whether it changes anything.

    ``known`` are the ids of the keys that are trusted now. Raises ``RefusedError`` for a time that is too far away
    (``too_large``), and where the notice of another key stands (``not_granted``): only that key or the owner's client
    moves it, or anybody once that key left the set.
    """
    if ends_ms - moment.agent_ms > NOTICE_MAX_MS:
        raise RefusedError("a notice names a time within a year", reason="too_large", retry="after_fix")
    before = standing(tx)
    if before.stage == "noticed" and key.role != "client" and before.by != key.kid and before.by in known:
        raise RefusedError("another key gave the notice that stands", reason="not_granted")
    new = noticed(before, by=key.kid, command=command, ends_ms=ends_ms, moment=moment)
    if new == before:
        return False
    keep(tx, new, actor=key.kid, moment=moment)
    return True


def resume(tx: Tx, key: Key, *, command: str, moment: Moment) -> bool:
    """Go on without that service, or after it, because the owner says so; return whether that changes anything.

    Raises ``RefusedError`` (``not_granted``) for everybody else.
    """
    if key.role != "client":
        raise RefusedError("only the owner's client takes an end of service back", reason="not_granted")
    new = Service(command=command, looked_ms=moment.agent_ms)
    return keep(tx, new, actor=key.kid, moment=moment)
