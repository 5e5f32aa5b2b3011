"""Bluetooth and the live stream of ``device-sim camera``, met by unmodified bleak and by FFmpeg."""

import contextlib
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import av
import pytest
from av.container import InputContainer

from tests.link_server.running import running
from tests.waiting import until

LOOK: Final = """
import asyncio, json, sys
from bleak import BleakScanner
async def look():
    told, near = {}, asyncio.Event()
    def heard(_, advert):
        told.update(advert.service_data)
        if told:
            near.set()
    async with BleakScanner(heard):
        try:
            await asyncio.wait_for(near.wait(), float(sys.argv[1]))
        except TimeoutError:
            pass
    print(json.dumps({uuid: data.hex() for uuid, data in told.items()}) if told else "nobody")
asyncio.run(look())
"""
"""Listens before it scans: a device is told once and then at its changes, which bleak's own ``find_device`` begins to
hear when the scan has begun."""


def look(bus: str, *, within_s: float = 20) -> "subprocess.CompletedProcess[str]":
    """Look for a camera with bleak, in a process of its own."""
    env = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": bus}
    return subprocess.run(
        [sys.executable, "-c", LOOK, str(within_s)], env=env, capture_output=True, text=True, check=False, timeout=60
    )


def watch(port: int) -> InputContainer:
    return av.open(f"rtsp://127.0.0.1:{port}/main", options={"rtsp_transport": "tcp"}, timeout=60)


def test_camera_is_near_by_bluetooth_until_the_adapter_is_pulled(tmp_path: Path) -> None:
    with running(tmp_path / "state", "--link", "--ble") as sim:
        bus = sim.heard("ready", camera="Bluetooth")["DBUS_SYSTEM_BUS_ADDRESS"]
        ready = sim.heard("ready", camera="Front door")
        told = json.loads(look(bus).stdout)
        (data,) = told.values()
        assert len(bytes.fromhex(data)) == 8
        assert ready["id"] not in str(told)
        sim.order("break all adapter-gone")
        until(lambda: "No Bluetooth" in look(bus).stderr, what="no adapter")
        sim.order("mend all adapter-gone")
        until(lambda: data in look(bus).stdout, what="the adapter is back")


def test_camera_on_a_controller_of_its_own_is_heard_beside_those_of_the_played_machine(tmp_path: Path) -> None:
    with running(tmp_path / "played", "--ble") as played:
        machine = played.heard("ready", camera="Bluetooth")
        played.order("break all power-cut")
        until(lambda: look(machine["DBUS_SYSTEM_BUS_ADDRESS"], within_s=3).stdout == "nobody\n", what="an empty room")
        with running(tmp_path / "own", "--ble", "--hci", machine["hci"]) as own:
            own.heard("ready")
            assert json.loads(look(machine["DBUS_SYSTEM_BUS_ADDRESS"]).stdout)


def test_killed_bluetoothd_is_gone_and_a_new_one_hears_again(tmp_path: Path) -> None:
    with running(tmp_path / "state", "--link", "--ble") as sim:
        bus = sim.heard("ready", camera="Bluetooth")["DBUS_SYSTEM_BUS_ADDRESS"]
        sim.heard("ready", camera="Front door")
        sim.order("break all bluetoothd-dead")
        until(lambda: look(bus).returncode != 0, what="no daemon")
        sim.order("mend all bluetoothd-dead")
        until(lambda: look(bus).returncode == 0, what="a new daemon")


def test_stream_is_told_in_the_state_and_ends_with_the_consent(tmp_path: Path) -> None:
    with running(tmp_path / "state", "--link", "--rtsp") as sim:
        ready = sim.heard("ready")
        with watch(ready["rtsp_port"]) as stream:
            assert len(list(itertools.islice(stream.demux(video=0), 10))) == 10
            (shown,) = sim.order("show")["cameras"]
            assert shown["state"] == {
                "recording": False, "microphone": True, "stream": True, "indicator": True, "consent": True
            }  # fmt: skip
            (shown,) = sim.order("consent all off")["cameras"]
            assert not any(shown["state"].values())
            rest: list[object] = []
            with contextlib.suppress(av.FFmpegError):
                rest.extend(itertools.islice(stream.demux(video=0), 250))
            assert len(rest) < 250, "ten seconds of pictures, had it gone on"


def test_stream_is_at_the_same_port_after_a_power_cut(tmp_path: Path) -> None:
    with running(tmp_path / "state", "--link", "--rtsp") as sim:
        port = sim.heard("ready")["rtsp_port"]
        sim.order("break all power-cut")
        with pytest.raises(av.FFmpegError):  # refused, or cut, as the moment has it
            watch(port)
        sim.order("mend all power-cut")
        assert sim.heard("ready")["rtsp_port"] == port
        with watch(port) as stream:
            assert len(list(itertools.islice(stream.demux(video=0), 3))) == 3
