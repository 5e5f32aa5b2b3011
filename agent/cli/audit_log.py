"""How the audit log looks to a person: a line for each entry, what else is to be said of it beside or beneath.

Rules: each line is written as it comes and none is kept, so widths are known beforehand and a log of a million entries
costs no more memory than one page of it. Hashes and signatures are for programs and stand in the JSON lines alone.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

from agent.shell.layout import heading, printable, size
from agent.shell.times import when

WORDS: Final[dict[str, str]] = {
    "started": "agent started",
    "stopped": "agent stopped",
    "owner_set": "owner set",
    "owner_left": "owner left",
    "keyset_accepted": "key set accepted",
    "trust_ended": "keys not trusted now",
    "policy_changed": "policy changed",
    "clock_changed": "clock changed",
    "camera_enrolled": "camera seen first",
    "camera_trusted": "camera trusted",
    "camera_changed": "camera changed",
    "camera_forgotten": "camera forgotten",
    "camera_paired": "camera paired",
    "camera_refused": "camera refused",
    "link_key_made": "link key made",
    "collection_switched": "collection switched",
    "collection_confirmed": "collection confirmed",
    "admitted": "taken in",
    "ingest_refused": "not taken in",
    "source_given_up": "source's copy gone",
    "source_left": "source's copy stays",
    "upload_begun": "upload begun",
    "stored": "stored",
    "lost": "lost by its store",
    "resealed": "sealed anew",
    "narrowed": "readers cut down",
    "erase_asked": "delete begun",
    "keys_rotated": "keys changed",
    "erased": "deleted",
    "remote_erased": "deleted at store",
    "mark_moved": "cut-off moved",
    "command_accepted": "command accepted",
    "command_refused": "command refused",
    "command_waiting": "command waits",
    "command_approved": "command approved",
    "command_done": "command done",
    "exported": "exported",
    "handed_out": "handed out",
    "inventory_told": "inventory told",
    "counts_told": "counts told",
    "alert_raised": "alert raised",
    "alert_cleared": "alert ended",
    "corrupt_object": "found damaged",
    "mended": "mended",
    "freeze_put": "freeze put",
    "freeze_lifted": "freeze lifted",
    "freeze_shortened": "freeze shortened",
    "rectified": "corrected",
    "remote_rectified": "corrected at store",
    "purpose_said": "purpose decided",
    "do_not_track": "do not track",
    "service_changed": "service changed",
    "integration_changed": "integration changed",
}
"""What each kind of entry says that happened, short enough for its column."""

_BY_RULE: Final = frozenset({"ingest_refused", "source_given_up", "erase_asked", "erased", "resealed", "narrowed"})
"""Kinds whose ``rule`` is one that acted; of the others it is a word that says which: an alert's code, a verb."""

_WHO: Final = {"device": "by device", "local": "by somebody here", "": ""}
_SEQ_WIDTH: Final = 7  # a million entries are kept
_WHEN_WIDTH: Final = 25
_WHAT_WIDTH: Final = max(map(len, WORDS.values()))
_ABOUT: Final = ("about", "rule", "by whom")
_GAP: Final = "  "
_DOT: Final = " \N{MIDDLE DOT} "
_BESIDE_MIN: Final = 56
"""Where there is less room beside the columns, what else is to be said stands beneath: a key's id has to fit."""

_NO_BREAK: Final = "\N{NO-BREAK SPACE}"  # not printable by our rule, so nothing that is said has one

_LONG: Final = 40
_SHORT: Final = 12
_OLDEST_MS: Final = 1_000_000_000_000
"""A ``before`` above it is a time (of 2001 or later), and a number of things below."""


def shown(lines: Iterable[str], *, columns: int) -> Iterator[str]:
    """Yield what stands on the screen for the log's lines, under a head; ``columns`` is how wide that is, 0 for any.

    A line that cannot be read is shown as it is, without what would steer the terminal.
    """
    under_head = False
    for line in lines:
        if not under_head:
            yield _row("entry", "when", "what", _ABOUT, columns=columns)
            under_head = True
        try:
            cells = _cells(json.loads(line))
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            yield printable(line)
        else:
            yield _row(*cells, columns=columns)


def _cells(told: dict[str, Any]) -> tuple[str, str, str, tuple[str, ...]]:
    """Return number, time, what happened and what else there is to say; any of the errors that ``shown`` names."""
    if "checkpoint" in told:
        inner = told["checkpoint"]
        return "", when(inner["at"]), "log signed", (f"up to entry {inner['seq']}", f"by key {_short(inner['kid'])}")
    kind, about, command, rule = told["kind"], told["object"], told["command"], told["rule"]
    said = (
        about,
        "" if kind in _BY_RULE else rule,
        *(_detail(name, value) for name, value in told["detail"].items() if value != rule),
        f"rule {rule}" if rule and kind in _BY_RULE else "",
        _WHO[told["actor"]] if told["actor"] in _WHO else f"by key {_short(told['actor'])}",
        f"command {command}" if command and command != about else "",
        "" if told["trusted"] else "clock unsure",
    )
    return str(told["seq"]), when(told["at"]), WORDS.get(kind, kind.replace("_", " ")), said


def _detail(name: str, value: object) -> str:
    """Say a code or a counter; a time as a time, bytes as a size."""
    words = name.replace("_", " ")
    if name == "before" and isinstance(value, int) and value > _OLDEST_MS:
        return f"{words} {when(value)}"
    if name == "bytes" and isinstance(value, int):
        return size(value)
    if name in {"category", "reason"}:
        return str(value)
    return f"{words} {_short(str(value))}"


def _short(text: str) -> str:
    """Return of a key's id or a hash as much as tells two apart; ids that a command takes are shorter, and whole."""
    return text if len(text) < _LONG else f"{text[:_SHORT]}…"


def _row(seq: str, at: str, what: str, said: Iterable[str], *, columns: int) -> str:
    """Return one entry's lines; what a screen has no room for stands beneath, from the last column on."""
    cells = [printable(seq).rjust(_SEQ_WIDTH), printable(at).ljust(_WHEN_WIDTH), printable(what).ljust(_WHAT_WIDTH)]
    words = [printable(word) for word in said if word]
    before = len(_GAP.join(cells)) + len(_GAP)
    if not columns or columns - before >= _BESIDE_MIN:
        first, *others = _broken(words, width=columns and columns - before)
        lines = [_GAP.join((*cells, first)), *(" " * before + other for other in others)]
    else:
        if before - len(_GAP) > columns:
            words.insert(0, cells.pop().rstrip())
        before = _SEQ_WIDTH + len(_GAP)
        lines = [_GAP.join(cells), *(" " * before + one for one in _broken(words, width=columns - before))]
    return "\n".join(line.rstrip() for line in lines if line.strip())


def _broken(words: list[str], *, width: int) -> list[str]:
    """Return what is said in lines that are broken between two of ``words``, and within one that is wider alone."""
    ends = [*[_DOT.rstrip()] * (len(words) - 1), ""]
    kept = [word + end for word, end in zip(words, ends, strict=False)]
    kept = [one.replace(" ", _NO_BREAK) if len(one) <= width else one for one in kept]
    return heading(" ".join(kept), columns=width).replace(_NO_BREAK, " ").split("\n")
