"""The formats of the simulated cloud: JSON, JWS and the post-quantum age writer, against other implementations."""

import hashlib
import json
import os
import re
import sys
from pathlib import Path
from threading import Thread

import pytest

from agent import age
from device_sim.cloud import age_pq, jws, sealing, strictjson
from device_sim.cloud.failure import MessageError, SetupError
from device_sim.cloud.journal import Journal, print_json
from device_sim.cloud.jws import Alg, PublicKey, SigningKey


@pytest.mark.parametrize("size", [0, 1, 1000, 65_535, 65_536, 65_537, 98_304])
def test_post_quantum_message_opens_with_the_agents_reader(size: int) -> None:
    """Two implementations that share no line agree on ``mlkem768x25519``."""
    identity = age.generate_identity(post_quantum=True)
    clear = os.urandom(size)
    sealed = sealing.seal(clear, identity.recipient().to_text())
    assert sealed.startswith(b"age-encryption.org/v1\n-> mlkem768x25519 ")
    assert age.decrypt(sealed, [identity]) == clear


def test_x25519_message_is_pyrages() -> None:
    identity, recipient = sealing.generate_identity()
    assert sealing.unseal(sealing.seal(b"clear", recipient), identity) == b"clear"
    with pytest.raises(MessageError):
        sealing.unseal(sealing.seal(b"clear", recipient), sealing.generate_identity()[0])
    with pytest.raises(MessageError):
        sealing.unseal(b"age-encryption.org/v1\n-> X25519", identity)


@pytest.mark.parametrize("text", ["", "age1pq1", "age1pq1qqqq", "age1xyz", "AGE1PQ1", "age1pq1" + "q" * 1952])
def test_recipient_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(age_pq.RecipientError):
        age_pq.parse_recipient(text)


def test_bent_recipient_is_refused_by_its_checksum() -> None:
    good = age.generate_identity(post_quantum=True).recipient().to_text()
    bent = good[:100] + ("q" if good[100] != "q" else "p") + good[101:]
    with pytest.raises(SetupError, match="checksum"):
        sealing.seal(b"clear", bent)


def test_message_beyond_what_the_writer_is_for_is_refused() -> None:
    recipient = age.generate_identity(post_quantum=True).recipient().to_text()
    with pytest.raises(MessageError, match="too long"):
        sealing.seal(bytes(age_pq.CHUNK_BYTES * age_pq.MAX_CHUNKS + 1), recipient)


def test_post_quantum_writer_stands_on_cryptography_alone() -> None:
    """docs/protocol.md hands this one file to whoever writes a peer; it imported errors of the simulator."""
    imported = re.findall(r"^(?:from|import) (\w+)", Path(age_pq.__file__).read_text(encoding="utf-8"), re.MULTILINE)
    assert set(imported) - sys.stdlib_module_names == {"cryptography"}


def test_events_of_many_threads_are_whole_lines(capfd: pytest.CaptureFixture[str]) -> None:
    """Two threads once printed `{…}{…}` on one line, and a script that reads the events stopped there."""
    journal = Journal(print_json)

    def tick() -> None:
        for number in range(200):
            journal.note("tick", number=number)

    threads = [Thread(target=tick) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [json.loads(text)["event"] for text in capfd.readouterr().out.splitlines()] == ["tick"] * 1_600


@pytest.mark.parametrize("alg", ["EdDSA", "ES256"])
def test_jws_holds_for_its_key_only(alg: Alg) -> None:
    key, other = SigningKey.generate(alg), SigningKey.generate(alg)
    signed = jws.sign({"a": 1}, key, typ="pv1.go")
    parsed = jws.parse(signed)
    assert jws.verify(parsed, key.public, typ="pv1.go") == {"a": 1}
    assert parsed.signing_input_sha256 == hashlib.sha256(signed.rpartition(b".")[0]).hexdigest()
    for wrong_key, wrong_typ in ((other.public, "pv1.go"), (key.public, "pv1.stored")):
        with pytest.raises(MessageError):
            jws.verify(parsed, wrong_key, typ=wrong_typ)
    bent = jws.parse(jws.sign({"a": 2}, key, typ="pv1.go").rpartition(b".")[0] + b"." + signed.rpartition(b".")[2])
    with pytest.raises(MessageError, match="signature"):
        jws.verify(bent, key.public, typ="pv1.go")


def test_algorithm_is_the_keys_and_not_the_headers() -> None:
    key, other = SigningKey.generate("EdDSA"), SigningKey.generate("ES256")
    with pytest.raises(MessageError, match="algorithm"):
        jws.verify(jws.parse(jws.sign({}, other, typ="t", kid=key.kid)), key.public, typ="t")


def test_thumbprint_is_that_of_the_rfc() -> None:
    """RFC 8037 appendix A.3."""
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    assert jws.thumbprint(jwk) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@pytest.mark.parametrize(
    "jwk",
    [
        None,
        {},
        {"kty": "OKP", "crv": "Ed25519", "x": "AA"},
        {"kty": "OKP", "crv": "Ed25519", "x": "A" * 43, "d": "A" * 43},
        {"kty": "EC", "crv": "P-256", "x": "A" * 43, "y": "A" * 43},
        {"kty": "EC", "crv": "P-256", "x": "A" * 43},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
    ],
)
def test_jwk_that_is_no_key_is_refused(jwk: object) -> None:
    with pytest.raises(MessageError):
        PublicKey.from_jwk(jwk)


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"a.b", b"a.b.c.d", b"\xff.b.c", b"e30.e30.", b"e30=.e30.AA", b"A" * (jws.MAX_JWS_BYTES + 1),
        b"eyJhbGciOiJub25lIn0.e30.",
    ],
)  # fmt: skip
def test_jws_of_another_form_is_refused(raw: bytes) -> None:
    with pytest.raises(MessageError):
        jws.parse(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":1,"a":2}', b'{"a":{"b":1,"b":1}}', b"[]", b"1", b'{"a":NaN}', b'{"a":Infinity}', b"{", b"\xff",
        b'{"a":' + b"[" * 8 + b"]" * 8 + b"}", b'{"a":' + b"[" * 100_000,
    ],
)  # fmt: skip
def test_json_that_two_readers_may_read_differently_is_refused(raw: bytes) -> None:
    with pytest.raises(MessageError):
        strictjson.loads(raw)


def test_json_of_eight_levels_is_read() -> None:
    assert strictjson.loads(b'{"a":' + b"[" * 7 + b"]" * 7 + b"}")
