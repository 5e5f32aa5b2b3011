"""The device's own secrets in one file: signing key, age identity, keys of index, tombstones, pseudonyms, and roots.

The file is a fixed size from the start and holds the whole state twice, in two slots that lie well
apart. Every change overwrites one slot in place (``O_DSYNC``), reads it back from the medium, and only then
touches the other; nothing is ever renamed, because a rename leaves the old bytes in free blocks. Each slot has a
counter and a checksum: the higher whole one wins, and a torn or older one is made good from it at ``open``.

Changes to the roots belong to the steps of forgetting (``agent/erasure.py``):

- step 2, ``stage_root``: the next root is written beside the current one. If power fails, at least one slot still
  holds the current root.
- step 5, ``destroy_root``: one slot at a time. If power fails between them, ``open`` finishes: the newer slot wins.

A pseudonym's key lives for its rotation period: what ``rotate_pseudonyms`` replaces is overwritten in the same way, and
then nobody, this device included, can tell whose pseudonym one of that time was.

This is the store for devices without a secure element, and ``protection`` says so in every receipt: ``software``. What
a disk may keep of overwritten blocks is beyond it (``docs/threat-model.md``).
"""

import hashlib
import os
import secrets
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, derive_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import age
from agent.envelope.jws import public_jwk, raw_signature, thumbprint
from agent.errors import ConfigError, CorruptError
from agent.files import FILE_MODE, sync_folder, translated_space
from agent.keytree import KEY_BYTES, Root, new_root
from agent.model import RandomBytes

if TYPE_CHECKING:
    from agent.age import Identity

SLOT_BYTES: Final = 4096
"""One page of every common file system and flash."""

SLOT_OFFSETS: Final = (0, 1024 * 1024)
"""1 MiB apart, so that no page or track holds both."""

FILE_BYTES: Final = SLOT_OFFSETS[1] + SLOT_BYTES

ROOTS_MAX: Final = 2
"""The current root and, between step 2 and step 5, the next."""

_MAGIC: Final = b"pv1-keystore-1\n\x00"
_DESTROYED: Final = b"pv1-keystore-0\n\x00".ljust(SLOT_BYTES, b"\0")
"""What a slot is overwritten with when the device becomes unowned: it says that the rest is still to be done."""

_SUM_BYTES: Final = 32
_LENGTH_BYTES: Final = 4
_RANDOM_TRIES: Final = 128

# Order of the P-256 group (SEC 2, section 2.4.2): a private scalar lies in [1, n - 1].
_P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

Algorithm = Literal["EdDSA", "ES256"]


class PseudonymKey(msgspec.Struct, frozen=True, array_like=True):
    """The key of the pseudonyms of one rotation period, made at ``since_ms`` (agent time)."""

    period_ms: int
    since_ms: int
    key: bytes

    def __repr__(self) -> str:
        return f"PseudonymKey({self.period_ms} ms, since {self.since_ms})"

    def is_over(self, now_ms: int) -> bool:
        """Tell whether its time has passed."""
        return now_ms - self.since_ms >= self.period_ms


class _State(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    counter: int
    alg: Algorithm
    signing: bytes
    age_identity: str
    index_key: bytes
    tombstone_key: bytes
    roots: tuple[tuple[str, bytes], ...]
    pseudonyms: tuple[PseudonymKey, ...] = ()


_decoder: Final = msgspec.msgpack.Decoder(_State)


class Keystore:
    """The open keystore; made by ``create`` or ``open``. Changed by one thread after the other, read by any.

    ``sound`` says whether both slots hold the same.
    """

    def __init__(self, path: Path, state: _State, *, sound: bool = True) -> None:
        self.sound = sound
        self._path = path
        self._state = state
        self._key = _signing_key(state)
        self._public = public_jwk(self._key)
        self.kid = thumbprint(self._public)
        self._identity: Identity | None = None
        self._changing = threading.Lock()

    protection: Final = "software"

    @classmethod
    def create(
        cls, path: Path, *, random: RandomBytes = secrets.token_bytes, signing: Algorithm = "EdDSA"
    ) -> "Keystore":
        """Make all keys and write them to a new file, durably.

        Raises ``ConfigError`` if the file exists: keys are never overwritten by new ones.
        """
        state = _State(
            counter=1,
            alg=signing,
            signing=random(KEY_BYTES) if signing == "EdDSA" else _p256_scalar(random),
            age_identity=age.generate_identity(post_quantum=True, random=random).to_text(),
            index_key=random(KEY_BYTES),
            tombstone_key=random(KEY_BYTES),
            roots=(_pair(new_root(random)),),
        )
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_DSYNC, FILE_MODE)
        except FileExistsError:
            raise ConfigError(
                f"{path}: a keystore is here already", hint="keep it; a device is set up once (privacy-agent doctor)"
            ) from None
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}", hint="create the folder as the agent's user") from error
        try:
            with translated_space():
                _fill(fd)
                for offset in SLOT_OFFSETS:
                    _write_slot(fd, offset, state)
        finally:
            os.close(fd)
        sync_folder(path.parent)
        return cls(path, state)

    @classmethod
    def open(cls, path: Path, *, mend: bool = True) -> "Keystore":
        """Read the file; one damaged or older slot is made good from the other, or with ``mend`` off left as it is.

        Raises ``ConfigError`` when it is absent or others may read it, ``CorruptError`` when both slots are damaged.
        """
        fd = _open(path)
        try:
            found = [_read_slot(fd, offset) for offset in SLOT_OFFSETS]
            whole = [state for state in found if state is not None]
            if not whole:
                raise CorruptError(
                    f"{path}: both copies of the keystore are damaged",
                    hint="restore this file and the vault folder together from the same backup; "
                    "without one, set the device up anew: privacy-agent init",
                )
            state = max(whole, key=lambda state: state.counter)
            if mend:
                for offset, copy in zip(SLOT_OFFSETS, found, strict=True):
                    if copy != state:  # also finishes a destroy_root that was cut between its two slots
                        _write_slot(fd, offset, state)
        finally:
            os.close(fd)
        return cls(path, state, sound=mend or all(copy == state for copy in found))

    @staticmethod
    def destroy(path: Path) -> None:
        """Overwrite both copies of every key, each read back; an absent file is fine. The file stays, and says so.

        If power fails between the two, ``is_destroyed`` is true already: whoever asks first comes back to this line.
        """
        if not path.exists():
            return
        fd = _open(path)
        try:
            for offset in SLOT_OFFSETS:
                _put(fd, offset, _DESTROYED)
        finally:
            os.close(fd)

    @staticmethod
    def is_destroyed(path: Path) -> bool:
        """Tell whether ``destroy`` was begun: then nothing that these keys opened will ever be opened again."""
        if not path.exists():
            return False
        fd = _open(path)
        try:
            return any(os.pread(fd, SLOT_BYTES, offset) == _DESTROYED for offset in SLOT_OFFSETS)
        finally:
            os.close(fd)

    @property
    def alg(self) -> Algorithm:
        """The signing key's algorithm, pinned for ever."""
        return self._state.alg

    def public_jwk(self) -> dict[str, str]:
        """Return the public signing key (``docs/protocol.md`` section 3)."""
        return dict(self._public)

    @property
    def sign(self) -> Callable[[bytes], bytes]:
        """The signing function: bytes in, raw JWS signature out (RFC 8037, or RFC 7518 section 3.4)."""
        return lambda data: raw_signature(self._key, data)

    def recipient(self) -> str:
        """Return the device's age recipient, post-quantum; commands to it are sealed to this."""
        return self.identities()[0].recipient().to_text()

    def identities(self) -> "tuple[Identity, ...]":
        """Return what opens messages to the device."""
        if self._identity is None:
            self._identity = age.parse_identity(self._state.age_identity)
        return (self._identity,)

    def index_key(self) -> bytes:
        """Return the key of the encrypted index."""
        return self._state.index_key

    def tombstone_key(self) -> bytes:
        """Return the key of the hashes that tombstones hold."""
        return self._state.tombstone_key

    def pseudonym_keys(self) -> tuple[PseudonymKey, ...]:
        """Return the keys of pseudonyms that exist."""
        return self._state.pseudonyms

    def rotate_pseudonyms(
        self, periods_ms: Iterable[int], *, now_ms: int, random: RandomBytes = secrets.token_bytes
    ) -> None:
        """Have one key for each rotation period: those whose time has passed, or that is none of these, are destroyed.

        ``now_ms`` is agent time. One slot is written at a time, each read back: if power fails between them, ``open``
        finishes. Where nothing is due nothing is written.
        """
        with self._changing:
            wanted = set(periods_ms)
            kept = {one.period_ms: one for one in self._state.pseudonyms if not one.is_over(now_ms)}
            keys = tuple(
                kept.get(period_ms) or PseudonymKey(period_ms, now_ms, random(KEY_BYTES))
                for period_ms in sorted(wanted)
            )
            if keys != self._state.pseudonyms:
                self._write(msgspec.structs.replace(self._state, pseudonyms=keys))

    def roots(self) -> tuple[Root, ...]:
        """Return the roots that exist; the index says which one is current."""
        return tuple(Root(root_id, key) for root_id, key in self._state.roots)

    def stage_root(self, root: Root) -> None:
        """Write the next root beside the current one, in both slots, each read back (step 2)."""
        with self._changing:
            assert len(self._state.roots) < ROOTS_MAX, "another rotation is under way"  # noqa: S101 - a caller's mistake
            self._write(msgspec.structs.replace(self._state, roots=(*self._state.roots, _pair(root))))

    def destroy_root(self, root_id: str) -> None:
        """Overwrite a root, one slot at a time, each read back (step 5); an absent one is fine."""
        with self._changing:
            roots = tuple(pair for pair in self._state.roots if pair[0] != root_id)
            assert roots, "the last root"  # noqa: S101 - a caller's mistake
            if roots != self._state.roots:
                self._write(msgspec.structs.replace(self._state, roots=roots))

    def _write(self, changed: _State) -> None:
        """Write another state, one slot at a time; the caller holds the lock."""
        state = msgspec.structs.replace(changed, counter=self._state.counter + 1)
        fd = _open(self._path)
        try:
            for offset in SLOT_OFFSETS:
                # If power fails within this line, the other slot is whole: the old state before the first round, the
                # new one after it.
                _write_slot(fd, offset, state)
        finally:
            os.close(fd)
        self._state = state


def _pair(root: Root) -> tuple[str, bytes]:
    return root.id, root.key


def _signing_key(state: _State) -> Ed25519PrivateKey | EllipticCurvePrivateKey:
    if state.alg == "EdDSA":
        return Ed25519PrivateKey.from_private_bytes(state.signing)
    return derive_private_key(int.from_bytes(state.signing), SECP256R1())


def _p256_scalar(random: RandomBytes) -> bytes:
    for _ in range(_RANDOM_TRIES):  # the chance that one try fails is below 2 to the -32
        scalar = random(KEY_BYTES)
        if 0 < int.from_bytes(scalar) < _P256_ORDER:
            return scalar
    raise AssertionError("the random source does not give random bytes")


def _open(path: Path) -> int:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_DSYNC | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: no keystore", hint="set the device up: privacy-agent init --owner owner.pub"
        ) from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="run as the agent's user") from error
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)  # no read-ahead, so that a write is one page and not a large unit
    if os.fstat(fd).st_mode & 0o077:
        os.close(fd)
        raise ConfigError(f"{path}: others may read the keystore", hint=f"chmod 600 {path}; then replace its keys")
    return fd


def _fill(fd: int) -> None:
    # Real blocks, so that no later write allocates: an overwrite must land on the bytes that it replaces.
    zeros = bytes(1024 * 1024)
    for start in range(0, FILE_BYTES, len(zeros)):
        os.pwrite(fd, zeros[: FILE_BYTES - start], start)
    os.fsync(fd)


def _write_slot(fd: int, offset: int, state: _State) -> None:
    body = msgspec.msgpack.encode(state)
    slot = _MAGIC + len(body).to_bytes(_LENGTH_BYTES) + body
    slot = slot.ljust(SLOT_BYTES - _SUM_BYTES, b"\0")
    assert len(slot) == SLOT_BYTES - _SUM_BYTES  # noqa: S101 - the state has a fixed, small size
    _put(fd, offset, slot + hashlib.sha256(slot).digest())


def _put(fd: int, offset: int, slot: bytes) -> None:
    written = os.pwrite(fd, slot, offset)  # on the medium when it returns: the file was opened with O_DSYNC
    # So that the read asks the medium; of the whole file, because the kernel may keep units that a range only cuts.
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    if written != SLOT_BYTES or os.pread(fd, SLOT_BYTES, offset) != slot:
        raise OSError("the keystore's medium did not keep what was written")


def _read_slot(fd: int, offset: int) -> _State | None:
    slot = os.pread(fd, SLOT_BYTES, offset)
    content, checksum = slot[:-_SUM_BYTES], slot[-_SUM_BYTES:]
    if len(slot) != SLOT_BYTES or hashlib.sha256(content).digest() != checksum or not content.startswith(_MAGIC):
        return None
    start = len(_MAGIC) + _LENGTH_BYTES
    length = int.from_bytes(content[len(_MAGIC) : start])
    try:
        return _decoder.decode(content[start : start + length])
    except (msgspec.DecodeError, UnicodeError):
        return None
