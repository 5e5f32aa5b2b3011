"""Which cameras may collect now, and how one is told: over its link where that answers, else over Bluetooth.

Rules: the policy decides what may be collected, and its owner which purposes; a person here may switch a camera off
beneath that, never on above it.
What is wanted is asked whenever a camera is met, by either way, so an "off" that did not reach it arrives then. What a
camera does is known once it said so in a proved session. A change that it confirms is written down behind it, once:
one that is confirmed just before power fails, while the disk is full or among too many at once is in no audit log, for
the camera is as it is wanted when it is met again. What a person said is durable before anybody is told.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, Literal

import msgspec

from agent import collection, enrolment
from agent.app.parts import Parts
from agent.app.question import cameras_meant
from agent.collection import Way
from agent.enrolment import ENROLLED_MAX
from agent.errors import AgentError, ConfigError, RefusedError, SpaceError
from agent.index import Tx
from agent.model import CATEGORIES
from agent.policy import Consents, Rule, purposes_for
from agent.rights import consent

TELL_S: Final = 20.0
"""So long each way is tried for who waits; it is tried again by itself whenever the camera is met."""

Tell = Callable[[str], Awaitable[object]]
"""Meet a camera now and have it do what is wanted; raises one of the five kinds where it was not met."""


class Switched(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a person asks for."""

    camera: str
    collection: Literal["on", "off"]


class Switches:
    """What is wanted of every camera, and what each said last; belongs to the running event loop."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._off: frozenset[str] = frozenset()
        self._consents = Consents()
        self._wanted: dict[str, bool] = {}
        self._at_camera: dict[str, bool] = {}
        self._confirmed: asyncio.Queue[tuple[str, bool, Way]] = asyncio.Queue(maxsize=ENROLLED_MAX)

    async def load(self) -> None:
        """Read who is switched off by hand, and what the owner said of purposes; nobody is met before that."""
        self._wanted = await self._look()

    async def _look(self) -> dict[str, bool]:
        """Look at what is wanted of every camera that can be told, and return it."""
        self._off, self._consents, everybody = await self._parts.index.read(
            lambda tx: (collection.off_by_hand(tx), consent.standing(tx), enrolment.enrolled(tx))
        )
        return {one.camera: self.wanted(one.camera) for one in everybody if one.level == "proved"}

    async def obey(self, *, ways: Sequence[tuple[Way, Tell]]) -> tuple[str, ...]:
        """Look again at what is allowed, tell the cameras for which that is another now, and return them.

        One that is not reached is told when it is met next. What was wanted is known from the last look: the policy is
        another already when this is called.
        """
        now = await self._look()
        before, self._wanted = self._wanted, now
        known = self._at_camera | before
        others = tuple(camera for camera, on in now.items() if on is not known.get(camera))
        await asyncio.gather(*(_told(camera, ways) for camera in others))
        return others

    async def run(self) -> None:
        """Write down what cameras confirm, until cancelled."""
        while True:
            camera, on, way = await self._confirmed.get()
            confirm = partial(collection.confirm, camera=camera, on=on, way=way, moment=self._parts.now())
            with suppress(SpaceError):  # it is so all the same, and a full disk has an alert of its own
                await self._parts.index.write(confirm, urgent=True)

    def wanted(self, camera: str) -> bool:
        """Tell whether a camera is to collect; may be asked from any thread."""
        return camera not in self._off and not self._parts.service_ended and self._allowed(camera)

    def said(self, camera: str, *, on: bool, before: bool, way: Way) -> None:
        """Take what a camera says that it does, and did before it was told."""
        self._at_camera[camera] = on
        if on is not before:
            with suppress(asyncio.QueueFull):
                self._confirmed.put_nowait((camera, on, way))

    def view(self, camera: str) -> dict[str, Any]:
        """Return what is wanted of a camera, whose word that is, and what it does as far as it is known."""
        by_hand = camera in self._off
        return {
            "wanted": "on" if self.wanted(camera) else "off",
            "by": "hand" if by_hand else "policy",
            "at_camera": {True: "on", False: "off", None: "unknown"}[self._at_camera.get(camera)],
        }

    async def switch(self, args: dict[str, Any], *, ways: Sequence[tuple[Way, Tell]]) -> dict[str, Any]:
        """Do what a person asks: note it, durably, then tell the camera by the first way that reaches it.

        Raises ``ConfigError`` for a camera that cannot be told, ``RefusedError`` where the policy has no rule.
        """
        try:
            asked = msgspec.convert(args, Switched)
        except msgspec.ValidationError as error:
            raise ConfigError("the question is not understood", hint="privacy-agent collection ID on|off") from error
        camera, on = asked.camera, asked.collection == "on"
        await self._parts.index.read(partial(_require_link, camera=camera))
        if on and not self._allowed(camera):
            raise self._refusal(camera)
        moment = self._parts.now()
        await self._parts.index.write(lambda tx: collection.switch(tx, camera, on=on, moment=moment), urgent=True)
        now = await self._look()
        self._wanted = {**self._wanted, camera: now.get(camera, False)}  # the others are ``obey``'s to tell
        told = await _told(camera, ways)
        return {"camera": camera, **self.view(camera), "told": told}

    def _refusal(self, camera: str) -> RefusedError:
        """Say why a camera may not collect."""
        if self._rules(camera):
            return RefusedError(
                f"its owner allows no purpose of what camera {camera} gives",
                reason="no_consent",
                retry="after_fix",
                hint="privacy-agent consents shows what is off; its owner gives it: privacy-owner consent give PURPOSE",
            )
        return RefusedError(
            f"the policy lets nothing in of camera {camera}",
            reason="no_rule",
            retry="after_fix",
            hint="write a rule for it into policy.toml, have the agent read it, then switch it on",
        )

    def _rules(self, camera: str) -> tuple[Rule, ...]:
        policy = self._parts.policy_in_force()
        found = (policy.rule_for(camera, category) for category in CATEGORIES if category != "export")
        return tuple(rule for rule in found if rule is not None)

    def _allowed(self, camera: str) -> bool:
        """Tell whether a purpose of anything that a camera gives is allowed; may be asked from any thread."""
        consents = self._consents
        return any(purposes_for(rule, consents) for rule in self._rules(camera))


async def _told(camera: str, ways: Sequence[tuple[Way, Tell]]) -> Way | Literal[""]:
    for way, tell in ways:
        with suppress(AgentError, TimeoutError):
            async with asyncio.timeout(TELL_S):
                await tell(camera)
            return way
    return ""


def _require_link(tx: Tx, camera: str) -> None:
    known = enrolment.by_camera(tx, camera)
    if known is None and not cameras_meant(tx, camera):
        raise ConfigError(
            f"camera {camera} is not one that this device can switch: no camera of that id or name is known here",
            hint="privacy-agent cameras lists both",
        )
    if known is None or known.level != "proved":
        raise ConfigError(
            f"camera {camera} is not one that this device can switch: it has no camera link",
            hint="name one that is enrolled as proved: privacy-agent cameras; "
            "of others the policy says what is taken in",
        )
