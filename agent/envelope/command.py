"""Verified claims become a ``Command`` or an ``Ack`` here and nowhere else (``docs/protocol.md`` §4, §5).

Every member is named; one more, one less or one of another type refuses the whole. Nothing is filled in for the
sender but what the document calls a default.
"""

import re
from typing import Annotated, Any, Final, Literal

import msgspec

from agent.envelope.deposit import read_deposit
from agent.envelope.form import AGE_RECIPIENT, HASH, ID, KID, PURPOSE, SECONDS, UINT, unix_ms
from agent.envelope.freezing import Hold, Release, Restrict, Unrestrict, check_freeze
from agent.envelope.kinds import MAX_ACKS, MAX_JWS_BYTES, MAX_OUTCOMES, MAX_SELECT_IDS
from agent.errors import RefusedError
from agent.model import Category, Selection, is_camera_id, is_id

MAX_LIFETIME_S: Final = 31 * 24 * 3600
MAX_RECIPIENTS: Final = 16
_MAX_DEVICE_ID: Final = 64
_MAX_CORRECTED: Final = 64
"""Characters of a name or a place: what a camera's may have when it is enrolled."""

_Id = Annotated[str, msgspec.Meta(pattern=ID)]
_Kid = Annotated[str, msgspec.Meta(pattern=KID)]
_Hash = Annotated[str, msgspec.Meta(pattern=HASH)]
_Seconds = Annotated[int, msgspec.Meta(ge=0, le=SECONDS)]
_Recipient = Annotated[str, msgspec.Meta(pattern=AGE_RECIPIENT)]
_Name = Annotated[str, msgspec.Meta(pattern=PURPOSE)]
_Corrected = Annotated[str, msgspec.Meta(max_length=_MAX_CORRECTED)]
_DeviceId = Annotated[str, msgspec.Meta(min_length=1, max_length=_MAX_DEVICE_ID)]


class Delete(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Erase every copy of the selection."""

    select: Selection


class Export(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Build a sealed export: ``objects`` rewraps headers, ``zip`` is for people.

    ``put`` has it put at an address, where ``party`` is.
    """

    select: Selection
    form: str
    to: Annotated[tuple[_Recipient, ...], msgspec.Meta(max_length=MAX_RECIPIENTS)] = ()
    put: str = ""
    party: _Corrected = ""


class Inventory(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """List what is held, ``limit`` at a time, after ``cursor``."""

    select: Selection
    cursor: str = ""
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_OUTCOMES)] = MAX_OUTCOMES


class Approve(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Let the waiting ``command`` proceed with exactly the ``selection`` of that hash."""

    command: _Id
    selection: _Hash


class EraseAll(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Erase everything and forget the owner."""


class Consent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Give consent to a purpose, or refuse it; without a category for each that the policy uses for it."""

    purpose: _Name
    decision: Literal["given", "refused"]
    category: Category | None = None


class Withdraw(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Take consent to a purpose back."""

    purpose: _Name
    category: Category | None = None


class Objection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Object to a purpose, whatever its basis, or switch do-not-track."""

    purpose: _Name | None = None
    category: Category | None = None
    do_not_track: bool | None = None


class ConsentRecords(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """List what was said of purposes, behind the record ``cursor``."""

    cursor: _Id | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_OUTCOMES)] = MAX_OUTCOMES


class SetTime(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """State trusted time in seconds."""

    now: _Seconds


class Requests(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Tell of the owner's requests: what is open, by when each is due, and what was answered when."""


class Correction(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is true instead: the name of a camera or a recording, and where a camera is; "" says that there is none."""

    name: _Corrected | None = None
    location: _Corrected | None = None


class Rectify(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Correct what is told of one camera or of one object, here and at the stores."""

    set: Correction
    camera: str | None = None
    object: _Id | None = None


class EndService(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Say that the service ends (``ends``, in seconds), or that the owner goes on without it (``resume``)."""

    ends: _Seconds | None = None
    resume: bool | None = None


class ProposePolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Put a policy in force, a compact JWS of type ``pv1.policy`` signed by the same key; see ``policy.py``."""

    policy: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_JWS_BYTES)]


Request = (
    Delete
    | Export
    | Inventory
    | Approve
    | SetTime
    | EraseAll
    | Rectify
    | Consent
    | Withdraw
    | Objection
    | ConsentRecords
    | Requests
    | EndService
    | ProposePolicy
    | Restrict
    | Unrestrict
    | Hold
    | Release
)
_VERB_OF: Final[dict[str, type[Request]]] = {
    "delete": Delete,
    "export": Export,
    "inventory": Inventory,
    "approve": Approve,
    "consent": Consent,
    "withdraw": Withdraw,
    "object": Objection,
    "consents": ConsentRecords,
    "time": SetTime,
    "erase-all": EraseAll,
    "rectify": Rectify,
    "requests": Requests,
    "end-service": EndService,
    "policy": ProposePolicy,
    "restrict": Restrict,
    "unrestrict": Unrestrict,
    "hold": Hold,
    "release": Release,
}


class _Common(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    iss: _Kid
    aud: _DeviceId
    iat: _Seconds
    exp: _Seconds
    jti: _Id
    seq: Annotated[int, msgspec.Meta(ge=1, le=UINT)]
    verb: str
    after: _Id | None = None


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """A signed request whose signature, form and audience were checked; freshness and rights were not."""

    iss: str
    aud: str
    iat: int
    exp: int
    jti: str
    seq: int
    verb: str
    after: str
    request: Request

    @property
    def selection(self) -> Selection | None:
        """What the command names now, for the verbs that freeze or look up objects."""
        if isinstance(self.request, EraseAll):
            return Selection(all=True)
        return self.request.select if isinstance(self.request, Delete | Export | Inventory) else None


class Ack(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The reader has these receipts and alerts."""

    iss: _Kid
    aud: _DeviceId
    iat: _Seconds
    acks: Annotated[tuple[_Id, ...], msgspec.Meta(min_length=1, max_length=MAX_ACKS)]


# An object's id; or a command's id, a point, and perhaps an object's id: pages of that command's outcomes.
_CURSOR: Final = re.compile(r"|[a-z2-7]{26}(?:\.(?:[a-z2-7]{26})?)?")
_COMMON: Final = frozenset(_Common.__struct_fields__)


def claimed_jti(claims: dict[str, Any]) -> str:
    """Return the command id that verified but malformed claims name, or "": a refusal can still say what it is of."""
    jti = claims.get("jti")
    return jti if isinstance(jti, str) and is_id(jti) else ""


def parse_command(claims: dict[str, Any]) -> Command:
    """Turn verified claims into a command; raises ``RefusedError`` with ``malformed`` or ``unknown_verb``."""
    try:
        common = msgspec.convert({name: claims[name] for name in claims if name in _COMMON}, _Common)
    except msgspec.ValidationError as error:
        raise _malformed(str(error)) from error
    if common.exp < common.iat or common.exp - common.iat > MAX_LIFETIME_S:
        raise _malformed("exp lies after iat by at most 31 days")
    shape = _VERB_OF.get(common.verb)
    if shape is None:
        raise RefusedError("this version has no such verb", reason="unknown_verb", retry="after_fix")
    try:
        request = msgspec.convert({name: claims[name] for name in claims if name not in _COMMON}, shape)
    except msgspec.ValidationError as error:
        raise _malformed(str(error)) from error
    _check_request(request)
    if isinstance(request, Restrict | Hold):
        check_freeze(request, iat=common.iat)
    return Command(
        iss=common.iss,
        aud=common.aud,
        iat=common.iat,
        exp=common.exp,
        jti=common.jti,
        seq=common.seq,
        verb=common.verb,
        after=common.after or "",
        request=request,
    )


def parse_ack(claims: dict[str, Any]) -> Ack:
    """Turn verified claims into an ack; raises ``RefusedError`` (``malformed``)."""
    try:
        return msgspec.convert(claims, Ack)
    except msgspec.ValidationError as error:
        raise _malformed(str(error)) from error


def _check_request(request: Request) -> None:
    if isinstance(request, Export):
        _check_export(request)
    if isinstance(request, Inventory) and _CURSOR.fullmatch(request.cursor) is None:
        raise _malformed("cursor is none of ours")
    if isinstance(request, Objection) and (request.purpose is None) == (request.do_not_track is None):
        raise _malformed("an objection names a purpose, or do_not_track")
    if isinstance(request, Objection) and request.category is not None and request.purpose is None:
        raise _malformed("a category stands beside a purpose")
    if isinstance(request, EndService) and (
        request.resume is False or (request.ends is None) is (request.resume is None)
    ):
        raise _malformed("end-service has ends, or resume that is true")
    if isinstance(request, Delete | Export | Inventory | Restrict | Hold):
        _check_selection(request.select)
    if isinstance(request, Rectify):
        _check_correction(request)


def _check_selection(select: Selection) -> None:
    by_range = select.camera is not None or select.category is not None or select.from_ is not None
    by_range = by_range or select.to is not None
    if (select.ids is not None) + by_range + (select.all is not None) != 1:
        raise _malformed("select is one of: ids; camera, category, from, to; all")
    if select.all is False:
        raise _malformed("all is true or absent")
    if select.ids is not None:
        _check_ids(select.ids)
    if select.camera is not None and not is_camera_id(select.camera):
        raise _malformed("camera is no camera id")
    start, end = (unix_ms(text) if text is not None else None for text in (select.from_, select.to))
    if start is not None and end is not None and start >= end:
        raise _malformed("from is not before to")


def _check_export(request: Export) -> None:
    if request.form not in {"objects", "zip"}:
        raise _malformed("form is objects or zip")
    if len(set(request.to)) != len(request.to):
        raise _malformed("to names a recipient twice")
    if bool(request.put) != bool(request.party) or not request.party.isprintable():
        raise _malformed("put and party come together: an address, and who is there")
    if request.put:
        read_deposit(request.put)
    if request.put and not request.to:
        raise _malformed("what is put somewhere is sealed to recipients that to names")


def _check_correction(request: Rectify) -> None:
    if (request.camera is None) == (request.object is None):
        raise _malformed("a correction is of one camera or of one object")
    if request.camera is not None and not is_camera_id(request.camera):
        raise _malformed("camera is no camera id")
    told = [text for text in (request.set.name, request.set.location) if text is not None]
    if not told or not all(text.isprintable() for text in told):
        raise _malformed("set has name or location, in printable characters")
    if request.object is not None and request.set.location is not None:
        raise _malformed("only a camera has a location")


def _check_ids(ids: tuple[str, ...]) -> None:
    if not 1 <= len(ids) <= MAX_SELECT_IDS or len(set(ids)) != len(ids) or not all(is_id(name) for name in ids):
        raise _malformed(f"ids are 1 to {MAX_SELECT_IDS} different object ids")


def _malformed(message: str) -> RefusedError:
    return RefusedError(message, reason="malformed", retry="after_fix")
