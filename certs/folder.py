"""A CA's folder on disk.

    DIR/ca.crt  ca.key  crl.pem        the CA and its revocation list
    DIR/index.json                     every certificate ever issued here
    DIR/.gitignore                     "*": nothing in here is ever committed
    DIR/NAME/tls.crt  tls.key  ca.crt  one identity: copy this folder to its machine

Rules:
- Folders are 0700 and files 0600; a folder that others may read is refused, not repaired.
- A file appears under its name only when it is whole and on the medium. A new certificate for the same key is one
  rename; a new key comes with its certificate in one exchange of the two folders, so a program that reloads never
  finds one half for good (between its two reads it may: it tries again).
- The index knows a serial number before the certificate exists. A cut in between leaves a number nobody has.
- One command at a time (``flock`` on the folder).
"""

import ctypes
import datetime as dt
import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal, Self

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from certs import authority as ca
from certs.authority import Authority, Kind, Revocation
from certs.errors import CertsError

# Linux renameat2(2), RENAME_EXCHANGE.
_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2
_OTHERS: Final = 0o077

_DAY: Final = dt.timedelta(days=1)
DUE_WITHIN: Final = 30 * _DAY


class Issued(msgspec.Struct, frozen=True):
    """One certificate that was issued here."""

    serial: str
    """Lower-case hexadecimal."""
    name: str
    kind: Kind
    not_before: dt.datetime
    not_after: dt.datetime
    revoked_at: dt.datetime | None = None
    key_compromise: bool = False


class Index(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What ``index.json`` holds, oldest certificate first."""

    v: Literal[1]
    crl_number: int
    certificates: tuple[Issued, ...]

    def latest(self, name: str) -> Issued | None:
        """Return the certificate that the identity uses now."""
        return next((one for one in reversed(self.certificates) if one.name == name), None)


class Folder:
    """An open CA folder; made by ``create`` or ``opened``."""

    def __init__(self, path: Path, authority: Authority) -> None:
        self.path = path
        self.authority = authority

    @classmethod
    def create(cls, path: Path, *, now: dt.datetime) -> Self:
        """Make a new CA with an empty revocation list; ``path`` must not hold one."""
        _make_folder(path)
        authority = ca.make_authority(now=now)
        _write(path / ".gitignore", b"*\n")
        _write(path / "ca.key", ca.key_pem(authority.key))
        _write(path / "index.json", _encoded(Index(v=1, crl_number=0, certificates=())))
        folder = cls(path, authority)
        folder.refresh_crl(now=now)
        _write(path / "ca.crt", ca.certificate_pem(authority.certificate))
        return folder

    @classmethod
    @contextmanager
    def opened(cls, path: Path) -> Iterator[Self]:
        """Open an existing folder alone; raises ``CertsError`` if it is none, or others may read it."""
        if not (path / "ca.crt").is_file():
            raise CertsError(f"{path} holds no CA", hint=f"python -m certs init {path}")
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            for private in (path, path / "ca.key"):
                _refuse_readable(private)
            yield cls(path, _read_authority(path))
        finally:
            os.close(descriptor)

    @property
    def index(self) -> Index:
        """Read the index; raises ``CertsError`` if it is damaged."""
        file = self.path / "index.json"
        try:
            return msgspec.json.decode(file.read_bytes(), type=Index)
        except (OSError, msgspec.MsgspecError) as error:
            raise CertsError(
                f"{file} cannot be read: {error}", hint="restore it from a backup: without it nothing can be revoked"
            ) from error

    @property
    def crl(self) -> x509.CertificateRevocationList:
        """Read the revocation list."""
        file = self.path / "crl.pem"
        try:
            return x509.load_pem_x509_crl(file.read_bytes())
        except (OSError, ValueError) as error:
            raise CertsError(
                f"{file} cannot be read: {error}", hint=f"python -m certs renew {self.path} --crl"
            ) from error

    def identity(self, name: str) -> Path:
        """Return the folder of one identity, whether it exists or not."""
        return self.path / ca.checked_name(name)

    def issue(
        self,
        name: str,
        *,
        kind: Kind,
        sans: Sequence[str] = (),
        lifetime: dt.timedelta | None = None,
        force: bool = False,
        now: dt.datetime,
    ) -> Issued:
        """Make a new identity with a new key.

        ``force`` allows to replace one, whose former certificate counts until it ends or is revoked. Raises
        ``CertsError`` if it exists and ``force`` is not given.
        """
        place = self.identity(name)
        if place.exists() and not force:
            if not _is_whole(place):
                raise CertsError(
                    f"{place} exists, and not all of its files do",
                    hint=f"python -m certs issue {self.path} {name} --kind {kind} --force   (with a new key)",
                )
            raise CertsError(
                f"{place} exists; its key is not overwritten",
                hint=f"python -m certs renew {self.path} {name}   (or issue --force for a new key)",
            )
        return self._put(name, ca.new_key(), kind=kind, sans=sans, lifetime=lifetime or ca.LIFETIME[kind], now=now)

    def renew(self, name: str, *, rekey: bool, now: dt.datetime) -> Issued:
        """Give an identity a new certificate with the names and the kind of its last, and the same key or a new one.

        Raises ``CertsError`` if there is none, or its last one was revoked: an identity that lost its trust gets a
        new key by ``issue`` with ``force``.
        """
        latest = self.index.latest(name)
        place = self.identity(name)
        if latest is None:
            raise CertsError(f"{self.path} has no identity {name!r}", hint=f"python -m certs show {self.path}")
        if not _is_whole(place):
            raise CertsError(
                f"{place} lacks tls.crt or tls.key, from which it would be renewed",
                hint=f"python -m certs issue {self.path} {name} --kind {latest.kind} --force   (with a new key)",
            )
        if latest.revoked_at:
            raise CertsError(
                f"{name} was revoked and is not renewed",
                hint=f"python -m certs issue {self.path} {name} --kind {latest.kind} --force",
            )
        old = _read_certificate(place / "tls.crt")
        given = [san for san in ca.sans_of(old) if san not in ca.BROKER_SANS]
        key = ca.new_key() if rekey else _read_key(place / "tls.key")
        lifetime = latest.not_after - latest.not_before - ca.BACKDATE
        return self._put(name, key, kind=latest.kind, sans=given, lifetime=lifetime, now=now)

    def revoke(self, name: str, *, key_compromise: bool, now: dt.datetime) -> list[Issued]:
        """Put every certificate of a name that still counts on the list; returns them.

        Raises ``CertsError`` if there is none.
        """
        index = self.index
        counts = [c for c in index.certificates if c.name == name and not c.revoked_at and c.not_after > now]
        if not counts:
            raise CertsError(
                f"{self.path} has no valid certificate of {name!r}", hint=f"python -m certs show {self.path}"
            )
        gone = [msgspec.structs.replace(c, revoked_at=now, key_compromise=key_compromise) for c in counts]
        by_serial = {c.serial: c for c in gone}
        self._save(
            msgspec.structs.replace(index, certificates=tuple(by_serial.get(c.serial, c) for c in index.certificates))
        )
        self.refresh_crl(now=now)
        return gone

    def refresh_crl(self, *, now: dt.datetime) -> x509.CertificateRevocationList:
        """Sign the revocation list anew; what has ended anyway is left out."""
        index = self.index
        number = index.crl_number + 1
        self._save(msgspec.structs.replace(index, crl_number=number))
        revocations = [
            Revocation(serial=int(c.serial, 16), revoked_at=c.revoked_at, key_compromise=c.key_compromise)
            for c in index.certificates
            if c.revoked_at and c.not_after > now
        ]
        crl = ca.revocation_list(self.authority, revocations, number=number, now=now)
        _write(self.path / "crl.pem", ca.certificate_pem(crl))
        return crl

    def due(self, *, now: dt.datetime) -> list[str]:
        """Return the names whose certificate ends within ``DUE_WITHIN`` or has ended, and was not revoked."""
        latest = {c.name: c for c in self.index.certificates}
        return [name for name, c in latest.items() if not c.revoked_at and c.not_after - now < DUE_WITHIN]

    def _put(
        self,
        name: str,
        key: ec.EllipticCurvePrivateKey,
        *,
        kind: Kind,
        sans: Sequence[str],
        lifetime: dt.timedelta,
        now: dt.datetime,
    ) -> Issued:
        certificate = ca.issue(
            self.authority, name, kind=kind, public_key=key.public_key(), sans=sans, lifetime=lifetime, now=now
        )
        issued = Issued(
            serial=f"{certificate.serial_number:x}",
            name=name,
            kind=kind,
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
        )
        index = self.index
        self._save(msgspec.structs.replace(index, certificates=(*index.certificates, issued)))
        files = {
            "ca.crt": ca.certificate_pem(self.authority.certificate),
            "tls.key": ca.key_pem(key),
            "tls.crt": ca.certificate_pem(certificate),
        }
        _place(self.identity(name), files)
        self.refresh_crl(now=now)
        return issued

    def _save(self, index: Index) -> None:
        _write(self.path / "index.json", _encoded(index))


def _is_whole(place: Path) -> bool:
    return (place / "tls.crt").is_file() and (place / "tls.key").is_file()


def _place(folder: Path, files: dict[str, bytes]) -> None:
    """Bring an identity's files to their names: one rename if only the certificate is new, else one exchange."""
    changed = [name for name, data in files.items() if _content(folder / name) != data]
    if changed == ["tls.crt"]:
        _write(folder / "tls.crt", files["tls.crt"])
        return
    fresh = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    _make_folder(fresh)
    for name, data in files.items():
        _write(fresh / name, data)
    if folder.exists():
        _exchange(fresh, folder)
        shutil.rmtree(fresh)
    else:
        fresh.rename(folder)
    _sync(folder.parent)


def move(folder: Path, target: Path) -> None:
    """Give a folder another name beside its own, durably."""
    folder.rename(target)
    _sync(target.parent)


def _content(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None


def _write(file: Path, data: bytes) -> None:
    """Give a file its content at once and for good."""
    fresh = file.with_name(f".{file.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as target:
        target.write(data)
        target.flush()
        os.fsync(descriptor)
    fresh.replace(file)
    _sync(file.parent)


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CertsError(f"{path}: {error.strerror}", hint="choose another folder") from error
    path.chmod(0o700)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _exchange(one: Path, other: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE):
        code = ctypes.get_errno()
        if code in {errno.EINVAL, errno.ENOSYS}:
            raise CertsError(
                f"the file system of {other} cannot exchange two folders",
                hint="keep the CA on ext4, xfs, btrfs or tmpfs, or renew without --rekey",
            )
        raise OSError(code, os.strerror(code), str(other))


def _refuse_readable(path: Path) -> None:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise CertsError(f"{path}: {error.strerror}", hint="restore it from a backup") from error
    if mode & _OTHERS:
        raise CertsError(f"others may read {path}", hint=f"chmod go= {path}")


def _read_authority(path: Path) -> Authority:
    authority = Authority(certificate=_read_certificate(path / "ca.crt"), key=_read_key(path / "ca.key"))
    if authority.certificate.public_key() != authority.key.public_key():
        raise CertsError(f"{path}/ca.key is not the key of ca.crt", hint="restore both from the same backup")
    return authority


def _read_certificate(file: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(file.read_bytes())
    except (OSError, ValueError) as error:
        raise CertsError(f"{file} cannot be read: {error}", hint="restore it from a backup") from error


def _read_key(file: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = load_pem_private_key(file.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise CertsError(f"{file} cannot be read as a private key", hint="restore it from a backup") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise CertsError(f"{file} is no P-256 key", hint="restore it from a backup")
    return key


def _encoded(index: Index) -> bytes:
    return msgspec.json.format(msgspec.json.encode(index), indent=1) + b"\n"
