"""Everything around a camera's Bluetooth in one process: a private bus, the air, the double, and bare cameras."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from device_sim.ble.air import Air
from device_sim.ble.bluez import TEMPORARY_S, Double
from device_sim.ble.bus import private_bus
from device_sim.ble.peripheral import Peripheral


@dataclass
class Room:
    """A machine with Bluetooth, and what is near it."""

    bus: str
    """For ``DBUS_SYSTEM_BUS_ADDRESS``."""
    air: str
    """For ``--hci``."""
    double: Double
    group: asyncio.TaskGroup
    peripherals: list[Peripheral] = field(default_factory=list)
    running: list[asyncio.Task[None]] = field(default_factory=list)

    async def enter(self, peripheral: Peripheral) -> Peripheral:
        """Let a camera advertise here; returns when it does."""
        self.running.append(self.group.create_task(peripheral.run(), name="peripheral"))
        await peripheral.ready.wait()
        self.peripherals.append(peripheral)
        return peripheral


@asynccontextmanager
async def room(*, monotonic_s: Callable[[], float], temporary_s: float = TEMPORARY_S) -> AsyncIterator[Room]:
    """Set one up; all of it ends with the block."""
    with tempfile.TemporaryDirectory(prefix="device-sim-ble-") as folder:
        air = Air()
        async with private_bus(Path(folder)) as bus, air.at(Path(folder) / "air") as socket:
            double = Double(bus, air.host(), monotonic_s=monotonic_s, temporary_s=temporary_s)
            async with asyncio.TaskGroup() as group:
                serving = group.create_task(double.run(), name="bluez")
                await double.ready.wait()
                here = Room(bus, socket, double, group, running=[serving])
                try:
                    yield here
                finally:
                    for task in here.running:
                        task.cancel()
