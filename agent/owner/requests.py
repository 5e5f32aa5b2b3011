"""``requests``: the owner's requests as the device has them: what is open, by when each is due, what was answered."""

import argparse

from agent.owner import device as devices
from agent.owner import send, show
from agent.owner.context import Context, add
from agent.shell.parser import Subparsers


def add_parsers(subparsers: Subparsers) -> None:
    """Register ``requests``."""
    requests = add(
        subparsers,
        "requests",
        summary="ask the device which requests are open, and by when each will be answered",
        example="privacy-owner requests",
        detail="Each request is to be answered within the policy's working days, Monday to Friday in UTC.",
        run=_requests,
    )
    send.add_sending(requests)


def _requests(arguments: argparse.Namespace, context: Context) -> int:
    device = devices.pick(context.home, arguments.device)
    order = send.order(arguments, context, device, "requests", {})
    if arguments.out:
        return send.write(arguments, context, device, order)
    told = send.send(arguments, context, device, order).requests or ()
    context.say(show.requests(told), told)
    late = sum(one.state == "overdue" for one in told)
    if late:
        context.note(f"{late} not answered in time\n  next: privacy-owner pending says what each waits for")
    return 1 if late else 0
