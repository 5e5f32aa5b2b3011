"""The agent's side of the process that speaks ONVIF: one process for one question, killed when that takes too long."""

import asyncio
import importlib.util
import os
import socket
from contextlib import suppress
from typing import Final

from agent.child import Child
from agent.errors import ConfigError, CorruptError, LinkError
from agent.rtsp.message import Failed, encode
from agent.rtsp.onvif.message import MESSAGE_MAX_BYTES, Found, Question, decode_answer
from agent.rtsp.settings import StreamSettings, open_credentials, read_address

ANSWER_S: Final = 60.0
"""Loading the service's descriptions takes seconds on a small machine; then there are six requests."""


def require_extra() -> None:
    """Raise ``ConfigError`` where the library is not installed; it is not loaded for that."""
    if importlib.util.find_spec("onvif") is None:
        raise ConfigError(
            "a source with the key onvif needs onvif-zeep-async, which is not installed",
            hint="in the folder of the project: pip install '.[onvif,rtsp]'",
        )


async def ask(settings: StreamSettings) -> Found:
    """Ask a camera's ONVIF service; its address of the stream is good for ``StreamSettings.url``.

    Raises ``LinkError``, ``CorruptError`` when what it says is no answer, ``RefusedError`` for another certificate
    than the pinned one, ``ConfigError`` where a person has to mend it.
    """
    credentials = [] if settings.credentials is None else [open_credentials(settings.credentials)]
    try:
        child = Child("agent.rtsp.onvif")
        question = Question(
            url=settings.onvif,
            certificate_sha256=settings.certificate_sha256,
            has_credentials=bool(credentials),
        )
        with suppress(BrokenPipeError, ConnectionError):
            socket.send_fds(child.channel, [encode(question)], credentials)
    finally:
        for fd in credentials:
            os.close(fd)
    with child.channel:
        try:
            return await _answer(child.channel)
        finally:
            child.kill()
            await asyncio.shield(child.exited)


async def _answer(channel: socket.socket) -> Found:
    raw = b""
    try:
        async with asyncio.timeout(ANSWER_S):
            with suppress(ConnectionError):
                raw = await asyncio.get_running_loop().sock_recv(channel, MESSAGE_MAX_BYTES)
    except TimeoutError:
        raise LinkError("the camera's ONVIF service does not answer", hint="see that it is on") from None
    try:
        answer = decode_answer(raw)
    except CorruptError:
        raise LinkError("the process that asks the camera's ONVIF service died", hint="it is tried again") from None
    if isinstance(answer, Failed):
        raise answer.error()
    assert isinstance(answer, Found)  # noqa: S101 - one of the two
    read_address(answer.stream)
    return answer
