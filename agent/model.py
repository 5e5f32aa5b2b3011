"""The words of the design as frozen values; no behaviour beyond checking their own form.

Ids of objects, uploads and cameras are random, so they tell nothing. Times are Unix milliseconds. Labels and names
are personal: they live only in the encrypted index and in what is sealed to the owner.
"""

import base64
import re
import secrets
from collections.abc import Callable
from typing import Final, Literal

import msgspec

Category = Literal["recording", "photo", "usage-log", "export"]
CATEGORIES: Final[tuple[Category, ...]] = ("recording", "photo", "usage-log", "export")

State = Literal["sealed", "uploaded", "erasing"]
"""``sealed``: durable here; ``uploaded``: a signed storage receipt is held; ``erasing``: a delete is under way."""

Kind = Literal["file-key", "header-key"]
"""What a slot's key is: the age file key, or a key under which only the owners' header is stored."""

SourceCopy = Literal["taken", "left", "asked"]
"""What becomes of a source's copy: ours to remove, left where it is, or on a camera that removes it when asked."""

Medium = Literal["tmpfs", "encrypted", "disk"]
"""What a source's copies lie on."""

RandomBytes = Callable[[int], bytes]

_ID_BYTES: Final = 16
_ID: Final = re.compile(r"[a-z2-7]{26}")
_CAMERA: Final = re.compile(r"[a-z0-9]{4,26}")
_CAMERA_ID_CHARACTERS: Final = 8


def new_id(random: RandomBytes = secrets.token_bytes) -> str:
    """Return a fresh id: 128 random bits as 26 characters of lower-case base32."""
    return base64.b32encode(random(_ID_BYTES)).decode("ascii").rstrip("=").lower()


def new_camera_id(random: RandomBytes = secrets.token_bytes) -> str:
    """Return a fresh short camera id; the registry refuses a collision and asks again."""
    return new_id(random)[:_CAMERA_ID_CHARACTERS]


def is_id(text: str) -> bool:
    """Tell whether ``text`` has the form of an object, upload or command id."""
    return _ID.fullmatch(text) is not None


def is_camera_id(text: str) -> bool:
    """Tell whether ``text`` has the form of a camera id."""
    return _CAMERA.fullmatch(text) is not None


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """One "now" of one decision (invariant I8).

    ``agent_ms`` is the agent's own timeline in Unix milliseconds: it never runs backwards, follows the wall clock while
    that is trusted and the boot clock while it is not. ``wall_ms`` is what the system clock said.
    """

    agent_ms: int
    wall_ms: int
    trusted: bool


Role = Literal["device", "local", "client", "backend", "store", "time"]


class Requester(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks: a key of the key set, the person at this machine (``local``), or the agent itself (``device``)."""

    role: Role
    kid: str = ""
    verbs: tuple[str, ...] = ()


class Object(msgspec.Struct, frozen=True, kw_only=True):
    """One recording, photo, log batch or export in the vault.

    ``captured_from_ms``/``captured_to_ms`` are the half-open capture interval as the source tells it; ``taken_in_ms``
    is agent time, which alone decides ages. ``size_bytes`` is the sealed payload; hashes are SHA-256 of sealed bytes.
    ``purposes`` names those that were allowed when it was sealed: it is used for no others. ``name`` is what people
    see, and what a person corrected it to; ``source_name`` is what its source calls it, whatever was corrected, and
    what it is asked by: a path, a camera's id of it; ``""`` where nobody knows.
    """

    id: str
    camera: str
    category: Category
    purposes: tuple[str, ...]
    source: str
    media_type: str
    name: str
    source_name: str = ""
    captured_from_ms: int
    captured_to_ms: int
    taken_in_ms: int
    plain_bytes: int
    size_bytes: int
    payload_sha256: bytes
    header_sha256: bytes
    kind: Kind
    state: State
    recipients: tuple[str, ...]
    upload: str
    source_copy: SourceCopy
    medium: Medium


class Aged(msgspec.Struct, frozen=True):
    """What retention looks at of an object; ``n`` is its place in the order of arrival."""

    n: int
    id: str
    camera: str
    category: Category
    taken_in_ms: int
    size_bytes: int
    state: State
    kind: Kind
    captured_from_ms: int
    captured_to_ms: int


class AtStore(msgspec.Struct, frozen=True):
    """An object whose copy here was given up while a store keeps its own; ``size_bytes`` 0 where it is not known."""

    n: int
    id: str
    camera: str
    category: Category
    captured_from_ms: int
    captured_to_ms: int
    taken_in_ms: int
    size_bytes: int


class Selection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which objects a command means: ids, or any of camera, category and a half-open capture interval, or all."""

    ids: tuple[str, ...] | None = None
    camera: str | None = None
    category: Category | None = None
    from_: str | None = msgspec.field(default=None, name="from")
    to: str | None = None
    all: bool | None = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What happened to one object (invariant I6).

    ``stated_by`` names the key of a store whose word this is, ``camera_stated_by`` that of a camera, ``exports`` those
    that still hold a copy of it.
    """

    id: str
    result: Literal[
        "deleted", "already_gone", "held", "restricted", "failed", "waiting_for_cloud", "waiting_for_camera",
        "exported",
        "not_readable_here", "listed", "rectified", "continues", "resealed", "kept",
    ]  # fmt: skip
    remarks: tuple[str, ...] = ()
    stated_by: str = ""
    camera_stated_by: str = ""
    exports: tuple[str, ...] = ()
