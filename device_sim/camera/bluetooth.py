"""The Bluetooth of the machine near the cameras, when it is played too; its breakages are switched at any camera."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from device_sim.ble.bluez import Double
from device_sim.ble.room import Room, room
from device_sim.camera.breakage import Breakage
from device_sim.camera.device import Device


@asynccontextmanager
async def machine(devices: Sequence[Device], *, monotonic_s: Callable[[], float]) -> AsyncIterator[Room]:
    """Play it until the block ends; raises ``BusError`` where there is no D-Bus daemon to start."""
    async with room(monotonic_s=monotonic_s) as here:
        here.running.append(here.group.create_task(_follow(devices, here.double), name="breakages"))
        yield here


async def _follow(devices: Sequence[Device], double: Double) -> None:
    changed = asyncio.Event()
    for device in devices:
        device.heard_by(changed.set)
    dead = gone = False
    while True:
        if dead != _broken(devices, "bluetoothd-dead"):
            dead = not dead
            await (double.die() if dead else double.start())
        if gone != _broken(devices, "adapter-gone"):
            gone = not gone
            await (double.pull() if gone else double.plug())
        await changed.wait()
        changed.clear()


def _broken(devices: Sequence[Device], what: Breakage) -> bool:
    return any(what in device.faults for device in devices)
