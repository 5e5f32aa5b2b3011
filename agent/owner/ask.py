"""The verbs: ``delete``, ``export``, ``inventory``, ``approve``, ``time``.

Exit code 0 means that a terminal receipt says ``done`` and that what was named is there (or, with ``--out``, that the
file is written); everything else is 1, with the reason and the next step.
"""

import argparse
from typing import Any, Final

from agent.envelope.deposit import read_deposit
from agent.errors import ConfigError
from agent.model import CATEGORIES, Selection
from agent.owner import command as requests
from agent.owner import device as devices
from agent.owner import readers, send, show
from agent.owner.context import Context, add
from agent.owner.device import Device
from agent.owner.receipt import Told
from agent.shell.parser import Subparsers

PAGES_MAX: Final = 1000
"""Pages of one inventory, of up to 200 objects each: what is beyond them is told by its cursor."""


def add_parsers(subparsers: Subparsers) -> None:
    """Register the verbs."""
    delete = add(
        subparsers,
        "delete",
        summary="delete recordings everywhere: device, queue and store",
        example="privacy-owner delete --camera k3x9 --from 2026-03-01 --to 2026-03-02",
        detail="A delete by camera, category, time or --all also refuses what of it turns up later.",
        run=_delete,
    )
    add_selection(delete)
    delete.add_argument("--yes", action="store_true", help="do not ask")
    send.add_sending(delete)

    export = add(
        subparsers,
        "export",
        summary="have a sealed export built in the device's export folder",
        example="privacy-owner export --category recording --from 7d --form zip",
        run=_export,
    )
    add_selection(export)
    export.add_argument(
        "--form", choices=("objects", "zip"), default="objects", help="objects: as recorded; zip: parts"
    )
    export.add_argument(
        "--recipient", action="append", default=[], metavar="RECIPIENT", help="seal to age1…; repeatable"
    )
    export.add_argument("--put", default="", metavar="URL", help="have the device put it at https://HOST/FOLDER/")
    export.add_argument("--party", default="", metavar="NAME", help="who is at that address; with --put")
    export.add_argument("--yes", action="store_true", help="do not ask")
    send.add_sending(export)

    inventory = add(
        subparsers,
        "inventory",
        summary="list what the device holds",
        example="privacy-owner inventory --category photo",
        run=_inventory,
    )
    add_selection(inventory)
    inventory.add_argument("--cursor", default="", help="go on behind this one (with --out: one page a file)")
    send.add_sending(inventory)

    approve = add(
        subparsers,
        "approve",
        summary="let what waits for your word proceed, exactly as its alert tells it",
        example="privacy-owner approve 4q3… 9f86d0…",
        run=_approve,
    )
    approve.add_argument(
        "command", metavar="COMMAND", help="id of what waits: a command, a policy, a retention pass; its alert names it"
    )
    approve.add_argument(
        "selection", metavar="SELECTION-HASH", help="hash beside it there: of what it selected, or of the policy"
    )
    approve.add_argument("--yes", action="store_true", help="do not ask")
    send.add_sending(approve)

    time = add(
        subparsers,
        "time",
        summary="state trusted time to a device without a clock",
        example="privacy-owner time --now",
        run=_time,
    )
    time.add_argument("--now", action="store_true", required=True, help="this machine's clock is right")
    send.add_sending(time)


def add_selection(parser: argparse.ArgumentParser) -> None:
    """Add how objects are named."""
    parser.add_argument("ids", nargs="*", metavar="ID", help="object ids, at most 200")
    parser.add_argument("--camera", default="", metavar="ID", help="of one camera")
    parser.add_argument("--category", default="", metavar="NAME", help=f"of one category: {', '.join(CATEGORIES)}")
    parser.add_argument("--from", dest="start", default="", metavar="T", help="captured from: 2026-03-01, 36h, 14d, …")
    parser.add_argument("--to", dest="end", default="", metavar="T", help="captured before")
    parser.add_argument("--all", dest="everything", action="store_true", help="everything that the device holds")


def selection_of(arguments: argparse.Namespace, context: Context) -> Selection:
    """Return what the arguments of ``add_selection`` name; raises ``ConfigError``."""
    return requests.selection(
        ids=arguments.ids,
        camera=arguments.camera,
        category=arguments.category,
        start=arguments.start,
        end=arguments.end,
        everything=arguments.everything,
        now_ms=context.now_ms(),
    )


def _delete(arguments: argparse.Namespace, context: Context) -> int:
    select = selection_of(arguments, context)
    device = devices.pick(context.home, arguments.device)
    order = send.order(arguments, context, device, "delete", {"select": requests.as_claim(select)})
    context.confirm(
        f"Delete for good, on {device.name} and at its store: {show.doomed(select)}.",
        yes=arguments.yes,
        hint="look first: privacy-owner inventory with the same selection",
    )
    return ask(arguments, context, device, order)


def _export(arguments: argparse.Namespace, context: Context) -> int:
    select = selection_of(arguments, context)
    own: dict[str, Any] = {"select": requests.as_claim(select), "form": arguments.form}
    if arguments.recipient:
        own["to"] = requests.require_recipients(arguments.recipient)
    if bool(arguments.put) != bool(arguments.party):
        raise ConfigError(
            "--put and --party come together: an address, and who is there",
            hint="add the other; or leave both out, and the export lies on the device, sealed to --recipient",
        )
    if arguments.put and not arguments.recipient:
        raise ConfigError(
            "--put hands the export to somebody else, and nobody is named who could open it",
            hint="add --recipient age1… of whoever shall read it: privacy-owner keygen --pq makes them one",
        )
    if arguments.put:
        own |= {"put": arguments.put, "party": arguments.party}
    device = devices.pick(context.home, arguments.device)
    order = send.order(arguments, context, device, "export", own)
    if arguments.recipient:
        context.note(readers.told(arguments.recipient, own=context.home.recipients()))
    if arguments.put:
        context.confirm(
            f"{device.name} puts {show.selected(select)} at {read_deposit(arguments.put).host}, for {arguments.party}. "
            "What was sent cannot be called back.",
            yes=arguments.yes,
            hint="look first: privacy-owner inventory with the same selection",
        )
    return ask(arguments, context, device, order)


def _approve(arguments: argparse.Namespace, context: Context) -> int:
    requests.require_command_id(arguments.command, what="COMMAND", where=requests.WHERE_IT_WAITS)
    requests.require_hash(arguments.selection)
    device = devices.pick(context.home, arguments.device)
    own = {"command": arguments.command, "selection": arguments.selection}
    order = send.order(arguments, context, device, "approve", own)
    alerts = [told for told in device.alerts() if arguments.command in told.what + told.next]
    for told in alerts:
        context.note(show.alert(told))
    known = "exactly as the alert above tells it" if alerts else "of which no alert is kept here"
    context.confirm(
        f"Let {arguments.command} proceed, {known}?",
        yes=arguments.yes,
        hint="look first: privacy-owner listen, then privacy-owner alerts; without a broker at the device, "
        "of a policy privacy-agent policy show --waiting, else privacy-agent status",
    )
    return ask(arguments, context, device, order)


def _time(arguments: argparse.Namespace, context: Context) -> int:
    device = devices.pick(context.home, arguments.device)
    order = send.order(arguments, context, device, "time", {"now": context.now_s()})
    return ask(arguments, context, device, order)


def _inventory(arguments: argparse.Namespace, context: Context) -> int:
    if not any((arguments.ids, arguments.camera, arguments.category, arguments.start, arguments.end)):
        arguments.everything = True
    select = selection_of(arguments, context)
    device = devices.pick(context.home, arguments.device)
    own: dict[str, Any] = {"select": requests.as_claim(select)}
    if arguments.cursor:
        own["cursor"] = arguments.cursor
    if arguments.out:
        return send.write(arguments, context, device, send.order(arguments, context, device, "inventory", own))
    told: list[Told] = []
    for _page in range(PAGES_MAX):
        receipt = send.send(arguments, context, device, send.order(arguments, context, device, "inventory", dict(own)))
        told.extend(receipt.outcomes or ())
        own["cursor"] = receipt.cursor
        if not receipt.cursor:
            break
    more = own["cursor"]
    if "." in arguments.cursor:  # pages of another command's outcomes
        context.say(show.outcomes(told), told)
        missing = ""
    else:
        context.say(
            show.held(told, select, own=context.home.recipients()),
            show.held_facts(told) | ({"cursor": more} if more else {}),
        )
        missing = show.missing(told)
    short = "\n".join(note for note in (missing, show.unread(more)) if note)
    context.note(short)
    return 1 if short else 0


def ask(arguments: argparse.Namespace, context: Context, device: Device, order: send.Order) -> int:
    """Send an order, or write it; show the terminal receipt and return the exit code."""
    if arguments.out:
        return send.write(arguments, context, device, order)
    receipt = send.send(arguments, context, device, order)
    context.say(show.end(receipt, own=context.home.recipients()), receipt)
    shortfall = show.shortfall(receipt)
    context.note(shortfall)
    return 1 if shortfall else 0
