"""JSON as docs/protocol.md §2 allows it: one object, no duplicate names, no NaN, at most 8 levels, UTF-8.

The standard library keeps the last of two equal names, so two readers of one message could disagree.
"""

import json
from typing import Final, NoReturn

from device_sim.cloud.failure import MessageError

MAX_DEPTH: Final = 8
"""docs/protocol.md §2."""

Claims = dict[str, object]
"""A parsed JSON object; whoever takes a member out of it checks what it is."""


def loads(raw: bytes) -> Claims:
    """Read one JSON object; raises ``MessageError``."""
    try:
        value: object = json.loads(
            raw.decode("utf-8", "strict"), object_pairs_hook=_without_duplicates, parse_constant=_no_constant
        )
    except (ValueError, RecursionError) as error:
        raise MessageError(f"not JSON: {type(error).__name__}") from error
    if not isinstance(value, dict):
        raise MessageError("not a JSON object")
    _check_depth(value, level=1)
    return value


def dumps(claims: Claims) -> bytes:
    """Write a JSON object compactly."""
    return json.dumps(claims, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _without_duplicates(pairs: list[tuple[str, object]]) -> Claims:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise MessageError("a member name stands twice")
    return made


def _no_constant(name: str) -> NoReturn:
    raise MessageError(f"{name} is no JSON number")


def _check_depth(value: object, *, level: int) -> None:
    if not isinstance(value, dict | list):
        return
    if level > MAX_DEPTH:
        raise MessageError("nested too deeply")
    for inner in value.values() if isinstance(value, dict) else value:
        _check_depth(inner, level=level + 1)
