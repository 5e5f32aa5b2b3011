"""The owner's folder: keys, key set versions, devices, settings. Files are 0600, folders 0700, writes durable.

root.key            signs key sets only; may be moved away and is then named with --root
identity.txt        the age identity, as age-keygen writes it
client.key          signs commands from this machine
client.json         this client's descriptor
owner.pub           what a device is initialised with: the owner's descriptor, the first key set
keysets/N.jws       every version, each naming the one before
devices/NAME/       one device (device.py)
owner.toml          where the broker is, which device is meant by default
"""

import fcntl
import os
import re
import shlex
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from agent import age, files
from agent.broker import parse_url, topic_base
from agent.document import read_document
from agent.envelope import (
    Descriptor,
    KeySet,
    PrivateKey,
    parse_descriptor,
    parse_keyset,
    private_key_from_pem,
    read_keyset,
    thumbprint,
)
from agent.errors import AgentError, ConfigError

DEFAULT_HOME: Final = Path("~/.config/privacy-owner")
HOME_VARIABLE: Final = "PRIVACY_OWNER_HOME"
FILE_BYTES: Final = 1 << 20
"""No file of ours that is read whole is larger: a key set, a receipt or a command is under 128 KiB."""

ROOT: Final = "root.key"
IDENTITY: Final = "identity.txt"
CLIENT: Final = "client.key"
DESCRIPTOR: Final = "client.json"
OWNER_FILE: Final = "owner.pub"
SHEET: Final = "recovery-sheet.txt"
SETTINGS: Final = "owner.toml"
_OTHERS: Final = 0o077
_NUMBER: Final = re.compile(r"[0-9]{1,16}")

_SETTINGS_TEXT: Final = """\
# How privacy-owner reaches the devices. Rewritten by: privacy-owner device add
{device}
[broker]
{broker}"""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What ``owner.toml`` says; empty where it says nothing. ``identity`` is the TLS folder of the owner."""

    device: str = ""
    url: str = ""
    tenant: str = ""
    identity: str = ""


class Home:
    """The folder, opened; holds no state, all of it is files."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def exists(self) -> bool:
        """Whether somebody's keys are here."""
        return any(files.is_there(self.path / name) for name in (ROOT, IDENTITY, CLIENT, OWNER_FILE))

    def command(self, words: str) -> str:
        """Return what a person types for ``privacy-owner`` to do that here: ``--home`` where this is not the usual one.

        It is named absolutely: who types it may stand in another folder by then.
        """
        path = self.path.absolute()
        return f"privacy-owner {words}" if path == usual_home() else f"privacy-owner --home {quote(path)} {words}"

    def create(self) -> None:
        """Make the folder; keys that are there already raise ``ConfigError``."""
        if self.exists:
            raise ConfigError(
                f"{self.path}: there are keys here already",
                hint="choose another --home DIR, or --force, which moves this one aside",
            )
        for folder in (self.path, self.path / "keysets", self.path / "devices"):
            files.make_named_folder(folder, hint="name a folder that you may write in: privacy-owner --home DIR")

    def move_aside(self) -> Path | None:
        """Give an existing home another name, durably; nothing is ever overwritten."""
        if not self.exists:
            return None
        for number in range(1, 1000):
            aside = self.path.with_name(f"{self.path.name}.old-{number}")
            if not aside.exists():
                files.settle(self.path, aside)
                return aside
        raise ConfigError(f"{self.path}: a thousand old homes lie beside it", hint="choose another --home DIR")

    def require(self) -> None:
        """Raise ``ConfigError`` unless this is an owner's folder that is ours alone."""
        if not self.exists:
            raise ConfigError(f"{self.path}: no owner's keys are here", hint="privacy-owner init, or name --home DIR")
        os.close(files.open_folder(self.path))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Let one command at a time count, keep or sign; raises ``ConfigError`` where no keys are."""
        self.require()
        fd = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, files.FILE_MODE)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def write(self, name: str, data: bytes) -> Path:
        """Write one of our files durably."""
        path = self.path / name
        files.write_durably(path, data)
        return path

    # --- keys

    def root(self, named: Path | None) -> PrivateKey:
        """Read the root's key from our folder or from where the owner keeps it; raises ``ConfigError``."""
        path = named or self.path / ROOT
        if not path.exists():
            raise ConfigError(
                f"{path}: the owner's root key is not here",
                hint="bring it and name it: --root FILE; or privacy-owner recover the sheet into another --home",
            )
        return _key(path)

    def client(self) -> PrivateKey:
        """Read this client's signing key."""
        self.require()
        return _key(self.path / CLIENT)

    def recipients(self) -> tuple[str, ...]:
        """Return the recipients of the home's identities: what is sealed to one of them opens here."""
        return tuple(identity.recipient().to_text() for identity in self.identities())

    def identities(self) -> tuple[age.Identity, ...]:
        """Read the age identities that receipts and exports are opened with."""
        self.require()
        path = self.path / IDENTITY
        try:
            return age.parse_identity_file(read_private(path).decode("utf-8", "replace"))
        except ConfigError as error:
            raise ConfigError(f"{path}: {error.message}", hint=error.hint) from None

    def me(self) -> Descriptor:
        """Return this client's descriptor."""
        self.require()
        return read_descriptor(self.path / DESCRIPTOR)

    @property
    def is_owners(self) -> bool:
        """Whether it is the owner's, and no home of a client that ``client new`` made."""
        return (self.path / OWNER_FILE).exists()

    def owner(self) -> Descriptor:
        """Return the owner's descriptor; a client made by ``client new`` has none and raises ``ConfigError``."""
        self.require()
        path = self.path / OWNER_FILE
        if not self.is_owners:
            raise ConfigError(
                f"{path}: this is a client's home, not the owner's", hint="do it where privacy-owner init was run"
            )
        first = read_file(path).partition(b"\n")[0]
        return _named(path, first)

    # --- key sets

    def key_set(self) -> KeySet | None:
        """Return the newest version after checking the chain up to it; ``None`` where none is kept."""
        root_jwk = self.owner().jwk
        current: KeySet | None = None
        folder = self.path / "keysets"
        numbers = sorted(int(path.stem) for path in folder.glob("*.jws") if _NUMBER.fullmatch(path.stem))
        for number in numbers:
            path = folder / f"{number}.jws"
            raw = read_file(path)
            try:
                current = parse_keyset(raw, root_jwk=root_jwk, current=current)
            except AgentError as error:
                if current is None and number > 1:  # a recovered home begins with the version that was at hand
                    current = recovered_key_set(raw, root_jwk=root_jwk, path=path)
                    continue
                raise ConfigError(f"{path}: {error.message}", hint="restore the keysets folder from a copy") from error
        return current

    def keep_key_set(self, keys: KeySet) -> Path:
        """Keep a version."""
        return self.write(f"keysets/{keys.version}.jws", keys.raw + b"\n")

    # --- settings

    def settings(self) -> Settings:
        """Read ``owner.toml`` strictly; raises ``ConfigError``."""
        path = self.path / SETTINGS
        if not path.exists():
            return Settings()
        document = read_document(read_file(path), file=str(path))
        device = document.take("device", str, "")
        broker = document.table("broker")
        found = Settings(
            device=device,
            url=broker.take("url", str, ""),
            tenant=broker.take("tenant", str, ""),
            identity=broker.take("identity", str, ""),
        )
        broker.close(known=("url", "tenant", "identity"))
        document.close(known=("device", "broker"))
        return found

    def write_settings(self, settings: Settings) -> Path:
        """Write ``owner.toml``; what could not be used later raises ``ConfigError`` now."""
        if settings.url:
            parse_url(settings.url)
        if settings.tenant:
            topic_base(settings.tenant, settings.device or "device")
        lines = [
            _line("url", settings.url, example="mqtts://mqtt.example:8883"),
            _line("tenant", settings.tenant, example="acme"),
            _line("identity", settings.identity, example="/home/me/tls", note="folder with tls.crt, tls.key, ca.crt"),
        ]
        device = _line("device", settings.device, example="camera-1", note="meant when --device is not given")
        return self.write(SETTINGS, _SETTINGS_TEXT.format(device=device, broker="".join(lines)).encode())


def usual_home() -> Path:
    """Return the folder that is meant where no ``--home`` is given."""
    return Path(os.environ.get(HOME_VARIABLE, DEFAULT_HOME)).expanduser().absolute()


def quote(path: Path) -> str:
    """Return a path as a person types it into a shell."""
    return shlex.quote(str(path))


def recovered_key_set(raw: bytes, *, root_jwk: dict[str, str], path: Path) -> KeySet:
    """Read a key set whose predecessors are lost; its root's signature is what it is believed for."""
    try:
        return read_keyset(raw, root_jwk=root_jwk)
    except AgentError as error:
        raise ConfigError(f"{path}: {error.message}", hint="give a key set that this owner's root signed") from error


def write_key(path: Path, key: PrivateKey) -> None:
    """Write a signing key as PEM, 0600."""
    files.write_durably(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def read_descriptor(path: Path) -> Descriptor:
    """Read a descriptor file; raises ``ConfigError`` that names it."""
    return _named(path, read_file(path))


def read_file(path: Path, *, max_bytes: int = FILE_BYTES, secret: bool = False) -> bytes:
    """Read a whole file; raises ``ConfigError`` when it cannot be read or is larger than what we read."""
    return files.read_whole(path, max_bytes=max_bytes, hint="check the name and the permissions", secret=secret)


def write_file(path: Path, data: bytes) -> None:
    """Write a file that a person named, durably; raises ``ConfigError`` when it cannot be written."""
    try:
        files.write_durably(path, data)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="check the folder and its permissions") from error


def read_private(path: Path) -> bytes:
    """Read a file that nobody else may read; raises ``ConfigError``."""
    raw = read_file(path, secret=True)
    if stat.S_IMODE(path.stat().st_mode) & _OTHERS:
        raise ConfigError(f"{path}: others may read this private key", hint=f"chmod 600 {path}")
    return raw


def _key(path: Path) -> PrivateKey:
    try:
        return private_key_from_pem(read_private(path))
    except ConfigError as error:
        named = error.message if str(path) in error.message else f"{path}: {error.message}"
        raise ConfigError(named, hint=error.hint) from None


def _named(path: Path, raw: bytes) -> Descriptor:
    try:
        descriptor = parse_descriptor(raw)
        thumbprint(descriptor.jwk)
    except AgentError as error:
        raise ConfigError(f"{path}: {error.message}", hint="give a descriptor file (docs/protocol.md §3)") from error
    return descriptor


def _line(name: str, value: str, *, example: str, note: str = "") -> str:
    text = value.replace("\\", "\\\\").replace('"', '\\"')
    line = f'{name} = "{text}"' if value else f'# {name} = "{example}"'
    return f"{line}{f'  # {note}' if note else ''}\n"
