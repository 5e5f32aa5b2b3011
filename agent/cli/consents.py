"""``consents``: what the owner said of purposes, for whoever looks at the device."""

import argparse

from agent.cli.asking import add_asking, ask_agent, print_json
from agent.shell.ending import DONE
from agent.shell.parser import Subparsers


def add_parsers(subparsers: Subparsers) -> None:
    """Register the command."""
    add_asking(
        subparsers,
        "consents",
        "list what the owner said of each purpose, and what is allowed now",
        "privacy-agent consents --json",
        run=_consents,
    )


def _consents(arguments: argparse.Namespace) -> int:
    answer = ask_agent(arguments, "consents", {})
    while answer["next"]:
        more = ask_agent(arguments, "consents", {"after": answer["next"]})
        answer = more | {"records": answer["records"] + more["records"]}
    if arguments.json:
        return print_json(answer)
    from agent.policy import reader_text
    from agent.shell.layout import clean, counted
    from agent.shell.terminal import table
    from agent.shell.times import when_text

    rows = [
        (
            clean(one["purpose"]),
            one["category"],
            one["basis"],
            "allowed" if one["allowed"] else "off",
            one["word"] or "never asked",
            when_text(one["since"]) if one["since"] else "",
            ", ".join(reader_text(name, keyless=name in one["keyless"]) for name in one["recipients"]) or "nobody",
        )
        for one in answer["standing"]
    ]
    print(
        table(rows, head=("PURPOSE", "CATEGORY", "BASIS", "NOW", "LAST WORD", "SINCE", "READ BY"))
        if rows
        else "the policy names no purpose"
    )
    if answer["do_not_track"]:
        print("\nDo not track is on: what rests on a legitimate interest is off unless it was consented to.")
    print(f"\n{counted(len(answer['records']), 'record')} of what was said; each with --json")
    return DONE
