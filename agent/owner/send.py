"""One command on its way: checked, signed only when it can go, kept before it goes, waited for.

1. what the device would refuse is found before anything else
2. the line is connected, or the file that the command goes into is open: what fails until here has signed nothing
3. the sequence number is taken and the signed command kept, both durably
4. it is sent until its terminal receipt is kept; or its file gets its name, and where it cannot, the command is
   forgotten again
"""

import argparse
import asyncio
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from agent.age.stream import Writer
from agent.clock import MS_PER_S
from agent.envelope import MAX_SEALED_BYTES
from agent.errors import ConfigError, LinkError, RefusedError
from agent.model import new_id
from agent.owner import command as requests
from agent.owner import device as devices
from agent.owner import show
from agent.owner.command import Me, Signed
from agent.owner.context import Context
from agent.owner.device import Device
from agent.owner.exchange import Exchange, Session
from agent.owner.home import Home, quote
from agent.owner.line import Line
from agent.owner.reach import add_broker_arguments, settings_from
from agent.owner.receipt import Receipt
from agent.shell import operand
from agent.shell.terminal import LiveLine
from agent.shell.times import parse_when

WAIT_S: Final = 120.0
_DAY_S: Final = 86_400
_LONGEST_S: Final = 31 * _DAY_S
_QUESTION_S: Final = _DAY_S


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What shall be signed; it was checked, and no number was spent on it."""

    verb: str
    own: dict[str, Any]
    lifetime_s: int
    after: str


def add_sending(parser: argparse.ArgumentParser) -> None:
    """Add what every verb takes."""
    add_device(parser)
    add_out(parser)
    parser.add_argument("--expires", default="7d", metavar="TIME", help="the device acts on it no later (default 7d)")
    parser.add_argument("--after", default="", metavar="COMMAND", help="only when that command has ended")
    add_line(parser)


def add_out(parser: argparse.ArgumentParser) -> None:
    """Add the file that a command goes into."""
    parser.add_argument("--out", default="", metavar="FILE", help="write the command to a file instead of sending it")


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add which device is meant."""
    parser.add_argument("--device", default="", metavar="NAME", help="default: the one in owner.toml")


def add_line(parser: argparse.ArgumentParser) -> None:
    """Add where the broker is and how long to wait."""
    add_broker_arguments(parser)
    parser.add_argument(
        "--timeout", type=_seconds, default=WAIT_S, metavar="S", help=f"seconds to wait (default {WAIT_S:g})"
    )


def _seconds(text: str) -> float:
    value = float(text) if text.replace(".", "", 1).isdecimal() else 0.0
    if not 0 < value <= _LONGEST_S:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0 and up to {_LONGEST_S}")
    return value


def order(arguments: argparse.Namespace, context: Context, device: Device, verb: str, own: dict[str, Any]) -> Order:
    """Return what can be signed; raises ``ConfigError`` for what the device would refuse."""
    now_ms = context.now_ms()
    lifetime_s = (now_ms - parse_when(arguments.expires, now_ms=now_ms)) // MS_PER_S
    if not 0 < lifetime_s <= _LONGEST_S:
        raise ConfigError(f"--expires {arguments.expires}: between 1 minute and 31 days", hint="write for example 7d")
    if arguments.after:
        requests.require_command_id(arguments.after, what="--after")
    iat_s = context.now_s()
    trial = {
        "iss": _me(context).kid,
        "aud": device.name,
        "iat": iat_s,
        "exp": iat_s + lifetime_s,
        "jti": new_id(),
        "seq": 1,
    }
    requests.require_sound(trial | {"verb": verb} | own)
    _require_granted(context.home, verb)
    return Order(verb=verb, own=own, lifetime_s=lifetime_s, after=arguments.after)


def _require_granted(home: Home, verb: str) -> None:
    """Raise ``ConfigError`` where the newest key set, which is kept in the owner's home alone, grants no such verb."""
    keys = home.key_set() if home.is_owners else None
    me = next((key for key in keys.keys if key.kid == home.me().kid), None) if keys is not None else None
    if me is not None and verb not in me.verbs:
        raise ConfigError(
            f"{me.name} was not granted {verb}: the device would refuse it",
            hint=home.command(f"client grant {shlex.quote(me.name)} {verb}"),
        )


def question(context: Context, device: Device) -> tuple[Signed, ...]:
    """Sign what changes nothing: in front of its answer goes each alert that waits for us (docs/protocol.md §8).

    None for a device that is told to forget its owner: it lets nobody ask any more, and calls a key that does misused.
    """
    for signed in device.commands():
        if signed.verb == "erase-all":
            last = device.terminal(signed.jti)
            if last is None or last.farewell is not None:
                return ()
    own = {"select": {"all": True}, "limit": 1}
    return (_signed(context, device, Order(verb="inventory", own=own, lifetime_s=_QUESTION_S, after="")),)


def _signed(context: Context, device: Device, order_: Order) -> Signed:
    with context.home.locked():
        signed = requests.build(
            order_.verb,
            order_.own,
            me=_me(context),
            device=device.descriptor,
            jti=new_id(),
            seq=device.take_seq(),
            iat_s=context.now_s(),
            lifetime_s=order_.lifetime_s,
            after=order_.after,
        )
        device.keep_command(signed)
    return signed


def _me(context: Context) -> Me:
    described = context.home.me()
    return Me(kid=described.kid, alg=described.alg, key=context.home.client())


# --- into a file


def write(arguments: argparse.Namespace, context: Context, device: Device, order_: Order) -> int:
    """Sign into the file that ``--out`` names; on failure there is neither a file nor a kept command."""
    path = Path(arguments.out)
    _require_unused(path, context)
    signed: Signed | None = None
    try:
        with operand.output(str(path.absolute()), private=True) as target:
            signed = _signed(context, device, order_)
            _put(target, signed)
    except BaseException:
        if signed is not None:
            device.forget(signed)
        raise
    return _written(signed, path, arguments, context)


def write_again(arguments: argparse.Namespace, context: Context, wanted: tuple[Signed, ...]) -> int:
    """Write a kept command, the same bytes, into the file that ``--out`` names."""
    if len(wanted) > 1:
        raise ConfigError(
            f"{len(wanted)} commands are pending, and a file holds one",
            hint="name it: privacy-owner resend COMMAND --out FILE; privacy-owner pending lists them",
        )
    path, (signed,) = Path(arguments.out), wanted
    _require_unused(path, context, but=signed.jti)
    with operand.output(str(path.absolute()), private=True) as target:
        _put(target, signed)
    return _written(signed, path, arguments, context)


def _require_unused(path: Path, context: Context, *, but: str = "") -> None:
    """Raise ``ConfigError`` where another command lies in a file that has no final receipt: it may be its only copy."""
    try:
        if not path.is_file() or path.stat().st_size > MAX_SEALED_BYTES + 1:
            return
        raw = path.read_bytes()
    except OSError:
        return  # what opens it for writing says what is wrong
    for device in devices.devices(context.home):
        found = next((one for one in device.commands() if one.payload and one.payload == raw and one.jti != but), None)
        if found is not None and device.terminal(found.jti) is None:
            raise ConfigError(
                f"{path}: {found.verb} {found.jti} lies in it, and has no final receipt; nothing was written",
                hint=f"submit that one first, or give another name; if it shall never be carried out: "
                f"privacy-owner forget {found.jti}",
            )


def _put(target: Writer, signed: Signed) -> None:
    view = memoryview(signed.payload)
    while view:
        view = view[target.write(view) or 0 :]


def _written(signed: Signed, path: Path, arguments: argparse.Namespace, context: Context) -> int:
    """Say where it lies and how its answer comes back here: without ``-o`` there is none that could."""
    device = f" --device {shlex.quote(arguments.device)}" if arguments.device else ""
    context.say(
        f"{signed.verb}  {signed.jti}\nwritten to {path}\n\n"
        f"next: on the device: privacy-agent submit {quote(path)} -o ANSWER\n"
        f"      here again:    {context.home.command(f'receipt ANSWER{device}')}",
        {"command": signed.jti, "verb": signed.verb, "seq": signed.seq, "file": str(path)},
    )
    return 0


# --- over the broker


def send(arguments: argparse.Namespace, context: Context, device: Device, order_: Order) -> Receipt:
    """Connect, sign, send and wait; raises ``LinkError`` without a terminal receipt in time, ``RefusedError``."""
    made: list[Signed] = []

    def sign() -> tuple[Signed, ...]:
        made.append(_signed(context, device, order_))
        return tuple(made)

    try:
        newest = converse(arguments, context, device, sign)
    except LinkError as error:
        if made:
            raise
        raise LinkError(f"{error.message}; nothing was signed", hint=error.hint) from error
    (signed,) = made
    receipt = newest.get(signed.jti)
    if receipt is None or not receipt.terminal:
        state = "no answer" if receipt is None else show.progress(receipt)
        raise LinkError(
            f"after {arguments.timeout:g} s, {signed.verb} {signed.jti} is not finished ({state})",
            hint="the command is kept; wait for it with: privacy-owner resend; "
            f"or never send it again: privacy-owner forget {signed.jti}",
        )
    if receipt.status == "refused":
        raise RefusedError(
            f"{device.name} refused it: {show.reason(receipt)}", reason=receipt.reason, hint=show.after_refusal(receipt)
        )
    return receipt


def converse(
    arguments: argparse.Namespace, context: Context, device: Device, wanted: Callable[[], tuple[Signed, ...]]
) -> dict[str, Receipt]:
    """Connect, then ask what shall go, send it and wait; return the newest receipt of each."""
    settings = settings_from(arguments, context.home)
    with _progress(context) as on_receipt:
        session = session_of(context, device, on_receipt)

        async def run() -> dict[str, Receipt]:
            async with Line(context.home, settings, device=device.name, kid=session.me.kid) as line:
                going = wanted()
                context.kept.extend(signed.jti for signed in going)
                newest = await Exchange(session, line).converse(going, timeout_s=arguments.timeout)
                context.kept.clear()
                return newest

        return asyncio.run(run())


def session_of(context: Context, device: Device, on_receipt: Callable[[Receipt], None]) -> Session:
    """Return what a conversation with the device needs."""
    return Session(
        home=context.home,
        device=device,
        me=_me(context),
        identities=context.home.identities(),
        read_clock=context.read_clock,
        on_receipt=on_receipt,
        on_alert=lambda alert: context.note(show.alert(alert)),
        tell=context.note,
    )


@contextmanager
def _progress(context: Context) -> Iterator[Callable[[Receipt], None]]:
    """Yield what shows receipts as they come: one line that changes, on a terminal only."""
    line = LiveLine(wanted=not context.json)

    def show_one(receipt: Receipt) -> None:
        if not receipt.terminal:
            line.show(show.progress(receipt))

    try:
        yield show_one
    finally:
        line.clear()
