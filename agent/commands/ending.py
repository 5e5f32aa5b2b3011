"""``end-service``: a signed notice that the service ends, or the owner's word that goes on without it; what is told.

What follows from it, and when, is ``agent/policy/ending.py``.
"""

from collections.abc import Callable
from typing import Final

from agent.clock import MS_PER_S, rfc3339_ms
from agent.commands.world import Act
from agent.envelope import Command, EndService, Key
from agent.index import Tx
from agent.model import Moment, Outcome
from agent.outbox import Outbox, RaiseIn
from agent.policy import Policy
from agent.policy.ending import Service
from agent.rights import newest, service
from agent.trust import Trust

_MATTER: Final = (("service", ""),)

SENTENCES: Final = {
    "noticed": "The service of this device ends at {ends}; until then all goes on.",
    "ended": "The service of this device has ended{why}; what is here goes at {due}.",
    "deleting": "The service of this device has ended{why}; what nothing keeps is being deleted.",
    "done": "The service of this device has ended{why}; what nothing keeps is gone, here and at its stores.",
}


def sentence(now: Service, *, plan: str) -> str:
    """Say how the service stands, for its owner; "" while it is served."""
    why = "" if now.by else ": its cloud was silent for longer than the policy allows"
    told = SENTENCES.get(now.stage, "")
    if now.stage == "ended" and plan != "delete":
        told = "The service of this device has ended{why}; what is here ends by its own limits."
    return told.format(ends=rfc3339_ms(now.ends_ms), due=rfc3339_ms(now.due_ms), why=why)


def tell(tx: Tx, new: Service, *, policy: Policy, alert: RaiseIn, outbox: Outbox, moment: Moment) -> None:
    """Raise, or end, the owner's alert in the transaction of the change."""
    if what := sentence(new, plan=policy.ending):
        outbox.clear_alert(tx, "service_ending", moment=moment)  # another stage is told at once
        alert(tx, "service_ending", what, moment)
    else:
        outbox.clear_alert(tx, "service_ending", moment=moment)


def acting(*, policy: Callable[[], Policy], trust: Trust, alert: RaiseIn, outbox: Outbox) -> Act:
    """Return the effect of the verb."""

    def act(tx: Tx, key: Key, command: Command, moment: Moment) -> tuple[Outcome, ...]:
        request = command.request
        assert isinstance(request, EndService), "the act of another verb"  # noqa: S101 - a bug, not input
        newest.require(tx, key, command, _MATTER)
        if request.resume:
            changed = service.resume(tx, key, command=command.jti, moment=moment)
        else:
            ends_ms = (request.ends or 0) * MS_PER_S
            keys = trust.key_set(tx)
            known = frozenset(one.kid for one in keys.keys) if keys is not None else frozenset[str]()
            changed = service.notice(tx, key, command=command.jti, ends_ms=ends_ms, known=known, moment=moment)
        newest.note(tx, key, command, _MATTER, moment=moment)
        if changed:
            tell(tx, service.standing(tx), policy=policy(), alert=alert, outbox=outbox, moment=moment)
        return ()

    return act
