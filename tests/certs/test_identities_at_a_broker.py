"""What a real mosquitto makes of the identities: the point of having them."""

import datetime as dt
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from device_sim.broker import Broker

Certs = Callable[..., int]
Hello = Callable[..., bytes]
Refusal = Callable[..., str]


@pytest.mark.parametrize("name", ["backend", "owner", "cam-1"])
def test_every_client_identity_is_accepted_over_mutual_tls(ca: Path, hello: Hello, accepted: bytes, name: str) -> None:
    assert hello(ca / name) == accepted


def test_client_without_a_certificate_is_refused(refusal: Refusal) -> None:
    assert "certificate required" in refusal(None)


def test_client_of_another_ca_is_refused(tmp_path: Path, certs: Certs, refusal: Refusal) -> None:
    assert certs("init", tmp_path / "other", "--device", "cam-1") == 0
    assert "unknown ca" in refusal(tmp_path / "other" / "cam-1")


def test_brokers_certificate_shown_by_a_client_is_refused(ca: Path, refusal: Refusal) -> None:
    assert "unsupported certificate" in refusal(ca / "broker")


def test_expired_device_is_refused(ca: Path, certs: Certs, refusal: Refusal) -> None:
    long_ago = dt.datetime.now(tz=dt.UTC) - dt.timedelta(days=800)  # noqa: TID251 - the broker reads the real clock too
    assert certs("issue", ca, "old-cam", now=long_ago) == 0
    assert "expired" in refusal(ca / "old-cam")


def test_revoked_device_is_refused_after_a_reload(
    ca: Path, certs: Certs, hello: Hello, refusal: Refusal, broker: Broker
) -> None:
    assert hello(ca / "cam-1")
    assert certs("revoke", ca, "cam-1", "--compromised") == 0
    broker.reload()
    assert "revoked" in refusal(ca / "cam-1")
    assert hello(ca / "backend")


def test_link_of_a_revoked_device_lives_on_until_a_restart(
    ca: Path, certs: Certs, broker: Broker, open_link: Callable[[Path], ssl.SSLSocket]
) -> None:
    """What `revoke` tells people to do rests on this."""
    link = open_link(ca / "cam-1")
    assert certs("revoke", ca, "cam-1") == 0
    broker.reload()
    link.sendall(b"\xc0\x00")
    assert link.recv(2) == b"\xd0\x00"
    broker.restart()
    assert link.recv(1) == b""


def test_revoked_device_issued_anew_is_accepted(
    ca: Path, certs: Certs, hello: Hello, broker: Broker, accepted: bytes
) -> None:
    assert certs("revoke", ca, "cam-1") == 0
    assert certs("renew", ca, "cam-1") == 1
    assert certs("issue", ca, "cam-1", "--force") == 0
    broker.reload()
    assert hello(ca / "cam-1") == accepted


@pytest.mark.parametrize("rekey", [[], ["--rekey"]], ids=["same key", "new key"])
def test_device_renewed_while_the_broker_runs_is_accepted_at_once(
    ca: Path, certs: Certs, hello: Hello, accepted: bytes, rekey: list[str]
) -> None:
    key = (ca / "cam-1" / "tls.key").read_bytes()
    certificate = (ca / "cam-1" / "tls.crt").read_bytes()
    assert certs("renew", ca, "cam-1", *rekey) == 0
    assert (ca / "cam-1" / "tls.crt").read_bytes() != certificate
    assert ((ca / "cam-1" / "tls.key").read_bytes() != key) == bool(rekey)
    assert hello(ca / "cam-1") == accepted


def test_broker_renewed_with_a_new_key_shows_it_after_a_reload(
    ca: Path, certs: Certs, broker: Broker, served_serial: Callable[[], str]
) -> None:
    before = served_serial()
    assert certs("renew", ca, "broker", "--rekey") == 0
    assert served_serial() == before
    broker.reload()
    assert served_serial() != before


def test_ended_revocation_list_refuses_everybody_until_it_is_renewed(
    tmp_path: Path, certs: Certs, hello: Hello, refusal: Refusal, accepted: bytes
) -> None:
    """Why the list lives as long as the certificates, and why every signing command writes it anew."""
    ended = dt.datetime.now(tz=dt.UTC) - dt.timedelta(days=398)  # noqa: TID251 - the broker reads the real clock too
    ca = tmp_path / "old"
    assert certs("init", ca, "--device", "cam-1", now=ended) == 0
    list_then = (ca / "crl.pem").read_bytes()
    assert certs("renew", ca, "broker") == 0
    (ca / "crl.pem").write_bytes(list_then)
    with Broker(tmp_path / "b", ca, engine="mosquitto") as broker:
        assert "expired" in refusal(ca / "cam-1", at=broker, trusting=ca)
        assert certs("renew", ca, "--crl") == 0
        broker.reload()
        assert hello(ca / "cam-1", at=broker, trusting=ca) == accepted
