"""Why an object is still here, until when, which rule will end it, and where copies of it are."""

from typing import Any

import msgspec

from agent import enrolment, tally
from agent.app.camera_list import CameraList
from agent.app.inventory import dated_view
from agent.app.living import Living
from agent.bundle import view as export_view
from agent.clock import rfc3339_ms
from agent.commands.copies import copies, copies_left
from agent.commands.frozen import frozen_view
from agent.commands.listing import at_store_view
from agent.control import Progress
from agent.errors import RefusedError
from agent.index import Tx
from agent.model import AtStore, Object
from agent.policy import Allow, Refuse
from agent.rights import correction
from agent.scrub.flow import damaged_view


class Explaining:
    """Explains one object."""

    def __init__(self, live: Living, cameras: CameraList) -> None:
        self._parts = live.parts
        self._cameras = cameras

    async def tell(self, args: dict[str, Any], _progress: Progress) -> dict[str, Any]:
        """Say why an object is still here, until when, and which rule will end it."""
        parts = self._parts
        moment = parts.now()
        object_id = str(args.get("id", ""))

        def read(tx: Tx) -> dict[str, Any]:
            export = parts.bundle.get(tx, object_id)
            if export is not None:
                return export_view(export, policy=parts.policy) | {
                    "folder": str(parts.bundle.folder / export.id),
                    "readers": list(parts.policy.names_of(export.recipients)),
                }
            item = parts.vault.get(tx, object_id)
            away = parts.vault.at_store(tx, object_id) if item is None else None
            if away is not None:
                return self._away(tx, away)
            if item is None and (source := parts.erasure.waiting_copy(tx, object_id)):
                return self._at_camera(tx, object_id, source)
            if item is None and (exports := parts.bundle.holding(tx, object_id)):
                return self._in_exports(tx, object_id, [export.id for export in exports])
            if item is None:
                raise RefusedError(
                    f"no object {object_id!r} is held here",
                    reason="malformed",
                    retry="after_fix",
                    hint="privacy-agent inventory lists what is held; privacy-agent audit show says why others went",
                )
            told = parts.retention.explain(tx, item, moment=moment, disk=parts.disk())
            decision = _decision(told.decision)
            if item.state == "erasing":
                decision = self._erasing(tx, item)
            view = dated_view(item, told.decision, label=enrolment.label_of(tx, item.camera))
            view |= frozen_view(parts.snapshot.standing(tx), item)
            keep = None if told.rule is None else msgspec.to_builtins(told.rule.keep)
            return view | {
                "camera_level": self._cameras.level(tx, item.camera),
                "camera_location": correction.location(tx, item.camera),
                "readers": list(parts.policy.names_of(item.recipients)),
                "decision": decision,
                "policy_rule": None if told.rule is None else told.rule.scope,
                "keep": keep,
                "newer_objects": told.rank,
                "set_bytes": told.newer_bytes,
                "readable_by_device": item.kind == "file-key",
                "copies": copies(tx, item, vault=parts.vault, bundle=parts.bundle, policy=parts.policy),
                **damaged_view(tx, item),
                **tally.view(tx, item.id),
            }

        return await parts.index.read(read)

    def _at_camera(self, tx: Tx, object_id: str, source: str) -> dict[str, Any]:
        """Explain an object that is deleted here and whose copy a camera is asked to delete."""
        waits = self._cameras.waits_for(tx, source)
        return {
            "id": object_id,
            "state": "waiting_for_camera",
            "category": "",
            "camera": waits["camera"],
            "camera_label": waits["name"],
            "camera_level": self._cameras.level(tx, waits["camera"]),
            "decision": {"waits_for": "the camera's answer that its own copy is gone"},
            "how": waits["how"],
            "copies": [
                {"where": "the camera's own storage", "state": "asked to delete it"},
                *self._copies_left(tx, object_id),
            ],
        }

    def _erasing(self, tx: Tx, item: Object) -> dict[str, Any]:
        told = {"ends": "soon: nobody is given it any more", "rule": self._parts.erasure.cause(tx, item.id)}
        by_ms = self._parts.retention.forgets_by_ms(tx)
        return told if by_ms is None else told | {"until": rfc3339_ms(by_ms)}

    def _away(self, tx: Tx, away: AtStore) -> dict[str, Any]:
        """Explain an object of which only a store has a copy."""
        decision = {"stays_at_store": "until a delete; this device's own copy is gone"}
        told = at_store_view(away, label=enrolment.label_of(tx, away.camera))
        told |= frozen_view(self._parts.snapshot.standing(tx), away)
        return told | {
            "camera_level": self._cameras.level(tx, away.camera),
            "decision": decision,
            "copies": self._copies_left(tx, away.id),
        }

    def _in_exports(self, tx: Tx, object_id: str, exports: list[str]) -> dict[str, Any]:
        """Explain an object that is gone, here and at stores, but for its copies in exports."""
        return {
            "id": object_id,
            "state": "in_exports",
            "category": "",
            "camera": "",
            "camera_label": "",
            "decision": {"stays_in_exports": "until they end or are deleted; this device's own copy is gone"},
            "exports": exports,
            "copies": self._copies_left(tx, object_id),
        }

    def _copies_left(self, tx: Tx, object_id: str) -> list[dict[str, Any]]:
        parts = self._parts
        return copies_left(tx, object_id, vault=parts.vault, bundle=parts.bundle, policy=parts.policy)


def _decision(decision: Allow | Refuse) -> dict[str, Any]:
    if isinstance(decision, Allow):
        return {"ends": "at the next retention pass", "rule": decision.rule}
    told: dict[str, Any] = {"stays_because": decision.reason, "rule": decision.rule}
    if decision.until_ms is not None:
        told["until"] = rfc3339_ms(decision.until_ms)
    return told
