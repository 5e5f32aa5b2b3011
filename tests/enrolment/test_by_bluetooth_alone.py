"""A camera that only Bluetooth lets hear shows its key to nobody: the person who enrols it is told what does help."""

import asyncio
from pathlib import Path

import pytest

from agent.app.enrolling import enrol
from agent.app.nearby import make_nearby
from agent.discovery.ble.service import SERVICE
from agent.discovery.sighting import Hear, Sighting, Trouble
from agent.errors import LinkError
from tests.app.station import Station

LABEL = "PVCAM:1:ABCDEFGH234567AA:FA9DCBECF140BC609010D29E9398637C"


class Says:
    """A discoverer that hears one service over Bluetooth."""

    def __init__(self, service: str) -> None:
        self._service = service

    async def run(self, hear: Hear) -> None:
        hear(Sighting(way="ble", place="hci0", key="7A:01:02:03:04:05", service=self._service, seen_ms=0))
        await asyncio.Event().wait()


class Deaf:
    """A discoverer that hears nothing over Bluetooth, and knows why."""

    async def run(self, hear: Hear) -> None:
        hear(Trouble(way="ble", place="", reason="no_daemon", hint="start bluetoothd"))
        await asyncio.Event().wait()


def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ears: Says | Deaf) -> LinkError:
    """Enrol by a label once that was heard, and return what is said."""
    monkeypatch.setattr("agent.app.enrolling.FIND_S", 1.0)

    async def live() -> LinkError:
        async with Station(tmp_path).parts() as parts:
            nearby = await make_nearby(parts, {"mdns": ears})
            async with nearby.running():
                while not (nearby.inventory.rows() or nearby.inventory.troubles()):
                    await nearby.next_change(within_s=0.05)
                with pytest.raises(LinkError) as told:
                    await enrol(parts, nearby, {"label": LABEL}, lambda _step: None)
                return told.value

    return asyncio.run(live())


def test_camera_that_is_heard_over_bluetooth_alone_is_to_be_reached_over_its_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = refused(tmp_path, monkeypatch, Says(SERVICE))
    assert "over Bluetooth alone" in str(told)
    assert "camera link" in told.hint


def test_other_thing_over_bluetooth_is_no_camera_that_could_be_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = refused(tmp_path, monkeypatch, Says("0000fea6-0000-1000-8000-00805f9b34fb"))
    assert "Bluetooth" not in str(told)


def test_where_nothing_was_heard_the_address_is_the_first_step_and_bluetooth_which_enrols_nobody_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = refused(tmp_path, monkeypatch, Deaf())
    config = f"--config {tmp_path / 'agent.toml'}"
    assert told.hint == (
        f"give its address: privacy-agent enrol LABEL HOST:PORT {config}; see that this machine is on its network: "
        f"privacy-agent discover {config} shows what is heard; for Bluetooth, start bluetoothd"
    )
