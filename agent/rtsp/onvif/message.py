"""What is asked of the process that speaks ONVIF, and what it answers; each fits one datagram of its socket."""

from typing import Final

import msgspec

from agent.datagram import reader
from agent.rtsp.message import Failed

MESSAGE_MAX_BYTES: Final = 128 * 1024
"""Under half of Linux's default socket buffer (net.core.wmem_default)."""

TOPICS_MAX: Final = 256
TEXT_MAX: Final = 384


class Question(msgspec.Struct, frozen=True, kw_only=True, tag="question"):
    """Whom to ask; the file of credentials comes along where ``has_credentials``."""

    url: str
    certificate_sha256: bytes
    has_credentials: bool


class Found(msgspec.Struct, frozen=True, kw_only=True, tag="found"):
    """What it says: where it streams, where it shows a picture (``""``: nowhere), and of what it tells events."""

    stream: str
    snapshot: str = ""
    topics: tuple[str, ...] = ()


decode_question = reader(msgspec.msgpack.Decoder(Question).decode)
decode_answer = reader(msgspec.msgpack.Decoder(Found | Failed).decode)
