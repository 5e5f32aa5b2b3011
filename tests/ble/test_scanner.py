"""Cameras are heard over Bluetooth LE by unmodified bleak, and whatever breaks is told and outlived."""

import asyncio
from collections.abc import Callable

import msgspec
import pytest
from bleak.backends.bluezdbus.manager import get_global_bluez_manager

from agent.discovery import Heard, Sighting
from agent.discovery.ble.advert import rotating_id
from agent.discovery.ble.scanner import FLOOD, Limits
from agent.discovery.ble.service import SERVICE
from agent.discovery.rotating import id_text
from agent.discovery.sighting import SIGHTINGS_MAX
from tests.ble.conftest import QUICK, Listening, listen, lost, sighted
from tests.ble.radio import Radio

pytestmark = pytest.mark.promise("FIND-BLE")

DAY_MS = 86_400_000


def test_camera_that_advertises_is_heard_with_its_rotating_id_and_leaks_nothing(radio: Radio) -> None:
    async def act(ears: Listening) -> Sighting:
        return await ears.camera(radio.camera.address)

    heard = listen(radio, act)
    today = heard.seen_ms // DAY_MS
    expected = {id_text(rotating_id(radio.camera.advert_key, unix_day=day)) for day in (today - 1, today, today + 1)}
    assert heard.unverified_id in expected
    assert (heard.way, heard.place, heard.service) == ("ble", "hci0", SERVICE)
    assert (heard.leaks, heard.unverified_name, heard.addresses) == ((), "", ())


def test_camera_that_stopped_advertising_is_lost_and_one_that_is_near_is_told_again(
    start_radio: Callable[..., Radio],
) -> None:
    radio = start_radio()

    async def act(ears: Listening) -> None:
        address = radio.camera.address
        first = await ears.camera(address)
        await ears.until(
            lambda heard: [one for one in heard if isinstance(one, Sighting) and one.seen_ms > first.seen_ms],
            what="it once more, later",
        )
        radio.do("on mute")
        radio.do("forget")
        await ears.until(lambda heard: lost(heard, address), what="that it is gone")
        assert ears.scanner.device(address) is None

    listen(radio, act)


def test_adapter_that_is_off_is_told_with_the_next_step_and_used_once_it_is_on(radio: Radio) -> None:
    radio.do("power-off")

    async def act(ears: Listening) -> None:
        told = await ears.trouble("adapter_off")
        assert "bluetoothctl power on" in told.hint
        radio.do("power-on")
        await ears.trouble("")
        await ears.camera(radio.camera.address)

    listen(radio, act)


@pytest.mark.parametrize(
    ("harm", "trouble", "mend"), [("power-off", "adapter_off", "power-on"), ("pull", "no_adapter", "plug")]
)
def test_adapter_that_goes_while_scanning_is_noticed_and_used_again_when_it_is_back(
    radio: Radio, harm: str, trouble: str, mend: str
) -> None:
    async def act(ears: Listening) -> None:
        await ears.camera(radio.camera.address)
        ears.forget()
        radio.do(harm)
        await ears.trouble(trouble)
        radio.do(mend)
        await ears.camera(radio.camera.address)

    listen(radio, act, limits=msgspec.structs.replace(QUICK, retry_s=60, sweep_s=60))


def test_daemon_that_dies_without_a_word_is_noticed_at_once_and_its_successor_is_used(radio: Radio) -> None:
    """By itself bleak would go on believing in the dead one."""

    async def act(ears: Listening) -> None:
        await ears.camera(radio.camera.address)
        ears.forget()
        radio.do("die")
        told = await ears.trouble("no_daemon")
        assert "systemctl start bluetooth" in told.hint
        radio.do("start")
        await ears.camera(radio.camera.address)

    listen(radio, act, limits=msgspec.structs.replace(QUICK, retry_s=60, sweep_s=60))


def test_machine_without_a_system_bus_is_told_as_one_without_the_daemon(radio: Radio) -> None:
    async def act(ears: Listening) -> None:
        await ears.trouble("no_daemon")

    radio.bus = "unix:path=/nonexistent/bus"
    listen(radio, act)


def test_scan_that_the_daemon_never_starts_is_given_up_and_tried_again(radio: Radio) -> None:
    radio.do("on start-wedged")

    async def act(ears: Listening) -> None:
        await ears.trouble("stalled")
        radio.do("off start-wedged")
        await ears.camera(radio.camera.address)

    listen(radio, act)


def test_daemon_that_is_busy_with_another_scan_is_told_and_tried_again(radio: Radio) -> None:
    radio.do("on start-busy")

    async def act(ears: Listening) -> None:
        await ears.trouble("stalled")
        radio.do("off start-busy")
        await ears.camera(radio.camera.address)

    listen(radio, act)


def test_scan_that_falls_silent_is_started_anew_and_told_when_that_does_not_help(radio: Radio) -> None:
    async def act(ears: Listening) -> None:
        await ears.camera(radio.camera.address)
        ears.forget()  # on a busy machine it was silent for a moment before
        radio.do("on mute")
        told = await ears.trouble("stalled")
        assert "reset the adapter" in told.hint
        ears.forget()
        radio.do("forget")
        radio.do("off mute")
        await ears.trouble("")
        await ears.camera(radio.camera.address)

    listen(radio, act, limits=Limits(call_s=5, start_s=2, retry_s=0.1, sweep_s=0.1, silence_s=0.3))


def test_second_listener_hears_the_same_through_the_one_scanner(radio: Radio) -> None:
    async def act(ears: Listening) -> None:
        other: list[Heard] = []
        with ears.scanner.heard_by(other.append):
            await ears.camera(radio.camera.address)
            ears.forget()
            await ears.camera(radio.camera.address)
        assert sighted(other, radio.camera.address)

    listen(radio, act)


def test_flood_of_cameras_is_bounded_and_the_real_one_is_still_heard(radio: Radio) -> None:
    """I11: whoever makes up addresses fills no memory of ours."""

    async def act(ears: Listening) -> None:
        await ears.camera(radio.camera.address)
        await asyncio.to_thread(radio.do, f"flood {SIGHTINGS_MAX + 300} cameras")
        await ears.until(
            lambda heard: len({one.key for one in heard if isinstance(one, Sighting)}) > SIGHTINGS_MAX + 300 or None,
            what="the whole flood",
        )
        live: set[str] = set()
        for one in ears.heard:
            if isinstance(one, Sighting):
                live.add(one.key)
            else:
                live.discard(getattr(one, "key", ""))
        assert len(live) <= SIGHTINGS_MAX
        assert sum(ears.scanner.device(key) is not None for key in live) <= SIGHTINGS_MAX

    listen(radio, act)


def test_flood_of_strangers_is_not_remembered_and_a_camera_that_comes_then_is_heard(radio: Radio) -> None:
    """I11: bleak remembers whatever advertises until BlueZ prunes it; twenty thousand addresses are too many."""

    async def act(ears: Listening) -> None:
        await ears.camera(radio.camera.address)
        await asyncio.to_thread(radio.do, f"flood {2 * FLOOD}")
        late = await asyncio.to_thread(radio.do, "add")
        await ears.camera(late["address"])
        manager = await get_global_bluez_manager()
        assert len(manager._properties) <= FLOOD + 10
        assert ears.scanner._bleak is not None
        assert len(ears.scanner._bleak._backend.seen_devices) <= 10, "the cameras, and what was heard just now"
        assert radio.do("told")["devices"] >= 2 * FLOOD, "BlueZ itself has them all"

    listen(radio, act, limits=msgspec.structs.replace(QUICK, sweep_s=60))
