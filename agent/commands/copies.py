"""Where the copies of an object are, as its owner is told it: here, at stores, in exports, with third parties."""

from typing import Any, Final

from agent.bundle import Bundle
from agent.bundle import view as export_view
from agent.index import Tx
from agent.model import Object
from agent.policy import Policy
from agent.rights import delivery
from agent.vault import Vault

STORES_MAX: Final = 8
"""Copies at stores of one object that are told, as of exports and third parties."""


def copies(tx: Tx, item: Object, *, vault: Vault, bundle: Bundle, policy: Policy) -> list[dict[str, Any]]:
    """Return the copies of an object that is here."""
    found: list[dict[str, Any]] = [{"where": "this device", "state": item.state}]
    row = vault.upload_of(tx, item.upload) if item.upload else None
    if row is not None:
        # What a store acknowledged on the way is not noted at each step; one that has it all has the whole payload.
        state, size_bytes = ("stored", item.size_bytes) if row.stored else ("sending", row.offset)
        found.append({"where": _store(row.region), "state": state, "bytes": size_bytes})
    if item.source_copy == "left":
        found.append({"where": f"source {item.source}", "state": "left in place"})
    elif item.source_copy == "asked":
        found.append({"where": "the camera's own storage", "state": "may be there until it needs the room"})
    return found + delivery.copies(tx, item.id) + _in_exports(tx, item.id, bundle=bundle, policy=policy)


def copies_left(tx: Tx, object_id: str, *, vault: Vault, bundle: Bundle, policy: Policy) -> list[dict[str, Any]]:
    """Return the copies of an object that this device itself has no more: at stores, and in exports."""
    regions = vault.regions(tx, object_id)[:STORES_MAX]
    at_stores: list[dict[str, Any]] = [{"where": _store(region), "state": "stored"} for region in regions]
    return at_stores + _in_exports(tx, object_id, bundle=bundle, policy=policy)


def _in_exports(tx: Tx, object_id: str, *, bundle: Bundle, policy: Policy) -> list[dict[str, Any]]:
    return [
        {
            "where": f"export {export.id}",
            "state": "sealed",
            "until": export_view(export, policy=policy)["until"],
            "readers": list(policy.names_of(export.recipients)),
        }
        for export in bundle.holding(tx, object_id)
    ]


def _store(region: str) -> str:
    return f"store, region {region}" if region else "store"
