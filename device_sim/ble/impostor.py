"""Others that answer in a camera's place: all of them advertise its rotating id, which anybody near can copy.

copy      knows the advert alone
other-key knows the advert key too, as whoever took it from a phone's backup would, and has a key of its own
replay    plays what went over the real camera's link in an earlier session
relay     passes everything on to the real camera and back, and may change or hold back what it passes on
"""

import contextlib
import secrets
from collections.abc import Callable
from typing import Final, Literal

from bumble.att import ATT_Error
from bumble.core import BaseBumbleError
from bumble.device import Connection, Device, Peer
from bumble.gatt_client import CharacteristicProxy
from bumble.hci import Address
from bumble.transport import open_transport

from device_sim.ble import wire
from device_sim.ble.camera import BareCamera, Camera
from device_sim.ble.peripheral import Conversation, Own, Peripheral

Kind = Literal["copy", "other-key", "replay", "relay"]
KINDS: Final[tuple[Kind, ...]] = ("copy", "other-key", "replay", "relay")

Harm = Literal["none", "change-state", "old-state", "change-switch", "again-switch", "drop-switch"]
HARMS: Final[tuple[Harm, ...]] = ("none", "change-state", "old-state", "change-switch", "again-switch", "drop-switch")


class _Copy:
    """Makes up what it cannot know."""

    up = True

    def __init__(self) -> None:
        self._answer = b""

    async def hear(self, raw: bytes) -> None:
        """Answer with the right lengths."""
        self._answer = b"\x12" + secrets.token_bytes(48) if raw[:1] == b"\x11" else b"\x14" + secrets.token_bytes(145)

    async def answer(self) -> bytes:
        """Nonsense."""
        return self._answer

    async def state(self) -> bytes:
        """Nonsense."""
        return secrets.token_bytes(19)

    async def switch(self, raw: bytes) -> None:
        """Take it, and do nothing."""


class _Replay:
    """Says again what the camera said, in its order."""

    up = True

    def __init__(self, records: list[tuple[str, bytes]]) -> None:
        self._answers = [raw for what, raw in records if what == "answer"]
        self._states = [raw for what, raw in records if what == "state"]

    async def hear(self, raw: bytes) -> None:
        """Whatever it is."""

    async def answer(self) -> bytes:
        """The next."""
        return self._answers.pop(0) if self._answers else b""

    async def state(self) -> bytes:
        """The next; the last again and again."""
        return self._states.pop(0) if len(self._states) > 1 else self._states[0]

    async def switch(self, raw: bytes) -> None:
        """Take it, and do nothing."""


class _Relay:
    """One conversation, passed on."""

    up = True

    def __init__(self, relay: "Relay") -> None:
        self._relay = relay

    async def hear(self, raw: bytes) -> None:
        """On."""
        await self._relay.write(wire.PROOF.hex, raw)

    async def answer(self) -> bytes:
        """Back."""
        return await self._relay.read(wire.PROOF.hex)

    async def state(self) -> bytes:
        """Back, or what harms."""
        return await self._relay.state()

    async def switch(self, raw: bytes) -> None:
        """On, or what harms."""
        await self._relay.switch(raw)


class Relay:
    """Stands between: a peripheral towards the agent, a central towards the camera at ``address``."""

    def __init__(
        self, camera: Camera, *, address: Callable[[], str], hci: str, monotonic_s: Callable[[], float]
    ) -> None:
        self.harm: Harm = "none"
        self.switches: list[bytes] = []
        """What it saw of the agent's commands."""
        self.peripheral = Peripheral(camera, hci=hci, monotonic_s=monotonic_s, converse=lambda: _Relay(self))
        self._address, self._hci = address, hci
        self._characteristics: dict[str, CharacteristicProxy[bytes]] = {}
        self._states: list[bytes] = []
        self._connection: Connection | None = None

    async def run(self) -> None:
        """Advertise, and connect to the camera when it is asked."""
        async with await open_transport(self._hci) as transport:
            self._central = Device.with_hci(
                "Relay", Address.generate_static_address(), transport.source, transport.sink
            )
            await self._central.power_on()
            await self._central.start_scanning()
            await self.peripheral.run()

    async def read(self, uuid: str) -> bytes:
        """From the camera."""
        try:
            return bytes(await (await self._far(uuid)).read_value())
        except ATT_Error:
            raise wire.WireError("the camera refused") from None

    async def write(self, uuid: str, raw: bytes) -> None:
        """To the camera."""
        try:
            await (await self._far(uuid)).write_value(raw, with_response=True)
        except ATT_Error:
            raise wire.WireError("the camera refused") from None

    async def state(self) -> bytes:
        """What the agent gets of the camera's state."""
        if not self._states:
            self._states.append(await self.read(wire.STATE.hex))
            with contextlib.suppress(ATT_Error):
                await (await self._far(wire.STATE.hex)).subscribe(self._notified)
        newest = self._states[-1]
        if self.harm == "change-state":
            return newest[:4] + bytes((newest[4] ^ 1,)) + newest[5:]
        return self._states[0] if self.harm == "old-state" else newest

    async def switch(self, raw: bytes) -> None:
        """What the camera gets of the agent's command."""
        self.switches.append(raw)
        if self.harm == "drop-switch":
            return
        if self.harm == "change-switch":
            raw = raw[:4] + bytes((raw[4] ^ 1,)) + raw[5:]
        await self.write(wire.SWITCH.hex, self.switches[0] if self.harm == "again-switch" else raw)

    def _notified(self, raw: bytes) -> None:
        self._states.append(bytes(raw))
        self.peripheral.changed.set()

    async def _far(self, uuid: str) -> CharacteristicProxy[bytes]:
        if self._connection is None:
            try:
                connection = await self._central.connect_le(self._address(), timeout=5)
                peer = Peer(connection)
                await peer.discover_services()
                for service in peer.services:
                    for characteristic in await service.discover_characteristics():
                        self._characteristics[characteristic.uuid.to_hex_str().lower()] = characteristic
            except (BaseBumbleError, TimeoutError) as error:
                raise wire.WireError(f"the camera does not answer the relay: {error}") from None
            self._connection = connection
            connection.on(Connection.EVENT_DISCONNECTION, self._lost)
        return self._characteristics[uuid]

    def _lost(self, _reason: int) -> None:
        self._connection = None
        self._characteristics.clear()
        self._states.clear()


def impostor(
    kind: Kind, of: Peripheral, camera: BareCamera, *, hci: str, monotonic_s: Callable[[], float]
) -> Peripheral | Relay:
    """Return what takes the place of this camera."""
    if kind == "relay":
        return Relay(camera, address=lambda: of.address, hci=hci, monotonic_s=monotonic_s)
    other = BareCamera(agent=camera.agent, now_s=lambda: 0.0)
    other.rotating = camera.rotating  # type: ignore[method-assign] # what it has copied
    other.advert_key = camera.advert_key
    converse: dict[Kind, Callable[[], Conversation]] = {
        "copy": _Copy,
        "other-key": lambda: Own(other, monotonic_s=monotonic_s, minds=False),
        "replay": lambda: _Replay(list(of.records)),
    }
    return Peripheral(other, hci=hci, monotonic_s=monotonic_s, converse=converse[kind])
