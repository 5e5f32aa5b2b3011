"""What became of commands: ``pending``, ``resend``, ``forget``, ``listen``, ``receipt``, ``receipts``."""

import argparse
import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from agent.clock import MS_PER_S, rfc3339_ms
from agent.envelope.kinds import KIND
from agent.errors import ConfigError, CorruptError
from agent.owner import command as requests
from agent.owner import device as devices
from agent.owner import send, show
from agent.owner.command import Signed
from agent.owner.context import Context, add
from agent.owner.device import Device
from agent.owner.exchange import Exchange, Session, keep
from agent.owner.home import quote, read_file, write_file
from agent.owner.line import Line
from agent.owner.reach import settings_from
from agent.owner.receipt import Alert, Receipt, jws_of, signer_of
from agent.shell.parser import Subparsers
from agent.shell.terminal import table
from agent.shell.times import when

_LAST_PHASE: Final = 2
"""Of an erase-all: its receipt is the last word, and the keys go once that was read."""

LAST_WORD_S: Final = 10.0
"""So long a device is listened to that has said its last word: it repeats that until it hears that it was read."""

_ANSWER_BYTES: Final = 256 << 10


def add_parsers(subparsers: Subparsers) -> None:
    """Register what deals with commands that were signed, and with their answers."""
    pending = add(
        subparsers,
        "pending",
        summary="list commands without a final receipt",
        example="privacy-owner pending",
        run=_pending,
    )
    send.add_device(pending)

    resend = add(
        subparsers,
        "resend",
        summary="send unfinished commands again, the same bytes, and wait; or write one to a file again",
        example="privacy-owner resend --timeout 600",
        run=_resend,
    )
    resend.add_argument("command", nargs="*", metavar="COMMAND", help="ids (default: all that are pending)")
    resend.add_argument("--yes", action="store_true", help="do not ask")
    send.add_device(resend)
    send.add_out(resend)
    send.add_line(resend)

    forget = add(
        subparsers,
        "forget",
        summary="never send a command again; what the device got already cannot be called back",
        example="privacy-owner forget 4q3…",
        run=_forget,
    )
    forget.add_argument("command", nargs="+", metavar="COMMAND", help="ids, as privacy-owner pending shows them")
    send.add_device(forget)

    listen = add(
        subparsers,
        "listen",
        summary="take in receipts and alerts that the device has for us",
        example="privacy-owner listen --timeout 10",
        detail="It asks the device by an inventory of one: alerts that wait come at once, receipts within 15 minutes. "
        "A device that is told to leave its owner is asked nothing.",
        run=_listen,
    )
    send.add_device(listen)
    send.add_line(listen)

    receipt = add(
        subparsers,
        "receipt",
        summary="take in receipts that came as files",
        example="privacy-owner receipt answer.bin",
        run=_receipt,
    )
    receipt.add_argument("file", nargs="+", metavar="FILE", help="what privacy-agent submit answered")
    receipt.add_argument("--ack", default="", metavar="FILE", help="write what tells the device that we have them")
    send.add_device(receipt)

    receipts = add(
        subparsers,
        "receipts",
        summary="list the receipts that are kept here",
        example="privacy-owner receipts",
        run=_receipts,
    )
    receipts.add_argument("command", nargs="?", default="", metavar="COMMAND", help="of this command only")
    send.add_device(receipts)


def _pending(arguments: argparse.Namespace, context: Context) -> int:
    device = devices.pick(context.home, arguments.device)
    rows: list[tuple[str, ...]] = []
    facts: list[dict[str, str]] = []
    pending = device.pending()
    told = device.receipts() if pending else ()
    left_s = max((receipt.iat for receipt in told if _is_last_word(receipt)), default=0)
    for signed in pending:
        last = next((receipt for receipt in reversed(told) if receipt.cmd == signed.jti), None)
        command = requests.command_of(signed)
        state = show.progress(last) if last is not None else "no answer yet"
        if last is not None and last.farewell is not None:
            state += f"; {show.farewell(last.farewell)}"
        if command.iat <= left_s:  # a command of its next owner is answered again
            state = f"is answered no more: the device has no owner now; privacy-owner forget {signed.jti}"
        rows.append((*_of(signed), state))
        facts.append(
            {
                "command": signed.jti,
                "verb": signed.verb,
                "what": show.asked(command),
                "signed": rfc3339_ms(command.iat * MS_PER_S),
                "expires": rfc3339_ms(command.exp * MS_PER_S),
                "status": last.status if last is not None else "",
            }
        )
    context.say(_table_or(rows, (*_HEAD, "STATE"), "nothing is pending"), facts)
    return 0


def _is_last_word(receipt: Receipt) -> bool:
    return receipt.farewell is not None and receipt.farewell.phase == _LAST_PHASE


def _last_word_s(device: Device) -> int:
    """Return when a device said its last word, 0 where it said none."""
    return max((receipt.iat for receipt in device.receipts() if _is_last_word(receipt)), default=0)


_HEAD: Final = ("COMMAND", "VERB", "SIGNED", "WHAT")


def _of(signed: Signed) -> tuple[str, ...]:
    command = requests.command_of(signed)
    return signed.jti, signed.verb, when(command.iat * MS_PER_S), show.asked(command)


def _resend(arguments: argparse.Namespace, context: Context) -> int:
    device = devices.pick(context.home, arguments.device)
    if arguments.command:
        wanted = tuple(_kept(device, jti) for jti in arguments.command)
    else:
        wanted = device.pending()
        _confirm(wanted, device, context, yes=arguments.yes)
    if not wanted:
        context.say("nothing is pending", [])
        return 0
    if arguments.out:
        return send.write_again(arguments, context, wanted)
    newest = send.converse(arguments, context, device, lambda: wanted)
    rows = [(signed.jti, signed.verb, _state(newest.get(signed.jti))) for signed in wanted]
    short = [
        receipt for receipt in newest.values() if receipt.terminal and receipt.outcomes and show.shortfall(receipt)
    ]
    own = context.home.recipients()
    text = [table(rows, head=("COMMAND", "VERB", "STATE")), *(show.end(receipt, own=own) for receipt in short)]
    context.say("\n\n".join(text), [newest.get(signed.jti) for signed in wanted])
    shortfalls = [show.shortfall(receipt) for receipt in newest.values() if receipt.terminal]
    if len(shortfalls) < len(wanted):
        shortfalls.append(
            f"{len(wanted) - len(shortfalls)} not finished\n  next: wait longer: privacy-owner resend --timeout 600"
        )
    return _note_all(shortfalls, context)


def _confirm(wanted: tuple[Signed, ...], device: Device, context: Context, *, yes: bool) -> None:
    """Show what would go to the device, and ask where something that it never answered ends recordings.

    What it has answered it carries out anyway: that is sent again for its final receipt alone.
    """
    if wanted:
        context.note(table([_of(signed) for signed in wanted], head=_HEAD))
    if any(signed.verb in requests.DESTRUCTIVE and not device.receipts(signed.jti) for signed in wanted):
        context.confirm(
            f"Send {'it' if len(wanted) == 1 else f'all {len(wanted)}'} to {device.name} again?",
            yes=yes,
            hint="send one alone: privacy-owner resend COMMAND; never send one again: privacy-owner forget COMMAND",
        )


def _forget(arguments: argparse.Namespace, context: Context) -> int:
    device = devices.pick(context.home, arguments.device)
    with context.home.locked():
        wanted = tuple(_kept(device, jti) for jti in arguments.command)
        for signed in wanted:
            device.forget(signed)
    last_ms = max(requests.command_of(signed).exp for signed in wanted) * MS_PER_S
    context.say(
        f"never sent again from here: {', '.join(signed.jti for signed in wanted)}\n"
        f"What the device got before, or what lies in a file, may still be carried out, until {when(last_ms)}.",
        {"forgotten": [signed.jti for signed in wanted], "expires": rfc3339_ms(last_ms)},
    )
    return 0


def _kept(device: Device, jti: str) -> Signed:
    """Return a kept command that can be sent; raises ``ConfigError``."""
    signed = device.command(jti)
    if signed is None:
        raise ConfigError(f"{jti}: no such command was signed here", hint="privacy-owner pending")
    if not signed.payload:
        raise ConfigError(f"{jti}: this command was forgotten; it is sent no more", hint="give it anew")
    return signed


def _state(receipt: Receipt | None) -> str:
    return "no answer yet" if receipt is None else show.progress(receipt)


def _listen(arguments: argparse.Namespace, context: Context) -> int:
    device = devices.pick(context.home, arguments.device)
    receipts: list[Receipt] = []
    alerts: list[Alert] = []
    session = msgspec.structs.replace(send.session_of(context, device, receipts.append), on_alert=alerts.append)
    settings = settings_from(arguments, context.home)
    if not settings.url or not settings.tenant:
        raise ConfigError(
            "no broker is named",
            hint="add --broker mqtts://HOST:8883 --tenant NAME --tls FOLDER; without one nothing comes by itself: "
            "what stands is told at the device by privacy-agent status, receipts come from privacy-agent submit",
        )
    asked: list[Signed] = []
    last_s = _last_word_s(device)

    async def run() -> frozenset[str]:
        async with Line(context.home, settings, device=device.name, kid=session.me.kid) as line:
            asked.extend(send.question(context, device))
            for_s = min(arguments.timeout, LAST_WORD_S) if last_s and not asked else arguments.timeout
            return await Exchange(session, line).listen(tuple(asked), for_s=for_s)

    try:
        unanswered = asyncio.run(run())
    finally:
        for signed in asked:
            if device.terminal(signed.jti) is None:  # it was of this moment alone
                device.forget(signed)
    news = [receipt for receipt in receipts if receipt.cmd not in {signed.jti for signed in asked}]
    lines = [show.news(receipt) for receipt in news] + [show.alert(alert) for alert in alerts]
    context.say(
        "\n".join(lines)
        or (_NO_NEWS if asked and not unanswered else _nothing(arguments.timeout, device, asked=bool(asked))),
        {"receipts": news, "alerts": alerts},
    )
    return 0


_NO_NEWS: Final = (
    "nothing new: no alert waits for us (privacy-owner alerts lists those that came); what waits as a receipt "
    "comes every 15 minutes, or at once: privacy-owner resend"
)


def _nothing(within_s: float, device: Device, *, asked: bool) -> str:
    """Say why nothing came: a device that leaves its owner was asked nothing, so its silence says nothing of it."""
    last_s = _last_word_s(device)
    if last_s:
        return (
            f"nothing came: the device said its last word at {when(last_s * MS_PER_S)} and has no owner now; "
            "nothing more comes of it"
        )
    if not asked and (leaving := device.leaving()) is not None:
        return f"nothing came in {within_s:g} s, and nothing was asked: {_leaves(*leaving)}"
    return (
        f"nothing came in {within_s:g} s, no answer either; what waits for us comes every 15 minutes at least while "
        "the device is there: privacy-owner listen --timeout 1000"
    )


def _leaves(signed: Signed, told: Receipt | None) -> str:
    """Say how far a device is from its owner, and what can be done meanwhile."""
    further = "what waits for us comes every 15 minutes at least: privacy-owner listen --timeout 1000"
    if told is None or told.farewell is None:
        if signed.payload:
            further = f"how it stands: privacy-owner resend {signed.jti}"
        return f"erase-all {signed.jti} has no final answer here, and where it is carried out we may not ask; {further}"
    held = "; what is held is listed by privacy-owner inventory" if told.farewell.held else ""
    return (
        "the device leaves its owner, and lets us ask no longer than something is held\n"
        f"{show.farewell(told.farewell)}\n{further}{held}"
    )


def _receipt(arguments: argparse.Namespace, context: Context) -> int:
    sessions = [_session_for(name, arguments, context) for name in arguments.file]
    if arguments.ack and len(names := sorted({session.device.name for session, _jws in sessions})) > 1:
        raise ConfigError(
            f"the receipts are of {', '.join(names)}, and --ack FILE tells one device; nothing was taken in",
            hint="give the receipts of one device at a time",
        )
    taken = []
    for name, (session, jws) in zip(arguments.file, sessions, strict=True):
        with _named(name):
            taken.append(keep(session, jws))
    ended = [receipt for receipt in taken if receipt.terminal]
    if arguments.ack and ended:
        jtis = [receipt.jti for receipt in ended]
        session, _jws = sessions[0]
        payload = requests.ack(jtis, me=session.me, device=session.device.name, iat_s=context.now_s())
        write_file(Path(arguments.ack), payload)
        context.note(f"next: on the device: privacy-agent submit {arguments.ack}")
    elif any(map(_is_last_word, ended)):
        context.note(
            f"next: tell the device that it was read: privacy-owner receipt {arguments.file[-1]} --ack ack.bin, "
            "and there: privacy-agent submit ack.bin"
        )
    further = "" if context.home.settings().url else " --out FILE"
    own = context.home.recipients()
    shown = (show.end(one, further=further, own=own) if one.terminal else show.progress(one) for one in taken)
    context.say("\n\n".join(shown), taken)
    return _note_all([show.shortfall(receipt, by_file=bool(further)) for receipt in ended], context)


def _session_for(name: str, arguments: argparse.Namespace, context: Context) -> tuple[Session, bytes]:
    """Return the JWS in a receipt's file, and the conversation with the device that it is to be judged by."""
    identities = context.home.identities()
    raw = read_file(Path(name), max_bytes=_ANSWER_BYTES)
    if raw[:1] == bytes((KIND["command"],)):
        raise ConfigError(
            f"{name}: this is a command, not an answer to one",
            hint=f"on the device: privacy-agent submit {quote(Path(name))} -o ANSWER; then take ANSWER in",
        )
    with _named(name):
        jws = jws_of(raw, kind="receipt", identities=identities)
        device = devices.signer(context.home, arguments.device, unverified_kid=signer_of(jws), what=name)
    return send.session_of(context, device, lambda _receipt: None), jws


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Name the file in what is wrong with it."""
    try:
        yield
    except CorruptError as error:
        raise CorruptError(
            f"{name}: {error.message}", hint=error.hint or "take the file as privacy-agent submit wrote it"
        ) from error


def _note_all(shortfalls: Sequence[str], context: Context) -> int:
    """Tell what did not happen; return the exit code that says so."""
    for shortfall in shortfalls:
        context.note(shortfall)
    return 1 if any(shortfalls) else 0


def _receipts(arguments: argparse.Namespace, context: Context) -> int:
    device = devices.pick(context.home, arguments.device)
    if arguments.command and device.command(arguments.command) is None:
        raise ConfigError(
            f"{arguments.command}: no such command was signed here", hint="privacy-owner receipts lists what is kept"
        )
    found = device.receipts(arguments.command)
    rows = [(one.cmd, one.verb, one.status, one.reason, when(one.iat * MS_PER_S), one.audit_head.seq) for one in found]
    context.say(_table_or(rows, ("COMMAND", "VERB", "STATUS", "REASON", "SIGNED", "AUDIT"), "no receipts yet"), found)
    return 0


def _table_or(rows: Sequence[Sequence[object]], head: Sequence[str], empty: str) -> str:
    return table(rows, head=head) if rows else empty
