"""What a Bluetooth LE advert becomes: a hint about a camera, or nothing."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.discovery.ble.advert import Advert, is_camera, rotating_id, sighting
from agent.discovery.ble.service import GOPRO, IMPROV, IMPROV_DATA, SERVICE
from agent.discovery.rotating import id_text
from agent.discovery.sighting import TEXT_MAX, Sighting
from device_sim.ble import wire
from device_sim.ble.camera import BareCamera

ID = bytes(range(8))


def heard(**words: object) -> Sighting | None:
    told: dict[str, object] = {"address": "50:00:00:00:00:01", "address_type": "random", **words}
    return sighting(Advert(**told), adapter="hci0", now_ms=5)  # type: ignore[arg-type] # words of a test


def codes(found: Sighting | None) -> list[str]:
    assert found is not None
    return [leak.code for leak in found.leaks]


def test_camera_of_ours_is_told_with_its_rotating_id() -> None:
    found = heard(service_data={SERVICE: ID}, rssi_dbm=-61)
    assert found == Sighting(
        way="ble",
        place="hci0",
        key="50:00:00:00:00:01",
        service=SERVICE,
        seen_ms=5,
        unverified_id=base64.b32encode(ID).decode().rstrip("=").lower(),
        signal_dbm=-61,
    )


@pytest.mark.parametrize("size", [0, 7, 9])
def test_id_of_another_length_is_none(size: int) -> None:
    found = heard(service_data={SERVICE: bytes(size)})
    assert found is not None
    assert found.unverified_id == ""


def test_camera_that_only_lists_the_service_is_told_too() -> None:
    found = heard(uuids=[SERVICE])
    assert found is not None
    assert found.service == SERVICE


@pytest.mark.parametrize("words", [{}, {"uuids": ["0000180f-0000-1000-8000-00805f9b34fb"], "name": "Camera"}])
def test_things_that_are_no_cameras_are_not_looked_at(words: dict[str, object]) -> None:
    assert heard(**words) is None


def test_device_that_waits_to_be_given_a_network_is_told_as_open() -> None:
    assert codes(heard(uuids=[IMPROV], service_data={IMPROV_DATA: b"\x02\x01\0\0\0\0"})) == ["setup_mode"]


def test_device_that_has_its_network_is_not() -> None:
    assert codes(heard(uuids=[IMPROV], service_data={IMPROV_DATA: b"\x04\x01\0\0\0\0"})) == []


def test_camera_of_ours_that_waits_for_a_network_too_is_told_as_open() -> None:
    found = heard(service_data={SERVICE: ID, IMPROV_DATA: b"\x01\0\0\0\0\0"})
    assert codes(found) == ["setup_mode"]


def test_fixed_address_is_a_leak() -> None:
    assert codes(heard(service_data={SERVICE: ID}, address_type="public")) == ["mac"]


def test_name_of_a_camera_that_should_have_none_is_a_leak() -> None:
    assert codes(heard(service_data={SERVICE: ID}, name="Anna's camera")) == ["owner_name"]


def test_serial_number_in_a_makers_name_is_a_leak() -> None:
    assert codes(heard(uuids=[GOPRO], name="GoPro 1234")) == ["serial"]


def test_every_leak_has_a_next_step() -> None:
    found = heard(
        service_data={SERVICE: ID, IMPROV_DATA: b"\x01"}, name="x", address_type="public", uuids=[GOPRO, IMPROV]
    )
    assert found is not None
    assert all(":" in leak.advice for leak in found.leaks)
    assert len(found.leaks) == 3


def test_name_moves_no_cursor_and_is_cut() -> None:
    found = heard(uuids=[SERVICE], name="\x1b[2J\n" + "x" * 500)
    assert found is not None
    assert found.unverified_name.isprintable()
    assert len(found.unverified_name) <= TEXT_MAX


@given(
    name=st.text(max_size=40),
    uuids=st.lists(st.sampled_from([SERVICE, GOPRO, IMPROV, "x"]), max_size=4),
    data=st.dictionaries(st.sampled_from([SERVICE, IMPROV_DATA, "y"]), st.binary(max_size=31), max_size=3),
)
def test_any_advert_is_told_or_not_and_breaks_nothing(name: str, uuids: list[str], data: dict[str, bytes]) -> None:
    found = heard(name=name, uuids=uuids, service_data=data)
    assert (found is not None) == is_camera(uuids, data)


def test_rotating_id_is_the_beginning_of_what_the_camera_link_announces() -> None:
    """docs/camera-link.md §7 has the example: `ewyjkd5kfj4utll5` on day 20783."""
    key = bytes(range(32))
    assert base64.b32decode("EWYJKD5KFJ4UTLL5").startswith(rotating_id(key, unix_day=20783))
    assert id_text(rotating_id(key, unix_day=20783))[:12] == "ewyjkd5kfj4u"


def test_rotating_id_is_the_cameras() -> None:
    camera = BareCamera(agent="", now_s=lambda: 20783 * 86_400.0)
    assert rotating_id(camera.advert_key, unix_day=20783) == wire.rotating_id(camera)
