"""How orders reach a running simulator: lines on its stdin, and a Unix socket for ``device-sim tell``.

Each line is answered by one line of JSON: ``{"ok": true, …}`` or ``{"ok": false, "error": …}``. The socket is 0600.
"""

import asyncio
import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Final

from device_sim.camera.card import CardError
from device_sim.camera.order import LINE_BYTES, Order, OrderError, read
from device_sim.told import words_of

ANSWER_S: Final = 30.0
CONTROL: Final = "control"
"""The socket's name in the folder of `--state`."""

Obey = Callable[[Order], dict[str, object]]


class NobodyError(Exception):
    """No simulator answers there."""


def answer(line: str, obey: Obey) -> dict[str, object]:
    """Do what a line says; whatever is wrong with it is the answer."""
    try:
        return {"ok": True, **obey(read(line))}
    except (OrderError, CardError) as error:
        return {"ok": False, "error": str(error)}


class ControlSocket:
    """Listens at ``path`` until cancelled."""

    def __init__(self, path: Path, obey: Obey) -> None:
        self._path, self._obey = path, obey

    async def run(self) -> None:
        """Answer line by line. Raises ``OSError`` where it cannot listen."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            # Gone, a line without an end, or our own end, which asyncio would report as an error of this task.
            with contextlib.suppress(ConnectionError, ValueError, asyncio.CancelledError):
                while line := await reader.readline():
                    told = answer(line.decode("utf-8", "replace"), self._obey)
                    writer.write(json.dumps(told, ensure_ascii=False).encode() + b"\n")
                    await writer.drain()
            writer.close()

        with _listening(self._path) as listening:
            server = await asyncio.start_unix_server(serve, sock=listening, limit=LINE_BYTES)
            async with server:
                await server.serve_forever()


def read_stdin(stdin: IO[str], hear: Callable[[str], None]) -> None:
    """Hand each line of ``stdin`` to the event loop that runs now, from a thread that ends with the process."""
    loop = asyncio.get_running_loop()

    def run() -> None:
        for line in stdin:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(hear, line)

    threading.Thread(target=run, name="stdin", daemon=True).start()


def tell(path: Path, line: str) -> dict[str, Any]:
    """Send one line to the simulator that listens at ``path``; raises ``NobodyError``."""
    try:
        with socket.socket(socket.AF_UNIX) as line_to:
            line_to.settimeout(ANSWER_S)
            line_to.connect(str(path))
            line_to.sendall(line.encode() + b"\n")
            with line_to.makefile("rb") as answers:
                told: dict[str, Any] = json.loads(answers.readline())
                return told
    except OSError as error:  # of a socket: it names no file
        raise NobodyError(f"no simulator answers at {path}: {words_of(error)}") from None
    except ValueError:
        raise NobodyError(f"no simulator answers at {path}: what came is no answer") from None


@contextlib.contextmanager
def _listening(path: Path) -> Iterator[socket.socket]:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()  # of a simulator that was killed; two at one folder are refused by its lock
    with socket.socket(socket.AF_UNIX) as made:
        before = os.umask(0o177)
        try:
            made.bind(str(path))
        finally:
            os.umask(before)
        try:
            yield made
        finally:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
