"""What a running agent answers on its local socket, asked as its shell commands ask.

For what is looked at again and again: a process for each look takes the machine from what is waited for.
"""

import json
import socket
from pathlib import Path
from typing import Any, Final

WITHIN_S: Final = 60.0

Told = dict[str, Any]


class NobodyError(Exception):
    """No agent answers there: it does not run, or ended while it was asked."""


def ask_socket(path: Path, verb: str, **args: object) -> Told:
    """Ask once; a socket's name crosses network namespaces. What the agent answers as an error fails the test."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.settimeout(WITHIN_S)
            line.connect(str(path))
            line.sendall(json.dumps({"verb": verb, "args": args}).encode() + b"\n")
            with line.makefile("rb") as answers:
                answer = _last_of([json.loads(one) for one in answers if one.endswith(b"\n")])
    except (ConnectionError, FileNotFoundError) as error:
        raise NobodyError from error
    assert "result" in answer, answer
    result: Told = answer["result"]
    return result


def _last_of(messages: list[Told]) -> Told:
    """Return the answer; what is told on the way to it stands before."""
    if not messages:
        raise NobodyError
    return messages[-1]


def held_objects(path: Path) -> list[Told]:
    """Return what the inventory lists, as ``privacy-agent inventory --json`` does."""
    answer = ask_socket(path, "inventory")
    found: list[Told] = answer["objects"]
    while answer["next"]:
        answer = ask_socket(path, "inventory", after=answer["next"])
        found += answer["objects"]
    return sorted(found, key=lambda item: (item["captured_from"], item["id"]))
