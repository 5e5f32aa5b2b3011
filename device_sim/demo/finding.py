"""Step 2: two cameras and a hub are found near by, each is proved before it is believed, and what they hold is taken.

All of it on loopback: nothing of it is seen outside this machine. The agent is one of its own, of the same owner, so
that the steps after it are about one camera.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from device_sim.demo.found import Told
from device_sim.demo.residue import sample, search
from device_sim.demo.screen import Live, size
from device_sim.demo.stage import Child, DemoError, Stage

DEVICE: Final = "hub-01"
CAMERAS: Final = ("Garden gate", "Front yard", "Hallway hub")
IMPOSTOR: Final = "Somebody"
WAYS: Final = {"mdns": "multicast DNS", "onvif": "WS-Discovery", "ble": "Bluetooth"}

_RADIO: Final = "Bluetooth"
_DISCOVER: Final = ("discover", "--for", "1s", "--json")


@dataclass(frozen=True, slots=True)
class _Near:
    """What stands around the agent of this step."""

    stage: Stage
    folder: Path
    ways: tuple[str, ...]
    cameras: Child

    @property
    def config(self) -> Path:
        return self.folder / "agent.toml"

    def ask(self, *arguments: str | Path, may_fail: bool = False) -> str:
        """Run ``privacy-agent`` on this device."""
        return self.stage.ask("privacy-agent", *arguments, "--config", self.config, may_fail=may_fail).out

    def heard(self) -> list[dict[str, Any]]:
        """Everything that announces itself now, and everybody who is enrolled."""
        lines = map(json.loads, self.ask(*_DISCOVER, may_fail=True).splitlines())
        return [line["camera"] for line in lines if "camera" in line]

    def heard_until(self, holds: Callable[[list[dict[str, Any]]], bool], what: str) -> list[dict[str, Any]]:
        """Return what is heard as soon as something holds of it."""
        rows: list[dict[str, Any]] = []

        def looked() -> bool:
            rows[:] = self.heard()
            return holds(rows)

        self.stage.until(looked, what)
        return rows

    def held(self) -> list[dict[str, Any]]:
        """What this agent holds."""
        objects: list[dict[str, Any]] = json.loads(self.ask("inventory", "--json"))["objects"]
        return objects

    def cards(self) -> list[tuple[dict[str, Any], bytes]]:
        """What is on the cards of the cameras that are enrolled, as the cameras wrote it."""
        found = sorted((self.folder / "cameras").glob("*/card/*.json"))
        return [(json.loads(about.read_bytes()), about.with_suffix("").read_bytes()) for about in found]


def find(stage: Stage, *, live: Live) -> Told:
    """Hear, prove, enrol, refuse and take."""
    near = _surround(stage, live=live)
    agent = stage.start(
        "agent-near", "privacy-agent", "run", "--json", "-v", "--config", near.config, env=_bus(near.cameras)
    )
    agent.wait(text=f"ready: {DEVICE}")
    live("listening: nothing that is heard is believed")
    before = near.heard_until(lambda rows: set(near.ways) <= _ways(rows), "something to be heard each way")
    live("enrolled by the labels on the cameras")
    for name in CAMERAS:
        near.ask("enrol", *_by_label(near, name, before), "--name", name, "--json")
    live("the cameras are paired, switched on, and record")
    for name in CAMERAS:
        near.cameras.wait("acknowledged", camera=name)
    rows = near.heard_until(lambda rows: any(one["state"] == "impostor" for one in rows), "the impostor to be met")
    held, cards = near.held(), near.cards()
    log = near.ask("audit", "show")
    agent.stop()
    near.cameras.stop()
    live("looking at every byte that the agent wrote, for samples of the clear recordings")
    clear = search([near.folder / "state"], [sample(raw) for _about, raw in cards], texts=CAMERAS)
    proved = [one for one in rows if one["state"] == "enrolled" and one["level"] == "proved"]
    impostors = [one for one in rows if one["state"] == "impostor"]
    taken = sum(one["bytes"] for one in held)
    without = "" if "ble" in near.ways else " (no Bluetooth: install dbus)"
    return Told(
        seen=f"two cameras and a hub heard by {_told(near.ways)}{without}; an impostor that announced one of them was"
        f" refused; {len(held)} recordings taken over the camera link",
        proves="what announces itself is a hint: only the key that its label names makes it a camera",
        figure=f"{len(proved)} proved, {len(impostors)} refused, {size(taken)} taken",
        claims={f"heard by {WAYS[way]}": way in _ways(before) for way in near.ways}
        | {
            "each camera is enrolled at the level proved": len(proved) == len(CAMERAS),
            "whoever announced a camera's id with another key is an impostor, and in the log": len(impostors) == 1
            and "camera_refused" in log,
            "the impostor was never paired with": not near.cameras.events("paired", camera=IMPOSTOR),
            "every recording of the cards is held, and acknowledged to its camera": len(cards) == len(CAMERAS)
            and sorted(len(raw) for _about, raw in cards) == sorted(one["bytes"] for one in held)
            and all(about["acknowledged"] for about, _raw in cards),
            "no clear sample or name in what the agent wrote": clear.files > 0 and not clear.hits,
        },
        hits=clear.hits,
        facts={"ways": list(near.ways), "refused": [one["rule"] for one in impostors]},
    )


def _surround(stage: Stage, *, live: Live) -> _Near:
    """Put up the cameras, and an agent that listens on loopback."""
    folder = stage.folder / "near"
    folder.mkdir(mode=0o700)
    ways = tuple(way for way in WAYS if way != "ble" or shutil.which("dbus-daemon") is not None)
    scenario = folder / "cameras.toml"
    scenario.write_text(_scenario(ways), encoding="utf-8")
    live("two cameras, a hub and an impostor")
    cameras = stage.start(
        "cameras", "device-sim", "camera", "--state", folder / "cameras", "--scenario", scenario, "--interface", "lo",
        "--host", "127.0.0.1", "--json",
    )  # fmt: skip
    near = _Near(stage, folder, ways, cameras)
    near.ask(
        "init", "--owner", stage.home / "owner.pub", "--device", DEVICE, "--state", folder / "state", "--clock",
        "system", "--json",
    )  # fmt: skip
    with near.config.open("a", encoding="utf-8") as config:
        config.write(
            f'\n[discovery]\nways = {json.dumps(ways)}\ninterfaces = ["lo"]  # a person names it: else never\n'
        )
    for name in (*CAMERAS, IMPOSTOR):
        cameras.wait("ready", camera=name)
    return near


def _scenario(ways: tuple[str, ...]) -> str:
    own = "setup = true\npace = { rate = 0, count = 1, seconds = 1, fps = 15 }\n"
    faces = ['"mdns"', '"onvif"', '"mdns", "ble"' if "ble" in ways else '"mdns"']
    parts = [
        f'[[camera]]\nname = "{name}"\nfaces = ["link", {shown}]\n{own}'
        for name, shown in zip(CAMERAS, faces, strict=True)
    ]
    false = f'[[camera]]\nname = "{IMPOSTOR}"\nfaces = ["link", "mdns"]\nmimics = "{CAMERAS[0]}"\n'
    return "\n".join(['name = "near by"\n', *parts, false])


def _bus(cameras: Child) -> dict[str, str]:
    """Where the played Bluetooth is, if there is one."""
    played = cameras.events("ready", camera=_RADIO)
    return {"DBUS_SYSTEM_BUS_ADDRESS": played[0]["DBUS_SYSTEM_BUS_ADDRESS"]} if played else {}


def _by_label(near: _Near, name: str, before: list[dict[str, Any]]) -> list[str]:
    """Return the words after ``enrol``: a label, and of a camera that only WS-Discovery told of where its link is."""
    ready = near.cameras.events("ready", camera=name)[0]
    label = ready["label"]
    if name != CAMERAS[1]:
        return [label]
    places = [heard["addresses"] for one in before for heard in one["heard"] if heard["way"] == "onvif"]
    if not places:
        raise DemoError(f"nothing was heard by WS-Discovery\n  next: read {near.stage.logs}")
    host = next(address.rpartition(":")[0] for address in places[0] if address.startswith("127."))
    return [label, f"{host}:{ready['port']}"]


def _ways(rows: list[dict[str, Any]]) -> set[str]:
    return {heard["way"] for one in rows for heard in one["heard"]}


def _told(ways: tuple[str, ...]) -> str:
    *first, last = (WAYS[way] for way in ways)
    return f"{', '.join(first)} and {last}"
