"""What an inventory tells: the owner everything, a backend ids, sizes and codes only."""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from agent import audit, tally
from agent.audit import Event
from agent.bundle import Bundle
from agent.bundle import view as export_view
from agent.clock import rfc3339_ms
from agent.commands.copies import copies, copies_left
from agent.commands.frozen import frozen_view
from agent.commands.ledger import Answer, Ledger
from agent.commands.world import World
from agent.envelope import ConsentRecords, Inventory, Key, encode
from agent.erasure import Erasure
from agent.index import Tx
from agent.model import AtStore, Moment, Object, Requester
from agent.policy import Allow, Conditions, Policy, Rights, Subject, decide
from agent.rights import consent, correction, deadline
from agent.rights.freezing import Freezes
from agent.trust import CommandRow, Trust
from agent.vault import Vault

LISTING_BYTES: Final = 56 * 1024
"""Of a receipt's claims: a post-quantum recipient alone has two thousand characters, so a page may be short."""

_DEVICE: Final = Requester(role="device")


def listed(
    tx: Tx,
    *,
    ids: tuple[str, ...],
    limit: int,
    view: Callable[[Tx, str], dict[str, Any] | None],
    exports: Callable[[Tx, str], list[str]],
) -> tuple[tuple[dict[str, Any], ...], str]:
    """Return one page of outcomes of ``ids`` (sorted, behind the cursor), and the cursor of the next, or "".

    ``ids`` are one more than ``limit`` where there are more: that one tells so. ``exports`` are those to be named of
    what is not held, which have a copy of it still.
    """
    outcomes: list[dict[str, Any]] = []
    size_bytes = 0
    last = ""
    for object_id in ids:
        found = view(tx, object_id)
        outcome: dict[str, Any] = {"id": object_id, "result": "already_gone" if found is None else "listed"}
        if found is not None:
            outcome["object"] = found
        elif still := exports(tx, object_id):
            outcome |= {"remarks": ["export_copy_remains"], "exports": still}
        size_bytes += len(encode(outcome)) + 1
        if len(outcomes) == limit or (outcomes and size_bytes > LISTING_BYTES):
            return tuple(outcomes), last
        outcomes.append(outcome)
        last = object_id
    return tuple(outcomes), ""


def backend_view(found: Object | AtStore) -> dict[str, Any]:
    """Return what a backend may know of an object, or of a copy that only a store has."""
    state = "at_store" if isinstance(found, AtStore) else found.state
    return {"id": found.id, "category": found.category, "bytes": found.size_bytes, "state": state}


def at_store_view(found: AtStore, *, label: str) -> dict[str, Any]:
    """Return what the device still knows of an object that only a store has: it stays there until a delete."""
    return _view(found, label=label, size_bytes=found.size_bytes, state="at_store")


def held_view(found: Object, *, label: str, rule: str, until_ms: int | None) -> dict[str, Any]:
    """Return all that the device knows of an object, with the rule that will end it and when, where that is known.

    Of one that is being erased that is when its key is gone.
    """
    view = _view(
        found,
        label=label,
        name=found.name,
        size_bytes=found.plain_bytes,
        state=found.state,
        purposes=found.purposes,
        recipients=found.recipients,
        rule=rule,
    )
    return view if until_ms is None else view | {"until": rfc3339_ms(until_ms)}


def _view(
    found: Object | AtStore,
    *,
    label: str,
    size_bytes: int,
    state: str,
    name: str = "",
    purposes: tuple[str, ...] = (),
    recipients: tuple[str, ...] = (),
    rule: str = "",
) -> dict[str, Any]:
    """Return what an owner is told of every object (docs/protocol.md section 5); what is not known is empty."""
    return {
        "id": found.id,
        "camera": found.camera,
        "camera_label": label,
        "category": found.category,
        "name": name,
        "captured_from": rfc3339_ms(found.captured_from_ms),
        "captured_to": rfc3339_ms(found.captured_to_ms),
        "taken_in": rfc3339_ms(found.taken_in_ms),
        "bytes": size_bytes,
        "state": state,
        "purposes": list(purposes),
        "recipients": list(recipients),
        "rule": rule,
    }


def owner_view(found: Object, *, label: str, policy: Policy, rights: Rights, moment: Moment) -> dict[str, Any]:
    """Return a ``held_view`` by what the policy says of an object's age."""
    subject = Subject.of(found)
    decision = decide(
        policy, "expire", requester=_DEVICE, subject=subject, rights=rights, conditions=Conditions(moment=moment)
    )
    until_ms = moment.agent_ms if isinstance(decision, Allow) else decision.until_ms
    return held_view(found, label=label, rule=decision.rule, until_ms=until_ms)


def owner_listed(
    tx: Tx,
    object_id: str,
    *,
    vault: Vault,
    erasure: Erasure,
    label: Callable[[Tx, str], str],
    forgotten_ms: int | None,
    standing: Freezes,
    held: Callable[[Object, str], dict[str, Any]],
) -> dict[str, Any] | None:
    """Return what an owner is told of an object: what is here, on its way out, or at a store only; ``None`` of none.

    ``held`` tells, with the camera's label, of what is here and stays.
    """
    found = vault.get(tx, object_id)
    if found is None:
        away = vault.at_store(tx, object_id)
        if away is None:
            return None
        return at_store_view(away, label=label(tx, away.camera)) | frozen_view(standing, away)
    camera_label = label(tx, found.camera)
    if found.state == "erasing":
        return held_view(found, label=camera_label, rule=erasure.cause(tx, object_id), until_ms=forgotten_ms)
    return held(found, camera_label) | tally.view(tx, object_id) | frozen_view(standing, found)


class Listing:
    """Tells what is held; each telling is audited in its transaction."""

    def __init__(
        self, *, vault: Vault, erasure: Erasure, bundle: Bundle, trust: Trust, ledger: Ledger, world: World
    ) -> None:
        self._vault = vault
        self._erasure = erasure
        self._bundle = bundle
        self._trust = trust
        self._ledger = ledger
        self._world = world

    def tell(self, tx: Tx, key: Key, request: Inventory, row: CommandRow, *, moment: Moment) -> CommandRow:
        """Answer an ``inventory`` and settle it; with a cursor into an earlier command, tell that one's outcomes."""
        name, dot, behind = request.cursor.partition(".")
        if dot:
            return self._tell_outcomes(tx, key, row, command=name, after=behind, limit=request.limit, moment=moment)
        outcomes, cursor = listed(
            tx,
            ids=self._page(tx, key, request),
            limit=request.limit,
            view=self._view(tx, key.role, moment=moment),
            exports=self._exports if key.role == "client" else lambda _tx, _id: [],
        )
        event = Event(kind="inventory_told", actor=key.kid, command=row.jti, detail={"count": len(outcomes)})
        audit.append(tx, event, moment=moment)
        answer = Answer(outcomes=outcomes, cursor=cursor)
        return self._ledger.settle(tx, row, status="done", answer=answer, moment=moment)

    def tell_records(self, tx: Tx, request: ConsentRecords, row: CommandRow, *, moment: Moment) -> CommandRow:
        """Answer ``consents`` and settle it: what was said of purposes, as documents, oldest first."""
        page = consent.page(tx, after=request.cursor or "", limit=request.limit + 1)
        more = page[request.limit - 1].id if len(page) > request.limit else ""
        told, cut = self._ledger.documents(tx, page[: request.limit], max_bytes=LISTING_BYTES)
        answer = Answer(records=tuple(told), cursor=cut or more)
        return self._ledger.settle(tx, row, status="done", answer=answer, moment=moment)

    def tell_requests(self, tx: Tx, row: CommandRow, *, moment: Moment) -> CommandRow:
        """Answer a ``requests`` and settle it."""
        told = tuple(deadline.view(clock, moment=moment) for clock in deadline.clocks(tx))
        return self._ledger.settle(tx, row, status="done", answer=Answer(requests=told), moment=moment)

    def _page(self, tx: Tx, key: Key, request: Inventory) -> tuple[str, ...]:
        """Return the ids behind the cursor, one more than are told; for an owner also what goes, and exports."""
        owner = key.role == "client"
        page = self._vault.page_of(tx, request.select, after=request.cursor, limit=request.limit + 1, erasing=owner)
        ids = set(page)
        if owner:
            ids.update(name for name in self._bundle.select(tx, request.select) if name > request.cursor)
        return tuple(sorted(ids)[: request.limit + 1])

    def _tell_outcomes(
        self, tx: Tx, key: Key, row: CommandRow, *, command: str, after: str, limit: int, moment: Moment
    ) -> CommandRow:
        """Answer with a page of the outcomes of an earlier command that had too many for its receipt."""
        about = self._trust.command(tx, command)
        if about is None or (about.kid != key.kid and key.role != "client"):
            return self._ledger.settle(tx, row, status="refused", reason="malformed", moment=moment)
        found = self._trust.outcomes(tx, command, after=after, limit=limit + 1)
        page = tuple(msgspec.to_builtins(outcome) for outcome in found[:limit])
        cursor = f"{command}.{page[-1]['id']}" if len(found) > limit else ""
        return self._ledger.settle(tx, row, status="done", answer=Answer(outcomes=page, cursor=cursor), moment=moment)

    def _view(self, tx: Tx, role: str, *, moment: Moment) -> Callable[[Tx, str], dict[str, Any] | None]:
        """Return what tells a reader of one id: of an object, and an owner also of an export."""
        if role == "backend":
            return self._tell_backend
        policy, standing = self._world.policy(), self._world.standing(tx)
        forgotten_ms = self._erasure.forgets_by_ms(tx, policy.forget_within_ms)

        def tell(tx: Tx, object_id: str) -> dict[str, Any] | None:
            told = owner_listed(
                tx,
                object_id,
                vault=self._vault,
                erasure=self._erasure,
                label=self._world.label,
                forgotten_ms=forgotten_ms,
                standing=standing,
                held=lambda found, label: owner_view(
                    found, label=label, policy=policy, rights=self._world.rights(tx, found), moment=moment
                ),
            )
            if told is not None:
                return told | self._places(tx, told, policy=policy)
            export = self._bundle.get(tx, object_id)
            return None if export is None else export_view(export, policy=policy)

        return tell

    def _exports(self, tx: Tx, object_id: str) -> list[str]:
        """Return the exports that have a copy of an object."""
        return [export.id for export in self._bundle.holding(tx, object_id)]

    def _places(self, tx: Tx, told: dict[str, Any], *, policy: Policy) -> dict[str, Any]:
        """Return where the copies of an object are, and where its camera is if its owner ever said so."""
        found = self._vault.get(tx, told["id"])
        if found is None:
            at = copies_left(tx, told["id"], vault=self._vault, bundle=self._bundle, policy=policy)
        else:
            at = copies(tx, found, vault=self._vault, bundle=self._bundle, policy=policy)
        places: dict[str, Any] = {"copies": at}
        location = correction.location(tx, told["camera"])
        return places | {"camera_location": location} if location else places

    def _tell_backend(self, tx: Tx, object_id: str) -> dict[str, Any] | None:
        """Tell of what is here and not on its way out, or else at a store."""
        found = self._vault.get(tx, object_id)
        kept = found if found is not None and found.state != "erasing" else self._vault.at_store(tx, object_id)
        return None if kept is None else backend_view(kept)
