"""What an inventory tells: the owner everything, a backend ids, sizes and codes only."""

from collections.abc import Callable
from typing import Any, Final

from agent.clock import rfc3339_ms
from agent.envelope import encode
from agent.index import Tx
from agent.model import Moment, Object, Requester
from agent.policy import Allow, Conditions, Policy, Rights, Subject, decide

LISTING_BYTES: Final = 56 * 1024
"""Of a receipt's claims: a post-quantum recipient alone has two thousand characters, so a page may be short."""

_DEVICE: Final = Requester(role="device")


def listed(
    tx: Tx,
    *,
    ids: tuple[str, ...],
    limit: int,
    get: Callable[[Tx, str], Object | None],
    view: Callable[[Tx, Object], dict[str, Any]],
) -> tuple[tuple[dict[str, Any], ...], str]:
    """Return one page of outcomes of ``ids`` (sorted, behind the cursor), and the cursor of the next, or ""."""
    outcomes: list[dict[str, Any]] = []
    size_bytes = 0
    last = ""
    for object_id in ids:
        found = get(tx, object_id)
        outcome: dict[str, Any] = {"id": object_id, "result": "already_gone" if found is None else "listed"}
        if found is not None:
            outcome["object"] = view(tx, found)
        size_bytes += len(encode(outcome)) + 1
        if len(outcomes) == limit or (outcomes and size_bytes > LISTING_BYTES):
            return tuple(outcomes), last
        outcomes.append(outcome)
        last = object_id
    return tuple(outcomes), ""


def backend_view(found: Object) -> dict[str, Any]:
    """Return what a backend may know of an object."""
    return {"id": found.id, "category": found.category, "bytes": found.size_bytes, "state": found.state}


def owner_view(found: Object, *, label: str, policy: Policy, rights: Rights, moment: Moment) -> dict[str, Any]:
    """Return all that the device knows of an object, with the rule that will end it and when, where that is known."""
    subject = Subject.of(found)
    decision = decide(
        policy, "expire", requester=_DEVICE, subject=subject, rights=rights, conditions=Conditions(moment=moment)
    )
    view: dict[str, Any] = {
        "id": found.id,
        "camera": found.camera,
        "camera_label": label,
        "category": found.category,
        "name": found.name,
        "captured_from": rfc3339_ms(found.captured_from_ms),
        "captured_to": rfc3339_ms(found.captured_to_ms),
        "taken_in": rfc3339_ms(found.taken_in_ms),
        "bytes": found.plain_bytes,
        "state": found.state,
        "recipients": list(found.recipients),
        "rule": decision.rule,
    }
    until_ms = moment.agent_ms if isinstance(decision, Allow) else decision.until_ms
    if until_ms is not None:
        view["until"] = rfc3339_ms(until_ms)
    return view
