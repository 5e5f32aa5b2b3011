"""``scrub``: the sealed objects are read again, and each that is not what was sealed is named."""

import argparse
import sys
from typing import Any

from agent.cli.asking import add_asking, ask_agent, print_json
from agent.shell.ending import DONE, FAILED
from agent.shell.parser import Subparsers


def add_parsers(subparsers: Subparsers) -> None:
    """Add the command."""
    scrub = add_asking(
        subparsers,
        "scrub",
        "read what is sealed again, and find what the medium lost",
        "privacy-agent scrub",
        detail="Without an ID a whole pass is brought to its end, within the rate of agent.toml; the agent does one by "
        "itself now and then. What is damaged is neither exported nor uploaded, and stays until a delete.",
        run=_run,
    )
    scrub.add_argument("ids", nargs="*", metavar="ID", help="objects, as inventory lists them; none means all")


def _run(arguments: argparse.Namespace) -> int:
    from agent.shell.layout import size

    told = ask_agent(arguments, "scrub", {"ids": arguments.ids})
    state = ask_agent(arguments, "status", {})["scrub"] if told["damaged"] or not told["whole"] else {"objects": []}
    named = [one for one in state["objects"] if not arguments.ids or one["id"] in arguments.ids]
    if arguments.json:
        print_json(told | {"objects_damaged": named})
    else:
        print(f"{told['objects']} objects read, {size(told['bytes'])}: {_found(told)}")
        for one in named:
            print(f"  {one['id']}  {one['lost']}. {one['elsewhere']}")
    missing = len(set(arguments.ids)) - told["objects"] if arguments.ids else 0
    if missing:
        print(f"privacy-agent: {missing} of them are not held here\n  next: privacy-agent inventory", file=sys.stderr)
    if not told["whole"]:
        print(
            "privacy-agent: the disk of the vault does not answer: the pass goes on in an hour\n"
            "  next: look at the disk: dmesg; privacy-agent doctor",
            file=sys.stderr,
        )
    if told["damaged"]:
        print(
            f"privacy-agent: damaged: {told['damaged']}\n"
            "  next: check the disk: smartctl -a; what is known of one of them: privacy-agent explain ID",
            file=sys.stderr,
        )
    return FAILED if told["damaged"] or missing or not told["whole"] else DONE


def _found(told: dict[str, Any]) -> str:
    doubt = f", {told['in_doubt']} cannot be read now and are looked at again in an hour" if told["in_doubt"] else ""
    mended = f", {told['mended']} whole again" if told["mended"] else ""
    return (f"{told['damaged']} damaged" if told["damaged"] else "none is damaged") + mended + doubt
