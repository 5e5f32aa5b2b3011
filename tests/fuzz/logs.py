"""What a source gives: names in a spool, usage logs as JSON Lines, field rules over them, the table made of them."""

import datetime as dt
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from agent.bundle.table import columns, rows
from agent.clock import rfc3339_ms
from agent.errors import CorruptError
from agent.policy.fields.line import Deidentifier
from agent.policy.fields.log import Cleaned
from agent.policy.fields.rule import (
    Drop,
    FieldRule,
    Fields,
    Groups,
    Inside,
    Keep,
    Pseudonym,
    Ranges,
    Round,
    RoundTime,
    Truncate,
)
from agent.sources.name import check_path, is_temporary, printable
from agent.sources.place import PRESETS, FindPlace, Place, place_finder
from agent.sources.rotation import is_log, is_only_rotated, unrotated
from agent.sources.settings import SourceSettings
from agent.sources.usage_log import bad_lines
from device_sim.camera.usage_log import usage_log_lines
from tests.fuzz.target import Target

DAY_MS: Final = 86_400_000
LARGE: Final = 8192
CHANGED_MS: Final = 1_800_000_000_000

TEMPLATES: Final = (
    "{camera}/{time}[_{duration_s}].{ext}",
    "{folders}/{unix}[-{duration_s}].{ext}",
    "{camera}/{category}/{year}/{month}/{day}/{hour}-{minute}-{second}.{ext}",
    "{camera}/{year}-{month}-{day}[/{hour}-{minute}-{second}].{ext}",
)
_SPOOL: Final = SourceSettings(name="spool", kind="spool", path=Path("/spool"), medium="tmpfs")
FINDERS: Final = tuple(
    place_finder(msgspec.structs.replace(_SPOOL, kind=kind, patterns=patterns, timezone=zone))
    for kind, patterns, zone in (
        *((preset, (), "UTC") for preset in PRESETS),
        ("spool", TEMPLATES, ""),
        ("spool", TEMPLATES, "Europe/Berlin"),
    )
)

RULES: Final[dict[str, FieldRule]] = {
    "time": RoundTime(3_600_000),
    "event": Keep(),
    "detail": Groups({"seen": ("person", "animal"), "moved": ("vehicle",)}),
    "serial": Pseudonym(DAY_MS),
    "ip": Truncate(24, 48),
    "gps_lat": Round(0.1),
    "gps_lon": Round(1),
    "wifi_rssi_dbm": Ranges((-80, -67, -50)),
    "mac": Drop(),
    "device_name": Inside({"time": RoundTime(1000), "event": Round(1e-9)}),
}
COUNTED: Final = {"event": ("motion", "album")}
KEYS: Final = {DAY_MS: bytes(32)}


def name(raw: bytes) -> object:
    """Judge a name beneath a source's folder, as the folder gives it."""
    unverified = os.fsdecode(raw)
    assert printable(unverified).isascii()
    is_temporary(unverified)
    assert is_log(unrotated(unverified)) or not is_only_rotated(unverified)
    path = check_path(unverified)
    assert ".." not in path.split("/")
    return path


def place(raw: bytes) -> object:
    """Read what a path tells of camera and time, by every preset and by a template with every word."""
    path = check_path(os.fsdecode(raw))
    found = [one for find in FINDERS if (one := _placed(find, path)) is not None]
    for one in found:
        assert rfc3339_ms(one.captured_from_ms) < rfc3339_ms(one.captured_to_ms)
    return found


def _placed(find: FindPlace, path: str) -> Place | None:
    """Return what one of them reads; that what a path says is impossible is no reason not to ask the next."""
    try:
        return find(path, CHANGED_MS)
    except CorruptError:
        return None


def log(raw: bytes) -> object:
    """Count a usage log's bad lines."""
    return bad_lines(raw)


def cleaned(raw: bytes) -> object:
    """Put a log under field rules, cut in two places: what stays is the same as that of one piece."""
    whole = Cleaned(Deidentifier(Fields(RULES), keys=KEYS, counted=dict(COUNTED)))
    left = whole.add(raw) + whole.end()
    cut = Cleaned(Deidentifier(Fields(RULES), keys=KEYS, counted=dict(COUNTED)))
    third = len(raw) // 3
    pieces = b"".join(cut.add(piece) for piece in (raw[:third], raw[third : 2 * third], raw[2 * third :])) + cut.end()
    assert pieces == left
    assert cut.tally == whole.tally
    return left


def table(raw: bytes) -> object:
    """Make a log the table of an export."""
    return b"".join(rows([raw], columns([raw])))


def names() -> Iterator[bytes]:
    """Yield names that recorders give, rotated ones, temporary ones and some that are refused."""
    yield from (b"front/2026-11-22/10.15.00.mp4", b"front/usage-log/2026-11-22T10-00-00.000Z.jsonl", b"x.jsonl.1")
    yield from (b"x.1.jsonl", b"x.jsonl-20261122", b".hidden", b"a.part", b"../a", b"a\xff", "Zoë\u202e".encode())


def paths() -> Iterator[bytes]:
    """Yield paths that recorders give their files, and impossible ones."""
    yield from (b"2026-11-22/10/front/15.00.mp4", b"front/2026-11-22T10-15-00.000Z_60.mp4", b"front/1800000000.5-7.mkv")
    yield from (b"front/recording/2026/11/22/10-15-00.mp4", b"front/2026-13-42/25-61-61.mp4", b"front/0001-01-01.jpg")


def lines() -> Iterator[bytes]:
    """Yield logs: a camera's, one with bad lines, one that is nested."""
    start = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)
    yield "\n".join(usage_log_lines(1, start, 4)).encode() + b"\n"
    yield b'{"time":1800000000,"ip":"fe80::1%eth0","gps_lat":1e300,"detail":["person",null,{"a":1}]}\n\n{}\nx\n[1]'
    yield b'{"device_name":{"time":"2026-11-22","event":3.7},"serial":12345678901234567890,"gps_lon":-0.0}'
    yield b'{"a":' + b"[" * 900 + b"]" * 900 + b"}"


TARGETS: Final = (
    Target(name="spool-name", read=name, declared=(CorruptError,), seeds=names),
    Target(name="source-place", read=place, declared=(CorruptError,), seeds=paths),
    Target(name="usage-log", read=log, declared=(CorruptError,), seeds=lines, largest=LARGE),
    Target(name="field-rules", read=cleaned, seeds=lines, largest=LARGE),
    Target(name="log-table", read=table, seeds=lines, largest=LARGE),
)
