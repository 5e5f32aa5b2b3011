"""Signed answers: bytes become a ``Receipt``, ``Alert`` or ``State`` only here, after every check. No files, no clock.

Checks, in order: unsealed by us; JWS form; signed by this device's key; named as issued by this device; addressed to
this client; the claims' form. Members that this version does not know are ignored (``docs/protocol.md`` §2).
"""

from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec

from agent import age
from agent.chain import Head
from agent.envelope import KIND, MAX_SEALED_BYTES, TYP, Descriptor, Kind, parse, verify
from agent.envelope.form import HASH, ID
from agent.errors import AgentError, CorruptError

Status = Literal["accepted", "in_progress", "waiting", "done", "partial", "refused", "failed"]
TERMINAL: Final = frozenset({"done", "partial", "refused", "failed"})

_Id = Annotated[str, msgspec.Meta(pattern=ID)]
_Hash = Annotated[str, msgspec.Meta(pattern=HASH)]
_Seq = Annotated[int, msgspec.Meta(ge=0)]
_Value = TypeVar("_Value", bound=msgspec.Struct)
_CODE: Final = r"\A[a-z_]{1,64}\Z"
_TIME: Final = r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z\Z"
_ABOUT: Final = r"\A[A-Za-z0-9._-]{0,128}\Z"
_AGE: Final = b"age-encryption.org/"


class Chosen(msgspec.Struct, frozen=True):
    """How many objects a command meant, and the hash of their ids."""

    count: int
    hash: _Hash


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one object; ``exports`` still hold a copy of it, ``object`` is what an inventory tells of it."""

    id: str
    result: str
    remarks: tuple[str, ...] = ()
    stated_by: str = ""
    camera_stated_by: str = ""
    exports: tuple[str, ...] = ()
    object: dict[str, Any] | None = None


class Progress(msgspec.Struct, frozen=True):
    """How far a running command is."""

    done: int
    total: int


class AuditHead(msgspec.Struct, frozen=True):
    """The end of the device's audit log when the receipt was signed."""

    seq: _Seq
    hash: _Hash


class ToldFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of an export as the device wrote it."""

    bytes: int
    sha256: _Hash
    name: str = ""


class ToldDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """What a third party's server took, by its own word."""

    party: str
    host: str
    files: int
    taken: int
    state: str
    certificate_sha256: str = ""
    why: str = ""


class ToldExport(msgspec.Struct, frozen=True, kw_only=True):
    """An export that lies in the device's export folder."""

    object: str
    files: tuple[ToldFile, ...]
    recipients: tuple[str, ...] = ()
    delivery: ToldDelivery | None = None


class RequestTold(msgspec.Struct, frozen=True, kw_only=True):
    """One request of the owner, and its deadline."""

    command: str
    verb: str
    asked: str
    due: str
    state: str
    working_days_left: int = 0
    answered: str = ""
    status: str = ""


class LateTold(msgspec.Struct, frozen=True):
    """Files that turned up after the delete that covers them."""

    destroyed: int
    remaining: int


class FarewellTold(msgspec.Struct, frozen=True, kw_only=True):
    """How far a device is on its way from its owner; ``phase`` 2 is its last word."""

    phase: Literal[1, 2]
    cloud: str
    cameras: str
    held: int
    deadline: str


class Covered(msgspec.Struct, frozen=True):
    """How much of what a restriction or a hold covers is here already."""

    objects: int
    bytes: int


class Receipt(msgspec.Struct, frozen=True, kw_only=True, rename={"export": "export"}):
    """A receipt whose signature, reader and form were checked."""

    iss: str
    aud: str
    iat: int
    jti: _Id
    cmd: str
    verb: str
    status: Status
    seq: int
    audit_head: AuditHead
    protection: str
    reason: str = ""
    detail: str = ""
    retry: str = ""
    next_seq: int | None = None
    selection: Chosen | None = None
    outcomes: tuple[Told, ...] | None = None
    outcomes_hash: str = ""
    cursor: str = ""
    progress: Progress | None = None
    remarks: tuple[str, ...] = ()
    export: ToldExport | None = None
    late: LateTold | None = None
    due: str = ""
    requests: tuple[RequestTold, ...] | None = None
    farewell: FarewellTold | None = None
    covers: Covered | None = None

    @property
    def last(self) -> bool:
        """Whether it is terminal, and no other terminal one is still to come."""
        return self.terminal and (self.farewell is None or self.farewell.phase == 2)  # noqa: PLR2004 - the last of two

    records: tuple[dict[str, Any], ...] | None = None

    @property
    def terminal(self) -> bool:
        """Whether nothing more will come but supplements."""
        return self.status in TERMINAL

    @property
    def head(self) -> Head:
        """The audit head, as the chain knows it."""
        return Head(self.audit_head.seq, self.audit_head.hash)


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """Something the device tells its owner without being asked."""

    iss: str
    aud: str
    iat: int
    jti: _Id
    code: Annotated[str, msgspec.Meta(pattern=_CODE)]
    about: Annotated[str, msgspec.Meta(pattern=_ABOUT)] = ""
    since: Annotated[str, msgspec.Meta(pattern=_TIME)]
    count: int
    what: str
    effect: str
    next: str
    incident: bool = False


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What the device says of itself to everybody."""

    iss: str
    iat: int
    online: bool
    session: int


def jws_of(raw: bytes, *, kind: Kind, identities: Iterable[age.Identity]) -> bytes:
    """Return the JWS inside a payload (kind byte and sealed body), a bare sealed body, or a JWS as it was kept.

    Raises ``CorruptError``.
    """
    if len(raw) > MAX_SEALED_BYTES + 1:
        raise CorruptError(f"{len(raw)} bytes; a message has at most {MAX_SEALED_BYTES + 1}")
    body = raw[1:] if raw[:1] == bytes((KIND[kind],)) else raw
    return age.decrypt(body, identities) if body.startswith(_AGE) else body.strip()


def signer_of(jws: bytes) -> str:
    """Return the key id that an unverified receipt names: to find the device, nothing more. Raises ``CorruptError``."""
    return parse(jws, typ=TYP["receipt"]).unverified_kid


def read_receipt(jws: bytes, *, device: Descriptor, kid: str) -> Receipt:
    """Return the receipt if this device signed it for the key ``kid`` ("" for whomever); raises ``CorruptError``."""
    return _read(jws, Receipt, kind="receipt", device=device, kid=kid)


def read_alert(jws: bytes, *, device: Descriptor, kid: str) -> Alert:
    """Return the alert if this device signed it for us; raises ``CorruptError``."""
    return _read(jws, Alert, kind="alert", device=device, kid=kid)


def read_state(raw: bytes, *, device: Descriptor) -> State:
    """Return the state that a payload of ``state`` holds, if this device signed it; raises ``CorruptError``."""
    if raw[:1] != bytes((KIND["state"],)):
        raise CorruptError("no state message")
    return _read(raw[1:], State, kind="state", device=device, kid="")


def _read(jws: bytes, shape: type[_Value], *, kind: Kind, device: Descriptor, kid: str) -> _Value:
    try:
        claims = verify(parse(jws, typ=TYP[kind]), jwk=device.jwk, alg=device.alg)
    except AgentError as error:
        raise CorruptError(f"not signed by {device.name}: {error.message}") from error
    if claims.get("iss") != device.name:
        raise CorruptError(f"signed by {device.name}, but issued in another name")
    if kid and claims.get("aud") != kid:
        raise CorruptError("addressed to another key")
    try:
        return msgspec.convert(claims, shape)
    except msgspec.ValidationError as error:
        raise CorruptError(f"not a {kind}: {error}") from error
