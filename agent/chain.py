"""The audit chain as bytes: form of a line, its hash, checkpoints, and the judge of a whole log. No files, no SQL.

An exported log is JSON Lines in UTF-8, oldest first, in two forms:

- an **entry**: ``{"actor","at","command","detail","kind","object","prev","rule","seq","trusted"}``, members in this
  (alphabetic) order, no white space. ``seq`` counts 1, 2, …; ``at`` is agent time in Unix milliseconds and ``trusted``
  what the agent thought of its clock; ``actor`` is a key id, ``device`` or ``local``; ``object`` and ``command`` are
  random ids or empty; ``detail`` holds codes and counters. ``prev`` is the hash of the line before (64 zeros for the
  first). The hash of a line is SHA-256, in lower-case hex, over ``pv1.audit``, a line feed and the line's bytes.
- a **checkpoint**: ``{"checkpoint":{"alg","at","hash","kid","seq"},"sig"}``: the device's signature (base64url; Ed25519
  or ES256 as raw R and S) over ``pv1.audit-checkpoint``, a line feed and the bytes of the inner object. It follows the
  entry that it names.

A log may begin after 1 when old entries were dropped; then the first checkpoint vouches for what is before it. Nothing
in a log is personal: no content, names, paths or plain hashes of recordings.
"""

import base64
import hashlib
from collections.abc import Callable, Iterable
from typing import Any, Final, Literal

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils
from cryptography.hazmat.primitives.hashes import SHA256

from agent.errors import ConfigError, CorruptError
from agent.model import Moment

EventKind = Literal[
    "started", "stopped", "owner_set", "keyset_accepted", "policy_changed", "clock_changed", "camera_enrolled",
    "admitted", "ingest_refused", "source_given_up", "upload_begun", "stored", "lost", "erase_asked",
    "keys_rotated", "erased", "remote_erased", "command_accepted", "command_refused", "command_waiting",
    "command_approved", "command_done", "exported", "inventory_told", "alert_raised", "alert_cleared",
    "corrupt_object", "mended", "mark_moved", "camera_trusted", "camera_changed", "camera_forgotten", "source_left",
    "camera_paired", "camera_refused", "link_key_made", "collection_switched", "collection_confirmed", "freeze_put",
    "freeze_lifted", "freeze_shortened", "trust_ended", "owner_left", "rectified",
    "remote_rectified", "purpose_said", "do_not_track", "narrowed", "resealed", "service_changed", "counts_told",
    "integration_changed",
    "handed_out",
]  # fmt: skip
"""Everything that is written down; the list is closed."""

LINE_MAX_BYTES: Final = 4096
DETAIL_MAX: Final = 16
"""Members of ``detail`` at most."""

_GENESIS: Final = "0" * 64
_ENTRY_DOMAIN: Final = b"pv1.audit\n"
_CHECKPOINT_DOMAIN: Final = b"pv1.audit-checkpoint\n"
_P256_BYTES: Final = 32


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """What happened; ``detail`` holds codes and counters only, never content, names or plain hashes."""

    kind: EventKind
    rule: str = ""
    actor: str = "device"
    object: str = ""
    command: str = ""
    detail: dict[str, str | int] = {}


class Head(msgspec.Struct, frozen=True):
    """The last entry: its number (0 for an empty log) and its line's hash."""

    seq: int
    hash: str


EMPTY: Final = Head(0, _GENESIS)


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of the log, read back."""

    actor: str
    at: int
    command: str
    detail: dict[str, str | int]
    kind: EventKind
    object: str
    prev: str
    rule: str
    seq: int
    trusted: bool


class ShortLogError(CorruptError):
    """What is there holds, and entries are known to exist behind its end: an older copy, or one that was cut off."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """A log that holds: entries ``first`` to ``last`` in an unbroken chain.

    ``signed`` is the last entry that a checkpoint of the device vouches for. ``anchored`` tells whether the log
    reaches a head that was known from elsewhere (a receipt): without one, a log cut off at its end looks whole.
    """

    first: int
    last: int
    signed: int
    anchored: bool

    def sentence(self) -> str:
        """Say it for a person."""
        held = f"consistent from {self.first} up to {self.last}, signed up to {self.signed}"
        return f"{held}, {'anchored' if self.anchored else 'not anchored'}"


class _Inner(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    alg: Literal["EdDSA", "ES256"]
    at: int
    hash: str
    kid: str
    seq: int


class _Checkpoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    checkpoint: _Inner
    sig: str


_encoder: Final = msgspec.json.Encoder(order="deterministic")
_read_entry: Final = msgspec.json.Decoder(Entry)
_read_checkpoint: Final = msgspec.json.Decoder(_Checkpoint)


def entry_line(event: Event, *, head: Head, moment: Moment) -> bytes:
    """Return the line that follows ``head``; it has no line feed."""
    assert len(event.detail) <= DETAIL_MAX  # noqa: S101 - a caller's mistake, never input
    entry = Entry(
        actor=event.actor,
        at=moment.agent_ms,
        command=event.command,
        detail=event.detail,
        kind=event.kind,
        object=event.object,
        prev=head.hash,
        rule=event.rule,
        seq=head.seq + 1,
        trusted=moment.trusted,
    )
    line = _encoder.encode(entry)
    assert len(line) <= LINE_MAX_BYTES  # noqa: S101 - a caller's mistake, never input
    return line


def line_hash(line: bytes) -> str:
    """Return the hash that the next line names as ``prev``."""
    return hashlib.sha256(_ENTRY_DOMAIN + line).hexdigest()


def checkpoint_line(
    head: Head, sign: Callable[[bytes], bytes], *, alg: Literal["EdDSA", "ES256"], kid: str, moment: Moment
) -> bytes:
    """Return a signed checkpoint of ``head``; ``sign`` returns raw JWS signature bytes."""
    inner = _Inner(alg=alg, at=moment.agent_ms, hash=head.hash, kid=kid, seq=head.seq)
    signature = sign(_CHECKPOINT_DOMAIN + _encoder.encode(inner))
    sig = base64.urlsafe_b64encode(signature).rstrip(b"=").decode("ascii")
    return _encoder.encode(_Checkpoint(checkpoint=inner, sig=sig))


def verify_lines(lines: Iterable[bytes], *, jwk: dict[str, str], anchor: Head | None = None) -> Verdict:
    """Judge a log; raises ``CorruptError`` that names the first line that does not hold.

    ``jwk`` is the device's public signing key, ``anchor`` a head known from elsewhere, such as a receipt's
    ``audit_head``. Any edit, drop, reorder or insertion up to the last checkpoint is found; so is one after it unless
    the whole tail was remade, and a cut at the end when ``anchor`` lies beyond it.
    """
    judge = Judge(jwk=jwk, anchor=anchor)
    judge.take(lines)
    return judge.verdict()


class Judge:
    """Judges as ``verify_lines`` does a log that comes in parts: the longest needs no more memory than one part."""

    def __init__(self, *, jwk: dict[str, str], anchor: Head | None = None) -> None:
        self._verify = _verifier(jwk)
        self._anchor = anchor
        self._number = 0
        self._head: Head | None = None
        self._first = 0
        self._signed = 0
        self._anchored = anchor is not None and anchor.seq == 0

    def take(self, lines: Iterable[bytes]) -> None:
        """Judge the lines that follow; raises ``CorruptError`` that names the first that does not hold."""
        for raw in lines:
            self._number += 1
            line = raw.rstrip(b"\r\n")
            if len(line) > LINE_MAX_BYTES:
                raise CorruptError(f"line {self._number}: longer than {LINE_MAX_BYTES} bytes")
            try:
                self._take_line(line)
            except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
                raise CorruptError(f"line {self._number}: not a line of an audit log ({error})") from error
            except CorruptError as error:
                raise CorruptError(f"line {self._number}: {error.message}") from error

    def _take_line(self, line: bytes) -> None:
        if line.startswith(b'{"checkpoint"'):
            self._take_checkpoint(line)
        else:
            self._take_entry(line)

    def _take_entry(self, line: bytes) -> None:
        entry = _read_entry.decode(line)
        if _encoder.encode(entry) != line:
            raise CorruptError("the entry is not in its one form")
        if self._head is None:
            self._first = entry.seq
            if entry.seq < 1 or (entry.seq == 1 and entry.prev != _GENESIS):
                raise CorruptError("the first entry does not begin a log")
        elif entry.seq != self._head.seq + 1:
            raise CorruptError(f"entry {entry.seq} follows entry {self._head.seq}")
        elif entry.prev != self._head.hash:
            raise CorruptError(f"entry {self._head.seq} is not the one that entry {entry.seq} was written after")
        self._head = Head(entry.seq, line_hash(line))
        if self._anchor is not None and self._anchor.seq == entry.seq:
            if self._anchor.hash != self._head.hash:
                raise CorruptError(f"entry {entry.seq} is not the one that was anchored")
            self._anchored = True

    def _take_checkpoint(self, line: bytes) -> None:
        checkpoint = _read_checkpoint.decode(line)
        inner = checkpoint.checkpoint
        if _encoder.encode(checkpoint) != line:
            raise CorruptError("the checkpoint is not in its one form")
        if self._head is None or (inner.seq, inner.hash) != (self._head.seq, self._head.hash):
            raise CorruptError(f"the checkpoint of entry {inner.seq} does not stand after that entry")
        self._verify(inner, _CHECKPOINT_DOMAIN + _encoder.encode(inner), _from_base64url(checkpoint.sig))
        self._signed = inner.seq

    def verdict(self) -> Verdict:
        """Say what holds of all that was taken; raises ``CorruptError`` when its begin or its end does not."""
        last = 0 if self._head is None else self._head.seq
        if self._first > 1 and self._signed == 0:
            raise CorruptError("the log begins in the middle and no checkpoint vouches for it")
        verdict = Verdict(first=self._first, last=last, signed=self._signed, anchored=self._anchored)
        if self._anchor is not None and self._anchor.seq > last:
            known = f"it lacks entries {last + 1} to {self._anchor.seq}, which are known to exist"
            held = f"consistent from {self._first} up to {last}, signed up to {self._signed}"
            raise ShortLogError(
                f"{held}; {known}" if last else f"the log is empty; {known}",
                hint="get the newest log of the device: privacy-agent audit show --json; if this is the newest that it "
                "gives, entries were cut off",
            )
        return verdict


def _from_base64url(text: str) -> bytes:
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError as error:
        raise CorruptError("the checkpoint's signature is not base64url") from error
    if base64.urlsafe_b64encode(data).rstrip(b"=") != text.encode("utf-8"):
        raise CorruptError("the checkpoint's signature is not base64url")
    return data


def _verifier(jwk: dict[str, str]) -> Callable[[_Inner, bytes, bytes], None]:
    alg, check = _public_key(jwk)

    def verify(inner: _Inner, signed: bytes, signature: bytes) -> None:
        if inner.alg != alg:
            raise CorruptError("the checkpoint names another algorithm than the device's key has")
        try:
            check(signature, signed)
        except InvalidSignature:
            raise CorruptError(f"the checkpoint of entry {inner.seq} is not signed by the device") from None

    return verify


def _public_key(jwk: dict[str, str]) -> tuple[str, Callable[[bytes, bytes], Any]]:
    try:
        if jwk["kty"] == "OKP" and jwk["crv"] == "Ed25519":
            return "EdDSA", ed25519.Ed25519PublicKey.from_public_bytes(_from_base64url(jwk["x"])).verify
        if jwk["kty"] == "EC" and jwk["crv"] == "P-256":
            x, y = (int.from_bytes(_from_base64url(jwk[name])) for name in ("x", "y"))
            key = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
            return "ES256", lambda signature, signed: key.verify(_to_der(signature), signed, ec.ECDSA(SHA256()))
    except (KeyError, ValueError, CorruptError) as error:
        raise ConfigError(f"not a public key: {error}", hint="use the jwk of the device's descriptor") from error
    raise ConfigError("a key of an unknown kind", hint="use the jwk of the device's descriptor")


def _to_der(raw: bytes) -> bytes:
    if len(raw) != 2 * _P256_BYTES:
        raise InvalidSignature
    return utils.encode_dss_signature(int.from_bytes(raw[:_P256_BYTES]), int.from_bytes(raw[_P256_BYTES:]))
