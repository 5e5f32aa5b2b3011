"""``rectify``: what is told of a camera or an object is corrected here at once, and at each store until it says so.

1. In the transaction that takes the command up: the name here, the statement for the stores, the copies that are due,
   the audit's entry. The command waits while any copy is due, as a delete waits for a store's word.
2. ``agent/upload/rectifying.py`` sends the statement until each store has confirmed it for each copy.
3. ``settle`` writes the terminal receipt, in whichever transaction finds that no store of the key set has one due.
"""

from functools import partial
from typing import cast

from agent import audit, enrolment, registry
from agent.audit import Event
from agent.commands.ledger import Ledger
from agent.commands.world import Act
from agent.envelope import Command, Key, Rectify
from agent.errors import RefusedError
from agent.index import Tx
from agent.model import Moment, Outcome
from agent.rights import correction, newest
from agent.trust import Trust
from agent.vault import Vault


def act(vault: Vault) -> Act:
    """Return the effect of ``rectify``, for ``World.acts``."""
    return partial(_rectify, vault)


def _rectify(vault: Vault, tx: Tx, key: Key, command: Command, moment: Moment) -> tuple[Outcome, ...]:
    request = cast("Rectify", command.request)
    target = request.camera or request.object or ""
    said = {"name": request.set.name, "location": request.set.location}
    matters = tuple((what, target) for what, value in said.items() if value is not None)
    newest.require(tx, key, command, matters)
    if request.camera is not None:
        _correct_camera(tx, target, name=request.set.name)
    else:
        _correct_object(tx, vault, target, name=request.set.name)
    due = correction.correct(
        tx,
        target,
        about="object" if request.camera is None else "camera",
        name=request.set.name,
        location=request.set.location,
        command=command.jti,
        moment=moment,
    )
    newest.note(tx, key, command, matters, moment=moment)
    detail: dict[str, str | int] = {
        "name": int(request.set.name is not None),
        "location": int(request.set.location is not None),
        "copies": due,
    }
    if request.camera is not None:
        detail["camera"] = target
    event = Event(kind="rectified", object=request.object or "", actor=key.kid, command=command.jti, detail=detail)
    audit.append(tx, event, moment=moment)
    return (Outcome(id=target, result="waiting_for_cloud" if due else "rectified"),)


def _correct_camera(tx: Tx, camera: str, *, name: str | None) -> None:
    if registry.camera(tx, camera) is None:
        raise _not_held("camera", camera)
    if name is not None:
        enrolment.set_name(tx, camera, name)


def _correct_object(tx: Tx, vault: Vault, object_id: str, *, name: str | None) -> None:
    found = vault.get(tx, object_id)
    if found is not None and found.state != "erasing":
        vault.set_name(tx, object_id, name or "")
    elif found is not None or vault.at_store(tx, object_id) is None:
        raise _not_held("object", object_id)


def stores(tx: Tx, trust: Trust, *, moment: Moment) -> tuple[str, ...]:
    """Return the stores that are asked, and waited for."""
    return tuple(key.kid for key in trust.keys_of(tx, "store", moment=moment))


def settle(tx: Tx, ledger: Ledger, trust: Trust, *, moment: Moment) -> None:
    """Answer commands of whose target no copy is due any more at a store that is asked."""
    for command, outcome in correction.answered(tx, stores=stores(tx, trust, moment=moment)):
        ledger.on_finish(tx, command, (outcome,), moment)


def _not_held(what: str, named: str) -> RefusedError:
    return RefusedError(
        f"no {what} {named} is known here",
        reason="not_held",
        retry="after_fix",
        hint="privacy-owner inventory tells the ids",
    )
