"""The agent's side of the process that adds noise: one process for one question, killed when that takes too long."""

import asyncio
import importlib.util
import socket
from contextlib import suppress
from typing import Final

from agent.child import Child
from agent.errors import ConfigError, CorruptError, LinkError
from agent.noise.message import MESSAGE_MAX_BYTES, Answer, Question, decode_answer, encode

ANSWER_S: Final = 60.0
"""Loading the library takes a second or two on a small machine."""


def require_extra() -> None:
    """Raise ``ConfigError`` where the library is not installed; it is not loaded for that."""
    if importlib.util.find_spec("opendp") is None:
        raise ConfigError(
            "counts are told with noise of OpenDP, which is not installed",
            hint="in the folder of the project: pip install '.[dp]'",
        )


async def ask(question: Question) -> Answer:
    """Return the histograms with noise; raises ``ConfigError`` without the library, ``LinkError`` when it died."""
    require_extra()
    child = Child("agent.noise")
    with child.channel:
        try:
            with suppress(ConnectionError):
                await asyncio.get_running_loop().sock_sendall(child.channel, encode(question))
            return await _answer(child.channel)
        finally:
            child.kill()
            await asyncio.shield(child.exited)


async def _answer(channel: socket.socket) -> Answer:
    raw = b""
    with suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(ANSWER_S):
            raw = await asyncio.get_running_loop().sock_recv(channel, MESSAGE_MAX_BYTES)
    try:
        return decode_answer(raw)
    except CorruptError:
        raise LinkError("the process that adds noise died", hint="nothing was told or spent; try again") from None
