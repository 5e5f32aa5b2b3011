"""What is told of an enrolled camera, in few words for a table."""

from typing import Any, Final

_DOING: Final = ("recording", "microphone", "stream", "indicator")


def collection_words(camera: dict[str, Any]) -> str:
    """Return whether a camera is to collect, by whose word, and whether it has yet to say so itself."""
    told = camera.get("collection")
    if told is None:
        return "-"
    wanted = told["wanted"]
    whose = " by hand" if told["by"] == "hand" else " by policy" if wanted == "off" else ""
    return f"{wanted}{whose}" + ("" if told["at_camera"] == wanted else ", unconfirmed")


def radio_words(camera: dict[str, Any]) -> str:
    """Return what a camera that was met over Bluetooth said it is doing then; ``""`` where it was not met."""
    from agent.shell.times import clock_text

    radio = camera.get("bluetooth", {})
    if radio.get("wants") == "passkey":
        return "its Bluetooth wants its passkey"
    if (state := radio.get("privacy_state")) is None:
        return ""
    doing = ", ".join(name for name in _DOING if state[name]) or "not recording"
    consent = "" if state["consent"] else ", no consent noted there"
    about = [f'{name} "{radio[key]}"' for name in ("model", "firmware") if radio.get(key := f"unverified_{name}")]
    words = [
        f"over Bluetooth it said at {clock_text(radio['met'])}: {doing}",
        f"storage {state['storage']}{consent}",
    ]
    return ", ".join((*words, *about))


def onvif_words(camera: dict[str, Any]) -> str:
    """Return what a camera's ONVIF service said of it: where it shows a picture, of what it tells events."""
    said = camera.get("onvif")
    if said is None:
        return ""
    picture = f"shows a picture at {said['snapshot']}" if said["snapshot"] else "shows no picture"
    return f"by ONVIF it {picture}, and tells of {', '.join(said['topics']) or 'no events'}"
