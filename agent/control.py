"""The local socket: the shell commands reach the running agent here, and nowhere else (invariant I12).

One Unix stream socket, mode 0660 in a private folder. The kernel tells who is at the other end (``SO_PEERCRED``); only
root, the agent's own user and members of the socket's group are answered. A request is one line of JSON,
``{"verb": …, "args": {…}}``; the answer is lines of JSON: any number of ``{"progress": {…}}``, then exactly one
``{"result": …}`` or ``{"error": {"kind", "message", "hint", "reason"}}``.

The verbs are the same functions that a shell command calls itself when no agent runs, so both ways give one answer.
"""

import asyncio
import contextlib
import json
import logging
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

from agent.errors import KINDS, AgentError, ConfigError, CorruptError, LinkError, RefusedError, Retry, told_of
from agent.files import remove

REQUEST_BYTES: Final = 256 << 10
"""A request carries at most a signed file (``submit``), which is under 128 KiB, in base64."""

ANSWER_BYTES: Final = 4 << 20
CALLERS: Final = 16
"""Shell commands answered at the same time."""

REQUEST_WITHIN_S: Final = 5.0
"""A shell command sends its line at once; who does not is no shell command."""

_log = logging.getLogger(__name__)
_SOCKET_MODE: Final = 0o660
_PEER: Final = struct.Struct("3i")
_SO_PEERGROUPS: Final = 59  # Linux <asm-generic/socket.h>: the caller's supplementary groups
_GROUPS_BYTES: Final = 1024  # the most that Python's getsockopt takes

Progress = Callable[[dict[str, Any]], None]
Verb = Callable[[dict[str, Any], Progress], Awaitable[Any]]

_KINDS: Final = {kind.__name__: kind for kind in KINDS if kind is not RefusedError}
_RETRY: Final[dict[str, Retry]] = {"later": "later", "after_fix": "after_fix"}


class ControlServer:
    """Answers on the socket until closed."""

    def __init__(self, path: Path, verbs: Mapping[str, Verb]) -> None:
        self._path = path
        self._verbs = verbs
        self._callers = asyncio.Semaphore(CALLERS)

    async def serve(self, ready: Callable[[], None]) -> None:
        """Listen until cancelled; ``ready`` is called when the socket answers. The name goes when this ends."""
        remove(self._path, folder_synced=False)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        mask = os.umask(0o777 & ~_SOCKET_MODE)
        try:
            listener.bind(str(self._path))
        except OSError as error:
            listener.close()
            raise ConfigError(f"{self._path}: {error.strerror}", hint="choose a shorter state folder") from error
        finally:
            os.umask(mask)
        server = await asyncio.start_unix_server(self._answer, sock=listener, limit=REQUEST_BYTES)
        try:
            ready()
            await server.serve_forever()
        finally:
            server.close()  # not waited for: an idle caller would hold the stop up
            remove(self._path, folder_synced=False)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if not self._may_ask(writer):
                refused = {
                    "kind": "RefusedError",
                    "message": "this user may not ask the agent",
                    "reason": "not_granted",
                }
                writer.write(
                    json.dumps({"error": refused | {"hint": "ask as the agent's user or group"}}).encode() + b"\n"
                )
                return
            line = await self._request(reader)
            if line:
                async with self._callers:
                    await self._answer_one(line, writer)
        except ConnectionError:
            pass  # the caller went away; what it asked for has happened or not, as the log says
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _request(self, reader: asyncio.StreamReader) -> bytes:
        """Return the request's line, or nothing from a caller that was too slow or spoke too long."""
        try:
            return await asyncio.wait_for(reader.readline(), REQUEST_WITHIN_S)
        except (TimeoutError, ValueError):
            return b""

    def _may_ask(self, writer: asyncio.StreamWriter) -> bool:
        peer: socket.socket = writer.get_extra_info("socket")
        _pid, uid, gid = _PEER.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        try:
            others = peer.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_BYTES)
        except OSError:  # in more groups than fit: its first one counts alone
            others = b""
        groups = {gid, *struct.unpack(f"{len(others) // 4}I", others)}
        return uid in {0, os.getuid()} or self._path.stat().st_gid in groups

    async def _answer_one(self, line: bytes, writer: asyncio.StreamWriter) -> None:
        def say(message: dict[str, Any]) -> None:
            writer.write(json.dumps(message, ensure_ascii=False).encode() + b"\n")

        try:
            verb, args = self._read(line)
        except (ValueError, KeyError, TypeError, RecursionError):
            say({"error": {"kind": "ConfigError", "message": "not a request of this agent", "hint": ""}})
            await writer.drain()
            return
        try:
            say({"result": await verb(args, lambda step: say({"progress": step}))})
        except AgentError as error:
            say({"error": told_of(error)})
        except Exception:  # noqa: BLE001 - a bug in one answer is told and logged, and ends nothing else
            _log.exception("a question from the local socket was not answered")
            say(
                {
                    "error": {
                        "kind": "CorruptError",
                        "message": "the agent met a fault of its own",
                        "hint": "see its log",
                    }
                }
            )
        await writer.drain()

    def _read(self, line: bytes) -> tuple[Verb, dict[str, Any]]:
        request = json.loads(line)
        args = request.get("args", {})
        if not isinstance(args, dict):
            raise TypeError("args")
        return self._verbs[request["verb"]], args


def raise_error(told: dict[str, str]) -> None:
    """Raise again what the other side answered, as the same kind."""
    message, hint = told.get("message", ""), told.get("hint", "")
    if told.get("kind") == "RefusedError":
        retry = _RETRY.get(told.get("retry", ""), "never")
        raise RefusedError(message, reason=told.get("reason", "refused"), retry=retry, hint=hint)
    raise _KINDS.get(told.get("kind", ""), CorruptError)(message, hint=hint)


@contextlib.asynccontextmanager
async def connection(path: Path) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect to a running agent; raises ``LinkError`` when none answers."""
    try:
        reader, writer = await asyncio.open_unix_connection(str(path), limit=ANSWER_BYTES)
    except OSError as error:
        raise LinkError(f"no agent answers at {path}", hint="start it: privacy-agent run") from error
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def ask(path: Path, verb: str, args: dict[str, Any], *, progress: Progress) -> Any:  # noqa: ANN401 - JSON
    """Ask the running agent and return its result; raises what it raised, or ``LinkError`` when it went away."""
    async with connection(path) as (reader, writer):
        with contextlib.suppress(ConnectionError):  # as when the answer just ends: it went away
            writer.write(json.dumps({"verb": verb, "args": args}).encode() + b"\n")
            await writer.drain()
            while line := await reader.readline():
                message = json.loads(line)
                if "progress" in message:
                    progress(message["progress"])
                elif "error" in message:
                    raise_error(message["error"])
                else:
                    return message["result"]
    raise LinkError("the agent stopped before it answered", hint="look at its log, then ask again")
