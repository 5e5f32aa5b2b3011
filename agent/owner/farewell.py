"""``erase-all``: a device forgets its owner, for good, and is there for the next one."""

import argparse

from agent.owner import device as devices
from agent.owner import send, show
from agent.owner.context import Context, add
from agent.shell.parser import Subparsers


def add_parsers(subparsers: Subparsers) -> None:
    """Register ``erase-all``."""
    erase_all = add(
        subparsers,
        "erase-all",
        summary="erase everything of ours from a device and its stores, and leave it without an owner",
        example="privacy-owner erase-all --device cam-01",
        detail="Recordings, keys and trust go at once; its last word follows when the stores have confirmed.",
        run=_erase_all,
    )
    erase_all.add_argument("--yes", action="store_true", help="do not ask")
    send.add_sending(erase_all)


def _erase_all(arguments: argparse.Namespace, context: Context) -> int:
    device = devices.pick(context.home, arguments.device)
    order = send.order(arguments, context, device, "erase-all", {})
    context.confirm(
        f"Erase EVERYTHING of yours on {device.name} and at its store, and leave it without an owner? "
        "No command of yours reaches it afterwards.",
        yes=arguments.yes,
        hint="to keep recordings, export them first: privacy-owner export --all",
    )
    if arguments.out:
        return send.write(arguments, context, device, order)
    receipt = send.send(arguments, context, device, order)
    context.say(show.end(receipt), receipt)
    shortfall = show.shortfall(receipt)
    context.note(shortfall)
    return 1 if shortfall else 0
