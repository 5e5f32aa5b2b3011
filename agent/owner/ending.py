"""``end-service``: say when the service behind a device ends, or go on without it."""

import argparse

from agent.clock import MS_PER_S
from agent.owner import device as devices
from agent.owner import send
from agent.owner.ask import ask
from agent.owner.context import Context, add
from agent.shell.parser import Subparsers
from agent.shell.times import parse_until, when


def add_parsers(subparsers: Subparsers) -> None:
    """Register ``end-service``."""
    end = add(
        subparsers,
        "end-service",
        summary="have a device stop collecting and carry out its policy's plan, or go on without its service",
        example="privacy-owner end-service --resume",
        run=_end,
    )
    way = end.add_mutually_exclusive_group(required=True)
    way.add_argument(
        "--at", default="", metavar="T", help="when it ends: 2026-12-31, 2026-12-31T12:00, or 30d from now"
    )
    way.add_argument("--resume", action="store_true", help="go on: collect again, and carry out no plan")
    end.add_argument("--yes", action="store_true", help="do not ask")
    send.add_sending(end)


def _end(arguments: argparse.Namespace, context: Context) -> int:
    device = devices.pick(context.home, arguments.device)
    if arguments.resume:
        return ask(arguments, context, device, send.order(arguments, context, device, "end-service", {"resume": True}))
    ends_ms = parse_until(arguments.at, now_ms=context.now_ms())
    order = send.order(arguments, context, device, "end-service", {"ends": ends_ms // MS_PER_S})
    context.confirm(
        f"At {when(ends_ms)} {device.name} stops collecting; when the policy's time of grace is over it deletes all.",
        yes=arguments.yes,
        hint="what its policy says of it: [end_of_service] in policy.toml",
    )
    return ask(arguments, context, device, order)
