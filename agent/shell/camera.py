"""What is told of an enrolled camera, in few words for a table."""

from collections.abc import Iterable
from typing import Any, Final

RADIO_HEAD: Final = ("camera", "is doing", "storage", "model", "firmware", "met over Bluetooth at")

_DOING: Final = ("recording", "microphone", "stream", "indicator")


def collection_words(camera: dict[str, Any]) -> str:
    """Return whether a camera is to collect, by whose word, and whether it has yet to say so itself."""
    told = camera.get("collection")
    if told is None:
        return "-"
    wanted = told["wanted"]
    whose = " by hand" if told["by"] == "hand" else " by policy" if wanted == "off" else ""
    return f"{wanted}{whose}" + ("" if told["at_camera"] == wanted else ", unconfirmed")


def answers_words(camera: dict[str, Any]) -> str:
    """Return whether it answers at its address, or else over Bluetooth."""
    radio = camera.get("bluetooth", {})
    if not camera.get("reachable") and radio:
        return "by Bluetooth" if "privacy_state" in radio else "wants its passkey"
    return {True: "yes", False: "no", None: "-"}[camera.get("reachable")]


def radio_rows(cameras: Iterable[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Return a row for each that was met over Bluetooth: what it said it is doing then."""
    from agent.shell.times import clock_text

    rows = []
    for one in cameras:
        radio = one.get("bluetooth", {})
        if (state := radio.get("privacy_state")) is not None:
            doing = ", ".join(name for name in _DOING if state[name]) or "nothing"
            consent = "" if state["consent"] else "; no consent is noted there"
            about = (
                f'"{text}"' if (text := radio.get(f"unverified_{name}")) else "-" for name in ("model", "firmware")
            )
            rows.append((one["camera"], doing + consent, state["storage"], *about, clock_text(radio["met"])))
    return rows
