"""How the verbs read a question, and how much they answer with at most.

Arguments are JSON that anybody of this machine's group wrote: what they name is looked for, never trusted.
"""

import json
from typing import Any, Final

import msgspec

from agent import enrolment, registry
from agent.clock import parse_rfc3339_ms
from agent.control import ANSWER_BYTES, Progress, Verb
from agent.errors import ConfigError, RefusedError
from agent.index import Tx
from agent.model import Selection

LISTED_MAX: Final = 1000
"""Objects of one answer; of an inventory ``after`` asks for the next."""

LISTED_BYTES: Final = ANSWER_BYTES // 2
"""Of one answer: objects sealed to several post-quantum recipients take thousands of bytes each."""

_COUNT_MAX: Final = 2**53
_FILE_NAMES: Final = frozenset({"file", "name"})


def selection_of(args: dict[str, Any]) -> Selection:
    """Read a selection; none of its members means all. Raises ``ConfigError`` for one that can mean nothing."""
    told = {name: args[name] for name in ("ids", "camera", "category", "from", "to") if args.get(name)}
    if "ids" in told and len(told) > 1:
        raise ConfigError("ids stand alone", hint="leave out camera, category, from and to; or the ids")
    try:
        begin, end = (parse_rfc3339_ms(told[name]) if name in told else None for name in ("from", "to"))
        selection = msgspec.convert(told or {"all": True}, Selection)
    except (msgspec.ValidationError, ValueError, TypeError) as error:
        raise ConfigError(
            f"the selection is not understood: {error}", hint="use ids, or camera, category, from, to"
        ) from error
    if begin is not None and end is not None and begin >= end:
        raise ConfigError("from is not before to", hint="name the earlier time first: --from 14d --to 7d")
    return selection


def with_camera(tx: Tx, selection: Selection) -> Selection:
    """Return the selection with its camera's id where a name was given; raises ``RefusedError`` for what is neither."""
    told = selection.camera
    if told is None:
        return selection
    found = cameras_meant(tx, told)
    if len(found) != 1:
        raise RefusedError(
            f"no camera {told!r} is known here" if not found else f"{len(found)} cameras are called {told!r}",
            reason="malformed",
            retry="after_fix",
            hint="privacy-agent cameras lists the ids" if not found else f"name one by its id: {', '.join(found[:8])}",
        )
    return msgspec.structs.replace(selection, camera=found[0])


def cameras_meant(tx: Tx, told: str) -> list[str]:
    """Return the ids of the cameras that have this id, else of those that have this name."""
    if registry.camera(tx, told) is not None:
        return [told]
    return [one.id for one in registry.every_camera(tx) if told in {one.label, enrolment.label_of(tx, one.id)}]


def enrolled_named(tx: Tx, told: str) -> str:
    """Return the id of the enrolled camera that has this id or, alone, this name; else what was told."""
    enrolled = enrolment.enrolled(tx)
    named = [one.camera for one in enrolled if told and one.name == told]
    if told in {one.camera for one in enrolled} or not named:
        return told
    if len(named) > 1:
        raise ConfigError(
            f"{len(named)} cameras are called {told!r}", hint=f"name one by its id: {', '.join(named[:8])}"
        )
    return named[0]


def count(args: dict[str, Any], name: str, *, usual: int) -> int:
    """Read a whole number from 0; raises ``ConfigError`` for what is none."""
    value = args.get(name, usual)
    if type(value) is not int or not 0 <= value <= _COUNT_MAX:
        raise ConfigError(f"{name} {value!r} is not a count", hint="give a whole number from 0")
    return value


def in_whole_characters(verb: Verb) -> Verb:
    """Refuse half a character, which JSON can write and neither the index nor UTF-8 can hold, before it gets there.

    How a file is called, which is only told back, may be any bytes.
    """

    async def asked(args: dict[str, Any], progress: Progress) -> Any:  # noqa: ANN401 - JSON
        try:
            meant = {name: value for name, value in args.items() if name not in _FILE_NAMES}
            json.dumps(meant, ensure_ascii=False).encode()
        except (UnicodeEncodeError, RecursionError):
            raise RefusedError(
                "the question is not UTF-8 text", reason="malformed", retry="after_fix", hint="give ids as text"
            ) from None
        return await verb(args, progress)

    return asked
