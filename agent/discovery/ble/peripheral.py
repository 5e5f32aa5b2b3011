"""One connection to one camera over Bluetooth: asked, proved, listened to, switched.

    async with connected(scanner, key) as camera:
        await camera.information()
        await camera.prove(agent_key, camera_kid=…, advert_key=…, random=os.urandom)
        await camera.switch(collection=False)
        async for state in camera.states(): …

Rules:

- every operation races the end of the link and a deadline: a read whose link was lost may never be answered, and one
  that is answered ``InProgress`` is asked again by bleak without end;
- a connection holds one of the adapter's slots, and gives it back however it ends;
- what does not hold in the proof, or in a state, ends the connection; nothing that was said is then kept.

Errors: ``LinkError`` for weather; ``CorruptError`` for what the camera did not make; ``RefusedError`` whose ``reason``
is ``camera_impostor`` (what answered is not the camera that was enrolled), ``not_paired`` (it refuses this agent) or
``passkey`` (it wants to be paired, or the number was wrong).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar

import msgspec
from bleak import BleakClient
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.device import BLEDevice
from bleak.exc import BleakDBusError, BleakError, BleakGATTProtocolError
from bleak_retry_connector import BleakNotFoundError, BleakOutOfConnectionSlotsError, establish_connection

from agent.discovery.ble.bluez import path_of
from agent.discovery.ble.pairing import passkey
from agent.discovery.ble.proof import AgentKey, open_proof
from agent.discovery.ble.scanner import Scanner
from agent.discovery.ble.service import FIRMWARE, MAKER, MODEL, PROOF, REFUSED, STATE, SWITCH
from agent.discovery.ble.session import PrivacyState, Session
from agent.discovery.clean import clean
from agent.errors import AgentError, CorruptError, LinkError, RefusedError

CONNECTIONS_MAX: Final = 3
"""At once; the weakest adapters take 5 (Bluetooth-Devices/bleak-retry-connector#67), and the host has other uses."""

_LAST_WORDS_S: Final = 0.5
"""BlueZ says that a link ended just before it answers what failed because of it, and why."""

_NOT_PAIRED: Final = "org.bluez.Error.NotPermitted"
_PAIRING: Final = frozenset({"org.bluez.Error.AuthenticationFailed", "org.bluez.Error.AuthenticationRejected"})

PasskeyOf = Callable[[], int | None]
"""Asked once a camera is connected and pairing can begin: the number that its owner typed in, or none."""

T = TypeVar("T")


def nobody_typed() -> None:
    """Give no passkey."""


class Deadlines(msgspec.Struct, frozen=True, kw_only=True):
    """How long things may take, in seconds."""

    slot_s: float = 30
    connect_s: float = 25
    call_s: float = 5
    pair_s: float = 60
    switch_s: float = 15
    fresh_s: float = 30
    """Without a new state for so long it is unknown (docs/ble.md §4)."""


class Information(msgspec.Struct, frozen=True, kw_only=True):
    """What the Device Information Service says, to anybody: unproved, cleaned, and empty where it says nothing."""

    unverified_maker: str = ""
    unverified_model: str = ""
    unverified_firmware: str = ""


class Peripheral:
    """A connected camera; made by ``connected``."""

    def __init__(self, client: BleakClient, *, ended: asyncio.Event, deadlines: Deadlines) -> None:
        self._client = client
        self._ended = ended
        self._deadlines = deadlines
        self._session: Session | None = None
        self._latest: PrivacyState | None = None
        self._told = 0
        self._newer = asyncio.Event()
        self._broken: AgentError | None = None

    async def information(self) -> Information:
        """Read maker, model and firmware; the serial number is not asked for."""
        found: dict[str, str] = {}
        for name, uuid in (("maker", MAKER), ("model", MODEL), ("firmware", FIRMWARE)):
            offered = self._offered(uuid)
            if len(offered) == 1:
                raw = await self._race(self._client.read_gatt_char(offered[0]))
                found[f"unverified_{name}"] = clean(bytes(raw).decode("utf-8", errors="replace"))
        return Information(**found)

    async def prove(
        self, agent: AgentKey, *, camera_kid: str, advert_key: bytes, random: Callable[[int], bytes]
    ) -> PrivacyState:
        """Prove each to the other (docs/ble.md §3); returns the first state.

        Raises ``RefusedError`` (``camera_impostor``) for who is not that camera.
        """
        opening = open_proof(agent, camera_kid=camera_kid, advert_key=advert_key, random=random)
        await self._write(PROOF, opening.message)
        claim = opening.claim(await self._read(PROOF))
        await self._write(PROOF, claim.message)
        self._session = claim.session(await self._read(PROOF))
        await self._race(self._client.start_notify(self._characteristic(STATE), self._notified))
        return await self.state()

    async def state(self) -> PrivacyState:
        """Ask for the state now."""
        told = self._told
        self._take(await self._read(STATE))
        return await self._after(told, lambda _state: True, within_s=self._deadlines.call_s)

    async def states(self) -> AsyncIterator[PrivacyState]:
        """Yield states as they come, the newest where several came; ``LinkError`` when they stay away, or the link."""
        while True:
            told = self._told
            yield await self._after(told, lambda _state: True, within_s=self._deadlines.fresh_s)

    async def switch(self, *, collection: bool) -> PrivacyState:
        """Switch collection and return the state that the camera made after it took that; it may have declined."""
        told = self._told
        command, taken = self._up().switch(collection=collection)
        await self._write(SWITCH, command)
        return await self._after(told, lambda state: state.taken == taken, within_s=self._deadlines.switch_s)

    async def pair(self) -> None:
        """Pair, with whatever agent is registered (``pairing.passkey``); a device that is paired stays so."""
        await self._race(self._client.pair(), within_s=self._deadlines.pair_s)

    # --- the parts

    def _up(self) -> Session:
        assert self._session is not None  # noqa: S101 - the caller proves first
        return self._session

    async def _after(self, told: int, suits: Callable[[PrivacyState], bool], *, within_s: float) -> PrivacyState:
        """Return the first state after the ``told`` first ones that suits."""
        return await self._race(self._wait(told, suits), within_s=within_s)

    async def _wait(self, told: int, suits: Callable[[PrivacyState], bool]) -> PrivacyState:
        while True:
            if self._latest is not None and self._told > told and suits(self._latest):
                return self._latest
            told = max(told, self._told)
            await self._newer.wait()

    def _notified(self, _characteristic: BleakGATTCharacteristic, value: bytearray) -> None:
        self._take(bytes(value))

    def _take(self, raw: bytes) -> None:
        """Take one value of the state; one that the camera did not make ends the connection."""
        if self._broken is not None:
            return
        try:
            state = self._up().state(raw)
        except CorruptError as error:
            self._broken = error
            self._ended.set()
            return
        if state is not None:
            self._latest = state
            self._told += 1
            newer, self._newer = self._newer, asyncio.Event()
            newer.set()

    def _characteristic(self, uuid: str) -> BleakGATTCharacteristic:
        offered = self._offered(uuid)
        if len(offered) != 1:
            raise CorruptError("it does not have each characteristic of camera privacy state once (docs/ble.md)")
        return offered[0]

    def _offered(self, uuid: str) -> list[BleakGATTCharacteristic]:
        """Return the characteristics of one UUID, whoever made how many; bleak forgets them when the link ends."""
        if self._broken is not None:
            raise self._broken
        try:
            services = self._client.services
        except BleakError as error:
            raise _ended() from error
        return [one for one in services.characteristics.values() if one.uuid == uuid]

    async def _read(self, uuid: str) -> bytes:
        return bytes(await self._race(self._client.read_gatt_char(self._characteristic(uuid))))

    async def _write(self, uuid: str, value: bytes) -> None:
        await self._race(self._client.write_gatt_char(self._characteristic(uuid), value, response=True))

    async def _race(self, operation: Awaitable[T], *, within_s: float = 0) -> T:
        """Let the operation end, the link, or the time, whichever is first."""
        task = asyncio.ensure_future(operation)
        ended = asyncio.ensure_future(self._ended.wait())
        try:
            done, _ = await asyncio.wait(
                {task, ended}, timeout=within_s or self._deadlines.call_s, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                raise LinkError("the camera did not answer in time", hint="bring it nearer, then try again")
            if not task.done():
                await asyncio.wait({task}, timeout=_LAST_WORDS_S)
            if self._broken is not None:
                raise self._broken
            if task.done():
                return _answer_of(task)
            raise _ended()
        finally:
            for one in (task, ended):
                one.cancel()
            await asyncio.wait({task, ended})
            if not task.cancelled():
                task.exception()


def _ended() -> LinkError:
    return LinkError("the camera's link ended", hint="bring it nearer, then try again")


def _answer_of(task: "asyncio.Future[T]") -> T:
    """Return what bleak answered, its errors as ours."""
    try:
        return task.result()
    except BleakGATTProtocolError as error:
        (code, *_) = error.args
        if code == REFUSED:
            raise RefusedError(
                "what answered does not take this agent for its own",
                reason="not_paired",
                hint="if it is the camera that was enrolled, it was reset or has another agent: enrol it anew",
            ) from error
        raise LinkError(f"the camera answered with the ATT error {code:#04x}") from error
    except BleakDBusError as error:
        raise _worded(error) from error
    except (BleakError, OSError, EOFError, TimeoutError, AssertionError) as error:
        raise LinkError(f"the camera's link failed: {type(error).__name__}") from error


def _worded(error: BleakDBusError) -> AgentError:
    if error.dbus_error == _NOT_PAIRED:
        return RefusedError(
            "the camera wants to be paired first",
            reason="passkey",
            retry="after_fix",
            hint="give the passkey that it shows, or that is on it",
        )
    if error.dbus_error in _PAIRING:
        return RefusedError(
            "the camera did not take the passkey",
            reason="passkey",
            retry="after_fix",
            hint="look at the number that it shows, or that is on it, and give that one",
        )
    return LinkError(f"the camera's link failed: {error.dbus_error}")


class Slots:
    """The connections that one adapter is given at once."""

    def __init__(self, count: int = CONNECTIONS_MAX) -> None:
        self._free = asyncio.Semaphore(count)

    @asynccontextmanager
    async def one(self, *, within_s: float) -> AsyncIterator[None]:
        """Hold one inside the block; raises ``LinkError`` when none became free."""
        try:
            async with asyncio.timeout(within_s):
                await self._free.acquire()
        except TimeoutError as error:
            raise LinkError("every Bluetooth connection is in use", hint="wait for one to end") from error
        try:
            yield
        finally:
            self._free.release()


@asynccontextmanager
async def connected(
    scanner: Scanner,
    key: str,
    *,
    slots: Slots,
    passkey_of: PasskeyOf = nobody_typed,
    deadlines: Deadlines | None = None,
) -> AsyncIterator[Peripheral]:
    """Connect to the device of a live sighting, pairing it first where a passkey waits, which is taken then."""
    limits = deadlines or Deadlines()
    device = scanner.device(key)
    if device is None:
        raise LinkError("that camera is not heard any more", hint="bring it nearer, or wait until it advertises")
    async with slots.one(within_s=limits.slot_s):
        ended = asyncio.Event()
        client = await _connect(device, ended=ended, limits=limits)
        peripheral = Peripheral(client, ended=ended, deadlines=limits)
        try:
            await _pair(scanner, device, peripheral, passkey_of=passkey_of)
            yield peripheral
        finally:
            with contextlib.suppress(TimeoutError, BleakError, OSError, EOFError):
                async with asyncio.timeout(limits.call_s):
                    await client.disconnect()


async def _connect(device: BLEDevice, *, ended: asyncio.Event, limits: Deadlines) -> BleakClient:
    try:
        async with asyncio.timeout(limits.connect_s):
            return await establish_connection(
                BleakClient, device, "camera", disconnected_callback=lambda _client: ended.set(), max_attempts=2
            )
    except TimeoutError as error:
        raise LinkError("the camera did not take the connection", hint="bring it nearer, then try again") from error
    except BleakOutOfConnectionSlotsError as error:
        raise LinkError("the adapter has no connection left", hint="end another Bluetooth connection") from error
    except BleakNotFoundError as error:
        raise LinkError("that camera is not heard any more", hint="bring it nearer, then try again") from error
    except (BleakError, OSError, EOFError, KeyError) as error:
        raise LinkError("the connection to the camera failed", hint="bring it nearer, then try again") from error


async def _pair(scanner: Scanner, device: BLEDevice, peripheral: Peripheral, *, passkey_of: PasskeyOf) -> None:
    line = scanner.bluez
    if line is None:
        raise LinkError("there is no line to bluetoothd", hint="start bluetoothd: systemctl start bluetooth")
    number = passkey_of()
    if number is None:
        return
    async with passkey(line, device_path=path_of(device.details), number=number):
        await peripheral.pair()
