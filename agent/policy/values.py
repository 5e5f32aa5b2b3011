"""The policy and the facts of a decision, as frozen values. Durations are milliseconds, sizes are bytes."""

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from agent.model import Aged, AtStore, Category, Kind, Moment, Object, State
from agent.policy.counts import Counts
from agent.policy.fields.rule import Fields, periods_ms
from agent.policy.purpose import BUILT_IN, Consents, Purpose

Action = Literal["ingest", "upload", "expire", "delete", "export", "inventory", "count"]
UploadRule = Literal["never", "allowed", "before-expiry"]
OnFull = Literal["refuse", "drop-oldest"]

EndingPlan = Literal["delete", "keep"]

GRACE_MS: Final = 30 * 86_400_000
"""Between the end of a service and its deletion plan, where the policy says nothing else."""

EXPORT_AGE_MS: Final = 7 * 86_400_000
"""How long an export lies in its folder where the policy gives the category ``export`` no age."""

ANSWER_DAYS: Final = 15
"""Working days within which the owner's requests are answered: what vendors promise, and the most a policy may say."""

KEY_SHOWN: Final = 20
"""Characters of a key that tell it from others where it has no name."""

EXPORTS_SHARE: Final = 4
"""The part of the disk, a quarter, that exports take at most where the policy gives that category no size."""


class Keep(msgspec.Struct, frozen=True, kw_only=True):
    """How long and how much; ``None`` sets no limit of that kind."""

    age_ms: int | None = None
    size_bytes: int | None = None
    count: int | None = None
    disk_free_bytes: int | None = None
    disk_free_share: float | None = None

    def floor_bytes(self, total_bytes: int) -> int:
        """Return the free-disk floor on a disk of that size; 0 when none is set."""
        share = round(total_bytes * self.disk_free_share) if self.disk_free_share is not None else 0
        return max(share, self.disk_free_bytes or 0)


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """What the policy says of one category, or of one category of one camera.

    ``scope`` is the rule's name in the document and names the set over which size and count are summed.
    ``recipients`` are age recipients, of every purpose; those of one purpose alone are the purpose's. Who gets what is
    asked of ``recipients_for`` and of nobody else.
    ``fields`` are the rules for a usage log's fields; without any it is kept as it is. ``counts`` are what of
    its values may be counted and told with noise.
    """

    scope: str
    camera: str
    category: Category
    purposes: tuple[Purpose, ...]
    seal_to: tuple[str, ...]
    recipients: tuple[str, ...]
    upload: UploadRule
    keep: Keep
    on_full: OnFull
    priority: int
    readable_by_device: bool
    fields: Fields | None = None
    counts: Counts | None = None


def rotation_periods_ms(rules: Iterable[Rule]) -> frozenset[int]:
    """Return the rotation periods of the pseudonyms of these rules."""
    return frozenset(period for rule in rules if rule.fields is not None for period in periods_ms(rule.fields))


def reader_text(name: str, *, keyless: bool) -> str:
    """Return how a reader is told to people: a name without a key is nobody's yet."""
    return f"{name} (no key: nobody)" if keyless else name


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """The whole document, checked; ``hours`` are half-open minute-of-day intervals in UTC when uploads may run.

    A cloud that is silent for ``silent_ms`` ends its service; ``grace_ms`` later ``ending`` is carried out.
    ``private_hosts`` may be handed exports at addresses that are not the public internet's.
    """

    version: int
    recipients: dict[str, tuple[str, ...]]
    purposes: dict[str, Purpose]
    rules: tuple[Rule, ...]
    regions: tuple[str, ...]
    rate_bytes_s: int | None
    hours: tuple[tuple[int, int], ...]
    largest_pass: float
    forget_within_ms: int
    answer_days: int = ANSWER_DAYS
    silent_ms: int | None = None
    grace_ms: int = GRACE_MS
    ending: EndingPlan = "delete"
    private_hosts: tuple[str, ...] = ()

    def cameras(self) -> frozenset[str]:
        """Return the ids of cameras that have rules of their own."""
        return frozenset(rule.camera for rule in self.rules if rule.camera)

    def rule_for(self, camera: str, category: str) -> Rule | None:
        """Return the rule of this camera's category, else the category's, else ``None`` (closed by default)."""
        general = None
        for rule in self.rules:
            if rule.category == category and rule.camera == camera:
                return rule
            if rule.category == category and not rule.camera:
                general = rule
        return general

    def rotation_periods_ms(self) -> frozenset[int]:
        """Return the rotation periods of pseudonyms: each has a key."""
        return rotation_periods_ms(self.rules)

    def export_rule(self) -> Rule:
        """Return the rule by which exports end; they are copies, so without a rule they end as well."""
        told = self.rule_for("", "export") or Rule(
            scope="category.export",
            camera="",
            category="export",
            purposes=(self.purposes.get("access", BUILT_IN["access"]),),
            seal_to=("owner",),
            recipients=self.owner_recipients(),
            upload="never",
            keep=Keep(),
            on_full="refuse",
            priority=0,
            readable_by_device=False,
        )
        if told.keep.age_ms is not None:
            return told
        keep = msgspec.structs.replace(told.keep, age_ms=EXPORT_AGE_MS)
        return msgspec.structs.replace(told, keep=keep)

    def obeyed(self) -> tuple[Rule, ...]:
        """Return the rules as they are obeyed: the last is that of exports, which end where none is written too."""
        return (*(rule for rule in self.rules if rule.category != "export"), self.export_rule())

    def names_of(self, recipients: Iterable[str]) -> tuple[str, ...]:
        """Return what this policy calls each recipient; of one that it does not name the beginning of its key."""
        called = {key: name for name, keys in self.recipients.items() for key in keys}
        return tuple(called.get(key, f"{key[:KEY_SHOWN]}…") for key in recipients)

    def keyless(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return those of some names that have no key here: nobody reads by them, whatever is sealed to them."""
        return tuple(name for name in names if not self.recipients.get(name))

    def owner_recipients(self) -> tuple[str, ...]:
        """Return the recipients named ``owner``, the only ones that a local export may be sealed to."""
        return self.recipients.get("owner", ())


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """A signed, dated, reasoned stop on deletion."""

    reason: str
    author: str
    until_ms: int


class Rights(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot of what the owner has asked for one object, and whether the service that it is for has ended.

    ``owners_before`` are recipients that were the owner's in a policy before: told of what is for no purpose any more.
    """

    hold: Hold | None = None
    restricted: bool = False
    consents: Consents = Consents()
    ended: bool = False
    owners_before: tuple[str, ...] = ()


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """The part of an object that a decision looks at; at ingest it exists before the object does.

    ``purposes`` names what it was sealed for, ``None`` before it is; ``recipients`` are who can open it.
    """

    camera: str
    category: str
    taken_in_ms: int
    state: State = "sealed"
    kind: Kind = "file-key"
    purposes: tuple[str, ...] | None = None
    recipients: tuple[str, ...] = ()

    @classmethod
    def of(cls, item: Object | Aged | AtStore) -> "Subject":
        """Take what a decision needs from an object of the vault, or from one that only a store still has."""
        if isinstance(item, AtStore):
            return cls(camera=item.camera, category=item.category, taken_in_ms=item.taken_in_ms, state="uploaded")
        return cls(
            camera=item.camera,
            category=item.category,
            taken_in_ms=item.taken_in_ms,
            state=item.state,
            kind=item.kind,
            purposes=item.purposes if isinstance(item, Object) else None,
            recipients=item.recipients if isinstance(item, Object) else (),
        )


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """The world at the moment of the decision.

    ``wanted_bytes`` must be free before new recordings are taken in again; 0 while there is room enough.
    ``rank`` counts newer objects of the same rule's set (0 is the newest); ``newer_bytes`` sums that set down to and
    including this object. ``to_owner_only`` tells whether an export goes to nobody but the policy's owner;
    ``copies_bytes`` is what all exports take, with it.
    """

    moment: Moment
    free_bytes: int = 0
    total_bytes: int = 0
    wanted_bytes: int = 0
    rank: int = 0
    newer_bytes: int = 0
    to_owner_only: bool = True
    copies_bytes: int = 0


class Allow(msgspec.Struct, frozen=True, kw_only=True):
    """It may; ``rule`` is the line of the policy, or of the precedence table, that says so.

    ``reseal_to`` is whom an object is to be sealed to before it goes; empty: it goes as it is.
    """

    rule: str
    reseal_to: tuple[str, ...] = ()


class Refuse(msgspec.Struct, frozen=True, kw_only=True):
    """It may not; ``until_ms`` is the agent time at which the answer changes by itself, where that is known."""

    reason: str
    rule: str
    until_ms: int | None = None


Decision = Allow | Refuse
