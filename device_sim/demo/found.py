"""What the steps found out and hand on to later steps and to the report; every value is measured in this run."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from device_sim.demo.residue import Hit, Needles


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """How one step ended. ``seen`` and ``proves`` are its two lines, ``figure`` stands in the last table.

    ``claims`` are what must hold, by name; one that does not ends the demo. ``hits`` are what a search found that must
    find nothing.
    """

    seen: str
    proves: str
    figure: str
    claims: dict[str, bool]
    hits: tuple[Hit, ...] = ()
    facts: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file as the camera wrote it, before the agent took it."""

    name: str
    category: str
    size_bytes: int
    sha256: str
    head: bytes
    piece: bytes
    needles: Needles


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """What the thief got out of one object: with the key as it was (control), and with what the device has left."""

    label: str
    object: str
    fate: str
    opened_with_old_key: bool
    opened_after: bool


@dataclass(slots=True)
class Found:
    """The facts so far."""

    engine: str = ""
    broker_url: str = ""
    own_clip: bool = False
    fingerprint: str = ""
    sources: dict[str, Source] = field(default_factory=dict)
    """By role: kept, deleted, expired."""
    objects: dict[str, str] = field(default_factory=dict)
    """Object id by role."""
    explained: dict[str, Any] = field(default_factory=dict)
    payload_bytes: int = 0
    killed_at_bytes: int = 0
    durable_bytes: int = 0
    resumed_at_bytes: int = 0
    resent_bytes: int = 0
    searched: list[tuple[str, int, int, int]] = field(default_factory=list)
    """(where, files, bytes, hits) of each search for clear bytes."""
    planted_found: int = 0
    """Samples that the control found in a clear piece, planted for it."""
    opened_clip: Path = Path()
    owner_frame: bytes = b""
    cloud_frame: bytes = b""
    frame_size: tuple[int, int] = (0, 0)
    sealed_head: bytes = b""
    readers: list[str] = field(default_factory=list)
    """Programs that are not ours and opened the cloud's two files for the owner."""
    tries: list[Try] = field(default_factory=list)
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    """(what the owner asked, the receipt's status, what it did) of each request."""
    flipped_line: int = 0
    flipped_before: str = ""
    flipped_after: str = ""
    flipped_at: int = 0
    flip_named: str = ""
    log_said: str = ""
    receipts: list[tuple[str, str]] = field(default_factory=list)
    """(file name, what the judge said) of each receipt."""
    by_hand: list[tuple[str, str]] = field(default_factory=list)
    """(what it does, command) to try afterwards."""
