"""``collection`` and ``passkey``: what a person at this device has an enrolled camera do.

A passkey is read from the terminal, unseen, or is a line of stdin: an argument would stand in the list of processes.
"""

import argparse
import sys
from typing import Final

from agent.cli.asking import add_asking, ask_agent, print_json
from agent.shell.ending import DONE
from agent.shell.parser import Subparsers

PASSKEY_LINE_MAX: Final = 64


def add_parsers(subparsers: Subparsers) -> None:
    """Register the commands."""
    collection = add_asking(
        subparsers,
        "collection",
        "switch a camera's collection off, or leave it to the policy again",
        "privacy-agent collection ID off",
        run=_collection,
    )
    collection.add_argument("camera", metavar="ID|NAME", help="as cameras lists it")
    collection.add_argument(
        "collection",
        choices=("on", "off"),
        metavar="on|off",
        help="off stands above the policy until it is on again; on is no more than what the policy lets in",
    )
    passkey = add_asking(
        subparsers,
        "passkey",
        "pair over Bluetooth with a camera that demands its passkey",
        "privacy-agent passkey ID",
        run=_passkey,
    )
    passkey.add_argument(
        "camera", metavar="ID|NAME", help="as cameras lists it; the six digits are asked for, or on stdin"
    )


def typed_passkey() -> str:
    """Return what a person types unseen at the terminal, else the first line of stdin."""
    if sys.stdin.isatty():
        import getpass

        return getpass.getpass("Passkey that the camera shows, or that is on it: ").strip()
    return sys.stdin.readline(PASSKEY_LINE_MAX).strip()


def _collection(arguments: argparse.Namespace) -> int:
    answer = ask_agent(arguments, "collection", {"camera": arguments.camera, "collection": arguments.collection})
    if arguments.json:
        return print_json(answer)
    camera, wanted = answer["camera"], answer["wanted"]
    if answer["told"]:
        way = {"link": "its camera link", "bluetooth": "Bluetooth"}[answer["told"]]
        print(f"Camera {camera} is switched {wanted}; it says so itself, over {way}.")
    else:
        print(f"Camera {camera} is to be {wanted}. It was not reached: it is told when it is met next.")
    return DONE


def _passkey(arguments: argparse.Namespace) -> int:
    answer = ask_agent(arguments, "passkey", {"camera": arguments.camera, "passkey": typed_passkey()})
    if arguments.json:
        return print_json(answer)
    print(f"Camera {answer['camera']} is paired over Bluetooth, and proved itself there.")
    return DONE
