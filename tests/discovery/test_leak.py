"""What an advert gives away is told, and what gives nothing away is not."""

import pytest

from agent.discovery.leak import ADVICE, of_onvif, of_service

pytestmark = pytest.mark.promise("FIND-LAN")

LINK = "_camera-link._tcp.local."
HAP = "_hap._tcp.local."


def codes(service_type: str, *, name: str = "x", host: str = "x.local.", **properties: str) -> list[str]:
    return [one.code for one in of_service(service_type, name=name, host=host, properties=properties)]


@pytest.mark.parametrize(
    ("service_type", "told", "leaks"),
    [
        ("_axis-video._tcp.local.", {"name": "AXIS M2026-LE Mk II - B8A44F0A98A1"}, ["mac"]),
        ("_axis-video._tcp.local.", {"macaddress": "00408c123456"}, ["mac"]),
        ("_camera._tcp.local.", {"host": "cam-b8a44f0a98a1.local."}, ["mac"]),
        ("_camera._tcp.local.", {"name": "b8:a4:4f:0a:98:a1"}, ["mac"]),
        ("_camera._tcp.local.", {"note": "B8-A4-4F-0A-98-A1"}, ["mac"]),
        ("_camera._tcp.local.", {"SerialNumber": "4711"}, ["serial"]),
        ("_camera._tcp.local.", {"sn": "4711", "fw_version": "1.2.3"}, ["serial", "version"]),
        ("_camera._tcp.local.", {"name": "Anna's camera"}, ["owner_name"]),
        ("_camera._tcp.local.", {"name": "Anna\N{RIGHT SINGLE QUOTATION MARK}s camera"}, ["owner_name"]),
        (HAP, {"sf": "1", "ci": "17"}, ["setup_mode"]),
        (HAP, {"sf": "5", "ci": "17"}, ["setup_mode"]),
        ("_matterc._udp.local.", {"CM": "1"}, ["setup_mode"]),
        ("_matterc._udp.local.", {"CM": "2"}, ["setup_mode"]),
        (LINK, {"v": "1", "setup": "1"}, ["setup_mode"]),
        ("_rtsp._tcp.local.", {}, ["cleartext_rtsp"]),
    ],
)
def test_leak_of_a_service_is_told(service_type: str, told: dict[str, str], leaks: list[str]) -> None:
    assert codes(service_type, **told) == leaks


@pytest.mark.parametrize(
    ("service_type", "told"),
    [
        (LINK, {"name": "ewyjkd5kfj4utll5", "host": "ewyjkd5kfj4utll5.local.", "v": "1", "id": "zttpp3oexzfb2t6u"}),
        (HAP, {"id": "AA:BB:CC:DD:EE:FF", "sf": "0", "ci": "17", "pv": "1.1"}),
        (HAP, {"sf": "9" * 40}),
        (HAP, {"sf": "-1"}),
        ("_matterc._udp.local.", {"CM": "0"}),
        ("_camera._tcp.local.", {"serial": ""}),
        ("_camera._tcp.local.", {"name": "camera 123456789012 facade12345678"}),
        ("_camera._tcp.local.", {"note": "B8:A4:4F:0A:98"}),
        ("_camera._tcp.local.", {"note": "b8a44f0a98a1ff"}),
    ],
)
def test_service_that_gives_nothing_away_is_not_blamed(service_type: str, told: dict[str, str]) -> None:
    assert codes(service_type, **told) == []


@pytest.mark.parametrize(
    ("reference", "scopes", "leaks"),
    [
        ("urn:uuid:0f3c8a4e-6f0b-4d7c-9f5e-2a1b3c4d5e6f", ["onvif://www.onvif.org/Profile/T"], []),
        ("urn:uuid:4d454930-0000-1000-8000-bcad28123456", [], ["mac"]),
        ("urn:uuid:4d454930-0000-1000-8000-bdad28123456", [], []),
        ("urn:uuid:0f3c8a4e-6f0b-4d7c-9f5e-2a1b3c4d5e6f", ["onvif://www.onvif.org/MAC/bc:ad:28:12:34:56"], ["mac"]),
        ("x", ["onvif://www.onvif.org/SerialNumber/DS-2CD"], ["serial"]),
        ("x", ["onvif://www.onvif.org/name/Anna's%20camera"], ["owner_name"]),
        ("x", ["onvif://www.onvif.org/hardware/M2026", "junk", ""], []),
    ],
)
def test_leak_of_an_onvif_device_is_told(reference: str, scopes: list[str], leaks: list[str]) -> None:
    assert [one.code for one in of_onvif(endpoint=reference, scopes=scopes)] == leaks


def test_each_leak_says_what_to_do() -> None:
    for advice in ADVICE.values():
        assert ": " in advice
        assert len(advice) < 200
