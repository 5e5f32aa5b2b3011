"""The policy in force; a change of it stands in the audit log."""

import hashlib

from agent import audit
from agent.audit import Event
from agent.index import Tx
from agent.index import rights as rows
from agent.model import Moment


def put_in_force(tx: Tx, document: bytes, *, version: int, moment: Moment) -> bool:
    """Note that this policy document is obeyed from now on; return whether it is another one than before.

    It decides what is deleted, so the change stands in the audit log, by the document's SHA-256.
    """
    sha256 = hashlib.sha256(document).hexdigest()
    if sha256 == rows.policy_in_force(tx):
        return False
    rows.set_policy_in_force(tx, sha256, since_ms=moment.agent_ms)
    detail: dict[str, str | int] = {"sha256": sha256, "version": version}
    audit.append(tx, Event(kind="policy_changed", actor="local", detail=detail), moment=moment)
    return True
