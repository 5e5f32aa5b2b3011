"""What an export says of itself: the device's signed list of files and objects. Bytes and values only."""

import re
from typing import Annotated, Any, Final, Literal

import msgspec

from agent.envelope import MAX_MANIFEST_BYTES, TYP_EXPORT, Descriptor, parse, verify
from agent.envelope.form import HASH, ID
from agent.errors import AgentError, CorruptError

MANIFEST: Final = "manifest.jws.age"
_FILE_NAME: Final = r"\A(?:[a-z2-7]{26}|part-\d{3,5}\.zip)\.age\Z"
_ENTRY_NAME: Final = r"\A(?:[a-z0-9][a-z0-9-]{0,31}/)?[A-Za-z0-9][A-Za-z0-9._-]{0,199}\Z"  # one folder deep
_EXTENSION: Final = {
    "video/mp4": ".mp4",
    "video/x-matroska": ".mkv",
    "image/jpeg": ".jpg",
    "application/x-ndjson": ".jsonl",
    "application/jsonl": ".jsonl",
}
_SLUG: Final = re.compile(r"[^A-Za-z0-9]+")
_SLUG_MAX: Final = 40

_Size = Annotated[int, msgspec.Meta(ge=0)]
_Hash = Annotated[str, msgspec.Meta(pattern=HASH)]
_EntryName = Annotated[str, msgspec.Meta(pattern=_ENTRY_NAME)]


class File(msgspec.Struct, frozen=True, kw_only=True):
    """One file of the export as it lies in the folder."""

    name: Annotated[str, msgspec.Meta(pattern=_FILE_NAME)]
    bytes: _Size
    sha256: _Hash


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One exported object; ``file`` in the form ``objects``, ``part`` and ``files`` in the form ``zip``."""

    id: Annotated[str, msgspec.Meta(pattern=ID)]
    camera: str
    camera_label: str
    category: str
    captured_from: str
    media_type: str
    bytes: _Size
    file: str = ""
    part: str = ""
    files: tuple[_EntryName, ...] = ()

    def safe_name(self) -> str:
        """Return a file name made of time, camera, category and id; it tricks no shell and no file manager."""
        when = _SLUG.sub("-", self.captured_from)[:_SLUG_MAX].strip("-") or "undated"
        label = _SLUG.sub("-", self.camera_label or self.camera)[:_SLUG_MAX].strip("-") or "camera"
        category = _SLUG.sub("-", self.category)[:_SLUG_MAX].strip("-") or "object"
        return f"{when}_{label}_{category}_{self.id}{_EXTENSION.get(self.media_type, '.bin')}"


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """An object that was selected and is not in the export."""

    id: str
    result: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A manifest whose signature and form were checked."""

    v: Literal[1]
    iss: str
    iat: int
    export: Annotated[str, msgspec.Meta(pattern=ID)]
    form: Literal["objects", "zip"]
    recipients: tuple[str, ...]
    files: tuple[File, ...]
    objects: tuple[Item, ...]
    left_out: tuple[LeftOut, ...] = ()


def signer_of(jws: bytes) -> str:
    """Return the key id that an unverified manifest names: to find the device, nothing more."""
    return parse(jws, typ=TYP_EXPORT, max_bytes=MAX_MANIFEST_BYTES).unverified_kid


def read_manifest(jws: bytes, *, device: Descriptor) -> Manifest:
    """Return the manifest if this device signed it and it is consistent; raises ``CorruptError``."""
    try:
        claims: dict[str, Any] = verify(
            parse(jws, typ=TYP_EXPORT, max_bytes=MAX_MANIFEST_BYTES), jwk=device.jwk, alg=device.alg
        )
    except AgentError as error:
        raise CorruptError(f"the manifest is not signed by {device.name}: {error.message}") from error
    try:
        manifest = msgspec.convert(claims, Manifest)
    except msgspec.ValidationError as error:
        raise CorruptError(f"not a manifest: {error}") from error
    if manifest.iss != device.name:
        raise CorruptError(f"signed by {device.name}, but issued in another name")
    names = {file.name for file in manifest.files}
    if len(names) != len(manifest.files):
        raise CorruptError("the manifest names a file twice")
    if any((item.file or item.part) not in names for item in manifest.objects):
        raise CorruptError("the manifest names an object in a file that it does not list")
    entries = [name for item in manifest.objects for name in item.files]
    if len(set(entries)) != len(entries):
        raise CorruptError("the manifest names an entry twice")
    if {name.partition("/")[0] for name in entries if "/" in name} & set(entries):
        raise CorruptError("the manifest names an entry as file and as folder")
    if len({item.id for item in manifest.objects}) != len(manifest.objects):
        raise CorruptError("the manifest names an object twice")
    return manifest
