"""Counts of usage logs, told with noise to a person at this device, as far as the policy's privacy budget goes.

The agent sends them nowhere: who asked hands them on. Asking spends the budget, looking at what is left does not.

    1  What may be told is summed: of each log that is judged now (restrictions, consent, policy), ``LOGS_MAX`` at most.
    2  Another process adds the noise. *Power fails: nothing was told or spent.*
    3  In one transaction each of those logs is judged again, the budget is spent, what is told is kept and their counts
       are forgotten. What came meanwhile is for the next telling. *Power fails behind that: ``privacy-agent counts``
       shows what was told last.*
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from agent import audit, counting
from agent.app.parts import Parts
from agent.audit import Event
from agent.clock import rfc3339_ms
from agent.errors import ConfigError, LinkError, RefusedError
from agent.index import Tx
from agent.model import Moment, Requester
from agent.noise.client import ask
from agent.noise.message import Question
from agent.policy import Allow, Conditions, Subject, decide
from agent.policy.counts import Counts

GUARANTEE: Final = "differential privacy for one line of a log, by discrete Laplace noise on each count"

LOGS_MAX: Final = 5_000
"""Logs of one telling: they are judged again in the transaction that spends the budget. The others are for the next."""

_DEVICE: Final = Requester(role="device")


class _Waiting(msgspec.Struct, frozen=True):
    """What may be told: the sum of each value, and the objects that it is of."""

    sums: Mapping[tuple[str, str], int]
    objects: tuple[str, ...]
    more: bool


async def standing(parts: Parts) -> dict[str, Any]:
    """Return what may be told at which price, what is left of the budget, and what was told last."""
    counts = _counts(parts)
    spent = await parts.index.read(counting.spent)
    last = await parts.index.read(counting.last)
    return {
        "purpose": counts.purpose,
        "fields": {name: list(values) for name, values in counts.values.items()},
        "epsilon": counts.epsilon,
        "budget": counts.budget,
        "spent": spent,
        "guarantee": GUARANTEE,
        "last": last,
    }


async def tell(parts: Parts) -> dict[str, Any]:
    """Tell the counts with noise; raises ``RefusedError`` when the budget does not go so far, and spends nothing."""
    counts, moment = _counts(parts), parts.now()
    await parts.index.read(lambda tx: _require_budget(tx, counts, counts.epsilon * len(counts.values)))
    # Step 1.
    waiting = await parts.index.read(lambda tx: _may_be_told(parts, tx, moment))
    # Step 2.
    asked = tuple(tuple(waiting.sums[name, value] for value in values) for name, values in counts.values.items())
    answer = await ask(Question(asked, counts.epsilon))
    noisy = dict(zip(counts.values, answer.histograms, strict=True))
    told = {
        "purpose": counts.purpose,
        "at": rfc3339_ms(moment.agent_ms),
        "epsilon": counts.epsilon,
        "cost": answer.spent,
        "guarantee": GUARANTEE,
        "counts": {name: dict(zip(counts.values[name], of, strict=True)) for name, of in noisy.items()},
    }

    def spend(tx: Tx) -> dict[str, Any]:
        _require_budget(tx, counts, answer.spent)
        if any(not _is_allowed(parts, tx, object_id, moment) for object_id in waiting.objects):
            raise LinkError("what is counted changed meanwhile", hint="nothing was told or spent; try again")
        counting.tell(tx, told, cost=answer.spent, of=waiting.objects)
        detail: dict[str, str | int] = {"purpose": counts.purpose, "count": len(counts.values)}
        audit.append(tx, Event(kind="counts_told", actor="local", detail=detail), moment=moment)
        return told | {"spent": counting.spent(tx), "budget": counts.budget, "more": waiting.more}

    # Step 3.
    return await parts.index.write(spend)


def _counts(parts: Parts) -> Counts:
    rule = parts.policy.rule_for("", "usage-log")
    if rule is None or rule.counts is None:
        raise ConfigError(
            "the policy lets nothing be counted", hint="add [category.usage-log.counts]; see docs/operating.md"
        )
    return rule.counts


def _require_budget(tx: Tx, counts: Counts, cost: float) -> None:
    if not counting.affords(tx, cost, budget=counts.budget):
        raise RefusedError(
            f"the privacy budget is spent: {counting.spent(tx):.6g} of {counts.budget:g}, and this costs {cost:.6g}",
            reason="not_allowed",
            hint="what was told last is shown by: privacy-agent counts; more is for the policy to allow",
        )


def _may_be_told(parts: Parts, tx: Tx, moment: Moment) -> _Waiting:
    sums: Counter[tuple[str, str]] = Counter()
    of: list[str] = []
    after = ""
    while page := counting.objects(tx, after=after):
        for object_id in page:
            if len(of) == LOGS_MAX:
                return _Waiting(sums, tuple(of), more=True)
            if _is_allowed(parts, tx, object_id, moment):
                of.append(object_id)
                for field, value, count in counting.of_object(tx, object_id):
                    sums[field, value] += count
        after = page[-1]
    return _Waiting(sums, tuple(of), more=False)


def _is_allowed(parts: Parts, tx: Tx, object_id: str, moment: Moment) -> bool:
    """Tell whether a log is there whose counts wait to be told, and may be."""
    item = parts.vault.get(tx, object_id)
    if item is None or item.state == "erasing" or not counting.of_object(tx, object_id):
        return False
    decision = decide(
        parts.policy,
        "count",
        requester=_DEVICE,
        subject=Subject.of(item),
        rights=parts.snapshot.of(tx, item),
        conditions=Conditions(moment=moment),
    )
    return isinstance(decision, Allow)
