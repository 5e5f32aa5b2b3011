"""What is asked of the process that puts files, and what it answers; a datagram is a message."""

from typing import Final, Literal

import msgspec

from agent.datagram import reader
from agent.errors import AgentError, LinkError, RefusedError

MESSAGE_MAX_BYTES: Final = 16 << 10

Why = Literal[
    "address_refused", "certificate_refused", "redirected", "rejected",
    "gave_up", "removed", "key_removed", "restricted",
]  # fmt: skip


class Errand(msgspec.Struct, frozen=True, kw_only=True, tag="errand"):
    """Put one file; its descriptor comes with the message.

    ``may_be_private`` where the policy names the host; ``ca`` is a file of certificates besides the system's, or "".
    """

    host: str
    port: int
    target: str
    size_bytes: int
    may_be_private: bool
    ca: str


class Delivered(msgspec.Struct, frozen=True, kw_only=True, tag="delivered"):
    """The server said that it has the file; whose certificate that was."""

    status: int
    certificate_sha256: str


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag="failed"):
    """It has it not; ``why`` "" is weather, and it is tried again."""

    why: Why | Literal[""]
    message: str

    def error(self) -> AgentError:
        """Return what the flow is told."""
        if self.why:
            return RefusedError(self.message, reason=self.why, retry="after_fix")
        return LinkError(self.message, hint="it is tried again while the command is valid")


Answer = Delivered | Failed
_ENCODER: Final = msgspec.msgpack.Encoder()


def encode(message: Errand | Answer) -> bytes:
    """Return a datagram."""
    return _ENCODER.encode(message)


decode_errand = reader(msgspec.msgpack.Decoder(Errand).decode)
decode_answer = reader(msgspec.msgpack.Decoder(Answer).decode)
