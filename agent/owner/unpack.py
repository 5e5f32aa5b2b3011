"""``open``: an export becomes files again, after its manifest and every hash were checked.

Rules: nothing is opened before the device's signature on the manifest held; a file whose hash does not fit is reported
and never opened; names come from the manifest's checked form, never from an archive; nothing is overwritten, and
nothing opened into an agent's state folder, where no clear file may be (invariant I1); opened files are 0600.
Everything here can also be done with stock tools, and the command says how.
"""

import argparse
import contextlib
import hashlib
import os
import shlex
import shutil
import struct
import zipfile
from pathlib import Path
from typing import Final

import msgspec

from agent import age, files
from agent.age import FILE_KEY_BYTES
from agent.envelope.kinds import MAX_MANIFEST_BYTES
from agent.errors import ConfigError, CorruptError
from agent.owner import device as devices
from agent.owner.context import Context, add
from agent.owner.device import Device
from agent.owner.home import IDENTITY, quote, read_file, read_private
from agent.owner.manifest import MANIFEST, File, Item, Manifest, read_manifest, signer_of
from agent.shell.layout import clean, counted
from agent.shell.parser import Subparsers

_OUT_HELP: Final = "new folder (default EXPORT_DIR-opened; here, not beside it, where it lies in an agent's vault)"
_COPY_BYTES: Final = 1 << 20
_SEALING_BYTES: Final = 2 << 20
"""What sealing adds to a manifest of the largest size: header, nonce, tags."""


_COPY_IT: Final = "copy the folder vault/exports/ID whole from the agent's state folder on the device"
_MARK: Final = ("index.db", "vault")
"""An agent's index and vault, which lie together in its state folder alone (docs/formats.md, section 1)."""

_BAD_ARCHIVE: Final = (zipfile.BadZipFile, KeyError, RuntimeError, EOFError, ValueError, OSError, struct.error)
"""What the standard reader raises for archives that are bent: it has no error of its own for all of them."""


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it: files written, the sealed files that they came from, and what was wrong with the others."""

    export: str
    folder: str
    files: tuple[str, ...]
    intact: tuple[str, ...]
    problems: tuple[str, ...]
    left_out: int


def add_parsers(subparsers: Subparsers) -> None:
    """Register ``open``."""
    parser = add(
        subparsers,
        "open",
        summary="check exports and open them into plain files",
        example="privacy-owner open 4q3… -o holiday",
        detail="Several exports are opened into OUT/ID each; those that lie there already are left as they are.",
        run=_open,
    )
    parser.add_argument("folder", nargs="+", metavar="EXPORT_DIR", help="an export's folder, copied from the device")
    parser.add_argument("-o", "--output", default="", metavar="OUT", help=_OUT_HELP)
    parser.add_argument("-i", "--identity", default="", metavar="FILE", help="another identity file than the home's")


def _open(arguments: argparse.Namespace, context: Context) -> int:
    folders = [Path(folder) for folder in arguments.folder]
    if not arguments.identity:
        context.home.require()  # where no home is, what to do is another thing than to look for the file that it lacks
    identity_file = Path(arguments.identity) if arguments.identity else context.home.path / IDENTITY
    identities = age.parse_identity_file(read_private(identity_file).decode("utf-8", "replace"))
    every: list[Opened] = []
    told: list[str] = []
    for folder in folders:
        device, manifest, digest = _manifest(folder, identities, context)
        _check_receipt(device, manifest, digest)
        out = _room_for(manifest, arguments, folder, among=len(folders))
        if out is None:
            context.note(f"export {manifest.export}: opened already, left as it is")
            continue
        opened = _Unpacking(folder, out, identities).run(manifest)
        every.append(opened)
        told.append(_text(opened))
        for problem in opened.problems:
            context.note(f"{opened.export}: {problem}" if len(folders) > 1 else problem)
        if opened.intact and folder == folders[-1]:
            told.append(_stock(folder / opened.intact[0], identity_file))
    bad = any(opened.problems for opened in every)
    if bad:
        context.note("  next: copy the export's folder again, whole, and open it into another folder with -o")
    context.say("\n\n".join(told), every if len(folders) > 1 else every[0])
    return 1 if bad else 0


def _room_for(manifest: Manifest, arguments: argparse.Namespace, folder: Path, *, among: int) -> Path | None:
    """Make the folder that an export is opened into; ``None`` where it is one of several and lies there already.

    Raises ``ConfigError`` for one in an agent's state folder: no delete would reach what lies there in clear.
    """
    beside = folder.absolute()
    if not arguments.output and _state_around(folder) is not None:
        beside = Path(beside.name)
    out = Path(arguments.output or f"{beside}-opened")
    if among > 1 and arguments.output:
        out /= manifest.export
    state = _state_around(out)
    if state is not None:
        raise ConfigError(
            f"{out}: lies in {state}, an agent's state folder, where nothing is opened: no delete would reach it",
            hint="name a folder elsewhere: -o OUT",
        )
    if out.exists() and any(out.iterdir()):
        if among > 1:
            return None
        raise ConfigError(f"{out}: is there already and not empty", hint="name another folder with -o")
    files.make_folder(out)
    return out


def _state_around(path: Path) -> Path | None:
    """Return the agent's state folder that a path is or lies in; where this user may not look is none."""
    index, vault = _MARK
    whole = path.resolve()
    for around in (whole, *whole.parents):
        with contextlib.suppress(ConfigError, OSError):
            if files.is_there(around / index) and files.is_folder(around / vault):
                return around
    return None


def _manifest(folder: Path, identities: tuple[age.Identity, ...], context: Context) -> tuple[Device, Manifest, str]:
    path = folder / MANIFEST
    if not path.is_file():
        raise ConfigError(f"{folder}: no export lies here", hint=_COPY_IT)
    sealed = read_file(path, max_bytes=MAX_MANIFEST_BYTES + _SEALING_BYTES)
    try:
        jws = age.decrypt(sealed, identities)
        kid = signer_of(jws)
    except age.NoMatchError as error:
        raise CorruptError(
            f"{path}: {error.message}", hint="give the identity that the export was sealed to: -i FILE"
        ) from error
    except CorruptError as error:
        raise CorruptError(f"{path}: {error.message}", hint="copy the export's folder again, whole") from error
    known = devices.devices(context.home)
    device = next((one for one in known if one.descriptor.kid == kid), None)
    if device is None:
        raise CorruptError(
            f"{path}: signed by no device that is known here", hint="privacy-owner device add DEVICE.jws"
        )
    return device, read_manifest(jws, device=device.descriptor), hashlib.sha256(sealed).hexdigest()


def _check_receipt(device: Device, manifest: Manifest, digest: str) -> None:
    """Where a receipt of this export is kept, its manifest must be the one that lies here."""
    for receipt in device.receipts():
        told = receipt.export
        if told is None or told.object != manifest.export:
            continue
        if digest not in {file.sha256 for file in told.files}:
            raise CorruptError(
                f"export {manifest.export}: its receipt names another manifest", hint="copy the folder again, whole"
            )


class _Unpacking:
    def __init__(self, folder: Path, out: Path, identities: tuple[age.Identity, ...]) -> None:
        self._folder = folder
        self._out = out
        self._identities = identities
        self._written: list[str] = []
        self._intact: list[str] = []
        self._problems: list[str] = []

    def run(self, manifest: Manifest) -> Opened:
        """Open every file that is what the manifest says."""
        items = {item.file: item for item in manifest.objects if item.file}
        listed = {file.name for file in manifest.files} | {MANIFEST}
        for path in sorted(self._folder.iterdir()):
            if path.name not in listed:
                self._problems.append(f"{clean(path.name)}: not in the manifest, not opened")
        for file in manifest.files:
            try:
                self._check(file)
                if manifest.form == "objects":
                    self._one(file, items.get(file.name))
                else:
                    self._part(file, manifest)
                self._intact.append(file.name)
            except CorruptError as error:
                self._problems.append(f"{file.name}: {error.message}")
        files.sync_folder(self._out)
        return Opened(
            export=manifest.export,
            folder=str(self._out),
            files=tuple(self._written),
            intact=tuple(self._intact),
            problems=tuple(self._problems),
            left_out=len(manifest.left_out),
        )

    def _check(self, file: File) -> None:
        digest = hashlib.sha256()
        count = 0
        try:
            with (self._folder / file.name).open("rb") as source:
                while piece := source.read(_COPY_BYTES):
                    digest.update(piece)
                    count += len(piece)
        except OSError as error:
            raise CorruptError(f"{error.strerror}; copy the export's folder again") from error
        if count != file.bytes or digest.hexdigest() != file.sha256:
            raise CorruptError("changed since the device wrote it: its hash is not the manifest's; not opened")

    def _one(self, file: File, item: Item | None) -> None:
        if item is None:
            raise CorruptError("the manifest says of no object that it lies in this file")
        name = item.safe_name()
        part = self._decrypt(file.name, plain_bytes=item.bytes)
        files.settle(part, self._out / name, folder_synced=False)
        self._written.append(name)

    def _part(self, file: File, manifest: Manifest) -> None:
        wanted = [name for item in manifest.objects if item.part == file.name for name in item.files]
        archive = self._decrypt(file.name, plain_bytes=None)
        try:
            with zipfile.ZipFile(archive) as held:
                for name in wanted:
                    self._extract(held, name)
        except _BAD_ARCHIVE as error:
            raise CorruptError(f"the archive inside is not what the manifest says ({type(error).__name__})") from error
        finally:
            files.remove(archive, folder_synced=False)

    def _extract(self, held: zipfile.ZipFile, name: str) -> None:
        info = held.getinfo(name)
        if info.compress_type != zipfile.ZIP_STORED:
            raise CorruptError(f"{name}: packed in a way that the device does not use")
        fd, part = files.new_file(self._out)
        try:
            with os.fdopen(fd, "wb") as target, held.open(info) as source, files.translated_space():
                shutil.copyfileobj(source, target, _COPY_BYTES)
                target.flush()
                os.fsync(target.fileno())
            final = self._out / name
            files.make_folder(final.parent)
            files.settle(part, final)
        except BaseException:
            files.remove(part, folder_synced=False)
            raise
        self._written.append(name)

    def _decrypt(self, name: str, *, plain_bytes: int | None) -> Path:
        """Decrypt into a new file of the output folder and return it; on damage nothing is left."""
        fd, part = files.new_file(self._out)
        try:
            with (
                (self._folder / name).open("rb", buffering=0) as source,
                os.fdopen(fd, "wb", buffering=0) as target,
                files.translated_space(),
            ):
                header, rest = age.read_header(source)
                file_key = age.unwrap_header(header, self._identities)
                assert len(file_key) == FILE_KEY_BYTES  # noqa: S101 - unwrap_header promises it
                sizes = age.decrypt_stream(file_key, source, target, prefix=rest)
                os.fsync(target.fileno())
            _require_size(sizes.plain_bytes, plain_bytes)
        except BaseException:
            files.remove(part, folder_synced=False)
            raise
        return part


def _require_size(found_bytes: int, told_bytes: int | None) -> None:
    if told_bytes is not None and found_bytes != told_bytes:
        raise CorruptError(f"holds {found_bytes} bytes, not {told_bytes} as the manifest says")


def _text(opened: Opened) -> str:
    left = f"\nleft out     {opened.left_out}, as the receipt says" if opened.left_out else ""
    return f"export       {opened.export}\nopened       {counted(len(opened.files), 'file')} into {opened.folder}{left}"


def _stock(sealed: Path, identity_file: Path) -> str:
    return (
        "with stock tools (a post-quantum identity needs age 1.3 or newer):\n"
        f"  age -d -i {quote(identity_file)} -o {shlex.quote(sealed.name.removesuffix('.age'))} {quote(sealed)}"
    )
