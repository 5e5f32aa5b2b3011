"""Which faces a camera shows, by the names that people give: each made anew for each boot.

What breaks in an advert strikes here; a camera whose power is cut says no goodbye.
"""

import asyncio
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from device_sim.announce.mdns import MdnsFace, Service
from device_sim.announce.wsdiscovery import OnvifFace, Target
from device_sim.camera.device import Change, Device, Face
from device_sim.camera.recorder import Habit, Recorder
from device_sim.link.face import LinkFace
from device_sim.onvif.face import OnvifDevice
from device_sim.rtsp.face import RtspFace

FaceName = Literal["link", "mdns", "onvif", "ble", "rtsp"]

NOBODY: Final = ("192.0.2.66", 9)
"""Where ``advert-spoofed`` sends people: an address for documentation (RFC 5737), and the port that discards."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Radio:
    """Where cameras with a Bluetooth face are heard."""

    hci: str
    """An HCI transport in bumble's words: ``usb:0``, or the air of a machine that is played."""
    monotonic_s: Callable[[], float]
    passkey: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Onvif:
    """How an ONVIF service is served: where, and to whom (nobody named: to everybody)."""

    port: int = 0
    credentials: tuple[str, str] = ("", "")


def faces(
    device: Device,
    names: Sequence[FaceName],
    *,
    habit: Habit,
    host: str = "",
    port: int = 0,
    rtsp_port: int = 0,
    onvif: Onvif = Onvif(),
    interfaces: Sequence[str] = (),
    radio: Radio | None = None,
) -> Callable[[], list[Face]]:
    """Return what makes them for each boot; link, stream and service stay at the ports that they found first."""
    kept, kept_rtsp, kept_onvif = [port], [rtsp_port], [onvif.port]

    def hear(_change: Change) -> None:
        kept[0] = device.port or kept[0]
        kept_rtsp[0] = device.rtsp_port or kept_rtsp[0]
        kept_onvif[0] = device.onvif_port or kept_onvif[0]

    def announce(port: int) -> Face:
        return OnvifFace(_target(device, port), interfaces=interfaces, goodbye=lambda: device.powered)

    device.changed.append(hear)
    makers: dict[FaceName, Callable[[], Face]] = {
        "link": lambda: LinkFace(device, host=host, port=kept[0]),
        "mdns": lambda: Once(
            device, lambda: MdnsFace(lambda: services(device), interfaces=interfaces, goodbye=lambda: device.powered)
        ),
        "onvif": lambda: OnvifDevice(
            device, announce=announce, host=host, port=kept_onvif[0], credentials=onvif.credentials
        ),
        "ble": lambda: _peripheral(device, radio),
        "rtsp": lambda: RtspFace(device, host=host, port=kept_rtsp[0]),
    }
    return lambda: [Recorder(device, habit), *(makers[name]() for name in names)]


class Once:
    """A face that announces the camera link, once that listens."""

    def __init__(self, device: Device, make: Callable[[], Face]) -> None:
        self._device, self._make = device, make

    async def run(self) -> None:
        """Wait, then show it until cancelled."""
        listens = asyncio.Event()

        def hear(_change: Change) -> None:
            if self._device.port:
                listens.set()

        self._device.changed.append(hear)
        hear("advert")
        await listens.wait()
        self._device.changed.remove(hear)
        await self._make().run()


def services(device: Device) -> list[Service]:
    """What it announces now (docs/camera-link.md §7): nothing while its link does not listen."""
    if not device.port:
        return []
    told = {"v": "1", "id": device.rotating_id} | ({"setup": "1"} if device.setup_open else {})
    address, port = NOBODY if "advert-spoofed" in device.faults else ("", device.port)
    return [
        Service(
            port=port,
            instance=device.boot_name,
            host=device.boot_name,
            properties=told,
            addresses=(address,) if address else (),
        )
    ]


def _target(device: Device, port: int) -> Target:
    """Its endpoint is new at every start, as all that it announces."""
    return Target(port=port, endpoint=uuid.uuid5(uuid.NAMESPACE_OID, device.boot_name).urn)


def _peripheral(device: Device, radio: Radio | None) -> Face:
    from device_sim.ble.peripheral import Peripheral  # noqa: PLC0415 - bumble is slow to load

    assert radio is not None  # noqa: S101 - whoever asks for the face gives one
    return Peripheral(device, hci=radio.hci, monotonic_s=radio.monotonic_s, passkey=radio.passkey)
