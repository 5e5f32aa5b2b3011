"""A whole meeting over Bluetooth, as a running agent has it: paired where a passkey waits, proved, switched, read."""

from collections.abc import Callable
from functools import partial

import pytest

from agent.app.nearby import Radio as Kept
from agent.app.nearby import proving
from agent.app.passkey import Passkeys
from agent.discovery.ble.peripheral import connected
from agent.enrolment import Enrolled, new_link_identity
from agent.envelope import private_key_from_pem, public_jwk, thumbprint
from agent.errors import LinkError, RefusedError
from tests.ble.conftest import PATIENT, Listening, listen
from tests.ble.radio import Radio

pytestmark = pytest.mark.promise("FIND-BLE")

CAMERA = "k3x9abcd"
PASSKEY = "123456"


def test_camera_that_proved_itself_is_met_where_its_model_and_firmware_are_refused(
    start_radio: Callable[..., Radio],
) -> None:
    identity, told = new_link_identity(), list[tuple[str, bool, bool]]()
    radio = start_radio(f"--agent={thumbprint(public_jwk(private_key_from_pem(identity.key_pem)))}")
    kept = Kept(wanted=lambda _camera: True, said=lambda *words: told.append(words), passkeys=Passkeys())
    enrolled = Enrolled(camera=CAMERA, level="proved", kid=radio.camera.kid, advert_key=radio.camera.advert_key)

    async def act(ears: Listening) -> None:
        prove = proving(ears.scanner, identity, kept)
        assert prove is not None
        sighting = await ears.camera(radio.camera.address)
        radio.do("on information-locked")
        met = await prove(sighting, enrolled)
        assert (met.state["collection"], met.unverified) == (True, {})

    listen(radio, act)
    assert told == [(CAMERA, True, False)]


def test_passkey_outlasts_a_connection_that_fails_and_is_used_up_by_the_pairing_that_follows(
    start_radio: Callable[..., Radio],
) -> None:
    radio, passkeys = start_radio("--passkey", PASSKEY), Passkeys()
    passkeys.give(CAMERA, PASSKEY)

    async def act(ears: Listening) -> None:
        await ears.camera(radio.camera.address)
        meet = partial(connected, ears.scanner, radio.camera.address, slots=ears.slots, deadlines=PATIENT)
        radio.do("on connect-fails")
        with pytest.raises(LinkError, match="connection to the camera failed"):
            async with meet(passkey_of=partial(passkeys.take, CAMERA)):
                raise AssertionError("connected")
        radio.do("off connect-fails")
        ears.forget()
        await ears.camera(radio.camera.address)
        async with meet(passkey_of=partial(passkeys.take, CAMERA)) as camera:
            await ears.prove(radio, camera)

    listen(radio, act)
    assert passkeys.take(CAMERA) is None


def test_passkey_of_a_meeting_that_breaks_after_pairing_is_used_up(start_radio: Callable[..., Radio]) -> None:
    """Who cuts each link learns a passkey that is used again bit by bit."""
    identity, passkeys = new_link_identity(), Passkeys()
    shown = public_jwk(private_key_from_pem(identity.key_pem))
    radio = start_radio("--passkey", PASSKEY, f"--agent={thumbprint(shown)}")
    kept = Kept(wanted=lambda _camera: True, said=lambda *_told: None, passkeys=passkeys)
    enrolled = Enrolled(camera=CAMERA, level="proved", kid=radio.camera.kid, advert_key=radio.camera.advert_key)

    async def act(ears: Listening) -> None:
        prove = proving(ears.scanner, identity, kept)
        assert prove is not None
        sighting = await ears.camera(radio.camera.address)
        with pytest.raises(RefusedError, match="wants to be paired"):
            await prove(sighting, enrolled)
        passkeys.give(CAMERA, PASSKEY)
        ears.forget()
        sighting = await ears.camera(radio.camera.address)
        radio.do("on read-cut")
        with pytest.raises(LinkError, match="link"):
            await prove(sighting, enrolled)
        assert passkeys.take(CAMERA) is None
        radio.do("off read-cut")
        ears.forget()
        met = await prove(await ears.camera(radio.camera.address), enrolled)
        assert met.state["collection"] is True, "it was paired, and stays so"

    listen(radio, act)
