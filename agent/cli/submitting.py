"""``submit``: a signed file is carried out without any broker, and what became of it is said.

The receipt itself is sealed to the sender; its status and its reason are told here as well, and the exit code is 0 only
when all is done or goes on by itself: a command that waits for nothing but the word of a store or a camera does.
"""

import argparse
import base64
import os
import shlex
import sys
from pathlib import Path
from typing import Final

from agent.cli.asking import add_asking, ask_agent, print_json
from agent.errors import ConfigError
from agent.shell.ending import DONE, FAILED
from agent.shell.parser import Subparsers

GOES_WELL: Final = frozenset({"done", "accepted", "in_progress"})

RETRIES: Final = {
    "never": "this file will never be carried out here",
    "later": "submit the same file again in a while",
    "after_fix": "mend that, and sign a new command",
}
"""The end of the next step after a refusal, by whether trying again can help; what the reason means stands before."""

WAITS: Final = {
    "": "the store, or a camera, has to confirm; submit the same file again later for the final receipt",
    "quota_exceeded": "its selection is above the key's quota: an owner lets it proceed with privacy-owner approve",
    "approvals_missing": "another of the owner's clients says yes to it too: privacy-owner approve",
    "policy_loosens": "see privacy-agent policy show --waiting; the owner lets it proceed: privacy-owner approve",
    "clock_unconfirmed": "give the device network time, or send a signed time: privacy-owner time --now",
    "after_pending": "submit first the command that it names with --after",
}
"""The next step of what waits, by what it waits for."""


def add_parsers(subparsers: Subparsers) -> None:
    """Register the command."""
    submit = add_asking(
        subparsers,
        "submit",
        "carry out a signed file without any broker",
        "privacy-agent submit cmd.jws -o receipt.age",
        run=_submit,
    )
    submit.add_argument("file", type=Path, metavar="FILE", help="command, acknowledgement or key set")
    submit.add_argument("-o", "--output", type=Path, metavar="FILE", help="where the sealed receipt goes")


def _submit(arguments: argparse.Namespace) -> int:
    from agent.app.verbs import file_argument
    from agent.files import write_durably

    if arguments.output is not None:
        _require_place(arguments.output)
    answer = ask_agent(arguments, "submit", {"file": file_argument(arguments.file), "name": str(arguments.file)})
    receipt = base64.b64decode(answer["receipt"])
    status, reason = answer["status"], answer["reason"]
    if arguments.output is not None and receipt:
        write_durably(arguments.output.absolute(), receipt)
    if arguments.json:
        print_json(answer)
    elif not receipt:
        print(status)
    elif arguments.output is None:
        print(f"{status}; the receipt is sealed to the sender: repeat with -o FILE to keep it")
    else:
        print(f"{status}; read the receipt:  privacy-owner receipt {shlex.quote(str(arguments.output))}")
    if status in GOES_WELL:
        return DONE
    if status == "waiting" and not reason:
        print(f"privacy-agent: {WAITS['']}", file=sys.stderr)
        return DONE
    because = f": {reason.replace('_', ' ')}" if reason else ""
    print(f"privacy-agent: the command is {status}{because}\n  next: {_next(answer)}", file=sys.stderr)
    return FAILED


def _require_place(path: Path) -> None:
    """Raise ``ConfigError`` where no receipt could be put, before anything is carried out."""
    if path.is_dir() or not os.access(path.absolute().parent, os.W_OK | os.X_OK):
        raise ConfigError(
            f"{path}: no file can be written there", hint="name a file in a folder of yours; nothing was submitted"
        )


def _next(answer: dict[str, str]) -> str:
    from agent.commands.ledger import RETRY
    from agent.shell.refusal import REASONS

    if answer["status"] == "waiting":
        return WAITS[answer["reason"]]
    if answer["reason"]:
        return f"{REASONS[answer['reason']]}; {RETRIES[RETRY[answer['reason']]]}"
    return "the receipt says of each object what happened: privacy-owner receipt FILE"
