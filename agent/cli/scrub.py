"""``scrub``: the sealed objects are read again, and each that is not what was sealed is named."""

import argparse
import sys
from collections.abc import Iterator
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
    from agent.shell.layout import counted, size

    told = ask_agent(arguments, "scrub", {"ids": arguments.ids})
    asks = told["damaged"] or told["in_doubt"] or not told["whole"]
    state = ask_agent(arguments, "status", {})["scrub"] if asks else {"objects": [], "doubted": []}
    damaged, doubted = (
        [one for one in state[listed] if not arguments.ids or one["id"] in arguments.ids]
        for listed in ("objects", "doubted")
    )
    if arguments.json:
        print_json(told | {"objects_damaged": damaged, "objects_in_doubt": doubted})
    else:
        print(f"{counted(told['objects'])} read, {size(told['bytes'])}: {_found(told)}")
        for one in damaged:
            print(f"  {one['id']}  {one['lost']}. {one['elsewhere']}")
        for one in doubted:
            print(f"  {one['id']}  {one['lost']}, now. It is looked at again in an hour.")
    steps = list(_steps(told))
    for what, following in steps:
        print(f"privacy-agent: {what}\n  next: {following}", file=sys.stderr)
    return FAILED if steps else DONE


def _steps(told: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what a person should hear of, and what to do next."""
    if told["not_held"]:
        yield f"not held here: {', '.join(told['not_held'])}", "privacy-agent inventory lists what is held"
    if not told["whole"]:
        yield (
            "the disk of the vault does not answer: the pass goes on an hour later, while the agent runs",
            "look at the disk: dmesg; privacy-agent doctor",
        )
    if told["in_doubt"]:
        yield f"not readable now: {told['in_doubt']}", "look at the disk, and whether it is mounted: dmesg; findmnt"
    if told["damaged"]:
        yield (
            f"damaged: {told['damaged']}",
            "check the disk: smartctl -a; what is known of one of them: privacy-agent explain ID",
        )


def _found(told: dict[str, Any]) -> str:
    doubt = f", {told['in_doubt']} cannot be read now" if told["in_doubt"] else ""
    mended = f", {told['mended']} whole again" if told["mended"] else ""
    return (f"{told['damaged']} damaged" if told["damaged"] else "none is damaged") + mended + doubt
