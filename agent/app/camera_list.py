"""The cameras as the verbs tell of them: how far each is proved, how it is, and what waits for it."""

from typing import Any

from agent import enrolment, registry
from agent.app.camera_state import Said, how_view
from agent.app.living import Living
from agent.app.question import LISTED_MAX
from agent.enrolment import Enrolled
from agent.index import Tx
from agent.nearby.reach import Reach
from agent.nearby.view import camera_view, radio_view


class CameraList:
    """What is known of every camera, in the caller's transaction."""

    def __init__(self, live: Living) -> None:
        self._live = live
        self._parts = live.parts

    def every(self, tx: Tx) -> list[dict[str, Any]]:
        """Tell of the enrolled cameras, then of those of sources, ``LISTED_MAX`` in all."""
        now_ms = self._parts.now().agent_ms
        enrolled = enrolment.enrolled(tx)
        waiting = dict(self._parts.erasure.waiting_copies(tx))
        told = [
            self._enrolled(one)
            | {"how": self.how(one, now_ms=now_ms, waiting=waiting.get(enrolment.source_name(one.camera), 0))}
            for one in enrolled
        ]
        there = {one.camera for one in enrolled}
        for known in registry.every_camera(tx):
            if known.id not in there and len(told) < LISTED_MAX:
                told.append(
                    {
                        "camera": known.id,
                        "level": self.level(tx, known.id),
                        "name": known.called,
                        "source": known.source,
                        "reachable": None,
                        **self.onvif(known.source),
                    }
                )
        return told

    def levels(self, tx: Tx, views: list[dict[str, Any]]) -> dict[str, str]:
        """Return how far the camera of each listed object is proved; objects are told as an owner is told them."""
        return {camera: self.level(tx, camera) for camera in sorted({view["camera"] for view in views})}

    def level(self, tx: Tx, camera: str) -> str:
        """Return how far a camera is proved: as it was enrolled, else by what the config pins of its stream.

        One that was enrolled and is no more is ``forgotten``.
        """
        level, known = enrolment.level_of(tx, camera), registry.camera(tx, camera)
        if known is not None and known.source == enrolment.SOURCE and enrolment.by_camera(tx, camera) is None:
            return "forgotten"
        pinned = {one.name for one in self._parts.config.streams if one.certificate_sha256}
        return "pinned" if level == "configured" and known is not None and known.source in pinned else level

    def how(self, one: Enrolled, *, now_ms: int, waiting: int = 0) -> dict[str, Any]:
        """Return how an enrolled camera is, and how many deletes wait for it."""
        told = how_view(
            one,
            self._live.said.get(one.camera, Said()),
            self.reach().get(one.camera, Reach()),
            running=self._live.refusals is not None,
            now_ms=now_ms,
            findable=bool(one.endpoint) or self._live.nearby is not None,
            is_off=self._live.switches.view(one.camera)["at_camera"] == "off",
            is_impersonated=one.camera in self._live.standing.cameras,
        )
        return told | ({"waiting": waiting} if waiting else {})

    def forgotten(self, tx: Tx) -> frozenset[str]:
        """Return the cameras that were enrolled once and are no more."""
        every = registry.every_camera(tx)
        return frozenset(one.id for one in every if self.level(tx, one.id) == "forgotten")

    def waiting_deletes(self, tx: Tx) -> list[dict[str, Any]]:
        """Tell for which cameras deletes wait, and why those have not answered."""
        return [
            self.waits_for(tx, source) | {"count": count} for source, count in self._parts.erasure.waiting_copies(tx)
        ]

    def waits_for(self, tx: Tx, source: str) -> dict[str, Any]:
        """Name the camera of a source that is asked to delete something, and what keeps it."""
        camera = enrolment.camera_of(source)
        known = enrolment.by_camera(tx, camera)
        how = {"state": "forgotten"} if known is None else self.how(known, now_ms=self._parts.now().agent_ms)
        return {"camera": camera, "name": enrolment.label_of(tx, camera), "how": how}

    def reach(self) -> dict[str, Reach]:
        """Return how each enrolled camera was last heard; nothing where nothing is listened for."""
        return {} if self._live.nearby is None else self._live.nearby.reach

    def onvif(self, source: str) -> dict[str, Any]:
        """Return what the ONVIF service of a camera said that streams; nothing where it was not asked."""
        found = self._live.found.get(source)
        return {} if found is None else {"onvif": {"snapshot": found.snapshot, "topics": list(found.topics)}}

    def _enrolled(self, one: Enrolled) -> dict[str, Any]:
        nearby = self._live.nearby
        told = camera_view(one, self.reach().get(one.camera, Reach())) | {"source": ""}
        if one.level == "proved":
            told["collection"] = self._live.switches.view(one.camera)
            told |= {} if nearby is None else radio_view(nearby, one.camera)
        return told
