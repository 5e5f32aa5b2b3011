"""ONVIF as a face of a simulated camera: its service, and WS-Discovery that leads to it.

The service says that the stream is where the camera's RTSP listens, by the address that it was asked at, and gives one
picture at an address that only its answer tells. Without RTSP it says no stream; without consent it gives no picture.
"""

import asyncio
import io
import secrets
from collections.abc import Callable
from typing import Final

from device_sim.camera.device import Device, Face
from device_sim.camera.media import write_photo
from device_sim.onvif.service import OnvifService, Says
from device_sim.rtsp.face import PATH

SNAPSHOT: Final = "/onvif/snapshot/"


class OnvifDevice:
    """Serves ``device`` at ``host`` (none: every address); port 0 takes a free one, told as ``onvif_port``."""

    def __init__(
        self,
        device: Device,
        *,
        announce: Callable[[int], Face],
        host: str = "",
        port: int = 0,
        credentials: tuple[str, str] = ("", ""),
    ) -> None:
        self._device, self._announce = device, announce
        self._credentials = credentials
        self._snapshot = SNAPSHOT + secrets.token_urlsafe(16)
        self._service = OnvifService(self._says, host=host, port=port, picture=self._picture)

    async def run(self) -> None:
        """Serve until cancelled; raises ``OSError`` where it cannot listen."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._service.run(), name="ONVIF service")
            await self._service.listening.wait()
            self._device.note_onvif_port(self._service.port)
            try:
                await self._announce(self._service.port).run()
            finally:
                self._device.note_onvif_port(0)

    def _says(self) -> Says:
        user, password = self._credentials
        port = self._device.rtsp_port
        return Says(
            now=self._device.now,
            stream=f"rtsp://{{host}}:{port}{PATH}" if port else "",
            snapshot=f"http://{{host}}:{self._service.port}{self._snapshot}",
            user=user,
            password=password,
        )

    def _picture(self, path: str) -> bytes:
        """Return a JPEG of what it sees now; none at another path, or where it may not look."""
        device = self._device
        if path != self._snapshot or not device.may_show:
            return b""
        picture = io.BytesIO()
        write_photo(picture, seed=device.seed, start=device.now(), label=device.name)
        return picture.getvalue()
