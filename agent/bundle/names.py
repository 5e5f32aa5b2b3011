"""Names and cells that trick no extractor and no spreadsheet.

A file name is made from a closed alphabet (a-z, 0-9, point, dash, underscore), never taken over from a source: no
separator, no control or direction character, no leading point or dash, no reserved device name, two never equal. A cell
that a spreadsheet would take for a formula, also behind space or what is not seen, gets an apostrophe in front.
"""

import datetime as dt
import re
import unicodedata
from typing import Final

from agent.model import Object

_FOLDERS: Final = {"recording": "recordings", "photo": "photos", "usage-log": "usage-logs", "export": "exports"}
_SUFFIXES: Final = {
    "video/mp4": "mp4",
    "video/x-matroska": "mkv",
    "image/jpeg": "jpg",
    "application/x-ndjson": "jsonl",
    "application/jsonl": "jsonl",
}
_SLUG_LENGTH: Final = 32
_ID_LENGTH: Final = 26
_NOT_IN_SLUG: Final = re.compile(r"[^a-z0-9]+")
_MS_PER_S: Final = 1000

FORMULA_STARTS: Final = "=+-@"
_NOT_SEEN: Final = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp"})
"""Unicode's categories of control, format, space and separator characters, which spreadsheets pass over."""


def slug(label: str) -> str:
    """Return a label in a-z, 0-9 and dashes, at most 32 characters, or ""."""
    plain = unicodedata.normalize("NFKD", label).encode("ascii", "ignore").decode("ascii").lower()
    return _NOT_IN_SLUG.sub("-", plain).strip("-")[:_SLUG_LENGTH].strip("-")


def file_name(item: Object, *, label: str) -> str:
    """Return an object's name in an archive: folder, camera, time in UTC, id, and a suffix of the media type."""
    moment = dt.datetime.fromtimestamp(item.captured_from_ms // _MS_PER_S, tz=dt.UTC)
    camera = slug(label) or item.camera
    suffix = _SUFFIXES.get(item.media_type, "bin")
    return f"{_FOLDERS[item.category]}/{camera}_{moment:%Y-%m-%dT%H%M%SZ}_{item.id[:_ID_LENGTH]}.{suffix}"


def cell(value: str) -> str:
    """Return a table cell that a spreadsheet shows and never computes."""
    first = next((letter for letter in value if unicodedata.category(letter) not in _NOT_SEEN), "")
    starts = first != "" and unicodedata.normalize("NFKC", first) in FORMULA_STARTS  # also those of full width
    return f"'{value}" if starts else value
