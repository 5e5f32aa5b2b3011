"""Somebody on the network who passes a camera's session on and cuts it: all that he can do, for he reads nothing."""

import contextlib
import socket
import threading
from typing import Final, Self

from agent.camera.identity import Address

PIECE_BYTES: Final = 1 << 16
LONG_S: Final = 30.0


class Relay:
    """Passes on what it is given, at an address of its own, and cuts each connection where it was told to.

    ``upto`` bytes come from the camera, ``None`` for all. One that passes the ``handshake`` alone cuts behind the
    client's first flight: TLS 1.3 is done for the client with the answer to it. ``silent``, it keeps the connection
    open then instead.
    """

    def __init__(self, to: Address, *, upto: int | None = None, handshake: bool = False, silent: bool = False) -> None:
        self._to = to
        self._upto = upto
        self._handshake = handshake
        self._silent = silent
        self._listening = socket.create_server(("127.0.0.2", 0))
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.calls = 0

    def __enter__(self) -> Self:
        self._start(self._run)
        return self

    def __exit__(self, *_: object) -> None:
        for one in (self._listening, *self._open):
            _shut(one)
        for thread in self._threads:
            thread.join()
        for one in (self._listening, *self._open):
            one.close()

    @property
    def address(self) -> Address:
        return Address("127.0.0.2", self._listening.getsockname()[1])

    def _start(self, work: object, *about: object) -> None:
        thread = threading.Thread(target=work, args=about)  # type: ignore[arg-type]  # two of our own
        self._threads.append(thread)
        thread.start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                self.calls += 1
                self._open.append(client)
                try:
                    camera = socket.create_connection((self._to.host, self._to.port), timeout=LONG_S)
                except OSError:
                    _shut(client)
                    continue
                self._open.append(camera)
                self._start(self._there, client, camera)
                self._start(self._back, client, camera)

    def _there(self, client: socket.socket, camera: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := client.recv(PIECE_BYTES):
                camera.sendall(piece)
                if self._handshake:
                    client.recv(PIECE_BYTES)
                    if self._silent:
                        while client.recv(PIECE_BYTES):
                            pass
                    break
        _shut(client)
        _shut(camera)

    def _back(self, client: socket.socket, camera: socket.socket) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while piece := camera.recv(PIECE_BYTES):
                passed += len(piece)
                if self._upto is not None and passed > self._upto:
                    break
                client.sendall(piece)
        if not self._silent:
            _shut(client)
            _shut(camera)


def _shut(line: socket.socket) -> None:
    with contextlib.suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)
