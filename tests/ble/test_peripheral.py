"""A proved camera is read, followed and switched; no fault on the way hangs the agent or lies to it."""

import asyncio
import os
from collections.abc import Awaitable, Callable

import pytest
from msgspec.structs import replace

from agent.discovery.ble.peripheral import Deadlines, Information, Peripheral, Slots, connected
from agent.errors import CorruptError, LinkError, RefusedError
from tests.ble.conftest import PATIENT, Listening, listen, talk
from tests.ble.radio import Radio

pytestmark = pytest.mark.promise("FIND-BLE")


async def follow(camera: Peripheral) -> None:
    async for _ in camera.states():
        pass


def test_model_and_firmware_are_read_and_said_to_be_unproved(radio: Radio) -> None:
    async def act(_ears: Listening, camera: Peripheral) -> Information:
        return await camera.information()

    told = talk(radio, act)
    assert told == Information(unverified_model="Simulated camera", unverified_firmware="1.0.0")


@pytest.mark.parametrize("mtu", ["23", "517"])
def test_proved_camera_is_switched_and_its_state_followed_over_small_and_large_links(
    mtu: str, start_radio: Callable[..., Radio]
) -> None:
    radio = start_radio("--mtu", mtu)

    async def act(ears: Listening, camera: Peripheral) -> None:
        first = await ears.prove(radio, camera)
        assert (first.collection, first.recording, first.consent, first.storage) == (False, False, True, "ok")
        on = await camera.switch(collection=True)
        assert (on.collection, on.recording, on.taken) == (True, True, 1)
        assert radio.now().collecting
        off = await camera.switch(collection=False)
        assert (off.collection, off.recording, off.microphone, off.taken) == (False, False, False, 2)
        following = camera.states()
        waiting = asyncio.ensure_future(anext(following))
        await asyncio.sleep(0)
        radio.do("camera 0 stream on")
        assert (await waiting).stream

    talk(radio, act)


def test_two_connections_of_one_camera_have_sessions_of_their_own(radio: Radio) -> None:
    async def act(ears: Listening, camera: Peripheral) -> None:
        await ears.prove(radio, camera)
        assert (await camera.switch(collection=True)).collection
        assert (await ears.prove(radio, camera)).taken == 0, "a new proof begins a new session"
        assert (await camera.switch(collection=False)).taken == 1

    talk(radio, act)


def failing(radio: Radio, fault: str, *, deadlines: Deadlines = PATIENT) -> LinkError:
    """Read the information while ``fault`` is on."""

    async def act(_ears: Listening, camera: Peripheral) -> LinkError:
        radio.do(f"on {fault}")
        with pytest.raises(LinkError) as raised:
            await camera.information()
        radio.do(f"off {fault}")
        return raised.value

    return talk(radio, act, deadlines=deadlines)


def test_read_that_loses_the_link_and_is_never_answered_fails_by_the_end_of_the_link(radio: Radio) -> None:
    assert "link ended" in failing(radio, "read-hangs").message


def test_read_that_loses_the_link_and_is_answered_failed_is_weather(radio: Radio) -> None:
    assert "link" in failing(radio, "read-cut").message


def test_read_that_is_busy_for_ever_ends_with_its_deadline(radio: Radio) -> None:
    """By itself bleak asks again every 10 ms without end."""
    assert "in time" in failing(radio, "read-busy", deadlines=replace(PATIENT, call_s=1)).message


def refused_connection(
    radio: Radio, act: Callable[[], Awaitable[None]] | None = None, *, deadlines: Deadlines = PATIENT
) -> LinkError:
    async def attempt(ears: Listening) -> LinkError:
        await ears.camera(radio.camera.address)
        if act is not None:
            await act()
        with pytest.raises(LinkError) as raised:
            async with connected(ears.scanner, radio.camera.address, slots=ears.slots, deadlines=deadlines):
                raise AssertionError("connected")
        return raised.value

    return listen(radio, attempt)


def test_services_that_never_resolve_end_with_the_deadline(radio: Radio) -> None:
    radio.do("on services-unresolved")
    error = refused_connection(radio, deadlines=replace(PATIENT, connect_s=1))
    assert "did not take the connection" in error.message


def test_connection_that_fails_is_weather(radio: Radio) -> None:
    radio.do("on connect-fails")
    assert "connection to the camera failed" in refused_connection(radio).message


def test_connection_that_the_daemon_never_answers_ends_with_the_deadline(radio: Radio) -> None:
    radio.do("on connect-wedged")
    error = refused_connection(radio, deadlines=replace(PATIENT, connect_s=1))
    assert "did not take the connection" in error.message


def test_camera_that_bluez_forgot_is_not_heard_any_more(radio: Radio) -> None:
    async def forget() -> None:
        radio.do("on mute")
        radio.do("forget")

    assert "not heard any more" in refused_connection(radio, forget).message


def test_camera_that_was_never_heard_is_not_connected_to(radio: Radio) -> None:
    async def act(ears: Listening) -> None:
        with pytest.raises(LinkError, match="not heard"):
            async with connected(ears.scanner, "00:00:00:00:00:01", slots=ears.slots, deadlines=PATIENT):
                raise AssertionError("connected")

    listen(radio, act)


def test_daemon_that_dies_ends_the_connection_and_the_next_one_goes_to_its_successor(radio: Radio) -> None:
    """By itself bleak would say "connected" for ever, and skip connecting."""

    async def act(ears: Listening) -> None:
        address = radio.camera.address
        await ears.camera(address)
        async with connected(ears.scanner, address, slots=ears.slots, deadlines=PATIENT) as camera:
            await ears.prove(radio, camera)
            radio.do("die")
            with pytest.raises(LinkError, match="link ended"):
                await follow(camera)
        ears.forget()
        radio.do("start")
        await ears.camera(address)
        async with connected(ears.scanner, address, slots=ears.slots, deadlines=PATIENT) as camera:
            await ears.prove(radio, camera)
            assert (await camera.switch(collection=True)).collection

    listen(radio, act)


def test_link_that_is_cut_ends_whoever_follows_the_state(radio: Radio) -> None:
    async def act(ears: Listening, camera: Peripheral) -> None:
        await ears.prove(radio, camera)
        radio.do("cut")
        with pytest.raises(LinkError, match="link ended"):
            await follow(camera)

    talk(radio, act)


def test_link_that_ended_between_two_questions_is_weather_to_the_next_one(radio: Radio) -> None:
    """Bleak forgets the camera's services then, and its complaint of that would end the agent."""

    async def act(ears: Listening, camera: Peripheral) -> None:
        await ears.prove(radio, camera)
        radio.do("cut")
        with pytest.raises(LinkError, match="link ended"):
            await follow(camera)
        with pytest.raises(LinkError, match="link ended"):
            await camera.information()
        with pytest.raises(LinkError, match="link ended"):
            await camera.switch(collection=True)
        with pytest.raises(LinkError, match="link ended"):
            await ears.prove(radio, camera)

    talk(radio, act)


def test_camera_with_a_characteristic_twice_is_refused_and_says_nothing_of_itself(radio: Radio) -> None:
    """Whoever announces a camera's id chooses what it offers, and bleak's complaint of that would end the agent."""
    radio.do("on offers-twice")

    async def act(ears: Listening, camera: Peripheral) -> None:
        assert await camera.information() == Information()
        with pytest.raises(CorruptError, match="once"):
            await ears.prove(radio, camera)

    talk(radio, act)


def test_slot_is_given_back_when_setting_up_fails_after_connecting(radio: Radio) -> None:
    """A slot that leaks is an adapter that connects to nobody until it is reset."""

    async def act(ears: Listening) -> None:
        slots = Slots(1)
        address = radio.camera.address
        await ears.camera(address)
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                async with connected(ears.scanner, address, slots=slots, deadlines=PATIENT):
                    raise ZeroDivisionError
        async with connected(ears.scanner, address, slots=slots, deadlines=PATIENT) as camera:
            await ears.prove(radio, camera)
            limits = replace(PATIENT, slot_s=0)
            with pytest.raises(LinkError, match="in use"):
                async with connected(ears.scanner, address, slots=slots, deadlines=limits):
                    raise AssertionError("connected")

    listen(radio, act)


@pytest.mark.promise("FIND-AUTH")
def test_state_is_refused_to_whoever_did_not_prove_themselves(radio: Radio) -> None:
    """Whether a house's cameras are recording is nobody else's business."""

    async def act(ears: Listening, camera: Peripheral) -> None:
        with pytest.raises(RefusedError):
            await camera._read("3d20e0b2-2844-4b16-aab5-603bd9006a4e")
        del ears

    talk(radio, act)


@pytest.mark.promise("FIND-AUTH")
def test_agent_that_the_camera_did_not_pin_is_refused(radio: Radio, start_radio: Callable[..., Radio]) -> None:
    stranger = start_radio("--cameras", "0").agent

    async def act(_ears: Listening, camera: Peripheral) -> None:
        with pytest.raises(RefusedError) as raised:
            await camera.prove(
                stranger, camera_kid=radio.camera.kid, advert_key=radio.camera.advert_key, random=os.urandom
            )
        assert raised.value.reason == "not_paired"

    talk(radio, act)
    assert not radio.now().collecting
