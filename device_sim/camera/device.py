"""A camera as hardware: who it is, what it is doing, and what is broken in it; its faces show that to the world.

``Device`` is the one owner of that state; a ``Face`` (the camera link, mDNS, ONVIF, Bluetooth, RTSP) reads it and asks
for changes, and hears of them by ``changed``. Everything happens in one event loop.

State folder, 0700, files 0600: ``device.json``, ``device.key``, ``device.crt``, ``card/``. All but the boot's own
names, the set-up window and what is being recorded survives a power cut.

Rules: a written change is on the disk before it is answered for; the clock is an argument, and the camera's own differs
from it by what is broken; nothing that is announced names the camera, its maker or its owner.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import secrets
import struct
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from device_sim.camera.breakage import ONCE, Breakage
from device_sim.camera.card import DEFAULT_BYTES, Broken, Card, Clock
from device_sim.camera.identity import identity
from device_sim.camera.kid import kid_of
from device_sim.camera.layout import make_folders, private_file
from device_sim.camera.usage_log import stamp

Event = Literal[
    "ready",
    "stopped",
    "setup",
    "paired",
    "unpaired",
    "reset",
    "power-cut",
    "power-on",
    "broken",
    "mended",
    "collecting",
    "not-collecting",
    "consent",
    "recorded",
    "not-recorded",
    "fetching",
    "fetched",
    "acknowledged",
    "deleted",
    "refused",
    "silent",
]
"""What a person, a script or a scenario may wait for."""
Change = Literal["power", "pairing", "setup", "state", "advert", "breakage", "card"]
PairingCode = Literal["setup_closed", "paired_elsewhere"]

DEFAULT_MODEL: Final = "Simulated camera"
SETUP_S: Final = 300.0
"""docs/camera-link.md §3."""
WRONG_BY: Final = timedelta(days=-3652)

_ID_CHARACTERS: Final = 16
_KEY_BYTES: Final = 32
_ADVERT: Final = b"pv-camera-advert"
_DAY_S: Final = 86_400
_EVER: Final = (datetime.fromisoformat("2000-01-01T00:00:00Z"), datetime.fromisoformat("9999-12-31T23:59:59Z"))


class PairingError(Exception):
    """This caller does not become the camera's agent; ``code`` is the camera link's."""

    def __init__(self, code: PairingCode) -> None:
        super().__init__(code)
        self.code = code


class Face(Protocol):
    """One side of a camera that others meet."""

    async def run(self) -> None:
        """Show it until cancelled; where ``Device.powered`` is then false, without a goodbye."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A device key and the certificate that shows it."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def kid(self) -> str:
        """RFC 7638 thumbprint of the key."""
        return kid_of(self.key.public_key())


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What survives a power cut, beside key and card."""

    id: str
    model: str
    firmware: str
    name: str
    """The owner's name for it: in its pictures and logs, never in what it announces."""
    seed: int
    agent: str = ""
    """The pinned agent's ``kid``."""
    last_agent: str = ""
    advert_key: str = ""
    """In hexadecimal."""
    collecting: bool = False
    collecting_since: str = ""
    consent: bool = True
    next_number: int = 1


class Device:
    """One camera. Times come from ``now`` (with a zone) and ``monotonic`` (seconds)."""

    def __init__(
        self,
        folder: Path,
        *,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
        card_bytes: int = DEFAULT_BYTES,
    ) -> None:
        self.folder = folder
        self.faults: set[Breakage] = set()
        self.changed: list[Callable[[Change], None]] = []
        """Called for faces, that something is to be shown otherwise."""
        self.happened: list[Callable[[Event, dict[str, object]], None]] = []
        """Called for people, with what there is to say of it."""
        self.mimics: Device | None = None
        """Whom it pretends to be, with a key of its own."""
        self.powered = True
        self.port = 0
        """Where its camera link listens; 0 while it does not."""
        self.rtsp_port = 0
        self.onvif_port = 0
        self.watchers = 0
        """How many watch its stream now."""
        self.recording = False
        self._now, self._monotonic = now, monotonic
        self._settings = Settings(**json.loads((folder / "device.json").read_bytes()))
        self._own = _load_identity(folder)
        self._other: Identity | None = None
        self._setup_until = 0.0
        self.card = Card(folder / "card", broken=self._card_broken, total_bytes=card_bytes)
        self._boot_names()
        self._announced = self.advert

    # Who it is.

    @property
    def id(self) -> str:
        """Its own id, as its label says."""
        return self._settings.id

    @property
    def identity(self) -> Identity:
        """The key that it shows now; another one while ``identity-changed``, and of an impostor."""
        if self.mimics is None and "identity-changed" not in self.faults:
            return self._own
        if self._other is None:
            self._other = new_identity((self.mimics or self).id, self._now())
        return self._other

    @property
    def key(self) -> ec.EllipticCurvePrivateKey:
        """The key of ``identity``."""
        return self.identity.key

    @property
    def certificate(self) -> x509.Certificate:
        """The certificate of ``identity``."""
        return self.identity.certificate

    @property
    def label(self) -> str:
        """What its label says (docs/camera-link.md §1)."""
        return f"PVCAM:1:{self.id}:{fingerprint(self._own.kid).replace(' ', '')}".upper()

    @property
    def fingerprint(self) -> str:
        """Of the key that its label names, as people compare it."""
        return fingerprint(self._own.kid)

    @property
    def model(self) -> str:
        """What it is."""
        return self._settings.model

    @property
    def firmware(self) -> str:
        """What runs on it."""
        return self._settings.firmware

    @property
    def name(self) -> str:
        """The owner's name for it: personal."""
        return self._settings.name

    @property
    def seed(self) -> int:
        """What it sees."""
        return self._settings.seed

    # Its clock.

    def now(self) -> datetime:
        """Its own time."""
        wrong = not self.faults.isdisjoint({"clock-wrong", "clock-unsure"})
        return self._now() + WRONG_BY if wrong else self._now()

    @property
    def clock(self) -> Clock:
        """Whether it believes its time."""
        return "unsure" if "clock-unsure" in self.faults else "trusted"

    # What it announces.

    @property
    def boot_name(self) -> str:
        """16 random characters, new at every start: the mDNS instance and host name."""
        return self._boot_name

    @property
    def advert_key(self) -> bytes:
        """Known to it and its agent; empty without one."""
        return bytes.fromhex(self._settings.advert_key)

    def rotating(self) -> bytes:
        """Today's 32 bytes of which adverts carry the beginning; random and of this boot without an agent."""
        if self.mimics is not None:
            return self.mimics.rotating()
        if not self.advert_key:
            return self._boot_advert
        day = int(self.now().timestamp()) // _DAY_S
        return hmac.digest(self.advert_key, _ADVERT + struct.pack(">Q", day), "sha256")

    @property
    def rotating_id(self) -> str:
        """16 characters for mDNS (docs/camera-link.md §7)."""
        return base32(self.rotating())[:_ID_CHARACTERS]

    @property
    def advert(self) -> tuple[str, bool, int]:
        """All that a face announces; ``tick`` tells when it became another."""
        return self.rotating_id, self.setup_open, self.port

    def tick(self) -> None:
        """To be called about once a second: tells of what time alone has changed."""
        if self.advert != self._announced:
            self._tell("advert")

    # Set-up and pairing.

    @property
    def agent(self) -> str:
        """The ``kid`` that it obeys, empty without one."""
        return self._settings.agent

    @property
    def setup_open(self) -> bool:
        """Whether an agent may pair now."""
        return self._monotonic() < self._setup_until

    def open_setup(self, for_s: float = SETUP_S) -> None:
        """As by its button."""
        self._setup_until = self._monotonic() + for_s
        self._tell("setup")
        self.tell("setup", seconds=for_s)

    def pair(self, kid: str) -> bool:
        """Pin this agent, durably; ``False`` if it was pinned already. Raises ``PairingError``, ``CardError``."""
        if self.agent:
            if not hmac.compare_digest(self.agent, kid):
                raise PairingError("paired_elsewhere")
            return False
        if not self.setup_open:
            raise PairingError("setup_closed")
        if kid != self._settings.last_agent:
            self._empty_card()
        self._save(agent=kid, last_agent=kid, advert_key=secrets.token_hex(_KEY_BYTES), **self._stopped())
        self._setup_until = 0.0
        self._tell("pairing")
        self.tell("paired", agent=kid)
        return True

    def unpair(self) -> None:
        """Forget the agent and the advert key; what is on the card is kept for its return alone."""
        self._save(agent="", advert_key="", **self._stopped())
        self._boot_names()
        self._tell("pairing")
        self.tell("unpaired")

    # What it does.

    @property
    def collecting(self) -> bool:
        """What its agent ordered."""
        return self._settings.collecting

    @property
    def collecting_since(self) -> str:
        """When that was ordered; when it was made, if never."""
        return self._settings.collecting_since

    @property
    def consent(self) -> bool:
        """Whether consent is noted at the camera."""
        return self._settings.consent

    @property
    def may_record(self) -> bool:
        """Ordered by an agent, consented, and able to."""
        return self.powered and bool(self.agent) and self.collecting and self.consent and self.card.state == "ok"

    @property
    def may_show(self) -> bool:
        """Consented, and switched on by its agent if it has one: then whoever may ask sees what it sees now."""
        return self.powered and self.consent and (self.collecting or not self.agent)

    @property
    def state(self) -> dict[str, bool]:
        """As the camera link tells it (docs/camera-link.md §5)."""
        on = self.may_show
        recording = on and bool(self.agent) and self.recording
        stream = on and self.watchers > 0  # also of a camera that is nobody's yet, or knows no camera link
        return {
            "recording": recording,
            "microphone": recording or stream,
            "stream": stream,
            "indicator": recording or stream,
            "consent": self.consent,
        }

    @property
    def storage(self) -> str:
        """How its card is, as docs/camera-link.md §5 names it."""
        return self.card.state

    def heard_by(self, hear: Callable[[], None]) -> None:
        """Call this at every change, for a face that needs not know which."""
        self.changed.append(lambda _change: hear())

    def collect(self, *, enabled: bool) -> None:
        """Switch recording, microphone and stream; off is only true once ``settled``."""
        if enabled != self.collecting:
            self._save(collecting=enabled, collecting_since=stamp(self.now()))
            self.tell("collecting" if enabled else "not-collecting")
        self._tell("state")

    def note_consent(self, *, given: bool) -> None:
        """Somebody at the camera agreed, or no longer does."""
        self._save(consent=given)
        self._tell("state")
        self.tell("consent", given=given)

    async def settled(self) -> None:
        """Wait until nothing is recorded that may not be."""
        done = asyncio.Event()

        def hear(_change: Change) -> None:
            if self.may_record or not self.recording:
                done.set()

        self.changed.append(hear)
        try:
            hear("state")
            await done.wait()
        finally:
            self.changed.remove(hear)

    def note_recording(self, *, running: bool) -> None:
        """By its recorder."""
        if running != self.recording:
            self.recording = running
            self._tell("state")

    def note_deleted(self, count: int) -> None:
        """Something was taken off its card: a recorder ends what it was recording there."""
        self._tell("card")
        self.tell("deleted", count=count)

    def note_port(self, port: int) -> None:
        """Where its camera link listens now."""
        if port != self.port:
            self.port = port
            self._tell("advert")

    def note_rtsp_port(self, port: int) -> None:
        """Where its stream is to be had now."""
        if port != self.rtsp_port:
            self.rtsp_port = port
            self._tell("state")

    def note_onvif_port(self, port: int) -> None:
        """Where its ONVIF service listens now."""
        if port != self.onvif_port:
            self.onvif_port = port
            self._tell("state")

    def note_watchers(self, count: int) -> None:
        """By its stream."""
        if count != self.watchers:
            self.watchers = count
            self._tell("state")

    def next_number(self) -> int:
        """Of a recording: never given twice, power cuts or not."""
        number = self._settings.next_number
        self._save(next_number=number + 1)
        return number

    # What breaks.

    def break_(self, breakage: Breakage) -> None:
        """Break it, until it is mended."""
        if breakage == "power-cut":
            self.cut_power()
        elif breakage == "reset":
            self.reset()
        else:
            self.faults.add(breakage)
            self._swap_card(breakage)
            self._tell("breakage")
            self.tell("broken", what=breakage)

    def mend(self, breakage: Breakage) -> None:
        """Undo it; of a power cut: put the power back."""
        if breakage == "power-cut":
            self.start()
        elif breakage not in ONCE:
            self.faults.discard(breakage)
            self._swap_card(breakage)
            self._tell("breakage")
            self.tell("mended", what=breakage)

    def cut_power(self) -> None:
        """Everything stops at once; faces are cancelled by whoever runs them."""
        self.powered = False
        self.recording, self.watchers, self.port, self.rtsp_port, self.onvif_port = False, 0, 0, 0, 0
        self._setup_until = 0.0
        self._tell("power")
        self.tell("power-cut")

    def start(self) -> None:
        """Boot: from what was written down."""
        if not self.powered:
            self.powered = True
            self._settings = Settings(**json.loads((self.folder / "device.json").read_bytes()))
            self.card.boot()
            self._boot_names()
            self._tell("power")
            self.tell("power-on")

    def reset(self) -> None:
        """As from the factory, but for its key, its id and its count of recordings."""
        self._empty_card()
        self._save(agent="", last_agent="", advert_key="", **self._stopped())
        self._setup_until = 0.0
        self._boot_names()
        self._tell("pairing")
        self.tell("reset")

    def tell(self, event: Event, **facts: object) -> None:
        """Say to people what happened."""
        for hear in tuple(self.happened):
            hear(event, facts)

    def _swap_card(self, breakage: Breakage) -> None:
        if breakage == "card-swapped":
            self.card.insert(self.folder / ("other-card" if breakage in self.faults else "card"))
            self._tell("card")

    def _empty_card(self) -> None:
        self.card.delete([entry.id for entry in self.card.entries()])

    def _stopped(self) -> dict[str, Any]:
        return {"collecting": False, "collecting_since": stamp(self.now())}

    def _card_broken(self) -> Broken:
        for switch, broken in _CARD_SWITCHES:
            if switch in self.faults:
                return broken
        return ""

    def _boot_names(self) -> None:
        self._boot_name = new_id()
        self._boot_advert = secrets.token_bytes(_KEY_BYTES)

    def _save(self, **changes: Any) -> None:  # noqa: ANN401 - the fields of Settings
        settings = replace(self._settings, **changes)
        _write_settings(self.folder, settings)
        self._settings = settings

    def _tell(self, what: Change) -> None:
        self._announced = self.advert
        for hear in tuple(self.changed):
            hear(what)


_CARD_SWITCHES: Final[tuple[tuple[Breakage, Broken], ...]] = (
    ("card-missing", "missing"),
    ("card-failing", "failing"),
    ("card-full", "full"),
    ("card-corrupt", "corrupt"),
)


def make_device(folder: Path, *, now: datetime, name: str, seed: int, model: str = DEFAULT_MODEL) -> None:
    """Make a camera's state folder, as its factory would; one that is there is left as it is."""
    make_folders(folder)
    if (folder / "device.json").exists():
        return
    own = new_id()
    made = new_identity(own, now)
    _write(folder / "device.key", made.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    _write(folder / "device.crt", made.certificate.public_bytes(Encoding.PEM))
    firmware = identity(seed, name=name).firmware
    settings = Settings(id=own, model=model, firmware=firmware, name=name, seed=seed, collecting_since=stamp(now))
    _write_settings(folder, settings)


def new_identity(name: str, now: datetime) -> Identity:
    """Make a device key and its self-signed certificate (docs/camera-link.md §2)."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(_EVER[0], now))
        .not_valid_after(_EVER[1])
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Identity(key, certificate)


def new_id() -> str:
    """16 random characters of ``a``-``z`` and ``2``-``7``."""
    return base32(secrets.token_bytes(10))


def base32(data: bytes) -> str:
    """RFC 4648 base32 in small letters, without padding."""
    return base64.b32encode(data).decode("ascii").rstrip("=").lower()


def fingerprint(kid: str) -> str:
    """Return what people compare (docs/camera-link.md §1)."""
    digest = hashlib.sha256(kid.encode("ascii")).hexdigest()[:32]
    return " ".join(digest[at : at + 4] for at in range(0, 32, 4))


def _load_identity(folder: Path) -> Identity:
    key = load_pem_private_key((folder / "device.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)  # noqa: S101 - ``make_device`` makes no other
    return Identity(key, x509.load_pem_x509_certificate((folder / "device.crt").read_bytes()))


def _write_settings(folder: Path, settings: Settings) -> None:
    _write(folder / "device.json", json.dumps(asdict(settings), ensure_ascii=False).encode())


def _write(path: Path, content: bytes) -> None:
    part = path.with_name(f"{path.name}.part")
    with private_file(part) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)
    handle = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
