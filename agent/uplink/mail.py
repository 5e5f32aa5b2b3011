"""What the agent and a store write to each other, as bytes: sign, then seal; unseal, then verify (docs/protocol.md §2).

A ``Mail`` is bound to one store key. What another key signed, what is addressed to another device, and what is not
sealed although it must be never becomes a value.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Protocol, Self

import msgspec

from agent import age
from agent.envelope import (
    MAX_SEALED_BYTES,
    TYP,
    TYP_CORRECTION,
    Alg,
    Key,
    Kind,
    Unverified,
    UpAck,
    b64url,
    frame,
    parse,
    parse_upack,
    sign,
    signing_input_sha256,
    unframe,
    verify,
)
from agent.envelope.kinds import UNSEALED
from agent.errors import CorruptError, RefusedError
from agent.keystore import Keystore
from agent.uplink.transfer import Manifest

UPACK: Final = "upack"
UP_ERASE: Final = "up/erase"
UP_RESYNC: Final = "up/resync"
UP_RECTIFY: Final = "up/rectify"
MAX_ITEMS: Final = 100  # of an erase, a resync or a rectify


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """How this device writes and reads: its name, its key, and the identities that open what is sealed to it."""

    name: str
    kid: str
    alg: Alg
    sign: Callable[[bytes], bytes]
    identities: tuple[age.Identity, ...]

    @classmethod
    def of(cls, keystore: Keystore, *, name: str) -> Self:
        """Return the device of this name whose keys these are."""
        return cls(name=name, kid=keystore.kid, alg=keystore.alg, sign=keystore.sign, identities=keystore.identities())


class Copy(Protocol):
    """An upload as ``erase``, ``rectify`` and ``resync`` name it."""

    @property
    def upload(self) -> str:
        """Its id."""
        ...

    @property
    def object(self) -> str:
        """The object's id."""
        ...

    @property
    def manifest(self) -> str:
        """The manifest hash."""
        ...


class Opened(msgspec.Struct, frozen=True):
    """An unsealed answer that has the form of one; nothing in it was checked."""

    kind: Kind
    unverified: Unverified


class Mail:
    """Writes to and reads from one store; an agent that knows several asks ``opened`` whose an answer is."""

    def __init__(self, device: Device, store: Key) -> None:
        self.store = store
        self.store_kid = store.kid
        self._device = device
        self._recipient = age.parse_recipient(store.recipient)

    def begin(self, manifest: Manifest) -> bytes:
        """Return the ``begin`` message."""
        return self._sealed("begin", self._jws("begin", manifest.iat_s, **_begin_claims(manifest)))

    def manifest_hash(self, manifest: Manifest) -> str:
        """Return the manifest hash: of what ``begin`` signs, so it is the same at every repeat."""
        unsigned = msgspec.structs.replace(self._device, sign=_no_signature)
        jws = _jws(unsigned, "begin", aud=self.store_kid, iat_s=manifest.iat_s, claims=_begin_claims(manifest))
        return signing_input_sha256(jws)

    def end(self, upload: str, manifest: str, *, iat_s: int) -> bytes:
        """Return the ``end`` message."""
        return self._sealed("end", self._jws("end", iat_s, upload=upload, manifest=manifest))

    def abort(self, upload: str, manifest: str, *, iat_s: int, jti: str) -> bytes:
        """Return the ``abort`` message."""
        return self._sealed("abort", self._jws("abort", iat_s, jti=jti, upload=upload, manifest=manifest))

    def erase(self, copies: Sequence[Copy], *, iat_s: int, jti: str) -> bytes:
        """Return the ``erase`` message for up to ``MAX_ITEMS`` copies."""
        return self._sealed("erase", self._jws("erase", iat_s, jti=jti, items=_items(copies)))

    def rectify(
        self, copies: Sequence[Copy], statement: bytes, *, about: str, number: int, iat_s: int, jti: str
    ) -> bytes:
        """Return the ``rectify`` message: a sealed ``statement`` to be kept with up to ``MAX_ITEMS`` copies."""
        told = {"about": about, "number": number, "data": b64url(statement), "items": _items(copies)}
        return self._sealed("rectify", self._jws("rectify", iat_s, jti=jti, **told))

    def resync(self, copies: Sequence[Copy], *, iat_s: int, jti: str) -> bytes:
        """Return the ``resync`` message for up to ``MAX_ITEMS`` copies."""
        return self._sealed("resync", self._jws("resync", iat_s, jti=jti, stored=_items(copies)))

    def read(self, raw: bytes) -> UpAck:
        """Turn a payload of ``upack`` into a value; raises ``CorruptError`` or ``RefusedError``, whoever wrote it."""
        return self.verified(opened(raw, device=self._device))

    def verified(self, answer: Opened) -> UpAck:
        """Do the second half of ``read``."""
        store = self.store
        value = parse_upack(answer.kind, verify(answer.unverified, jwk=store.jwk, alg=store.alg))
        if value.iss != self.store_kid:
            raise RefusedError("the claimed issuer is not the signer", reason="malformed")
        if value.aud != self._device.name:
            raise RefusedError("addressed to another device", reason="wrong_audience")
        return value

    def statement(self, claims: dict[str, Any], *, to: Sequence[age.Recipient]) -> bytes:
        """Return what a correction says, signed by this device and sealed to those who may read it.

        The store keeps it and reads nothing of it.
        """
        device = self._device
        whole = {"iss": device.name} | claims
        jws = sign(whole, typ=TYP_CORRECTION, kid=device.kid, alg=device.alg, sign=device.sign)
        return age.encrypt(jws, to)

    def _jws(self, kind: Kind, iat_s: int, **claims: Any) -> bytes:  # noqa: ANN401 - claims are of any JSON type
        return _jws(self._device, kind, aud=self.store_kid, iat_s=iat_s, claims=claims)

    def _sealed(self, kind: Kind, jws: bytes) -> bytes:
        return frame(kind, age.encrypt(jws, (self._recipient,)))


def opened(raw: bytes, *, device: Device) -> Opened:
    """Unseal a payload of ``upack`` and take it apart; raises ``CorruptError``."""
    kind, body = unframe(raw, channel=UPACK)
    if kind not in UNSEALED:
        if len(body) > MAX_SEALED_BYTES:
            raise CorruptError("sealed message too large")
        body = age.decrypt(body, device.identities, stanzas_max=age.STANZAS_MAX)
    return Opened(kind, parse(body, typ=TYP[kind]))


def _jws(device: Device, kind: Kind, *, aud: str, iat_s: int, claims: dict[str, Any]) -> bytes:
    head = {"iss": device.name, "aud": aud, "iat": iat_s}
    return sign(head | claims, typ=TYP[kind], kid=device.kid, alg=device.alg, sign=device.sign)


def _no_signature(_data: bytes) -> bytes:
    return b""


def _begin_claims(manifest: Manifest) -> dict[str, Any]:
    return {
        "upload": manifest.upload,
        "object": manifest.object,
        "payload": {"bytes": manifest.payload_bytes, "sha256": manifest.payload_sha256},
        "header": {
            "bytes": len(manifest.header),
            "sha256": manifest.header_sha256,
            "data": b64url(manifest.header),
        },
        "regions": list(manifest.regions),
    }


def _items(copies: Iterable[Copy]) -> list[dict[str, str]]:
    return [{"upload": copy.upload, "object": copy.object, "manifest": copy.manifest} for copy in copies]
