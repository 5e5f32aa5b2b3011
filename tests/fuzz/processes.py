"""What comes over sockets of this machine: what processes of ours tell one another, and what people here ask."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from agent.app.passkey import read_passkey
from agent.app.question import count, in_whole_characters, selection_of
from agent.clock import rfc3339_ms
from agent.control import ControlServer, Progress
from agent.courier import Why
from agent.courier import message as courier
from agent.errors import ConfigError, CorruptError, RefusedError
from agent.keytree import GroupKey
from agent.noise import message as noise
from agent.rtsp import message as rtsp
from agent.rtsp.onvif import message as onvif
from agent.sealer import job as sealer
from tests.docs.make_vectors import NOW_S
from tests.fuzz.target import Target
from tests.fuzz.vectors import PARTIES

_ID: Final = "k3x4" + "a" * 22
_packed = msgspec.msgpack.encode


def sealed(raw: bytes) -> object:
    """Read what the sealing process answers."""
    answer = sealer.decode_answer(raw)
    if answer.failure is not None:
        return answer.failure.error()
    assert answer.sealed is not None
    return answer.sealed


def told(raw: bytes) -> object:
    """Read what the process that reads a camera tells, and write its times."""
    found = rtsp.decode_told(raw)
    if isinstance(found, rtsp.Began):
        return rfc3339_ms(NOW_S * 1000 + found.stream_ms), rfc3339_ms(NOW_S * 1000 - found.behind_ms)
    if isinstance(found, rtsp.Ended):
        return rfc3339_ms(NOW_S * 1000 + found.length_ms)
    return found.error() if isinstance(found, rtsp.Failed) else found


def found(raw: bytes) -> object:
    """Read what the process that asks an ONVIF service answers."""
    answer = onvif.decode_answer(raw)
    return answer.error() if isinstance(answer, rtsp.Failed) else answer


def delivered(raw: bytes) -> object:
    """Read what the process that puts files answers; a refusal's reason is one that is written down."""
    answer = courier.decode_answer(raw)
    if isinstance(answer, courier.Delivered):
        return answer
    error = answer.error()
    return msgspec.convert(error.reason, Why) if isinstance(error, RefusedError) else error


def question(raw: bytes) -> object:
    """Read a line of the local socket up to the verb, and of its arguments what every verb reads alike."""

    async def asked(args: dict[str, Any], _progress: Progress) -> object:
        return selection_of(args), count(args, "limit", usual=3), read_passkey(str(args.get("passkey", "123456")))

    server = ControlServer(Path("ask"), {"inventory": in_whole_characters(asked)})
    verb, args = server._read(raw)

    async def answered() -> object:
        return await verb(args, lambda _told: None)

    return asyncio.run(answered())


def sealings() -> Iterator[bytes]:
    """Yield answers of the sealing process."""
    done = sealer.Sealed(
        plain_bytes=1, size_bytes=2, payload_sha256=bytes(32), header_sha256=bytes(32), sealed_header=b"h", slot=b"s",
        content_tag=bytes(32), tally=(1, 2), counted={"event": {"motion": 3}},
    )  # fmt: skip
    yield _packed(sealer.Answer(1, sealed=done))
    yield _packed(sealer.Answer(2, failure=sealer.Failure(kind="changed", message="it was written to", hint="wait")))


def jobs() -> Iterator[bytes]:
    """Yield what the sealing process is asked."""
    job = sealer.SealJob(
        object_id=_ID, recipients=(PARTIES["client"]["recipient"],), group=GroupKey(_ID, 1, bytes(32)),
        kind="file-key", tag_key=bytes(32),
    )  # fmt: skip
    yield sealer.encode(sealer.Request(1, job))


def tellings() -> Iterator[bytes]:
    """Yield all that the process that reads a camera tells."""
    yield _packed(rtsp.Listened(coding="PCMU", left_out="cannot_be_kept"))
    yield _packed(rtsp.Began(number=1, stream_ms=30_000, behind_ms=7))
    yield _packed(rtsp.Ended(number=1, length_ms=30_000))
    yield _packed(rtsp.Failed(kind="impostor", message="another certificate", hint="find out why"))


def asks() -> Iterator[bytes]:
    """Yield what the process that reads a camera is asked."""
    asked: dict[str, Any] = {"sound": True, "segment_ms": 1000, "stall_ms": 2000}
    yield _packed(rtsp.Ask(url="rtsp://camera/a", certificate_sha256=bytes(32), has_credentials=True, **asked))


def services() -> Iterator[bytes]:
    """Yield answers of the process that asks an ONVIF service."""
    yield _packed(onvif.Found(stream="rtsp://camera/a", snapshot="http://camera/b", topics=("a/b",)))
    yield _packed(rtsp.Failed(kind="link", message="it is away", hint=""))


def deliveries() -> Iterator[bytes]:
    """Yield answers of the process that puts files."""
    yield courier.encode(courier.Delivered(status=201, certificate_sha256="0" * 64))
    yield courier.encode(courier.Failed(why="redirected", message="it sends us elsewhere"))
    yield courier.encode(courier.Failed(why="", message="it is away"))


def errands() -> Iterator[bytes]:
    """Yield what the process that puts files is asked."""
    one = courier.Errand(host="a.example", port=443, target="/a", size_bytes=7, may_be_private=False, ca="")
    yield courier.encode(one)


def questions() -> Iterator[bytes]:
    """Yield lines of the local socket."""
    yield b'{"verb":"inventory","args":{"ids":["' + _ID.encode() + b'"],"limit":7}}\n'
    yield b'{"verb":"inventory","args":{"camera":"door","category":"recording","from":"2026-11-22T10:15:00Z"}}\n'
    yield b'{"verb":"inventory","args":{"to":"2026-11-22T10:15:00.000+01:00","passkey":"012345","name":"\\ud800"}}\n'
    yield b'{"verb":"inventory"}\n'


_BAD: Final = (CorruptError,)

TARGETS: Final = (
    Target(name="sealer-answer", read=sealed, declared=_BAD, seeds=sealings),
    Target(name="sealer-job", read=sealer.decode_request, declared=_BAD, seeds=jobs),
    Target(name="rtsp-told", read=told, declared=_BAD, seeds=tellings),
    Target(name="rtsp-ask", read=rtsp.decode_ask, declared=_BAD, seeds=asks),
    Target(name="onvif-answer", read=found, declared=_BAD, seeds=services),
    Target(
        name="onvif-question",
        read=onvif.decode_question,
        declared=_BAD,
        seeds=lambda: (_packed(onvif.Question(url="http://camera", certificate_sha256=b"", has_credentials=False)),),
    ),
    Target(name="courier-answer", read=delivered, declared=_BAD, seeds=deliveries),
    Target(name="courier-errand", read=courier.decode_errand, declared=_BAD, seeds=errands),
    Target(
        name="noise-answer",
        read=noise.decode_answer,
        declared=_BAD,
        seeds=lambda: (noise.encode(noise.Answer(((1, 2), (3,)), 0.5)),),
    ),
    Target(
        name="noise-question",
        read=noise.decode_question,
        declared=_BAD,
        seeds=lambda: (noise.encode(noise.Question(((1, 2), (3,)), 0.5)),),
    ),
    Target(name="socket-question", read=question, declared=(ConfigError, RefusedError), seeds=questions),
)
