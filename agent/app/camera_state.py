"""How an enrolled camera is, told from what it answered last: paired or not, collected from or not, and why not.

Rules: pure; what a camera says of itself is its word and is told as such. One that answered just now is
``collecting``, or ``switched_off`` where it says that it records nothing; one that is away is ordinary, and told here
alone.
"""

from typing import Any, Final, Literal

import msgspec

from agent.camera.answer import AnswerError, Code, Status, StorageState
from agent.enrolment import Enrolled
from agent.nearby.reach import Reach

FRESH_MS: Final = 30_000
"""A camera is asked every 10 s; one that has not answered for three times that is not there."""

State = Literal[
    "not_paired_yet", "collecting", "switched_off", "failed", "not_heard", "paired", "answers", "not_looked_for"
]

_WORDS: Final[dict[str, str]] = {
    "setup_closed": "its set-up window is closed",
    "paired_elsewhere": "another agent has it",
    "not_paired": "it was reset, or another agent has it",
    "storage_missing": "its card is missing",
    "storage_failed": "its card answers with errors",
}
_OF_STORAGE: Final[dict[StorageState | None, Code]] = {"missing": "storage_missing", "failing": "storage_failed"}
_IMPERSONATED: Final = "something else answers for it, and was given nothing"
_LOOK_WHO: Final = "look who is on its network: privacy-agent discover"
_SET_UP: Final = "press the set-up button at the camera"
_LOOK: Final = "see that it is on and on this network: privacy-agent discover"
_AGAIN: Final = "it is tried again by itself; privacy-agent discover and the agent's log say more"
_UNHEARD: Final = "nothing listens for it, and it was enrolled without an address"
_LISTEN: Final = "add the line [discovery] to agent.toml, and start the agent again"


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What became of asking a camera: when it answered last, in agent time, what it said, and why it cannot be asked.

    ``reason`` is what its source tells, empty where nothing is wrong, and ``code`` the camera's own answer, where that
    is why. ``looked_for`` says that it was called at all, whether or not it answered.
    """

    met_ms: int | None = None
    looked_for: bool = False
    says: tuple[str, ...] = ()
    storage: StorageState | None = None
    reason: str = ""
    code: Code | Literal[""] = ""


def sayings(status: Status) -> tuple[str, ...]:
    """Return what a camera says of itself in words: what it does, and what is wrong with its card."""
    card = {"ok": "", "full": "card full", "missing": "card missing", "failing": "card failing"}[status.storage]
    doing = "recording" if status.recording else "not recording"
    return tuple(word for word in (doing, card) if word)


def how_view(
    camera: Enrolled,
    said: Said,
    reach: Reach,
    *,
    running: bool,
    now_ms: int,
    findable: bool,
    is_off: bool = False,
    is_impersonated: bool = False,
) -> dict[str, Any]:
    """Return how an enrolled camera is, as plain JSON: ``state``, and where there is one ``reason`` and ``next``.

    ``findable`` says that there is a way to where it is: an address, or that somebody listens; ``is_off`` that the
    camera said that its collection is switched off, ``is_impersonated`` that something else answers in its place.
    """
    if camera.level != "proved":
        states: dict[bool | None, State] = {True: "answers", False: "not_heard", None: "not_looked_for"}
        return _told(states[reach.reachable], following=_LOOK if reach.reachable is False else "")
    if not running:
        return _told("paired" if camera.advert_key else "not_paired_yet")
    reason, code = _wrong(said)
    if reason or code:
        return _in_trouble(reason, code)
    if said.met_ms is not None and now_ms - said.met_ms < FRESH_MS and reach.reachable is not False:
        return _told("switched_off" if is_off else "collecting") | {"says": list(said.says)}
    if reach.reachable and not camera.advert_key:
        return _told("not_paired_yet", following=_SET_UP)
    is_looked_for = said.looked_for or said.met_ms is not None or reach.reachable is not None
    return _unheard(camera, findable=findable, is_looked_for=is_looked_for, is_impersonated=is_impersonated)


def _unheard(camera: Enrolled, *, findable: bool, is_looked_for: bool, is_impersonated: bool) -> dict[str, Any]:
    """Tell of one that gave no answer: it is away only where somebody has looked."""
    if is_impersonated:
        return _told("not_heard", reason=_IMPERSONATED, following=_LOOK_WHO)
    if not findable:
        return _told("not_looked_for", reason=_UNHEARD, following=_LISTEN)
    if is_looked_for:
        return _told("not_heard", following=_LOOK)
    return _told("not_looked_for", following="" if camera.advert_key else _SET_UP)


def _wrong(said: Said) -> tuple[str, Code | Literal[""]]:
    """Return what is wrong, and the code for it: what a camera says of its card now counts before an older answer."""
    if said.code and said.code not in _OF_STORAGE.values():
        return said.reason, said.code
    if said.storage in _OF_STORAGE:
        return said.reason, _OF_STORAGE[said.storage]
    return ("", "") if said.code and said.storage is not None else (said.reason, said.code)


def _in_trouble(reason: str, code: Code | Literal[""]) -> dict[str, Any]:
    if code == "setup_closed":
        return _told("not_paired_yet", reason=_WORDS[code], following=_SET_UP)
    hint = AnswerError(code).hint if code else ""
    return _told("failed", reason=_WORDS.get(code, reason), following=hint or _AGAIN)


def _told(state: State, *, reason: str = "", following: str = "") -> dict[str, Any]:
    told: dict[str, Any] = {"state": state}
    if reason:
        told["reason"] = reason
    if following:
        told["next"] = following
    return told
