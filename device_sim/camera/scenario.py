"""A scenario: which cameras there are and what happens to them, one step after the other, from a TOML file.

A step waits for ``when`` (an event, of ``camera`` if named), then ``after`` seconds, then does what ``do`` says.
Unknown keys are refused.
"""

import asyncio
import re
import tomllib
from pathlib import Path
from typing import Any, Final, get_args

import msgspec

from device_sim.camera.breakage import Breakage
from device_sim.camera.device import Event
from device_sim.camera.face import FaceName
from device_sim.camera.layout import slug
from device_sim.camera.media import DEFAULT_BITS_PER_S
from device_sim.camera.order import OrderError, read
from device_sim.camera.recorder import Habit
from device_sim.camera.rig import Rig

CAMERAS_MAX: Final = 32
STEPS_MAX: Final = 256


_ONE_OF: Final = {"faces": get_args(FaceName), "broken": get_args(Breakage), "when": get_args(Event)}
"""What may be written for a key that has a few words of its own."""

_NEXT: Final = "next: docs/simulator.md shows what may stand there"


class ScenarioError(Exception):
    """The file does not say a scenario; the text says where."""


class Pace(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"rate_per_minute": "rate"}):
    """What a camera records and how often; the words of ``device-sim camera --help``."""

    rate_per_minute: float = 6.0
    seconds: float = 10.0
    count: int | None = None
    clips: bool = True
    photos: bool = False
    logs: bool = False
    size: str = "640x360"
    fps: int = 25
    bits_per_s: int = DEFAULT_BITS_PER_S
    clip: str = ""
    """A file of one's own instead of a drawn one."""

    def habit(self) -> Habit:
        """Return it as a recorder wants it; raises ``ScenarioError``."""
        if not (self.rate_per_minute > 0 or (self.rate_per_minute == 0 and self.count is not None)):
            raise ScenarioError("rate: above 0, or 0 with a count")
        if not 0 < self.seconds <= 3600 or self.fps < 1 or (self.count is not None and self.count < 0):  # noqa: PLR2004 - an hour
            raise ScenarioError("seconds: above 0, at most 3600; fps: 1 or more; count: 0 or more")
        width, _, height = self.size.partition("x")
        if not (width.isdecimal() and height.isdecimal()) or int(width) % 2 or int(height) % 2:
            raise ScenarioError("size: WxH, both even")
        return Habit(
            rate_per_minute=self.rate_per_minute,
            seconds=self.seconds,
            count=self.count,
            clips=self.clips,
            photos=self.photos,
            logs=self.logs,
            size=(int(width), int(height)),
            fps=self.fps,
            bits_per_s=self.bits_per_s,
            clip=Path(self.clip) if self.clip else None,
        )


class CameraPart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One camera."""

    name: str
    faces: tuple[FaceName, ...] = ("link",)
    hub: str = ""
    seed: int | None = None
    mimics: str = ""
    """The name of the camera that it pretends to be."""
    setup: bool = False
    """Its set-up window is open at the start."""
    broken: tuple[Breakage, ...] = ()
    """From the start."""
    pace: Pace = Pace()


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that happens."""

    do: str
    when: Event | None = None
    camera: str = ""
    after: float = 0.0


class Scenario(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"cameras": "camera", "steps": "step"}
):
    """The whole file."""

    name: str
    cameras: tuple[CameraPart, ...]
    steps: tuple[Step, ...] = ()


def read_scenario(path: Path) -> Scenario:
    """Read a file; raises ``ScenarioError``."""
    try:
        text = path.read_text(encoding="utf-8")
        plain: Any = tomllib.loads(text)
    except OSError as error:
        raise ScenarioError(f"{path}: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ScenarioError(f"{path}: {error}") from None
    try:
        scenario = msgspec.convert(plain, Scenario)
    except msgspec.ValidationError as error:
        raise ScenarioError(_misread(str(error), path=path, text=text)) from None
    try:
        check(scenario)
    except ScenarioError as error:
        raise ScenarioError(f"{path}: {error}") from None
    return scenario


def check(scenario: Scenario) -> None:
    """Look at what the shape alone does not tell; raises ``ScenarioError``."""
    names = [camera.name for camera in scenario.cameras]
    folders = {slug(name) for name in names}
    if not 1 <= len(names) <= CAMERAS_MAX or len(folders) != len(names) or "" in names:
        raise ScenarioError(f"1 to {CAMERAS_MAX} cameras, each with a name of its own")
    if len(scenario.steps) > STEPS_MAX:
        raise ScenarioError(f"at most {STEPS_MAX} steps")
    for camera in scenario.cameras:
        if "mdns" in camera.faces and "link" not in camera.faces:
            raise ScenarioError(f"{camera.name}: mdns announces its link, so its faces need link too")
        if camera.mimics and (camera.mimics not in names or camera.mimics == camera.name):
            raise ScenarioError(f"{camera.name} mimics no other camera of this scenario")
        try:
            camera.pace.habit()
        except ScenarioError as error:
            raise ScenarioError(f"{camera.name}: {error}") from None
    named = {*names, *(camera.hub for camera in scenario.cameras), "all"}
    for step in scenario.steps:
        try:
            order = read(step.do)
        except OrderError as error:
            raise ScenarioError(f"{step.do}: {error}") from None
        if (order.name and order.name not in named) or (step.camera and step.camera not in names):
            raise ScenarioError(f"{step.do}: no such camera in this scenario")


def _misread(problem: str, *, path: Path, text: str) -> str:
    """Say where what was read is no scenario: file, line, key, and what may stand there."""
    what, _, place = problem.partition(" - at `$")
    keys = re.findall(r"[a-z_]+", place) + re.findall(r"unknown field `([^`]*)`", what)
    number = int(found[1]) if (found := re.search(r"\[([0-9]+)\]", place)) else 0
    words = _ONE_OF.get(keys[-1], ()) if keys else ()
    following = f"next: write one of: {', '.join(words)}" if words else _NEXT
    return f"{path}:{_line(text, keys, number=number)}: {'.'.join(keys) or 'the file'}: {what}\n  {following}"


def _line(text: str, keys: list[str], *, number: int) -> int:
    """Return the line of a key of the table of that name and number, or the table's; 1 where neither is found."""
    begun, at, table = 1, -1, len(keys) == 1
    for line, row in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[\[?\s*([^\]\s]+)", row):
            of = header[1].split(".")
            at += header[0].count("[") > 1 and of == keys[:1]
            table = of[:1] == keys[:1] and at == number
            begun = line if table and of == keys[:1] else begun
        elif table and keys and re.match(rf"\s*\"?{re.escape(keys[-1])}\"?\s*=", row):
            return line
    return begun


class Play:
    """Plays the steps on a rig; hears what happens meanwhile, so that nothing between two steps is missed."""

    def __init__(self, scenario: Scenario) -> None:
        self._steps = scenario.steps
        self._heard: asyncio.Queue[tuple[str, Event]] = asyncio.Queue()

    def hear(self, name: str, event: Event, _facts: dict[str, object]) -> None:
        """To be called for whatever happens."""
        self._heard.put_nowait((name, event))

    async def run(self, rig: Rig) -> None:
        """Play to the end, and leave things as they then are."""
        for step in self._steps:
            if step.when is not None:
                while True:
                    name, event = await self._heard.get()
                    if event == step.when and step.camera in {"", name}:
                        break
            await asyncio.sleep(step.after)
            rig.obey(read(step.do))
