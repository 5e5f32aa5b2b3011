"""One bleak scanner for the whole agent, kept running, its adverts handed to everybody who listens.

BlueZ takes one discovery of each client, so there is one; a second in the same process is answered ``InProgress``.
The procedure, again and again:

1. Connect to the system bus; without one, or without bluetoothd, say ``no_daemon`` and wait.
2. Take the adapter that was named, else the first that is switched on; say ``no_adapter`` or ``adapter_off``.
3. Let bleak start; whatever does not start within its deadline, or is refused, is ``stalled``.
4. Listen. Every few seconds tell again what BlueZ still has near, and what it no longer has as ``Lost``. Leave when the
   daemon or an adapter changed, or when there was no advert for long: scans are known to fall silent without a word
   (bluez/bluez#1126, #1554), and starting anew is what helps.
5. Stop within a deadline, swallowing what a pulled adapter answers; after a lost daemon also make bleak forget what it
   remembers of it, because it would go on saying "connected". Then 1.

What is heard is bounded (``SIGHTINGS_MAX`` cameras). bleak remembers everything that advertises until BlueZ prunes it,
thirty seconds after it was last heard: what is no camera is taken out of that, in a flood of changing addresses as soon
as it came, and the memory that the flood took is given back.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final, Literal

import msgspec
from bleak import BleakScanner
from bleak.backends.bluezdbus.manager import BlueZManager, get_global_bluez_manager
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData
from bleak.exc import BleakError

from agent.clock import MS_PER_S, monotonic_s, pause
from agent.discovery.ble.advert import Advert, is_camera, sighting
from agent.discovery.ble.bluez import Bluez, bluez, path_of
from agent.discovery.sighting import SIGHTINGS_MAX, Hear, Heard, Lost, Sighting, Trouble, TroubleReason
from agent.errors import LinkError
from agent.process import give_back_memory

_log = logging.getLogger(__name__)

SILENT_SCANS: Final = 2
"""So many in a row, after something had been heard before, are a stall and no quiet neighbourhood."""

FLOOD: Final = 1_000
"""Adverts of strangers between two sweeps that are more than a street's."""
FLOOD_SWEEPS: Final = 6

HINT: Final[dict[TroubleReason, str]] = {
    "no_daemon": "start bluetoothd: systemctl start bluetooth (in a container: mount /run/dbus/system_bus_socket)",
    "no_adapter": "plug in a Bluetooth adapter, or name the right one in [discovery] of agent.toml",
    "adapter_off": "switch it on: bluetoothctl power on (and: rfkill unblock bluetooth)",
    "stalled": "reset the adapter: bluetoothctl power off, then power on; or restart bluetoothd",
}


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How long things may take, in seconds."""

    call_s: float = 5
    start_s: float = 10
    retry_s: float = 5
    sweep_s: float = 10
    silence_s: float = 90
    """Without any advert of anything for so long, the scan is started anew."""


class Scanner:
    """Hears cameras over Bluetooth LE; a ``Discoverer``."""

    def __init__(
        self,
        *,
        now_ms: Callable[[], int],
        adapter: str = "",
        limits: Limits | None = None,
        wait: Callable[[float], Awaitable[None]] = pause,
    ) -> None:
        self._now_ms = now_ms
        self._wanted = adapter
        self._limits = limits or Limits()
        self._wait = wait
        self._hearers: list[Hear] = []
        self._near: OrderedDict[str, tuple[Sighting, BLEDevice]] = OrderedDict()
        self._trouble: Trouble | None = None
        self._adapter = ""
        self._heard_anything = False
        self._silent_scans = 0
        self._last_advert_s = 0.0
        self._bleak: BleakScanner | None = None
        self._manager: BlueZManager | None = None
        self._strangers = 0
        self._owed_sweeps = 0
        self.bluez: Bluez | None = None
        """The line to BlueZ while there is one; pairing uses it too."""

    @contextmanager
    def heard_by(self, hear: Hear) -> Iterator[None]:
        """Hand everything that is heard to one more listener inside the block."""
        self._hearers.append(hear)
        try:
            yield
        finally:
            self._hearers.remove(hear)

    def device(self, key: str) -> BLEDevice | None:
        """Return what bleak connects to, for the ``key`` of a live sighting."""
        near = self._near.get(key)
        return near[1] if near else None

    async def run(self, hear: Hear) -> None:
        """Listen until cancelled."""
        with self.heard_by(hear):
            while True:
                try:
                    async with bluez(deadline_s=self._limits.call_s) as line:
                        self.bluez = line
                        await self._on(line)
                except LinkError as error:
                    _log.info("Bluetooth: %s", error.message)
                    self._tell_trouble("no_daemon")
                finally:
                    self.bluez = None
                await self._wait(self._limits.retry_s)

    async def _on(self, line: Bluez) -> None:
        """Steps 2 to 5 on one connection to the bus, until that fails."""
        while True:
            line.changed.clear()
            if line.lost_daemon:
                line.lost_daemon = False
                await self._forget()
            trouble = await self._scan(line)
            if trouble:
                self._tell_trouble(trouble)
                await self._until_changed(line, within_s=self._limits.retry_s)

    async def _scan(self, line: Bluez) -> TroubleReason | Literal[""]:
        """Scan until something changed; returns what is in the way."""
        if not await line.has_daemon():
            return "no_daemon"
        adapters = [one for one in await line.adapters() if self._wanted in {"", one.name}]
        if not adapters:
            return "no_adapter"
        adapter = next((one for one in adapters if one.powered), adapters[0])
        self._adapter = adapter.name
        if not adapter.powered:
            return "adapter_off"
        scanner = self._bleak = BleakScanner(self._advertised, bluez={"adapter": self._adapter})
        try:
            async with asyncio.timeout(self._limits.start_s):
                await scanner.start()
                self._manager = await get_global_bluez_manager()
        except (TimeoutError, BleakError, OSError, EOFError) as error:
            _log.info("Bluetooth: the scan did not start: %s", type(error).__name__)
            await self._forget()
            return "stalled"
        try:
            return await self._listen(line, scanner)
        finally:
            await self._stop(scanner)

    async def _listen(self, line: Bluez, scanner: BleakScanner) -> TroubleReason | Literal[""]:
        self._last_advert_s = monotonic_s()
        if self._silent_scans < SILENT_SCANS:
            self._end_trouble()
        while not line.changed.is_set():
            await self._until_changed(line, within_s=min(self._limits.sweep_s, self._limits.silence_s))
            self._sweep(scanner)
            if not line.bus.connected:
                raise LinkError("the system bus is gone")
            if monotonic_s() - self._last_advert_s >= self._limits.silence_s:
                _log.info("Bluetooth: no advert for %.0f s, the scan is started anew", self._limits.silence_s)
                self._silent_scans += 1
                return "stalled" if self._heard_anything and self._silent_scans >= SILENT_SCANS else ""
        return ""

    async def _until_changed(self, line: Bluez, *, within_s: float) -> None:
        """Wait for a change, at most so long."""
        changed = asyncio.ensure_future(line.changed.wait())
        passed = asyncio.ensure_future(self._wait(within_s))
        try:
            await asyncio.wait({changed, passed}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            changed.cancel()
            passed.cancel()

    async def _stop(self, scanner: BleakScanner) -> None:
        """Step 5: nothing that goes wrong here is news, the adapter or the daemon may be what went."""
        try:
            async with asyncio.timeout(self._limits.call_s):
                await scanner.stop()
        except (TimeoutError, BleakError, OSError, EOFError, AssertionError, ValueError) as error:
            _log.debug("Bluetooth: the scan did not stop: %s", type(error).__name__)

    async def _forget(self) -> None:
        """Make bleak drop its connection to the bus: it forgets its devices and tells every client "disconnected"."""
        try:
            async with asyncio.timeout(self._limits.call_s):
                manager = await get_global_bluez_manager()
        except (TimeoutError, BleakError, OSError, EOFError):
            return  # it has no connection, so it remembers nothing
        if manager._bus is not None:  # noqa: SLF001 - bleak has no word for "the daemon is another one now"
            manager._bus.disconnect()  # noqa: SLF001 - the same

    # --- what is heard

    def _advertised(self, device: BLEDevice, data: AdvertisementData) -> None:
        self._last_advert_s = monotonic_s()
        self._heard_anything = True
        if self._silent_scans:
            self._silent_scans = 0
            self._end_trouble()
        if not is_camera(data.service_uuids, data.service_data):
            self._drop(device)
            return
        properties = data.platform_data[1]
        heard = sighting(
            Advert(
                address=device.address,
                address_type="random" if properties.get("AddressType") == "random" else "public",
                name=data.local_name or "",
                uuids=data.service_uuids,
                service_data=data.service_data,
                rssi_dbm=data.rssi,
            ),
            adapter=self._adapter,
            now_ms=self._now_ms(),
        )
        if heard is None:
            return
        before = self._near.get(heard.key)
        self._near[heard.key] = (heard, device)
        self._near.move_to_end(heard.key)
        while len(self._near) > SIGHTINGS_MAX:
            key, _ = self._near.popitem(last=False)
            self._tell(Lost(way="ble", place=self._adapter, key=key))
        if before is None or _words(before[0]) != _words(heard) or heard.seen_ms - before[0].seen_ms >= MS_PER_S:
            self._tell(heard)

    def _drop(self, device: BLEDevice) -> None:
        """Let bleak forget what is no camera, and in a flood also that it is there.

        Forgotten, nothing that it says later is heard until BlueZ removed it: a camera whose first advert does not say
        that it is one waits for the end of the flood. Those of docs/ble.md say so in the first.
        """
        self._strangers += 1
        path = path_of(device.details)
        if self._bleak is not None:
            self._bleak._backend.seen_devices.pop(path, None)  # noqa: SLF001 - bleak lets nobody prune it
        if self._strangers > FLOOD and self._manager is not None:
            self._manager._properties.pop(path, None)  # noqa: SLF001 - the same

    def _give_back(self) -> None:
        """After a flood, and some sweeps longer because BlueZ takes its time to prune, shrink to what is needed."""
        if self._strangers >= FLOOD:
            self._owed_sweeps = FLOOD_SWEEPS
        elif self._owed_sweeps:
            self._owed_sweeps -= 1
            give_back_memory()
        self._strangers = 0

    def _sweep(self, scanner: BleakScanner) -> None:
        """Tell what BlueZ still has near, which an unchanged advert does not say by itself, and what it lost."""
        self._give_back()
        live = {device.address for device, _ in scanner.discovered_devices_and_advertisement_data.values()}
        now_ms = self._now_ms()
        for key, (heard, device) in list(self._near.items()):
            if key in live:
                again = msgspec.structs.replace(heard, seen_ms=now_ms)
                self._near[key] = (again, device)
                self._tell(again)
            else:
                del self._near[key]
                self._tell(Lost(way="ble", place=heard.place, key=key))

    def _tell(self, heard: Heard) -> None:
        for hear in tuple(self._hearers):
            hear(heard)

    def _tell_trouble(self, reason: TroubleReason) -> None:
        trouble = Trouble(way="ble", place=self._adapter or self._wanted, reason=reason, hint=HINT[reason])
        if self._trouble is None or self._trouble.reason != reason:
            self._trouble = trouble
            self._tell(trouble)

    def _end_trouble(self) -> None:
        if self._trouble is not None:
            place = self._trouble.place
            self._trouble = None
            self._tell(Trouble(way="ble", place=place, reason=""))


def _words(heard: Sighting) -> Sighting:
    """Return what it says without when and how loud."""
    return msgspec.structs.replace(heard, seen_ms=0, signal_dbm=None)
