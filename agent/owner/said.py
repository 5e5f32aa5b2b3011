"""What the owner says of purposes, and the device's records of it, in words; no files, no clock."""

from typing import Any, Final

import msgspec

from agent.envelope import Consent, ConsentRecords, Objection, Withdraw
from agent.shell.layout import clean
from agent.shell.times import when_text

NOTHING: Final = "nothing was said of any purpose: those that need consent are off"

_ID: Final = "dpv:hasIdentifier"
_WORDS: Final = {
    "dpv:ConsentGiven": "given",
    "dpv:ConsentRefused": "refused",
    "dpv:ConsentWithdrawn": "withdrawn",
    "dpv:RightExerciseActivity": "objected",
}
"""What the type of a record's status means in a word."""


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What a record tells; what is not legible in it is empty."""

    at: str
    word: str
    purpose: str
    category: str
    by: str
    policy: str


def asked(request: Consent | Withdraw | Objection | ConsentRecords) -> str:
    """Say in words what a command wants."""
    if isinstance(request, ConsentRecords):
        return "what was said of purposes"
    if isinstance(request, Objection) and request.purpose is None:
        return f"do not track: {'on' if request.do_not_track else 'off'}"
    word = f"{request.decision}: " if isinstance(request, Consent) else ""
    of = request.category or "whatever the policy uses for it"
    return f"{word}{request.purpose}, of {of}"


def line(record: dict[str, Any]) -> str:
    """Say a record in one line."""
    one = read(record)
    named = clean(str(record.get(_ID, "")))
    return f"{one.purpose}, of {one.category}: {one.word} by {one.by}, {when_text(one.at)} (record {named})"


def read(record: dict[str, Any]) -> Said:
    """Return what a record tells."""
    process = _first(record, "dpv:hasProcess")
    status = _first(process, "dpv:hasConsentStatus") or _first(process, "dct:hasPart")
    by = str(status.get("dpv:isIndicatedBy", ""))
    return Said(
        at=clean(str(status.get("dpv:isIndicatedAtTime", ""))),
        word=next((_WORDS[name] for name in _texts(status, "@type") if name in _WORDS), ""),
        purpose=clean(str(_first(process, "dpv:hasPurpose").get(_ID, ""))),
        category=clean(str(_first(process, "dpv:hasPersonalData").get("skos:prefLabel", ""))),
        by=clean(_name_of(record, by) or by[:12]),
        policy=clean(str(_first(record, "dpv:hasNotice").get(_ID, "")).removeprefix("sha256:")),
    )


def _name_of(record: dict[str, Any], entity: str) -> str:
    entities = record.get("dpv:hasEntity")
    known = entities.get(entity) if isinstance(entities, dict) else None
    return str(known.get("dpv:hasName", "")) if isinstance(known, dict) else ""


def _first(of: dict[str, Any], name: str) -> dict[str, Any]:
    found = of.get(name)
    return found[0] if isinstance(found, list) and found and isinstance(found[0], dict) else {}


def _texts(of: dict[str, Any], name: str) -> list[str]:
    found = of.get(name)
    return [one for one in found if isinstance(one, str)] if isinstance(found, list) else []
