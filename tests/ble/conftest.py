"""A machine's Bluetooth in a process of its own, in a network namespace of its own, and the agent's side of it here.

Between them is only what bleak uses: a D-Bus address. The agent's code and bleak are as they are installed.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import pytest

from agent.discovery import Heard, Lost, Sighting, Trouble
from agent.discovery.ble.peripheral import Deadlines, Peripheral, Slots, connected
from agent.discovery.ble.scanner import Limits, Scanner
from agent.discovery.ble.session import PrivacyState
from tests.ble.radio import PATIENCE_S, Near, Radio

QUICK = Limits(call_s=5, start_s=1, retry_s=0.1, sweep_s=0.1, silence_s=60)
PATIENT = Deadlines(slot_s=PATIENCE_S, connect_s=PATIENCE_S, call_s=PATIENCE_S, switch_s=PATIENCE_S)

T = TypeVar("T")


class Listening:
    """The agent's scanner running, and what it heard."""

    def __init__(self, limits: Limits) -> None:
        self.scanner = Scanner(now_ms=lambda: int(time.time() * 1000), limits=limits)  # noqa: TID251 - the machine's
        self.heard: list[Heard] = []
        self.slots = Slots()
        self._more = asyncio.Event()

    def take(self, heard: Heard) -> None:
        self.heard.append(heard)
        self._more.set()

    async def until(self, found: Callable[[list[Heard]], T | None], *, what: str) -> T:
        """Wait until something is found in what was heard."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    self._more.clear()
                    if value := found(self.heard):
                        return value
                    await self._more.wait()
        except TimeoutError:
            raise AssertionError(f"not heard: {what}; but {self.heard[-5:]}") from None

    async def camera(self, address: str) -> Sighting:
        return await self.until(lambda heard: sighted(heard, address), what=f"camera {address}")

    async def trouble(self, reason: str) -> Trouble:
        return await self.until(
            lambda heard: next((one for one in heard if isinstance(one, Trouble) and one.reason == reason), None),
            what=f"trouble {reason or 'over'}",
        )

    def forget(self) -> None:
        self.heard.clear()

    async def prove(self, radio: Radio, peripheral: Peripheral, *, camera: Near | None = None) -> PrivacyState:
        who = camera or radio.camera
        return await peripheral.prove(radio.agent, camera_kid=who.kid, advert_key=who.advert_key, random=os.urandom)


def sighted(heard: list[Heard], address: str) -> Sighting | None:
    return next((one for one in heard if isinstance(one, Sighting) and one.key == address), None)


def lost(heard: list[Heard], address: str) -> Lost | None:
    return next((one for one in heard if isinstance(one, Lost) and one.key == address), None)


Act = Callable[[Listening], Awaitable[T]]


def listen(radio: Radio, act: Act[T], *, limits: Limits = QUICK) -> T:
    """Run the agent's scanner, and ``act`` beside it."""

    async def both() -> T:
        ears = Listening(limits)
        running = asyncio.ensure_future(ears.scanner.run(ears.take))
        acting = asyncio.ensure_future(act(ears))
        try:
            await asyncio.wait({running, acting}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
            return await acting
        finally:
            for one in (running, acting):
                one.cancel()
            await asyncio.wait({running, acting})

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DBUS_SYSTEM_BUS_ADDRESS", radio.bus)
        return asyncio.run(both())


def talk(
    radio: Radio,
    act: Callable[[Listening, Peripheral], Awaitable[T]],
    *,
    passkey: int | None = None,
    deadlines: Deadlines = PATIENT,
) -> T:
    """Find the first camera, connect to it, and do ``act``."""

    async def with_it(ears: Listening) -> T:
        await ears.camera(radio.camera.address)
        where = ears.scanner, radio.camera.address
        async with connected(*where, slots=ears.slots, passkey_of=lambda: passkey, deadlines=deadlines) as peripheral:
            return await act(ears, peripheral)

    return listen(radio, with_it)


@pytest.fixture
def start_radio() -> Iterator[Callable[..., Radio]]:
    started: list[Radio] = []

    def start(*options: str) -> Radio:
        started.append(Radio(*options))
        return started[-1].begin()

    yield start
    for one in started:
        one.end()


@pytest.fixture
def radio(start_radio: Callable[..., Radio]) -> Radio:
    return start_radio()
