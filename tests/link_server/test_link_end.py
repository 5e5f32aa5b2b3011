"""A simulated camera that ends while somebody is being let in leaves no connection behind."""

import asyncio
import gc
import socket
from pathlib import Path

import pytest

from device_sim.camera.device import Device, make_device
from device_sim.link.face import LinkFace
from tests.link_server.stand import LIMIT_S, NOW


@pytest.mark.filterwarnings("error")
def test_who_is_let_in_during_the_turn_in_which_it_ends_is_cut(tmp_path: Path) -> None:
    make_device(tmp_path, now=NOW, name="Front door", seed=1)
    device = Device(tmp_path, now=lambda: NOW, monotonic=lambda: 0.0)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        serving = asyncio.Event()
        device.changed.append(lambda _what: serving.set() if device.port else None)
        face = loop.create_task(LinkFace(device, host="127.0.0.1").run())
        await serving.wait()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            loop.add_reader(theirs, face.cancel)
            ours.send(b"!")  # is read before the connection is taken, in the same turn
            with socket.create_connection(("127.0.0.1", device.port), timeout=LIMIT_S) as line:
                await asyncio.wait((face,))
                loop.remove_reader(theirs)
                line.setblocking(False)  # noqa: FBT003 - its argument has no name
                assert await asyncio.wait_for(loop.sock_recv(line, 1), LIMIT_S) == b""

    asyncio.run(run())
    gc.collect()
