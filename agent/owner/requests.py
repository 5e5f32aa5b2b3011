"""``requests``: the owner's requests as the device has them: what is open, by when each is due, what was answered."""

import argparse
from typing import Final

from agent.owner import device as devices
from agent.owner import send
from agent.owner.context import Context, add
from agent.owner.receipt import RequestTold
from agent.shell.layout import clean
from agent.shell.parser import Subparsers
from agent.shell.terminal import table
from agent.shell.times import when_text

_STATES: Final = {
    "open": "open",
    "overdue": "OVERDUE",
    "answered": "answered",
    "answered_late": "answered late",
}


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
    rows = [(one.command, one.verb, when_text(one.asked), when_text(one.due), state(one)) for one in told]
    shown = table(rows, head=("COMMAND", "VERB", "ASKED", "DUE", "STATE")) if rows else "nothing was requested yet"
    context.say(shown, told)
    late = sum(one.state == "overdue" for one in told)
    if late:
        context.note(f"{late} not answered in time\n  next: privacy-owner pending says what each waits for")
    return 1 if late else 0


def state(told: RequestTold) -> str:
    """Say in words how a request stands."""
    known = _STATES.get(told.state, clean(told.state))
    if told.state == "open":
        return f"{known}, {told.working_days_left} working days left"
    return f"{known}: {clean(told.status)}" if told.status else known
