"""What is asked of the process that reads a camera, and what it tells; each fits one datagram of its socket.

Rules: a message is at most ``MESSAGE_MAX_BYTES``; it carries one descriptor at most: the file of credentials to the
process, the end of a pipe from it. No credential is ever in one, nor a camera's address in what the process tells.
"""

from typing import Annotated, Final, Literal

import msgspec

from agent.datagram import reader
from agent.errors import AgentError, ConfigError, CorruptError, LinkError, RefusedError

MESSAGE_MAX_BYTES: Final = 8 * 1024

IMPOSTOR: Final = "camera_impostor"

SPAN_MS: Final = 10 * 365 * 86_400_000
"""Ten years: no connection lasts so long, and any time that far from ours can be written."""

_Ms = Annotated[int, msgspec.Meta(ge=-SPAN_MS, le=SPAN_MS)]


class Ask(msgspec.Struct, frozen=True, kw_only=True, tag="ask"):
    """Read this camera; the file of its credentials comes along where ``has_credentials``."""

    url: str
    certificate_sha256: bytes
    has_credentials: bool
    sound: bool
    segment_ms: int
    stall_ms: int


LeftOut = Literal["", "none_is_sent", "cannot_be_kept", "description_is_unclear"]


class Listened(msgspec.Struct, frozen=True, kw_only=True, tag="listened"):
    """Of sound that was asked for: what it is coded as, and why it is left out where it is."""

    coding: Annotated[str, msgspec.Meta(pattern=r"^[A-Z0-9._-]{0,24}$")]
    left_out: LeftOut


class Began(msgspec.Struct, frozen=True, kw_only=True, tag="began"):
    """A segment begins: its first picture is ``stream_ms`` after the first of this connection, its bytes come by pipe.

    ``behind_ms`` have passed since that very first picture arrived.
    """

    number: int
    stream_ms: _Ms
    behind_ms: _Ms


class Ended(msgspec.Struct, frozen=True, kw_only=True, tag="ended"):
    """A segment is whole: all its bytes are in the pipe."""

    number: int
    length_ms: _Ms


FailureKind = Literal["config", "corrupt", "link", "impostor"]

_ERRORS: Final[dict[FailureKind, type[AgentError]]] = {
    "config": ConfigError,
    "corrupt": CorruptError,
    "link": LinkError,
}


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag="failed"):
    """Why the connection ended; nothing follows."""

    kind: FailureKind
    message: str
    hint: str

    def error(self) -> AgentError:
        """Return the error to raise on the asking side."""
        if self.kind == "impostor":
            return RefusedError(self.message, reason=IMPOSTOR, retry="after_fix", hint=self.hint)
        return _ERRORS[self.kind](self.message, hint=self.hint)


def failure_of(error: AgentError) -> Failed:
    """Return the form of ``error`` that travels."""
    kind: FailureKind = next((kind for kind, cls in _ERRORS.items() if isinstance(error, cls)), "link")
    if isinstance(error, RefusedError):
        kind = "impostor"
    return Failed(kind=kind, message=error.message, hint=error.hint)


def another_certificate() -> RefusedError:
    """Return what to raise where a camera shows another certificate than the one that is pinned."""
    return RefusedError(
        "the camera shows another certificate than the one that is pinned",
        reason=IMPOSTOR,
        retry="after_fix",
        hint="find out why before its new one is pinned: another device may answer in its place",
    )


Told = Listened | Began | Ended | Failed

encode = msgspec.msgpack.encode
decode_ask = reader(msgspec.msgpack.Decoder(Ask).decode)
decode_told = reader(msgspec.msgpack.Decoder(Told).decode)
