"""``integrations``: what this device has to do with that is not its own, on or off, and what for."""

import argparse

from agent.cli.asking import add_asking, ask_agent, print_json
from agent.shell.ending import DONE
from agent.shell.parser import Subparsers


def add_parsers(subparsers: Subparsers) -> None:
    """Register the command."""
    add_asking(
        subparsers,
        "integrations",
        "list the services, protocols, programs and readers that this device has to do with, on or off",
        "privacy-agent integrations",
        run=_integrations,
    )


def _integrations(arguments: argparse.Namespace) -> int:
    answer = ask_agent(arguments, "integrations", {})
    if arguments.json:
        return print_json(answer)
    from agent.shell.layout import clean
    from agent.shell.terminal import noted

    rows = [
        (
            (one["kind"], "on" if one["on"] else "off", clean(one["name"])),
            (one["purpose"], f"gets {one['gets']}", f"turned on by {one['by']}"),
        )
        for one in answer["integrations"]
    ]
    print(noted(rows, head=("KIND", "", "NAME")))
    return DONE
