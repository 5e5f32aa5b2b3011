"""What is read of a WS-Discovery message, rule by rule, without a network."""

import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.discovery.onvif_message import (
    ELEMENTS_MAX,
    MATCHES_MAX,
    MESSAGE_MAX_BYTES,
    PROBED_TYPES,
    Match,
    endpoint,
    probe,
    read,
)
from agent.errors import CorruptError
from device_sim.announce.link import Link
from device_sim.announce.wsdiscovery import OnvifFace, Target, envelope

pytestmark = pytest.mark.promise("FIND-LAN")

HERE = Link("lan0", 2, ("10.77.0.2",), ("fe80::2", "fd77::2"))
BOMB = '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'


def answer(matches: str, *, head: str = "") -> bytes:
    body = f"<d:ProbeMatches>{matches}</d:ProbeMatches>"
    raw = envelope("ProbeMatches", body, message_id="urn:uuid:1", relates_to="urn:uuid:0")
    return raw.replace(b"<s:Envelope", head.encode() + b"<s:Envelope", 1)


def match(reference: str = "urn:uuid:a", *, types: str = "dn:NetworkVideoTransmitter", more: str = "") -> str:
    told = f"<a:EndpointReference><a:Address>{reference}</a:Address></a:EndpointReference>" if reference else ""
    return f"<d:ProbeMatch>{told}<d:Types>{types}</d:Types>{more}</d:ProbeMatch>"


@pytest.mark.parametrize("camera_type", PROBED_TYPES)
def test_probe_is_answered_by_a_target_written_from_the_specification_and_its_answer_is_read(camera_type: str) -> None:
    face = OnvifFace(Target(port=80, endpoint="urn:uuid:camera"))
    raw = face.answer(probe("urn:uuid:question", camera_type), HERE)
    assert raw is not None
    message = read(raw)
    assert (message.action, message.relates_to) == ("ProbeMatches", "urn:uuid:question")
    assert [one.endpoint for one in message.matches] == ["urn:uuid:camera"]
    assert set(message.matches[0].types) == set(PROBED_TYPES)
    assert message.matches[0].may_be_a_camera
    assert message.matches[0].unverified_xaddrs == (
        "http://10.77.0.2:80/onvif/device_service",
        "http://[fd77::2]:80/onvif/device_service",
    )


def test_probe_for_printers_is_answered_by_no_camera() -> None:
    face = OnvifFace(Target(port=80))
    printers = probe("urn:uuid:question", "http://schemas.microsoft.com/windows/2006/08/wdp/print PrintDeviceType")
    assert face.answer(printers, HERE) is None


def test_match_without_an_endpoint_reference_is_left_out() -> None:
    assert [one.endpoint for one in read(answer(match("") + match("urn:uuid:b"))).matches] == ["urn:uuid:b"]


def test_endpoint_reference_of_one_match_is_not_that_of_the_next() -> None:
    assert [one.endpoint for one in read(answer(match("urn:uuid:a") + match(""))).matches] == ["urn:uuid:a"]


@pytest.mark.parametrize(
    ("types", "camera"),
    [
        ("dn:NetworkVideoTransmitter", True),
        ("tds:Device", True),
        ("x:Device", False),
        ("a:Device", False),
        ("Device", False),
        ("", False),
    ],
)
def test_type_counts_by_its_namespace_not_its_prefix(types: str, *, camera: bool) -> None:
    assert read(answer(match(types=types))).matches[0].may_be_a_camera is camera


def test_scope_of_onvif_makes_it_a_camera_too_and_names_it() -> None:
    scopes = "<d:Scopes>onvif://www.onvif.org/hardware/X1 onvif://www.onvif.org/name/Front%20door</d:Scopes>"
    found = read(answer(match(types="", more=scopes))).matches[0]
    assert found.may_be_a_camera
    assert found.name == "Front door"
    assert read(answer(match(more=scopes.replace("/name/", "/other/")))).matches[0].name == "X1"


@pytest.mark.parametrize(
    "raw",
    [
        answer(match(), head=BOMB),
        answer(match(), head='<!DOCTYPE a SYSTEM "file:///etc/passwd">'),
        answer(match(), head="<?instruction?>"),
        answer(match()).decode().encode("utf-16"),
        answer(match())[:-1],
        answer("<x>" * 20 + "</x>" * 20),
        answer("<x/>" * ELEMENTS_MAX),
        answer(match(more=" " * MESSAGE_MAX_BYTES)),
        envelope("Probe", "<d:Probe/>", message_id="urn:uuid:1"),
        envelope("ResolveMatches", "<d:ResolveMatches/>", message_id="urn:uuid:1"),
        b"",
        b"\xff\xfe",
        b"<a/>",
    ],
)
def test_message_that_breaks_a_rule_is_refused(raw: bytes) -> None:
    with pytest.raises(CorruptError):
        read(raw)


def test_message_is_read_as_utf_8_whatever_it_declares() -> None:
    assert read(answer(match()).replace(b"UTF-8", b"cp037")).matches


def test_bomb_is_refused_before_it_takes_memory() -> None:
    entities = '<!ENTITY a0 "' + "a" * 100 + '">'
    entities += "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 20}">' for n in range(1, 12))
    raw = answer(match("&a11;"), head=f"<!DOCTYPE a [{entities}]>")
    tracemalloc.start()
    try:
        with pytest.raises(CorruptError):
            read(raw)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_matches_of_one_message_are_capped() -> None:
    body = "".join(match(f"urn:uuid:{number}") for number in range(MATCHES_MAX + 5))
    assert len(read(answer(body)).matches) == MATCHES_MAX


@given(st.binary(max_size=600))
def test_any_bytes_are_refused_or_read(raw: bytes) -> None:
    with pytest.raises(CorruptError):
        read(raw)


@given(st.data())
def test_changed_message_is_refused_or_read(data: st.DataObject) -> None:
    raw = bytearray(answer(match()))
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with suppress(CorruptError):
        read(bytes(raw))


def near(address: str) -> str | None:
    return address if address.startswith("10.77.0.") else None


@pytest.mark.parametrize(
    "xaddr",
    [
        "http://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
        "ftp://10.77.0.2/",
        "http://10.77.0.2@8.8.8.8/",
        "http://user:secret@10.77.0.2/",
        "http://localhost/",
        "http://camera.local/",
        "http://10.77.0.2:0/",
        "http://10.77.0.2:65536/",
        "http://[",
        "http://",
        "10.77.0.2",
        "http://0x0a4d0002/",
        "http://172839938/",
    ],
)
def test_address_of_a_service_that_may_not_be_asked_is_refused(xaddr: str) -> None:
    assert endpoint(Match(endpoint="urn:uuid:a", unverified_xaddrs=(xaddr,)), written=near) is None


@pytest.mark.parametrize(
    ("xaddrs", "found"),
    [
        (("http://10.77.0.2/onvif/device_service",), (("10.77.0.2",), 80)),
        (("https://10.77.0.2/onvif/device_service",), (("10.77.0.2",), 443)),
        (("file:///x", "http://8.8.8.8/", "http://10.77.0.2:8080/"), (("10.77.0.2",), 8080)),
        (("http://10.77.0.2/", "http://10.77.0.3/", "http://10.77.0.2/other"), (("10.77.0.2", "10.77.0.3"), 80)),
        (("https://10.77.0.2/", "http://10.77.0.3/"), (("10.77.0.2",), 443)),
    ],
)
def test_first_address_that_may_be_asked_is_taken(xaddrs: tuple[str, ...], found: tuple[tuple[str, ...], int]) -> None:
    assert endpoint(Match(endpoint="urn:uuid:a", unverified_xaddrs=xaddrs), written=near) == found
