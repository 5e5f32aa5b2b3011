"""``agent.toml`` becomes a frozen ``Config``: where things are. What may happen to data is in the policy, never here.

The document::

    device = "cam-01"                     # the name that commands are addressed to; equals the certificate's
    policy = "policy.toml"                # relative to this file
    state = "/var/lib/privacy-agent"      # vault, index, keystore
    socket = "/run/privacy-agent/control.sock"  # the usual one, of the usual state; else it is in the state folder

    [broker]                              # leave it out to run without a cloud
    url = "mqtts://mqtt.example:8883"
    tenant = "acme"
    identity = "/etc/privacy-agent/tls"   # folder with tls.crt, tls.key, ca.crt

    [clock]
    source = "ntp"                        # or "system": this machine's clock is set by something trustworthy

    [keystore]
    engine = "tpm"                        # or "software", which is usual; chosen once, before init
    tcti = "device:/dev/tpmrm0"           # and counter = 0x01810730, the NV index of this agent alone

    [delivery]
    ca = "nas-ca.pem"                     # an authority besides the system's, of whom an export is handed to

    [scrub]                               # sealed payloads are read again, to find what a medium lost
    every = "30d"                         # all of them once in so long; "off": only when asked
    rate = "4MB"                          # bytes in a second at most

    [discovery]                           # leave it out and nothing is listened for
    ways = ["mdns", "onvif", "ble"]       # and interfaces, adapter

    [[source]]
    kind = "frigate"                      # spool | frigate | motioneye | timelapse, or rtsp (below)
    path = "/media/frigate/recordings"
    after = "leave"                       # take | leave
    medium = "disk"                       # tmpfs | encrypted | disk
    # and where the usual does not fit: name, patterns, timezone, settle, poll, rescan, batch_size, batch_age

    [[source]]
    kind = "rtsp"                         # a camera that streams
    name = "door"
    url = "rtsp://192.0.2.7:554/main"     # rtsps:// with certificate_sha256 = "…"
    credentials = "door.credentials"      # a file of two lines, user and password, mode 0600
    # and where the usual does not fit: camera, segment, stall

Folders of sources lie beside each other and beside ``state``: what two of them saw would be taken twice, by two rules.
Only the wiring (``agent/app/`` and the shell commands) knows this module; everything below is handed its values.
"""

import os
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, cast, get_args
from urllib.parse import urlsplit

import msgspec

from agent.clock import MS_PER_S, ClockSource
from agent.discovery.sighting import Way
from agent.document import DOCUMENT_BYTES, Table, read_document
from agent.element import COUNTERS, DEFAULT_COUNTER, DEFAULT_TCTI, TpmSettings
from agent.errors import ConfigError
from agent.files import read_whole
from agent.model import Medium
from agent.rtsp.settings import (
    SEGMENT_LEAST_S,
    SEGMENT_MOST_S,
    STREAMS_MAX,
    StreamSettings,
    read_address,
    read_service,
)
from agent.scrub.settings import ScrubSettings
from agent.sources import SourceSettings
from agent.sources.place import read_template, read_zone
from agent.sources.settings import BATCH_MAX_BYTES, After, SourceKind

DEFAULT_PATH: Final = Path("/etc/privacy-agent/agent.toml")
DEFAULT_STATE: Final = "/var/lib/privacy-agent"
DEFAULT_SOCKET: Final = Path("/run/privacy-agent/control.sock")
"""In the folder that systemd makes for the service; the state folder is closed to the socket's group."""

WAYS: Final[tuple[Way, ...]] = get_args(Way)
INTERFACES_MAX: Final = 16

_ADAPTER: Final = re.compile(r"hci[0-9]{1,3}")
_INTERFACE: Final = re.compile(r"[A-Za-z0-9_.:@-]{1,15}")
_SOCKET_NAME: Final = "control.sock"
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PORTS: Final = {"mqtts": 8883, "mqtt": 1883}
STREAM_KIND: Final = "rtsp"
_DOCUMENT_KEYS: Final = (
    "device",
    "policy",
    "state",
    "socket",
    "broker",
    "clock",
    "keystore",
    "delivery",
    "scrub",
    "discovery",
    "source",
)
SCRUB_LEAST_S: Final = 3_600.0
"""A pass each hour reads a small vault; more often than that nothing is learnt."""

SCRUB_LEAST_BYTES: Final = 10_000
"""In a second: what is slower would be at no payload's end before it is gone."""

_BROKER_KEYS: Final = ("url", "tenant", "identity")
ENGINES: Final = ("software", "tpm")
_KEYSTORE_KEYS: Final = ("engine", "tcti", "counter")
_TCTI: Final = re.compile(r"[a-z0-9-]{1,32}(?::[\x21-\x7e]{1,256})?")
_DISCOVERY_KEYS: Final = ("ways", "interfaces", "adapter")
_SOURCE_KEYS: Final = (
    "name",
    "kind",
    "path",
    "after",
    "medium",
    "patterns",
    "timezone",
    "settle",
    "poll",
    "rescan",
    "batch_size",
    "batch_age",
)


_STREAM_KEYS: Final = (
    "kind",
    "name",
    "url",
    "onvif",
    "camera",
    "credentials",
    "certificate_sha256",
    "sound",
    "segment",
    "stall",
)
_CAMERA: Final = re.compile(r"[^\x00-\x1f\x7f/]{1,64}")
_DIGEST: Final = re.compile(r"(?:[0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}")


class BrokerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The broker's address, the tenant in every topic, and the folder of our TLS identity."""

    url: str
    tenant: str
    identity: Path


class DiscoverySettings(msgspec.Struct, frozen=True, kw_only=True):
    """How cameras are listened for: ``interfaces`` none for all that can multicast, ``adapter`` none for the first."""

    ways: tuple[Way, ...] = WAYS
    interfaces: tuple[str, ...] = ()
    adapter: str = ""


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The whole document, checked; every path is absolute."""

    file: Path
    device: str
    policy: Path
    state: Path
    socket: Path
    broker: BrokerSettings | None
    clock: ClockSource
    discovery: DiscoverySettings | None = None
    tpm: TpmSettings | None = None
    """The TPM that the keystore is in; without one it is a file."""
    sources: tuple[SourceSettings, ...]
    streams: tuple[StreamSettings, ...] = ()
    authorities: Path | None = None
    """Certificates by which the servers of third parties are verified, besides the system's."""
    scrub: ScrubSettings = ScrubSettings()

    @property
    def source_names(self) -> tuple[str, ...]:
        """What the sources are called, folders first."""
        return (*(one.name for one in self.sources), *(one.name for one in self.streams))

    def command(self, words: str) -> str:
        """Return the line that a person types for ``privacy-agent`` to do that with this config.

        A config that is not the usual one is named, absolutely: who types the line may stand in another folder.
        """
        file = self.file.absolute()
        return f"privacy-agent {words}" + ("" if file == DEFAULT_PATH else f" --config {shlex.quote(str(file))}")

    @property
    def keystore(self) -> Path:
        """The file that holds this device's keys."""
        return self.state / "keystore"

    @property
    def index(self) -> Path:
        """The encrypted index."""
        return self.state / "index.db"

    @property
    def vault(self) -> Path:
        """The folder of sealed payloads and exports."""
        return self.state / "vault"

    @property
    def lock(self) -> Path:
        """The file whose lock says that a process has the vault open."""
        return self.state / "lock"


def read_config(path: Path) -> Config:
    """Read ``agent.toml``; raises ``ConfigError`` naming file, line, key and fix."""
    hint = "privacy-agent init writes one; or name yours: --config FILE behind the command"
    too_large = "name the agent.toml that is meant, with --config: this is none"
    return parse_config(read_whole(path, max_bytes=DOCUMENT_BYTES, hint=hint, too_large=too_large), file=path)


def parse_config(raw: bytes, *, file: Path) -> Config:
    """Read the document's bytes; relative paths are taken from the folder of ``file``."""
    document = read_document(raw, file=str(file))
    here = file.absolute().parent
    document.only(_DOCUMENT_KEYS)
    device = _name(document, "device")
    policy = here / document.take("policy", str, "policy.toml")
    state = here / document.take("state", str, DEFAULT_STATE)
    usual = DEFAULT_SOCKET if state == Path(DEFAULT_STATE) else state / _SOCKET_NAME
    socket = here / document.take("socket", str, str(usual))
    broker = _broker(document.table("broker"), here=here) if "broker" in document else None
    clock_table = document.table("clock")
    clock = cast("ClockSource", clock_table.choice("source", get_args(ClockSource), "ntp"))
    clock_table.close(known=("source",))
    tpm = _keystore(document.table("keystore"))
    delivery = document.table("delivery")
    authorities = here / delivery.take("ca", str) if "ca" in delivery else None
    delivery.close(known=("ca",))
    scrub = _scrub(document.table("scrub"))
    discovery = _discovery(document.table("discovery")) if "discovery" in document else None
    sources, streams = _sources(document, here=here, state=state)
    document.close(known=_DOCUMENT_KEYS)
    return Config(
        file=file.absolute(),
        device=device,
        policy=policy,
        state=state,
        socket=socket,
        broker=broker,
        clock=clock,
        discovery=discovery,
        tpm=tpm,
        sources=sources,
        streams=streams,
        authorities=authorities,
        scrub=scrub,
    )


def _keystore(table: Table) -> TpmSettings | None:
    engine = table.choice("engine", ENGINES, "software")
    if engine != "tpm":
        for key in _KEYSTORE_KEYS[1:]:
            if key in table:
                raise table.error(
                    key, "is a TPM's, and the engine is none", hint='write engine = "tpm", or leave it out'
                )
        table.close(known=_KEYSTORE_KEYS)
        return None
    tcti = table.take("tcti", str, DEFAULT_TCTI)
    counter = table.take("counter", int, DEFAULT_COUNTER)
    table.close(known=_KEYSTORE_KEYS)
    if _TCTI.fullmatch(tcti) is None:
        raise table.error("tcti", f"{tcti!r} names no TPM", hint=f'write for example "{DEFAULT_TCTI}"')
    lowest, highest = COUNTERS
    if not lowest <= counter <= highest:
        raise table.error(
            "counter",
            f"{counter:#010x} is no NV index of this machine's owner",
            hint=f"one of {lowest:#010x} to {highest:#010x}, for example {DEFAULT_COUNTER:#010x}",
        )
    return TpmSettings(tcti=tcti, counter=counter)


def _sources(
    document: Table, *, here: Path, state: Path
) -> tuple[tuple[SourceSettings, ...], tuple[StreamSettings, ...]]:
    sources: list[SourceSettings] = []
    streams: list[StreamSettings] = []
    folders = {"the state folder": state}
    for table in document.tables("source"):
        kind = table.choice("kind", (*get_args(SourceKind), STREAM_KIND))
        source = _stream(table, here=here) if kind == STREAM_KIND else _source(table, kind=kind, here=here)
        if source.name in {other.name for other in sources} | {other.name for other in streams}:
            raise table.error(
                "name", f"two sources are named {source.name!r}", hint='give this one its own: name = "…"'
            )
        if isinstance(source, StreamSettings):
            if len(streams) >= STREAMS_MAX:
                raise table.error("", f"is one camera too many: {STREAMS_MAX} are read", hint="remove one")
            streams.append(source)
            continue
        for what, folder in folders.items():
            if overlap := _overlap(source.path, folder):
                raise table.error("path", f"{source.path} {overlap} {what}", hint="choose a folder beside it")
        folders[f"the source {source.name!r}"] = source.path
        sources.append(source)
    return tuple(sources), tuple(streams)


def _overlap(one: Path, other: Path) -> str:
    """Say how two folders share files by their names, or nothing; links are not followed."""
    one, other = (Path(os.path.normpath(path)) for path in (one, other))
    if one == other:
        return "is"
    if one.is_relative_to(other):
        return "lies in"
    return "holds" if other.is_relative_to(one) else ""


def _name(table: Table, key: str) -> str:
    value = table.take(key, str)
    if not _NAME.fullmatch(value):
        raise table.error(key, f"{value!r} is not a good name", hint="use 1-64 of A-Z, a-z, 0-9, _ and -")
    return value


def _broker(table: Table, *, here: Path) -> BrokerSettings:
    table.only(_BROKER_KEYS)
    url = table.take("url", str)
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname or parts.path not in {"", "/"}:
        raise table.error("url", f"{url!r} is not a broker address", hint="write mqtts://HOST:8883")
    if parts.scheme == "mqtt":
        raise table.error("url", "means a line in clear, where identity is for TLS", hint="write mqtts://")
    if parts.username or parts.password:
        raise table.error("url", "holds a user name or password", hint="remove it: the TLS identity says who we are")
    tenant = _name(table, "tenant")
    identity = here / table.take("identity", str)
    table.close(known=_BROKER_KEYS)
    return BrokerSettings(url=url, tenant=tenant, identity=identity)


def _discovery(table: Table) -> DiscoverySettings:
    ways = table.texts("ways", list(WAYS))
    unknown = [way for way in ways if way not in WAYS]
    if unknown or not ways or len(set(ways)) != len(ways):
        told = f"{unknown[0]!r} is not known" if unknown else "names each way once, and at least one"
        raise table.error("ways", told, hint=f"use some of: {', '.join(WAYS)}; or leave [discovery] out")
    interfaces = table.texts("interfaces", [])
    if len(interfaces) > INTERFACES_MAX or not all(_INTERFACE.fullmatch(name) for name in interfaces):
        raise table.error("interfaces", "should be names of network interfaces", hint="ip link shows them")
    adapter = table.take("adapter", str, "")
    if adapter and not _ADAPTER.fullmatch(adapter):
        raise table.error("adapter", f"{adapter!r} is no Bluetooth adapter", hint="bluetoothctl list shows them: hci0")
    table.close(known=_DISCOVERY_KEYS)
    return DiscoverySettings(ways=cast("tuple[Way, ...]", ways), interfaces=interfaces, adapter=adapter)


def _scrub(table: Table) -> ScrubSettings:
    usual = ScrubSettings()
    if table.says("every", "off"):
        every_s = 0.0
    else:
        every_s = _seconds(table, "every", usual.every_s)
        if every_s < SCRUB_LEAST_S:
            raise table.error("every", "is too short", hint='write "1h" or more, or "off"')
    rate_bytes_s = table.size_bytes("rate")
    if rate_bytes_s is not None and rate_bytes_s < SCRUB_LEAST_BYTES:
        raise table.error("rate", "is too slow", hint='write "10kB" or more, or every = "off"')
    table.close(known=("every", "rate"))
    return ScrubSettings(every_s=every_s, rate_bytes_s=usual.rate_bytes_s if rate_bytes_s is None else rate_bytes_s)


def _source(table: Table, *, kind: str, here: Path) -> SourceSettings:
    table.only(_SOURCE_KEYS)
    path = here / table.take("path", str)
    name = _name(table, "name") if "name" in table else path.name
    if not _NAME.fullmatch(name):
        raise table.error("path", f"its last part {name!r} cannot name the source", hint='add name = "…"')
    usual = SourceSettings(name=name, kind=cast("SourceKind", kind), path=path, medium="disk")
    medium = cast("Medium", table.choice("medium", get_args(Medium)))
    after = cast("After", table.choice("after", get_args(After))) if "after" in table else None
    batch_bytes = table.size_bytes("batch_size")
    if batch_bytes is not None and batch_bytes > BATCH_MAX_BYTES:
        raise table.error("batch_size", "is too large: a batch is held in memory", hint="write 8MiB or less")
    settings = SourceSettings(
        name=name,
        kind=usual.kind,
        path=path,
        after=after,
        medium=medium,
        patterns=_patterns(table),
        timezone=_timezone(table),
        settle_s=_seconds(table, "settle", usual.settle_s),
        poll_s=_seconds(table, "poll", usual.poll_s),
        rescan_s=_seconds(table, "rescan", usual.rescan_s),
        batch_bytes=usual.batch_bytes if batch_bytes is None else batch_bytes,
        batch_age_s=_seconds(table, "batch_age", usual.batch_age_s),
    )
    table.close(known=_SOURCE_KEYS)
    return settings


def _patterns(table: Table) -> tuple[str, ...]:
    patterns = table.texts("patterns", [])
    with _named(table, "patterns"):
        for template in patterns:
            read_template(template)
    return patterns


def _timezone(table: Table) -> str:
    name = table.take("timezone", str, "")
    if name:
        with _named(table, "timezone"):
            read_zone(name)
    return name


@contextmanager
def _named(table: Table, key: str) -> Iterator[None]:
    """Have what is wrong with a value name its file, line and key."""
    try:
        yield
    except ConfigError as error:
        raise table.error(key, error.message, hint=error.hint) from None


def _stream(table: Table, *, here: Path) -> StreamSettings:
    table.only(_STREAM_KEYS)
    name = _name(table, "name")
    key = "onvif" if "onvif" in table and "url" not in table else "url"
    where = table.take(key, str)
    with _named(table, key):
        if key == "onvif":
            service = read_service(where)
            secure, host, port = service.scheme == "https", service.hostname, service.port or 443
        else:
            address = read_address(where)
            secure, host, port = address.secure, address.host, address.port
    if "onvif" in table:
        raise table.error("onvif", "says what url says", hint="write one of the two")
    camera = table.take("camera", str, name)
    if not _CAMERA.fullmatch(camera):
        raise table.error("camera", f"{camera!r} is not a good label", hint="use 1-64 characters, and no /")
    usual = StreamSettings(name=name, url="", camera=camera)
    segment_s = _seconds(table, "segment", usual.segment_s)
    if not SEGMENT_LEAST_S <= segment_s <= SEGMENT_MOST_S:
        raise table.error("segment", "is too short or too long", hint='write from "1s" to "5m"')
    stall_s = _seconds(table, "stall", usual.stall_s)
    if not SEGMENT_LEAST_S <= stall_s <= SEGMENT_MOST_S:
        raise table.error("stall", "is too short or too long", hint='write from "1s" to "5m"')
    settings = StreamSettings(
        name=name,
        url=where if key == "url" else "",
        onvif=where if key == "onvif" else "",
        camera=camera,
        credentials=here / table.take("credentials", str) if "credentials" in table else None,
        certificate_sha256=_pinned(table, f"{host}:{port}", secure=secure, may=key == "onvif"),
        sound=table.take("sound", bool, usual.sound),
        segment_s=segment_s,
        stall_s=stall_s,
    )
    table.close(known=_STREAM_KEYS)
    return settings


def _pinned(table: Table, where: str, *, secure: bool, may: bool) -> bytes:
    """Return what the certificate of a camera with TLS hashes to; it ``may`` be that only its stream has TLS."""
    key = "certificate_sha256"
    if not secure and key not in table:
        return b""
    if not secure and not may:
        raise table.error(key, "is of no use without TLS", hint="write rtsps:// in url, or remove it")
    show = f"openssl s_client -connect {where} </dev/null | openssl x509 -noout -fingerprint -sha256"
    if key not in table:
        raise table.error(key, "is missing: nothing else tells the camera from another device", hint=f"ask it: {show}")
    text = table.take(key, str)
    if not _DIGEST.fullmatch(text):
        raise table.error(key, "is no SHA-256", hint=f"write the 64 digits that are shown by: {show}")
    return bytes.fromhex(text.replace(":", ""))


def _seconds(table: Table, key: str, usual: float) -> float:
    value_ms = table.duration_ms(key)
    return usual if value_ms is None else value_ms / MS_PER_S
