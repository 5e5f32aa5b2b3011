"""The signed side of the wire as bytes: strict JSON, JWS, key sets, descriptors, what a store says."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given
from hypothesis import strategies as st

from agent import age, envelope
from agent.envelope import (
    KIND,
    Alg,
    Failed,
    Go,
    PrivateKey,
    b64url,
    b64url_decode,
    decode_strictly,
    frame,
    parse,
    parse_descriptor,
    parse_keyset,
    parse_upack,
    public_jwk,
    raw_signature,
    thumbprint,
    unframe,
    verify,
)
from agent.errors import AgentError, ConfigError, CorruptError, RefusedError
from tests.commands.office import Office, at, party

ED25519 = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
P256 = ec.derive_private_key(12345, ec.SECP256R1())
BOTH: list[tuple[PrivateKey, Alg]] = [(ED25519, "EdDSA"), (P256, "ES256")]


def signed(key: PrivateKey, alg: Alg, claims: dict[str, Any]) -> bytes:
    kid = thumbprint(public_jwk(key))
    return envelope.sign(claims, typ="pv1.ack", kid=kid, alg=alg, sign=lambda data: raw_signature(key, data))


# --- foreign vectors


def test_thumbprint_is_the_one_of_rfc_8037() -> None:
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}  # A.3
    assert thumbprint(jwk) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_signature_of_rfc_8037_is_made() -> None:
    secret = b64url_decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")  # A.4
    data = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
    made = raw_signature(Ed25519PrivateKey.from_private_bytes(secret), data)
    assert b64url(made) == ("hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg")


@pytest.mark.parametrize(("key", "alg"), BOTH)
def test_what_is_signed_is_verified(key: PrivateKey, alg: Alg) -> None:
    jws = signed(key, alg, {"a": "ü", "n": 1})
    assert verify(parse(jws, typ="pv1.ack"), jwk=public_jwk(key), alg=alg) == {"a": "ü", "n": 1}


@pytest.mark.parametrize(("key", "alg"), BOTH)
def test_every_flipped_bit_is_refused(key: PrivateKey, alg: Alg) -> None:
    jws = signed(key, alg, {"a": 1})
    for position in range(len(jws) * 8):
        bad = bytearray(jws)
        bad[position // 8] ^= 1 << position % 8
        with pytest.raises((CorruptError, RefusedError)):
            verify(parse(bytes(bad), typ="pv1.ack"), jwk=public_jwk(key), alg=alg)


def test_es256_in_der_is_refused() -> None:
    half = signed(P256, "ES256", {}).rpartition(b".")[0]
    der = P256.sign(half, ec.ECDSA(SHA256()))
    with pytest.raises(CorruptError):
        parse(half + b"." + b64url(der).encode(), typ="pv1.ack")


def test_algorithm_comes_from_the_key_and_never_from_the_header() -> None:
    jws = signed(ED25519, "ES256", {"a": 1})  # the header says ES256
    with pytest.raises(RefusedError) as caught:
        verify(parse(jws, typ="pv1.ack"), jwk=public_jwk(ED25519), alg="EdDSA")
    assert caught.value.reason == "bad_signature"


@pytest.mark.parametrize("text", ["YQ==", "YR", "Y Q", "YQ\n", "YQ.", "Y", "+/8", "ä"])
def test_base64url_has_one_spelling(text: str) -> None:
    with pytest.raises(CorruptError):
        b64url_decode(text)


@given(st.binary(max_size=100))
def test_base64url_is_read_back(data: bytes) -> None:
    assert b64url_decode(b64url(data)) == data


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "EdDSA", "kid": "A" * 43},
        {"alg": "EdDSA", "kid": "A" * 43, "typ": "pv1.ack", "jwk": {}},
        {"alg": "EdDSA", "kid": "A" * 42, "typ": "pv1.ack"},
        {"alg": 1, "kid": "A" * 43, "typ": "pv1.ack"},
        {"alg": "EdDSA", "kid": "A" * 43, "typ": "pv1.command"},
    ],
)
def test_header_has_exactly_three_members(header: dict[str, Any]) -> None:
    raw = b64url(json.dumps(header).encode()) + "." + b64url(b"{}") + "." + b64url(b"\0" * 64)
    with pytest.raises(CorruptError):
        parse(raw.encode(), typ="pv1.ack")


# --- strict JSON


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":2}', '{"a":{"b":1,"b":1}}', "[]", '"a"', "", "{", '{"a":NaN}', '{"a":Infinity}', '{"a":1.0}',
        '{"a":1e3}', '{"a":9007199254740992}', '{"a":-9007199254740992}', '{"a":"\\ud800"}', '{"a":1}x', "\ufeff{}",
        '{"a":' * 9 + "1" + "}" * 9, '{"a":' + "[" * 100_000, '{"a":"\t"}', "{'a':1}", '{"a":01}',
    ],
)  # fmt: skip
def test_json_that_two_readers_could_read_differently_is_refused(text: str) -> None:
    with pytest.raises(CorruptError):
        decode_strictly(text.encode(), max_bytes=1 << 20)


def test_json_of_eight_levels_and_brackets_in_strings_is_read() -> None:
    deep = '{"a":' * 7 + '{"b":"[[[[[[[[[[{{{\\"[[["}' + "}" * 7
    assert decode_strictly(deep.encode(), max_bytes=1000)
    with pytest.raises(CorruptError):
        decode_strictly(deep.encode(), max_bytes=10)


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_random_bytes_raise_only_the_declared_error(data: bytes) -> None:
    for read in (
        lambda: decode_strictly(data, max_bytes=1000),
        lambda: parse(data, typ="pv1.ack"),
        lambda: unframe(data, channel="cmd"),
        lambda: parse_descriptor(data),
        lambda: parse_keyset(data, root_jwk=public_jwk(P256), current=None),
    ):
        try:
            read()
        except (CorruptError, RefusedError):
            continue


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-10, 2**60) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ["iss", "aud", "iat", "exp", "jti", "seq", "verb", "select", "acks", "upload", "manifest", "region", "offset"]
)


@given(st.dictionaries(NAMES, JSON), st.sampled_from(["delete", "export", "inventory", "approve", "time", "x"]))
def test_random_claims_raise_only_a_refusal(claims: dict[str, Any], verb: str) -> None:
    with pytest.raises(RefusedError):
        envelope.parse_command(claims | {"verb": verb})
    with pytest.raises(RefusedError):
        envelope.parse_ack(claims)
    for kind in sorted(envelope.CHANNEL_KINDS["upack"]):
        with pytest.raises(RefusedError):
            parse_upack(kind, claims)


# --- kinds


def test_kind_bytes_are_those_of_the_document() -> None:
    assert {name: hex(byte) for name, byte in KIND.items()} == {
        "command": "0x1", "ack": "0x2", "receipt": "0x11", "begin": "0x20", "chunk": "0x21", "end": "0x22",
        "abort": "0x23", "erase": "0x24", "rectify": "0x25", "resync": "0x26", "go": "0x30",
        "upload-ack": "0x31", "stored": "0x32",
        "erased": "0x33", "failed": "0x34", "rectified": "0x35", "state": "0x40", "alert": "0x50",
    }  # fmt: skip
    assert unframe(frame("ack", b"x"), channel="cmd") == ("ack", b"x")
    for wrong in (b"", b"\x00x", frame("go", b"x"), b"\x01" * 131_073):
        with pytest.raises(CorruptError):
            unframe(wrong, channel="cmd")
    assert envelope.frame_chunk(2**40, 4) == b"\x21" + (2**40).to_bytes(8, "big") + bytes(4)


def test_store_messages_become_values() -> None:
    common: dict[str, Any] = {"iss": "A" * 43, "aud": "cam-01", "iat": 1, "upload": "a" * 26, "manifest": "0" * 64}
    go = common | {"region": "eu", "offset": 5, "epoch": "e"}
    assert parse_upack("go", go) == Go(**go)
    assert parse_upack("go", go | {"re": "b" * 26}) == Go(**go, re="b" * 26)
    for bad in ({"offset": -1}, {"region": "../x"}, {"manifest": "0" * 63}, {"more": 1}, {"re": "x"}, {"offset": "5"}):
        with pytest.raises(RefusedError):
            parse_upack("go", go | bad)
    failed = common | {"reason": "manifest_changed"}
    assert parse_upack("failed", failed) == Failed(**failed)


# --- keys


def test_key_set_follows_its_chain_only(office: Office) -> None:
    root = public_jwk(office.root)
    first = parse_keyset(office.keyset_raw, root_jwk=root, current=None)
    prev = envelope.signing_input_sha256(office.keyset_raw)
    second_raw = office.sign_keyset(2, prev)
    second = parse_keyset(second_raw, root_jwk=root, current=first)
    assert (second.version, second.prev) == (2, first.sha256)
    assert parse_keyset(second_raw, root_jwk=root, current=second) is second
    wrong = [
        (office.keyset_raw, second, "stale_seq"),
        (office.sign_keyset(2, prev, office.client), second, "stale_seq"),
        (office.sign_keyset(2, "0" * 64), first, "malformed"),
        (office.sign_keyset(3, first.sha256), first, "malformed"),
        (office.sign_keyset(1, ""), second, "stale_seq"),
    ]
    for raw, current, reason in wrong:
        with pytest.raises(RefusedError) as caught:
            parse_keyset(raw, root_jwk=root, current=current)
        assert caught.value.reason == reason
    with pytest.raises(RefusedError) as caught:
        parse_keyset(office.keyset_raw, root_jwk=public_jwk(P256), current=None)
    assert caught.value.reason == "bad_signature"


def test_key_set_gives_no_role_a_verb_that_is_not_its() -> None:
    cases = [party("backend", "x", "approve"), party("store", "x", "delete"), party("time", "x", "inventory")]
    cases += [party("client", "x", "delete", "delete")]
    root = public_jwk(P256)
    for case in cases:
        claims = envelope.keyset_claims([case.key()], version=1, prev="", iat=1, root_jwk=root)
        raw = envelope.sign(
            claims,
            typ="pv1.keyset",
            kid=thumbprint(root),
            alg="ES256",
            sign=lambda data: raw_signature(P256, data),
        )
        with pytest.raises(RefusedError):
            parse_keyset(raw, root_jwk=root, current=None)


def test_second_owner_is_refused_and_the_first_may_come_again(office: Office) -> None:
    owner = office.owner()
    office.index.write_now(lambda tx: office.trust.install_owner(tx, owner, moment=at()))
    office.root = P256
    with pytest.raises(ConfigError):
        office.index.write_now(lambda tx: office.trust.install_owner(tx, office.owner(), moment=at()))
    assert office.index.read_now(office.trust.owner) == owner


def test_key_is_valid_within_its_time_only(office: Office) -> None:
    key = office.client.key()
    bounded = envelope.Key(
        jwk=key.jwk, alg=key.alg, role="client", name="x", verbs=(), recipient=key.recipient, nbf=10, exp=20
    )
    assert [bounded.valid_at(now_s) for now_s in (9, 10, 19, 20)] == [False, True, True, False]


def test_descriptor_of_a_device_is_signed_by_itself() -> None:
    jwk = public_jwk(ED25519)
    recipient = age.generate_identity(post_quantum=False).recipient().to_text()
    claims = {"v": 1, "role": "device", "name": "cam-01", "jwk": jwk, "alg": "EdDSA", "recipient": recipient}

    def descriptor(key: PrivateKey) -> bytes:
        return envelope.sign(
            claims,
            typ="pv1.descriptor",
            kid=thumbprint(jwk),
            alg="EdDSA",
            sign=lambda data: raw_signature(key, data),
        )

    assert parse_descriptor(descriptor(ED25519)).name == "cam-01"
    for wrong in (descriptor(Ed25519PrivateKey.generate()), json.dumps(claims).encode()):
        with pytest.raises(CorruptError):
            parse_descriptor(wrong)
    backend = parse_descriptor(json.dumps(claims | {"role": "backend"}).encode())
    groups = backend.fingerprint.split()
    assert [len(group) for group in groups] == [4] * 8


def test_private_keys_of_other_kinds_are_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        envelope.private_key_from_pem(b"nonsense")
    assert isinstance(caught.value, AgentError)
    assert caught.value.hint


def test_header_that_names_another_key_than_the_signers_is_refused() -> None:
    jws = envelope.sign({}, typ="pv1.ack", kid="A" * 43, alg="EdDSA", sign=lambda data: raw_signature(ED25519, data))
    with pytest.raises(RefusedError) as caught:
        verify(parse(jws, typ="pv1.ack"), jwk=public_jwk(ED25519), alg="EdDSA")
    assert caught.value.reason == "bad_signature"
