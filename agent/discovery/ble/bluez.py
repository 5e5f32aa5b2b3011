"""The agent's own line to BlueZ over the system bus, for what bleak does not tell.

bleak sees neither that bluetoothd died (it goes on saying "connected") nor that an adapter was pulled or switched off
while it scans. This connection hears both: who owns ``org.bluez``, and the adapters' own signals.

Rules: every call has a deadline; device objects are never listed here, there may be twenty thousand.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
from dbus_fast import BusType, Message, MessageType, unpack_variants
from dbus_fast.aio import MessageBus
from dbus_fast.errors import DBusFastError

from agent.errors import LinkError

SERVICE: Final = "org.bluez"
ROOT: Final = "/org/bluez"
ADAPTER: Final = "org.bluez.Adapter1"

_DBUS: Final = "org.freedesktop.DBus"
_PROPERTIES: Final = "org.freedesktop.DBus.Properties"
_OBJECTS: Final = "org.freedesktop.DBus.ObjectManager"
_CHILD: Final = re.compile(r'<node name="(hci[0-9]{1,3})"')

ADAPTERS_MAX: Final = 16


class Adapter(msgspec.Struct, frozen=True):
    """One Bluetooth adapter that can look for devices."""

    name: str
    powered: bool


class Bluez:
    """A connection to the system bus; ``changed`` is set when the daemon or an adapter came, went or was switched."""

    def __init__(self, bus: MessageBus, *, deadline_s: float) -> None:
        self.bus = bus
        self.changed = asyncio.Event()
        self.lost_daemon = False
        """bluetoothd went away since this was last set to false; whatever bleak remembers of it is stale."""
        self._deadline_s = deadline_s

    async def call(self, path: str, interface: str, member: str, signature: str = "", *body: object) -> list[Any]:
        """Call bluetoothd; raises ``LinkError`` for every error and for silence."""
        return await self._call(SERVICE, path, interface, member, signature, *body)

    async def has_daemon(self) -> bool:
        """Tell whether anybody answers as ``org.bluez``."""
        (owned,) = await self._call(_DBUS, "/org/freedesktop/DBus", _DBUS, "NameHasOwner", "s", SERVICE)
        return bool(owned)

    async def adapters(self) -> list[Adapter]:
        """Return the adapters that can look for devices, by name."""
        (xml,) = await self.call(ROOT, "org.freedesktop.DBus.Introspectable", "Introspect")
        found: list[Adapter] = []
        for name in sorted(_CHILD.findall(xml))[:ADAPTERS_MAX]:
            (raw,) = await self.call(f"{ROOT}/{name}", _PROPERTIES, "GetAll", "s", ADAPTER)
            properties = unpack_variants(raw)
            if "central" in properties.get("Roles", ()):
                found.append(Adapter(name, bool(properties.get("Powered"))))
        return found

    async def watch(self) -> None:
        """Ask the bus for the signals that set ``changed``."""
        rules = [
            f"type='signal',sender='{_DBUS}',interface='{_DBUS}',member='NameOwnerChanged',arg0='{SERVICE}'",
            f"type='signal',interface='{_PROPERTIES}',member='PropertiesChanged',arg0='{ADAPTER}'",
        ]
        for member in ("InterfacesAdded", "InterfacesRemoved"):
            # An exact path, so that no device's signals come this way; hci0 to hci3 are waited for, others looked for.
            rules += [
                f"type='signal',interface='{_OBJECTS}',member='{member}',arg0path='{ROOT}/hci{number}'"
                for number in range(4)
            ]
        for rule in rules:
            await self._call(_DBUS, "/org/freedesktop/DBus", _DBUS, "AddMatch", "s", rule)

    def hear(self, message: Message) -> None:
        """Take one message of the bus."""
        if message.message_type is not MessageType.SIGNAL:
            return
        if message.member == "NameOwnerChanged" and message.sender == _DBUS:
            name, before, _ = message.body
            if name == SERVICE:
                self.lost_daemon |= bool(before)
                self.changed.set()
        elif message.member == "PropertiesChanged" and message.body[0] == ADAPTER:
            if "Powered" in message.body[1]:
                self.changed.set()
        elif message.member in {"InterfacesAdded", "InterfacesRemoved"} and ADAPTER in message.body[1]:
            self.changed.set()

    async def _call(
        self, destination: str, path: str, interface: str, member: str, signature: str = "", *body: object
    ) -> list[Any]:
        message = Message(
            destination=destination,
            path=path,
            interface=interface,
            member=member,
            signature=signature,
            body=list(body),
        )
        try:
            async with asyncio.timeout(self._deadline_s):
                reply = await self.bus.call(message)
        except TimeoutError as error:
            raise LinkError(f"{destination} did not answer {member}") from error
        except (DBusFastError, OSError, EOFError) as error:
            raise LinkError(f"the system bus is gone: {error}") from error
        if reply.message_type is MessageType.ERROR:
            raise LinkError(f"{destination} answered {member} with {reply.error_name}")
        return list(reply.body)


@asynccontextmanager
async def bluez(*, deadline_s: float) -> AsyncIterator[Bluez]:
    """Connect to the system bus (``DBUS_SYSTEM_BUS_ADDRESS``, else the usual one); raises ``LinkError`` without one."""
    bus = MessageBus(bus_type=BusType.SYSTEM)
    try:
        try:
            async with asyncio.timeout(deadline_s):
                await bus.connect()
        except (DBusFastError, OSError, EOFError) as error:
            raise LinkError(f"there is no system bus: {error}") from error
        line = Bluez(bus, deadline_s=deadline_s)
        bus.add_message_handler(line.hear)
        await line.watch()
        yield line
    finally:
        bus.disconnect()


def path_of(details: object) -> str:
    """Return the object path that bleak keeps for a device of BlueZ."""
    assert isinstance(details, dict)  # noqa: S101 - bleak's BlueZ backend
    return str(details["path"])
