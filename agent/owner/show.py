"""What a person reads of commands and their answers, in words and tables."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

import msgspec

from agent.clock import MS_PER_S
from agent.envelope import Command, Hold, Release, Restrict, Unrestrict
from agent.envelope.command import (
    Approve,
    Consent,
    ConsentRecords,
    Delete,
    EndService,
    EraseAll,
    Export,
    Inventory,
    Objection,
    ProposePolicy,
    Rectify,
    Requests,
    SetTime,
    Withdraw,
)
from agent.envelope.policy import read_unverified_policy
from agent.model import Selection
from agent.owner import said
from agent.owner.receipt import Alert, FarewellTold, LateTold, Receipt, RequestTold, Told, ToldExport
from agent.owner.remark import REMARKS
from agent.shell.held import place, summed, until, weight
from agent.shell.layout import clean, counted, printable, size
from agent.shell.refusal import REASONS
from agent.shell.terminal import heading, table
from agent.shell.times import when, when_text

_WAITS: Final = {
    "": "a store's confirmation or a camera's answer",
    "quota_exceeded": "the owner's approval: privacy-owner approve {cmd} {hash}",
    "approvals_missing": "the word of another of the owner's clients: privacy-owner approve {cmd} {hash}",
    "clock_unconfirmed": "the device's clock to be confirmed: privacy-owner time --now",
    "policy_loosens": "the owner's approval: privacy-owner approve {cmd} {hash}",
    "after_pending": "the command that it was told to follow",
}
_AFTER: Final = {
    "failed": "look at the device, privacy-agent doctor; then give the command again",
    "not_readable_here": "the device cannot open these: export them without --recipient, to whom they were sealed",
    "held": "a hold keeps these: privacy-owner inventory says whose and until when; wait for its end, or, if it "
    "is yours, privacy-owner release HOLD; then again",
    "restricted": "a restriction keeps these: privacy-owner inventory names it; privacy-owner unrestrict lifts it",
}
"""What to do after an outcome, the most urgent first."""

KEY_SHOWN: Final = 20
"""Characters of a recipient that tell it from others."""

NAMED_MAX: Final = 8
"""Ids in one sentence; the table has each."""

_STAYS: Final = dict.fromkeys(
    ("policy", "approve"), ("beyond the limits in force now, and kept all the same: privacy-owner inventory says why",)
)
_LIFTED_BY: Final = {"restrict": "unrestrict", "hold": "release"}
_MEANS: Final = {
    "continues": "it is used on, for its other purposes alone",
    "resealed": "it is used on for its other purposes, sealed anew without who read it for this one",
    "kept": "it is for no purpose any more: it stays here for its time, for its owner alone, and is not uploaded",
}
"""What became of an object whose purpose was taken away."""

_LOOK: Final = "privacy-owner inventory lists what is held"
_IDS: Final = "privacy-owner inventory, or privacy-agent cameras at the device, lists the ids"
_HAPPENED: Final = frozenset(
    {"deleted", "already_gone", "exported", "listed", "rectified", "continues", "resealed", "kept"}
)


def selected(select: Selection) -> str:
    """Say in words what a selection means."""
    if select.all:
        return "everything that the device holds"
    if select.ids is not None:
        return f"{counted(len(select.ids))} by id"
    words = [f"every {select.category}" if select.category else "every object"]
    if select.camera:
        words.append(f"of camera {select.camera}")
    if select.from_ is not None:
        words.append(f"from {when_text(select.from_)}")
    if select.to is not None:
        words.append(f"until {when_text(select.to)}")
    return " ".join(words)


def doomed(select: Selection) -> str:
    """Say in words what a delete of a selection ends."""
    if select.all:
        return "EVERYTHING that the device holds, and whatever was recorded before now and turns up later"
    return selected(select) + (", and what of that turns up later" if select.ids is None else "")


def _frozen(request: Restrict | Unrestrict | Hold | Release) -> str:
    if isinstance(request, Unrestrict | Release):
        return f"lift {request.restriction if isinstance(request, Unrestrict) else request.hold}"
    later = ", and what of that comes later" if request.select.ids is None else ""
    until_ = f", until {when_text(request.until)}" if isinstance(request, Hold) else ""
    return selected(request.select) + later + until_


def asked(command: Command) -> str:  # noqa: C901, PLR0911 - one sentence for each verb
    """Say in words what a command wants."""
    match command.request:
        case Delete(select=select):
            return doomed(select)
        case Export(select=select, form=form):
            return f"{selected(select)}, as {form}"
        case Inventory(select=select):
            return selected(select)
        case Approve(command=approved):
            return f"let {approved} proceed"
        case EraseAll() | Requests():
            return _WHOLE[command.verb]
        case Rectify(camera=camera, object=object_id, set=told):
            what = [f"{field} {text!r}" for field, text in msgspec.to_builtins(told).items()]
            return f"correct {'camera ' + camera if camera else object_id}: {', '.join(what)}"
        case ProposePolicy(policy=signed):
            return f"revision {read_unverified_policy(signed).revision} of a policy in force"
        case SetTime() | EndService():
            return _time(command.request)
        case Restrict() | Unrestrict() | Hold() | Release():
            return _frozen(command.request)
        case Consent() | Withdraw() | Objection() | ConsentRecords():
            return said.asked(command.request)


_WHOLE: Final = {
    "erase-all": "EVERYTHING, its keys and its owner: it becomes unowned",
    "requests": "which requests are open, and by when each is due",
}


def _time(request: SetTime | EndService) -> str:
    if isinstance(request, SetTime):
        return when(request.now * MS_PER_S)
    if request.ends is None:
        return "go on without the service"
    return f"the service ends at {when(request.ends * MS_PER_S)}"


def progress(receipt: Receipt) -> str:
    """Say in one line how a command stands."""
    words = {
        "accepted": "accepted",
        "in_progress": "working",
        "waiting": f"waits for {waits_for(receipt)}",
        "refused": f"refused: {reason(receipt)}",
    }.get(receipt.status, receipt.status)
    count = (
        f", {receipt.selection.count} selected" if receipt.selection is not None and receipt.verb != "inventory" else ""
    )
    done = f", {receipt.progress.done} of {receipt.progress.total} done" if receipt.progress is not None else ""
    due = f", answered by {when_text(receipt.due)}" if receipt.due and not receipt.terminal else ""
    return f"{clean(receipt.verb)}: {words}{count}{done}{due}"


def news(receipt: Receipt) -> str:
    """Say in a line what a receipt tells that nobody waits for: of which command, and what has changed."""
    if receipt.farewell is not None:
        return f"{progress(receipt)}  ({clean(receipt.cmd)})\n{farewell(receipt.farewell)}"
    if receipt.late is None:
        return f"{progress(receipt)}  ({clean(receipt.cmd)})"
    return f"{clean(receipt.verb)} {clean(receipt.cmd)}: {_late(receipt.late)}"


def _late(late: LateTold) -> str:
    return f"turned up after it: {late.destroyed} destroyed unread, {late.remaining} left to their source"


def farewell(told: FarewellTold) -> str:
    """Say how far a device is on its way from its owner, and what is still to come."""
    words = [f"cloud: {clean(told.cloud)}", f"cameras: {clean(told.cameras)}", f"held: {told.held}"]
    if told.phase == 1:
        return f"{', '.join(words)}; its last word comes by {when_text(told.deadline)}, or when the last hold ends"
    return f"{', '.join(words)}; its keys go once it knows that this was read, and it is unowned"


def alert(told: Alert) -> str:
    """Say what the device tells without being asked."""
    lines = [f"{'incident' if told.incident else 'alert'} {told.code} since {when_text(told.since)}", f"  {told.what}"]
    if told.effect != told.what:
        lines.append(f"  {told.effect}")
    return "\n".join(printable(line) for line in (*lines, f"  next: {told.next}"))


def waits_for(receipt: Receipt) -> str:
    """Say what a waiting command waits for."""
    if not receipt.reason and (missing := _whose_word(receipt)):
        return missing
    if not receipt.reason and receipt.outcomes_hash:
        return f"{_WAITS['']} (of what: privacy-owner inventory --cursor {clean(receipt.cmd)}.)"
    known = _WAITS.get(receipt.reason)
    if known is None:
        return clean(receipt.reason)
    chosen = receipt.selection.hash if receipt.selection is not None else ""
    return known.format(cmd=clean(receipt.cmd), hash=chosen)


def _whose_word(receipt: Receipt) -> str:
    """Say whose answers were missing when a receipt was signed; "" where it names no object that waits.

    An object that a store and a camera still have is told as ``waiting_for_cloud``: its remarks tell of both.
    """
    told = receipt.outcomes or ()
    stores = any(one.result == "waiting_for_cloud" or "cloud_unconfirmed" in one.remarks for one in told)
    cameras = sum(one.result == "waiting_for_camera" or "camera_unconfirmed" in one.remarks for one in told)
    words = ["a store's confirmation"] if stores else []
    if cameras:
        own = "its own copy is gone" if cameras == 1 else f"its own copies of {cameras} are gone"
        words.append(f"a camera's answer that {own} (which camera, and why: privacy-agent status)")
    return " and ".join(words)


def reason(receipt: Receipt) -> str:
    """Say why a command was refused, with the next step."""
    said = f"{printable(receipt.detail)}; " if receipt.detail else ""
    return f"{clean(receipt.reason)}: {said}{REASONS.get(receipt.reason, 'see docs/protocol.md §5')}"


def held(told: Sequence[Told], select: Selection, *, own: Collection[str]) -> str:
    """Show what of a selection the device holds, with its sum; ``own`` are the recipients of whoever reads this."""
    listed = [one.object for one in told if one.object is not None]
    if not listed:
        return "nothing is held" if select.all else "nothing of that selection is held"
    places = [] if select.ids is None else [line for one in listed for line in _places(one)]
    return "\n".join((inventory(told, own=own), *places, "", heading(summed(listed))))


def _places(one: dict[str, Any]) -> list[str]:
    """Say where the copies of an object are that was named, and its camera."""
    of = [f"copy of {clean(str(one['id']))}: {printable(place(copy))}" for copy in one.get("copies", ())]
    where = one.get("camera_location", "")
    return ["", *of, *([f"its camera: {printable(where)}"] if where else [])] if of else []


def held_facts(told: Sequence[Told]) -> dict[str, Any]:
    """Return the same for a program."""
    listed = [one.object for one in told if one.object is not None]
    gone = [one for one in told if one.object is None]
    return {
        "objects": listed,
        "count": len(listed),
        "bytes": weight(listed),
        "missing": [one.id for one in gone],
        "in_exports": {one.id: list(one.exports) for one in gone if one.exports},
    }


def missing(told: Sequence[Told]) -> str:
    """Say which of the objects that were named are not held, and which exports have copies still; "" when all are."""
    gone = [one for one in told if one.object is None]
    if not gone:
        return ""
    exports = " ".join(sorted({clean(export) for one in gone for export in one.exports}))
    still = f"; exports have copies still, remove them: privacy-owner delete {exports}" if exports else ""
    return (
        f"not held: {', '.join(clean(one.id) for one in gone)}{still}\n"
        f"  next: {_LOOK}; the device's log says why others went: privacy-agent audit show"
    )


def unread(cursor: str) -> str:
    """Say that an inventory has more pages than were read, and how to read on; "" where there is no more."""
    if not cursor:
        return ""
    return (
        "this is not all: more is held behind what is shown\n"
        f"  next: privacy-owner inventory --cursor {clean(cursor)} with the same selection goes on; "
        "or take a smaller one by --camera, --from, --to"
    )


def after_refusal(receipt: Receipt) -> str:
    """Say whether giving the command again can help."""
    if receipt.reason == "stale_seq":
        return _AGAIN["later"]
    return _AGAIN.get(receipt.retry, "see docs/protocol.md §5")


_AGAIN: Final = {
    "after_fix": "mend that, then give the command again",
    "later": "give the command again",
    "never": "mend that, then sign a new command: this one is never carried out",
}


def end(receipt: Receipt, *, further: str = "", own: Collection[str] = ()) -> str:
    """Show a terminal receipt; ``further`` is what the next command needs to reach the device.

    ``own`` are the recipients of whoever reads this.
    """
    lines = [f"{clean(receipt.verb)}  {receipt.status}  {clean(receipt.cmd)}"]
    listed = [one for one in receipt.outcomes or () if one.object is not None]
    if listed:
        lines += ["", inventory(listed, own=own)]
    elif receipt.outcomes:
        lines += ["", *_STAYS.get(receipt.verb, ()), outcomes(receipt.outcomes, further=further)]
        lines += _met_nothing(receipt)
    elif receipt.verb == "inventory" and receipt.status == "done":
        lines += ["", "nothing of that selection is held"]
    elif receipt.verb == "delete" and receipt.status == "done" and _is_empty(receipt):
        lines += ["", f"nothing of that selection is held: nothing was there to be deleted; {_LOOK}"]
    elif receipt.outcomes_hash:
        lines.append(
            f"too many outcomes for one receipt: privacy-owner inventory --cursor {printable(receipt.cursor)}{further}"
        )
    if receipt.requests is not None:
        lines += ["", requests(receipt.requests)]
    lines += _recorded(receipt)
    lines += _stands(receipt, further=further)
    if receipt.late is not None:
        lines.append(_late(receipt.late))
    if receipt.farewell is not None:
        lines.append(farewell(receipt.farewell))
    if receipt.export is not None:
        told, named = receipt.export, clean(receipt.export.object)
        bytes_ = size(sum(file.bytes for file in told.files))
        lines += ["", f"export {named}: {counted(len(told.files), 'file')}, {bytes_}"]
        lines += _delivered(told) or [_fetched(told, named, own=own)]
    return "\n".join(lines)


def _met_nothing(receipt: Receipt) -> list[str]:
    """Say under which of the ids that a delete named nothing was held: one that was mistyped is answered so too."""
    of = [one for one in receipt.outcomes or () if one.result == "already_gone"]
    ids = [clean(one.id) for one in of if not (one.remarks or one.exports or one.stated_by or one.camera_stated_by)]
    if receipt.verb != "delete" or not ids:
        return []
    more = f" and {len(ids) - NAMED_MAX} more" if len(ids) > NAMED_MAX else ""
    named = ", ".join(ids[:NAMED_MAX]) + more
    return ["", f"nothing was held under {named}: gone before, or no id of anything here; {_LOOK}"]


def _is_empty(receipt: Receipt) -> bool:
    return receipt.selection is not None and not receipt.selection.count and not receipt.outcomes_hash


def _recorded(receipt: Receipt) -> list[str]:
    """Return what was recorded of purposes; where a switch was recorded alone, what it changes."""
    if receipt.records:
        return ["", *map(said.line, receipt.records)]
    if receipt.verb == "consents" and receipt.status == "done":
        return ["", said.NOTHING]
    if receipt.verb != "object" or receipt.status != "done":
        return []
    again = "what was objected to before stays off until it is given by itself: privacy-owner consent give PURPOSE"
    return [f"recorded; {again}"]


def requests(told: Sequence[RequestTold]) -> str:
    """Show which requests the device has, by when each is due, and how it stands."""
    rows = [
        (clean(one.command), clean(one.verb), when_text(one.asked), when_text(one.due), _request(one)) for one in told
    ]
    return table(rows, head=("COMMAND", "VERB", "ASKED", "DUE", "STATE")) if rows else "nothing was requested yet"


def _request(told: RequestTold) -> str:
    """Say in words how a request stands."""
    known = _REQUEST.get(told.state, clean(told.state))
    if told.state == "open":
        return f"{known}, {told.working_days_left} working days left"
    return f"{known}: {clean(told.status)}" if told.status else known


_REQUEST: Final = {
    "open": "open",
    "overdue": "OVERDUE",
    "answered": "answered",
    "answered_late": "answered late",
}


def _stands(receipt: Receipt, *, further: str) -> list[str]:
    """Say what a restriction or a hold that was put covers, and how it is lifted."""
    lines = []
    if receipt.covers is not None:
        there = f"{counted(receipt.covers.objects)} there, {size(receipt.covers.bytes)}"
        lines.append(f"over {there}, and what comes later")
        if not receipt.covers.objects:
            lines.append(f"nothing of that selection is held there now; where another was meant: {_IDS}")
    if receipt.verb in _LIFTED_BY and receipt.status in {"done", "partial"}:
        lines.append(f"lift it: privacy-owner {_LIFTED_BY[receipt.verb]} {clean(receipt.cmd)}{further}")
    return lines


_NOT_DELIVERED: Final = {
    "address_refused": "its address is not of the public internet, and the policy's [delivery] does not name the host",
    "certificate_refused": "its certificate could not be verified: [delivery] ca in agent.toml names another authority",
    "redirected": "its server sends elsewhere, which is not followed: give the address itself",
    "rejected": "its server does not take it: ask there which address and which rights",
    "gave_up": "it could not be reached while the command was valid: give it again, perhaps with a longer --expires",
    "removed": "the export, or a recording in it, was deleted on the device before all of it was there",
    "key_removed": "the key that asked is not in the key set any more: ask with another one",
    "restricted": "another key restricted a recording in it: privacy-owner unrestrict, then export again",
}


def _fetched(told: ToldExport, named: str, *, own: Collection[str]) -> str:
    """Say how an export that lies on the device comes to whom it is sealed."""
    copied = f"next: copy the folder vault/exports/{named} from the agent's state folder on the device"
    if own and told.recipients and not set(told.recipients) & set(own):
        return f"{copied} to whoever holds the identity: you cannot open it; they do: age -d -i IDENTITY FILE"
    return f"{copied}, then: privacy-owner open {named}"


def _delivered(told: ToldExport) -> list[str]:
    """Say what a third party has of an export; nothing of one that was made for its owner."""
    found = told.delivery
    if found is None:
        return []
    where = f"{printable(found.party)} ({printable(found.host)})"
    lines = [f"handed to {where}: {found.taken} of {counted(found.files, 'file')}, by the word of its server"]
    if found.certificate_sha256:
        lines.append(f"  certificate {printable(found.certificate_sha256)}")
    if found.why:
        lines.append(f"  not delivered: {_NOT_DELIVERED.get(found.why, clean(found.why))}")
    return lines


def shortfall(receipt: Receipt, *, by_file: bool = False) -> str:
    """Say of a terminal receipt what did not happen, and the next step; "" where all of it did.

    ``by_file`` is true where commands reach the device as files, so nothing comes by itself.
    """
    if receipt.status == "done":
        empty = receipt.verb == "export" and receipt.export is None
        return f"nothing of that selection is held: no export was built\n  next: {_LOOK}" if empty else ""
    if receipt.status == "refused" or receipt.reason:
        return f"{receipt.status}: {reason(receipt)}\n  next: {after_refusal(receipt)}"
    if receipt.farewell is not None:
        return _unfinished(receipt.farewell, by_file=by_file)
    if receipt.late is not None:
        return (
            f"{receipt.status}: {receipt.late.remaining} files that turned up later remain with their source\n"
            "  next: remove them there; they are not taken in"
        )
    wanted = {"restrict": "restricted", "hold": "held"}.get(receipt.verb)
    left = [one.result for one in receipt.outcomes or () if one.result not in _HAPPENED and one.result != wanted]
    if not left:
        return (
            f"{receipt.status}: not all of it happened\n"
            f"  next: privacy-owner inventory --cursor {printable(receipt.cursor or receipt.cmd + '.')} tells of each"
        )
    then = next((step for result, step in _AFTER.items() if result in left), "see docs/protocol.md §5")
    return f"{receipt.status}: {len(left)} of it did not happen; the table names why\n  next: {then}"


def _unfinished(told: FarewellTold, *, by_file: bool) -> str:
    """Say what is still to come of an erase-all, or what nobody confirmed."""
    if told.phase == 1 and by_file:
        return (
            f"partial: it waits for its last word, which comes by {when_text(told.deadline)}\n"
            "  next: then submit the same file again on the device: its newest receipt is the answer; take that in too"
        )
    if told.phase == 1:
        return "partial: it waits for its last word\n  next: privacy-owner listen takes it in when it comes"
    whose = " and ".join(
        what for what, word in (("a store", told.cloud), ("a camera", told.cameras)) if word == "unconfirmed"
    )
    return (
        f"partial: {whose} did not confirm in time that its copies are gone; nobody asks any more\n"
        "  next: ask whoever runs it, with this receipt in hand"
    )


def _stated_by(told: Told) -> str:
    return " ".join(kid[:12] for kid in (told.stated_by, told.camera_stated_by) if kid)


def outcomes(told: Iterable[Told], *, further: str = "") -> str:
    """Show what became of each object, and which exports still hold copies; ``further`` ends the next command."""
    told = tuple(told)
    remarks = list(dict.fromkeys(remark for one in told for remark in one.remarks))
    numbers = {remark: str(number) for number, remark in enumerate(remarks, start=1)}
    shown = table(
        ((one.id, one.result, " ".join(numbers[remark] for remark in one.remarks), _stated_by(one)) for one in told),
        head=("ID", "RESULT", "NOTES", "STATED BY"),
    )
    parts = [shown]
    if remarks:
        meant = [(numbers[code], f"{REMARKS.get(code, 'see docs/protocol.md §5')} ({code})") for code in remarks]
        parts.append("\n" + table(meant, head=("NOTE", "MEANS")))
    if means := [(result, _MEANS[result]) for result in dict.fromkeys(one.result for one in told) if result in _MEANS]:
        parts.append("\n" + table(means, head=("RESULT", "MEANS")))
    exports = sorted({clean(export) for one in told for export in one.exports})
    parts += [
        f"\nexport {export} still holds copies; remove it:\n  privacy-owner delete {export}{further}"
        for export in exports
    ]
    return "\n".join(parts)


def inventory(told: Iterable[Told], *, own: Collection[str] = ()) -> str:
    """Show what the device holds, oldest first: why, for whom, until when, and beneath what keeps it as it is."""
    listed = [(one.id, one.object) for one in told if one.object is not None]
    listed.sort(key=lambda row: _text(row[1], "captured_from"))
    shown = table(
        (_held(object_id, held, own=own) for object_id, held in listed),
        head=("ID", "CAMERA", "CATEGORY", "CAPTURED", "SIZE", "STATE", "UNTIL", "RULE", "FOR", "READ BY", "NAME"),
        right=(4,),
    )
    kept = [(object_id, *what) for object_id, held in listed for what in _kept(held)]
    if not kept:
        return shown
    return f"{shown}\n\n{table(kept, head=('KEPT', 'BY', 'ID', 'UNTIL', 'KEY', 'BECAUSE'))}"


def _kept(held: dict[str, Any]) -> list[tuple[str, str, str, str, str]]:
    """Return what stands over one object: what it is, its id, its end, whose it is and why."""
    kept = [
        ("hold", _text(one, "id"), when_text(_text(one, "until")), _text(one, "author"), _text(one, "reason"))
        for one in _listed(held, "holds")
        if isinstance(one, dict)
    ]
    return kept + [
        ("restriction", _text(one, "id"), "it is lifted", "", _text(one, "ground"))
        for one in _listed(held, "restrictions")
        if isinstance(one, dict)
    ]


def _listed(held: dict[str, Any], name: str) -> list[Any]:
    """Return a list that a device told, nothing where it told something else."""
    value = held.get(name)
    return value if isinstance(value, list) else []


def _text(told: dict[str, Any], name: str) -> str:
    return str(told.get(name, ""))


def _held(object_id: str, held: dict[str, Any], *, own: Collection[str]) -> tuple[object, ...]:
    bytes_ = held.get("bytes")
    of = f"{held.get('camera', '')} {held.get('camera_label', '')}".strip()
    return (
        object_id,
        of if held.get("category") != "export" else counted(held.get("objects", "?")),
        held.get("category", ""),
        when_text(held.get("captured_from", "")),
        size(bytes_) if isinstance(bytes_, int) else "",
        held.get("state", ""),
        until(held, usual="no rule"),
        held.get("rule", ""),
        ", ".join(map(str, _listed(held, "purposes"))),
        ", ".join("you" if one in own else f"{one[:KEY_SHOWN]}…" for one in map(str, _listed(held, "recipients"))),
        held.get("name", ""),
    )
