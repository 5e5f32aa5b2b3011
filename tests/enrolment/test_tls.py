"""Whoever answers at an address is known by key before a byte is sent, and nobody else is spoken to."""

import gc
import select
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import example, given
from hypothesis import strategies as st

from agent import enrolment
from agent.camera.identity import LinkIdentity
from agent.camera.tls import (
    CutError,
    ImpostorError,
    Shown,
    client_context,
    connect,
    read_certificate,
    require,
    require_certificate,
    shake_hands,
    shown,
)
from agent.envelope import public_jwk, thumbprint
from agent.errors import CorruptError, LinkError
from tests.enrolment.far_end import DEVICE, OTHER_DEVICE, FarEnd, camera, certificate_of, digest_of, new_key, pem_of
from tests.store.home import NOW, Home

pytestmark = pytest.mark.promise("FIND-AUTH")


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LinkIdentity]:
    home = Home(tmp_path_factory.mktemp("home") / "state")
    yield home.index.write_now(lambda tx: enrolment.link_identity(tx, moment=NOW))
    home.close()


@pytest.fixture(scope="module")
def context(identity: LinkIdentity) -> ssl.SSLContext:
    return client_context(key_pem=identity.key_pem, certificate_pem=identity.certificate_pem)


def dial(host: str, port: int, *, context: ssl.SSLContext, numeric: bool = True) -> ssl.SSLSocket:
    return shake_hands(connect(host, port, numeric=numeric), context=context, where=f"{host}:{port}")


def look(far_end: FarEnd, context: ssl.SSLContext) -> Shown:
    with dial(far_end.host, far_end.port, context=context) as session:
        return shown(session)


def kid_of(key: object) -> str:
    return thumbprint(public_jwk(key))  # type: ignore[arg-type] # of the kinds that cameras have


@pytest.mark.parametrize("key", [new_key(), ed25519.Ed25519PrivateKey.generate()], ids=["P-256", "Ed25519"])
def test_genuine_camera_is_known_by_its_key(context: ssl.SSLContext, key: ed25519.Ed25519PrivateKey) -> None:
    with camera(key, DEVICE) as far_end:
        found = look(far_end, context)
    assert (found.kid, found.unverified_device) == (kid_of(key), DEVICE)
    require(found, kid=kid_of(key), device=DEVICE)


def test_another_key_under_the_same_id_is_refused_before_a_byte_is_sent(context: ssl.SSLContext) -> None:
    with camera(new_key(), DEVICE) as far_end:
        found = look(far_end, context)
        with pytest.raises(ImpostorError, match="enrolled camera's key"):
            require(found, kid=kid_of(new_key()), device=DEVICE)
    assert far_end.calls == 1
    assert far_end.sent == b""


def test_another_genuine_camera_is_not_the_enrolled_one(context: ssl.SSLContext) -> None:
    enrolled, other = new_key(), new_key()
    with camera(other, OTHER_DEVICE) as far_end:
        found = look(far_end, context)
    require(found, kid=kid_of(other), device=OTHER_DEVICE)
    with pytest.raises(ImpostorError):
        require(found, kid=kid_of(enrolled), device=DEVICE)


def test_enrolled_key_under_another_id_is_refused(context: ssl.SSLContext) -> None:
    key = new_key()
    with camera(key, OTHER_DEVICE) as far_end, pytest.raises(ImpostorError, match="names another"):
        require(look(far_end, context), kid=kid_of(key), device=DEVICE)


@pytest.mark.parametrize("names", [(), (DEVICE, OTHER_DEVICE), ("camera.local",), (DEVICE.upper(),)])
def test_certificate_that_does_not_name_one_camera_names_none(context: ssl.SSLContext, names: tuple[str, ...]) -> None:
    key = new_key()
    with camera(key, *names) as far_end:
        found = look(far_end, context)
    assert found.unverified_device == ""
    for device in ("", DEVICE):
        with pytest.raises(ImpostorError):
            require(found, kid=kid_of(key), device=device)


def test_key_of_another_kind_has_no_id_and_matches_nothing(context: ssl.SSLContext) -> None:
    with camera(rsa.generate_private_key(65537, 2048), DEVICE) as far_end:
        found = look(far_end, context)
    assert found.kid == ""
    with pytest.raises(ImpostorError):
        require(found, kid="", device=DEVICE)


def test_pinned_certificate_is_compared_whole(context: ssl.SSLContext) -> None:
    key = new_key()
    certificate, renewed = certificate_of(key), certificate_of(key)
    with FarEnd(pem_of(key, certificate)) as far_end:
        found = look(far_end, context)
    require_certificate(found, certificate_sha256=digest_of(certificate))
    for other in (digest_of(renewed), b""):
        with pytest.raises(ImpostorError, match="another certificate"):
            require_certificate(found, certificate_sha256=other)


def test_older_tls_is_refused_where_a_camera_link_is_expected(context: ssl.SSLContext) -> None:
    with (
        camera(new_key(), DEVICE, maximum=ssl.TLSVersion.TLSv1_2) as far_end,
        pytest.raises(LinkError, match="no TLS session"),
    ):
        look(far_end, context)


def test_what_speaks_no_tls_is_weather(context: ssl.SSLContext) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            caller, _ = listener.accept()
            with caller:
                caller.recv(4096)
                caller.sendall(b"HTTP/1.0 400 no\r\n\r\n" * 400)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(LinkError):
            dial(*listener.getsockname()[:2], context=context)
        thread.join()


def test_nobody_at_the_address_is_weather(context: ssl.SSLContext) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()[:2]
    with pytest.raises(LinkError, match="refused"):
        dial(host, port, context=context)


def test_heard_address_is_never_looked_up_as_a_name(context: ssl.SSLContext) -> None:
    with camera(new_key(), DEVICE) as far_end:
        for host, port in (("localhost", far_end.port), ("\ud800", far_end.port), (far_end.host, -1)):
            with pytest.raises(LinkError):
                dial(host, port, context=context)
        dial("localhost", far_end.port, context=context, numeric=False).close()
    assert far_end.calls == 1


def test_name_with_several_addresses_is_tried_at_each(context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    with camera(new_key(), DEVICE) as far_end:
        here = socket.getaddrinfo(far_end.host, far_end.port, type=socket.SOCK_STREAM)
        nobody = socket.getaddrinfo("::1", far_end.port, type=socket.SOCK_STREAM)
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_name, **_how: [*nobody, *here])
        dial("camera.example", far_end.port, context=context, numeric=False).close()
    assert far_end.calls == 1


def test_private_key_leaves_no_open_file(identity: LinkIdentity) -> None:
    client_context(key_pem=identity.key_pem, certificate_pem=identity.certificate_pem)
    links = [one.readlink() for one in Path("/proc/self/fd").iterdir() if one.exists()]
    assert not [link for link in links if "link-identity" in str(link)]


def test_camera_is_shown_the_link_identity(identity: LinkIdentity, context: ssl.SSLContext) -> None:
    key = new_key()
    with FarEnd(pem_of(key, certificate_of(key, DEVICE)), caller=identity.certificate_pem) as far_end:
        with dial(far_end.host, far_end.port, context=context) as session:
            session.sendall(b"seen")
        stranger = new_key()
        other = client_context(key_pem=pem_of(stranger), certificate_pem=pem_of(stranger, certificate_of(stranger)))
        with dial(far_end.host, far_end.port, context=other) as session, suppress(OSError):  # told late
            session.sendall(b"unseen")
            session.recv(1)
    assert far_end.sent == b"seen"


KEY_IDENTIFIER, KEY_USAGE = b"\x55\x1d\x0e", b"\x55\x1d\x0f"  # RFC 5280 §4.2.1
GOOD = certificate_of(new_key(), DEVICE).public_bytes(Encoding.DER)


@example(GOOD.replace(KEY_IDENTIFIER, KEY_USAGE)).via("one extension twice: it was no error of ours")
@given(st.one_of(st.binary(max_size=600), st.tuples(st.integers(0, len(GOOD) - 1), st.integers(1, 255))))
def test_damaged_certificate_is_read_or_refused(damage: bytes | tuple[int, int]) -> None:
    raw = bytearray(GOOD)
    if isinstance(damage, bytes):
        raw = bytearray(damage)
    else:
        raw[damage[0]] ^= damage[1]
    try:
        found = read_certificate(bytes(raw))
    except CorruptError:
        return
    assert found.certificate == bytes(raw)


def test_connection_that_is_reset_before_the_handshake_is_closed(identity: LinkIdentity) -> None:
    context = client_context(key_pem=identity.key_pem, certificate_pem=identity.certificate_pem)
    with socket.create_server(("127.0.0.1", 0)) as server:
        plain = connect(*server.getsockname())
        far_end, _ = server.accept()
        far_end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close(2) resets it then
        far_end.close()
        reset = select.poll()
        reset.register(plain, 0)
        assert reset.poll(20_000), "it was reset"
        with pytest.raises(CutError):
            shake_hands(plain, context=context)
    gc.collect()  # what was left open is told when it is found, and fails the test
    assert plain.fileno() == -1
