"""Which command on a matter is the newest: one that a broker kept back, or that was sent again, does not undo it.

For what each command sets as a whole and the last one counts: what something is called, and whether the service goes
on. Of one key the larger ``seq`` is newer; a command is older too where another of the owner's clients signed its own
later. A backend's word never makes a client's an older one. Everything happens in the caller's transaction.
"""

from collections.abc import Iterable
from typing import Final

from agent.clock import MS_PER_S
from agent.envelope import Command, Key
from agent.errors import RefusedError
from agent.index import Tx
from agent.index import newest as rows
from agent.model import Moment

KEYS_MAX: Final = 64
"""Keys of which the newest command on one matter is known: more than a key set ever has of clients."""

AHEAD_S: Final = 300
"""By so much a command's ``iat`` may be ahead of our clock where that is sure (``docs/protocol.md`` section 4)."""

Matter = tuple[str, str]
"""What is set, and of which camera or object; ``""`` of the device."""


def require(tx: Tx, key: Key, command: Command, matters: Iterable[Matter]) -> None:
    """Raise ``RefusedError`` (``superseded``) for a command that is older than what was said of one of these."""
    for matter, target in matters:
        is_old = command.seq < rows.own(tx, matter, target, key.kid)
        if is_old or command.iat < rows.of_others(tx, matter, target, key.kid):
            raise RefusedError(
                "something newer was said of it", reason="superseded", retry="after_fix", hint="give it again"
            )


def note(tx: Tx, key: Key, command: Command, matters: Iterable[Matter], *, moment: Moment) -> None:
    """Note a command that had its effect: what is older has none any more.

    While our clock is unsure no ``iat`` was judged: one that lies ahead of it silences no other client for years.
    """
    is_owners = key.role == "client"
    iat_s = min(command.iat, moment.agent_ms // MS_PER_S + AHEAD_S)
    for matter, target in matters:
        rows.note(tx, matter, target, key.kid, owner=is_owners, seq=command.seq, iat_s=iat_s, keep=KEYS_MAX)
