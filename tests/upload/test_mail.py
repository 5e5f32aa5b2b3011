"""What is written to a store, and which of its words become values."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from agent import age
from agent.envelope import KIND, Go, Key, parse, sign, signing_input_sha256, verify
from agent.errors import CorruptError, RefusedError
from agent.uplink import Mail
from tests.upload.cloud import Keys
from tests.upload.test_transfer import manifest

DEVICE, STORE, OTHER = Keys.new("cam-1"), Keys.new("store"), Keys.new("other")
CLAIMS: dict[str, Any] = {
    "iss": STORE.device.kid, "aud": "cam-1", "iat": 1, "upload": "a" * 26, "manifest": "0" * 64, "region": "eu",
    "offset": 0, "epoch": "e",
}  # fmt: skip


def key_of(keys: Keys) -> Key:
    return Key(jwk=keys.jwk, alg="EdDSA", role="store", name="", verbs=(), recipient=keys.recipient)


@pytest.fixture
def mail() -> Mail:
    return Mail(DEVICE.device, key_of(STORE))


def said(
    claims: dict[str, object], *, by: Keys = STORE, kid: str = "", typ: str = "pv1.go", to: Keys = DEVICE
) -> bytes:
    jws = sign(claims, typ=typ, kid=kid or by.device.kid, alg="EdDSA", sign=by.device.sign)
    return bytes((KIND["go"],)) + age.encrypt(jws, [age.parse_recipient(to.recipient)])


def test_begin_is_sealed_to_the_store_and_names_all_that_follows(mail: Mail) -> None:
    raw = mail.begin(manifest(25))
    jws = age.decrypt(raw[1:], STORE.device.identities)
    claims = verify(parse(jws, typ="pv1.begin"), jwk=DEVICE.jwk, alg="EdDSA")
    assert raw[0] == 0x20
    assert claims["aud"] == STORE.device.kid
    assert claims["payload"] == {"bytes": 25, "sha256": "a" * 64}
    assert signing_input_sha256(jws) == mail.manifest_hash(manifest(25))


def test_begin_repeated_has_the_same_manifest_hash_and_any_change_another(mail: Mail) -> None:
    first = manifest(25)
    assert mail.manifest_hash(first) == mail.manifest_hash(manifest(25))
    for changed in ({"iat_s": 2}, {"regions": ("eu",)}, {"header": b"headEr"}, {"upload": "v" * 26}):
        assert mail.manifest_hash(msgspec.structs.replace(first, **changed)) != mail.manifest_hash(first)


def test_true_answer_becomes_a_value(mail: Mail) -> None:
    assert mail.read(said(CLAIMS)) == Go(**CLAIMS)


def flipped(raw: bytes) -> bytes:
    return raw[:-1] + bytes((raw[-1] ^ 1,))


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (lambda: said(CLAIMS, by=OTHER), RefusedError),
        (lambda: said(CLAIMS, by=OTHER, kid=STORE.device.kid), RefusedError),
        (lambda: said(CLAIMS | {"iss": OTHER.device.kid}), RefusedError),
        (lambda: said(CLAIMS | {"aud": "cam-2"}), RefusedError),
        (lambda: said(CLAIMS | {"offset": -1}), RefusedError),
        (lambda: said(CLAIMS | {"unknown": 1}), RefusedError),
        (lambda: said(CLAIMS, typ="pv1.stored"), CorruptError),
        (lambda: said(CLAIMS, to=OTHER), CorruptError),
        (lambda: flipped(said(CLAIMS)), CorruptError),
        (lambda: said(CLAIMS)[:40], CorruptError),
        (lambda: b"", CorruptError),
        (lambda: b"\x01" + said(CLAIMS)[1:], CorruptError),
        (lambda: b"\x31" + said(CLAIMS)[1:], CorruptError),
        (lambda: bytes((0x30,)) + bytes(130_000), CorruptError),
        (lambda: bytes(200_000), CorruptError),
    ],
)
def test_anything_else_is_refused(mail: Mail, raw: Callable[[], bytes], kind: type[Exception]) -> None:
    with pytest.raises(kind):
        mail.read(raw())
