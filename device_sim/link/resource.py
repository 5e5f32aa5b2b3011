"""What each path of the camera link does with the camera (docs/camera-link.md §3 to §6).

Rules: who asks is looked at before what is asked; an answer that promises something durable comes after it is.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Final

from device_sim.camera.card import CardError, told
from device_sim.camera.device import Device, PairingError
from device_sim.camera.kid import b64
from device_sim.camera.usage_log import stamp
from device_sim.link.byterange import UnsatisfiableError, wanted
from device_sim.link.request import Answer, AnswerError, Request

PAGE: Final = 100
PAGE_MAX: Final = 200

_TIME: Final = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z", re.ASCII)
_CURSOR: Final = re.compile(r"\d{1,16}", re.ASCII)
_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_ETAG: Final = re.compile(r'"([0-9a-f]{64})"', re.ASCII)
_STORAGE: Final = re.compile(r"[a-z2-7]{16}", re.ASCII)

Act = Callable[[Device, Request], Answer]
ActOnOne = Callable[[Device, Request, str], Answer]


def answer(device: Device, request: Request) -> Answer:
    """Do what is asked; raises ``AnswerError``."""
    if not (request.path == "/v1/agent" and request.method == "PUT") and not _is_agent(device, request):
        raise AnswerError("not_paired", "this caller is not the agent of this camera")
    try:
        return _route(request)(device, request)
    except CardError as error:
        raise answer_error(error) from None


def answer_error(error: CardError) -> AnswerError:
    """Say over the link what the card does not do."""
    if error.code == "other_content":
        return AnswerError("hash_mismatch", str(error), status=HTTPStatus.PRECONDITION_FAILED)
    return AnswerError("storage_failed" if error.code == "full" else error.code, str(error))


def _is_agent(device: Device, request: Request) -> bool:
    return bool(device.agent) and device.agent == request.caller


def _route(request: Request) -> Act:
    for pattern, acts in _ROUTES:
        found = pattern.fullmatch(request.path)
        if found is None:
            continue
        if request.method not in acts:
            raise AnswerError("method_not_allowed", "this path has other methods", Allow=", ".join(acts))
        act = acts[request.method]
        return lambda device, asked: act(device, asked, *found.groups())
    raise AnswerError("not_found", "no such path")


def _pair(device: Device, request: Request) -> Answer:
    request.parameters()
    if request.json(kid=str)["kid"] != request.caller:
        raise AnswerError("bad_request", "kid is not that of the certificate's key")
    try:
        new = device.pair(request.caller)
    except PairingError as error:
        details = {
            "setup_closed": "open the set-up window at the camera",
            "paired_elsewhere": "unpair its agent, or reset the camera",
        }
        raise AnswerError(error.code, details[error.code]) from None
    return Answer(status=HTTPStatus.CREATED if new else HTTPStatus.OK, document=_camera(device))


def _unpair(device: Device, request: Request) -> Answer:
    request.parameters()
    device.unpair()
    return Answer(status=HTTPStatus.NO_CONTENT, after=device.settled)


def _describe(device: Device, request: Request) -> Answer:
    request.parameters()
    return Answer(status=HTTPStatus.OK, document=_camera(device))


def _camera(device: Device) -> dict[str, Any]:
    return {
        "v": 1,
        "id": device.id,
        "model": device.model,
        "firmware": device.firmware,
        "time": stamp(device.now()),
        "clock": device.clock,
        "advert_key": b64(device.advert_key),
        "storage": ({"id": device.card.id} if device.card.id else {})
        | {
            "state": device.card.state,
            "total_bytes": device.card.total_bytes,
            "free_bytes": device.card.free_bytes,
            "erasure": "unlink",
        },
        "state": device.state,
    }


def _collects(device: Device, request: Request) -> Answer:
    request.parameters()
    return Answer(status=HTTPStatus.OK, document={"enabled": device.collecting, "since": device.collecting_since})


def _collect(device: Device, request: Request) -> Answer:
    request.parameters()
    device.collect(enabled=request.json(enabled=bool)["enabled"])
    return replace(_collects(device, request), after=device.settled)


def _list(device: Device, request: Request) -> Answer:
    asked = request.parameters("after", "limit", "acknowledged")
    limit = _limit(asked.get("limit", str(PAGE)))
    after = asked.get("after", "0")
    if not _CURSOR.fullmatch(after):
        raise AnswerError("bad_request", "after is no cursor of this camera")
    only = asked.get("acknowledged")
    if only not in {None, "true", "false"}:
        raise AnswerError("bad_request", "acknowledged is true or false")
    rest = [
        entry
        for entry in device.card.entries()
        if entry.number > int(after) and (only is None or entry.acknowledged == (only == "true"))
    ]
    page = rest[:limit]
    document: dict[str, Any] = {"storage": device.card.id, "recordings": [told(entry) for entry in page]}
    if len(rest) > limit:
        document["next"] = str(page[-1].number)
    return Answer(status=HTTPStatus.OK, document=document)


def _limit(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > len(str(PAGE_MAX)) or not 1 <= int(text) <= PAGE_MAX:
        raise AnswerError("bad_request", f"limit is 1 to {PAGE_MAX}")
    return int(text)


def _erase(device: Device, request: Request) -> Answer:
    asked = request.parameters("before", "all")
    if asked.keys() == {"all"} and asked["all"] == "true":
        chosen = [entry.id for entry in device.card.entries()]
    elif asked.keys() == {"before"} and _TIME.fullmatch(asked["before"]):
        chosen = [entry.id for entry in device.card.entries() if entry.start < asked["before"]]
    else:
        raise AnswerError("bad_request", "either all=true or before=TIME")
    return Answer(status=HTTPStatus.OK, document={"deleted": _delete(device, chosen)})


def _remove(device: Device, request: Request, name: str) -> Answer:
    storage = request.parameters("storage").get("storage")
    if storage is not None and not _STORAGE.fullmatch(storage):
        raise AnswerError("bad_request", "storage is no id of a card")
    etag = request.headers.get("if-match")
    meant = None if etag is None else _ETAG.fullmatch(etag.strip())
    if etag is not None and meant is None:
        raise AnswerError("bad_request", "If-Match is one strong ETag")
    device.card.require(name, storage=storage or "", sha256="" if meant is None else meant[1])
    _delete(device, [name])
    return Answer(status=HTTPStatus.NO_CONTENT)


def _delete(device: Device, names: list[str]) -> int:
    deleted = device.card.delete(names)
    device.note_deleted(deleted)
    return deleted


def _fetch(device: Device, request: Request, name: str) -> Answer:
    request.parameters()
    entry = device.card.entry(name)
    if not entry.complete:
        raise AnswerError("incomplete", "it is still being recorded")
    etag = f'"{entry.sha256}"'
    part = None
    if "range" in request.headers and request.headers.get("if-range", etag).strip() == etag:
        try:
            part = wanted(request.headers["range"], entry.size)
        except UnsatisfiableError:
            raise AnswerError(
                "range_not_satisfiable", "it ends before that", Content_Range=f"bytes */{entry.size}"
            ) from None
    begin, end = part or (0, entry.size)
    headers = {"Content-Type": entry.media_type, "ETag": etag, "Accept-Ranges": "bytes"}
    if part is not None:
        headers["Content-Range"] = f"bytes {begin}-{end - 1}/{entry.size}"
    return Answer(
        status=HTTPStatus.OK if part is None else HTTPStatus.PARTIAL_CONTENT,
        headers=headers,
        content=lambda: device.card.reading(name),
        name=name,
        at=begin,
        size=end - begin,
    )


def _acknowledge(device: Device, request: Request, name: str) -> Answer:
    request.parameters()
    sha256 = request.json(sha256=str)["sha256"]
    if not _SHA256.fullmatch(sha256):
        raise AnswerError("bad_request", "sha256 is 64 hexadecimal characters")
    device.card.acknowledge(name, sha256)
    device.tell("acknowledged", recording=name)
    return Answer(status=HTTPStatus.NO_CONTENT)


_ROUTES: Final[tuple[tuple[re.Pattern[str], dict[str, Callable[..., Answer]]], ...]] = (
    (re.compile(r"/v1/agent"), {"PUT": _pair, "DELETE": _unpair}),
    (re.compile(r"/v1/camera"), {"GET": _describe}),
    (re.compile(r"/v1/collection"), {"GET": _collects, "PUT": _collect}),
    (re.compile(r"/v1/recordings"), {"GET": _list, "DELETE": _erase}),
    (re.compile(r"/v1/recordings/([a-z0-9]{1,32})"), {"DELETE": _remove}),
    (re.compile(r"/v1/recordings/([a-z0-9]{1,32})/content"), {"GET": _fetch}),
    (re.compile(r"/v1/recordings/([a-z0-9]{1,32})/acknowledged"), {"PUT": _acknowledge}),
)
