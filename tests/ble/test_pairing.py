"""A camera that demands it is paired with its passkey; nobody else is, whatever they ask."""

import asyncio
from collections.abc import Callable

import pytest
from dbus_fast import Message, MessageType
from dbus_fast.aio import MessageBus

from agent.discovery.ble.bluez import bluez
from agent.discovery.ble.pairing import passkey
from agent.discovery.ble.peripheral import Peripheral, connected, nobody_typed
from agent.errors import ConfigError, RefusedError
from tests.ble.conftest import PATIENT, Listening, listen, talk
from tests.ble.radio import Radio

pytestmark = [pytest.mark.promise("FIND-BLE"), pytest.mark.promise("FIND-AUTH")]

NUMBER = 123456


@pytest.fixture
def locked(start_radio: Callable[..., Radio]) -> Radio:
    return start_radio("--passkey", str(NUMBER))


def test_camera_that_wants_to_be_paired_says_so_with_the_next_step(locked: Radio) -> None:
    async def act(ears: Listening, camera: Peripheral) -> None:
        with pytest.raises(RefusedError, match="passkey") as raised:
            await ears.prove(locked, camera)
        assert (raised.value.reason, raised.value.retry) == ("passkey", "after_fix")

    talk(locked, act)


def test_camera_is_paired_with_its_passkey_and_stays_so(locked: Radio) -> None:
    async def act(ears: Listening) -> None:
        address = locked.camera.address
        for passkey_of in (lambda: NUMBER, nobody_typed):
            await ears.camera(address)
            where = ears.scanner, address
            async with connected(*where, slots=ears.slots, passkey_of=passkey_of, deadlines=PATIENT) as camera:
                await ears.prove(locked, camera)
                await camera.switch(collection=True)
            ears.forget()

    listen(locked, act)


def test_wrong_passkey_is_refused_and_the_right_one_works_afterwards(locked: Radio) -> None:
    async def act(ears: Listening) -> None:
        address = locked.camera.address
        await ears.camera(address)
        where = ears.scanner, address
        with pytest.raises(RefusedError, match="did not take the passkey"):
            async with connected(*where, slots=ears.slots, passkey_of=lambda: NUMBER + 1, deadlines=PATIENT):
                raise AssertionError("paired")
        ears.forget()
        await ears.camera(address)
        async with connected(*where, slots=ears.slots, passkey_of=lambda: NUMBER, deadlines=PATIENT) as camera:
            await ears.prove(locked, camera)

    listen(locked, act)


def test_request_that_makes_bluez_pair_by_itself_is_answered_with_the_passkey(locked: Radio) -> None:
    """The double is kinder than BlueZ unless told not to be: on hardware the protected read itself begins pairing."""

    async def act(ears: Listening) -> None:
        locked.do("on raises-security")
        await ears.camera(locked.camera.address)
        line = ears.scanner.bluez
        assert line is not None
        device = ears.scanner.device(locked.camera.address)
        assert device is not None
        async with passkey(line, device_path=device.details["path"], number=NUMBER):
            where = ears.scanner, locked.camera.address
            async with connected(*where, slots=ears.slots, deadlines=PATIENT) as camera:
                await ears.prove(locked, camera)

    listen(locked, act)


def test_request_that_makes_bluez_pair_finds_nobody_who_answers_when_no_passkey_was_given(locked: Radio) -> None:
    """Nothing pairs because something asked."""
    locked.do("on raises-security")

    async def act(ears: Listening, camera: Peripheral) -> None:
        with pytest.raises(RefusedError):
            await ears.prove(locked, camera)

    talk(locked, act)


@pytest.mark.parametrize("number", [-1, 1_000_000])
def test_passkey_of_another_length_is_a_persons_mistake(number: int, locked: Radio) -> None:
    async def act(ears: Listening) -> None:
        await ears.camera(locked.camera.address)
        where = ears.scanner, locked.camera.address
        with pytest.raises(ConfigError, match="six digits"):
            async with connected(*where, slots=ears.slots, passkey_of=lambda: number, deadlines=PATIENT):
                raise AssertionError("paired")

    listen(locked, act)


QUESTIONS = [
    ("RequestPasskey", "o", ["/org/bluez/hci0/dev_00_00_00_00_00_99"]),
    ("RequestConfirmation", "ou", ["/org/bluez/hci0/dev_00_00_00_00_00_01", 1]),
    ("RequestAuthorization", "o", ["/org/bluez/hci0/dev_00_00_00_00_00_01"]),
    ("RequestPinCode", "o", ["/org/bluez/hci0/dev_00_00_00_00_00_01"]),
    ("AuthorizeService", "os", ["/org/bluez/hci0/dev_00_00_00_00_00_01", "x"]),
    ("DisplayPasskey", "ouq", ["/org/bluez/hci0/dev_00_00_00_00_00_01", 1, 1]),
]


@pytest.mark.parametrize(("member", "signature", "body"), QUESTIONS, ids=[one[0] for one in QUESTIONS])
def test_every_other_question_of_bluez_is_rejected(
    member: str, signature: str, body: list[object], radio: Radio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Just works, a comparison of numbers, another device: not asked for."""
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", radio.bus)

    async def ask() -> Message:
        async with (
            bluez(deadline_s=PATIENT.call_s) as line,
            passkey(line, device_path="/org/bluez/hci0/dev_00_00_00_00_00_01", number=NUMBER),
        ):
            asker = await MessageBus(bus_address=radio.bus).connect()
            question = Message(
                destination=line.bus.unique_name,
                path="/privacy_agent/passkey",
                interface="org.bluez.Agent1",
                member=member,
                signature=signature,
                body=body,
            )
            try:
                return await asker.call(question)
            finally:
                asker.disconnect()

    answer = asyncio.run(ask())
    assert (answer.message_type, answer.error_name) == (MessageType.ERROR, "org.bluez.Error.Rejected")
