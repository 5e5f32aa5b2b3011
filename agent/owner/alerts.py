"""``alerts``: what the device told without being asked, as it signed it.

An alert is kept before the device is told that we have it, so the proof of an incident is there for whoever has to be
told of one. Of each code, and what it is about, there is one file for each time since which it stood: what it said
last.
"""

import argparse

from agent.owner import device as devices
from agent.owner import send, show
from agent.owner.context import Context, add
from agent.shell.parser import Subparsers


def add_parsers(subparsers: Subparsers) -> None:
    """Register ``alerts``."""
    alerts = add(
        subparsers,
        "alerts",
        summary="list the alerts that are kept here, with what to do",
        example="privacy-owner alerts --incidents",
        detail="Nothing is sent: new ones are taken in with the answer to any command.",
        run=_alerts,
    )
    alerts.add_argument("--incidents", action="store_true", help="only what somebody may have done on purpose")
    send.add_device(alerts)


def _alerts(arguments: argparse.Namespace, context: Context) -> int:
    device = devices.pick(context.home, arguments.device)
    found = [told for told in device.alerts() if told.incident or not arguments.incidents]
    none = "no incidents yet" if arguments.incidents else "no alerts yet"
    context.say("\n".join(show.alert(told) for told in found) or none, found)
    return 0
