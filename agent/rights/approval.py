"""n of m: what the owner's key set lets act only once several of the owner's clients have signed for it.

Rules: a client's own command is its word, an ``approve`` of exactly that command and selection is another's; each
client counts once, and only while the key set has it; a word is in the transaction of the ``approve`` that gives it.
What the device itself asks (a policy file that waits, a retention pass) has no sender: each word is an ``approve``.
"""

from collections.abc import Callable

from agent import audit
from agent.audit import Event
from agent.envelope import Approvals, Key
from agent.index import Tx
from agent.index import approval as rows
from agent.model import Moment


def say(tx: Tx, command: str, key: Key, *, moment: Moment) -> bool:
    """Note a client's word for a command; ``False`` when it was given before."""
    if not rows.insert(tx, command, key.kid, said_ms=moment.agent_ms):
        return False
    audit.append(tx, Event(kind="command_approved", actor=key.kid, command=command), moment=moment)
    return True


def has_said(tx: Tx, command: str, key: Key) -> bool:
    """Tell whether a client has given its word for a command."""
    return key.kid in rows.kids(tx, command)


def lacking(
    tx: Tx,
    approvals: Approvals | None,
    *,
    command: str,
    verb: str,
    sender: Key | None,
    key_of: Callable[[str], Key | None],
) -> int:
    """Return how many words a command still needs; ``key_of`` returns a key that is valid now."""
    if approvals is None or verb not in approvals.verbs:
        return 0
    words = {kid for kid in rows.kids(tx, command) if _counts(key_of(kid))}
    if sender is not None and sender.role == "client":
        words.add(sender.kid)
    return max(0, approvals.need - len(words))


def forget(tx: Tx, command: str) -> None:
    """Forget the words for a command that waits for none any more."""
    rows.delete(tx, command)


def _counts(key: Key | None) -> bool:
    return key is not None and key.role == "client" and "approve" in key.verbs
