"""Which of two policies allows less: a partial order, field by field.

A policy is tighter than another when nothing in it loosens: nothing is kept longer, read by somebody else, used for
something else, or sent further. ``DIRECTIONS`` states for each field which way that is; a test fails for a field that
has no direction. Some fields have none that is better for everybody (``EXACT``): any other value of them loosens, so
that the owner is asked. What changes nothing for the data (``FREE``) is neutral.

Rules:

- Two policies are compared in what they do, rule by rule: a camera's own table that goes leaves its category's.
- Where there is no rule nothing is taken in, and nothing ends what is held: taking a rule away loosens what it limited.
  ``seal_to = []`` takes nothing in either, and what is held ends as before.
- A limit of size or count is one of a set of recordings. A camera with a table of its own is a set of its own, so what
  the new sets may hold together is compared with what the old one might.
- The owner's recipients are exact: who takes one away takes the owner's access.
- Of the category ``export`` only its limits count: whom an export is sealed to, its own command says.

``compare(a, a)`` is empty; where neither ``compare(a, b)`` nor ``compare(b, c)`` loosens, ``compare(a, c)`` does not.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final, Literal

import msgspec

from agent.model import Category
from agent.policy import counts
from agent.policy.counts import Counts
from agent.policy.fields.order import tells_no_more
from agent.policy.fields.rule import Fields
from agent.policy.purpose import Purpose
from agent.policy.values import Keep, Policy, Rule

Kind = Literal["tighter", "looser", "neutral"]
Shade = tuple[Kind, str]
"""What a change of a value is, and why."""

FORGET_ALONE_MS: Final = 30 * 60_000
"""Keys are destroyed no oftener than this because somebody other than the owner says so: a secure element bears some
hundred thousand writes, which is six years of them."""

_MINUTES: Final = range(24 * 60)
_DURATIONS: Final = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms"))
_SIZES: Final = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB"), (1, "B"))
_KEY_SHOWN: Final = 20
_NAMES_SHOWN: Final = 16
_UPLOADS: Final = ("never", "allowed", "before-expiry")
_BASES: Final = {"consent": 0, "contract": 1, "legitimate-interest": 1, "legal-obligation": 2}
"""Consent is off until it is given, a legal obligation asks nobody; those between end with the owner's no."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that another policy does otherwise, and why it is of that kind.

    ``path`` names what changes; ``at`` the line of the other document that decides it, for ``document.Lines``.
    """

    kind: Kind
    path: tuple[str, ...]
    at: tuple[str, ...]
    before: str
    after: str
    because: str

    def __str__(self) -> str:
        return f"{'.'.join(self.path)}: {self.before} -> {self.after} ({self.kind}: {self.because})"


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """How two values of a field compare: ``shades`` tells of what kind each difference is, ``said`` says it in words.

    Without ``shades`` the field is compared by the struct that it holds, or with the help of other fields.
    """

    said: str
    shades: Callable[[Any, Any], Iterator[Shade]] | None = None


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """The direction of a field, the key at which it stands in its table, and how its values are written."""

    way: Way
    key: tuple[str, ...] = ()
    text: Callable[[Any], str] = str


def _lower(before: int | None, after: int | None) -> Iterator[Shade]:
    if after is None or (before is not None and after > before):
        yield "looser", "no limit" if after is None else "a higher limit"
    else:
        yield "tighter", "a lower limit"


def _sooner(before: int, after: int) -> Iterator[Shade]:
    if before > after and after < FORGET_ALONE_MS:
        yield "looser", "the keystore would be rewritten so often that it wears out"
    else:
        yield from _lower(before, after)


def _higher(before: float | None, after: float | None) -> Iterator[Shade]:
    low, high = before or 0, after or 0
    if high != low:
        yield ("tighter", "more stays free") if high > low else ("looser", "less stays free")


def _fewer(before: tuple[str, ...], after: tuple[str, ...]) -> Iterator[Shade]:
    gained, lost = set(after) - set(before), set(before) - set(after)
    if gained:
        yield "looser", f"new: {_names(sorted(gained))}"
    if lost:
        yield "tighter", f"no more: {_names(sorted(lost))}"


def _places(before: tuple[str, ...], after: tuple[str, ...]) -> Iterator[Shade]:
    if before and after:
        yield from _fewer(before, after)
    else:
        yield ("looser", "anywhere") if before else ("tighter", "nowhere else")


def _times(before: tuple[tuple[int, int], ...], after: tuple[tuple[int, int], ...]) -> Iterator[Shade]:
    was, will = _minutes(before), _minutes(after)
    if will - was:
        yield "looser", f"{len(will - was)} more minutes of the day"
    if was - will:
        yield "tighter", f"{len(was - will)} fewer minutes of the day"


def _minutes(hours: tuple[tuple[int, int], ...]) -> frozenset[int]:
    if not hours:
        return frozenset(_MINUTES)
    return frozenset(
        minute
        for minute in _MINUTES
        for start, end in hours
        if (start <= minute < end if start < end else minute >= start or minute < end)
    )


def _uploads(before: str, after: str) -> Iterator[Shade]:
    if _UPLOADS.index(after) > _UPLOADS.index(before):
        yield "looser", "more is sent, or kept until it is"
    else:
        yield "tighter", "less is sent, or kept until it is"


def _no(before: bool, after: bool) -> Iterator[Shade]:  # noqa: FBT001 - a pair of values
    if after and not before:
        yield "looser", "this device may open it again"
    else:
        yield "tighter", "this device may not open it again"


def _told(before: Fields | None, after: Fields | None) -> Iterator[Shade]:
    if not tells_no_more(after, before):
        yield "looser", "more is told, or they cannot be compared"
    else:
        yield ("neutral", "the same is told") if tells_no_more(before, after) else ("tighter", "less is told")


def _counts(before: Counts | None, after: Counts | None) -> Iterator[Shade]:
    if not counts.tells_no_more(after, before):
        yield "looser", "more is counted, for a higher price, or for another purpose"
    else:
        same = counts.tells_no_more(before, after)
        yield ("neutral", "the same is counted") if same else ("tighter", "less is counted, or for a lower price")


def _purposes(before: tuple[Purpose, ...], after: tuple[Purpose, ...]) -> Iterator[Shade]:
    yield from _fewer(_named(before), _named(after))


def _named(purposes: tuple[Purpose, ...]) -> tuple[str, ...]:
    return tuple(purpose.name for purpose in purposes)


def _basis(before: str, after: str) -> Iterator[Shade]:
    if _BASES[after] < _BASES[before]:
        yield "tighter", "the owner is asked for more"
    else:
        yield "looser", "the owner is asked for less, or for something else"


def _other(_before: object, _after: object) -> Iterator[Shade]:
    yield "looser", "neither is tighter than the other"


def _any(_before: object, _after: object) -> Iterator[Shade]:
    yield "neutral", "nothing is kept, read or sent that was not"


def _names_alone(_before: object, _after: object) -> Iterator[Shade]:
    yield "neutral", "by these names; whose keys read is compared beside"


LOWER: Final = Way(said="lower is tighter; none is no limit", shades=_lower)
SOONER: Final = Way(said="lower is tighter, down to half an hour; less is the owner's to choose", shades=_sooner)
HIGHER: Final = Way(said="higher is tighter", shades=_higher)
FEWER: Final = Way(said="fewer are tighter", shades=_fewer)
PLACES: Final = Way(said="fewer are tighter; none named is any", shades=_places)
TIMES: Final = Way(said="less of the day is tighter; none named is all of it", shades=_times)
UPLOADS: Final = Way(said="never, then allowed, then before-expiry", shades=_uploads)
NO: Final = Way(said="false is tighter", shades=_no)
PURPOSES: Final = Way(said="fewer are tighter", shades=_purposes)
BASIS: Final = Way(said="consent, then contract or legitimate-interest, then legal-obligation", shades=_basis)
FIELDS: Final = Way(said="what tells no more is tighter; none at all tells everything", shades=_told)
COUNTS: Final = Way(said="none, or fewer at a lower price, is tighter", shades=_counts)
EXACT: Final = Way(said="any other value is the owner's to choose", shades=_other)
FREE: Final = Way(said="changes nothing that is kept, read or sent", shades=_any)
NAMES: Final = Way(said="the names alone; whom they stand for is compared beside", shades=_names_alone)
NAME: Final = Way(said="says which rule it is; nothing to compare")
INSIDE: Final = Way(said="compared by what it holds")
TOGETHER: Final = Way(said="lower is tighter, of all sets together that take a set's place; none is no limit")
READERS: Final = Way(said="fewer are tighter, none at all the most; the owner's are the owner's to choose")


def _names(values: Any) -> str:  # noqa: ANN401 - a list of texts, whatever its type
    """Write some of a list: a policy of a thousand cameras says it a thousand times."""
    shown = [value if len(value) <= _KEY_SHOWN else f"{value[:_KEY_SHOWN]}…" for value in values[:_NAMES_SHOWN]]
    more = f" and {len(values) - _NAMES_SHOWN} more" if len(values) > _NAMES_SHOWN else ""
    return ", ".join(shown) + more or "none"


def _purpose_names(value: tuple[Purpose, ...]) -> str:
    return _names(_named(value))


def _unit(value: int | None, units: tuple[tuple[int, str], ...]) -> str:
    if value is None:
        return "no limit"
    size, name = next((unit for unit in units if value and value % unit[0] == 0), units[-1])
    return f"{value // size}{name}"


def _duration(value_ms: int | None) -> str:
    return _unit(value_ms, _DURATIONS)


def _bytes(value: int | None) -> str:
    return _unit(value, _SIZES)


def _share(value: float | None) -> str:
    return "none" if value is None else f"{value * 100:g}%"


def _count(value: int | None) -> str:
    return "no limit" if value is None else str(value)


def _floor(value: int | None) -> str:
    return "none" if value is None else _bytes(value)


def _hours(value: tuple[tuple[int, int], ...]) -> str:
    texts = [f"{start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02}" for start, end in value]
    return ", ".join(texts) or "any time"


def _regions(value: tuple[str, ...]) -> str:
    return ", ".join(value) or "any"


def _rules(value: Fields | None) -> str:
    return "as it is" if value is None else f"rules for {', '.join(sorted(value.rules)) or 'nothing'}"


def _counted(value: Counts | None) -> str:
    if value is None:
        return "none"
    return f"{', '.join(sorted(value.values))} at {value.epsilon:g} of {value.budget:g} for {value.purpose}"


def _flag(value: bool) -> str:  # noqa: FBT001 - a value
    return "true" if value else "false"


DIRECTIONS: Final[dict[type, dict[str, Field]]] = {
    Policy: {
        "version": Field(way=EXACT, key=("version",)),
        "recipients": Field(way=READERS, key=("recipients", "owner"), text=_names),
        "purposes": Field(way=INSIDE),  # those that both rules of a pair have; others are used for nothing, or new
        "rules": Field(way=INSIDE),
        "regions": Field(way=PLACES, key=("upload", "regions"), text=_regions),
        "rate_bytes_s": Field(way=LOWER, key=("upload", "rate"), text=_bytes),
        "hours": Field(way=TIMES, key=("upload", "hours"), text=_hours),
        # Less asks more often, and what is due lies until the owner answers; more removes more without asking.
        "largest_pass": Field(way=EXACT, key=("retention", "largest_pass"), text=_share),
        "forget_within_ms": Field(way=SOONER, key=("retention", "forget_within"), text=_duration),
        "private_hosts": Field(way=FEWER, key=("delivery", "private_hosts"), text=_names),
        "answer_days": Field(way=LOWER, key=("requests", "working_days")),
        # Sooner ends the service and all that is held, later keeps both.
        "silent_ms": Field(way=EXACT, key=("end_of_service", "silent"), text=_duration),
        "grace_ms": Field(way=EXACT, key=("end_of_service", "grace"), text=_duration),
        "ending": Field(way=EXACT, key=("end_of_service", "plan")),
    },
    Rule: {
        "scope": Field(way=NAME),
        "camera": Field(way=NAME),
        "category": Field(way=NAME),
        "purposes": Field(way=PURPOSES, key=("purpose",), text=_purpose_names),
        "seal_to": Field(way=NAMES, key=("seal_to",), text=_names),  # names; whom they stand for is ``recipients``
        "recipients": Field(way=READERS, key=("seal_to",), text=_names),
        "upload": Field(way=UPLOADS, key=("upload",)),
        "keep": Field(way=INSIDE),
        # One loses what is old, the other takes in nothing new.
        "on_full": Field(way=EXACT, key=("on_full",)),
        "priority": Field(way=FREE, key=("priority",)),
        "readable_by_device": Field(way=NO, key=("readable_by_device",), text=_flag),
        "fields": Field(way=FIELDS, key=("fields",), text=_rules),
        "counts": Field(way=COUNTS, key=("counts",), text=_counted),
    },
    Purpose: {
        "name": Field(way=NAME),
        "description": Field(way=EXACT, key=("description",), text=repr),  # what was consented to
        "basis": Field(way=BASIS, key=("basis",)),
        "seal_to": Field(way=NAMES, key=("seal_to",), text=_names),
        "recipients": Field(way=READERS, key=("seal_to",), text=_names),
    },
    Keep: {
        "age_ms": Field(way=LOWER, key=("keep", "age"), text=_duration),
        "size_bytes": Field(way=TOGETHER, key=("keep", "size"), text=_bytes),
        "count": Field(way=TOGETHER, key=("keep", "count"), text=_count),
        "disk_free_bytes": Field(way=HIGHER, key=("keep", "disk_free"), text=_floor),
        "disk_free_share": Field(way=HIGHER, key=("keep", "disk_free"), text=_share),
    },
}
"""Each field of the policy and of all that it holds, and which way is tighter."""


def compare(before: Policy, after: Policy) -> tuple[Change, ...]:
    """Return all that ``after`` does otherwise than ``before``, in the order of the document."""
    return tuple(dict.fromkeys(_compared(before, after)))


def loosens(changes: tuple[Change, ...]) -> tuple[Change, ...]:
    """Return those changes for which the owner is asked; none: it applies at once."""
    return tuple(change for change in changes if change.kind == "looser")


class _Place(msgspec.Struct, frozen=True):
    """The table that a change is told of, and the one of the other document that decides it."""

    path: tuple[str, ...] = ()
    at: tuple[str, ...] = ()


def _compared(before: Policy, after: Policy) -> Iterator[Change]:
    owner = DIRECTIONS[Policy]["recipients"]
    was, will = before.owner_recipients(), after.owner_recipients()
    yield from _changes(owner, _Place(), was, will, _owners(was, will))
    yield from _fields(Policy, before, after, place=_Place())
    own_rules = {rule.scope: rule for rule in before.rules}
    deciding = tuple((policy, _by_set(policy)) for policy in (before, after))
    for rule in _scopes(before, after):
        old, new = (_effective(policy, known, rule.camera, rule.category) for policy, known in deciding)
        place = _Place(_path(rule.scope), _path(new.scope or rule.scope))
        yield from _readers(old, new, owners=frozenset(was), place=place)
        for name in _named(new.purposes):
            if name in _named(old.purposes):
                yield from _fields(Purpose, _get(old, name), _get(new, name), place=_purpose_place(name))
        yield from _fields(Rule, old, new, place=place)
        yield from _fields(Keep, old.keep, new.keep, place=place)
        own = own_rules.get(rule.scope)
        if own is not None:
            yield from _sets(own, _heirs(before, after, own, general=new), place=place)


def _fields(kind: type, before: object, after: object, *, place: _Place) -> Iterator[Change]:
    """Compare the fields whose way needs no other field."""
    for name, field in DIRECTIONS[kind].items():
        was, will = getattr(before, name), getattr(after, name)
        if field.way.shades is not None and was != will:
            yield from _changes(field, place, was, will, field.way.shades(was, will))


def _changes(field: Field, place: _Place, was: object, will: object, shades: Iterator[Shade]) -> Iterator[Change]:
    for kind, because in shades:
        path, at = (*place.path, *field.key), (*place.at, *field.key)
        yield Change(kind=kind, path=path, at=at, before=field.text(was), after=field.text(will), because=because)


def _path(scope: str) -> tuple[str, ...]:
    return tuple(scope.split("."))


def _owners(was: tuple[str, ...], will: tuple[str, ...]) -> Iterator[Shade]:
    if set(was) != set(will):
        yield "looser", "who the owner is, only the owner says"


def _readers(old: Rule, new: Rule, *, owners: frozenset[str], place: _Place) -> Iterator[Change]:
    """Compare who reads what is taken in, purpose by purpose: which of them are allowed, the owner says later."""
    was, will = _who_reads(old), _who_reads(new)
    all_was, all_will = (frozenset[str]().union(*some.values()) for some in (was, will))
    field = DIRECTIONS[Rule]["recipients"]
    if not all_will:
        if all_was:
            stopped: Shade = "tighter", "nothing is taken in any more"
            yield from _changes(field, place, sorted(all_was), (), iter([stopped]))
        return
    if all_was & owners - all_will:
        lost: Shade = "looser", "the owner could not open it any more"
        yield from _changes(field, place, sorted(all_was), sorted(all_will), iter([lost]))
    for name in will:
        gained, gone = will[name] - was.get(name, frozenset()), was.get(name, frozenset()) - will[name]
        by_rule = gained <= set(new.recipients) and gone <= set(old.recipients)
        where = place if by_rule else _purpose_place(name)
        yield from _changes(field, where, sorted(was.get(name, ())), sorted(will[name]), _shades(gained, gone, owners))


def _shades(gained: frozenset[str], gone: frozenset[str], owners: frozenset[str]) -> Iterator[Shade]:
    if gained:
        yield "looser", f"new: {_names(sorted(gained))}"
    if gone & owners:
        yield "looser", "the owner could not open it any more"
    if gone - owners:
        yield "tighter", f"no more: {_names(sorted(gone - owners))}"


def _who_reads(rule: Rule) -> dict[str, frozenset[str]]:
    """Return the recipients of what is sealed for each purpose of a rule alone."""
    return {purpose.name: frozenset((*rule.recipients, *purpose.recipients)) for purpose in rule.purposes}


def _get(rule: Rule, name: str) -> Purpose:
    return next(purpose for purpose in rule.purposes if purpose.name == name)


def _purpose_place(name: str) -> _Place:
    return _Place(("purpose", name), ("purpose", name))


def _scopes(before: Policy, after: Policy) -> tuple[Rule, ...]:
    """Return one rule of each name that either policy has, in the order of the new document."""
    named = {rule.scope: rule for policy in (after, before) for rule in policy.rules}
    return tuple(rule for rule in named.values() if rule.category != "export" or not rule.camera)


def _by_set(policy: Policy) -> dict[tuple[str, str], Rule]:
    """Return the rules by camera and category, once for as many as are asked for."""
    return {(rule.camera, rule.category): rule for rule in policy.rules}


def _effective(policy: Policy, known: dict[tuple[str, str], Rule], camera: str, category: Category) -> Rule:
    """Return what decides over this camera's category; where there is no rule, one that takes nothing in or away."""
    nothing = Rule(
        scope="",
        camera=camera,
        category=category,
        purposes=(),
        seal_to=(),
        recipients=(),
        upload="never",
        keep=Keep(),
        on_full="refuse",
        priority=0,
        readable_by_device=False,
        fields=Fields({}),
    )
    if category == "export":
        return msgspec.structs.replace(nothing, keep=policy.export_rule().keep)
    return known.get((camera, category)) or known.get(("", category)) or nothing


def _sets(own: Rule, heirs: tuple[Rule, ...], *, place: _Place) -> Iterator[Change]:
    """Compare the limits of a rule's set with those of all sets together that take its place."""
    for name, field in DIRECTIONS[Keep].items():
        if field.way is not TOGETHER:
            continue
        was = getattr(own.keep, name)
        limits = [getattr(heir.keep, name) for heir in heirs]
        will = None if None in limits else sum(limits)
        if was != will:
            yield from _changes(field, place, was, will, _lower(was, will))


def _heirs(before: Policy, after: Policy, own: Rule, *, general: Rule) -> tuple[Rule, ...]:
    """Return the rules that decide, after, over what is in the set of ``own`` before; ``general`` does over that."""
    if own.camera or own.category == "export":
        return (general,)
    apart = {rule.camera for rule in before.rules if rule.category == own.category}
    return (general, *(rule for rule in after.rules if rule.category == own.category and rule.camera not in apart))
