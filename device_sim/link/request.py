"""A request as it was read, an answer as it will be written, and what is refused before any resource sees it."""

import json
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl

from device_sim.camera.card import Content

MAX_HEAD_BYTES: Final = 8 * 1024
MAX_BODY_BYTES: Final = 4 * 1024
"""docs/camera-link.md §4."""

STATUS: Final = {
    "bad_request": HTTPStatus.BAD_REQUEST,
    "setup_closed": HTTPStatus.FORBIDDEN,
    "paired_elsewhere": HTTPStatus.FORBIDDEN,
    "not_paired": HTTPStatus.FORBIDDEN,
    "not_found": HTTPStatus.NOT_FOUND,
    "method_not_allowed": HTTPStatus.METHOD_NOT_ALLOWED,
    "incomplete": HTTPStatus.CONFLICT,
    "hash_mismatch": HTTPStatus.CONFLICT,  # of a condition: 412
    "other_storage": HTTPStatus.CONFLICT,
    "too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,  # of a head: 431
    "range_not_satisfiable": HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
    "unreadable": HTTPStatus.INTERNAL_SERVER_ERROR,
    "storage_failed": HTTPStatus.INTERNAL_SERVER_ERROR,
    "storage_missing": HTTPStatus.SERVICE_UNAVAILABLE,
    "busy": HTTPStatus.SERVICE_UNAVAILABLE,
}
"""Codes and their status, as the document's table has them."""


class AnswerError(Exception):
    """Not done; ``code`` is one of ``STATUS``."""

    def __init__(self, code: str, detail: str, *, status: HTTPStatus | None = None, **headers: str) -> None:
        super().__init__(detail)
        self.code = code
        self.status = status or STATUS[code]
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Of a caller whose key was proved; header names are in small letters."""

    caller: str
    """Its ``kid``; empty for a key that the camera link has no kid for."""
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    def json(self, **members: type) -> dict[str, Any]:
        """Return the body, which has exactly these members, each of its type; raises ``AnswerError``."""
        if self.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise AnswerError("bad_request", "the body must be application/json")
        try:
            read = json.loads(self.body, object_pairs_hook=_once)
        except (ValueError, RecursionError):
            raise AnswerError("bad_request", "the body is not JSON, or names a member twice") from None
        if not isinstance(read, dict) or read.keys() != members.keys():
            raise AnswerError("bad_request", f"the body must have exactly: {' '.join(members)}")
        for name, kind in members.items():
            if type(read[name]) is not kind:
                raise AnswerError("bad_request", f"{name} must be a {'boolean' if kind is bool else 'string'}")
        return read

    def parameters(self, *names: str) -> dict[str, str]:
        """Return the query, in which only these may stand; raises ``AnswerError``."""
        if unknown := sorted(self.query.keys() - set(names)):
            raise AnswerError("bad_request", f"unknown parameter {unknown[0][:32]}")
        return self.query


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Either ``document`` (JSON), or ``size`` bytes of ``content`` from ``at`` on, or nothing."""

    status: HTTPStatus
    document: dict[str, Any] | None = None
    headers: dict[str, str] = field(default_factory=dict)
    content: Callable[[], AbstractContextManager[Content]] | None = None
    at: int = 0
    size: int = 0
    name: str = ""
    """Of the recording whose bytes these are."""
    after: Callable[[], Awaitable[None]] | None = None
    """Is awaited before the answer is sent: it is true only then."""


def refused(error: AnswerError) -> Answer:
    """Return the answer that says so."""
    return Answer(
        status=error.status,
        document={"code": error.code, "detail": str(error)[:200]},
        headers=error.headers,
    )


def split_target(target: bytes) -> tuple[str, dict[str, str]]:
    """Return path and query; raises ``AnswerError``."""
    try:
        path, _, raw = target.decode("ascii").partition("?")
        pairs = parse_qsl(raw, keep_blank_values=True, strict_parsing=bool(raw), max_num_fields=8, errors="strict")
    except ValueError:
        raise AnswerError("bad_request", "the target is not well-formed") from None
    if len(dict(pairs)) != len(pairs):
        raise AnswerError("bad_request", "a parameter stands there twice")
    return path, dict(pairs)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    if len(read) != len(pairs):
        raise ValueError("a member is named twice")
    return read
