"""Several simulated cameras at once, each with its faces, behind hubs or not; orders go to them by name.

A camera lives in rounds: while it has power its faces run, and when the power is cut they are cancelled at once. A hub
is a box with one power supply for the cameras behind it.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, cast

from device_sim.camera.breakage import Breakage
from device_sim.camera.device import Change, Device, Event, Face
from device_sim.camera.order import Order, OrderError

TICK_S: Final = 1.0
EVERYBODY: Final = "all"

Hear = Callable[[str, Event, dict[str, object]], None]
"""Of a camera's name, what happened, and what there is to say of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One camera in the rig; ``faces`` are made anew for each boot."""

    device: Device
    faces: Callable[[], Sequence[Face]]
    listens: Callable[[], bool]
    """Whether those that listen do, so that it is ready."""
    hub: str = ""


class Rig:
    """All of them."""

    def __init__(self, places: Sequence[Place], *, hear: Hear) -> None:
        self._places = {place.device.name: place for place in places}
        self._hear = hear
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Run until told to stop; faces then say goodbye. Raises what a face raises."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._live(place), name=name) for name, place in self._places.items()]
            await self._stop.wait()
            for task in tasks:
                task.cancel()

    def stop(self) -> None:
        """End ``run``."""
        self._stop.set()

    def devices(self, name: str) -> list[Device]:
        """Return whom an order means; raises ``OrderError``."""
        found = [
            place.device
            for place in self._places.values()
            if name in {place.device.name, place.device.id, place.hub, EVERYBODY} - {""}
        ]
        if not found:
            raise OrderError(f"no camera of that name; there are: {', '.join(self._places)}")
        return found

    def obey(self, order: Order) -> dict[str, object]:
        """Do it and return what there is to say; raises ``OrderError``."""
        if order.verb == "stop":
            self.stop()
        if order.verb in {"stop", "show"}:
            return {"cameras": [self._shown(place) for place in self._places.values()]}
        devices = self.devices(order.name)
        for device in devices:
            _obey(device, order)
        return {"cameras": [self._shown(self._places[device.name]) for device in devices]}

    def _shown(self, place: Place) -> dict[str, object]:
        device = place.device
        return {
            "name": device.name,
            "hub": place.hub,
            "id": device.id,
            "label": device.label,
            "fingerprint": device.fingerprint,
            "powered": device.powered,
            "port": device.port,
            "rtsp_port": device.rtsp_port,
            "onvif_port": device.onvif_port,
            "rotating_id": device.rotating_id,
            "setup_open": device.setup_open,
            "agent": device.agent,
            "collecting": device.collecting,
            "state": device.state,
            "broken": sorted(device.faults),
        }

    async def _live(self, place: Place) -> None:
        device = place.device
        changed = asyncio.Event()

        def hear(what: Change) -> None:
            if what == "power":
                changed.set()

        def say(event: Event, facts: dict[str, object]) -> None:
            self._hear(device.name, event, facts)

        device.changed.append(hear)
        device.happened.append(say)
        try:
            while True:
                changed.clear()
                if device.powered:
                    await self._shine(place, changed)
                else:
                    await changed.wait()
        finally:
            device.changed.remove(hear)
            device.happened.remove(say)

    async def _shine(self, place: Place, cut: asyncio.Event) -> None:
        name, before = place.device.name, list(place.device.changed)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._greet(place), name=f"{name}: ready"),
                    group.create_task(_tick(place.device), name=f"{name}: clock"),
                    *(group.create_task(face.run(), name=f"{name}: {type(face).__name__}") for face in place.faces()),
                ]
                await cut.wait()
                for task in tasks:
                    task.cancel()
        finally:
            place.device.changed[:] = before  # what the faces of this boot heard with

    async def _greet(self, place: Place) -> None:
        device, listening = place.device, asyncio.Event()

        def hear(_change: Change) -> None:
            if place.listens():
                listening.set()

        device.changed.append(hear)
        hear("advert")
        await listening.wait()
        device.changed.remove(hear)
        device.tell("ready", **self._shown(place))


def _obey(device: Device, order: Order) -> None:
    match order.verb:
        case "break":
            device.break_(cast("Breakage", order.argument))
        case "mend":
            device.mend(cast("Breakage", order.argument))
        case "setup":
            device.open_setup(float(order.argument))
        case "collect":
            device.collect(enabled=order.on)
        case "consent":
            device.note_consent(given=order.on)
        case _:
            raise AssertionError(order.verb)


async def _tick(device: Device) -> None:
    while True:
        await asyncio.sleep(TICK_S)
        device.tick()
