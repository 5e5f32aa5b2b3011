"""Messages of nobody we know: counted always, audited and told the owner at most once a minute, never answered."""

import contextlib
from typing import Final

from agent import audit
from agent.audit import Event
from agent.errors import SpaceError
from agent.index import Index, Tx
from agent.model import Moment
from agent.outbox import Alert, Outbox
from agent.trust import Trust

AUDIT_PAUSE_MS: Final = 60_000
"""Messages of strangers are counted always and audited at most this often."""


class Strangers:
    """``counters`` by reason, since the start."""

    def __init__(self, *, index: Index, trust: Trust, outbox: Outbox) -> None:
        self._index = index
        self._trust = trust
        self._outbox = outbox
        self._told_ms: dict[str, int] = {}
        self._untold: dict[str, int] = {}
        self.counters: dict[str, int] = {"unreadable": 0, "unknown_key": 0, "bad_signature": 0}

    async def count(self, why: str, *, via: str, moment: Moment) -> None:
        """Count what nobody is known for; audit and alert at most once in ``AUDIT_PAUSE_MS``."""
        self.counters[why] += 1
        self._untold[why] = self._untold.get(why, 0) + 1
        last_ms = self._told_ms.get(why)
        if last_ms is not None and moment.agent_ms - last_ms < AUDIT_PAUSE_MS:
            return
        self._told_ms[why] = moment.agent_ms
        count = self._untold.pop(why)

        def note(tx: Tx) -> None:
            detail: dict[str, str | int] = {"why": why, "count": count, "via": via}
            audit.append(tx, Event(kind="command_refused", rule=why, actor="", detail=detail), moment=moment)
            if why == "unknown_key":
                alert = Alert(
                    code="unknown_keys",
                    what="Commands arrive that are signed by keys outside the key set.",
                    effect="They are dropped without an answer.",
                    next="If one of your keys is new, submit the key set that names it.",
                )
                readers = self._trust.keys_of(tx, "client", moment=moment)
                self._outbox.raise_alert(tx, alert, readers=readers, moment=moment)

        with contextlib.suppress(SpaceError):  # strangers get nothing of the reserved space
            await self._index.write(note)
