"""One bounded inventory of all ways, joined by what was proved and by nothing else."""

import msgspec
import pytest

from agent.camera.tls import Shown
from agent.discovery.sighting import Leak, Lost, Sighting, Trouble
from agent.enrolment import Enrolled
from agent.nearby.inventory import GONE_MS, ROWS_MAX, TROUBLES_MAX, Inventory, Row
from agent.nearby.judging import Impostor, Same, Stranger

pytestmark = [pytest.mark.promise("FIND-LAN"), pytest.mark.promise("FIND-AUTH")]

NOW = 1_800_000_000_000
GARDEN = Enrolled(camera="garden00", device="abcdefgh234567xy", level="proved", kid="G" * 43)
HEARD = Sighting(
    way="mdns",
    place="eth0",
    key="one",
    service="_camera-link._tcp",
    seen_ms=NOW,
    unverified_name="Front door",
    unverified_id="aaaabbbbccccdddd",
    addresses=("192.0.2.4",),
    port=8443,
)
BY_RADIO = Sighting(way="ble", place="hci0", key="AA:BB", service="uuid", seen_ms=NOW, signal_dbm=-60)


def shown(kid: str, device: str = "") -> Shown:
    return Shown(kid=kid, unverified_device=device, certificate_sha256=b"c" * 32, certificate=b"")


def heard(inventory: Inventory, sighting: Sighting = HEARD, *, at_ms: int = NOW, **changed: object) -> Row | None:
    return inventory.hear(msgspec.structs.replace(sighting, **changed), now_ms=at_ms)


def prove(row: Row | None, kid: str = GARDEN.kid, *, camera: str = "garden00") -> None:
    assert row is not None
    row.shown = shown(kid, GARDEN.device)
    row.verdict = Same(camera) if camera else Stranger()


def test_same_name_and_address_are_two_devices_until_both_proved_one_key() -> None:
    inventory = Inventory()
    first, second = heard(inventory), heard(inventory, way="onvif", key="urn:uuid:1")
    assert len(inventory.devices(())) == 2
    prove(first, camera="")
    assert len(inventory.devices(())) == 2, "one proof joins nothing to it"
    prove(second, camera="")
    (device,) = inventory.devices(())
    assert {row.sighting.way for row in device.rows} == {"mdns", "onvif"}
    assert device.kid == GARDEN.kid


def test_enrolled_camera_is_listed_whether_it_is_heard_or_not() -> None:
    inventory = Inventory()
    (silent,) = inventory.devices([GARDEN])
    assert (silent.camera, silent.rows) == (GARDEN, ())
    prove(heard(inventory))
    prove(heard(inventory, BY_RADIO))
    (there,) = inventory.devices([GARDEN])
    assert len(there.rows) == 2
    assert there.signal_dbm == -60


def test_goodbye_ends_the_display_and_takes_no_trust() -> None:
    inventory = Inventory()
    prove(heard(inventory))
    inventory.hear(Lost(way="mdns", place="eth0", key="one"), now_ms=NOW)
    (device,) = inventory.devices([GARDEN])
    assert device.camera == GARDEN
    assert device.rows[0].gone_ms == NOW
    inventory.lapse(now_ms=NOW + GONE_MS - 1)
    assert len(inventory.devices([GARDEN])[0].rows) == 1
    inventory.lapse(now_ms=NOW + GONE_MS)
    (device,) = inventory.devices([GARDEN])
    assert (device.camera, device.rows) == (GARDEN, ())


def test_goodbye_for_what_was_never_heard_is_nothing() -> None:
    inventory = Inventory()
    assert inventory.hear(Lost(way="ble", place="hci0", key="?"), now_ms=NOW) is None
    assert inventory.devices(()) == ()


def test_words_that_change_are_to_be_proved_anew_and_the_same_words_are_not() -> None:
    for changed in ({"addresses": ("192.0.2.9",)}, {"port": 8554}, {"unverified_id": "x"}, {"service": "_rtsp._tcp"}):
        inventory = Inventory()
        prove(heard(inventory))
        assert heard(inventory) is None
        row = heard(inventory, **changed)
        assert row is not None, changed
        assert (row.shown, row.verdict) == (None, None), "an address that a stranger wrote keeps no proof"


def test_order_of_addresses_and_a_new_name_need_no_proof() -> None:
    inventory = Inventory()
    prove(heard(inventory, addresses=("192.0.2.4", "fe80::1%eth0")))
    assert heard(inventory, addresses=("fe80::1%eth0", "192.0.2.4"), unverified_name="Other") is None


def test_what_comes_back_is_checked_again_with_its_proof_in_hand() -> None:
    inventory = Inventory()
    prove(heard(inventory))
    inventory.hear(Lost(way="mdns", place="eth0", key="one"), now_ms=NOW)
    row = heard(inventory, at_ms=NOW + 1)
    assert row is not None
    assert (row.gone_ms, row.verdict, row.first_ms, row.last_ms) == (None, Same("garden00"), NOW, NOW + 1)


def test_flood_is_bounded_and_pushes_no_proved_camera_out() -> None:
    inventory = Inventory()
    prove(heard(inventory))
    for at in range(3 * ROWS_MAX):
        heard(inventory, key=f"flood {at}", at_ms=NOW + 1 + at)
    rows = list(inventory.rows())
    assert len(rows) == ROWS_MAX
    assert len(inventory.rows_of("garden00")) == 1
    assert rows[-1].sighting.key == f"flood {3 * ROWS_MAX - 1}", "the newest is shown"


def test_what_is_gone_makes_room_before_what_is_there() -> None:
    inventory = Inventory()
    for at in range(ROWS_MAX):
        heard(inventory, key=f"{at}", at_ms=NOW + at)
    inventory.hear(Lost(way="mdns", place="eth0", key=str(ROWS_MAX - 1)), now_ms=NOW)
    heard(inventory, key="new")
    assert inventory.row(("mdns", "eth0", "0")) is not None
    assert inventory.row(("mdns", "eth0", str(ROWS_MAX - 1))) is None


def test_impostors_are_listed_apart_from_each_other_and_from_the_camera() -> None:
    inventory = Inventory()
    prove(heard(inventory))
    for key in ("two", "three"):
        row = heard(inventory, key=key)
        assert row is not None
        row.shown, row.verdict = shown("X" * 43, GARDEN.device), Impostor("garden00", "second_device")
    camera, *others = inventory.devices([GARDEN])
    assert len(camera.rows) == 1
    assert [other.impostor for other in others] == [Impostor("garden00", "second_device")] * 2
    assert all(other.camera is None for other in others)


def test_forgotten_camera_is_no_camera_of_ours() -> None:
    inventory = Inventory()
    prove(heard(inventory))
    (device,) = inventory.devices(())
    assert (device.camera, device.kid) == (None, GARDEN.kid)


def test_leaks_of_all_ways_are_told_once_each() -> None:
    inventory = Inventory()
    mac, serial = Leak(code="mac", advice="a"), Leak(code="serial", advice="b")
    prove(heard(inventory, leaks=(mac,)))
    prove(heard(inventory, BY_RADIO, leaks=(mac, serial)))
    (device,) = inventory.devices([GARDEN])
    assert device.leaks == (mac, serial)


def test_trouble_stands_until_it_is_over_and_troubles_are_bounded() -> None:
    inventory = Inventory()
    off = Trouble(way="ble", place="hci0", reason="adapter_off", hint="switch it on")
    inventory.hear(off, now_ms=NOW)
    assert inventory.troubles() == (off,)
    inventory.hear(Trouble(way="ble", place="hci0", reason=""), now_ms=NOW)
    assert inventory.troubles() == ()
    for at in range(2 * TROUBLES_MAX):
        inventory.hear(msgspec.structs.replace(off, place=f"hci{at}"), now_ms=NOW)
    assert len(inventory.troubles()) == TROUBLES_MAX
