"""``consent give|refuse|list``, ``withdraw`` and ``object``: what the owner says of why data is used.

Taking back is as easy as giving: nothing asks for a yes. ``list`` shows the records as the device keeps them, each a
document that says who said what, when, and under which policy.
"""

import argparse
from typing import Any, Final

from agent.errors import ConfigError
from agent.model import CATEGORIES
from agent.owner import device as devices
from agent.owner import said, send, show
from agent.owner.context import Context, add
from agent.owner.device import Device
from agent.shell.layout import clean
from agent.shell.parser import Subparsers, group
from agent.shell.terminal import table
from agent.shell.times import when_text

PAGES_MAX: Final = 1000
"""Answers of one list at most."""

_POLICY_SHOWN: Final = 12
"""Digits of a policy's hash in the table."""


def add_parsers(subparsers: Subparsers) -> None:
    """Register the commands."""
    consent = group(
        subparsers,
        "consent",
        summary="give consent to a purpose, refuse it, and list what was said",
        example="privacy-owner consent give analytics --category usage-log",
    )
    for word, summary in (
        ("give", "let data be used for a purpose, from now on"),
        ("refuse", "say no to a purpose; the others go on"),
    ):
        parser = add(consent, word, summary=summary, example=f"privacy-owner consent {word} analytics", run=_consent)
        parser.set_defaults(decision={"give": "given", "refuse": "refused"}[word])
        _add_purpose(parser)
        send.add_sending(parser)
    records = add(
        consent,
        "list",
        summary="list what was said of purposes, as the device recorded it",
        example="privacy-owner consent list --json",
        run=_list,
    )
    records.add_argument("--cursor", default="", metavar="RECORD", help="go on behind this record (with --out: a page)")
    send.add_sending(records)

    withdraw = add(
        subparsers,
        "withdraw",
        summary="take consent to a purpose back, also for what waits to be uploaded",
        example="privacy-owner withdraw analytics",
        detail="Collection for it stops at the camera. The receipt says of each object what became of it.",
        run=_withdraw,
    )
    _add_purpose(withdraw)
    send.add_sending(withdraw)

    objection = add(
        subparsers,
        "object",
        summary="object to a purpose that needs no consent, or switch do-not-track",
        example="privacy-owner object --do-not-track on",
        run=_object,
    )
    objection.add_argument("purpose", nargs="?", default="", metavar="PURPOSE", help="as the policy names it")
    objection.add_argument("--category", default="", choices=CATEGORIES, metavar="NAME", help="of one category")
    objection.add_argument(
        "--do-not-track",
        choices=("on", "off"),
        help="on: object to all that rests on consent or on a legitimate interest, now and in later policies",
    )
    send.add_sending(objection)


def _add_purpose(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("purpose", metavar="PURPOSE", help="as the policy names it")
    parser.add_argument(
        "--category",
        default="",
        choices=CATEGORIES,
        metavar="NAME",
        help=f"of one category ({', '.join(CATEGORIES)}); left out: of each that the policy uses for it",
    )


def _own(arguments: argparse.Namespace) -> dict[str, Any]:
    own: dict[str, Any] = {"purpose": arguments.purpose} if arguments.purpose else {}
    return own | ({"category": arguments.category} if arguments.category else {})


def _consent(arguments: argparse.Namespace, context: Context) -> int:
    return _ask(arguments, context, "consent", _own(arguments) | {"decision": arguments.decision})


def _withdraw(arguments: argparse.Namespace, context: Context) -> int:
    return _ask(arguments, context, "withdraw", _own(arguments))


def _object(arguments: argparse.Namespace, context: Context) -> int:
    by_itself = arguments.do_not_track is not None
    if bool(arguments.purpose) == by_itself or (by_itself and arguments.category):
        raise ConfigError(
            "object to what? one purpose, in all categories or in one, or do-not-track by itself",
            hint="name a purpose of the policy (privacy-agent policy explain), or say --do-not-track on",
        )
    switched = {} if arguments.do_not_track is None else {"do_not_track": arguments.do_not_track == "on"}
    return _ask(arguments, context, "object", _own(arguments) | switched)


def _ask(arguments: argparse.Namespace, context: Context, verb: str, own: dict[str, Any]) -> int:
    device = devices.pick(context.home, arguments.device)
    order = send.order(arguments, context, device, verb, own)
    if arguments.out:
        return send.write(arguments, context, device, order)
    receipt = send.send(arguments, context, device, order)
    context.say(show.end(receipt), receipt)
    shortfall = show.shortfall(receipt)
    context.note(shortfall)
    return 1 if shortfall else 0


def _list(arguments: argparse.Namespace, context: Context) -> int:
    device = devices.pick(context.home, arguments.device)
    if arguments.out:
        return send.write(arguments, context, device, _page(arguments, context, device, arguments.cursor))
    records: list[dict[str, Any]] = []
    cursor = arguments.cursor
    for _number in range(PAGES_MAX):
        receipt = send.send(arguments, context, device, _page(arguments, context, device, cursor))
        records.extend(receipt.records or ())
        cursor = receipt.cursor
        if not cursor:
            break
    context.say(listed(records), {"records": records} | ({"cursor": cursor} if cursor else {}))
    if cursor:
        context.note(f"this is not all\n  next: privacy-owner consent list --cursor {clean(cursor)}")
    return 1 if cursor else 0


def _page(arguments: argparse.Namespace, context: Context, device: Device, cursor: str) -> send.Order:
    return send.order(arguments, context, device, "consents", {"cursor": cursor} if cursor else {})


def listed(records: list[dict[str, Any]]) -> str:
    """Show records in a table: when what was said of which purpose, by whom, under which policy."""
    if not records:
        return said.NOTHING
    told = map(said.read, records)
    return table(
        ((when_text(one.at), one.word, one.purpose, one.category, one.by, one.policy[:_POLICY_SHOWN]) for one in told),
        head=("SAID", "WORD", "PURPOSE", "CATEGORY", "BY", "POLICY"),
    )
