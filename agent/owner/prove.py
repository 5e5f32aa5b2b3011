"""``verify``: receipts, exports' manifests, key sets and audit logs judged offline; what does not hold is named.

An audit log is judged against the highest audit head that a receipt of its device stated: an edit, a drop, a reorder
and a cut at its end are then all found. An older copy and a log that was cut off look alike: neither is complete, and
what is said is what holds of it and what it lacks. Without a receipt that reaches it, a log is ``consistent``, ``not
anchored``.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from agent.chain import LINE_MAX_BYTES, Head, ShortLogError, verify_lines
from agent.clock import MS_PER_S
from agent.envelope import KIND, TYP, TYP_EXPORT, TYP_KEYSET, Descriptor, parse, parse_descriptor, read_keyset
from agent.envelope.kinds import MAX_MANIFEST_BYTES
from agent.errors import AgentError, ConfigError, CorruptError
from agent.owner import device as devices
from agent.owner.context import Context, add
from agent.owner.home import read_file
from agent.owner.manifest import read_manifest
from agent.owner.manifest import signer_of as manifest_signer_of
from agent.owner.receipt import jws_of, read_receipt, signer_of
from agent.shell.layout import clean, counted
from agent.shell.parser import Subparsers
from agent.shell.times import when

LOG_LINES_MAX: Final = 5_000_000
_PEEK_BYTES: Final = 32
_SIGNED_BYTES: Final = MAX_MANIFEST_BYTES
_NEXT: Final = "rely on nothing in it; fetch it again from where it came, and keep this one to compare"


def add_parsers(subparsers: Subparsers) -> None:
    """Register ``verify``."""
    verify = add(
        subparsers,
        "verify",
        summary="verify receipts and audit logs offline",
        example="privacy-agent audit show --json > log.jsonl && privacy-owner verify log.jsonl answer.bin",
        run=_verify,
    )
    verify.add_argument("file", nargs="+", metavar="FILE", help="receipt, audit log (JSON Lines), manifest or key set")
    verify.add_argument("--device", default="", metavar="NAME", help="default: the one in owner.toml")
    verify.add_argument("--descriptor", default="", metavar="FILE", help="judge by this device.jws; no home is needed")


def _verify(arguments: argparse.Namespace, context: Context) -> int:
    judge = _Judge(arguments, context)
    facts: list[dict[str, Any]] = []
    for name in arguments.file:
        try:
            told = judge.judge(Path(name))
        except CorruptError as error:
            facts.append({"file": name, "holds": False, "says": error.message})
            verdict = "NOT COMPLETE" if isinstance(error, ShortLogError) else "DOES NOT HOLD"
            context.note(f"{name}: {verdict}: {error.message}\n  next: {error.hint or _NEXT}")
            continue
        facts.append({"file": name, "holds": True, "says": told})
    context.say("\n".join(f"{fact['file']}: {fact['says']}" for fact in facts if fact["holds"]), facts)
    return 0 if all(fact["holds"] for fact in facts) else 1


class _Judge:
    """Judges files by one device's key, which is looked up when a file needs it."""

    def __init__(self, arguments: argparse.Namespace, context: Context) -> None:
        self._arguments = arguments
        self._context = context

    def judge(self, path: Path) -> str:
        """Return what holds; raises ``CorruptError`` for what does not."""
        start = _peek(path)
        if start.startswith((b"{", b"\n")) or not start:
            descriptor, head = self._device()
            return verify_lines(_lines(path), jwk=descriptor.jwk, anchor=head).sentence()
        raw = read_file(path, max_bytes=_SIGNED_BYTES)
        jws = raw.strip() if raw.startswith(b"eyJ") else self._unsealed(raw)
        if _is(jws, TYP_KEYSET):
            return self._key_set(jws)
        if _is(jws, TYP_EXPORT):
            descriptor = self._signer(path, manifest_signer_of(jws))
            manifest = read_manifest(jws, device=descriptor)
            return f"a manifest that {descriptor.name} signed, of {counted(len(manifest.objects))}"
        if not _is(jws, TYP["receipt"]):
            raise _nothing_known()
        descriptor = self._signer(path, signer_of(jws))
        receipt = read_receipt(jws, device=descriptor, kid="")
        signed = when(receipt.iat * MS_PER_S)
        return f"a receipt that {descriptor.name} signed at {signed}: {clean(receipt.verb)} {receipt.status}"

    def _unsealed(self, raw: bytes) -> bytes:
        if not raw.startswith((bytes((KIND["receipt"],)), b"age-encryption.org/")):
            raise _nothing_known()
        return jws_of(raw, kind="receipt", identities=self._context.home.identities())

    def _key_set(self, jws: bytes) -> str:
        root_jwk = self._context.home.owner().jwk
        try:
            keys = read_keyset(jws, root_jwk=root_jwk)
        except AgentError as error:
            raise CorruptError(error.message) from error
        return f"key set version {keys.version} of this owner, {counted(len(keys.keys), 'key')}"

    def _signer(self, path: Path, unverified_kid: str) -> Descriptor:
        """Return the device that a signed file is judged by: it names its key, a log does at its checkpoints alone."""
        if self._arguments.descriptor:
            return _descriptor(Path(self._arguments.descriptor))
        return devices.signer(
            self._context.home, self._arguments.device, unverified_kid=unverified_kid, what=str(path)
        ).descriptor

    def _device(self) -> tuple[Descriptor, Head | None]:
        if self._arguments.descriptor:
            return _descriptor(Path(self._arguments.descriptor)), None
        known = devices.pick(self._context.home, self._arguments.device)
        return known.descriptor, known.head()


def _nothing_known() -> CorruptError:
    return CorruptError(
        "neither a receipt, an audit log, a manifest nor a key set",
        hint="give what privacy-agent submit -o or audit show wrote, a manifest, or a keyset-N.jws",
    )


def _is(jws: bytes, typ: str) -> bool:
    try:
        parse(jws, typ=typ, max_bytes=_SIGNED_BYTES)
    except CorruptError:
        return False
    return True


def _descriptor(path: Path) -> Descriptor:
    try:
        descriptor = parse_descriptor(read_file(path))
    except CorruptError as error:
        raise ConfigError(f"{path}: {error.message}", hint="give device.jws as privacy-agent init wrote it") from error
    if descriptor.role != "device":
        raise ConfigError(f"{path}: describes a {descriptor.role}", hint="give device.jws of the device")
    return descriptor


def _peek(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_PEEK_BYTES)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="check the name and the permissions") from error


def _lines(path: Path) -> Iterator[bytes]:
    """Yield lines, a longer one cut just above the limit so that the judge refuses it."""
    with path.open("rb") as file:
        for _number in range(LOG_LINES_MAX):
            line = file.readline(LINE_MAX_BYTES + 2)
            if not line:
                return
            yield line
    raise CorruptError(f"more than {LOG_LINES_MAX} lines")
