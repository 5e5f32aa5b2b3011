"""What a person types to enrol, and what each way of it compares, over real sessions on loopback."""

import asyncio
import datetime as dt
import itertools
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import enrolment
from agent.camera.answer import AnswerError
from agent.camera.tls import kid_of_pem
from agent.cli.near import near_table
from agent.config import read_config
from agent.envelope import public_jwk, thumbprint
from agent.envelope.label import CameraLabel, camera_fingerprint
from tests.cli.conftest import Device, device, made, shell
from tests.enrolment.far_end import (
    DEVICE,
    OTHER_DEVICE,
    FarEnd,
    camera,
    certificate_of,
    digest_of,
    new_key,
    pem_of,
    written,
)
from tests.link_server.stand import Stand
from tests.screen import on_screen

pytestmark = pytest.mark.promise("FIND-AUTH")

__all__ = ["device", "made", "shell"]

SERIAL = "B8A44F0A98A1"


def where(far_end: FarEnd) -> str:
    return f"{far_end.host}:{far_end.port}"


def enrolled(device: Device) -> list[str]:
    return [one["level"] for one in device.ok("cameras", "--json").json["cameras"]]


def test_label_and_address_enrol_the_camera_that_holds_the_key(device: Device) -> None:
    key = new_key()
    label = CameraLabel(DEVICE, camera_fingerprint(thumbprint(public_jwk(key))).replace(" ", ""))
    with camera(key, DEVICE) as far_end:
        told = device.ok("enrol", str(label), where(far_end), "--name", "Garden")
        assert "set-up window" in told.out
        assert device.ok("enrol", str(label).lower(), where(far_end)).code == 0, "and the same again is the same"
    assert enrolled(device) == ["proved"]
    assert "Garden" in device.ok("cameras").out
    assert "proved" in device.ok("status").out
    assert far_end.sent == b""


def test_key_of_the_label_under_another_id_is_refused(device: Device) -> None:
    key = new_key()
    label = CameraLabel(DEVICE, camera_fingerprint(thumbprint(public_jwk(key))).replace(" ", ""))
    with camera(key, OTHER_DEVICE) as far_end:
        refused = device.agent("enrol", str(label), where(far_end))
    assert (refused.code, enrolled(device)) == (1, [])
    assert "names another camera" in refused.err


def test_accepted_fingerprint_of_another_key_is_refused_and_the_one_there_is_told(device: Device) -> None:
    key, other = new_key(), new_key()
    with camera(other, DEVICE) as far_end:
        refused = device.agent("enrol", "--accept", camera_fingerprint(thumbprint(public_jwk(key))), where(far_end))
    assert (refused.code, enrolled(device)) == (1, [])
    assert camera_fingerprint(thumbprint(public_jwk(other))) in refused.err


@pytest.fixture
def vendor(tmp_path: Path) -> Iterator[tuple[Path, Path, FarEnd]]:
    """A vendor's authority, a stranger's, and a camera with that vendor's certificate and serial number."""
    root, stranger, key = new_key(), new_key(), new_key()
    authority = certificate_of(root, "vendor", authority=True)
    ended = dt.datetime(2021, 1, 1, tzinfo=dt.UTC)  # neither clock is to be relied on
    issued = certificate_of(key, DEVICE, serial=SERIAL, issuer=(authority, root), ends=ended)
    with FarEnd(pem_of(key, issued)) as far_end:
        yield (
            written(tmp_path / "vendor.pem", authority),
            written(tmp_path / "stranger.pem", certificate_of(stranger, "stranger", authority=True)),
            far_end,
        )


def test_vendors_chain_and_the_serial_number_pin_the_key(device: Device, vendor: tuple[Path, Path, FarEnd]) -> None:
    authority, _, far_end = vendor
    told = device.ok("enrol", "--vendor-ca", authority, "--serial", SERIAL, where(far_end), "--json").json
    assert (told["level"], told["device"]) == ("proved", DEVICE)


def test_chain_of_another_vendor_is_refused(device: Device, vendor: tuple[Path, Path, FarEnd]) -> None:
    _, stranger, far_end = vendor
    refused = device.agent("enrol", "--vendor-ca", stranger, "--serial", SERIAL, where(far_end))
    assert (refused.code, enrolled(device)) == (1, [])
    assert "not issued by that vendor" in refused.err


@pytest.mark.parametrize(("serial", "code"), [("B8A44F0A98A2", 1), ("", 2)])
def test_another_serial_number_of_the_same_vendor_is_refused(
    device: Device, vendor: tuple[Path, Path, FarEnd], serial: str, code: int
) -> None:
    authority, _, far_end = vendor
    refused = device.agent("enrol", "--vendor-ca", authority, "--serial", serial, where(far_end))
    assert (refused.code, enrolled(device)) == (code, [])
    assert "serial number" in refused.err


def test_certificate_is_shown_first_and_pinned_when_it_was_compared(device: Device) -> None:
    key = new_key()
    certificate = certificate_of(key)
    with FarEnd(pem_of(key, certificate), maximum=ssl.TLSVersion.TLSv1_2) as far_end:
        shown = device.agent("enrol", "--pinned", where(far_end))
        assert shown.code == 1
        accept = f"--accept {digest_of(certificate).hex()} --config {device.config}\n"
        assert f": privacy-agent enrol --pinned {where(far_end)} {accept}" in shown.err
        assert enrolled(device) == []
        wrong = device.agent("enrol", "--pinned", where(far_end), "--accept", "0" * 64)
        assert (wrong.code, enrolled(device)) == (1, [])
        device.ok("enrol", "--pinned", where(far_end), "--accept", digest_of(certificate).hex())
    assert enrolled(device) == ["pinned"]
    assert far_end.sent == b""


async def own_kid(device: Device) -> str:
    """What cameras know this agent by."""
    async with device.parts() as parts:
        shown = await parts.index.write(lambda tx: enrolment.link_identity(tx, moment=parts.now()))
        return kid_of_pem(shown.certificate_pem)


def test_forgotten_camera_that_is_not_there_is_to_be_reset_and_a_paired_one_too(device: Device) -> None:
    key = new_key()
    label = CameraLabel(DEVICE, camera_fingerprint(thumbprint(public_jwk(key))).replace(" ", ""))
    with camera(key, DEVICE) as far_end:
        made = device.ok("enrol", str(label), where(far_end), "--json").json
    assert "until a person resets it" in device.ok("forget-camera", made["camera"]).out
    assert AnswerError("paired_elsewhere").hint.startswith("reset the camera")


def test_forgotten_camera_is_told_so_and_is_free_for_another_agent(device: Device, tmp_path: Path) -> None:
    with Stand(tmp_path / "camera") as stand:
        made = device.ok("enrol", stand.device.label, f"127.0.0.1:{stand.port}", "--json").json
        kid = asyncio.run(own_kid(device))
        stand.do(stand.device.open_setup)
        stand.do(lambda: stand.device.pair(kid))
        stand.do(lambda: stand.device.collect(enabled=True))
        assert "records no more" in device.ok("forget-camera", made["camera"]).out
        assert (stand.device.agent, stand.device.collecting) == ("", False)
        # As when the power failed between the camera's answer and ours.
        made = device.ok("enrol", stand.device.label, f"127.0.0.1:{stand.port}", "--json").json
        assert "not paired" in device.ok("forget-camera", made["camera"]).out
    assert enrolled(device) == ["forgotten"], "it is known still, and trusted no more"


def test_forgotten_camera_keeps_its_name_and_is_no_configured_one(device: Device) -> None:
    key = new_key()
    label = CameraLabel(DEVICE, camera_fingerprint(thumbprint(public_jwk(key))).replace(" ", ""))
    with camera(key, DEVICE) as far_end:
        made = device.ok("enrol", str(label), where(far_end), "--name", "Front door", "--json").json
        assert "Front door" in device.ok("forget-camera", "Front door").out, "by its name"
        (told,) = device.ok("cameras", "--json").json["cameras"]
        assert (told["camera"], told["level"], told["name"]) == (made["camera"], "forgotten", "Front door")
        assert "its card may hold clear recordings" in device.ok("cameras").out
        again = device.ok("enrol", str(label), where(far_end)).out
    assert "If it knows this agent still" in again


def test_name_that_two_cameras_have_means_neither(device: Device) -> None:
    for number in (8, 9):
        device.ok("enrol", "--configured", f"rtsp://192.0.2.{number}/stream", "--name", "Porch")
    for words in (("forget-camera", "Porch"), ("inventory", "--camera", "Porch")):
        refused = device.agent(*words)
        assert refused.code != 0
        assert "2 cameras are called 'Porch'" in refused.err
    assert enrolled(device) == ["configured", "configured"]


def test_camera_is_selected_by_its_name(device: Device) -> None:
    held = device.take_in("front/a.mp4", "back/b.mp4")
    (one,) = device.ok("inventory", "--camera", "front", "--json").json["objects"]
    assert one["camera_label"] == "front"
    assert len(held) == 2


def test_next_step_after_enrolling_is_the_one_that_is_left(device: Device) -> None:
    key = new_key()
    label = CameraLabel(DEVICE, camera_fingerprint(thumbprint(public_jwk(key))).replace(" ", ""))
    with camera(key, DEVICE) as far_end:
        told = device.ok("enrol", str(label), where(far_end))
        assert "Now open its set-up window" in told.out
        assert "[discovery]" not in told.out, "it was given an address"
        pair(device)
        assert "nothing is left to do" in device.ok("enrol", str(label), where(far_end)).out
    assert "Nothing is collected by that alone" in device.ok("enrol", "--configured", "rtsp://192.0.2.8/stream").out


def pair(device: Device) -> None:
    """Let the only enrolled camera be paired, as the agent does when it met it."""

    async def write() -> None:
        async with device.parts() as parts:
            (one,) = await parts.index.read(enrolment.enrolled)
            moment = parts.now()
            await parts.index.write(lambda tx: enrolment.pair(tx, one.camera, advert_key=bytes(32), moment=moment))

    asyncio.run(write())


def test_how_an_enrolled_camera_is_says_that_no_agent_runs(device: Device) -> None:
    key = new_key()
    label = CameraLabel(DEVICE, camera_fingerprint(thumbprint(public_jwk(key))).replace(" ", ""))
    with camera(key, DEVICE) as far_end:
        device.ok("enrol", str(label), where(far_end))
    _code, told = on_screen("privacy-agent", "cameras", "--config", device.config, columns=80)
    assert "not paired yet" in told
    start = f"\n  privacy-agent run --config {device.config}\n"  # whole: a broken one cannot be copied
    assert told.endswith("\nNo agent runs, so none is looked for and nothing is taken in. Start it:" + start)
    pair(device)
    assert device.ok("status", "--json").json["cameras"][0]["how"] == {"state": "paired"}


def test_address_alone_is_enrolled_as_that(device: Device) -> None:
    device.ok("enrol", "--configured", "rtsp://192.0.2.8/stream", "--name", "Porch")
    assert enrolled(device) == ["configured"]


@pytest.mark.parametrize(
    ("address", "words"),
    [("127.0.0.1", "the connection was refused"), ("localhost", "the connection was refused")],
)
def test_address_where_nobody_answers_is_told_in_words(device: Device, address: str, words: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    ran = device.agent("enrol", str(CameraLabel(DEVICE, "0" * 32)), f"{address}:{port}")
    assert ran.code == 1
    assert ran.err.startswith(f"privacy-agent: {address}:{port}: {words}\n  next: check the address")


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("PVCAM:1:NO",),
        ("--configured",),
        ("--configured", "rtsp://ada:secret@192.0.2.8/stream"),
        ("--configured", "file:///etc/passwd"),
        ("--pinned", "192.0.2.8"),
        ("--accept", "0"),
        ("--accept", "0" * 32, "--configured", "192.0.2.8:1"),
        ("one", "two", "three"),
    ],
)
def test_what_cannot_be_meant_is_told_with_the_fix(device: Device, words: tuple[str, ...]) -> None:
    refused = device.agent("enrol", *words)
    assert refused.code == 2
    assert "next: " in refused.err
    assert "secret" not in refused.err
    assert enrolled(device) == []


def test_camera_that_is_not_enrolled_cannot_be_forgotten(device: Device) -> None:
    assert device.agent("forget-camera", "zzzzzzzz").code == 2


def test_objects_are_listed_with_the_level_of_their_camera(device: Device) -> None:
    (held,) = device.take_in("front/a.mp4")
    told = device.ok("inventory", "--json").json
    assert told["levels"] == {told["objects"][0]["camera"]: "configured"}
    assert device.ok("explain", held, "--json").json["camera_level"] == "configured"
    assert "configured" in device.ok("inventory").out


def test_doctor_tells_what_may_be_heard(device: Device) -> None:
    assert device.examined()["discovery"]["told"].startswith("off, no [discovery]")
    device.config.write_text(device.config.read_text() + '\n[discovery]\ninterfaces = ["nowhere0"]\n')
    found = device.examined()
    assert found["discovery mdns, onvif"]["verdict"] == "look"
    assert "none of nowhere0 is up" in found["discovery mdns, onvif"]["next"]


def near_by(state: str, *, address: str, says: str = "", **more: object) -> dict[str, object]:
    """One device as the ``nearby`` verb tells it."""
    heard = {"way": "mdns", "place": "eth0", "unverified_name": says, "addresses": [address], "gone": False}
    usual = {"signal_dbm": None, "leaks": [], "heard": [heard], "reachable": True, "last_seen": "2026-03-01T10:15:00Z"}
    return usual | {"state": state} | more


NEAR = [
    near_by("enrolled", address="192.0.2.4:8443", level="proved", camera="garden00", name="Garden"),
    near_by("impostor", address="192.0.2.5:8443", impostor_of="garden00", rule="copied_advert"),
    near_by("new", address="192.0.2.6:8443", fingerprint=" ".join(["fa9d"] * 8), unverified_device="abcdefgh234567aa"),
    near_by("heard", address="192.0.2.4:80", says="\x1b[2JDoor", leaks=[{"code": "mac", "advice": "rename it"}]),
    near_by("heard", address="192.0.2.9:80", says="Porch", leaks=[{"code": "mac", "advice": "rename it"}]),
]


def test_table_of_what_is_near_says_who_is_who_and_what_to_do() -> None:
    told = near_table(
        {"near": NEAR, "troubles": [{"way": "ble", "place": "", "reason": "no_adapter", "next": "plug one in"}]}
    )
    assert "\x1b" not in told
    for words in ("proved", "garden00 Garden", "not garden00", "fa9d fa9d", "enrol LABEL", "no adapter", "plug one in"):
        assert words in told
    assert told.count("rename it") == 1, "advice is given once, however many need it"
    assert told.splitlines()[1].startswith("impostor"), "what is most urgent stands first"


def test_two_announcements_of_one_address_are_kept_apart_and_that_is_said() -> None:
    told = near_table({"near": NEAR, "troubles": []}).splitlines()
    (beneath,) = [after for line, after in itertools.pairwise(told) if "192.0.2.4:80 " in f"{line} "]
    assert "same address as garden00 Garden" in beneath
    assert sum("same address" in line for line in told) == 1


def test_trouble_that_several_ways_have_is_said_once() -> None:
    trouble = {"place": "", "reason": "no_interface", "next": "connect the network"}
    told = near_table({"near": [], "troubles": [trouble | {"way": "mdns"}, trouble | {"way": "onvif"}]})
    assert told.count("connect the network") == 1
    assert "mdns, onvif" in told


def test_agent_that_listens_for_nothing_loads_nothing_of_it(device: Device) -> None:
    code = (
        "import sys, agent.app.running, agent.app.verbs, agent.cli.running; "
        "print([name for name in sys.modules if name.split('.')[0] in {'zeroconf', 'bleak', 'dbus_fast'}"
        " or name.startswith(('agent.nearby.flow', 'agent.discovery.ble', 'agent.discovery.mdns'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert read_config(device.config).discovery is None
