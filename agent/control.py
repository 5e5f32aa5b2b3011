"""The local socket: the shell commands reach the running agent here, and nowhere else (invariant I12).

One Unix stream socket, mode 0660, in a folder where nobody but root and the agent's user can put another in its place;
one that is missing is made, open to the group. The kernel tells who is at the other end (``SO_PEERCRED``); only root,
the agent's own user and members of the socket's group are answered. A request is one line of JSON,
``{"verb": …, "args": {…}}``; the answer is lines of JSON: any number of ``{"progress": {…}}``, then exactly one
``{"result": …}`` or ``{"error": {"kind", "message", "hint"}}``, for a ``RefusedError`` with ``reason`` and ``retry``.

The verbs are the same functions that a shell command calls itself when no agent runs, so both ways give one answer.
Nobody who asks slowly, never takes the answer, or goes away in the middle keeps the others waiting (invariant I11).
"""

import asyncio
import contextlib
import json
import logging
import os
import socket
import stat
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final, cast

import msgspec

from agent.clock import pause
from agent.errors import KINDS, AgentError, ConfigError, CorruptError, LinkError, RefusedError, Retry, told_of
from agent.files import remove

REQUEST_BYTES: Final = 256 << 10
"""A request carries at most a signed file (``submit``), which is under 128 KiB, in base64."""

ANSWER_BYTES: Final = 4 << 20
CALLERS: Final = 16
"""Shell commands answered at the same time; others wait their turn."""

CONNECTIONS: Final = 64
"""Shell commands that ask, wait, are answered or take their answer; one more is told to come again."""

REQUEST_WITHIN_S: Final = 5.0
"""A shell command sends its line at once; who does not is no shell command."""

ANSWER_WITHIN_S: Final = 30.0
"""A shell command reads its answer into memory at once; who has not taken it by then gets no more of it."""

FIRST_ANSWER_S: Final = 20.0
"""What an agent that works answers at once, a busy one on a slow disk within seconds; no word by then is none at all.

For questions that take no time: a long one may be silent until it is done.
"""

PROGRESS_BYTES: Final = 64 << 10
"""What may wait for a caller while its verb works; steps beyond it are left out, the result never is."""

_log = logging.getLogger(__name__)
_SOCKET_MODE: Final = 0o660
_FOLDER_MODE: Final = 0o750  # of one that we make; systemd's RuntimeDirectoryMode in deploy/ is the same
_PEER: Final = struct.Struct("3i")
_SO_PEERGROUPS: Final = 59  # Linux <asm-generic/socket.h>: the caller's supplementary groups
_GROUPS_BYTES: Final = 1024  # the most that Python's getsockopt takes

Progress = Callable[[dict[str, Any]], None]
"""Tells how far a verb is; may be called from any thread."""

Verb = Callable[[dict[str, Any], Progress], Awaitable[Any]]

_NAME_ANOTHER: Final = 'name a shorter path, in a folder that the agent may write in: socket = "…" in agent.toml'

_KINDS: Final = {kind.__name__: kind for kind in KINDS if kind is not RefusedError}
_RETRY: Final[dict[str, Retry]] = {"later": "later", "after_fix": "after_fix"}


class Peer(msgspec.Struct, frozen=True):
    """Who is at the other end, as the kernel says."""

    uid: int
    groups: frozenset[int]

    @classmethod
    def of(cls, connected: socket.socket) -> "Peer":
        """Ask the kernel about a connected socket."""
        _pid, uid, gid = _PEER.unpack(connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        try:
            others = connected.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_BYTES)
        except OSError:  # in more groups than fit: its first one counts alone
            others = b""
        return cls(uid, frozenset((gid, *struct.unpack(f"{len(others) // 4}I", others))))

    def may_ask(self, *, own_uid: int, socket_gid: int) -> bool:
        """Tell whether it is root, the agent's own user or a member of the socket's group."""
        return self.uid in {0, own_uid} or socket_gid in self.groups


class ControlServer:
    """Answers on the socket until closed."""

    def __init__(
        self, path: Path, verbs: Mapping[str, Verb], *, peer_of: Callable[[socket.socket], Peer] = Peer.of
    ) -> None:
        self._path = path
        self._verbs = verbs
        self._peer_of = peer_of
        self._callers = asyncio.Semaphore(CALLERS)
        self._connections = 0

    async def serve(self, ready: Callable[[], None]) -> None:
        """Listen until cancelled; ``ready`` is called when the socket answers. The name goes when this ends.

        Raises ``ConfigError`` where no socket can be put, where none of ours would be safe, or where another answers.
        """
        _require_place(self._path)
        _require_silence(self._path)
        remove(self._path, folder_synced=False)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        mask = os.umask(0o777 & ~_SOCKET_MODE)
        try:
            listener.bind(str(self._path))
            listener.listen()  # at once: who looks whether somebody answers here finds us
        except OSError as error:
            listener.close()
            reason = error.strerror or str(error)  # a path that is too long is Python's own word, without a number
            raise ConfigError(f"{self._path}: {reason}", hint=_NAME_ANOTHER) from error
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
        self._connections += 1
        closed = False
        try:
            writer.write(await self._answered(reader, writer))
            async with asyncio.timeout(ANSWER_WITHIN_S):
                writer.close()
                await writer.wait_closed()
            closed = True
        except (ConnectionError, TimeoutError):
            pass  # the caller went away or takes nothing; what it asked for has happened or not, as the log says
        except asyncio.CancelledError:
            pass  # the agent stops; nobody awaits this task, and Python 3.11 would log that as a fault of ours
        finally:
            self._connections -= 1
            if not closed:  # abort() of what was closed behind a full buffer fails
                writer.transport.abort()

    async def _answered(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        loop = asyncio.get_running_loop()

        def step(told: dict[str, Any]) -> None:
            if writer.transport.get_write_buffer_size() < PROGRESS_BYTES:
                writer.write(_line({"progress": told}))

        def progress(told: dict[str, Any]) -> None:  # a writer belongs to the loop's thread, a verb's work does not
            loop.call_soon_threadsafe(step, told)

        try:
            self._admit(writer)
            verb, args = self._read(await self._request(reader))
            async with self._callers:
                result = await verb(args, progress)
            await pause(0)  # what was told of progress stands in front
            return _line({"result": result})
        except AgentError as error:
            return _line({"error": told_of(error)})
        except Exception:  # noqa: BLE001 - a bug in one answer is told and logged, and ends nothing else
            _log.exception("a question from the local socket was not answered")
            return _line({"error": told_of(CorruptError("the agent met a fault of its own", hint="see its log"))})

    def _admit(self, writer: asyncio.StreamWriter) -> None:
        peer = self._peer_of(writer.get_extra_info("socket"))
        if not peer.may_ask(own_uid=os.getuid(), socket_gid=self._path.stat().st_gid):
            raise RefusedError(
                "this user may not ask the agent", reason="not_granted", hint="ask as the agent's user or group"
            )
        if self._connections > CONNECTIONS:
            raise LinkError(f"{CONNECTIONS} others are asking the agent", hint="ask again")

    async def _request(self, reader: asyncio.StreamReader) -> bytes:
        """Return the request's line; raises ``ConfigError`` for a caller that is too slow or says too much."""
        try:
            async with asyncio.timeout(REQUEST_WITHIN_S):
                return await reader.readline()
        except TimeoutError:
            raise ConfigError(f"no question came within {REQUEST_WITHIN_S:.0f} s", hint="ask again") from None
        except ValueError:
            raise _too_long() from None

    def _read(self, line: bytes) -> tuple[Verb, dict[str, Any]]:
        verb, args = None, None
        with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
            request = json.loads(line)
            verb, args = self._verbs[request["verb"]], request.get("args", {})
        if verb is None or not isinstance(args, dict):
            raise ConfigError("not a question that this agent knows", hint="ask with its own privacy-agent")
        return verb, args


def _require_place(path: Path) -> None:
    """Make the socket's folder where there is none; raise ``ConfigError`` for one that is not safe."""
    folder = path.parent
    mask = os.umask(0o777 & ~_FOLDER_MODE)
    try:
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=_FOLDER_MODE)
    except OSError as error:
        raise ConfigError(f"{folder}: {error.strerror}", hint=_NAME_ANOTHER) from error
    finally:
        os.umask(mask)
    require_safe_place(path)


def require_safe_place(path: Path, *, agents: int | None = None) -> None:
    """Raise ``ConfigError`` for a folder in which others may put a socket, and for a name that something else has.

    ``agents`` is the user whose agent it is, where that is another than this process is.
    """
    folder = path.parent
    try:
        status = folder.stat()
        there = path.lstat() if os.path.lexists(path) else None
    except OSError as error:
        raise ConfigError(f"{folder}: {error.strerror}", hint=_NAME_ANOTHER) from error
    if status.st_uid not in {0, os.geteuid() if agents is None else agents} or stat.S_IMODE(status.st_mode) & 0o022:
        raise ConfigError(
            f"{folder}: another user could answer in the agent's place",
            hint=f"make it root's or the agent's, and chmod 750 {folder}; or name another: socket in agent.toml",
        )
    if there is not None and not stat.S_ISSOCK(there.st_mode):
        raise ConfigError(f"{path}: something is there that is no socket", hint=_NAME_ANOTHER)


def _require_silence(path: Path) -> None:
    """Raise ``ConfigError`` where somebody answers: taking the name would take that agent's callers from it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as caller:
        caller.settimeout(0)
        try:
            caller.connect(str(path))
        except BlockingIOError:
            pass  # it listens, and so many wait that it takes no more
        except OSError:
            return  # nothing is there, or a dead agent left it
    raise ConfigError(
        f"{path}: another agent answers there",
        hint='give each agent a socket of its own: socket = "…" in agent.toml; or stop the other one',
    )


def _too_long() -> ConfigError:
    return ConfigError(f"a question has at most {REQUEST_BYTES} bytes", hint="give a smaller file")


def _line(message: dict[str, Any]) -> bytes:
    """Return a message as its line; raises ``ConfigError`` for one that no caller would take."""
    line = json.dumps(message).encode("ascii") + b"\n"
    if len(line) > ANSWER_BYTES:
        raise ConfigError(f"the answer has {len(line)} bytes", hint="ask for less at a time")
    return line


def raise_error(told: dict[str, str]) -> None:
    """Raise again what the other side answered, as the same kind."""
    message, hint = told.get("message", ""), told.get("hint", "")
    if told.get("kind") == "RefusedError":
        retry = _RETRY.get(told.get("retry", ""), "never")
        raise RefusedError(message, reason=told.get("reason", "refused"), retry=retry, hint=hint)
    raise _KINDS.get(told.get("kind", ""), CorruptError)(message, hint=hint)


class AwayError(LinkError):
    """No agent listens: whoever asks may open the vault and answer itself."""


class SilentError(LinkError):
    """An agent listens and says nothing: its process is stopped or stuck, and it has the vault still."""


@contextlib.asynccontextmanager
async def connection(path: Path) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect to a running agent; raises ``AwayError`` when none answers."""
    try:
        reader, writer = await asyncio.open_unix_connection(str(path), limit=ANSWER_BYTES)
    except OSError as error:
        raise AwayError(f"no agent answers at {path}", hint="start the agent") from error
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def ask(path: Path, verb: str, args: dict[str, Any], *, progress: Progress, within_s: float | None = None) -> Any:  # noqa: ANN401 - JSON
    """Ask the running agent and return its result; raises what it raised, or ``LinkError`` when it went away.

    ``SilentError`` where it says nothing for ``within_s``; once it told of progress its work takes its time.
    """
    line = json.dumps({"verb": verb, "args": args}).encode("ascii") + b"\n"
    if len(line) > REQUEST_BYTES:
        raise _too_long()
    async with connection(path) as (reader, writer):
        writer.write(line)
        message = await _first(reader, path, within_s=within_s)
        while message is not None:
            if "progress" in message:
                progress(message["progress"])
            elif "error" in message:
                raise_error(message["error"])
            else:
                return message["result"]
            message = await _next(reader)
    raise LinkError("the agent stopped before it answered", hint="look at its log, then ask again")


async def _first(reader: asyncio.StreamReader, path: Path, *, within_s: float | None) -> dict[str, Any] | None:
    try:
        async with asyncio.timeout(within_s):
            return await _next(reader)
    except TimeoutError:
        raise SilentError(
            f"the agent at {path} does not answer",
            hint="look at journalctl -u privacy-agent, or restart it: systemctl restart privacy-agent",
        ) from None


async def _next(reader: asyncio.StreamReader) -> dict[str, Any] | None:
    """Return the next whole line of an answer; ``None`` when the agent ended in the middle."""
    try:
        line = await reader.readline()
    except ConnectionError:
        return None
    return cast("dict[str, Any]", json.loads(line)) if line.endswith(b"\n") else None
