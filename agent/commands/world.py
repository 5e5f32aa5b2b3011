"""What the flow is told of the world around it, and the judge that an erasure asks for each object."""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from agent.commands.consent import Purposes
from agent.enrolment import AtCamera
from agent.envelope import Command, Key
from agent.index import Tx
from agent.model import AtStore, Moment, Object, Outcome, Requester
from agent.outbox import RaiseIn
from agent.pace import PACES, Pace
from agent.policy import Allow, Conditions, Policy, Refuse, Rights, Subject, decide
from agent.rights.freezing import Freezes

OWNER_ERASE: Final = "owner_erase"
BACKEND_DELETE: Final = "backend_delete"
"""Rules under which commands erase; every other rule is retention's."""


Act = Callable[[Tx, Key, Command, Moment], tuple[Outcome, ...]]
"""The effect of a verb, wholly inside the transaction that takes its command up; returns what became of which objects.

It raises ``RefusedError``, and then has changed nothing.
"""


Wait = Callable[[Tx, Key, Command], str]
"""Why a verb waits for the owner's approve, or ""; raises ``RefusedError`` for what cannot be approved either."""

Told = Callable[[Tx, Key, Command, Moment], None]
"""Tells the owner what waits."""


def _nothing_asked(_tx: Tx, _waiting: str, _selection: str) -> str:
    return ""


def _no_file(_tx: Tx, _key: Key, _command: Command, _moment: Moment) -> tuple[Outcome, ...] | None:
    return None


def _no_word(_tx: Tx, _key: Key, _command: Command) -> None:
    return None


def _nobody_asks(_tx: Tx, _moment: Moment) -> None:
    return None


async def _nothing_collects() -> None:
    return None


async def _nobody_answers(_cameras: tuple[str, ...]) -> dict[str, AtCamera]:
    return {}


def _no_pass(_tx: Tx, _waiting: str, _selection: str, _key: Key) -> bool:
    return False


class World(msgspec.Struct, frozen=True, kw_only=True):
    """What the composition root injects: the policy in force, rights and labels, time, and who to wake.

    ``acts`` holds, by the type of its request, the effect of each verb that needs no work behind the transaction;
    ``paces``, by the role of a key, how fast it may speak; ``purposes`` says what a word on a purpose is about.
    ``heard`` is called for each word of a backend or store that its key signed.
    ``waits`` and ``tell_waiting``, by the same types, why a verb waits for the owner's approve and who tells of it;
    ``asked`` takes (transaction, id, hash) and returns the verb as which a question of the device itself counts, or "".
    ``approve_file`` puts a waiting policy file in force and returns what that cannot end, or ``None``;
    ``approve_policy`` takes a client's word for the document of a command and ``judge_word`` only judges it; they raise
    ``RefusedError`` for one that came too late.
    ``settled`` is told when something waits no more.
    ``changed`` is called on the event loop when the outbox may have something new. ``alert`` tells the owner.
    ``standing`` returns the restrictions and holds that stand. ``approve_pass`` takes (transaction, id, selection hash,
    key) and tells whether a retention pass waited for just that. ``room`` tells (bytes free beyond
    what is kept back, bytes in all) of the vault's disk; without any in all it is not judged. ``end_collecting``
    returns when nothing is taken in any more, until the agent has another owner; ``unpair`` tells cameras, by their
    ids, that they are left, and returns what became of each. ``authorities`` is a file of certificates, or "", that
    third parties' servers are verified by too.
    """

    policy: Callable[[], Policy]
    rights: Callable[[Tx, Object | AtStore], Rights]
    label: Callable[[Tx, str], str]
    now: Callable[[], Moment]
    changed: Callable[[], None]
    alert: RaiseIn
    standing: Callable[[Tx], Freezes] = lambda _tx: Freezes()
    acts: Mapping[type[Any], Act] = MappingProxyType({})
    paces: Mapping[str, Pace] = MappingProxyType(PACES)
    purposes: Purposes | None = None
    heard: Callable[[], None] = lambda: None
    waits: Mapping[type[Any], Wait] = MappingProxyType({})
    tell_waiting: Mapping[type[Any], Told] = MappingProxyType({})
    asked: Callable[[Tx, str, str], str] = _nothing_asked
    approve_file: Callable[[Tx, Key, Command, Moment], tuple[Outcome, ...] | None] = _no_file
    approve_policy: Callable[[Tx, Key, Command], None] = _no_word
    judge_word: Callable[[Tx, Key, Command], None] = _no_word
    settled: Callable[[Tx, Moment], None] = _nobody_asks
    approve_pass: Callable[[Tx, str, str, Key], bool] = _no_pass
    room: Callable[[], tuple[int, int]] = lambda: (0, 0)
    authorities: str = ""
    end_collecting: Callable[[], Awaitable[None]] = _nothing_collects
    unpair: Callable[[tuple[str, ...]], Awaitable[dict[str, AtCamera]]] = _nobody_answers


def sparing(world: World) -> Callable[[Tx, Object | AtStore, str, str], Outcome | None]:
    """Return what ``Erasure`` asks in its step 1: an outcome for what a hold or a restriction keeps, else ``None``."""

    def judge(tx: Tx, found: Object | AtStore, actor: str, rule: str) -> Outcome | None:
        # Retention was judged by ``decide`` when it chose; what came between is only a hold or a restriction.
        rights = world.rights(tx, found)
        owner = rule == OWNER_ERASE or (rule != BACKEND_DELETE and not rights.restricted)
        decision = decide(
            world.policy(),
            "delete",
            requester=Requester(role="client" if owner else "backend", kid=actor),
            subject=Subject.of(found),
            rights=rights,
            conditions=Conditions(moment=world.now()),
        )
        return None if isinstance(decision, Allow) else kept(found.id, decision)

    return judge


def kept(object_id: str, decision: Refuse) -> Outcome:
    """Return the outcome of an object that a decision keeps."""
    if decision.reason == "held":
        return Outcome(id=object_id, result="held")
    if decision.reason == "restricted":
        return Outcome(id=object_id, result="restricted")
    return Outcome(id=object_id, result="failed")
