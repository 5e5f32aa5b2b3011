"""A camera's Bluetooth as docs/ble.md has it: a GATT server on bumble, over any HCI transport that bumble knows.

``usb:0`` is a dongle in this machine; ``unix-client:PATH`` is a controller in the air of ``device-sim ble``.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar

from bumble.att import ATT_Error, ErrorCode
from bumble.core import UUID, AdvertisingData
from bumble.device import Connection, Device, DeviceConfiguration
from bumble.gatt import Characteristic, CharacteristicValue, Service
from bumble.hci import Address, HCI_LE_Set_Random_Address_Command
from bumble.pairing import PairingConfig, PairingDelegate
from bumble.transport import open_transport

from device_sim.ble import wire
from device_sim.ble.camera import Camera

CONNECTIONS_MAX: Final = 2
_NAME: Final = "Camera"  # GAP's device name, which has to be something; it is not advertised
_LOOK_S: Final = 1.0
_log = logging.getLogger(__name__)
T = TypeVar("T")


class Conversation(Protocol):
    """What answers one connection; whatever is refused is a ``wire.WireError``."""

    @property
    def up(self) -> bool:
        """Whether states may be told."""

    async def hear(self, raw: bytes) -> None:
        """Take what was written to the proof."""

    async def answer(self) -> bytes:
        """What is read from it."""

    async def state(self) -> bytes:
        """The next value of the state."""

    async def switch(self, raw: bytes) -> None:
        """Take what was written to the switch."""


class Own:
    """The camera itself."""

    def __init__(self, camera: Camera, *, monotonic_s: Callable[[], float], minds: bool = True) -> None:
        self._talk = wire.Talk(camera, minds=minds)
        self._monotonic_s = monotonic_s

    @property
    def up(self) -> bool:
        """Proved."""
        return self._talk.up

    async def hear(self, raw: bytes) -> None:
        """Message 1 or 3."""
        self._talk.hear(raw, now_s=self._monotonic_s())

    async def answer(self) -> bytes:
        """Message 2 or 4."""
        return self._talk.answer

    async def state(self) -> bytes:
        """Sealed."""
        return self._talk.state()

    async def switch(self, raw: bytes) -> None:
        """Obeyed."""
        self._talk.switch(raw)


class Peripheral:
    """One camera on one radio; a ``Face``."""

    def __init__(
        self,
        camera: Camera,
        *,
        hci: str,
        monotonic_s: Callable[[], float],
        passkey: int | None = None,
        mtu: int = 517,
        advert_ms: float = 100,
        show: Callable[[str], None] = lambda _text: None,
        converse: Callable[[], Conversation] | None = None,
    ) -> None:
        self.address = ""
        self.ready = asyncio.Event()
        """It advertises."""
        self.records: list[tuple[str, bytes]] = []
        """What went over its links, in order, for whoever plays it again; the last thousand."""
        self._camera = camera
        self._hci = hci
        self._monotonic_s = monotonic_s
        self._passkey = passkey
        self._mtu = mtu
        self._advert_ms = advert_ms
        self._show = show
        self._converse = converse or (lambda: Own(camera, monotonic_s=monotonic_s))
        self._talks: dict[int, tuple[Connection, Conversation]] = {}
        self.changed = asyncio.Event()
        """Something is to be told."""
        self._irk = secrets.token_bytes(16)
        self._ending: set[asyncio.Task[None]] = set()
        self._advertised = b""
        camera.heard_by(self.changed.set)

    async def run(self) -> None:
        """Advertise and answer until cancelled."""
        async with await open_transport(self._hci) as transport:
            about = DeviceConfiguration(name=_NAME, address=Address.generate_static_address(), irk=self._irk)
            device = Device.from_config_with_hci(about, transport.source, transport.sink)
            device.gatt_server.max_mtu = self._mtu
            device.pairing_config_factory = lambda _connection: self._pairing()
            state = self._serve(device)
            device.on(Device.EVENT_CONNECTION, self._connected)
            await device.power_on()
            await self._advertise(device)
            self.ready.set()
            try:
                await self._keep(device, state)
            finally:
                with contextlib.suppress(Exception):  # the radio may be what went
                    await device.power_off()

    async def _advertise(self, device: Device) -> None:
        """With a new address and today's id."""
        self._advertised = wire.rotating_id(self._camera)
        device.random_address = Address.generate_private_address(self._irk)
        await device.send_sync_command(HCI_LE_Set_Random_Address_Command(random_address=device.random_address))
        self.address = device.random_address.to_string(with_type_qualifier=False)
        uuid = wire.SERVICE.bytes[::-1]
        types = AdvertisingData.Type
        await device.start_advertising(
            auto_restart=True,
            advertising_data=bytes(
                AdvertisingData(
                    [(types.FLAGS, b"\x06"), (types.SERVICE_DATA_128_BIT_UUID, uuid + self._advertised)],
                )
            ),
            scan_response_data=bytes(
                AdvertisingData([(types.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS, uuid)]),
            ),
            advertising_interval_min=self._advert_ms,
            advertising_interval_max=self._advert_ms,
        )

    async def _keep(self, device: Device, state: Characteristic[bytes]) -> None:
        """Notify at every change and every beat; advertise anew when the id is another."""
        told_s = self._monotonic_s()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await self.changed.wait()
            changed = self.changed.is_set()
            self.changed.clear()
            if not self._talks and wire.rotating_id(self._camera) != self._advertised:
                await device.stop_advertising()
                await self._advertise(device)
            if changed or self._monotonic_s() - told_s >= wire.BEAT_S:
                told_s = self._monotonic_s()
                for connection, talk in list(self._talks.values()):
                    if talk.up:
                        await device.notify_subscriber(connection, state, self._record("state", await talk.state()))

    def _serve(self, device: Device) -> Characteristic[bytes]:
        may, is_ = Characteristic.Properties, Characteristic.Permissions
        read, write = is_.READABLE, is_.WRITEABLE
        if self._passkey is not None:
            read |= is_.READ_REQUIRES_AUTHENTICATION
            write |= is_.WRITE_REQUIRES_AUTHENTICATION
        state = Characteristic[bytes](
            UUID(str(wire.STATE)), may.READ | may.NOTIFY, read, CharacteristicValue(read=self._read_state)
        )
        switch = Characteristic[bytes](
            UUID(str(wire.SWITCH)), may.WRITE, write, CharacteristicValue(write=self._write_switch)
        )
        proof = Characteristic[bytes](
            UUID(str(wire.PROOF)),
            may.READ | may.WRITE,
            read | write,
            CharacteristicValue(read=self._read_proof, write=self._write_proof),
        )
        about = [
            Characteristic[bytes](UUID(number, "Information"), may.READ, is_.READABLE, text.encode())
            for number, text in (("2A24", self._camera.model), ("2A26", self._camera.firmware))
        ]
        device.add_services([Service(UUID(str(wire.SERVICE)), [state, switch, proof]), Service(UUID("180A"), about)])
        return state

    def _connected(self, connection: Connection) -> None:
        if len(self._talks) >= CONNECTIONS_MAX:
            self._end(connection)
            return
        self._talks[connection.handle] = (connection, self._converse())
        connection.on(Connection.EVENT_DISCONNECTION, lambda _reason: self._talks.pop(connection.handle, None))

    async def _read_state(self, connection: Connection) -> bytes:
        return self._record("state", await self._talking(connection, lambda talk: talk.state(), ends=False))

    async def _read_proof(self, connection: Connection) -> bytes:
        return self._record("answer", await self._talking(connection, lambda talk: talk.answer()))

    async def _write_proof(self, connection: Connection, value: bytes) -> None:
        self._record("proof", value)
        await self._talking(connection, lambda talk: talk.hear(value))

    async def _write_switch(self, connection: Connection, value: bytes) -> None:
        self._record("switch", value)
        await self._talking(connection, lambda talk: talk.switch(value))

    def _record(self, what: str, value: bytes) -> bytes:
        self.records.append((what, bytes(value)))
        del self.records[:-1000]
        return value

    async def _talking(
        self, connection: Connection, act: Callable[[Conversation], Awaitable[T]], *, ends: bool = True
    ) -> T:
        """Do it; a refusal is one ATT error, and the end of the link."""
        try:
            return await act(self._talks[connection.handle][1])
        except (wire.WireError, KeyError) as error:
            _log.info("Bluetooth: refused: %s", error)
            if ends:
                self._end(connection)
            raise ATT_Error(ErrorCode(wire.REFUSED)) from None

    def _end(self, connection: Connection) -> None:
        """After the answer is on its way."""
        task = asyncio.get_running_loop().create_task(self._disconnect(connection), name="refused link")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _disconnect(self, connection: Connection) -> None:
        await asyncio.sleep(0.05)
        with contextlib.suppress(Exception):  # it may have gone by itself
            await connection.disconnect()

    def _pairing(self) -> PairingConfig:
        delegate = _Label(self._passkey, self._show)
        return PairingConfig(sc=True, mitm=self._passkey is not None, bonding=True, delegate=delegate)


class _Label(PairingDelegate):
    """Shows a passkey, as a display or a printed label would; without one nobody pairs."""

    def __init__(self, passkey: int | None, show: Callable[[str], None]) -> None:
        can = PairingDelegate.IoCapability
        super().__init__(can.NO_OUTPUT_NO_INPUT if passkey is None else can.DISPLAY_OUTPUT_ONLY)
        self._passkey, self._show = passkey, show

    async def accept(self) -> bool:
        return self._passkey is not None

    async def generate_passkey(self) -> int:
        return self._passkey or 0

    async def display_number(self, number: int, digits: int) -> None:
        self._show(f"{number:0{digits}}")
