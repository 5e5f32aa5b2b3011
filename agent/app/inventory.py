"""What is held here, page by page, as a person at this machine is told it."""

import json
from contextlib import suppress
from typing import Any, Final

from agent import audit, damage, enrolment
from agent.app.camera_list import CameraList
from agent.app.living import Living
from agent.app.question import LISTED_BYTES, LISTED_MAX, selection_of, with_camera
from agent.audit import Event
from agent.bundle import view as export_view
from agent.commands.listing import held_view, owner_listed
from agent.control import Progress
from agent.errors import SpaceError
from agent.index import Tx
from agent.model import Moment, Object, Selection
from agent.policy import Decision, Refuse
from agent.scrub.flow import damaged_view

LOOKED_MS: Final = 3_600_000
"""Whoever looks at the inventory here is noted in the log at most this often: a screen may refresh each second."""

EXPORTS_LISTED_MAX: Final = 200
"""Exports of one answer, the oldest; of more only the number is told."""


class Inventory:
    """Lists what is held; that somebody looked is noted in the log."""

    def __init__(self, live: Living, cameras: CameraList) -> None:
        self._parts = live.parts
        self._cameras = cameras
        self._looked_ms: int | None = None

    async def tell(self, args: dict[str, Any], _progress: Progress) -> dict[str, Any]:
        """List what is held, with why, until when and who can read it; exports on the first page."""
        parts = self._parts
        moment = parts.now()
        asked = selection_of(args)
        after = str(args.get("after", ""))

        def read(tx: Tx) -> dict[str, Any]:
            selection = with_camera(tx, asked)
            ids = parts.vault.page_of(tx, selection, after=after, limit=LISTED_MAX + 1, erasing=True)
            page = ids[:LISTED_MAX]
            more = page[-1] if len(ids) > len(page) else ""
            forgotten_ms = parts.retention.forgets_by_ms(tx)
            views: list[dict[str, Any]] = []
            exports = [] if after else self._exports(tx, selection)
            beside = {"exports": exports[:EXPORTS_LISTED_MAX], "more_exports": len(exports[EXPORTS_LISTED_MAX:])}
            size_bytes = len(json.dumps(beside))
            for object_id in page:
                view = self._listed(tx, object_id, moment=moment, forgotten_ms=forgotten_ms)
                if view is None:
                    continue
                size_bytes += len(json.dumps(view))
                if views and size_bytes > LISTED_BYTES:
                    return {
                        "objects": views,
                        "next": views[-1]["id"],
                        "levels": self._cameras.levels(tx, views),
                    } | beside
                views.append(view)
            return {"objects": views, "next": more, "levels": self._cameras.levels(tx, views)} | beside

        told = await parts.index.read(read)
        await self._note_look(moment)
        return told

    async def _note_look(self, moment: Moment) -> None:
        """Note in the log that somebody here was told what is held; a full disk keeps nobody from looking."""
        if self._looked_ms is not None and moment.agent_ms - self._looked_ms < LOOKED_MS:
            return
        event = Event(kind="inventory_told", actor="local")
        with suppress(SpaceError):
            await self._parts.index.write(lambda tx: audit.append(tx, event, moment=moment))
            self._looked_ms = moment.agent_ms

    def _listed(self, tx: Tx, object_id: str, *, moment: Moment, forgotten_ms: int | None) -> dict[str, Any] | None:
        parts = self._parts
        told = owner_listed(
            tx,
            object_id,
            vault=parts.vault,
            erasure=parts.erasure,
            label=enrolment.label_of,
            forgotten_ms=forgotten_ms,
            standing=parts.snapshot.standing(tx),
            held=lambda item, label: dated_view(item, parts.retention.outlook(tx, item, moment), label=label),
        )
        if told is None or damage.of(tx, object_id) is None:
            return told
        item = parts.vault.get(tx, object_id)
        return told if item is None else told | damaged_view(tx, item)

    def _exports(self, tx: Tx, selection: Selection) -> list[dict[str, Any]]:
        """Return the exports that a selection names or means."""
        bundle, named = self._parts.bundle, frozenset(selection.ids or ())
        meant = named | frozenset(bundle.select(tx, selection))
        return [export_view(one, policy=self._parts.policy) for one in bundle.lying(tx) if one.id in meant]


def dated_view(item: Object, decision: Decision, *, label: str) -> dict[str, Any]:
    """Return what is told of an object that is here, with the end that a decision gives it."""
    until_ms = decision.until_ms if isinstance(decision, Refuse) else None
    return held_view(item, label=label, rule=decision.rule, until_ms=until_ms)
