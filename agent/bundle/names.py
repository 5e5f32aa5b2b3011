"""Names and cells that trick no extractor and no spreadsheet.

A file name is made from a closed alphabet (a-z, 0-9, point, dash, underscore), never taken over from a source: no
separator, no control or direction character, no leading point or dash, no reserved device name, two never equal.

Which character parts cells is a setting of whoever reads a table, as is what quotes them: where a comma writes
fractions a semicolon parts cells, and no quote stands where that reader looks for one. So a cell may begin behind each
character that parts cells or rows for somebody. What begins there as a formula does, also behind space, quotes or what
is not seen, gets ``MARK`` in front: no apostrophe, which is a quote to some readers and goes with the reading.
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

FORMULA_STARTS: Final = "=+-@\N{MINUS SIGN}"
MARK: Final = "_"
_NOT_SEEN: Final = frozenset({"Cc", "Cf", "Mn", "Me", "Zs", "Zl", "Zp"})
"""Unicode's categories of control, format, joining, space and separator characters, which spreadsheets pass over."""
_PASSED: Final = frozenset("\"'\\\u115f\u1160\u2800\u3164\uffa0")
"""What some reader takes away in front of what it quotes or escapes, and letters that nobody sees."""
_PARTS: Final = re.compile("([,;\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029])")
"""What parts cells or rows for some reader; splitting keeps it."""


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
    """Return a table cell of which a spreadsheet shows all and computes nothing, however it parts and quotes cells."""
    parts = ["", *_PARTS.split(value), ""]
    for at in range(1, len(parts), 2):
        before, text, behind = parts[at - 1 : at + 2]
        first = next((one for one in text if one not in _PASSED and unicodedata.category(one) not in _NOT_SEEN), "")
        if first:
            starts = unicodedata.normalize("NFKC", first) in FORMULA_STARTS  # also those of full width
        elif behind:
            # A tab behind a tab parts once more; behind anything else it may be the first of a cell.
            starts = behind in {"\t", "\r"} and _PASSED.issuperset(text) and text + before != behind
        else:
            starts = not _PASSED.isdisjoint(text)  # a quote that may be open until some later cell
        if starts:
            parts[at] = MARK + text
    return "".join(parts)
