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

Without a secure element ``protection`` says so in every receipt: ``software``. What a disk may keep of overwritten
blocks is beyond that (``docs/erasure-statement.md``).

With a TPM (``agent/element/``) the signing key is made in it and signs in it, and each slot holds the state encrypted
under a key that the TPM gives out only while its counter equals a value. A change that destroys something has a new
such key, in the steps that the code quotes:

    1 seal · 2 ahead · 3 raise · 4 behind

1. *Seal.* A new key is sealed to the counter's next value. Nothing is written: if power fails, nothing has happened.
2. *Ahead.* The new state goes, under that key, into the first slot, which is read back. If power fails, the counter
   still says that the second slot is current, and ``open`` writes it over the first.
3. *Raise.* The counter is raised. From here on no TPM opens the second slot, nor any copy that was ever made of this
   file. If power fails, the counter says that the first slot is current, and ``open`` finishes.
4. *Behind.* The second slot is overwritten with the same.

So what is destroyed stays destroyed when disk and file are put back, and an index from before the last change names a
root that is gone: it is refused. How often the counter may be raised is bounded (``agent/element/wear.py``): what is
destroyed beyond that is overwritten in the file alone, receipts say ``software``, and ``settle`` raises the counter
once for all of it. A change that destroys nothing (step 2 of forgetting) has the same key as before.
"""

import contextlib
import errno
import hashlib
import os
import secrets
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    EllipticCurvePublicNumbers,
    derive_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from agent import age
from agent.access import denied
from agent.element import TpmSettings, open_element
from agent.element.wear import BURST, Wear
from agent.envelope.jws import public_jwk, raw_signature, thumbprint
from agent.errors import ConfigError, CorruptError
from agent.files import FILE_MODE, sync_folder, translated_space
from agent.keytree import KEY_BYTES, Root, new_root
from agent.model import RandomBytes

if TYPE_CHECKING:
    from agent.age import Identity
    from agent.element.tpm import Tpm

SLOT_BYTES: Final = 4096
"""One page of every common file system and flash."""

SLOT_OFFSETS: Final = (0, 1024 * 1024)
"""1 MiB apart, so that no page or track holds both."""

FILE_BYTES: Final = SLOT_OFFSETS[1] + SLOT_BYTES

ROOTS_MAX: Final = 2
"""The current root and, between step 2 and step 5, the next."""

_MAGIC: Final = b"pv1-keystore-1\n\x00"
_TPM_MAGIC: Final = b"pv1-keystore-t\n\x00"
_DESTROYED: Final = b"pv1-keystore-0\n\x00".ljust(SLOT_BYTES, b"\0")
"""What a slot is overwritten with when the device becomes unowned: it says that the rest is still to be done."""

_SUM_BYTES: Final = 32
_LENGTH_BYTES: Final = 4
_NONCE_BYTES: Final = 12
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
    wear: Wear = Wear()
    owed: bool = False


class _Sealed(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a slot holds where there is a TPM: the state in ``box``, under the key in ``lid``."""

    counter: int
    count: int
    signing: bytes
    lid: bytes
    box: bytes

    @property
    def about(self) -> bytes:
        """What the box is bound to."""
        return msgspec.msgpack.encode((self.counter, self.count, self.signing, self.lid))


class _Lid(msgspec.Struct, frozen=True):
    """The key of the slots, that key sealed, the value of the counter that it is sealed to, the wrapped signing key."""

    key: bytes
    sealed: bytes
    count: int
    signing: bytes

    def close_over(self, state: _State, random: RandomBytes) -> _Sealed:
        """Encrypt a state."""
        bare = _Sealed(state.counter, self.count, self.signing, self.sealed, b"")
        nonce = random(_NONCE_BYTES)
        box = nonce + ChaCha20Poly1305(self.key).encrypt(nonce, msgspec.msgpack.encode(state), bare.about)
        return msgspec.structs.replace(bare, box=box)


_decoder: Final = msgspec.msgpack.Decoder(_State)
_sealed_decoder: Final = msgspec.msgpack.Decoder(_Sealed)


def _pass(_step: int) -> None:
    return None


class Keystore:
    """The open keystore; made by ``create`` or ``open``. Changed by one thread after the other, read by any.

    ``sound`` says whether both slots hold the same. ``at`` is told each step's number as the step ends: a test cuts the
    power there.
    """

    def __init__(
        self,
        path: Path,
        state: _State,
        *,
        sound: bool = True,
        tpm: "Tpm | None" = None,
        lid: _Lid | None = None,
        at: Callable[[int], None] = _pass,
    ) -> None:
        self.sound = sound
        self._path = path
        self._state = state
        self._tpm = tpm
        self._lid = lid
        self._at = at
        self._now_ms = state.wear.counted_ms
        self._key = _signing_key(state) if lid is None else _public_key(lid.signing)
        self._public = public_jwk(self._key)
        self.kid = thumbprint(self._public)
        self._identity: Identity | None = None
        self._changing = threading.Lock()
        self._is_cut = False

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        random: RandomBytes = secrets.token_bytes,
        signing: Algorithm = "EdDSA",
        tpm: TpmSettings | None = None,
        at: Callable[[int], None] = _pass,
    ) -> "Keystore":
        """Make all keys and write them to a new file, durably; with ``tpm`` sealed by it, and signing in it (ES256).

        Raises ``ConfigError`` if the file exists: keys are never overwritten by new ones; also where there is no TPM.
        If power fails before the file is there, the counter is, and the next call takes it up.
        """
        _require_none(path)
        if tpm is None:
            state = _new_state(random, signing, random(KEY_BYTES) if signing == "EdDSA" else _p256_scalar(random))
            _write_new(path, _plain_slot(state))
            return cls(path, state, at=at)
        element = open_element(tpm)
        try:
            count = element.make_counter(str(path.absolute()))
            state = _new_state(random, "ES256", random(KEY_BYTES))
            key = random(KEY_BYTES)
            lid = _Lid(key, element.seal(key, count=count), count, element.make_signing_key(state.signing))
            _write_new(path, _sealed_slot(lid.close_over(state, random)))
        except BaseException:
            element.close()
            raise
        return cls(path, state, tpm=element, lid=lid, at=at)

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        tpm: TpmSettings | None = None,
        mend: bool = True,
        at: Callable[[int], None] = _pass,
    ) -> "Keystore":
        """Read the file; one damaged or older slot is made good from the other, or with ``mend`` off left as it is.

        Raises ``ConfigError`` when it is absent, others may read it, it was made for another engine than ``tpm`` says
        or the TPM is not there or refuses, ``CorruptError`` when both slots are damaged, or are a copy from before the
        TPM's last raise.
        """
        fd = _open(path)
        try:
            bodies = [_read_slot(fd, offset) for offset in SLOT_OFFSETS]
            if not any(bodies):
                raise CorruptError(
                    f"{path}: both copies of the keystore are damaged",
                    hint="what only they opened is lost; what was exported or uploaded opens for its owner as before; "
                    "move the state folder away, then: privacy-agent init",
                )
            _require_engine(path, bodies, tpm)
            if tpm is None:
                return cls._open_plain(path, fd, bodies, mend=mend, at=at)
            element = open_element(tpm)
            try:
                return cls._open_sealed(path, fd, bodies, element=element, mend=mend, at=at)
            except BaseException:
                element.close()
                raise
        finally:
            os.close(fd)

    @classmethod
    def _open_plain(
        cls, path: Path, fd: int, bodies: "list[_Body | None]", *, mend: bool, at: Callable[[int], None]
    ) -> "Keystore":
        states = [body if isinstance(body, _State) else None for body in bodies]
        state = max((one for one in states if one is not None), key=lambda one: one.counter)
        if mend:
            for offset, copy in zip(SLOT_OFFSETS, states, strict=True):
                if copy != state:  # also finishes a destroy_root that was cut between its two slots
                    _put(fd, offset, _plain_slot(state))
        return cls(path, state, sound=mend or all(copy == state for copy in states), at=at)

    @classmethod
    def _open_sealed(
        cls,
        path: Path,
        fd: int,
        bodies: "list[_Body | None]",
        *,
        element: "Tpm",
        mend: bool,
        at: Callable[[int], None],
    ) -> "Keystore":
        count = element.count()
        copies = [body if isinstance(body, _Sealed) else None for body in bodies]
        current = [one for one in copies if one is not None and one.count == count]
        if not current:
            highest = max(one.count for one in copies if one is not None)
            raise CorruptError(
                f"{path}: this keystore is of change {highest}, and the TPM's counter is at {count}: "
                + ("it is a copy from before something was destroyed" if highest < count else "it is another device's"),
                hint="put back the newest file, beside its own TPM; if it is lost, so is what the device held: "
                f"move {path.parent} away, then: privacy-agent init",
            )
        sealed = max(current, key=lambda one: one.counter)
        lid = _Lid(element.unseal(sealed.lid, count=count), sealed.lid, count, sealed.signing)
        state = _opened_box(path, sealed, lid.key)
        if mend:
            for offset, copy in zip(SLOT_OFFSETS, copies, strict=True):
                if copy != sealed:  # damaged, or cut behind step 2 or 3
                    _put(fd, offset, _sealed_slot(sealed))
        sound = mend or all(copy == sealed for copy in copies)
        return cls(path, state, sound=sound, tpm=element, lid=lid, at=at)

    def close(self) -> None:
        """Let go of the TPM; nothing is signed or changed any more."""
        if self._tpm is not None:
            self._tpm.close()

    @staticmethod
    def destroy(path: Path, *, tpm: TpmSettings | None = None) -> None:
        """Overwrite both copies of every key, each read back; an absent file is fine. The file stays, and says so.

        With a TPM its counter is raised and removed after that: then no older copy of the file opens any more. If power
        fails behind the first, ``is_destroyed`` is true already: whoever asks first comes back to this line. The same
        where the TPM does not answer (``ConfigError``, ``OSError``): of the file itself nothing is left by then.
        """
        if not path.exists():
            return
        fd = _open(path)
        try:
            for offset in SLOT_OFFSETS:
                _put(fd, offset, _DESTROYED)
        finally:
            os.close(fd)
        if tpm is not None:
            with contextlib.closing(open_element(tpm)) as element:
                element.remove_counter()

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
    def protection(self) -> Literal["software", "tpm"]:
        """Say what keeps the keys: ``tpm`` only where no older copy of the file opens anything that was destroyed."""
        return "tpm" if self._tpm is not None and not self._state.owed else "software"

    @property
    def engine(self) -> Literal["software", "tpm"]:
        """Say what the keystore was made with."""
        return "software" if self._tpm is None else "tpm"

    @property
    def wear(self) -> Wear:
        """How often the TPM's counter may still be raised."""
        return self._state.wear.at(self._now_ms)

    @property
    def anchor_is_due(self) -> bool:
        """Tell whether the roots are to be changed so that an index of yesterday is refused when it is put back."""
        return self._tpm is not None and self.wear.anchor_is_due(self._now_ms)

    @property
    def spares_a_raise(self) -> bool:
        """Tell whether the roots may change for more than what is destroyed: a TPM's raises are half left to that."""
        return self._tpm is None or self.wear.left > BURST // 2

    def settle(self, now_ms: int) -> None:
        """Count the time that has passed, and raise the TPM's counter for what was destroyed without; else nothing."""
        with self._changing:
            self._now_ms = max(self._now_ms, now_ms)
            if self._state.owed and self.wear.left:
                self._write(self._state, destroys=True)

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
        return self._sign

    def _sign(self, data: bytes) -> bytes:
        if self._tpm is not None and self._lid is not None:
            return self._tpm.sign(self._lid.signing, data, secret=self._state.signing)
        assert not isinstance(self._key, EllipticCurvePublicKey)  # noqa: S101 - without a TPM the key is here
        return raw_signature(self._key, data)

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
                destroys = not set(self._state.pseudonyms) <= set(keys)
                self._now_ms = max(self._now_ms, now_ms)
                self._write(msgspec.structs.replace(self._state, pseudonyms=keys), destroys=destroys)

    def roots(self) -> tuple[Root, ...]:
        """Return the roots that exist; the index says which one is current."""
        return tuple(Root(root_id, key) for root_id, key in self._state.roots)

    def stage_root(self, root: Root) -> None:
        """Write the next root beside the current one, in both slots, each read back (step 2)."""
        with self._changing:
            assert len(self._state.roots) < ROOTS_MAX, "another rotation is under way"  # noqa: S101 - a caller's mistake
            staged = msgspec.structs.replace(self._state, roots=(*self._state.roots, _pair(root)))
            self._write(staged, destroys=False)

    def destroy_root(self, root_id: str) -> None:
        """Overwrite a root, one slot at a time, each read back (step 5); an absent one is fine."""
        with self._changing:
            roots = tuple(pair for pair in self._state.roots if pair[0] != root_id)
            assert roots, "the last root"  # noqa: S101 - a caller's mistake
            if roots != self._state.roots:
                self._write(msgspec.structs.replace(self._state, roots=roots), destroys=True)

    def _write(self, changed: _State, *, destroys: bool) -> None:
        """Write another state, one slot at a time; the caller holds the lock."""
        if self._is_cut:
            # Whether the counter was raised is not known here: what is written now could be what nothing opens.
            raise OSError(errno.EIO, f"{self._path}: a change of the keystore was cut; the next start finishes it")
        state = msgspec.structs.replace(changed, counter=self._state.counter + 1)
        if self._tpm is not None and self._lid is not None:
            if destroys and self.wear.left:
                self._write_raised(state, self._tpm, self._lid)
                return
            state = msgspec.structs.replace(state, wear=self.wear, owed=state.owed or destroys)
            slot = _sealed_slot(self._lid.close_over(state, secrets.token_bytes))
        else:
            slot = _plain_slot(state)
        fd = _open(self._path)
        try:
            for offset in SLOT_OFFSETS:
                # If power fails within this line, the other slot is whole: the old state before the first round, the
                # new one after it.
                _put(fd, offset, slot)
        finally:
            os.close(fd)
        self._state = state

    def _write_raised(self, changed: _State, tpm: "Tpm", lid: _Lid) -> None:
        state = msgspec.structs.replace(changed, wear=self.wear.raised(self._now_ms), owed=False)
        # Step 1. If power fails here, nothing has happened.
        key, count = secrets.token_bytes(KEY_BYTES), lid.count + 1
        following = _Lid(key, tpm.seal(key, count=count), count, lid.signing)
        slot = _sealed_slot(following.close_over(state, secrets.token_bytes))
        self._at(1)
        ahead, behind = SLOT_OFFSETS
        fd = _open(self._path)
        self._is_cut = True
        try:
            # Step 2. If power fails here, the second slot is current, and opening writes it over the first.
            _put(fd, ahead, slot)
            self._at(2)
            # Step 3. If power fails before this is durable, the same; after it the first slot is the only one.
            tpm.raise_counter()
            self._at(3)
            # Step 4. If power fails here, opening writes the first slot over the second.
            _put(fd, behind, slot)
            self._at(4)
        finally:
            os.close(fd)
        self._state, self._lid, self._is_cut = state, following, False


def _pair(root: Root) -> tuple[str, bytes]:
    return root.id, root.key


def _signing_key(state: _State) -> Ed25519PrivateKey | EllipticCurvePrivateKey:
    if state.alg == "EdDSA":
        return Ed25519PrivateKey.from_private_bytes(state.signing)
    return derive_private_key(int.from_bytes(state.signing), SECP256R1())


def _public_key(wrapped: bytes) -> EllipticCurvePublicKey:
    from agent.element.tpm import public_point  # noqa: PLC0415 - whoever has no TPM loads nothing of it

    x, y = public_point(wrapped)
    return EllipticCurvePublicNumbers(x, y, SECP256R1()).public_key()


def _new_state(random: RandomBytes, signing: Algorithm, secret: bytes) -> _State:
    return _State(
        counter=1,
        alg=signing,
        signing=secret,
        age_identity=age.generate_identity(post_quantum=True, random=random).to_text(),
        index_key=random(KEY_BYTES),
        tombstone_key=random(KEY_BYTES),
        roots=(_pair(new_root(random)),),
    )


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
    except PermissionError as error:
        raise denied(path, secret=True) from error
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="run as the agent's user") from error
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)  # no read-ahead, so that a write is one page and not a large unit
    if os.fstat(fd).st_mode & 0o077:
        os.close(fd)
        raise ConfigError(
            f"{path}: others may read the keystore",
            hint=f"chmod 600 {path}; if others use this machine or have copies of it, have the device make new keys: "
            "privacy-owner erase-all, then privacy-agent init (docs/operating.md, Recovery)",
        )
    return fd


def _fill(fd: int) -> None:
    # Real blocks, so that no later write allocates: an overwrite must land on the bytes that it replaces.
    zeros = bytes(1024 * 1024)
    for start in range(0, FILE_BYTES, len(zeros)):
        os.pwrite(fd, zeros[: FILE_BYTES - start], start)
    os.fsync(fd)


def _require_none(path: Path) -> None:
    if path.exists():
        raise ConfigError(
            f"{path}: a keystore is here already", hint="keep it; a device is set up once (privacy-agent doctor)"
        )


def _write_new(path: Path, slot: bytes) -> None:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_DSYNC, FILE_MODE)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="create the folder as the agent's user") from error
    try:
        with translated_space():
            _fill(fd)
            for offset in SLOT_OFFSETS:
                _put(fd, offset, slot)
    finally:
        os.close(fd)
    sync_folder(path.parent)


def _require_engine(path: Path, bodies: "list[_Body | None]", tpm: TpmSettings | None) -> None:
    is_sealed = any(isinstance(body, _Sealed) for body in bodies)
    if is_sealed == (tpm is not None):
        return
    made, wanted = ("with a TPM", "software") if is_sealed else ("without a TPM", "tpm")
    raise ConfigError(
        f'{path}: this keystore was made {made}, and agent.toml says engine = "{wanted}"',
        hint=f'write engine = "{"tpm" if is_sealed else "software"}" under [keystore]; keys are never moved from one '
        "to the other: for that the device leaves its owner (privacy-owner erase-all) and is set up anew",
    )


def _opened_box(path: Path, sealed: _Sealed, key: bytes) -> _State:
    nonce, box = sealed.box[:_NONCE_BYTES], sealed.box[_NONCE_BYTES:]
    try:
        return _decoder.decode(ChaCha20Poly1305(key).decrypt(nonce, box, sealed.about))
    except (InvalidTag, ValueError, msgspec.DecodeError) as error:
        raise CorruptError(
            f"{path}: the keystore does not open: it was changed", hint="put back the newest file, beside its own TPM"
        ) from error


_Body = _State | _Sealed


def _plain_slot(state: _State) -> bytes:
    return _slot(_MAGIC, msgspec.msgpack.encode(state))


def _sealed_slot(sealed: _Sealed) -> bytes:
    return _slot(_TPM_MAGIC, msgspec.msgpack.encode(sealed))


def _slot(magic: bytes, body: bytes) -> bytes:
    slot = magic + len(body).to_bytes(_LENGTH_BYTES) + body
    slot = slot.ljust(SLOT_BYTES - _SUM_BYTES, b"\0")
    assert len(slot) == SLOT_BYTES - _SUM_BYTES  # noqa: S101 - the state has a fixed, small size
    return slot + hashlib.sha256(slot).digest()


def _put(fd: int, offset: int, slot: bytes) -> None:
    written = os.pwrite(fd, slot, offset)  # on the medium when it returns: the file was opened with O_DSYNC
    # So that the read asks the medium; of the whole file, because the kernel may keep units that a range only cuts.
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    if written != SLOT_BYTES or os.pread(fd, SLOT_BYTES, offset) != slot:
        raise OSError("the keystore's medium did not keep what was written")


def _has_keys(state: _State) -> bool:
    """Tell whether what should be keys can be: the sum says only that somebody wrote it so."""
    keys = [state.signing, state.index_key, state.tombstone_key, *(key for _, key in state.roots)]
    keys += [one.key for one in state.pseudonyms]
    signs = state.alg == "EdDSA" or 0 < int.from_bytes(state.signing) < _P256_ORDER
    return signs and bool(state.roots) and all(len(key) == KEY_BYTES for key in keys)


def _read_slot(fd: int, offset: int) -> _Body | None:
    slot = os.pread(fd, SLOT_BYTES, offset)
    content, checksum = slot[:-_SUM_BYTES], slot[-_SUM_BYTES:]
    if len(slot) != SLOT_BYTES or hashlib.sha256(content).digest() != checksum:
        return None
    start = len(_MAGIC) + _LENGTH_BYTES
    length = int.from_bytes(content[len(_MAGIC) : start])
    body = content[start : start + length]
    try:
        if content.startswith(_MAGIC):
            state = _decoder.decode(body)
            return state if _has_keys(state) else None
        return _sealed_decoder.decode(body) if content.startswith(_TPM_MAGIC) else None
    except (msgspec.DecodeError, UnicodeError):
        return None
