"""Whatever a stranger sends into the agent's ears: values within their limits, or the one error that is declared."""

import ipaddress
import re
import tracemalloc
from contextlib import suppress
from typing import Any, Final, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.discovery.ble import service
from agent.discovery.ble.advert import Advert, is_camera, rotating_id, sighting
from agent.discovery.ble.session import STATE_BYTES, PrivacyState, Session
from agent.discovery.onvif_message import (
    MATCHES_MAX,
    MESSAGE_MAX_BYTES,
    PROBED_TYPES,
    WORD_MAX_CHARACTERS,
    WORDS_MAX,
    Match,
    Message,
    endpoint,
    probe,
    read,
)
from agent.discovery.sighting import TEXT_MAX
from agent.enrolment import Enrolled
from agent.envelope.label import camera_fingerprint, is_device_id, read_fingerprint, read_label
from agent.errors import ConfigError, CorruptError
from agent.nearby.rotating import DAY_MS, expected_ids, rotating_ids
from device_sim.announce.link import Link
from device_sim.announce.wsdiscovery import OnvifFace, Target, envelope
from device_sim.ble.camera import BareCamera
from device_sim.ble.wire import Talk, _Up

DAY: Final = 20_783
HERE: Final = Link("lan0", 2, ("10.77.0.2",), ("fe80::2", "fd77::2"))
MEMORY_BYTES: Final = 1 << 20

# --- WS-Discovery: answers of the simulator, and what may become of them


ANSWERED: Final = (
    OnvifFace(Target(port=80, endpoint="urn:uuid:camera")).answer(probe("urn:uuid:question", PROBED_TYPES[0]), HERE)
    or b""
)


PIECES: Final = st.one_of(
    st.sampled_from(
        [
            "<d:ProbeMatch>", "</d:ProbeMatch>", "<d:ProbeMatches>", "<a:EndpointReference>", "<a:Address>",
            "</a:Address>",
            "<!DOCTYPE x>", '<!ENTITY a "b">', "<?xml version='1.0'?>", "<?stop now?>", "&a;", "&#0;",
            "&#x1F600;", "&amp;",
            "<![CDATA[", "]]>", "<!--", "-->", 'xmlns:d="x"', "<x>" * 20, "</x>" * 20, "<d:Types>", "</d:Types>",
            "urn:uuid:" + "a" * 300, " dn:NetworkVideoTransmitter" * 40, "\ufeff", "\x00", "\x1b[2J", "http://[::1%25lo]/",
            "http://10.77.0.2:99999/", "http://[fe80::1]:0/ http://[fe80::1/", "onvif://www.onvif.org/name/%FF%00%1b",
        ]
    ),
    st.text(max_size=20),
)  # fmt: skip


WORDS: Final = (
    "urn:uuid:camera",
    "dn:NetworkVideoTransmitter",
    "http://10.77.0.2:80/onvif/device_service",
    "</d:Types>",
)


@st.composite
def changed_message(draw: st.DrawFn) -> bytes:
    """A real answer in which pieces of XML were put, left out, moved or doubled."""
    text = ANSWERED.decode()
    for _ in range(draw(st.integers(0, 5))):
        at, size = draw(st.integers(0, len(text))), draw(st.integers(0, 60))
        put = draw(st.one_of(PIECES, st.just(text[at : at + size] * 2)))
        text = text[:at] + put + text[at + draw(st.integers(0, size)) :]
        text = text.replace(draw(st.sampled_from(WORDS)), draw(PIECES)) if draw(st.booleans()) else text
    raw = text.encode("utf-8", "surrogatepass")
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(raw)))
        raw = raw[:at] + draw(st.binary(max_size=3)) + raw[at + draw(st.integers(0, 3)) :]
    return raw


def test_answer_unchanged_is_read() -> None:
    (match,) = read(ANSWERED).matches
    assert endpoint(match, written=on_link) == (("10.77.0.2", "fd77::2"), 80)


@settings(max_examples=800, deadline=None)
@given(raw=changed_message())
def test_any_message_is_read_within_its_limits_or_refused(raw: bytes) -> None:
    try:
        message = read(raw)
    except CorruptError:
        return
    assert bounded(message)
    for match in message.matches:
        assert isinstance(match.may_be_a_camera, bool)
        assert isinstance(match.name, str)
        asked = endpoint(match, written=on_link)
        assert asked is None or (asked[0] and 0 < asked[1] < 1 << 16)


def bounded(message: Message) -> bool:
    assert message.action in {"ProbeMatches", "Hello", "Bye"}
    assert len(message.matches) <= MATCHES_MAX
    for match in message.matches:
        assert 0 < len(match.endpoint) <= WORD_MAX_CHARACTERS
        for words in (match.scopes, match.unverified_xaddrs):
            assert len(words) <= WORDS_MAX
            assert all(len(word) <= WORD_MAX_CHARACTERS for word in words)
        assert len(match.types) <= WORDS_MAX
    return True


@settings(max_examples=400, deadline=None)
@given(
    xaddrs=st.lists(
        st.one_of(
            st.text(max_size=40),
            st.from_regex(r"[a-z]{0,5}:/{0,3}[0-9a-f.:%@\[\]]{0,30}(:-?[0-9]{0,7})?/?", fullmatch=True),
            st.builds(
                lambda scheme, at, port: f"{scheme}://{at}:{port}/onvif",
                st.sampled_from(["http", "https", "HTTP", "file", "ftp", ""]),
                st.sampled_from(["10.77.0.2", "[fd77::2]", "8.8.8.8", "u:p@10.77.0.2", "10.77.2", "camera"]),
                st.one_of(st.integers(-5, 70_000), st.text(max_size=4)),
            ),
        ),
        max_size=6,
    )
)  # fmt: skip
def test_any_address_is_on_link_and_bare_or_is_not_used(xaddrs: list[str]) -> None:
    found = endpoint(Match(endpoint="urn:uuid:a", unverified_xaddrs=tuple(xaddrs)), written=on_link)
    if found is not None:
        addresses, port = found
        assert set(addresses) <= {"10.77.0.2", "fd77::2"}
        assert 0 < port < 1 << 16


def on_link(address: str) -> str | None:
    """As the interface does it: numeric and on this link, or nothing."""
    with suppress(ValueError):
        text = str(ipaddress.ip_address(address))
        return text if text in {"10.77.0.2", "fd77::2"} else None
    return None


@pytest.mark.parametrize(
    "body",
    [
        "<x>" * (MESSAGE_MAX_BYTES * 8),
        "<d:ProbeMatches>" + "<d:ProbeMatch/>" * MESSAGE_MAX_BYTES * 4,
        "<d:Types>" + "dn:A " * MESSAGE_MAX_BYTES * 8,
        '<x xmlns:a="' + "a" * MESSAGE_MAX_BYTES * 40 + '"/>',
    ],
)
def test_message_that_is_too_large_takes_no_memory(body: str) -> None:
    raw = envelope("ProbeMatches", body, message_id="urn:uuid:1", relates_to="urn:uuid:0")
    tracemalloc.start()
    try:
        with pytest.raises(CorruptError):
            read(raw)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < len(raw) // 4


# --- Bluetooth LE: an advert as bleak hands it on, and the state of a camera that holds its keys and says anything

UUIDS: Final = st.one_of(
    st.sampled_from([service.SERVICE, service.GOPRO, service.IMPROV, service.IMPROV_DATA]),
    st.uuids().map(str),
    st.text(max_size=10),
)


@settings(max_examples=400, deadline=None)
@given(
    name=st.text(max_size=300),
    kind=st.sampled_from(["public", "random"]),
    uuids=st.lists(UUIDS, max_size=5),
    data=st.dictionaries(UUIDS, st.binary(max_size=40), max_size=4),
    rssi=st.one_of(st.none(), st.integers(-200, 200)),
)
def test_any_advert_tells_what_may_be_shown_or_nothing(
    name: str, kind: Literal["public", "random"], uuids: list[str], data: dict[str, bytes], rssi: int | None
) -> None:  # fmt: skip
    advert = Advert(
        address="50:00:00:00:00:01", address_type=kind, name=name, uuids=uuids, service_data=data, rssi_dbm=rssi
    )
    found = sighting(advert, adapter="hci0", now_ms=0)
    assert (found is not None) == is_camera(uuids, data)
    if found is not None:
        assert found.unverified_name.isprintable()
        assert len(found.unverified_name) <= TEXT_MAX
        assert re.fullmatch(r"([a-z2-7]{13})?", found.unverified_id)
        assert found.addresses == ()
        assert len({leak.code for leak in found.leaks}) == len(found.leaks)


FORMED: Final = st.tuples(st.integers(0, 63), st.integers(0, 3), st.integers(0, 255)).map(bytes)


@settings(max_examples=300, deadline=None)
@given(values=st.lists(st.tuples(st.one_of(st.binary(max_size=5), FORMED), st.booleans()), max_size=6))
def test_any_state_that_the_camera_seals_is_of_the_documents_form_or_refused(values: list[tuple[bytes, bool]]) -> None:
    """Who holds the keys of a session may say what he likes, and say it twice."""
    camera, up, agent = proved()
    last: PrivacyState | None = None
    for plain, again in values:
        raw = up.tell(plain)
        for turn in range(1 + again):
            try:
                state = agent.state(raw)
            except CorruptError:
                assert len(plain) != 3 or plain[0] >= 1 << 6 or plain[1] >= 4
                continue
            assert (state is None) == bool(turn), "a value that was told is told once"
            last = state or last
            if state is not None:
                assert state.taken == plain[2]
                assert state.storage in {"missing", "ok", "full", "failing"}
                assert state.recording is bool(plain[0] & 1)
    assert last is None or isinstance(last, PrivacyState)
    assert camera.state


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_change_to_a_state_is_noticed(data: st.DataObject) -> None:
    _, up, agent = proved()
    raw = up.tell(b"\x01\x01\x00")
    assert len(raw) == STATE_BYTES
    at = data.draw(st.integers(0, len(raw) - 1))
    changed = raw[:at] + data.draw(st.binary(max_size=4)) + raw[at + data.draw(st.integers(0, 4)) :]
    if changed == raw:
        assert agent.state(raw) is not None
        return
    with pytest.raises(CorruptError):
        agent.state(changed)


def proved() -> tuple[BareCamera, Any, Session]:
    """A camera, its end of a session, and the agent's; the keys are those of no proof."""
    camera = BareCamera(agent="", now_s=lambda: 0.0)
    assert not Talk(camera).up
    return camera, _Up(bytes(16), bytes(range(16))), Session(state_key=bytes(16), switch_key=bytes(range(16)))


# --- labels and rotating ids

KID: Final = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
PRINTED: Final = f"PVCAM:1:ABCDEFGH234567XY:{camera_fingerprint(KID).replace(' ', '').upper()}"


SIGNS: Final = ("-", ":", "--", " ", "\n", "\u212a", "0", "a", "A")


@settings(max_examples=500, deadline=None)
@given(data=st.data())
def test_changed_label_is_refused_or_means_what_is_written(data: st.DataObject) -> None:
    text = PRINTED
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(text)))
        put = data.draw(st.one_of(st.sampled_from(SIGNS), st.text(max_size=3)))
        text = text[:at] + put + text[at + data.draw(st.integers(0, 2)) :]
    try:
        label = read_label(text)
    except ConfigError as error:
        assert error.hint.startswith("copy it")  # noqa: PT017 - that it is refused is one of two outcomes
        return
    assert text.isascii()
    assert is_device_id(label.id)
    assert str(label).split(":")[2:] == [part.replace("-", "").upper() for part in text.split(":")[2:]]
    assert label.means(KID) == (label.fingerprint == PRINTED[-32:].lower())


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=150))
def test_any_fingerprint_is_32_digits_or_refused(text: str) -> None:
    with suppress(ConfigError):
        assert re.fullmatch(r"[0-9a-f]{32}", read_fingerprint(text))


@settings(max_examples=200, deadline=None)
@given(
    keys=st.lists(st.binary(min_size=32, max_size=32), max_size=4, unique=True),
    raw=st.binary(max_size=12),
    now_ms=st.integers(0, 2**50),
    which=st.integers(0, 3),
)
def test_any_id_that_is_heard_claims_the_camera_whose_it_is_or_none(
    keys: list[bytes], raw: bytes, now_ms: int, which: int
) -> None:
    enrolled = [
        Enrolled(camera=f"camera{n}", device="abcdefgh234567xy", level="proved", kid=KID, advert_key=key)
        for n, key in enumerate(keys)
    ]
    expected = expected_ids(enrolled, now_ms=now_ms)
    days = {max(0, now_ms // DAY_MS + off) for off in (-1, 0, 1)}
    assert len(expected) == 2 * len(days) * len(keys)
    heard = rotating_id(keys[which], unix_day=now_ms // DAY_MS) if which < len(keys) else raw
    found = sighting(
        Advert(address="a", address_type="random", service_data={service.SERVICE: heard}), adapter="hci0", now_ms=now_ms
    )
    assert found is not None
    claimed = expected.get(found.unverified_id, "") if found.unverified_id else ""
    own = {f"camera{n}" for n, key in enumerate(keys) if any(rotating_id(key, unix_day=day) == heard for day in days)}
    assert {claimed} - {""} == own
    assert all(len(text) in {16, 13} for key in keys for text in rotating_ids(key, unix_day=DAY))
