"""``cameras`` and ``forget-camera``: which cameras are known here, how each is, and trusting one no more."""

import argparse
from typing import Any, Final

from agent.cli.asking import add_asking, ask_agent, config_of, print_json
from agent.shell.camera import collection_words, onvif_words, radio_words
from agent.shell.ending import DONE
from agent.shell.parser import Subparsers

_AT_CAMERA: Final = {
    "unpaired": "It was told: it records no more, and another agent may pair with it. Its card may hold clear "
    "recordings until then, or until it is reset.",
    "not_paired": "It says that it is not paired with this agent. Its card may hold clear recordings still.",
    "not_told": "It did not answer: if it is paired it records on for this agent alone until a person resets it, which "
    "empties its card, too: that may hold clear recordings.",
}


def add_parsers(subparsers: Subparsers) -> None:
    """Register the commands."""
    add_asking(
        subparsers,
        "cameras",
        "list the cameras that are known, how far each is proved, and how it is",
        "privacy-agent cameras",
        run=_cameras,
    )

    forget = add_asking(
        subparsers,
        "forget-camera",
        "trust a camera no more; what is held of it stays",
        "privacy-agent forget-camera ID",
        run=_forget,
    )
    forget.add_argument("camera", metavar="ID|NAME", help="as cameras lists it")


def _cameras(arguments: argparse.Namespace) -> int:
    answer = ask_agent(arguments, "cameras", {})
    if arguments.json:
        return print_json(answer)
    from agent.shell.terminal import heading

    print(cameras_table(answer["cameras"]) or "No camera is known.")
    if not answer["running"] and any(not one["source"] for one in answer["cameras"]):
        print("\n" + heading("No agent runs, so none is looked for and nothing is taken in. Start it:"))
        print(f"  {config_of(arguments).command('run')}")  # never broken: it is to be copied
    return DONE


def cameras_table(cameras: list[dict[str, Any]]) -> str:
    """Return cameras, how each is beneath it; empty for none."""
    from agent.shell.terminal import noted

    rows = [
        ((one["camera"], one["level"], one["name"], one.get("address") or one.get("endpoint") or "-"), _words(one))
        for one in cameras
    ]
    return noted(rows, head=("camera", "level", "name", "where")) if rows else ""


def _words(one: dict[str, Any]) -> list[str]:
    """Return how a camera is, the next step last."""
    if one["level"] == "forgotten":
        return ["its card may hold clear recordings until it is reset, or paired with another agent"]
    if one["source"]:
        return [f"of the source {one['source']}", onvif_words(one)]
    wanted = collection_words(one)
    return [words_of(one), f"collection {wanted}" if wanted != "-" else "", radio_words(one)]


def words_of(one: dict[str, Any]) -> str:
    """Say how an enrolled camera is, what it says of itself, and the next step."""
    how = one["how"]
    words = str(how["state"]).replace("_", " ")
    if how.get("reason"):
        words += f": {how['reason']}"
    if how.get("says"):
        words += f"; says: {', '.join(how['says'])}"
    if how.get("waiting"):
        words += f"; {deletes(how['waiting'])} for it"
    return f"{words}; next: {how['next']}" if how.get("next") else words


def deletes(count: int) -> str:
    """Say how many deletes wait."""
    return f"{count} delete{'s wait' if count != 1 else ' waits'}"


def deletes_waiting(waiting: list[dict[str, Any]]) -> list[str]:
    """Say in a line for each camera how many deletes wait for it, and why."""
    return [
        f"{deletes(one['count'])} for camera {one['camera']} {one['name']}".rstrip() + f": {words_of(one)}"
        for one in waiting
    ]


def _forget(arguments: argparse.Namespace) -> int:
    answer = ask_agent(arguments, "forget-camera", {"camera": arguments.camera})
    if arguments.json:
        return print_json(answer)
    from agent.shell.terminal import heading

    who = f"{answer['camera']} {answer['name']}".rstrip()
    print(heading(f"Camera {who} is trusted no more. What is held of it stays until it is deleted."))
    if answer["at_camera"]:
        print(heading(_AT_CAMERA[answer["at_camera"]]))
    return DONE
