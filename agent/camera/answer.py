"""A camera's JSON becomes frozen values here; what does not have its form is refused (docs/camera-link.md §4, §5).

Members that are not known are ignored: a camera may be newer than we are.
"""

import re
from typing import Any, Final, Literal, cast, get_args

import msgspec

from agent.clock import parse_rfc3339_ms
from agent.envelope.json import decode_strictly
from agent.envelope.jws import b64url_decode
from agent.errors import CorruptError, LinkError
from agent.model import Category

BODY_MAX_BYTES: Final = 256 * 1024
PAGE_MAX: Final = 200
SIZE_MAX_BYTES: Final = 1 << 40

ADVERT_KEY_BYTES: Final = 32

ClockState = Literal["trusted", "unsure"]
StorageState = Literal["ok", "full", "missing", "failing"]
WORKING: Final[frozenset[StorageState]] = frozenset({"ok", "full"})
"""States of a card that can be read."""

Erasure = Literal["unlink", "key"]
Told = Literal["recording", "photo", "usage-log"]

Code = Literal[
    "bad_request", "setup_closed", "paired_elsewhere", "not_paired", "not_found", "method_not_allowed", "incomplete",
    "hash_mismatch", "other_storage", "too_large", "range_not_satisfiable", "unreadable", "storage_failed",
    "storage_missing", "busy",
]  # fmt: skip

_ID: Final = re.compile(r"[a-z0-9]{1,32}")
_STORAGE: Final = re.compile(r"[a-z2-7]{16}")
_CURSOR: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_MEDIA_TYPE: Final = re.compile(r"[a-z0-9][a-z0-9.+-]{0,30}/[a-z0-9][a-z0-9.+-]{0,62}")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)
_TEXT_MAX: Final = 64

_HINTS: Final[dict[str, str]] = {
    "setup_closed": "open the set-up window at the camera, then enrol it again",
    "paired_elsewhere": "reset the camera (forgetting it there does not free it); forget it here, then enrol it again",
    "not_paired": "the camera was reset, or another agent has it: forget it, then enrol it again",
    "storage_failed": "look at the camera's card; it is tried again by itself",
    "storage_missing": "put a card into the camera; it is tried again by itself",
}


class AnswerError(LinkError):
    """The camera says why it did not do what it was asked; ``code`` is of the document's closed list."""

    def __init__(self, code: Code) -> None:
        super().__init__(f"the camera answers: {code}", hint=_HINTS.get(code, "it is tried again by itself"))
        self.code = code


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """What a camera says of one complete recording, photo or usage log; the interval is half open, in Unix ms."""

    id: str
    category: Category
    media_type: str
    from_ms: int
    to_ms: int
    clock: ClockState
    size_bytes: int
    sha256: bytes
    acknowledged: bool


class Page(msgspec.Struct, frozen=True):
    """One page of what is on the card ``card``; ``next`` is where the next one begins, ``""`` behind the last.

    What is still being recorded is not among ``recordings``; ``running`` are the ids of that and the clock's
    state. ``bad`` counts entries
    that have not their form: each is that entry's alone.
    """

    recordings: tuple[Recording, ...]
    running: tuple[tuple[str, ClockState], ...]
    next: str
    card: str
    bad: int = 0


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What a camera says of itself; ``card`` is the id of the one that is in, ``""`` when none can be read."""

    device: str
    model: str
    firmware: str
    time_ms: int
    clock: ClockState
    advert_key: bytes
    storage: StorageState
    card: str
    erasure: Erasure
    recording: bool
    microphone: bool
    stream: bool
    indicator: bool
    consent: bool


def read_page(raw: bytes) -> Page:
    """Read an answer to ``GET /v1/recordings``; ``CorruptError`` when it has not its form."""
    members = _Members(decode_strictly(raw, max_bytes=BODY_MAX_BYTES))
    listed = members.take("recordings", list)
    if len(listed) > PAGE_MAX:
        raise CorruptError(f"a page of more than {PAGE_MAX} recordings")
    following = members.matching("next", _CURSOR) if "next" in members else ""
    recordings, running, bad = [], [], 0
    for unverified in listed:
        try:
            item = _Members(unverified)
            if item.take("complete", bool):
                recordings.append(_recording(item))
            else:
                running.append((item.matching("id", _ID), item.clock()))
        except CorruptError:
            bad += 1
    card = members.matching("storage", _STORAGE)
    return Page(tuple(recordings), tuple(running), following, card, bad)


def read_status(raw: bytes) -> Status:
    """Read an answer to ``GET /v1/camera``; ``CorruptError`` when it has not its form."""
    members = _Members(decode_strictly(raw, max_bytes=BODY_MAX_BYTES))
    storage, state = _Members(members.take("storage", dict)), _Members(members.take("state", dict))
    advert_key = b64url_decode(members.take("advert_key", str))
    if len(advert_key) != ADVERT_KEY_BYTES:
        raise CorruptError("an advert key has 32 bytes")
    card_state = cast("StorageState", storage.choice("state", get_args(StorageState)))
    tells_card = card_state in WORKING or "id" in storage
    return Status(
        device=members.text("id"),
        model=members.text("model"),
        firmware=members.text("firmware"),
        time_ms=members.time_ms("time"),
        clock=members.clock(),
        advert_key=advert_key,
        storage=card_state,
        card=storage.matching("id", _STORAGE) if tells_card else "",
        erasure=cast("Erasure", storage.choice("erasure", get_args(Erasure))),
        recording=state.take("recording", bool),
        microphone=state.take("microphone", bool),
        stream=state.take("stream", bool),
        indicator=state.take("indicator", bool),
        consent=state.take("consent", bool),
    )


def read_collection(raw: bytes) -> bool:
    """Read whether the camera records, of an answer about ``/v1/collection``."""
    enabled: bool = _Members(decode_strictly(raw, max_bytes=BODY_MAX_BYTES)).take("enabled", bool)
    return enabled


def read_error(raw: bytes, *, status: int) -> AnswerError:
    """Read why something was not done; ``detail`` is a stranger's text and is told to nobody."""
    try:
        code = _Members(decode_strictly(raw, max_bytes=BODY_MAX_BYTES)).choice("code", get_args(Code))
    except CorruptError:
        code = "bad_request" if status < 500 else "busy"  # noqa: PLR2004 - HTTP's own line
    return AnswerError(cast("Code", code))


def _recording(item: "_Members") -> Recording:
    from_ms, to_ms = item.time_ms("from"), item.time_ms("to")
    if to_ms < from_ms:
        raise CorruptError("a recording that ends before it begins")
    size_bytes = item.take("size", int)
    if not 0 < size_bytes <= SIZE_MAX_BYTES:
        raise CorruptError("a recording of an impossible size")
    return Recording(
        id=item.matching("id", _ID),
        category=cast("Category", item.choice("category", get_args(Told))),
        media_type=item.matching("media_type", _MEDIA_TYPE),
        from_ms=from_ms,
        to_ms=to_ms,
        clock=item.clock(),
        size_bytes=size_bytes,
        sha256=bytes.fromhex(item.matching("sha256", _SHA256)),
        acknowledged=item.take("acknowledged", bool),
    )


class _Members:
    """The members of one JSON object, by name and type."""

    def __init__(self, unverified: object) -> None:
        if not isinstance(unverified, dict):
            raise CorruptError("the camera's answer is not of the document's form")
        self._members: dict[str, Any] = unverified

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def take(self, name: str, kind: type) -> Any:  # noqa: ANN401 - of that type
        value = self._members.get(name)
        if type(value) is not kind:  # a bool is no int here
            raise CorruptError(f"the camera's answer lacks {name}")
        return value

    def matching(self, name: str, pattern: re.Pattern[str]) -> str:
        value: str = self.take(name, str)
        if pattern.fullmatch(value) is None:
            raise CorruptError(f"the camera's answer says an impossible {name}")
        return value

    def choice(self, name: str, words: tuple[str, ...]) -> str:
        value: str = self.take(name, str)
        if value not in words:
            raise CorruptError(f"the camera's answer says an unknown {name}")
        return value

    def clock(self) -> ClockState:
        return cast("ClockState", self.choice("clock", get_args(ClockState)))

    def text(self, name: str) -> str:
        """Return a stranger's text as what may be shown: printable, and short."""
        value: str = self.take(name, str)
        if not 0 < len(value) <= _TEXT_MAX or not value.isprintable():
            raise CorruptError(f"the camera's answer says an impossible {name}")
        return value

    def time_ms(self, name: str) -> int:
        text = self.matching(name, _TIME)
        try:
            return parse_rfc3339_ms(text)
        except ValueError as error:
            raise CorruptError(f"the camera's answer says an impossible {name}") from error
