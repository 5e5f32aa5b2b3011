"""What changed while something was being sealed: it is let in for what is allowed now, not for what was.

Sealing takes seconds and a stream's segment a minute, so a purpose may be taken away between the gate and step 4, or
the policy be tightened. There, in the same transaction, what is new is narrowed as everything else was; where that
cannot be done it is not let in, and its source offers it again: each log of several by itself, so that one that may not
come in keeps no other out.
"""

from collections.abc import Callable

from agent.index import Tx
from agent.ingest.known import RightsAtIngest
from agent.ingest.work import Let
from agent.policy import Policy, after_withdrawal
from agent.sources.candidate import IncompleteError
from agent.vault import Draft, Vault


class UseChangedError(IncompleteError):
    """What it may be used for is another by now, or not the same for all of it: each is judged anew, by itself."""


def narrow(
    tx: Tx, told: Draft, let: Let, *, vault: Vault, policy: Callable[[], Policy], rights: RightsAtIngest
) -> None:
    """Narrow what was let in under ``let`` to what is allowed now; raises ``IncompleteError`` to have it come again.

    That is ``UseChangedError`` where nothing is allowed of what it was let in for.
    """
    obeyed = policy()
    now = rights(
        tx,
        camera=told.camera,
        category=told.category,
        captured_from_ms=told.captured_from_ms,
        captured_to_ms=told.captured_to_ms,
    )
    if now.ended:
        raise IncompleteError("the service ended while it was sealed")
    if now.consents == let.consents and obeyed.rule_for(told.camera, told.category) == let.rule:
        return
    item = vault.require(tx, told.id)
    after = after_withdrawal(obeyed, item, now.consents)
    if not after.purposes or after.fate not in {"continues", "resealed"}:
        raise UseChangedError("what it may be used for changed while it was sealed")
    if (after.purposes, after.recipients) == (item.purposes, item.recipients):
        return
    vault.narrow(tx, item, purposes=after.purposes, recipients=after.recipients)
