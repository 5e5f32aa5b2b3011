"""What a person does with cameras at this machine: looking for them, enrolling, forgetting, switching, pairing."""

from contextlib import nullcontext
from typing import Any

from agent import enrolment
from agent.app.camera_list import CameraList
from agent.app.living import Living
from agent.app.question import enrolled_named
from agent.control import Progress, Verb
from agent.nearby.reach import Reach
from agent.nearby.view import camera_view, near_view


class CameraVerbs:
    """The verbs about cameras."""

    def __init__(self, live: Living, cameras: CameraList) -> None:
        self._live = live
        self._parts = live.parts
        self._cameras = cameras

    def table(self) -> dict[str, Verb]:
        """Return these verbs by name."""
        return {
            "nearby": self.nearby,
            "cameras": self.cameras,
            "enrol": self.enrol,
            "forget-camera": self.forget_camera,
            "collection": self.collection,
            "passkey": self.passkey,
        }

    async def nearby(self, _args: dict[str, Any], _progress: Progress) -> dict[str, Any]:
        """Tell what is near, and why something may not be heard; ``on`` is false where nothing is listened for."""
        nearby = self._live.nearby
        if nearby is None:
            return {"on": False}
        told = near_view(nearby)
        known = {one.camera: one for one in nearby.cameras}
        now_ms = self._parts.now().agent_ms
        for one in told["near"]:
            if (enrolled := known.get(one.get("camera", ""))) is not None:
                one["how"] = self._cameras.how(enrolled, now_ms=now_ms)
        return {"on": True} | told

    async def cameras(self, _args: dict[str, Any], _progress: Progress) -> dict[str, Any]:
        """List the cameras that are known: enrolled ones with their level, then those of sources."""
        return {
            "cameras": await self._parts.index.read(self._cameras.every),
            "running": self._live.refusals is not None,
        }

    async def enrol(self, args: dict[str, Any], progress: Progress) -> dict[str, Any]:
        """Enrol a camera after what a person holds in hand was compared with what answers."""
        from agent.app.pairing import enrol  # noqa: PLC0415 - loaded only where somebody enrols

        before = await self._parts.index.read(self._cameras.forgotten)
        made = await enrol(self._parts, self._live.nearby, self._live.passkeys, args, progress)
        return camera_view(made, self._cameras.reach().get(made.camera, Reach())) | {
            "discovery": self._parts.config.discovery is not None,
            "known_before": made.camera in before,
        }

    async def forget_camera(self, args: dict[str, Any], _progress: Progress) -> dict[str, Any]:
        """Take a camera's trust away, and tell it while it answers; what is held of it stays."""
        from agent.app.leaving import leave  # noqa: PLC0415 - loaded only where somebody forgets

        told, nearby = str(args.get("camera", "")), self._live.nearby
        one = await self._parts.index.read(lambda tx: enrolment.require(tx, enrolled_named(tx, told)))
        camera = one.camera
        collecting = self._live.collecting
        async with nullcontext() if collecting is None else collecting.without(camera):
            at_camera = await leave(self._parts, one, () if nearby is None else nearby.addresses(camera))
            moment = self._parts.now()
            known = await self._parts.index.write(
                lambda tx: enrolment.forget(tx, camera, at_camera=at_camera, moment=moment)
            )
        if nearby is not None:
            await nearby.enrolled_changed()
        return camera_view(known, Reach()) | {"at_camera": at_camera}

    async def collection(self, args: dict[str, Any], _progress: Progress) -> dict[str, Any]:
        """Switch a camera's collection on or off by hand, and tell the camera."""
        live = self._live
        return await live.switches.switch(await self._by_id(args), ways=live.ways)

    async def passkey(self, args: dict[str, Any], _progress: Progress) -> dict[str, Any]:
        """Pair with a camera that demands a passkey, and meet it over Bluetooth."""
        from agent.app.pairing import pair  # noqa: PLC0415 - loaded only where somebody pairs

        return await pair(self._parts, self._live.nearby, self._live.passkeys, await self._by_id(args))

    async def _by_id(self, args: dict[str, Any]) -> dict[str, Any]:
        """Return the question about an enrolled camera with its id, where its name was given."""
        told = str(args.get("camera", ""))
        return args | {"camera": await self._parts.index.read(lambda tx: enrolled_named(tx, told))}
