"""RTSP and its demands for credentials as bytes and values: whatever arrives, only the declared error escapes."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import ConfigError, CorruptError
from agent.rtsp.challenge import Challenge, Credentials, choose
from agent.rtsp.settings import read_address
from agent.rtsp.wire import HEAD_MAX_BYTES, Frame, Message, Reader

FRAME = b"$\x00\x00\x03abc"
ANSWER = b"RTSP/1.0 200 OK\r\nCSeq: 7\r\nContent-Length: 2\r\n\r\nhi"


@settings(deadline=None)
@given(st.lists(st.sampled_from([FRAME, ANSWER]), max_size=8), st.data())
def test_pieces_are_the_same_however_they_arrive(pieces: list[bytes], data: st.DataObject) -> None:
    raw, reader = b"".join(pieces), Reader()
    found: list[Frame | Message] = []
    while raw:
        size = data.draw(st.integers(1, len(raw)))
        found += reader.feed(raw[:size])
        raw = raw[size:]
    told = [one.raw if isinstance(one, Frame) else one.encode() for one in found]
    assert told == pieces


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_bytes_of_anybody_are_read_or_refused(raw: bytes) -> None:
    try:
        list(Reader().feed(raw))
    except CorruptError:
        return


@settings(deadline=None)
@given(st.text(max_size=200))
def test_demand_of_anybody_is_understood_or_refused(text: str) -> None:
    try:
        choose([text], secure=False)
    except (CorruptError, ConfigError):
        return


def test_head_without_an_end_is_refused_and_not_kept() -> None:
    reader = Reader()
    with pytest.raises(CorruptError):
        list(reader.feed(b"RTSP/1.0 200 OK\r\n" + b"A" * HEAD_MAX_BYTES))


# RFC 7616, section 3.9.1; the password has its capital letters.
MUFASA = Credentials("Mufasa", "Circle of Life")
NONCE = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
RFC_7616 = [
    ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
    ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
]


@pytest.mark.parametrize(("algorithm", "response"), RFC_7616)
def test_answer_is_the_one_of_the_rfc(algorithm: str, response: str) -> None:
    demand = f'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={algorithm}, nonce="{NONCE}"'
    said = choose([demand], secure=False).answer(
        MUFASA,
        method="GET",
        address="/dir/index.html",
        count=1,
        client_nonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
    )
    assert f'response="{response}"' in said
    assert 'username="Mufasa"' in said
    assert "nc=00000001" in said


def test_answer_of_rfc_2617_has_no_count() -> None:
    said = choose(['Digest realm="cam", nonce="00"'], secure=False).answer(
        Credentials("ada", "secret"), method="DESCRIBE", address="rtsp://c/m", count=1, client_nonce="x"
    )
    assert "nc=" not in said
    assert "secret" not in said
    assert 'uri="rtsp://c/m"' in said


DIGEST = 'Digest realm="cam", nonce="00", algorithm=MD5'
STRONG = 'Digest realm="cam", nonce="00", algorithm=SHA-256'
BASIC = 'Basic realm="cam"'


@pytest.mark.parametrize(
    ("demands", "secure", "algorithm"),
    [
        ([BASIC, DIGEST, STRONG], False, "SHA-256"),
        ([BASIC, DIGEST], True, "MD5"),
        ([BASIC], True, ""),
    ],
)
def test_strongest_demand_is_answered(demands: Sequence[str], *, secure: bool, algorithm: str) -> None:
    assert choose(demands, secure=secure).algorithm == algorithm


@pytest.mark.parametrize(
    "demand",
    ["", "Bearer x", 'Digest realm="cam"', 'Digest nonce="0", algorithm=MD4', 'Digest nonce="0", qop="auth-int"'],
)
def test_demand_that_nobody_can_answer_is_refused(demand: str) -> None:
    with pytest.raises(CorruptError):
        choose([demand], secure=True)


def test_credentials_print_nothing_of_themselves() -> None:
    assert "secret" not in repr(Credentials("ada", "secret"))
    assert "secret" not in repr([Challenge(realm="cam"), Credentials("ada", "secret")])


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://ada:secret@camera/main", "rtsp://ada@camera/main", "http://camera/main", "rtsp:///main", "rtsp://", "",
        "rtsp://camera:0/main", "rtsp://camera:99999/main", "rtsp://camera/a b", "rtsp://camera/#x", "rtsp://cämera/",
        "rtsp://camera/" + "a" * 2000, "rtsp://camera/\r\nX: y",
    ],
)  # fmt: skip
def test_address_that_is_none_or_holds_a_password_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        read_address(url)
    assert "secret" not in str(refusal.value)
    assert "main" not in str(refusal.value)


@pytest.mark.parametrize(
    ("url", "port"), [("rtsp://camera/main", 554), ("rtsps://camera/", 322), ("rtsp://[fd00::7]:8554/main?x=1", 8554)]
)
def test_address_has_the_usual_port(url: str, port: int) -> None:
    found = read_address(url)
    assert (found.text, found.port) == (url, port)
    assert found.secure is url.startswith("rtsps")
