"""Nothing that advertises itself is believed; who stands in a camera's place, or between, gains nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from agent.discovery.ble.peripheral import Deadlines, Peripheral, connected
from agent.errors import AgentError, CorruptError, LinkError, RefusedError
from tests.ble.conftest import PATIENT, Listening, listen
from tests.ble.radio import Radio

pytestmark = pytest.mark.promise("FIND-AUTH")


def meet(radio: Radio, address: str) -> AgentError:
    """Try to prove who is at ``address``, as the enrolled camera; returns how that failed."""

    async def act(ears: Listening) -> AgentError:
        found = await ears.camera(address)
        real = await ears.camera(radio.camera.address)
        assert found.unverified_id == real.unverified_id, "an advert is copied by anybody"
        async with connected(ears.scanner, address, slots=ears.slots, deadlines=PATIENT) as camera:
            with pytest.raises(AgentError) as raised:
                await ears.prove(radio, camera)
        return raised.value

    return listen(radio, act)


def still_there(radio: Radio) -> None:
    """The real camera answers as before."""

    async def act(ears: Listening) -> None:
        await ears.camera(radio.camera.address)
        async with connected(ears.scanner, radio.camera.address, slots=ears.slots, deadlines=PATIENT) as camera:
            await ears.prove(radio, camera)
            assert (await camera.switch(collection=True)).collection

    listen(radio, act)


def record_a_session(radio: Radio) -> None:
    """Let the real camera be proved and switched once, with somebody writing along."""
    still_there(radio)


def test_copied_advert_is_refused_and_the_real_camera_goes_on(radio: Radio) -> None:
    error = meet(radio, radio.do("impostor copy 0")["address"])
    assert isinstance(error, RefusedError)
    assert error.reason == "camera_impostor"
    assert "does not hold the camera's advert key" in error.message
    still_there(radio)


def test_second_device_with_another_key_is_refused_and_the_real_camera_goes_on(radio: Radio) -> None:
    """Also one that holds the advert key."""
    error = meet(radio, radio.do("impostor other-key 0")["address"])
    assert isinstance(error, RefusedError)
    assert error.reason == "camera_impostor"
    assert "another key" in error.message
    still_there(radio)


def test_earlier_session_that_is_played_again_is_refused(radio: Radio) -> None:
    record_a_session(radio)
    error = meet(radio, radio.do("impostor replay 0")["address"])
    assert isinstance(error, RefusedError)
    assert error.reason == "camera_impostor"
    still_there(radio)


@asynccontextmanager
async def relayed(ears: Listening, radio: Radio, *, deadlines: Deadlines = PATIENT) -> AsyncIterator[Peripheral]:
    """The camera, proved through a relay that passes everything on: distance is not proved (docs/ble.md §3)."""
    address = radio.do("impostor relay 0")["address"]
    await ears.camera(address)
    async with connected(ears.scanner, address, slots=ears.slots, deadlines=deadlines) as camera:
        state = await ears.prove(radio, camera)
        assert not state.collection
        yield camera


def test_relay_that_changes_the_state_is_found_out(radio: Radio) -> None:
    async def act(ears: Listening) -> None:
        async with relayed(ears, radio) as camera:
            radio.do("harm change-state")
            with pytest.raises(CorruptError):
                await camera.state()
            with pytest.raises(CorruptError):
                await camera.state()

    listen(radio, act)


def test_relay_that_shows_an_old_state_again_is_not_believed(radio: Radio) -> None:
    """The camera records, and the relay goes on saying that it does not."""

    async def act(ears: Listening) -> None:
        async with relayed(ears, radio, deadlines=replace(PATIENT, call_s=3)) as camera:
            radio.do("harm old-state")
            radio.do("camera 0 stream on")
            with pytest.raises(LinkError, match="in time"):
                await camera.state()

    listen(radio, act)


def test_relay_that_changes_a_switch_does_not_switch_the_camera(radio: Radio) -> None:
    async def act(ears: Listening) -> None:
        async with relayed(ears, radio) as camera:
            radio.do("harm change-switch")
            with pytest.raises(RefusedError):
                await camera.switch(collection=True)

    listen(radio, act)
    assert not radio.now().collecting


def test_relay_that_plays_a_switch_again_does_not_switch_the_camera_back(radio: Radio) -> None:
    """The owner switched on, then off; the relay repeats the first."""

    async def act(ears: Listening) -> None:
        async with relayed(ears, radio) as camera:
            assert (await camera.switch(collection=True)).collection
            assert not (await camera.switch(collection=False)).collection
            radio.do("harm again-switch")
            with pytest.raises(RefusedError):
                await camera.switch(collection=False)

    listen(radio, act)
    assert not radio.now().collecting


def test_relay_that_takes_a_switch_and_drops_it_cannot_say_that_it_was_done(radio: Radio) -> None:
    """A write's response is anybody's; only a state that names the command is the camera's word."""

    async def act(ears: Listening) -> None:
        async with relayed(ears, radio, deadlines=replace(PATIENT, switch_s=2)) as camera:
            radio.do("harm drop-switch")
            switching = asyncio.ensure_future(camera.switch(collection=True))
            await asyncio.sleep(0)
            radio.do("camera 0 stream on")  # a new state, genuine, and not of that command
            with pytest.raises(LinkError, match="in time"):
                await switching

    listen(radio, act)
    assert not radio.now().collecting
