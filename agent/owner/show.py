"""What a person reads of commands and their answers, in words and tables."""

from collections.abc import Iterable
from typing import Any, Final

from agent.clock import MS_PER_S
from agent.envelope import Command
from agent.envelope.command import Approve, Delete, Export, Inventory, SetTime
from agent.model import Selection
from agent.owner.receipt import Receipt, Told
from agent.shell.layout import clean, size, table
from agent.shell.times import when, when_text

_WAITS: Final = {
    "": "a store's confirmation",
    "quota_exceeded": "the owner's approval: privacy-owner approve {cmd} {hash}",
    "clock_unconfirmed": "the device's clock to be confirmed: privacy-owner time --now",
    "after_pending": "the command that it was told to follow",
}
_REASONS: Final = {
    "wrong_audience": "it is addressed to another device",
    "malformed": "the device cannot read it: its version may be older than ours",
    "unknown_verb": "the device's version has no such verb",
    "expired": "it came after its time; give it again, perhaps with a longer --expires",
    "not_yet_valid": "this machine's clock is ahead of the device's; set it and give the command again",
    "jti_reused": "its id was used for something else; give it again",
    "seq_reused": "its number was used by another copy of this home; give it again",
    "stale_seq": "its number is too old; the next one was noted, give the command again",
    "verb_not_allowed": "this client's key does not hold the verb; see privacy-owner client list at the owner's",
    "not_granted": "only an owner's client may do this",
    "too_large": "the selection is too large; take a smaller one, for example by --from and --to",
    "busy": "the device has too many unfinished commands; privacy-owner pending, then give it again",
    "disk_full": "the device has no room for it; delete something first",
    "nothing_waiting": "no command with that id and selection waits there",
}
_HAPPENED: Final = frozenset({"deleted", "already_gone", "exported", "listed"})


def selected(select: Selection) -> str:
    """Say in words what a selection means."""
    if select.all:
        return "everything that the device holds"
    if select.ids is not None:
        return f"{len(select.ids)} object{'s' if len(select.ids) != 1 else ''} by id"
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


def asked(command: Command) -> str:
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
        case SetTime(now=now_s):
            return when(now_s * MS_PER_S)


def progress(receipt: Receipt) -> str:
    """Say in one line how a command stands."""
    words = {
        "accepted": "accepted",
        "in_progress": "working",
        "waiting": f"waits for {waits_for(receipt)}",
        "refused": f"refused: {reason(receipt)}",
    }.get(receipt.status, receipt.status)
    count = f", {receipt.selection.count} selected" if receipt.selection is not None else ""
    done = f", {receipt.progress.done} of {receipt.progress.total} done" if receipt.progress is not None else ""
    return f"{receipt.verb}: {words}{count}{done}"


def waits_for(receipt: Receipt) -> str:
    """Say what a waiting command waits for."""
    text = _WAITS.get(receipt.reason, clean(receipt.reason))
    chosen = receipt.selection.hash if receipt.selection is not None else ""
    return text.format(cmd=receipt.cmd, hash=chosen)


def reason(receipt: Receipt) -> str:
    """Say why a command was refused, with the next step."""
    return f"{clean(receipt.reason)}: {_REASONS.get(receipt.reason, 'see docs/protocol.md §5')}"


def after_refusal(receipt: Receipt) -> str:
    """Say whether giving the command again can help."""
    return "give the command again" if receipt.retry in {"after_fix", "later"} else "see docs/protocol.md §5"


def end(receipt: Receipt) -> str:
    """Show a terminal receipt."""
    lines = [f"{receipt.verb}  {receipt.status}  {receipt.cmd}"]
    listed = [one for one in receipt.outcomes or () if one.object is not None]
    if listed:
        lines += ["", inventory(listed)]
    elif receipt.outcomes:
        lines += ["", outcomes(receipt.outcomes)]
    elif receipt.outcomes_hash:
        lines.append(f"too many outcomes for one receipt: privacy-owner inventory --cursor {receipt.cursor}")
    if receipt.export is not None:
        told = receipt.export
        bytes_ = size(sum(file.bytes for file in told.files))
        lines += ["", f"export {told.object}: {len(told.files)} files, {bytes_}"]
        lines.append(
            f"next: copy the folder exports/{told.object} from the device, then: privacy-owner open {told.object}"
        )
    return "\n".join(lines)


def shortfall(receipt: Receipt) -> str:
    """Say of a terminal receipt what did not happen; "" of one that is done."""
    if receipt.status == "refused":
        return f"refused: {reason(receipt)}"
    if receipt.status == "done":
        return ""
    left = [one for one in receipt.outcomes or () if one.result not in _HAPPENED]
    return f"{receipt.status}: {len(left)} of it did not happen; the table names why"


def outcomes(told: Iterable[Told]) -> str:
    """Show what became of each object."""
    return table(
        ((one.id, one.result, ", ".join(one.remarks), one.stated_by[:12]) for one in told),
        head=("ID", "RESULT", "REMARKS", "STATED BY"),
    )


def inventory(told: Iterable[Told]) -> str:
    """Show what the device holds."""
    return table(
        (_held(one.id, one.object) for one in told if one.object is not None),
        head=("ID", "CAMERA", "CATEGORY", "CAPTURED", "SIZE", "STATE", "UNTIL", "NAME"),
        right=(4,),
    )


def _held(object_id: str, held: dict[str, Any]) -> tuple[object, ...]:
    label = held.get("camera_label") or held.get("camera", "")
    bytes_ = held.get("bytes")
    return (
        object_id,
        label,
        held.get("category", ""),
        when_text(held.get("captured_from", "")),
        size(bytes_) if isinstance(bytes_, int) else "",
        held.get("state", ""),
        when_text(held["until"]) if "until" in held else "no rule",
        held.get("name", ""),
    )
