"""What restricts and holds: the claims of their verbs' own (``docs/protocol.md`` §4)."""

from typing import Annotated, Final, Literal, get_args

import msgspec

from agent.envelope.form import ID, unix_ms
from agent.errors import RefusedError
from agent.model import Selection

HOLD_MAX_S: Final = 90 * 86_400
"""How long one signature may hold, counted from its ``iat``; for longer it is signed again."""

REASON_MAX: Final = 200

Ground = Literal["accuracy", "unlawful", "claims", "objection"]
GROUNDS: Final[tuple[Ground, ...]] = get_args(Ground)
"""Why an owner restricts: the four grounds of Article 18(1) of the GDPR, in its order."""

_Id = Annotated[str, msgspec.Meta(pattern=ID)]
_Reason = Annotated[str, msgspec.Meta(pattern=rf"\A[^\x00-\x1f\x7f]{{1,{REASON_MAX}}}\Z")]
_MS_PER_S: Final = 1000


class Restrict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keep the selection, and what comes of it, as it is: not uploaded, not expired, exported by the owner alone."""

    select: Selection
    ground: Ground


class Unrestrict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Lift a restriction by the id of the command that put it."""

    restriction: _Id


class Hold(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Let nobody delete the selection, nor what comes of it, until then."""

    select: Selection
    reason: _Reason
    until: str

    @property
    def until_ms(self) -> int:
        """When it ends, Unix milliseconds."""
        return unix_ms(self.until)


class Release(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """End a hold early, by the id of the command that put it."""

    hold: _Id


def check_freeze(request: Restrict | Hold, *, iat: int) -> None:
    """Raise ``RefusedError`` (``malformed``) for what names exports, or holds too long for one signature."""
    if request.select.category == "export":
        raise _malformed("exports are copies: name what they were made of")
    if isinstance(request, Hold) and not iat * _MS_PER_S < request.until_ms <= (iat + HOLD_MAX_S) * _MS_PER_S:
        raise _malformed("until lies after iat by at most 90 days")


def _malformed(message: str) -> RefusedError:
    return RefusedError(message, reason="malformed", retry="after_fix")
