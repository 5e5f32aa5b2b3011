"""A simulated camera's link on loopback, and a client made of ``ssl`` and ``http.client`` alone."""

import asyncio
import hashlib
import http.client
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self, TypeVar

import jsonschema
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from device_sim.camera.card import Entry
from device_sim.camera.device import Device, make_device
from device_sim.camera.kid import kid_of
from device_sim.camera.layout import Kind
from device_sim.link.face import LinkFace

DOCS = Path(__file__).resolve().parents[2] / "docs"
SHAPES: dict[str, Any] = json.loads((DOCS / "camera-link.openapi.json").read_text(encoding="utf-8"))
NOW = datetime(2026, 11, 22, 10, 15, tzinfo=UTC)
LIMIT_S = 60.0

T = TypeVar("T")


class Hands:
    """The clock on the wall and the other one, turned by hand."""

    def __init__(self) -> None:
        self.at = NOW
        self.monotonic_s = 1000.0

    def turn(self, by: timedelta) -> None:
        self.at += by
        self.monotonic_s += by.total_seconds()


@dataclass(frozen=True)
class Said:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401 - JSON
        return json.loads(self.body)

    @property
    def code(self) -> tuple[int, str]:
        return self.status, self.json["code"]


class Caller:
    """One agent: a key, its certificate, and a way to ask; each answer is held to the document."""

    def __init__(self, folder: Path, key: ec.EllipticCurvePrivateKey | Ed25519PrivateKey | None = None) -> None:
        key = key or ec.generate_private_key(ec.SECP256R1())
        self.kid = kid_of(key.public_key())
        folder.mkdir()
        self.key_file, self.certificate_file = folder / "agent.key", folder / "agent.crt"
        self.key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an agent")])
        made = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(datetime(2001, 1, 1, tzinfo=UTC))
            .not_valid_after(datetime(2002, 1, 1, tzinfo=UTC))  # nobody looks at it
            .sign(key, None if isinstance(key, Ed25519PrivateKey) else hashes.SHA256())
        )
        self.certificate_file.write_bytes(made.public_bytes(Encoding.PEM))

    def context(self) -> ssl.SSLContext:
        context = anonymous()
        context.load_cert_chain(self.certificate_file, self.key_file)
        return context

    @contextmanager
    def connected(self, port: int) -> Iterator[http.client.HTTPSConnection]:
        line = http.client.HTTPSConnection("127.0.0.1", port, context=self.context(), timeout=LIMIT_S)
        with closing(line):
            yield line

    def ask(self, port: int, method: str, target: str, document: Any = None, **headers: str) -> Said:  # noqa: ANN401 - JSON
        with self.connected(port) as line:
            return asked(line, method, target, document, **headers)


def asked(
    line: http.client.HTTPSConnection,
    method: str,
    target: str,
    document: Any = None,  # noqa: ANN401 - JSON
    **headers: str,
) -> Said:
    """Ask and hold the answer to the document."""
    body = document if document is None or isinstance(document, bytes) else json.dumps(document).encode()
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    if body is not None:
        given.setdefault("Content-Type", "application/json")
    line.request(method, target, body, given)
    answer = line.getresponse()
    said = Said(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    conforms(method, target, said)
    return said


def conforms(method: str, target: str, said: Said) -> None:
    """Fail if the answer is none that the OpenAPI document allows."""
    path = target.partition("?")[0]
    operation: dict[str, Any] = next(
        (
            node[method.lower()]
            for template, node in SHAPES["paths"].items()
            if _fits(template, path) and method.lower() in node
        ),
        {"responses": {"default": {"$ref": "#/components/responses/Error"}}},
    )
    shape = operation["responses"].get(str(said.status)) or operation["responses"]["default"]
    shape = _resolved(shape)
    for name, header in shape.get("headers", {}).items():
        told = _resolved(header)
        assert not told.get("required") or name.lower() in said.headers, name
        if name.lower() in said.headers:
            _validate(said.headers[name.lower()], told["schema"])
    documents = shape.get("content", {})
    if "application/json" in documents:
        assert said.headers["content-type"] == "application/json"
        if method != "HEAD":
            _validate(said.json, documents["application/json"]["schema"])
    elif not documents:
        assert said.body == b""


def _fits(template: str, path: str) -> bool:
    wanted, given = template.split("/"), path.split("/")
    return len(wanted) == len(given) and all(one in {other, "{id}"} for one, other in zip(wanted, given, strict=True))


def _resolved(node: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        found: Any = SHAPES
        for step in node["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        node = found
    return node


def _validate(value: object, schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator({**schema, "components": SHAPES["components"]}).validate(value)


def anonymous() -> ssl.SSLContext:
    """A client that looks at the camera's key by itself, and shows none of its own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def shown(port: int, context: ssl.SSLContext) -> x509.Certificate:
    """The certificate that answers there."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S) as plain,
        context.wrap_socket(plain) as line,
    ):
        raw = line.getpeercert(binary_form=True)
        assert raw is not None
        return x509.load_der_x509_certificate(raw)


class Stand:
    """The camera with its link, in an event loop of its own thread."""

    def __init__(self, folder: Path) -> None:
        self.hands = Hands()
        make_device(folder, now=self.hands.at, name="Front door", seed=1)
        self.device = Device(folder, now=lambda: self.hands.at, monotonic=lambda: self.hands.monotonic_s)
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(LIMIT_S)
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self._loop.close()

    def end(self) -> None:
        """Stop serving."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._face.cancel)
            self._thread.join(LIMIT_S)

    @property
    def port(self) -> int:
        return self.device.port

    def do(self, act: Callable[[], T]) -> T:
        """Do it where the camera lives."""

        async def run() -> T:
            return act()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(LIMIT_S)

    def record(self, content: bytes, *, kind: Kind = "recording", start: datetime = NOW) -> Entry:
        """A whole recording on its card."""

        def act() -> Entry:
            begun = self.device.card.begin(self.device.next_number(), kind, start=start, clock=self.device.clock)
            made = self.device.card.finish(begun.id, content, end=start + timedelta(seconds=10))
            assert made is not None
            return made

        return self.do(act)

    def begin(self, start: datetime = NOW) -> Entry:
        """One that is still being recorded."""
        card = self.device.card
        return self.do(lambda: card.begin(self.device.next_number(), "recording", start=start, clock="trusted"))

    def pair(self, caller: Caller) -> None:
        self.do(self.device.open_setup)
        assert caller.ask(self.port, "PUT", "/v1/agent", {"kid": caller.kid}).status == 201

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self.device.changed.append(lambda _what: self._ready.set() if self.device.port else None)
        self._face = self._loop.create_task(LinkFace(self.device, host="127.0.0.1").run())
        try:
            self._loop.run_until_complete(self._face)
        except asyncio.CancelledError:
            pass
        finally:
            self._loop.run_until_complete(_ended())
            self._loop.close()


async def _ended() -> None:
    """End what came last, as ``asyncio.run`` does: a connection may be half taken when the camera ends."""
    for _ in range(10):
        await asyncio.sleep(0)  # whoever is let in meanwhile is cut by the camera itself
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    for _ in range(10):
        await asyncio.sleep(0)  # a turn in which a transport closes its socket


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
