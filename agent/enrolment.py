"""The cameras that a person enrolled, how far each is proved, and the key that this agent shows them.

Rules: only what a person does here, at this device, writes a row; nothing heard does (invariant I10). Each change is in
one transaction with its audit event (I7). A camera's key is never replaced: one that really changed its key is
forgotten and enrolled again, by a person; its address and its name change when it is enrolled again. Levels, the
strongest first:

- ``proved``: its device key is pinned; each session proves it.
- ``pinned``: its TLS certificate is pinned by SHA-256; it says nothing about which device holds it.
- ``configured``: an address alone. Folders, RTSP and ONVIF can do no better, so a camera that is not here is that too.
"""

import datetime as dt
import secrets
from typing import Final, Literal, get_args
from urllib.parse import urlsplit

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from agent import audit, registry
from agent.audit import Event
from agent.camera.identity import LinkIdentity
from agent.envelope.label import is_device_id
from agent.errors import ConfigError, SpaceError
from agent.index import Tx
from agent.index import enrolment as rows
from agent.index.transaction import Row
from agent.model import Moment, RandomBytes, new_id

Level = Literal["proved", "pinned", "configured"]
LEVELS: Final[tuple[Level, ...]] = get_args(Level)

AtCamera = Literal["", "unpaired", "not_paired", "not_told"]
"""What became of a forgotten camera's own trust in this agent; ``""`` where it speaks no camera link."""

ENROLLED_MAX: Final = 256
"""A hub has some dozens of cameras; each enrolled one is looked for, probed and collected from."""

REFUSED_PAUSE_MS: Final = 10 * 60_000
"""An impostor that stays is written down so often; the real camera is used meanwhile."""

NAME_MAX: Final = 64
ENDPOINT_MAX: Final = 512
ADVERT_KEY_BYTES: Final = 32

SOURCE: Final = "camera-link"
"""Stands for the name of a ``[[source]]`` with cameras that are enrolled: they are read from by no folder."""

PORTS: Final = {"": 0, "rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
"""Of the addresses that a camera may have; without a scheme the port is written."""

_NOT_BEFORE: Final = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
_NOT_AFTER: Final = dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC)
"""The key is pinned, and neither clock is to be relied on: RFC 5280 §4.1.2.5 writes "no end" like this."""


class Enrolled(msgspec.Struct, frozen=True, kw_only=True):
    """An enrolled camera. ``name`` is personal; ``advert_key`` and ``endpoint`` tell where it may be looked for."""

    camera: str
    """Its id in the registry, which policy, messages and audit say."""
    device: str = ""
    """The id that it calls itself by; empty unless proved."""
    level: Level
    kid: str = ""
    certificate_sha256: bytes = b""
    endpoint: str = ""
    """``host:port`` or a URL; empty is wherever it is heard."""
    name: str = ""
    advert_key: bytes = b""
    enrolled_ms: int = 0

    def __repr__(self) -> str:
        return f"Enrolled({self.camera}, {self.level})"


def enrol(
    tx: Tx,
    *,
    level: Level,
    device: str = "",
    kid: str = "",
    certificate_sha256: bytes = b"",
    endpoint: str = "",
    name: str = "",
    moment: Moment,
    random: RandomBytes = secrets.token_bytes,
) -> Enrolled:
    """Enrol a camera that was checked, and mint its id.

    The same camera again takes the endpoint and the name that are given, and is answered as it is then. Raises
    ``ConfigError`` for an id, a key or an endpoint that another one has, ``SpaceError`` when ``ENROLLED_MAX`` are
    there.
    """
    _require_form(level, device=device, kid=kid, certificate_sha256=certificate_sha256, endpoint=endpoint, name=name)
    pinned = level, device, kid, certificate_sha256
    same: Enrolled | None = None
    for found in (*rows.of_device(tx, device), *rows.of_kid(tx, kid), *rows.of_endpoint(tx, endpoint)):
        known = _of(found)
        if (known.level, known.device, known.kid, known.certificate_sha256) != pinned:
            raise ConfigError(
                f"camera {known.camera} is enrolled with that id, key or address, and is not the same",
                hint=f"if this one takes its place: privacy-agent forget-camera {known.camera}; then enrol it again",
            )
        same = known
    if same is not None:
        return _changed(tx, same, endpoint=endpoint, name=name, moment=moment)
    if len(rows.all_of(tx)) >= ENROLLED_MAX:
        raise SpaceError(
            f"{ENROLLED_MAX} cameras are enrolled", hint="forget one that is gone: privacy-agent forget-camera ID"
        )
    camera = registry.camera_id(tx, SOURCE, device or endpoint, moment=moment, random=random)
    made = Enrolled(
        camera=camera,
        device=device,
        level=level,
        kid=kid,
        certificate_sha256=certificate_sha256,
        endpoint=endpoint,
        name=name,
        enrolled_ms=moment.agent_ms,
    )
    rows.insert(tx, msgspec.structs.astuple(made))
    event = Event(kind="camera_trusted", rule=level, actor="local", detail={"camera": camera})
    audit.append(tx, event, moment=moment)
    return made


def _changed(tx: Tx, known: Enrolled, *, endpoint: str, name: str, moment: Moment) -> Enrolled:
    now = msgspec.structs.replace(known, endpoint=endpoint or known.endpoint, name=name or known.name)
    if now != known:
        rows.change(tx, known.camera, endpoint=now.endpoint, name=now.name)
        detail: dict[str, str | int] = {
            "camera": known.camera,
            "endpoint": int(now.endpoint != known.endpoint),
            "name": int(now.name != known.name),
        }
        audit.append(tx, Event(kind="camera_changed", rule=known.level, actor="local", detail=detail), moment=moment)
    return now


def set_name(tx: Tx, camera: str, name: str) -> None:
    """Correct what a camera of the registry is called, enrolled or not; "" lets it be called as its source does."""
    known = by_camera(tx, camera)
    if known is None:
        registry.keep_name(tx, camera, name)
    else:
        rows.change(tx, camera, endpoint=known.endpoint, name=name)


def forget(tx: Tx, camera: str, *, at_camera: AtCamera = "", moment: Moment) -> Enrolled:
    """Take a camera's trust away; what is held of it stays. Raises ``ConfigError`` for one that is not enrolled."""
    known = require(tx, camera)
    rows.delete(tx, camera)
    registry.keep_name(tx, camera, known.name)
    detail: dict[str, str | int] = {"camera": camera}
    if at_camera:
        detail["at_camera"] = at_camera
    audit.append(tx, Event(kind="camera_forgotten", rule=known.level, actor="local", detail=detail), moment=moment)
    return known


def require(tx: Tx, camera: str) -> Enrolled:
    """Return an enrolled camera; raises ``ConfigError`` for one that is not."""
    known = by_camera(tx, camera)
    if known is None:
        raise ConfigError(f"camera {camera} is not enrolled", hint="name one that is: privacy-agent cameras")
    return known


def enrolled(tx: Tx) -> tuple[Enrolled, ...]:
    """Return every enrolled camera; the one enrolled first comes first."""
    return tuple(_of(row) for row in rows.all_of(tx))


def by_camera(tx: Tx, camera: str) -> Enrolled | None:
    """Return a camera by its id in the registry."""
    found = rows.of_camera(tx, camera)
    return _of(found[0]) if found else None


def label_of(tx: Tx, camera: str) -> str:
    """Return what a person calls a camera: the name that it was enrolled with, else what its source calls it."""
    known = by_camera(tx, camera)
    return known.name if known is not None and known.name else registry.label(tx, camera)


def level_of(tx: Tx, camera: str) -> Level:
    """Return how far a camera is proved; one that is not enrolled has an address or a folder alone."""
    known = by_camera(tx, camera)
    return "configured" if known is None else known.level


def pair(tx: Tx, camera: str, *, advert_key: bytes, moment: Moment) -> None:
    """Keep the key of a camera's rotating ids, told by the camera itself over a proved session."""
    assert len(advert_key) == ADVERT_KEY_BYTES  # noqa: S101 - whoever reads the answer judges its form
    known = by_camera(tx, camera)
    if known is None or known.advert_key == advert_key:
        return
    rows.set_advert_key(tx, camera, advert_key)
    audit.append(tx, Event(kind="camera_paired", detail={"camera": camera}), moment=moment)


def served_at(tx: Tx) -> dict[str, tuple[str, int]]:
    """Return where cameras gave whole answers last, by their id: where to look first, and believed no more than any."""
    return {str(camera): (str(host), int(port)) for camera, host, port in rows.served_at(tx)}


def keep_served_at(tx: Tx, camera: str, *, host: str, port: int) -> None:
    """Keep where an enrolled camera gave whole answers last, which outlasts a restart and no forgetting."""
    if by_camera(tx, camera) is not None:
        rows.keep_served_at(tx, camera, host=host, port=port)


def refuse(tx: Tx, camera: str, *, rule: str, moment: Moment) -> None:
    """Write down that something answered for an enrolled camera and is not it; nothing else changes (I10)."""
    audit.append(tx, Event(kind="camera_refused", rule=rule, detail={"camera": camera}), moment=moment)


def link_identity(tx: Tx, *, moment: Moment) -> LinkIdentity:
    """Return the key and certificate that this agent shows to cameras; made at the first call, then always the same."""
    found = rows.link_identity(tx)
    if found is not None:
        return LinkIdentity(key_pem=found[0], certificate_pem=found[1])
    made = new_link_identity()
    rows.insert_link_identity(tx, key_pem=made.key_pem, certificate_pem=made.certificate_pem)
    audit.append(tx, Event(kind="link_key_made"), moment=moment)
    return made


def source_name(camera: str) -> str:
    """Return what the objects of an enrolled camera call their source; no ``[[source]]`` can be named so."""
    return f"{SOURCE}:{camera}"


def camera_of(source: str) -> str:
    """Return the enrolled camera whose objects call their source so; ``""`` for a ``[[source]]``."""
    kind, _, camera = source.partition(":")
    return camera if kind == SOURCE else ""


def host_and_port(endpoint: str) -> tuple[str, int]:
    """Read ``host:port`` or a URL; raises ``ConfigError`` for what is neither, or holds credentials."""
    hint = "write HOST:PORT, rtsp://HOST/PATH, rtsps://…, http://… or https://…"
    try:
        parts = urlsplit(endpoint if "://" in endpoint else f"//{endpoint}")
        port = parts.port or PORTS.get(parts.scheme, 0)
    except ValueError as error:
        raise ConfigError("the address cannot be read", hint=hint) from error
    if parts.username is not None or parts.password is not None:
        raise ConfigError(
            "the address holds a user name or password", hint="leave both out: they stand in a file of mode 0600"
        )
    if not parts.hostname or not port or parts.scheme not in PORTS or not endpoint.isprintable():
        raise ConfigError("it is no address of a camera", hint=hint)
    return parts.hostname, port


def new_link_identity() -> LinkIdentity:
    """Return a key and certificate made for the moment; ``link_identity`` keeps the agent's own."""
    from cryptography import x509  # noqa: PLC0415 - 2 MB that only a device with cameras to reach needs
    from cryptography.x509.oid import NameOID  # noqa: PLC0415 - the same

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, new_id())])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_NOT_BEFORE)
        .not_valid_after(_NOT_AFTER)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return LinkIdentity(key_pem=key_pem, certificate_pem=certificate.public_bytes(Encoding.PEM))


def _require_form(level: Level, *, device: str, kid: str, certificate_sha256: bytes, endpoint: str, name: str) -> None:
    """Raise ``ConfigError`` for what a person typed; a level without what it rests on is a caller's mistake."""
    if len(name) > NAME_MAX or not name.isprintable():
        raise ConfigError(f"a camera's name has at most {NAME_MAX} printable characters", hint="choose another name")
    if len(endpoint) > ENDPOINT_MAX:
        raise ConfigError(f"an address has at most {ENDPOINT_MAX} characters", hint="give HOST:PORT or a URL")
    if endpoint:
        host_and_port(endpoint)
    rests = {
        "proved": bool(kid) and is_device_id(device) and not certificate_sha256,
        "pinned": not kid and not device and len(certificate_sha256) == SHA256.digest_size and bool(endpoint),
        "configured": not kid and not device and not certificate_sha256 and bool(endpoint),
    }
    assert rests[level]  # noqa: S101 - a caller's mistake


def _of(row: Row) -> Enrolled:
    return Enrolled(**dict(zip(rows.COLUMNS, row, strict=True)))
