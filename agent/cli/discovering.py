"""``discover``: what is near, as a table that changes on a terminal, as lines of JSON in a pipe.

Nothing that is heard changes whom the device trusts: that takes ``enrol``.
"""

import argparse
import asyncio
import json
import sys
from typing import Any, Final

from agent.cli.asking import add_asking
from agent.errors import ConfigError
from agent.shell.ending import DONE, FAILED
from agent.shell.parser import Subparsers

LOOK_S: Final = 10.0
"""So long ``discover`` listens where nobody watches: a camera that is there is heard within a second or two."""

REFRESH_S: Final = 1.0


def add_parsers(subparsers: Subparsers) -> None:
    """Register the command."""
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
    from agent.cli.ears import ears
    from agent.clock import monotonic_s, pause

    async with ears(arguments) as ask:
        begin_s = monotonic_s()
        while seconds is None or monotonic_s() - begin_s < seconds:
            watched.show(await ask())
            left_s = REFRESH_S if seconds is None else seconds - (monotonic_s() - begin_s)
            await pause(max(0.0, min(REFRESH_S, left_s)))
        watched.show(await ask())


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
        from agent.cli.near import near_table

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


def _ended(near: dict[str, Any]) -> int:
    from agent.cli.near import troubles_once

    if any(one["heard"] or one.get("reachable") for one in near["near"]):
        return DONE
    why = [f"{one['way']}: {one['next']}" for one in troubles_once(near["troubles"])]
    usual = (
        "see that this machine is on the cameras' network (not a guest or other VLAN), that its firewall lets UDP 5353 "
        "and 3702 in, and that the cameras are awake; one that announces nothing is enrolled by its address"
    )
    print(
        "privacy-agent: no camera was heard\n" + "\n".join(f"  next: {one}" for one in (why or [usual])),
        file=sys.stderr,
    )
    return FAILED
