"""What a store says on ``upack`` becomes a value here and nowhere else (``docs/protocol.md`` §6).

Each is bound to upload, manifest and device by its claims; the flow compares them with what it sent.
"""

from typing import Annotated, Any, Final, Literal

import msgspec

from agent.envelope.form import EPOCH, HASH, ID, KID, REGION, SECONDS, UINT
from agent.envelope.kinds import MAX_ERASE_ITEMS, Kind
from agent.errors import RefusedError

_Id = Annotated[str, msgspec.Meta(pattern=ID)]
_Kid = Annotated[str, msgspec.Meta(pattern=KID)]
_Hash = Annotated[str, msgspec.Meta(pattern=HASH)]
_Region = Annotated[str, msgspec.Meta(pattern=REGION)]
_Epoch = Annotated[str, msgspec.Meta(pattern=EPOCH)]
_Bytes = Annotated[int, msgspec.Meta(ge=0, le=UINT)]
_Seconds = Annotated[int, msgspec.Meta(ge=0, le=SECONDS)]


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Size and SHA-256 of a header or a payload as the store holds it."""

    bytes: _Bytes
    sha256: _Hash


class _FromStore(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    iss: _Kid
    aud: str
    iat: _Seconds


class _OfUpload(_FromStore, frozen=True, kw_only=True, forbid_unknown_fields=True):
    upload: _Id
    manifest: _Hash


class Go(_OfUpload, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Chunks may travel from ``offset``; they will be kept in ``region``."""

    region: _Region
    offset: _Bytes
    epoch: _Epoch
    re: _Id | None = None


class UploadAck(_OfUpload, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything below ``offset`` is durable."""

    offset: _Bytes


class Stored(_OfUpload, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The storage receipt."""

    object: _Id
    payload: Part
    header: Part
    region: _Region
    epoch: _Epoch
    re: _Id | None = None


class ErasedItem(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What became of one upload's two objects."""

    upload: _Id
    manifest: _Hash
    header: Literal["erased", "absent"]
    payload: Literal["erased", "absent"]


class Erased(_FromStore, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """These removals are durable; ``re`` is the request they answer, so an old one proves nothing."""

    re: _Id
    items: Annotated[tuple[ErasedItem, ...], msgspec.Meta(min_length=1, max_length=MAX_ERASE_ITEMS)]


class Failed(_OfUpload, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The store will not go on with this upload."""

    reason: Literal["hash_mismatch", "region_refused", "no_room", "unknown_upload", "manifest_changed", "erased"]
    re: _Id | None = None


class RectifiedItem(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether a correction is kept with an upload, or the store has no such copy."""

    upload: _Id
    manifest: _Hash
    result: Literal["kept", "absent"]


class Rectified(_FromStore, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """These copies have the correction, durably; ``re`` is the request it answers."""

    re: _Id
    items: Annotated[tuple[RectifiedItem, ...], msgspec.Meta(min_length=1, max_length=MAX_ERASE_ITEMS)]


UpAck = Go | UploadAck | Stored | Erased | Failed | Rectified
_OF_KIND: Final[dict[Kind, type[UpAck]]] = {
    "go": Go,
    "upload-ack": UploadAck,
    "stored": Stored,
    "erased": Erased,
    "failed": Failed,
    "rectified": Rectified,
}


def parse_upack(kind: Kind, claims: dict[str, Any]) -> UpAck:
    """Turn a store's verified claims into a value; raises ``RefusedError`` (``malformed``)."""
    try:
        value: UpAck = msgspec.convert(claims, _OF_KIND[kind])
    except msgspec.ValidationError as error:
        raise RefusedError(str(error), reason="malformed", retry="after_fix") from error
    return value
