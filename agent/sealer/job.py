"""What the sealing process is asked and what it answers; both fit one datagram of its socket.

Rules: a message is at most ``MESSAGE_MAX_BYTES``; a request carries exactly two descriptors, the source first; nothing
here prints a key. The source of a recording on a camera is a socket at which connections to that camera are asked for.
"""

from typing import Final, Literal

import msgspec

from agent.camera.identity import Order
from agent.datagram import reader
from agent.errors import AgentError, ConfigError, CorruptError, LinkError, SpaceError
from agent.keytree import GroupKey
from agent.model import Kind

MESSAGE_MAX_BYTES: Final = 96 * 1024
"""Forty post-quantum recipients of 1,959 characters; half of Linux's default socket buffer (net.core.wmem_default)."""

DESCRIPTORS: Final = 2

FILES_MAX: Final = 16
"""Jobs of files that one process has, those that stand still for their source's medium included."""

LIVE_MAX: Final = 48
"""Jobs that come as slowly as they are recorded: of each camera one, and one that is being finished."""

JOBS_MAX: Final = FILES_MAX + LIVE_MAX


class SealJob(msgspec.Struct, frozen=True, kw_only=True):
    """One payload to seal: for whom, under which group, and what its slot shall hold.

    ``kind="header-key"`` drops the file key: only the owners' header, under a fresh key in the slot, opens the object.
    ``tag_key`` keys the content tag, so that it says nothing to who does not hold it. ``read_soon`` keeps the payload
    in the page cache, for the upload that follows. ``cleaning`` are a usage log's field rules with their keys
    (``agent.policy.fields.rule.KeyedFields``), empty for what is sealed as it is.
    """

    object_id: str
    recipients: tuple[str, ...]
    group: GroupKey
    kind: Kind
    tag_key: bytes
    read_soon: bool = True
    cleaning: bytes = b""

    def __repr__(self) -> str:
        return f"SealJob({self.object_id}, {self.kind}, {len(self.recipients)} recipients)"


class Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """What is known once the payload is on the medium.

    ``header_sha256`` is of the clear age header as it will be uploaded; ``sealed_header`` is that header under the
    slot's key; ``content_tag`` is the keyed fingerprint of the clear content (``digest.ContentTag``) as the source has
    it, also where field rules left out a part of it. ``tally`` are their numbers (``agent.policy.fields.tally``), if
    there are any, and ``counted`` how often the values were there that the policy counts, by field.
    """

    plain_bytes: int
    size_bytes: int
    payload_sha256: bytes
    header_sha256: bytes
    sealed_header: bytes
    slot: bytes
    content_tag: bytes
    tally: tuple[int, ...] = ()
    counted: dict[str, dict[str, int]] = {}


class SourceChangedError(LinkError):
    """The source was written to while it was read: it is tried again once its writer is done."""


FailureKind = Literal["changed", "config", "corrupt", "link", "space"]

# A kind before those it is a special case of.
_ERRORS: Final[dict[FailureKind, type[AgentError]]] = {
    "changed": SourceChangedError,
    "config": ConfigError,
    "corrupt": CorruptError,
    "link": LinkError,
    "space": SpaceError,
}


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """An error on its way through the socket."""

    kind: FailureKind
    message: str
    hint: str = ""

    def error(self) -> AgentError:
        """Return the error to raise on the asking side."""
        return _ERRORS[self.kind](self.message, hint=self.hint)


class Request(msgspec.Struct, frozen=True, array_like=True):
    """One job under a number that its answer repeats; with an ``order`` the source is a camera's recording."""

    number: int
    job: SealJob
    order: Order | None = None


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """Exactly one of ``sealed`` and ``failure`` is set."""

    number: int
    sealed: Sealed | None = None
    failure: Failure | None = None


def failure_of(error: AgentError) -> Failure:
    """Return the form of ``error`` that travels."""
    kind = next(kind for kind, cls in _ERRORS.items() if isinstance(error, cls))
    return Failure(kind=kind, message=error.message, hint=error.hint)


def encode(message: Request | Answer) -> bytes:
    """Return the bytes of a message; ``ConfigError`` when a list of recipients makes it too large."""
    data = msgspec.msgpack.encode(message)
    if len(data) > MESSAGE_MAX_BYTES:
        raise ConfigError("there are too many recipients for one object", hint="seal to fewer recipients")
    return data


decode_request = reader(msgspec.msgpack.Decoder(Request).decode)
_read_answer = reader(msgspec.msgpack.Decoder(Answer).decode)


def decode_answer(raw: bytes) -> Answer:
    """Read an answer; raises ``CorruptError``, also for one that tells neither or both."""
    answer = _read_answer(raw)
    if (answer.sealed is None) is (answer.failure is None):
        raise CorruptError("the sealing process answers nothing, or two things at once")
    return answer
