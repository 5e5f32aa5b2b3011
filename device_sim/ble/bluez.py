"""The double of ``org.bluez``: what unmodified bleak speaks with, and bumble's real ATT and SMP behind it.

It answers what bluetoothd answers, as messages: dbus-fast's ``ServiceInterface`` would emit what BlueZ does not, and
cannot leave a property out. Kinder than BlueZ in one thing, unless ``raises-security`` is on: a request that needs
pairing fails, where bluetoothd would pair by itself and try again.

Rules: bursts are paced (``BURST``); what is not asked for by a client is not sent; a client that leaves the bus takes
its discovery with it.
"""

import asyncio
import contextlib
import functools
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from bumble.att import ATT_Error, ErrorCode
from bumble.core import UUID, AdvertisingData, BaseBumbleError
from bumble.device import Advertisement, Connection, Device, Peer
from bumble.gatt_client import CharacteristicProxy
from bumble.hci import Address
from bumble.host import Host
from bumble.pairing import PairingConfig, PairingDelegate
from dbus_fast import Message, MessageFlag, MessageType, Variant
from dbus_fast.aio import MessageBus

from device_sim.ble import wire

NAME: Final = "org.bluez"
ADAPTER: Final = "org.bluez.Adapter1"
DEVICE: Final = "org.bluez.Device1"
SERVICE: Final = "org.bluez.GattService1"
CHARACTERISTIC: Final = "org.bluez.GattCharacteristic1"
PATH: Final = "/org/bluez/hci0"
TEMPORARY_S: Final = 30.0  # main.conf, TemporaryTimeout
BURST: Final = (20, 0.005)
"""So many signals, then so many seconds' rest: a burst without one ended with a closed connection."""
CONNECT_S: Final = 5.0

_DBUS: Final = "org.freedesktop.DBus"
_PROPERTIES: Final = f"{_DBUS}.Properties"
_MANAGER: Final = "org.bluez.AgentManager1"
_RSSI_STEP: Final = 8
_INFORMATION: Final = frozenset(UUID.from_16_bits(number) for number in (0x2A24, 0x2A26, 0x2A29))

Properties = dict[str, Variant]


class _ReplyError(Exception):
    """A D-Bus error to answer with."""

    def __init__(self, name: str, text: str = "") -> None:
        super().__init__(text)
        self.name = name if "." in name else f"{NAME}.Error.{name}"
        self.text = text


class _SilenceError(Exception):
    """No answer at all."""


@dataclass
class _Near:
    """One device that was heard."""

    address: Address
    heard_s: float
    connection: Connection | None = None
    peer: Peer | None = None
    characteristics: dict[str, CharacteristicProxy[bytes]] = field(default_factory=dict)
    notifying: set[str] = field(default_factory=set)


class Double:
    """bluetoothd on one bus, with one adapter."""

    def __init__(
        self, address: str, host: Host, *, monotonic_s: Callable[[], float], temporary_s: float = TEMPORARY_S
    ) -> None:
        self.faults: set[str] = set()
        self.ready = asyncio.Event()
        self._bus_address = address
        self._monotonic_s = monotonic_s
        self._temporary_s = temporary_s
        self._bus: MessageBus | None = None
        self._objects: dict[str, dict[str, Properties]] = {}
        self._near: dict[str, _Near] = {}
        self._discovering: set[str] = set()
        self._agent: tuple[str, str, str] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._dice = random.Random("bluez")
        self._central = Device("Central", Address.generate_static_address(), host=host)
        self._central.pairing_config_factory = lambda connection: PairingConfig(
            sc=True, mitm=True, bonding=True, delegate=_Asking(self, connection)
        )
        self._central.on(Device.EVENT_ADVERTISEMENT, self._advertised)

    async def run(self) -> None:
        """Serve until cancelled."""
        await self._central.power_on()
        await self._central.start_scanning(filter_duplicates=False)
        await self.start()
        self.ready.set()
        try:
            while True:
                await asyncio.sleep(min(self._temporary_s / 3, 1.0))
                await self._prune()
        finally:
            await self.die()

    @property
    def devices(self) -> int:
        """How many it knows now."""
        return len(self._near)

    # --- what is done to it

    async def start(self) -> None:
        """Come up as a new daemon that knows no device."""
        bus = MessageBus(bus_address=self._bus_address)
        await bus.connect()
        bus.add_message_handler(self._take)
        for rule in (f"type='signal',sender='{_DBUS}',member='NameOwnerChanged',arg2=''",):
            await bus.call(
                Message(
                    destination=_DBUS,
                    path="/org/freedesktop/DBus",
                    interface=_DBUS,
                    member="AddMatch",
                    signature="s",
                    body=[rule],
                )
            )
        self._objects = {"/org/bluez": {"org.bluez.AgentManager1": {}}, PATH: {ADAPTER: _adapter(powered=True)}}
        await bus.request_name(NAME)
        self._bus = bus

    async def die(self) -> None:
        """Be gone from one moment to the next: nothing is removed, nothing said."""
        bus, self._bus = self._bus, None
        if bus is not None:
            bus.disconnect()
        self._discovering.clear()
        self._agent = None
        await self.cut()
        self._near.clear()

    async def pull(self) -> None:
        """Take the adapter out."""
        await self.cut()
        await self.forget()
        self._discovering.clear()
        self._remove(PATH)

    async def plug(self) -> None:
        """Put it in again."""
        self._add(PATH, {ADAPTER: _adapter(powered=True)})

    async def power(self, *, on: bool) -> None:
        """Switch the adapter."""
        if not on:
            await self.cut()
            self._discovering.clear()
        self._change(PATH, ADAPTER, {"Powered": _flag(on=on), "Discovering": _flag(on=False)})

    async def cut(self) -> None:
        """Lose every link."""
        for near in list(self._near.values()):
            if near.connection is not None:
                with contextlib.suppress(BaseBumbleError, asyncio.CancelledError):
                    await near.connection.disconnect()

    async def forget(self) -> None:
        """Remove every device, paced."""
        for number, path in enumerate([path for path in self._objects if path.startswith(f"{PATH}/dev_")]):
            if "/service" not in path:
                self._forget(path)
                await self._rest(number)

    async def flood(self, count: int, *, cameras: bool) -> None:
        """Hear so many devices with addresses of their own; as ``cameras`` each advertises the privacy state."""
        for number in range(count):
            address = ":".join(f"{self._dice.randrange(256):02X}" for _ in range(6))
            heard = {"RSSI": Variant("n", -40 - self._dice.randrange(50))}
            if cameras:
                heard["ServiceData"] = Variant("a{sv}", {str(wire.SERVICE): Variant("ay", self._dice.randbytes(8))})
            else:
                heard["ManufacturerData"] = Variant("a{qv}", {0x004C: Variant("ay", self._dice.randbytes(20))})
            self._hear(Address(address), heard)
            await self._rest(number)

    async def _rest(self, number: int) -> None:
        if number % BURST[0] == BURST[0] - 1:
            await asyncio.sleep(BURST[1])

    # --- what is heard

    def _advertised(self, advertisement: Advertisement) -> None:
        types = AdvertisingData.Type
        data = advertisement.data
        heard: Properties = {}
        uuids = [
            uuid.to_hex_str("-").lower()
            for kind in (
                types.COMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS,
                types.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS,
            )
            for found in data.get_all(kind)
            for uuid in found
        ]
        service_data = {
            _long(uuid.to_hex_str("-")): Variant("ay", bytes(value))
            for kind in (types.SERVICE_DATA_16_BIT_UUID, types.SERVICE_DATA_128_BIT_UUID)
            for uuid, value in data.get_all(kind)
        }
        if uuids:
            heard["UUIDs"] = Variant("as", [_long(uuid) for uuid in uuids])
        if service_data:
            heard["ServiceData"] = Variant("a{sv}", service_data)
        if name := data.get(types.COMPLETE_LOCAL_NAME):
            heard["Name"] = Variant("s", str(name))
        heard["RSSI"] = Variant("n", advertisement.rssi)
        self._hear(advertisement.address, heard)

    def _hear(self, address: Address, heard: Properties) -> None:
        """Make or change a device, if anybody scans."""
        if not self._discovering or "mute" in self.faults or PATH not in self._objects:
            return
        text = address.to_string(with_type_qualifier=False)
        path = f"{PATH}/dev_{text.replace(':', '_')}"
        near = self._near.get(path)
        if near is None or path not in self._objects:
            self._near[path] = _Near(address, self._monotonic_s())
            self._add(path, {DEVICE: _device(text, public=address.is_public) | heard})
            return
        near.heard_s = self._monotonic_s()
        known = self._objects[path][DEVICE]
        changed = {
            name: value
            for name, value in heard.items()
            if name not in known
            or (name != "RSSI" and known[name].value != value.value)
            or (name == "RSSI" and abs(known[name].value - value.value) >= _RSSI_STEP)
        }
        if changed:
            self._change(path, DEVICE, changed)

    async def _prune(self) -> None:
        now_s = self._monotonic_s()
        old = [p for p, near in self._near.items() if not near.connection and now_s - near.heard_s > self._temporary_s]
        for number, path in enumerate(old):
            self._forget(path)
            await self._rest(number)

    def _forget(self, path: str) -> None:
        self._near.pop(path, None)
        self._remove(path)

    # --- objects and their signals

    def _add(self, path: str, interfaces: dict[str, Properties]) -> None:
        self._objects[path] = interfaces
        self._signal("/", f"{_DBUS}.ObjectManager", "InterfacesAdded", "oa{sa{sv}}", path, interfaces)

    def _remove(self, path: str) -> None:
        interfaces = self._objects.pop(path, None)
        if interfaces is not None:
            self._signal("/", f"{_DBUS}.ObjectManager", "InterfacesRemoved", "oas", path, list(interfaces))

    def _change(self, path: str, interface: str, changed: Properties, gone: Iterable[str] = ()) -> None:
        if path not in self._objects or interface not in self._objects[path]:
            return
        known = self._objects[path][interface]
        known |= changed
        for name in gone:
            known.pop(name, None)
        self._signal(path, f"{_DBUS}.Properties", "PropertiesChanged", "sa{sv}as", interface, changed, list(gone))

    def _signal(self, path: str, interface: str, member: str, signature: str, *body: object) -> None:
        if self._bus is not None and self._bus.connected:
            self._bus.send(
                Message(
                    message_type=MessageType.SIGNAL,
                    path=path,
                    interface=interface,
                    member=member,
                    signature=signature,
                    body=list(body),
                )
            )

    # --- what is asked

    def _take(self, message: Message) -> bool:
        if message.message_type is MessageType.SIGNAL:
            if message.member == "NameOwnerChanged":
                self._left(message.body[0])
            return False
        if message.message_type is not MessageType.METHOD_CALL:
            return False
        task = asyncio.get_running_loop().create_task(self._answer(message), name=f"bluez {message.member}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    def _left(self, client: str) -> None:
        if client in self._discovering:
            self._stop(client)
        if self._agent is not None and self._agent[0] == client:
            self._agent = None

    async def _answer(self, message: Message) -> None:
        bus = self._bus
        try:
            signature, body = await self._do(message)
            reply = Message.new_method_return(message, signature, body)
        except _SilenceError:
            return
        except _ReplyError as error:
            reply = Message.new_error(message, error.name, error.text)
        if bus is not None and bus.connected and not message.flags & MessageFlag.NO_REPLY_EXPECTED:
            bus.send(reply)

    async def _do(self, message: Message) -> tuple[str, list[Any]]:
        path, member = str(message.path), str(message.member)
        if member == "GetManagedObjects":
            return "a{oa{sa{sv}}}", [self._objects]
        if member == "Introspect":
            return "s", [self._introspected(path)]
        if path not in self._objects:
            raise _ReplyError(f"{_DBUS}.Error.UnknownObject", f"no object at {path}")
        act = self._METHODS.get((str(message.interface), member))
        if act is None:
            raise _ReplyError(f"{_DBUS}.Error.UnknownMethod", member)
        answer = await act(self, path, message)
        return answer if answer is not None else ("", [])

    def _introspected(self, path: str) -> str:
        below = path.rstrip("/") + "/"
        names = {one[len(below) :].split("/")[0] for one in self._objects if one.startswith(below)}
        return f"<node>{''.join(f'<node name={chr(34)}{name}{chr(34)}/>' for name in sorted(names))}</node>"

    async def _get(self, path: str, message: Message) -> tuple[str, list[Any]]:
        return "v", [self._objects[path][message.body[0]][message.body[1]]]

    async def _get_all(self, path: str, message: Message) -> tuple[str, list[Any]]:
        return "a{sv}", [self._objects[path][message.body[0]]]

    async def _set(self, path: str, message: Message) -> None:
        interface, name, value = message.body
        self._change(path, interface, {name: value})

    async def _nothing(self, path: str, message: Message) -> None:
        del path, message

    async def _start_discovery(self, path: str, message: Message) -> None:
        if "start-wedged" in self.faults:
            raise _SilenceError
        if "start-busy" in self.faults or message.sender in self._discovering:
            raise _ReplyError("InProgress", "Operation already in progress")
        if not self._objects[path][ADAPTER]["Powered"].value:
            raise _ReplyError("NotReady", "Resource Not Ready")
        self._discovering.add(str(message.sender))
        self._change(PATH, ADAPTER, {"Discovering": _flag(on=True)})

    async def _stop_discovery(self, path: str, message: Message) -> None:
        del path
        if message.sender not in self._discovering:
            raise _ReplyError("Failed", "No discovery started")
        self._stop(str(message.sender))

    def _stop(self, client: str) -> None:
        self._discovering.discard(client)
        if not self._discovering:
            self._change(PATH, ADAPTER, {"Discovering": _flag(on=False)})
            for device in [one for one, has in self._objects.items() if "RSSI" in has.get(DEVICE, {})]:
                self._change(device, DEVICE, {}, gone=["RSSI"])

    async def _remove_device(self, path: str, message: Message) -> None:
        del path
        if message.body[0] not in self._objects:
            raise _ReplyError("DoesNotExist", "Does Not Exist")
        await self._disconnect(message.body[0], message)
        self._forget(message.body[0])

    async def _register_agent(self, path: str, message: Message) -> None:
        del path
        if self._agent is not None:
            raise _ReplyError("AlreadyExists", "Already Exists")
        self._agent = (str(message.sender), message.body[0], message.body[1] or "KeyboardDisplay")

    async def _unregister_agent(self, path: str, message: Message) -> None:
        del path
        if self._agent is None or self._agent[:2] != (message.sender, message.body[0]):
            raise _ReplyError("DoesNotExist", "Does Not Exist")
        self._agent = None

    # --- links

    async def _connect(self, path: str, message: Message) -> None:
        del message
        if "connect-wedged" in self.faults:
            raise _SilenceError
        if "connect-fails" in self.faults:
            raise _ReplyError("Failed", "br-connection-canceled")
        await self._link(path)

    async def _link(self, path: str) -> _Near:
        near = self._near[path]
        if near.connection is not None:
            return near
        try:
            connection = await self._central.connect_le(near.address, timeout=CONNECT_S)
        except (BaseBumbleError, TimeoutError, asyncio.CancelledError) as error:
            _if_cancelled(error)
            raise _ReplyError("Failed", "le-connection-abort-by-local") from None
        near.connection, near.peer = connection, Peer(connection)
        connection.on(Connection.EVENT_DISCONNECTION, lambda _reason: self._lost(path))
        self._change(path, DEVICE, {"Connected": _flag(on=True)})
        if self._objects[path][DEVICE]["Paired"].value:
            await self._encrypt(connection)
        if "services-unresolved" not in self.faults:
            await self._resolve(path, near)
        return near

    async def _encrypt(self, connection: Connection) -> None:
        """Use the bond, as BlueZ does by itself."""
        try:
            await connection.encrypt()
        except (BaseBumbleError, asyncio.CancelledError) as error:
            _if_cancelled(error)

    async def _resolve(self, path: str, near: _Near) -> None:
        peer = near.peer
        assert peer is not None  # noqa: S101 - just connected
        try:
            await peer.request_mtu(517)
            await peer.discover_services()
            for service in peer.services:
                await service.discover_characteristics()
        except (BaseBumbleError, TimeoutError, asyncio.CancelledError) as error:
            _if_cancelled(error)
            return
        for service in peer.services:
            at = f"{path}/service{service.handle:04x}"
            uuid = _long(service.uuid.to_hex_str("-"))
            self._add(
                at,
                {SERVICE: {"UUID": Variant("s", uuid), "Device": Variant("o", path), "Primary": _flag(on=True)}},
            )
            for characteristic in service.characteristics:
                self._offer(f"{at}/char{characteristic.handle:04x}", at, near, characteristic)
                if "offers-twice" in self.faults:
                    self._offer(f"{at}/char{characteristic.handle + 0x4000:04x}", at, near, characteristic)
        self._change(path, DEVICE, {"ServicesResolved": _flag(on=True)})

    def _offer(self, path: str, service: str, near: _Near, characteristic: CharacteristicProxy[bytes]) -> None:
        near.characteristics[path] = characteristic
        flags = [
            flag
            for flag, bit in (("read", 0x02), ("write-without-response", 0x04), ("write", 0x08), ("notify", 0x10))
            if characteristic.properties & bit
        ]
        mtu = near.peer.gatt_client.mtu if near.peer is not None else 23
        self._add(
            path,
            {
                CHARACTERISTIC: {
                    "UUID": Variant("s", _long(characteristic.uuid.to_hex_str("-"))),
                    "Service": Variant("o", service),
                    "Flags": Variant("as", flags),
                    "Notifying": _flag(on=False),
                    "MTU": Variant("q", mtu),
                }
            },
        )

    def _lost(self, path: str) -> None:
        near = self._near.get(path)
        if near is None:
            return
        near.connection = near.peer = None
        near.characteristics.clear()
        near.notifying.clear()
        near.heard_s = self._monotonic_s()
        for one in [one for one in self._objects if one.startswith(f"{path}/")]:
            self._remove(one)
        self._change(path, DEVICE, {"ServicesResolved": _flag(on=False), "Connected": _flag(on=False)})

    async def _disconnect(self, path: str, message: Message) -> None:
        del message
        near = self._near.get(path)
        if near is not None and near.connection is not None:
            with contextlib.suppress(BaseBumbleError):
                await near.connection.disconnect()

    async def _pair(self, path: str, message: Message) -> None:
        del message
        if self._objects[path][DEVICE]["Paired"].value:
            raise _ReplyError("AlreadyExists", "Already Exists")
        near = await self._link(path)
        await self._secure(path, near)

    async def _secure(self, path: str, near: _Near) -> None:
        """Real SMP; who holds the passkey is asked over D-Bus."""
        if self._agent is None:
            raise _ReplyError("AuthenticationFailed", "Authentication Failed")
        assert near.connection is not None  # noqa: S101 - just linked
        try:
            await near.connection.pair()
        except (BaseBumbleError, asyncio.CancelledError) as error:
            _if_cancelled(error)
            with contextlib.suppress(BaseBumbleError, asyncio.CancelledError):
                await near.connection.disconnect()  # bumble hangs in a second attempt on the same link
            raise _ReplyError("AuthenticationFailed", "Authentication Failed") from None
        self._change(path, DEVICE, {"Paired": _flag(on=True), "Bonded": _flag(on=True)})

    async def passkey(self, connection: Connection) -> int | None:
        """Ask the registered agent."""
        if self._agent is None or self._bus is None:
            return None
        path = next((path for path, near in self._near.items() if near.connection is connection), "/")
        client, at, _ = self._agent
        reply = await self._bus.call(
            Message(
                destination=client,
                path=at,
                interface="org.bluez.Agent1",
                member="RequestPasskey",
                signature="o",
                body=[path],
            )
        )
        return None if reply.message_type is MessageType.ERROR else int(reply.body[0])

    @property
    def has_keyboard(self) -> bool:
        """Whether the registered agent can be asked for a number."""
        return self._agent is not None and self._agent[2].startswith("Keyboard")

    # --- characteristics

    def _characteristic(self, path: str) -> tuple[str, _Near, CharacteristicProxy[bytes]]:
        device = path.rsplit("/", 2)[0]
        near = self._near.get(device)
        if near is None or path not in near.characteristics:
            raise _ReplyError("Failed", "Not connected")
        return device, near, near.characteristics[path]

    async def _request(self, path: str, act: Callable[[], Awaitable[Any]]) -> Any:  # noqa: ANN401 - what a read gives
        """Do one ATT request, in BlueZ's words when it fails."""
        device, near, _ = self._characteristic(path)
        try:
            return await act()
        except ATT_Error as error:
            if error.error_code in _NEEDS_PAIRING and "raises-security" in self.faults:
                await self._secure(device, near)
                return await self._request(path, act)
            raise _ReplyError(*_att_error(error.error_code)) from None
        except (BaseBumbleError, TimeoutError, asyncio.CancelledError) as error:
            _if_cancelled(error)
            raise _ReplyError("Failed", "Not connected") from None

    async def _read(self, path: str, message: Message) -> tuple[str, list[Any]]:
        del message
        _, near, characteristic = self._characteristic(path)
        if "read-busy" in self.faults:
            raise _ReplyError("InProgress", "Operation already in progress")
        if "information-locked" in self.faults and characteristic.uuid in _INFORMATION:
            raise _ReplyError("NotPermitted", "Not paired")
        if self.faults & {"read-hangs", "read-cut"}:
            reading = asyncio.ensure_future(self._request(path, characteristic.read_value))
            if near.connection is not None:
                await near.connection.disconnect()
            with contextlib.suppress(_ReplyError):
                await reading
            if "read-hangs" in self.faults:
                raise _SilenceError
            raise _ReplyError("Failed", "Not connected")
        value = bytes(await self._request(path, characteristic.read_value))
        if path in near.notifying:  # BlueZ tells a read to those who are notified, too
            self._change(path, CHARACTERISTIC, {"Value": Variant("ay", value)})
        return "ay", [value]

    async def _write(self, path: str, message: Message) -> None:
        _, _, characteristic = self._characteristic(path)
        value = bytes(message.body[0])
        await self._request(path, functools.partial(characteristic.write_value, value, with_response=True))

    async def _start_notify(self, path: str, message: Message) -> None:
        del message
        _, near, characteristic = self._characteristic(path)

        def notified(value: bytes) -> None:
            self._change(path, CHARACTERISTIC, {"Value": Variant("ay", bytes(value))})

        await self._request(path, functools.partial(characteristic.subscribe, notified))
        near.notifying.add(path)
        self._change(path, CHARACTERISTIC, {"Notifying": _flag(on=True)})

    async def _stop_notify(self, path: str, message: Message) -> None:
        del message
        _, near, characteristic = self._characteristic(path)
        near.notifying.discard(path)
        await self._request(path, characteristic.unsubscribe)
        self._change(path, CHARACTERISTIC, {"Notifying": _flag(on=False)})

    _METHODS: ClassVar[
        Mapping[tuple[str, str], Callable[["Double", str, Message], Awaitable[tuple[str, list[Any]] | None]]]
    ] = {
        (_PROPERTIES, "Get"): _get,
        (_PROPERTIES, "GetAll"): _get_all,
        (_PROPERTIES, "Set"): _set,
        (ADAPTER, "SetDiscoveryFilter"): _nothing,
        (ADAPTER, "StartDiscovery"): _start_discovery,
        (ADAPTER, "StopDiscovery"): _stop_discovery,
        (ADAPTER, "RemoveDevice"): _remove_device,
        (_MANAGER, "RegisterAgent"): _register_agent,
        (_MANAGER, "UnregisterAgent"): _unregister_agent,
        (_MANAGER, "RequestDefaultAgent"): _nothing,
        (DEVICE, "Connect"): _connect,
        (DEVICE, "Disconnect"): _disconnect,
        (DEVICE, "Pair"): _pair,
        (DEVICE, "CancelPairing"): _nothing,
        (CHARACTERISTIC, "ReadValue"): _read,
        (CHARACTERISTIC, "WriteValue"): _write,
        (CHARACTERISTIC, "StartNotify"): _start_notify,
        (CHARACTERISTIC, "StopNotify"): _stop_notify,
    }


class _Asking(PairingDelegate):
    """The central's side of SMP: types in what the D-Bus agent says."""

    def __init__(self, double: Double, connection: Connection) -> None:
        can, keys = PairingDelegate.IoCapability, PairingDelegate.KeyDistribution.DISTRIBUTE_ENCRYPTION_KEY
        # Without identities the bond is kept under the address that was connected to, and lasts as long as that does.
        super().__init__(can.KEYBOARD_INPUT_ONLY if double.has_keyboard else can.NO_OUTPUT_NO_INPUT, keys, keys)
        self._double, self._connection = double, connection

    async def get_number(self) -> int | None:
        return await self._double.passkey(self._connection)


_NEEDS_PAIRING: Final = {
    ErrorCode.INSUFFICIENT_AUTHENTICATION,
    ErrorCode.INSUFFICIENT_ENCRYPTION,
    ErrorCode.INSUFFICIENT_ENCRYPTION_KEY_SIZE,
}


def _att_error(code: int) -> tuple[str, str]:
    """BlueZ's ``create_gatt_dbus_error`` (src/gatt-client.c)."""
    if code in _NEEDS_PAIRING:
        return "NotPermitted", "Not paired"
    if code == ErrorCode.READ_NOT_PERMITTED:
        return "NotPermitted", "Read not permitted"
    if code == ErrorCode.WRITE_NOT_PERMITTED:
        return "NotPermitted", "Write not permitted"
    if code == ErrorCode.INVALID_ATTRIBUTE_LENGTH:
        return "InvalidValueLength", "Invalid Length"
    return "Failed", f"Operation failed with ATT error: 0x{int(code):02x}"


def _if_cancelled(error: BaseException) -> None:
    """Go on being cancelled; bumble also says ``CancelledError`` for a link that was cut in mid request."""
    task = asyncio.current_task()
    if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
        raise error


def _adapter(*, powered: bool) -> Properties:
    return {
        "Address": Variant("s", "02:00:00:00:00:01"),
        "AddressType": Variant("s", "public"),
        "Name": Variant("s", "hci0"),
        "Alias": Variant("s", "hci0"),
        "Powered": _flag(on=powered),
        "Discovering": _flag(on=False),
        "Roles": Variant("as", ["central", "peripheral"]),
        "UUIDs": Variant("as", []),
    }


def _device(address: str, *, public: bool) -> Properties:
    return {
        "Address": Variant("s", address),
        "AddressType": Variant("s", "public" if public else "random"),
        "Alias": Variant("s", address.replace(":", "-")),
        "Adapter": Variant("o", PATH),
        "Connected": _flag(on=False),
        "Paired": _flag(on=False),
        "Bonded": _flag(on=False),
        "Trusted": _flag(on=False),
        "Blocked": _flag(on=False),
        "ServicesResolved": _flag(on=False),
        "UUIDs": Variant("as", []),
    }


def _long(uuid: str) -> str:
    """Return the 128-bit form, in small letters."""
    return uuid.lower() if "-" in uuid else f"0000{uuid.lower()}-0000-1000-8000-00805f9b34fb"


def _flag(*, on: bool) -> Variant:
    return Variant("b", on)
