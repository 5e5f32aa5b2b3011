"""``device-sim camera`` as hardware: cameras with faces, from a scenario or from options, until told to stop.

The wall clock is read here, and handed on. Whoever runs it sees one line for each thing that happens.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import stat
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from device_sim.camera.control import CONTROL, ControlSocket, answer, read_stdin
from device_sim.camera.device import Device, Event, make_device
from device_sim.camera.face import FaceName, Onvif, Radio, faces
from device_sim.camera.layout import make_folders, private_file, slug
from device_sim.camera.rig import Hear, Place, Rig
from device_sim.camera.scenario import CameraPart, Play, Scenario

_LOCK: Final = "lock"
_OTHERS: Final = 0o077
_CREDENTIALS_MAX_BYTES: Final = 4096


class HardwareError(Exception):
    """It cannot run like this; the text ends in the next step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What to run, and where."""

    scenario: Scenario
    state: Path
    host: str = ""
    port: int = 0
    """Of the first camera's link; those after it have the next ones. 0: any free ones."""
    rtsp_port: int = 0
    """The same of their streams."""
    onvif_port: int = 0
    """The same of their ONVIF services."""
    onvif_credentials: tuple[str, str] = ("", "")
    """User and password that those demand; empty: none."""
    interfaces: tuple[str, ...] = ()
    """Where it announces; none: on all but loopback."""
    hci: str = ""
    """A Bluetooth controller; none: one is played, and the machine near it too."""
    passkey: int | None = None
    control: Path | None = None
    json: bool = False

    @property
    def socket(self) -> Path:
        """Where ``device-sim tell`` reaches it."""
        return self.control or self.state / CONTROL


def read_credentials(path: Path | None) -> tuple[str, str]:
    """Return user and password of a file that nobody else may read; raises ``HardwareError``."""
    if path is None:
        return "", ""
    try:
        with path.open("rb") as file:
            private = stat.S_IMODE(os.fstat(file.fileno()).st_mode) & _OTHERS == 0
            user, password, *rest = file.read(_CREDENTIALS_MAX_BYTES).decode("utf-8").splitlines()
    except OSError as error:
        raise HardwareError(f"{path}: {error.strerror}\n  next: name the file: --onvif-credentials FILE") from None
    except ValueError:  # too few lines, or no text
        user, password, rest, private = "", "", [], True
    if not private:
        raise HardwareError(f"{path}: others may read it\n  next: chmod 600 {path}")
    if not user or not password or any(rest):
        raise HardwareError(f"{path}: it is no user and password\n  next: write both into it, a line each")
    return user, password


def run_hardware(hardware: Hardware) -> int:
    """Run until a signal or the order ``stop``; raises ``HardwareError``."""
    make_folders(hardware.state)
    with _alone(hardware.state):
        try:
            asyncio.run(_run(hardware))
        except BaseExceptionGroup as group:  # not `except*`: what is raised in one comes in a group before 3.11.5
            errors, others = group.split(OSError)
            if errors is None or others is not None:
                raise
            raise HardwareError(f"{_first(errors)}\n  next: free what it names, or use --port, --host") from None
    return 0


async def _run(hardware: Hardware) -> None:
    play = Play(hardware.scenario)
    say = _say_json if hardware.json else _say

    def hear(name: str, event: Event, facts: dict[str, object]) -> None:
        say(name, event, facts)
        play.hear(name, event, facts)

    devices = _devices(hardware)
    async with _radio(hardware, devices, say) as radio, asyncio.TaskGroup() as group:
        rig = _rig(hardware, devices, radio, hear)
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, rig.stop)
        read_stdin(sys.stdin, lambda line: print(json.dumps(answer(line, rig.obey), ensure_ascii=False), flush=True))
        beside = [
            group.create_task(ControlSocket(hardware.socket, rig.obey).run(), name="control"),
            group.create_task(play.run(rig), name="scenario"),
        ]
        await rig.run()
        for task in beside:
            task.cancel()


@contextlib.asynccontextmanager
async def _radio(hardware: Hardware, devices: dict[str, Device], say: Hear) -> AsyncIterator[Radio | None]:
    if not any("ble" in part.faces for part in hardware.scenario.cameras):
        yield None
    elif hardware.hci:
        yield Radio(hci=hardware.hci, monotonic_s=_monotonic_s, passkey=hardware.passkey)
    else:
        from device_sim.ble.bus import BusError  # noqa: PLC0415 - bumble is slow to load
        from device_sim.camera.bluetooth import machine  # noqa: PLC0415 - the same

        try:
            async with machine(list(devices.values()), monotonic_s=_monotonic_s) as here:
                say("Bluetooth", "ready", {"DBUS_SYSTEM_BUS_ADDRESS": here.bus, "hci": here.air})
                yield Radio(hci=here.air, monotonic_s=_monotonic_s, passkey=hardware.passkey)
        except BusError as error:
            raise HardwareError(str(error)) from None


def _devices(hardware: Hardware) -> dict[str, Device]:
    parts = hardware.scenario.cameras
    devices = {part.name: _device(hardware.state, part, seed=index + 1) for index, part in enumerate(parts)}
    for part in parts:
        devices[part.name].mimics = devices.get(part.mimics)
    return devices


def _rig(hardware: Hardware, devices: dict[str, Device], radio: Radio | None, hear: Hear) -> Rig:
    places = []
    for index, part in enumerate(hardware.scenario.cameras):
        shown = faces(
            devices[part.name],
            part.faces,
            habit=part.pace.habit(),
            host=hardware.host,
            port=hardware.port and hardware.port + index,
            rtsp_port=hardware.rtsp_port and hardware.rtsp_port + index,
            onvif=Onvif(
                port=hardware.onvif_port and hardware.onvif_port + index, credentials=hardware.onvif_credentials
            ),
            interfaces=hardware.interfaces,
            radio=radio,
        )
        listens = _listens(devices[part.name], part)
        places.append(Place(device=devices[part.name], faces=shown, listens=listens, hub=part.hub))
    return Rig(places, hear=hear)


def _listens(device: Device, part: CameraPart) -> Callable[[], bool]:
    ports: dict[FaceName, Callable[[], int]] = {
        "link": lambda: device.port,
        "rtsp": lambda: device.rtsp_port,
        "onvif": lambda: device.onvif_port,
    }
    return lambda: all(port() for name, port in ports.items() if name in part.faces)


def _device(state: Path, part: CameraPart, *, seed: int) -> Device:
    folder = state / slug(part.name)
    make_device(folder, now=_now(), name=part.name, seed=seed if part.seed is None else part.seed)
    device = Device(folder, now=_now, monotonic=_monotonic_s)
    for breakage in part.broken:
        device.break_(breakage)
    if part.setup:
        device.open_setup()
    return device


def _say(name: str, event: Event, facts: dict[str, object]) -> None:
    told = " ".join(f"{key}={value}" for key, value in facts.items() if key in _TOLD)
    print(f"{_now():%H:%M:%S}  {name}: {event}{'  ' if told else ''}{told}", flush=True)


def _say_json(name: str, event: Event, facts: dict[str, object]) -> None:
    line = {"event": event, "camera": name, **facts}
    print(json.dumps(line, ensure_ascii=False), flush=True)


_TOLD: Final = (
    "DBUS_SYSTEM_BUS_ADDRESS",
    "hci",
    "label",
    "port",
    "rtsp_port",
    "onvif_port",
    "agent",
    "what",
    "recording",
    "count",
    "code",
    "reason",
    "seconds",
    "given",
)


@contextlib.contextmanager
def _alone(state: Path) -> Iterator[None]:
    with private_file(state / _LOCK) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HardwareError(f"a simulator runs at {state}\n  next: stop it, or use another --state") from None
        yield


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    found: BaseException = errors
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found


def _now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - the one place of the hardware that reads the wall clock


def _monotonic_s() -> float:
    return time.monotonic()  # noqa: TID251 - the same, for what lasts
