"""``enrol``: a person trusts a camera once its key was compared, or says that an address is all that there is."""

import argparse
from pathlib import Path
from typing import Any, Final

from agent.cli.asking import add_asking, ask_agent, config_of, print_json
from agent.cli.switching import typed_passkey
from agent.errors import ConfigError
from agent.shell.ending import DONE
from agent.shell.parser import Subparsers

_NOW: Final = "Its key is pinned. Now open its set-up window at the camera: it lets this agent in once."
_AGAIN: Final = (
    "Its key is pinned. If it knows this agent still, because it was not told that it was forgotten, it lets it in by"
    " itself; else open its set-up window at the camera."
)
_ALONE: Final = (
    "Nothing is collected by that alone: it tells whether something answers there and, of a certificate, whether it is"
    " the same one. To take in what the camera records, add a [[source]] of kind rtsp to {config}."
)
_UNHEARD: Final = (
    "{config} has no [discovery], and no address was given: no agent would find this camera. Add the line [discovery]"
    " to it and start the agent again."
)


def add_parsers(subparsers: Subparsers) -> None:
    """Register the command."""
    enrol = add_asking(
        subparsers,
        "enrol",
        "trust a camera, once its key was compared",
        "privacy-agent enrol PVCAM:1:ABCDEFGH234567AA:FA9DCBECF140BC609010D29E9398637C --name Garden",
        run=_enrol,
    )
    enrol.add_argument(
        "what", nargs="*", metavar="LABEL|ADDRESS", help="the label on the camera; where it is, as HOST:PORT or a URL"
    )
    how = enrol.add_mutually_exclusive_group()
    how.add_argument("--accept", metavar="FINGERPRINT", help="that you compared, as discover shows it")
    how.add_argument("--vendor-ca", type=Path, metavar="FILE", help="PEM of the vendor's 802.1AR authority")
    how.add_argument("--configured", action="store_true", help="trust an address alone: RTSP, ONVIF")
    enrol.add_argument("--serial", default="", metavar="NUMBER", help="printed on the camera, for --vendor-ca")
    enrol.add_argument("--pinned", action="store_true", help="pin the TLS certificate at ADDRESS; --accept its SHA-256")
    enrol.add_argument(
        "--passkey", action="store_true", help="its Bluetooth demands one: six digits, asked for, or a line of stdin"
    )
    enrol.add_argument("--name", default="", metavar="NAME", help="what you call it; kept on this device alone")


def _enrol(arguments: argparse.Namespace) -> int:
    wanted = _wanted(arguments)
    if arguments.passkey:
        wanted["passkey"] = typed_passkey()
    answer = ask_agent(arguments, "enrol", wanted)
    if arguments.json:
        return print_json(answer)
    from agent.shell.terminal import heading, pairs

    print(pairs(_about(answer)))
    for told in _following(answer, config=str(config_of(arguments).file)):
        print("\n" + heading(told))
    return DONE


def _wanted(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the question; raises ``ConfigError`` for options that do not belong together."""
    told: dict[str, Any] = {"name": arguments.name, "serial": arguments.serial}
    places = list(arguments.what)
    vendor, by_address = arguments.vendor_ca is not None, arguments.pinned or arguments.configured
    if vendor:
        from agent.camera.vendor import AUTHORITY_MAX_BYTES
        from agent.files import read_whole

        hint = "name the PEM file of the vendor's 802.1AR authority"
        raw = read_whole(arguments.vendor_ca, max_bytes=AUTHORITY_MAX_BYTES, hint=hint)
        told["vendor_ca"] = raw.decode("ascii", errors="replace")
    elif arguments.configured:
        told["configured"] = True
    elif arguments.pinned:
        told["pinned"] = arguments.accept or "ask"
    elif arguments.accept is not None:
        told["accept"] = arguments.accept
    elif places:
        told["label"] = places.pop(0)
    if (
        len(places) > 1
        or (by_address and not places)
        or not (vendor or by_address or arguments.accept or "label" in told)
    ):
        raise ConfigError(
            "it is not said which camera",
            hint="privacy-agent enrol LABEL, or --accept FINGERPRINT, --vendor-ca FILE, --pinned ADDRESS, "
            "--configured ADDRESS",
        )
    return told | ({"address": places[0]} if places else {})


def _about(answer: dict[str, Any]) -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = [("camera", answer["camera"]), ("level", answer["level"])]
    if answer["name"]:
        rows.append(("name", answer["name"]))
    for title, name in (
        ("own id", "device"),
        ("fingerprint", "fingerprint"),
        ("certificate", "certificate_sha256"),
        ("address", "endpoint"),
    ):
        if answer.get(name):
            rows.append((title, answer[name]))
    return rows


def _following(answer: dict[str, Any], *, config: str) -> list[str]:
    """Return what comes next, in the order in which a person does it."""
    if answer["level"] != "proved":
        return [_ALONE.format(config=config)]
    if answer["paired"]:
        return ["It is enrolled, and paired with this agent; nothing is left to do."]
    told = [_AGAIN if answer["known_before"] else _NOW]
    if not answer["discovery"] and not answer["endpoint"]:
        told.append(_UNHEARD.format(config=config))
    return told
