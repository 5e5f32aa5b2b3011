"""A CA made by the shell command, a real mosquitto that trusts it, and a client of a few bytes.

The client speaks TLS by OpenSSL and sends one CONNECT by hand, so what is judged is the broker's answer alone.
"""

import datetime as dt
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from certs.__main__ import main
from device_sim.broker import HOST, Broker

NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
CONNECT = b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02it"
ACCEPTED = b"\x20\x02\x00\x00"

Certs = Callable[..., int]
Hello = Callable[..., bytes]
Refusal = Callable[..., str]


@pytest.fixture
def certs() -> Certs:
    """Run `python -m certs` at a given time, the present one by default."""

    def run(*arguments: object, now: dt.datetime | None = None) -> int:
        argv = [str(argument) for argument in arguments]
        return main(argv, clock=lambda: now) if now else main(argv)

    return run


@pytest.fixture
def ca(tmp_path: Path, certs: Certs) -> Path:
    """A CA folder with the identities of `init`."""
    assert certs("init", tmp_path / "tls", "--device", "cam-1", "--json") == 0
    return tmp_path / "tls"


@pytest.fixture
def broker(tmp_path: Path, ca: Path) -> Iterator[Broker]:
    """A mosquitto that asks for certificates of `ca`."""
    with Broker(tmp_path / "broker", ca, engine="mosquitto") as running:
        yield running


def tls_context(ca: Path, identity: Path | None) -> ssl.SSLContext:
    """A client's side: trusts `ca`, shows `identity`."""
    context = ssl.create_default_context(cafile=ca / "ca.crt")
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if identity:
        context.load_cert_chain(identity / "tls.crt", identity / "tls.key")
    return context


def dial(port: int, context: ssl.SSLContext) -> ssl.SSLSocket:
    """Connect with TLS to a broker on this machine, as `localhost`."""
    return context.wrap_socket(socket.create_connection((HOST, port), timeout=60), server_hostname="localhost")


@pytest.fixture
def hello(ca: Path, broker: Broker) -> Hello:
    """Say CONNECT with an identity and return the broker's four bytes; raises what TLS raises."""

    def say(identity: Path | None, *, at: Broker = broker, trusting: Path = ca) -> bytes:
        with dial(at.port, tls_context(trusting, identity)) as link:
            link.sendall(CONNECT)
            return link.recv(4)

    return say


@pytest.fixture
def refusal(ca: Path, broker: Broker) -> Refusal:
    """The TLS alert, in lower case, with which a broker refuses an identity; times out if it does not.

    In TLS 1.3 it comes after the client's handshake is done. Nothing is sent before it is read: bytes that the broker
    never read would make it reset the link, and the alert would be lost on the way.
    """

    def read(identity: Path | None, *, at: Broker = broker, trusting: Path = ca) -> str:
        with (
            pytest.raises(ssl.SSLError) as refused,
            dial(at.port, tls_context(trusting, identity)) as link,
        ):
            link.recv(1)
        return str(refused.value).lower().replace("_", " ")

    return read


@pytest.fixture
def served_serial(ca: Path, broker: Broker) -> Callable[[], str]:
    """The serial number of the certificate that the broker shows now."""

    def ask() -> str:
        with dial(broker.port, tls_context(ca, None)) as link:
            shown = link.getpeercert()
            assert shown
            return str(shown["serialNumber"]).lower().lstrip("0")

    return ask


@pytest.fixture
def open_link(ca: Path, broker: Broker) -> Iterator[Callable[[Path], ssl.SSLSocket]]:
    """Open links that stay open until the test ends."""
    links: list[ssl.SSLSocket] = []

    def open_one(identity: Path) -> ssl.SSLSocket:
        link = dial(broker.port, tls_context(ca, identity))
        links.append(link)
        link.sendall(CONNECT)
        assert link.recv(4) == ACCEPTED
        return link

    yield open_one
    for link in links:
        link.close()


@pytest.fixture
def accepted() -> bytes:
    """CONNACK with return code 0."""
    return ACCEPTED


@pytest.fixture
def now() -> dt.datetime:
    """A time that no machine's clock shows."""
    return NOW


@pytest.fixture
def repository() -> Path:
    """The root of this project."""
    return Path(__file__).resolve().parents[2]
