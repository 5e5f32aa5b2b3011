"""A camera that holds the right key and lies: what it lists, and each answer, is the test's to write."""

import hashlib
import json
import socket
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from agent.camera.identity import Address
from device_sim.camera.device import Identity

CARD = "cardcardcardcard"

STATUS: dict[str, Any] = {
    "v": 1, "id": "abcdefgh234567aa", "model": "Liar", "firmware": "1", "time": "2026-11-24T06:00:00.000Z",
    "clock": "trusted",
    "advert_key": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
    "storage": {"id": CARD, "state": "ok", "total_bytes": 1, "free_bytes": 1, "erasure": "unlink"},
    "state": {"recording": True, "microphone": True, "stream": False, "indicator": True, "consent": True},
}  # fmt: skip


def entry(name: str, content: bytes, **changes: object) -> dict[str, Any]:
    """What a list says of a recording."""
    told: dict[str, Any] = {
        "id": name, "category": "recording", "media_type": "video/mp4", "from": "2026-11-22T10:15:00.000Z",
        "to": "2026-11-22T10:15:10.000Z", "clock": "trusted", "size": len(content), "complete": True,
        "sha256": hashlib.sha256(content).hexdigest(), "acknowledged": False,
    }  # fmt: skip
    return told | changes


class Asked(BaseHTTPRequestHandler):
    """One connection; its server is a ``Liar``'s."""

    protocol_version = "HTTP/1.1"
    timeout = 20

    @property
    def liar(self) -> "Liar":
        return self.server.liar  # type: ignore[attr-defined,no-any-return]  # it was put there

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def say(self, document: object, *, status: int = 200) -> None:
        if isinstance(document, dict) and "recordings" in document:
            document = {"storage": self.liar.card} | document
        if document is STATUS:
            document = STATUS | {"storage": STATUS["storage"] | {"id": self.liar.card}}
        body = json.dumps(document).encode()
        self.raw(body, status=status)

    def raw(self, body: bytes, *, status: int = 200, length: int | None = None, **head: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in head.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def cut(self) -> None:
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        if asked.path == "/v1/camera":
            self.liar.on_status(self)
        elif asked.path == "/v1/collection":
            self.liar.on_collection("GET")
            self.say({"enabled": self.liar.collecting, "since": "2026-11-22T10:15:00.000Z"})
        elif asked.path == "/v1/recordings":
            self.liar.listed += 1
            self.liar.on_list(self, {name: values[0] for name, values in parse_qs(asked.query).items()})
        else:
            self.liar.fetched.append((asked.path.split("/")[3], self.headers.get("Range", "")))
            self.liar.on_content(self, asked.path.split("/")[3])

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if self.path == "/v1/collection":
            self.liar.collecting = json.loads(body)["enabled"]
            self.liar.switched.append(self.liar.collecting)
            self.liar.on_collection("PUT")
            self.say({"enabled": self.liar.collecting, "since": "2026-11-22T10:15:00.000Z"})
            return
        self.liar.acknowledged.append(self.path.split("/")[3])
        self.liar.on_acknowledge(self)

    def do_DELETE(self) -> None:
        asked = urlsplit(self.path)
        name = asked.path.split("/")[3]
        self.liar.deleted.append(name)
        self.liar.conditions.append((parse_qs(asked.query).get("storage", [""])[0], self.headers.get("If-Match", "")))
        self.liar.on_delete(self, name)

    def agree(self) -> None:
        self.send_response(204)
        self.end_headers()


class Liar:
    """Serves until closed. ``contents`` are listed and given truly, unless ``on_list`` or ``on_content`` do else."""

    def __init__(self, folder: Path, identity: Identity) -> None:
        folder.mkdir()
        pem = folder / "liar.pem"
        pem.write_bytes(
            identity.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            + identity.certificate.public_bytes(Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(pem)
        self.contents: dict[str, bytes] = {}
        self.fetched: list[tuple[str, str]] = []
        self.acknowledged: list[str] = []
        self.deleted: list[str] = []
        self.conditions: list[tuple[str, str]] = []
        self.card = CARD
        self.listed = 0
        self.collecting = True
        self.switched: list[bool] = []
        self.on_collection: Callable[[str], object] = lambda _method: None
        self.on_status: Callable[[Asked], object] = lambda asked: asked.say(STATUS)
        self.on_list: Callable[[Asked, dict[str, str]], object] = self.list_truly
        self.on_content: Callable[[Asked, str], object] = self.give_truly
        self.on_acknowledge: Callable[[Asked], object] = Asked.agree
        self.on_delete: Callable[[Asked, str], object] = lambda asked, _name: asked.agree()
        self._server = _Server(("127.0.0.1", 0), Asked)
        self._server.liar = self
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def address(self) -> Address:
        return Address("127.0.0.1", self._server.server_address[1])

    def list_truly(self, asked: Asked, _query: dict[str, str]) -> None:
        waiting = [(name, content) for name, content in self.contents.items() if name not in self.acknowledged]
        asked.say({"recordings": [entry(name, content) for name, content in waiting]})

    def give_truly(self, asked: Asked, name: str) -> None:
        content = self.contents[name]
        start = int(asked.headers.get("Range", "bytes=0-")[6:].rstrip("-"))
        if start:
            said = f"bytes {start}-{len(content) - 1}/{len(content)}"
            asked.raw(content[start:], status=206, ETag=etag(content), Content_Range=said)
        else:
            asked.raw(content, ETag=etag(content))


class _Server(ThreadingHTTPServer):
    liar: Liar
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that leaves is what it is here for."""


def etag(content: bytes) -> str:
    return f'"{hashlib.sha256(content).hexdigest()}"'
