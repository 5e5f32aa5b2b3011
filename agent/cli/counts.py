"""``counts``: what usage logs hold, counted and told with noise, as far as the policy's privacy budget goes."""

import argparse
from typing import Any

from agent.cli.asking import add_asking, ask_agent, print_json
from agent.shell.ending import DONE
from agent.shell.parser import Subparsers


def add_parsers(subparsers: Subparsers) -> None:
    """Add the command."""
    counts = add_asking(
        subparsers,
        "counts",
        "counts of usage logs with noise, and what is left of their privacy budget",
        "privacy-agent counts --tell --json > counts.json",
        run=_run,
    )
    counts.add_argument("--tell", action="store_true", help="tell them once, which spends the budget")


def _run(arguments: argparse.Namespace) -> int:
    from agent.shell.terminal import heading, pairs, table

    answer = ask_agent(arguments, "counts", {"tell": arguments.tell})
    if arguments.json:
        print_json(answer)
        return DONE
    told = answer if arguments.tell else answer["last"]
    rows: list[tuple[str, object]] = [
        ("purpose", answer["purpose"]),
        ("guarantee", f"{answer['guarantee']}, epsilon {answer['epsilon']:g} a field"),
        ("budget", f"{answer['spent']:.6g} of {answer['budget']:g} spent"),
    ]
    print(pairs(rows))
    if told is None:
        print("\n" + heading("Nothing was told yet: privacy-agent counts --tell"))
        return DONE
    if arguments.tell and answer["more"]:
        print(
            "\n" + heading("There are more logs: privacy-agent counts --tell tells of them, which costs as much again")
        )
    print(f"\n{table(_rows(told), head=('field', 'value', 'about'), right=(2,))}")
    return DONE


def _rows(told: dict[str, Any]) -> list[tuple[str, str, int]]:
    return [(name, value, count) for name, of in told["counts"].items() for value, count in of.items()]
