"""Keys, and the owner-signed list of them (``docs/protocol.md`` §3).

The root signs version after version, each naming the hash of the one before; the agent takes the next one only. A key
carries its algorithm, role, verbs, quota, validity and the recipient that answers to it are sealed to. A recipient is
tried before it is accepted: one wrong letter would let nothing be sealed, for as long as that key set is in force.
"""

import hashlib
from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal, get_args

import msgspec

from agent import age
from agent.envelope.form import AGE_RECIPIENT, NAME, SECONDS, UINT
from agent.envelope.json import decode_strictly
from agent.envelope.jws import Alg, Unverified, alg_of, parse, public_key, signing_input_sha256, thumbprint, verify
from agent.envelope.kinds import MAX_JWS_BYTES, TYP_DESCRIPTOR, TYP_KEYSET
from agent.errors import ConfigError, CorruptError, RefusedError

KeyRole = Literal["client", "backend", "store", "time"]
Verb = Literal[
    "delete", "export", "inventory", "approve", "consent", "withdraw", "object", "consents", "time", "erase-all",
    "rectify", "requests", "end-service", "policy", "restrict", "unrestrict", "hold",
    "release",
]  # fmt: skip

VERBS: Final[tuple[Verb, ...]] = get_args(Verb)
BACKEND_VERBS: Final[tuple[Verb, ...]] = ("delete", "export", "inventory")
"""What a backend gets unless its owner says otherwise; it may hold more."""
GRANTED_ALONE: Final[frozenset[Verb]] = frozenset({"hold", "release"})
"""No key has these because of its role: a hold binds its owner too, so the owner grants them by name."""

ROLE_VERBS: Final[dict[KeyRole, tuple[Verb, ...]]] = {
    "client": VERBS,
    "backend": (*BACKEND_VERBS, "end-service", "policy", "hold", "release"),
    "store": (),
    "time": ("time",),
}
APPROVABLE: Final[frozenset[Verb]] = frozenset(VERBS) - {"approve", "inventory", "time"}
"""Verbs that more than one client may have to sign for."""

MAX_KEYS: Final = 64
_FINGERPRINT_BYTES: Final = 16
_MAX_DESCRIPTOR_BYTES: Final = 16 * 1024

_Recipient = Annotated[str, msgspec.Meta(pattern=AGE_RECIPIENT)]
_Name = Annotated[str, msgspec.Meta(pattern=NAME)]
_Seconds = Annotated[int, msgspec.Meta(ge=0, le=SECONDS)]
_Count = Annotated[int, msgspec.Meta(ge=1, le=UINT)]


class Quota(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much a key may delete or export in any ``window_s`` seconds before the owner is asked."""

    objects: _Count
    bytes: _Count
    window_s: _Count


class Key(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One key of the key set; ``nbf``/``exp`` bound its validity, half-open, in seconds."""

    jwk: dict[str, str]
    alg: Alg
    role: KeyRole
    name: _Name
    verbs: tuple[Verb, ...]
    recipient: _Recipient
    quota: Quota | None = None
    nbf: _Seconds | None = None
    exp: _Seconds | None = None

    @property
    def kid(self) -> str:
        """The key's RFC 7638 thumbprint."""
        return thumbprint(self.jwk)

    def valid_at(self, now_s: int) -> bool:
        """Tell whether ``now_s`` lies in the key's validity."""
        return (self.nbf is None or self.nbf <= now_s) and (self.exp is None or now_s < self.exp)


class Approvals(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which verbs act only once ``need`` different owner clients signed for it; a client's own signature is one."""

    need: Annotated[int, msgspec.Meta(ge=1, le=MAX_KEYS)]
    verbs: Annotated[tuple[Verb, ...], msgspec.Meta(min_length=1)]


class _Claims(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: _Count
    prev: str
    iat: _Seconds
    root: dict[str, str]
    keys: Annotated[tuple[Key, ...], msgspec.Meta(max_length=MAX_KEYS)]
    approvals: Approvals | None = None


class KeySet(msgspec.Struct, frozen=True, kw_only=True):
    """A verified version of the key set; ``sha256`` names it in the next one's ``prev``."""

    version: int
    prev: str
    iat: int
    root: dict[str, str]
    keys: tuple[Key, ...]
    sha256: str
    raw: bytes
    approvals: Approvals | None = None

    def key(self, kid: str) -> Key | None:
        """Return the key of that id, if the set has it."""
        return next((key for key in self.keys if key.kid == kid), None)


class Descriptor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who a device, backend, store, client, time source or owner is: signing key and recipient, to be compared."""

    v: Literal[1]
    role: Literal["device", "backend", "store", "client", "time", "owner"]
    name: _Name
    jwk: dict[str, str]
    alg: Alg
    recipient: _Recipient

    @property
    def kid(self) -> str:
        """The signing key's RFC 7638 thumbprint."""
        return thumbprint(self.jwk)

    @property
    def fingerprint(self) -> str:
        """What two people compare: it covers the signing key and the recipient."""
        return fingerprint(self.kid, recipient=self.recipient)


def fingerprint(kid: str, *, recipient: str) -> str:
    """Return the first 16 bytes of SHA-256 of ``kid``, a line feed and ``recipient``, in hex groups of four (§3)."""
    digest = hashlib.sha256(f"{kid}\n{recipient}".encode("ascii")).digest()[:_FINGERPRINT_BYTES].hex()
    return " ".join(digest[start : start + 4] for start in range(0, len(digest), 4))


def parse_descriptor(raw: bytes) -> Descriptor:
    """Read a descriptor, plain JSON or (a device's) a JWS signed by the key it shows.

    Raises ``CorruptError``, also for a recipient that nothing can be sealed to.
    """
    raw = raw.strip()
    if raw.startswith(b"{"):
        descriptor = _descriptor(decode_strictly(raw, max_bytes=_MAX_DESCRIPTOR_BYTES))
        if descriptor.role == "device":
            raise CorruptError("a device's descriptor is signed by itself")
        return descriptor
    unverified = parse(raw, typ=TYP_DESCRIPTOR)
    shown = _descriptor(decode_strictly(unverified.unverified_payload, max_bytes=_MAX_DESCRIPTOR_BYTES))
    _verified(unverified, jwk=shown.jwk, alg=shown.alg)
    return shown


def _verified(unverified: Unverified, *, jwk: dict[str, str], alg: Alg) -> dict[str, Any]:
    try:
        return verify(unverified, jwk=jwk, alg=alg)
    except RefusedError as error:
        raise CorruptError("the descriptor is not signed by the key that it shows") from error


def _descriptor(claims: dict[str, Any]) -> Descriptor:
    try:
        descriptor = msgspec.convert(claims, Descriptor)
    except msgspec.ValidationError as error:
        raise CorruptError(f"not a descriptor: {error}") from error
    public_key(descriptor.jwk, alg=descriptor.alg)
    try:
        age.require_usable(descriptor.recipient)
    except ConfigError as error:
        raise CorruptError(f"its recipient: {error.message}", hint=error.hint) from error
    return descriptor


def keyset_claims(
    keys: Iterable[Key],
    *,
    version: int,
    prev: str,
    iat: int,
    root_jwk: dict[str, str],
    approvals: Approvals | None = None,
) -> dict[str, Any]:
    """Return the claims that an owner's root signs as ``pv1.keyset``."""
    claims = {"version": version, "prev": prev, "iat": iat, "root": root_jwk, "keys": msgspec.to_builtins(list(keys))}
    return claims if approvals is None else claims | {"approvals": msgspec.to_builtins(approvals)}


def parse_keyset(raw: bytes, *, root_jwk: dict[str, str], current: KeySet | None) -> KeySet:
    """Return the key set if it is signed by this root and follows ``current`` (or repeats it).

    Raises ``CorruptError`` for bytes without form, ``RefusedError`` with ``bad_signature`` (another root),
    ``stale_seq`` (a version not above ours) or ``malformed`` (a gap, a wrong ``prev``, a key that cannot be or that
    nothing can be sealed to).
    """
    new = read_keyset(raw, root_jwk=root_jwk)
    if current is not None and (new.version, new.sha256) == (current.version, current.sha256):
        return current
    _check_chain(new, current)
    _check_recipients(new.keys)
    return new


def read_keyset(raw: bytes, *, root_jwk: dict[str, str]) -> KeySet:
    """Return a key set that this root signed, wherever it stands in the chain; raises as ``parse_keyset``.

    Recipients are not tried: what was accepted once is read back, and the next version mends it.
    """
    raw = raw.strip()
    try:
        claims = verify(parse(raw, typ=TYP_KEYSET), jwk=root_jwk, alg=alg_of(root_jwk))
    except RefusedError as error:
        raise RefusedError(
            f"the key set is not signed by the root of the owner who is known here: {error.message}",
            reason=error.reason,
            hint="take the key set that this owner's home wrote (privacy-owner device list names its devices)",
        ) from None
    try:
        new = msgspec.convert(claims, _Claims)
    except msgspec.ValidationError as error:
        raise _malformed(f"not a key set: {error}") from error
    if new.root != root_jwk:
        raise _malformed("the key set names another root than the one that signed it")
    _check_keys(new.keys, root_kid=thumbprint(root_jwk))
    _check_approvals(new.approvals, new.keys)
    return KeySet(
        version=new.version,
        prev=new.prev,
        iat=new.iat,
        root=new.root,
        keys=new.keys,
        sha256=signing_input_sha256(raw),
        raw=raw,
        approvals=new.approvals,
    )


def _check_chain(new: KeySet, current: KeySet | None) -> None:
    version, sha256 = (current.version, current.sha256) if current is not None else (0, "")
    if new.version <= version:
        raise RefusedError(
            f"key set version {new.version} is not above {version}",
            reason="stale_seq",
            retry="after_fix",
            hint=f"sign version {version + 1}",
        )
    if new.version != version + 1:
        raise _malformed(f"key set version {new.version} does not follow {version}; submit the ones between first")
    if new.prev != sha256:
        raise _malformed("the key set does not name the hash of the version before")


def _check_keys(keys: tuple[Key, ...], *, root_kid: str) -> None:
    seen: set[str] = {root_kid}  # the root signs key sets and nothing else
    for key in keys:
        try:
            public_key(key.jwk, alg=key.alg)
        except CorruptError as error:
            raise _malformed(f"key {key.name!r}: {error}") from error
        if key.kid in seen:
            raise _malformed(f"key {key.name!r} stands twice in the set, or is the root")
        seen.add(key.kid)
        if not set(key.verbs) <= set(ROLE_VERBS[key.role]) or len(set(key.verbs)) != len(key.verbs):
            raise _malformed(f"key {key.name!r}: a {key.role} may not hold these verbs")


def _check_approvals(approvals: Approvals | None, keys: tuple[Key, ...]) -> None:
    """Refuse what could never be met, or would keep the word itself that meets it."""
    if approvals is None:
        return
    if not set(approvals.verbs) <= APPROVABLE or len(set(approvals.verbs)) != len(approvals.verbs):
        raise _malformed(f"approvals: the verbs are some of {', '.join(sorted(APPROVABLE))}, each once")
    clients = sum(key.role == "client" and "approve" in key.verbs for key in keys)
    if approvals.need > clients:
        raise _malformed(f"approvals: {approvals.need} are asked for, and {clients} clients may approve")


def _check_recipients(keys: tuple[Key, ...]) -> None:
    for key in keys:
        try:
            age.require_usable(key.recipient)
        except ConfigError as error:
            raise _malformed(f"the recipient of key {key.name!r}: {error.message}") from error


def _malformed(message: str) -> RefusedError:
    return RefusedError(message, reason="malformed", retry="after_fix")


__all__ = [
    "APPROVABLE",
    "BACKEND_VERBS",
    "GRANTED_ALONE",
    "MAX_JWS_BYTES",
    "ROLE_VERBS",
    "VERBS",
    "Approvals",
    "Descriptor",
    "Key",
    "KeyRole",
    "KeySet",
    "Quota",
    "Verb",
    "fingerprint",
    "keyset_claims",
    "parse_descriptor",
    "parse_keyset",
    "read_keyset",
]
