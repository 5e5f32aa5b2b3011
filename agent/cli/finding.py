"""``discover``, ``enrol``, ``cameras`` and ``forget-camera``: what is near, and whom of it this device trusts.

``discover`` shows what the running agent hears; where none runs, or where it listens for nothing, this process listens
itself as long as it is watched: it reads who is enrolled, lets go of the vault, and writes nothing down. Nothing that
is heard changes whom the device trusts: that takes ``enrol``.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agent.cli.asking import add_asking, ask_agent, print_json
from agent.cli.switching import typed_passkey
from agent.errors import ConfigError
from agent.shell.camera import RADIO_HEAD, answers_words, collection_words, radio_rows
from agent.shell.ending import DONE, FAILED
from agent.shell.parser import Subparsers

if TYPE_CHECKING:
    from agent.config import Config, DiscoverySettings
    from agent.enrolment import Enrolled, LinkIdentity

LOOK_S: Final = 10.0
"""So long ``discover`` listens where nobody watches: a camera that is there is heard within a second or two."""

REFRESH_S: Final = 1.0

Ask = Callable[[], Awaitable[dict[str, Any]]]


def add_parsers(subparsers: Subparsers) -> None:
    """Register the commands."""
    discover = add_asking(
        subparsers,
        "discover",
        "show which cameras are near, as it changes",
        "privacy-agent discover --for 20s",
        run=_discover,
    )
    discover.add_argument(
        "--for",
        dest="time",
        metavar="TIME",
        help="how long: 20s, 5m; else until Ctrl-C on a terminal, and 10s in a pipe, as JSON lines",
    )

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

    add_asking(
        subparsers,
        "cameras",
        "list the cameras that are known, and how far each is proved",
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
    forget.add_argument("camera", metavar="ID", help="as cameras lists it")


def _discover(arguments: argparse.Namespace) -> int:
    live = sys.stdout.isatty() and not arguments.json
    seconds = _seconds(arguments.time) if arguments.time else None if live else LOOK_S
    watched = _Screen() if live else _Lines()
    try:
        asyncio.run(_watch(arguments, watched, seconds=seconds))
    except KeyboardInterrupt:
        if not live:
            raise
    return watched.end()


def _seconds(text: str) -> float:
    import re

    found = re.fullmatch(r"([0-9]{1,6})(s|m|h)", text)
    if found is None or int(found[1]) == 0:
        raise ConfigError(f"{text!r} is not a time", hint="write for example 20s or 5m")
    return float(int(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]])


async def _watch(arguments: argparse.Namespace, watched: "_Screen | _Lines", *, seconds: float | None) -> None:
    from agent.clock import monotonic_s, pause

    async with _ears(arguments) as ask:
        begin_s = monotonic_s()
        while seconds is None or monotonic_s() - begin_s < seconds:
            watched.show(await ask())
            left_s = REFRESH_S if seconds is None else seconds - (monotonic_s() - begin_s)
            await pause(max(0.0, min(REFRESH_S, left_s)))
        watched.show(await ask())


@asynccontextmanager
async def _ears(arguments: argparse.Namespace) -> AsyncIterator[Ask]:
    """Hand out what tells what is near: the running agent, else ears of our own that know who is enrolled, else not."""
    from agent.config import DEFAULT_PATH, DiscoverySettings, read_config
    from agent.control import AwayError, ask
    from agent.files import is_there

    path = arguments.config or DEFAULT_PATH
    if arguments.config is None and not is_there(path):
        async with _listening(DiscoverySettings(), None) as own:
            yield own
        return
    config = read_config(path)
    settings = config.discovery or DiscoverySettings()

    async def ask_running() -> dict[str, Any]:
        answer: dict[str, Any] = await ask(config.socket, "nearby", {}, progress=lambda _step: None)
        return answer

    try:
        heard = await ask_running()
    except AwayError:
        heard = None
    if heard is not None and heard["on"]:
        yield ask_running
        return
    if heard is None and is_there(config.keystore):
        known = await _read_known(config)
        async with _listening(settings, known) as own:
            yield own
        return
    if heard is not None:
        print(
            "privacy-agent: the running agent listens for nothing, so who is enrolled is not known here\n"
            f"  next: add [discovery] to {config.file} and start it again",
            file=sys.stderr,
        )
    async with _listening(settings, None) as own:
        yield own


@dataclass(frozen=True, slots=True)
class _Known:
    """What the vault was opened for: who is enrolled, what they are shown, and how far agent time is from the clock."""

    cameras: "tuple[Enrolled, ...]"
    identity: "LinkIdentity"
    ahead_ms: int


async def _read_known(config: "Config") -> _Known:
    """Read it and let go of the vault: an agent that starts meanwhile is to have it."""
    from agent import enrolment
    from agent.app.parts import opened
    from agent.clock import system_clock

    async with opened(config, read_clock=system_clock(source=config.clock)) as parts:
        moment = parts.now()
        return _Known(
            cameras=await parts.index.read(enrolment.enrolled),
            identity=await parts.index.write(lambda tx: enrolment.link_identity(tx, moment=moment)),
            ahead_ms=moment.agent_ms - moment.wall_ms,
        )


@asynccontextmanager
async def _listening(settings: "DiscoverySettings", known: _Known | None) -> AsyncIterator[Ask]:
    """Listen in this process."""
    from agent.app.nearby import assembled, discoverers
    from agent.clock import system_clock
    from agent.enrolment import new_link_identity
    from agent.model import Moment
    from agent.nearby.view import near_view

    told_of = known or _Known(cameras=(), identity=new_link_identity(), ahead_ms=0)
    read_clock = system_clock(source="system")

    def now() -> Moment:
        wall_ms = read_clock().wall_ms
        return Moment(agent_ms=wall_ms + told_of.ahead_ms, wall_ms=wall_ms, trusted=False)

    ways = discoverers(settings, read_clock=read_clock)
    nearby = assembled(ways, identity=told_of.identity, index=None, now=now, cameras=told_of.cameras)

    async def told() -> dict[str, Any]:
        return near_view(nearby)

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(nearby.run(), name="listen")
        try:
            yield told
        finally:
            task.cancel()


class _Lines:
    """JSON lines: each device when it is there first and whenever something about it changes but the time."""

    def __init__(self) -> None:
        self._told: dict[str, str] = {}
        self._near: dict[str, Any] = {"near": [], "troubles": []}

    def show(self, near: dict[str, Any]) -> None:
        """Print what is new in it."""
        self._near = near
        for kind in ("near", "troubles"):
            for one in near[kind]:
                name = {"near": "camera", "troubles": "trouble"}[kind]
                key, words = f"{name} {_key(one)}", json.dumps(_lasting(one), sort_keys=True)
                if self._told.get(key) != words:
                    self._told[key] = words
                    print(json.dumps({name: one}, ensure_ascii=False), flush=True)

    def end(self) -> int:
        """Say why there was nothing, on stderr."""
        return _ended(self._near)


class _Screen:
    """A table that is drawn anew in its place."""

    def __init__(self) -> None:
        from agent.shell.terminal import LiveTable

        self._table = LiveTable()
        self._near: dict[str, Any] = {"near": [], "troubles": []}

    def show(self, near: dict[str, Any]) -> None:
        """Draw it."""
        self._near = near
        self._table.show(near_table(near))

    def end(self) -> int:
        """Leave the last table where it stands, and say why there was nothing."""
        self._table.end()
        return _ended(self._near)


def _key(one: dict[str, Any]) -> str:
    """Return what a device is known again by among the lines."""
    if "camera" in one:
        return str(one["camera"])
    first = (one.get("heard") or [one])[0]
    name = first.get("unverified_name", "")
    return f"{one.get('fingerprint', '')}/{first['way']}/{first['place']}/{name}/{first.get('first_seen', '')}"


def _lasting(one: object) -> object:
    """Return what is told without what changes all the time."""
    if isinstance(one, dict):
        moving = {"last_seen", "signal_dbm", "answered"}
        return {name: _lasting(value) for name, value in one.items() if name not in moving}
    return [_lasting(value) for value in one] if isinstance(one, list) else one


def near_table(near: dict[str, Any]) -> str:
    """Return what is near as tables: devices, what they give away, and why something may not be heard."""
    from agent.shell.terminal import table
    from agent.shell.times import clock_text

    rows = []
    for one in near["near"]:
        heard = one["heard"]
        ways = " ".join(sorted({each["way"] for each in heard})) or "-"
        where = one.get("address") or next((each["addresses"][0] for each in heard if each["addresses"]), "-")
        signal = "-" if one["signal_dbm"] is None else str(one["signal_dbm"])
        seen = clock_text(one["last_seen"]) if "last_seen" in one else "-"
        rows.append((_state(one), _who(one), ways, where, signal, seen, answers_words(one), _what_to_do(one)))
    head = ("what", "who", "heard by", "where", "dBm", "heard at", "answers", "next")
    parts = [table(rows, head=head, right=(4,)) if rows else "Nothing is heard yet."]
    if doing := radio_rows(one for one in near["near"] if one["state"] == "enrolled"):
        parts.append(table(doing, head=RADIO_HEAD))
    leaks = [
        (_who(one), leak["code"].replace("_", " "), leak["advice"]) for one in near["near"] for leak in one["leaks"]
    ]
    if leaks:
        parts.append(table(leaks, head=("who", "gives away", "next")))
    troubles = [
        (one["way"], one["place"] or "-", one["reason"].replace("_", " "), one["next"]) for one in near["troubles"]
    ]
    if troubles:
        parts.append(table(troubles, head=("way", "where", "trouble", "next")))
    return "\n\n".join(parts)


def _state(one: dict[str, Any]) -> str:
    return str(one["level"]) if one["state"] == "enrolled" else str(one["state"])


def _who(one: dict[str, Any]) -> str:
    if one["state"] == "enrolled":
        return f"{one['camera']} {one['name']}".rstrip()
    if one["state"] == "impostor":
        return f"not {one['impostor_of']}"
    names = [each["unverified_name"] for each in one["heard"] if each["unverified_name"]]
    if one["state"] == "new":
        return str(one["fingerprint"])
    if one.get("may_be"):
        return f"perhaps {one['may_be'][0]}"
    return f'"{names[0]}"' if names else "-"


def _what_to_do(one: dict[str, Any]) -> str:
    if one["state"] == "new":
        return "compare it with the label, then: enrol --accept"
    if one["state"] == "impostor":
        return "given nothing; find out whose it is"
    wants = [each for each in one["heard"] if each.get("wants") == "passkey"]
    if wants and one.get("may_be"):
        return f"give its passkey: privacy-agent passkey {one['may_be'][0]}"
    if one["state"] == "enrolled" and one["reachable"] is False and "bluetooth" not in one:
        return "is it on, and on this network?"
    return ""


def _ended(near: dict[str, Any]) -> int:
    if any(one["heard"] or one.get("reachable") for one in near["near"]):
        return DONE
    why = [f"{one['way']}: {one['next']}" for one in near["troubles"]]
    usual = (
        "see that this machine is on the cameras' network (not a guest or other VLAN), that its firewall lets UDP 5353 "
        "and 3702 in, and that the cameras are awake; one that announces nothing is enrolled by its address"
    )
    print(
        "privacy-agent: no camera was heard\n" + "\n".join(f"  next: {one}" for one in (why or [usual])),
        file=sys.stderr,
    )
    return FAILED


def _enrol(arguments: argparse.Namespace) -> int:
    wanted = _wanted(arguments)
    if arguments.passkey:
        wanted["passkey"] = typed_passkey()
    answer = ask_agent(arguments, "enrol", wanted)
    if arguments.json:
        return print_json(answer)
    from agent.shell.terminal import pairs

    print(pairs(_about(answer)))
    if answer["level"] == "proved":
        print("\nIts key is pinned. Now open its set-up window at the camera: it lets this agent in once.")
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


def _cameras(arguments: argparse.Namespace) -> int:
    answer = ask_agent(arguments, "cameras", {})
    if arguments.json:
        return print_json(answer)
    from agent.shell.terminal import table

    print(cameras_table(answer["cameras"], table=table) or "No camera is known.")
    return DONE


def cameras_table(cameras: list[dict[str, Any]], *, table: Callable[..., str]) -> str:
    """Return the cameras as a table, empty for none."""
    rows = [
        (
            one["camera"],
            one["level"],
            one["name"],
            one["source"] or "enrolled",
            one.get("address") or one.get("endpoint") or "-",
            answers_words(one),
            collection_words(one),
        )
        for one in cameras
    ]
    parts = [table(rows, head=("camera", "level", "name", "from", "where", "answers", "collection"))] if rows else []
    if doing := radio_rows(cameras):
        parts.append(table(doing, head=RADIO_HEAD))
    return "\n\n".join(parts)


def _forget(arguments: argparse.Namespace) -> int:
    answer = ask_agent(arguments, "forget-camera", {"camera": arguments.camera})
    if arguments.json:
        return print_json(answer)
    print(f"Camera {answer['camera']} is trusted no more. What is held of it stays until it is deleted.")
    if answer["at_camera"]:
        print(_AT_CAMERA[answer["at_camera"]])
    return DONE


_AT_CAMERA: Final = {
    "unpaired": "It was told: it records no more, and another agent may pair with it, which empties its card.",
    "not_paired": "It says that it is not paired with this agent.",
    "not_told": "It did not answer: if it is paired it records on for this agent alone until a person resets it.",
}
