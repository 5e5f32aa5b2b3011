"""An export that lies in its folder, and what an inventory tells of it."""

from typing import Any

import msgspec

from agent.clock import rfc3339_ms
from agent.policy import Policy


class Lying(msgspec.Struct, frozen=True, kw_only=True):
    """An export in its folder, a copy of ``objects`` objects, sealed to ``recipients``.

    ``made_ms`` is agent time; ``rank`` and ``newer_bytes`` count the exports as ``agent/policy`` counts a set. Where
    it has to go and could not be removed yet, ``retried_by`` says who tries again; ``removed_by`` is the command that
    has begun to remove it. Else they are empty.
    """

    id: str
    made_ms: int
    size_bytes: int
    objects: int
    recipients: tuple[str, ...]
    rank: int
    newer_bytes: int
    retried_by: str
    removed_by: str


def view(found: Lying, *, policy: Policy) -> dict[str, Any]:
    """Return what an inventory tells of an export, in the words that it has for objects; ``until`` is by age alone."""
    rule = policy.export_rule()
    assert rule.keep.age_ms is not None  # noqa: S101 - an export always has an age
    made = rfc3339_ms(found.made_ms)
    return {
        "id": found.id,
        "camera": "",
        "camera_label": "",
        "category": "export",
        "name": "",
        "captured_from": made,
        "captured_to": made,
        "taken_in": made,
        "bytes": found.size_bytes,
        "state": "erasing" if found.retried_by or found.removed_by else "sealed",
        "recipients": list(found.recipients),
        "objects": found.objects,
        "rule": f"{rule.scope}.keep.age",
        "until": rfc3339_ms(found.made_ms + rule.keep.age_ms),
    }
