"""``python -m device_sim.announce``: one camera's voice on the local network, without the camera.

It listens on the announced port too, and closes each connection at once, so that whoever tries it sees it live.
"""

import argparse
import asyncio
import json
import signal
import sys
import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from device_sim.announce.mdns import CAMERA_LINK, MdnsFace, Service, random_name
from device_sim.announce.wsdiscovery import OnvifFace, Target

_DEFAULT_PORT: Final = 8443


def main() -> int:
    """Speak until told to end."""
    parser = argparse.ArgumentParser(prog="python -m device_sim.announce", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--interface", action="append", default=[], metavar="NAME", help="speak here alone")
    parser.add_argument("--port", type=int, default=_DEFAULT_PORT, help=f"what is announced ({_DEFAULT_PORT})")
    parser.add_argument("--unserved", action="store_true", help="do not listen on the port")
    mdns = parser.add_argument_group("multicast DNS")
    mdns.add_argument("--mdns", action="store_true", help="announce a service")
    mdns.add_argument("--type", default=CAMERA_LINK, help=f"service type ({CAMERA_LINK})")
    mdns.add_argument("--instance", default=random_name(), help="service instance (random)")
    mdns.add_argument("--host", default=random_name(), help="host name (random)")
    mdns.add_argument("--txt", action="append", default=[], metavar="KEY=VALUE", help="one entry of the TXT record")
    mdns.add_argument("--address", action="append", default=[], help="announce this address instead of its own")
    mdns.add_argument("--host-ttl", type=int, default=120, metavar="S", help="life of the address in caches (120)")
    onvif = parser.add_argument_group("ONVIF's WS-Discovery")
    onvif.add_argument("--onvif", action="store_true", help="be an ONVIF device that can be found")
    onvif.add_argument("--endpoint", default=uuid.uuid4().urn, help="endpoint reference (random)")
    onvif.add_argument("--scope", action="append", default=[], help="one of its scopes")
    onvif.add_argument("--xaddr", action="append", default=[], help="say that its service is there")
    arguments = parser.parse_args()
    with asyncio.Runner() as runner:
        runner.run(_speak(_faces(arguments), port=0 if arguments.unserved else arguments.port))
    return 0


def _faces(arguments: argparse.Namespace) -> list[MdnsFace | OnvifFace]:
    faces: list[MdnsFace | OnvifFace] = []
    if arguments.mdns:
        service = Service(
            port=arguments.port,
            type=arguments.type,
            instance=arguments.instance,
            host=arguments.host,
            properties=dict(entry.partition("=")[::2] for entry in arguments.txt),
            addresses=tuple(arguments.address),
            host_ttl_s=arguments.host_ttl,
        )
        faces.append(MdnsFace(lambda: [service], interfaces=arguments.interface))
    if arguments.onvif:
        target = Target(port=arguments.port, endpoint=arguments.endpoint, xaddrs=tuple(arguments.xaddr))
        if arguments.scope:
            target = replace(target, scopes=tuple(arguments.scope))
        faces.append(OnvifFace(target, interfaces=arguments.interface))
    return faces


async def _speak(faces: Sequence[MdnsFace | OnvifFace], *, port: int) -> None:
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    server = await asyncio.start_server(_close, None, port) if port else None
    async with asyncio.TaskGroup() as group:
        speaking = [group.create_task(face.run(), name="face") for face in faces]
        print(json.dumps({"ready": True}), flush=True)
        await told.wait()
        for task in speaking:
            task.cancel()
    if server is not None:
        server.close()


async def _close(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


if __name__ == "__main__":
    sys.exit(main())
