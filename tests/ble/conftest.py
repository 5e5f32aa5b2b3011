"""A machine's Bluetooth in a process of its own, in a network namespace of its own, and the agent's side of it here.

Between them is only what bleak uses: a D-Bus address. The agent's code and bleak are as they are installed.
"""

import asyncio
import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from agent.discovery import Heard, Lost, Sighting, Trouble
from agent.discovery.ble.peripheral import Deadlines, Peripheral, Slots, connected
from agent.discovery.ble.proof import AgentKey
from agent.discovery.ble.scanner import Limits, Scanner
from agent.discovery.ble.session import PrivacyState
from agent.envelope import public_jwk, raw_signature, thumbprint

SIM = Path(sys.executable).with_name("device-sim")
PATIENCE_S = 30.0
QUICK = Limits(call_s=5, start_s=1, retry_s=0.1, sweep_s=0.1, silence_s=60)
PATIENT = Deadlines(slot_s=PATIENCE_S, connect_s=PATIENCE_S, call_s=PATIENCE_S, switch_s=PATIENCE_S)

T = TypeVar("T")


def agent_key() -> AgentKey:
    key = ec.generate_private_key(ec.SECP256R1())
    return AgentKey(public_jwk(key), lambda words: raw_signature(key, words))


class Near:
    """One camera, as `device-sim ble` tells of it."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.address: str = told["address"]
        self.kid: str = told["kid"]
        self.advert_key = base64.urlsafe_b64decode(told["advert_key"] + "=")
        self.collecting: bool = told["collecting"]
        self.state: dict[str, bool] = told["state"]


class Radio:
    """`device-sim ble` in its process; commands are lines."""

    def __init__(self, *options: str) -> None:
        self.agent = agent_key()
        isolated = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--net"]
        command = [*isolated, str(SIM), "ble", "--json", f"--agent={thumbprint(self.agent.jwk)}", *options]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def begin(self) -> "Radio":
        """Read what it tells at its start."""
        told = self._answer()
        self.bus: str = told["DBUS_SYSTEM_BUS_ADDRESS"]
        self.cameras = [Near(one) for one in told["cameras"]]
        return self

    @property
    def camera(self) -> Near:
        return self.cameras[0]

    def do(self, line: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        answer = self._answer()
        assert "error" not in answer, answer
        return answer

    def now(self) -> Near:
        """The first camera as it is now."""
        return Near(self.do("told")["cameras"][0])

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "device-sim ble ended"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def end(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=PATIENCE_S)


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
        async with connected(*where, slots=ears.slots, passkey_number=passkey, deadlines=deadlines) as peripheral:
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
