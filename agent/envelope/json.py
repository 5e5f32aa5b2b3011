"""Strict JSON: what two readers could read differently is refused (``docs/protocol.md`` §2).

The standard decoder keeps the last of two members with one name, guesses UTF-16 and takes ``NaN``; this one does not.
Depth is counted before decoding, so a hostile text costs one pass and no recursion. No message of the protocol holds
a fraction, so none is accepted; integers stay below 2^53, which every language holds exactly (RFC 7493 2.2).
"""

import json
import re
from typing import Any, Final

from agent.errors import CorruptError

MAX_DEPTH: Final = 8
_MAX_INTEGER: Final = 2**53 - 1
_MAX_INTEGER_DIGITS: Final = 16

_STRING_OR_BRACKET: Final = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)
_SURROGATE_ESCAPE: Final = re.compile(r"\\u[dD][89a-fA-F]")


def encode(value: object) -> bytes:
    """Write compact JSON in UTF-8; the caller's values hold no fraction."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8")


def decode_strictly(raw: bytes, *, max_bytes: int) -> dict[str, Any]:
    """Read one JSON object; raises ``CorruptError`` for anything that is not exactly that (module rules)."""
    if len(raw) > max_bytes:
        raise CorruptError(f"JSON of {len(raw)} bytes; the limit is {max_bytes}")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CorruptError("JSON is not UTF-8") from error
    _refuse_depth(text)
    try:
        value = json.loads(
            text,
            object_pairs_hook=_unique_members,
            parse_float=_refuse_number,
            parse_constant=_refuse_number,
            parse_int=_bounded_integer,
        )
        if _SURROGATE_ESCAPE.search(text) is not None:
            encode(value)  # raises for half of a surrogate pair, which is no character
    except (ValueError, RecursionError) as error:
        raise CorruptError("not JSON") from error
    if not isinstance(value, dict):
        raise CorruptError("JSON is not an object")
    return value


def _refuse_depth(text: str) -> None:
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(text):
        mark = match.group()
        if mark in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise CorruptError(f"JSON is nested deeper than {MAX_DEPTH} levels")
        elif mark in "]}":
            depth -= 1


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise CorruptError("JSON names a member twice")
    return members


def _refuse_number(text: str) -> Any:  # noqa: ANN401 - the signature that json.loads asks for
    raise CorruptError(f"JSON holds a number that is not an integer ({len(text)} characters)")


def _bounded_integer(text: str) -> int:
    if len(text) > _MAX_INTEGER_DIGITS + 1 or abs(int(text)) > _MAX_INTEGER:
        raise CorruptError("JSON holds an integer beyond 2^53")
    return int(text)
