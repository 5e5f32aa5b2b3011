"""The verbs: a request is signed, kept, sent and answered; or written to a file, and its answer taken in from one.

Exit code 0 means that a terminal receipt says ``done`` (or, with ``--out``, that the file is written); everything else
is 1, with the reason and the next step.
"""

import argparse
import asyncio
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from agent.clock import MS_PER_S
from agent.errors import ConfigError, CorruptError, LinkError, RefusedError
from agent.files import write_durably
from agent.model import CATEGORIES, Selection, new_id, require_id
from agent.owner import command as requests
from agent.owner import device as devices
from agent.owner import show
from agent.owner.command import Me, Signed
from agent.owner.context import Context, add
from agent.owner.device import Device
from agent.owner.exchange import Exchange, Session, keep
from agent.owner.home import read_file
from agent.owner.line import Line
from agent.owner.reach import add_broker_arguments, settings_from
from agent.owner.receipt import Alert, Receipt, Told
from agent.shell.layout import clean, size, table
from agent.shell.parser import Subparsers
from agent.shell.times import parse_when, when

WAIT_S: Final = 120.0
PAGES_MAX: Final = 1000
"""Pages of one inventory: 200,000 objects."""

_ANSWER_BYTES: Final = 256 << 10
_DAY_S: Final = 86_400
_HAPPENED: Final = frozenset({"deleted", "already_gone", "exported", "listed"})
_LONGEST_S: Final = 31 * _DAY_S


def add_parsers(subparsers: Subparsers) -> None:
    """Register the verbs and what deals with their answers."""
    delete = add(
        subparsers,
        "delete",
        summary="delete recordings everywhere: device, queue and store",
        example="privacy-owner delete --camera k3x9 --from 2026-03-01 --to 2026-03-02",
        detail="A delete by camera, category, time or --all also refuses what of it turns up later.",
    )
    _add_selection(delete)
    delete.add_argument("--yes", action="store_true", help="do not ask")
    _add_sending(delete)
    delete.set_defaults(run=_delete)

    export = add(
        subparsers,
        "export",
        summary="have a sealed export built in the device's export folder",
        example="privacy-owner export --category recording --from 7d --form zip",
    )
    _add_selection(export)
    export.add_argument(
        "--form", choices=("objects", "zip"), default="objects", help="objects: as recorded; zip: parts"
    )
    export.add_argument(
        "--recipient", action="append", default=[], metavar="RECIPIENT", help="seal to age1…; repeatable"
    )
    _add_sending(export)
    export.set_defaults(run=_export)

    inventory = add(
        subparsers,
        "inventory",
        summary="list what the device holds",
        example="privacy-owner inventory --category photo",
    )
    _add_selection(inventory)
    inventory.add_argument("--cursor", default="", help="go on behind this one (with --out: one page a file)")
    _add_sending(inventory)
    inventory.set_defaults(run=_inventory)

    approve = add(
        subparsers,
        "approve",
        summary="let a command above its quota proceed with exactly that selection",
        example="privacy-owner approve 4q3… 9f86d0…",
    )
    approve.add_argument("command", metavar="COMMAND", help="id of the waiting command")
    approve.add_argument("selection", metavar="SELECTION-HASH", help="hash of what it selected")
    approve.add_argument("--yes", action="store_true", help="do not ask")
    _add_sending(approve)
    approve.set_defaults(run=_approve)

    time = add(
        subparsers, "time", summary="state trusted time to a device without a clock", example="privacy-owner time --now"
    )
    time.add_argument("--now", action="store_true", required=True, help="this machine's clock is right")
    _add_sending(time)
    time.set_defaults(run=_time)
    _add_answers(subparsers)


def _add_answers(subparsers: Subparsers) -> None:
    pending = add(
        subparsers, "pending", summary="list commands without a final receipt", example="privacy-owner pending"
    )
    _add_device(pending)
    pending.set_defaults(run=_pending)

    resend = add(
        subparsers,
        "resend",
        summary="send unfinished commands again, the same bytes, and wait",
        example="privacy-owner resend --timeout 600",
    )
    resend.add_argument("command", nargs="*", metavar="COMMAND", help="ids (default: all that are pending)")
    _add_device(resend)
    _add_line(resend)
    resend.set_defaults(run=_resend)

    listen = add(
        subparsers,
        "listen",
        summary="take in receipts and alerts that the device has for us",
        example="privacy-owner listen --timeout 10",
    )
    _add_device(listen)
    _add_line(listen)
    listen.set_defaults(run=_listen)

    receipt = add(
        subparsers,
        "receipt",
        summary="take in receipts that came as files",
        example="privacy-owner receipt answer.bin",
    )
    receipt.add_argument("file", nargs="+", metavar="FILE", help="what privacy-agent submit answered")
    receipt.add_argument("--ack", default="", metavar="FILE", help="write what tells the device that we have them")
    _add_device(receipt)
    receipt.set_defaults(run=_receipt)

    receipts = add(
        subparsers, "receipts", summary="list the receipts that are kept here", example="privacy-owner receipts"
    )
    receipts.add_argument("command", nargs="?", default="", metavar="COMMAND", help="of this command only")
    _add_device(receipts)
    receipts.set_defaults(run=_receipts)


def _add_selection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ids", nargs="*", metavar="ID", help="object ids, at most 200")
    parser.add_argument("--camera", default="", help="a camera's id")
    parser.add_argument("--category", default="", help=", ".join(CATEGORIES))
    parser.add_argument("--from", dest="start", default="", metavar="T", help="captured from: 2026-03-01, 36h, 14d, …")
    parser.add_argument("--to", dest="end", default="", metavar="T", help="captured before")
    parser.add_argument("--all", dest="everything", action="store_true", help="everything")


def _add_sending(parser: argparse.ArgumentParser) -> None:
    _add_device(parser)
    parser.add_argument("--out", default="", metavar="FILE", help="write the command to a file instead of sending it")
    parser.add_argument("--expires", default="7d", metavar="TIME", help="the device acts on it no later (default 7d)")
    parser.add_argument("--after", default="", metavar="COMMAND", help="only when that command has ended")
    _add_line(parser)


def _add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="", metavar="NAME", help="default: the one in owner.toml")


def _add_line(parser: argparse.ArgumentParser) -> None:
    add_broker_arguments(parser)
    parser.add_argument(
        "--timeout", type=_seconds, default=WAIT_S, metavar="S", help=f"seconds to wait (default {WAIT_S:g})"
    )


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value <= _LONGEST_S:
        raise ValueError(text)
    return value


# --- the verbs


def _delete(arguments: argparse.Namespace, context: Context) -> int:
    select = _selection(arguments, context)
    device = devices.pick(context.home, arguments.device)
    if not arguments.yes and not arguments.out:
        context.confirm(
            f"Delete for good, on {device.name} and at its store: {show.selected(select)}.",
            hint="look first: privacy-owner inventory with the same selection",
        )
    return _ask(arguments, context, device, "delete", {"select": requests.as_claim(select)})


def _export(arguments: argparse.Namespace, context: Context) -> int:
    select = _selection(arguments, context)
    own: dict[str, Any] = {"select": requests.as_claim(select), "form": arguments.form}
    if arguments.recipient:
        own["to"] = arguments.recipient
    return _ask(arguments, context, devices.pick(context.home, arguments.device), "export", own)


def _approve(arguments: argparse.Namespace, context: Context) -> int:
    require_id(arguments.command, what="COMMAND")
    if not arguments.yes and not arguments.out:
        context.confirm(
            f"Let command {arguments.command} proceed, above its quota?", hint="look first: privacy-owner inventory"
        )
    own = {"command": arguments.command, "selection": arguments.selection}
    return _ask(arguments, context, devices.pick(context.home, arguments.device), "approve", own)


def _time(arguments: argparse.Namespace, context: Context) -> int:
    device = devices.pick(context.home, arguments.device)
    return _ask(arguments, context, device, "time", {"now": context.now_s()})


def _inventory(arguments: argparse.Namespace, context: Context) -> int:
    if not any((arguments.ids, arguments.camera, arguments.category, arguments.start, arguments.end)):
        arguments.everything = True
    select = _selection(arguments, context)
    device = devices.pick(context.home, arguments.device)
    own: dict[str, Any] = {"select": requests.as_claim(select)}
    if arguments.cursor:
        own["cursor"] = arguments.cursor
    if arguments.out:
        return _write(arguments, context, _sign(arguments, context, device, "inventory", own))
    told: list[Told] = []
    for _page in range(PAGES_MAX):
        receipt = _send(arguments, context, device, _sign(arguments, context, device, "inventory", own))
        told.extend(receipt.outcomes or ())
        if receipt.status != "done" or not receipt.cursor:
            break
        own["cursor"] = receipt.cursor
    held = [one for one in told if one.object is not None]
    if "." in arguments.cursor:  # pages of another command's outcomes
        context.say(show.outcomes(told), told)
        return 0
    total = sum(int(one.object.get("bytes", 0)) for one in held if one.object is not None)
    count = f"{len(held)} object{'s' if len(held) != 1 else ''}, {size(total)}"
    text = f"{show.inventory(held)}\n\n{count}" if held else "nothing is held"
    context.say(text, {"objects": [one.object for one in held], "count": len(held), "bytes": total})
    return 0


# --- signing, sending, answers


def _selection(arguments: argparse.Namespace, context: Context) -> Selection:
    return requests.selection(
        ids=arguments.ids,
        camera=arguments.camera,
        category=arguments.category,
        start=arguments.start,
        end=arguments.end,
        everything=arguments.everything,
        now_ms=context.now_ms(),
    )


def _sign(arguments: argparse.Namespace, context: Context, device: Device, verb: str, own: dict[str, Any]) -> Signed:
    me = _me(context)
    now_ms = context.now_ms()
    lifetime_s = (now_ms - parse_when(arguments.expires, now_ms=now_ms)) // MS_PER_S
    if not 0 < lifetime_s <= _LONGEST_S:
        raise ConfigError(f"--expires {arguments.expires}: between 1 minute and 31 days", hint="write for example 7d")
    if arguments.after:
        require_id(arguments.after, what="--after")
    trial = {"iss": me.kid, "aud": device.name, "iat": 0, "exp": lifetime_s, "jti": new_id(), "seq": 1, "verb": verb}
    requests.require_sound(trial | own)
    with context.home.locked():
        signed = requests.build(
            verb,
            own,
            me=me,
            device=device.descriptor,
            jti=new_id(),
            seq=device.take_seq(),
            iat_s=now_ms // MS_PER_S,
            lifetime_s=lifetime_s,
            after=arguments.after,
        )
        device.keep_command(signed)
    return signed


def _me(context: Context) -> Me:
    described = context.home.me()
    return Me(kid=described.kid, alg=described.alg, key=context.home.client())


def _ask(arguments: argparse.Namespace, context: Context, device: Device, verb: str, own: dict[str, Any]) -> int:
    signed = _sign(arguments, context, device, verb, own)
    if arguments.out:
        return _write(arguments, context, signed)
    return _tell_end(context, _send(arguments, context, device, signed))


def _write(arguments: argparse.Namespace, context: Context, signed: Signed) -> int:
    path = Path(arguments.out)
    _write_file(path, signed.payload)
    context.say(
        f"{signed.verb}  {signed.jti}\nwritten to {path}\n\n"
        f"next: on the device: privacy-agent submit {path}\n      here again:    privacy-owner receipt ANSWER",
        {"command": signed.jti, "verb": signed.verb, "seq": signed.seq, "file": str(path)},
    )
    return 0


def _write_file(path: Path, data: bytes) -> None:
    try:
        write_durably(path, data)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="check the folder and its permissions") from error


def _send(arguments: argparse.Namespace, context: Context, device: Device, signed: Signed) -> Receipt:
    """Send and wait; raises ``LinkError`` when there is no terminal receipt in time."""
    newest = _converse(arguments, context, device, (signed,))
    receipt = newest.get(signed.jti)
    if receipt is None or not receipt.terminal:
        raise _unfinished(signed, receipt, timeout_s=arguments.timeout)
    if receipt.status == "refused":
        raise RefusedError(
            f"{device.name} refused it: {show.reason(receipt)}", reason=receipt.reason, hint=_hint_of(receipt)
        )
    return receipt


def _hint_of(receipt: Receipt) -> str:
    return "give the command again" if receipt.retry in {"after_fix", "later"} else "see docs/protocol.md §5"


def _unfinished(signed: Signed, receipt: Receipt | None, *, timeout_s: float) -> LinkError:
    state = "no answer" if receipt is None else show.progress(receipt)
    return LinkError(
        f"after {timeout_s:g} s, {signed.verb} {signed.jti} is not finished ({state})",
        hint="the command is kept; wait for it with: privacy-owner resend",
    )


def _converse(
    arguments: argparse.Namespace, context: Context, device: Device, wanted: tuple[Signed, ...]
) -> dict[str, Receipt]:
    with _progress(context) as on_receipt:
        session = _session(context, device, on_receipt)

        async def run() -> dict[str, Receipt]:
            settings = settings_from(arguments, context.home)
            async with Line(context.home, settings, device=device.name, kid=session.me.kid) as line:
                return await Exchange(session, line).converse(wanted, timeout_s=arguments.timeout)

        return asyncio.run(run())


def _session(context: Context, device: Device, on_receipt: Callable[[Receipt], None]) -> Session:
    return Session(
        home=context.home,
        device=device,
        me=_me(context),
        identities=context.home.identities(),
        read_clock=context.read_clock,
        on_receipt=on_receipt,
        on_alert=lambda alert: context.note(_alert_text(alert)),
        tell=context.note,
    )


@contextmanager
def _progress(context: Context) -> Iterator[Callable[[Receipt], None]]:
    """Yield what shows receipts as they come: one line that changes, on a terminal only."""
    shown = [0]
    live = sys.stderr.isatty() and not context.json

    def show_one(receipt: Receipt) -> None:
        if live and not receipt.terminal:
            text = show.progress(receipt)
            print(f"\r{text:<{shown[0]}}", end="", file=sys.stderr, flush=True)
            shown[0] = len(text)

    try:
        yield show_one
    finally:
        if shown[0]:
            print(f"\r{' ' * shown[0]}\r", end="", file=sys.stderr, flush=True)


def _alert_text(alert: Alert) -> str:
    return f"alert {clean(alert.code)}: {alert.what} {alert.effect}\n  next: {alert.next}"


def _tell_end(context: Context, receipt: Receipt) -> int:
    context.say(_end_text(receipt), receipt)
    _note_end(context, receipt)
    return 0 if receipt.status == "done" else 1


def _end_text(receipt: Receipt) -> str:
    lines = [f"{receipt.verb}  {receipt.status}  {receipt.cmd}"]
    listed = [one for one in receipt.outcomes or () if one.object is not None]
    if listed:
        lines += ["", show.inventory(listed)]
    elif receipt.outcomes:
        lines += ["", show.outcomes(receipt.outcomes)]
    elif receipt.outcomes_hash:
        lines.append(f"too many outcomes for one receipt: privacy-owner inventory --cursor {receipt.cursor}")
    if receipt.export is not None:
        lines += ["", *_export_lines(receipt)]
    return "\n".join(lines)


def _note_end(context: Context, receipt: Receipt) -> None:
    if receipt.status == "refused":
        context.note(f"refused: {show.reason(receipt)}")
    elif receipt.status != "done":
        left = [one for one in receipt.outcomes or () if one.result not in _HAPPENED]
        context.note(f"{receipt.status}: {len(left)} of it did not happen; the table names why")


def _export_lines(receipt: Receipt) -> Iterator[str]:
    told = receipt.export
    if told is None:
        return
    yield f"export {told.object}: {len(told.files)} files, {size(sum(file.bytes for file in told.files))}"
    yield f"next: copy the folder exports/{told.object} from the device, then: privacy-owner open {told.object}"


# --- pending, resend, listen, receipt, receipts


def _pending(arguments: argparse.Namespace, context: Context) -> int:
    device = devices.pick(context.home, arguments.device)
    rows, facts = [], []
    for signed in device.pending():
        last = next(reversed(device.receipts(signed.jti)), None)
        state = show.progress(last) if last is not None else "no answer yet"
        sent_ms = requests.iat_of(requests.claims_of(signed.jws))
        rows.append((signed.jti, signed.verb, when(sent_ms), state))
        facts.append({"command": signed.jti, "verb": signed.verb, "status": last.status if last is not None else ""})
    context.say(table_or(rows, ("COMMAND", "VERB", "SIGNED", "STATE"), "nothing is pending"), facts)
    return 0


def _resend(arguments: argparse.Namespace, context: Context) -> int:
    device = devices.pick(context.home, arguments.device)
    wanted = device.pending()
    if arguments.command:
        found = [(name, device.command(name)) for name in arguments.command]
        missing = [name for name, signed in found if signed is None]
        if missing:
            raise ConfigError(f"{missing[0]}: no such command was signed here", hint="privacy-owner pending")
        wanted = tuple(signed for _name, signed in found if signed is not None)
    if not wanted:
        context.say("nothing is pending", [])
        return 0
    newest = _converse(arguments, context, device, wanted)
    rows = [(signed.jti, signed.verb, _state(newest.get(signed.jti))) for signed in wanted]
    context.say(table(rows, head=("COMMAND", "VERB", "STATE")), [newest.get(signed.jti) for signed in wanted])
    ended = [newest[signed.jti] for signed in wanted if signed.jti in newest]
    return 0 if len(ended) == len(wanted) and all(one.status == "done" for one in ended) else 1


def _state(receipt: Receipt | None) -> str:
    return "no answer yet" if receipt is None else show.progress(receipt)


def _listen(arguments: argparse.Namespace, context: Context) -> int:
    device = devices.pick(context.home, arguments.device)
    receipts: list[Receipt] = []
    alerts: list[Alert] = []
    session = msgspec.structs.replace(_session(context, device, receipts.append), on_alert=alerts.append)

    async def run() -> None:
        settings = settings_from(arguments, context.home)
        async with Line(context.home, settings, device=device.name, kid=session.me.kid) as line:
            await Exchange(session, line).listen(for_s=arguments.timeout)

    asyncio.run(run())
    lines = [show.progress(receipt) for receipt in receipts] + [_alert_text(alert) for alert in alerts]
    context.say("\n".join(lines) or "nothing came", {"receipts": receipts, "alerts": alerts})
    return 0


def _receipt(arguments: argparse.Namespace, context: Context) -> int:
    device = devices.pick(context.home, arguments.device)
    session = _session(context, device, lambda _receipt: None)
    taken = []
    for name in arguments.file:
        raw = read_file(Path(name), max_bytes=_ANSWER_BYTES)
        try:
            taken.append(keep(session, raw))
        except CorruptError as error:
            raise CorruptError(
                f"{name}: {error.message}", hint=error.hint or "take the file as privacy-agent submit wrote it"
            ) from error
    ended = [receipt for receipt in taken if receipt.terminal]
    if arguments.ack and ended:
        jtis = [receipt.jti for receipt in ended]
        payload = requests.ack(jtis, me=session.me, device=device.name, iat_s=context.now_s())
        _write_file(Path(arguments.ack), payload)
        context.note(f"next: on the device: privacy-agent submit {arguments.ack}")
    context.say("\n\n".join(_end_text(one) if one.terminal else show.progress(one) for one in taken), taken)
    for receipt in ended:
        _note_end(context, receipt)
    return 0 if all(receipt.status == "done" for receipt in ended) else 1


def _receipts(arguments: argparse.Namespace, context: Context) -> int:
    device = devices.pick(context.home, arguments.device)
    found = device.receipts(arguments.command)
    rows = [(one.cmd, one.verb, one.status, one.reason, when(one.iat * MS_PER_S), one.audit_head.seq) for one in found]
    context.say(table_or(rows, ("COMMAND", "VERB", "STATUS", "REASON", "SIGNED", "AUDIT"), "no receipts yet"), found)
    return 0


def table_or(rows: Sequence[Sequence[object]], head: Sequence[str], empty: str) -> str:
    """Return the table, or a word for an empty one."""
    return table(rows, head=head) if rows else empty
