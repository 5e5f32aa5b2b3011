"""``decide``: the only judge of what may happen to an object.

Precedence for everything that removes, highest first:

1. hold                 beats retention, disk pressure and every delete
2. the owner's erase    lifts a restriction
3. restriction          freezes: kept, not uploaded, not expired
4. a backend's delete   never while the clock is unsure
5. withdrawn            what no purpose is left for and its owner cannot read, nor could by an earlier key
6. maximum age          hard: uploaded or not
7. free-disk floor, size and count   these wait for the upload where the policy says ``before-expiry``

Size and count wait no longer than until the set holds ``UNSENT_SETS`` times what they allow: an upload may never come,
because no store may have it, or because what is allowed to be sent is less than what is recorded.
With ``on_full = "drop-oldest"`` a full disk is a floor too, the only one that waits for no upload.

Data is taken in and uploaded for a purpose that is allowed now (``purpose.py``) or not at all, whatever else holds;
what somebody can open who is no recipient of such a purpose is sealed anew first, and stays here where this device
cannot do that. What no rule allows is refused (invariant I9).
"""

from typing import Final

from agent.model import Requester
from agent.policy.purpose import Consents, Word, purposes_for, readers_left, recipients_for
from agent.policy.values import (
    EXPORTS_SHARE,
    Action,
    Allow,
    Conditions,
    Decision,
    Policy,
    Refuse,
    Rights,
    Rule,
    Subject,
)

WITHDRAWN: Final = "consent_withdrawn"
"""The rule by which goes what is for no purpose any more and its owner cannot read."""

UNSENT_SETS: Final = 2
"""A set that waits for its upload holds at most this many times what its size and count allow."""

_DAY_MINUTES: Final = 24 * 60
_MINUTE_MS: Final = 60_000

_REFUSED_BY: Final[dict[Word | None, str]] = {
    "objected": "objected",
    "withdrawn": "consent_withdrawn",
    "refused": "consent_refused",
    "lapsed": "no_consent",
    None: "no_consent",
}


def decide(  # noqa: PLR0911 - one return per action, in the order of the docstring
    policy: Policy,
    action: Action,
    *,
    requester: Requester,
    subject: Subject,
    rights: Rights,
    conditions: Conditions,
) -> Decision:
    """Say whether ``requester`` may do ``action`` to ``subject`` now, by which rule, and until when that holds."""
    if action == "inventory":
        return Allow(rule="access")
    if action == "delete":
        return _delete(requester, rights, conditions)
    if action == "export":
        return _export(policy, requester, rights, conditions)
    rule = policy.rule_for(subject.camera, subject.category)
    if action == "expire":
        rule = policy.export_rule() if subject.category == "export" else rule
        owner = (*policy.owner_recipients(), *rights.owners_before)
        return _expire(rule, subject, rights, conditions, owner=owner)
    if rights.ended:
        return Refuse(reason="service_ended", rule="end_of_service")
    if rule is None:
        return Refuse(reason="no_rule", rule=f"category.{subject.category}")
    if not purposes_for(rule, rights.consents, sealed_for=subject.purposes):
        return _no_purpose(rule, rights.consents, sealed_for=subject.purposes)
    if action == "ingest":
        return _ingest(rule, rights, conditions)
    if action == "count":
        return _count(rule, subject, rights)
    return _upload(policy, rule, subject, rights, conditions)


def _no_purpose(rule: Rule, consents: Consents, *, sealed_for: tuple[str, ...] | None) -> Refuse:
    """Say why no purpose is allowed: the strongest of what the owner said, or that nobody was asked."""
    names = [one.name for one in rule.purposes if sealed_for is None or one.name in sealed_for]
    words = {consents.word(name, rule.category): name for name in reversed(names)}
    for word, reason in _REFUSED_BY.items():
        if word in words:
            return Refuse(reason=reason, rule=f"purpose.{words[word]}")
    return Refuse(reason="no_purpose", rule=f"{rule.scope}.purposes")


def _ingest(rule: Rule, rights: Rights, conditions: Conditions) -> Decision:
    if not recipients_for(rule, rights.consents):
        return Refuse(reason="no_recipient", rule=f"{rule.scope}.seal_to")
    if conditions.total_bytes and conditions.free_bytes <= 0:
        return Refuse(reason="disk_full", rule=f"{rule.scope}.on_full")
    return Allow(rule=rule.scope)


def _count(rule: Rule, subject: Subject, rights: Rights) -> Decision:
    """Say whether what a log added to the counts may be told; that is an analysis, with a purpose of its own."""
    if rights.restricted:
        return Refuse(reason="restricted", rule="restriction")
    if rule.counts is None:
        return Refuse(reason="not_allowed", rule=f"{rule.scope}.counts")
    allowed = {purpose.name for purpose in purposes_for(rule, rights.consents, sealed_for=subject.purposes)}
    if rule.counts.purpose not in allowed:
        return Refuse(reason="no_purpose", rule=f"{rule.scope}.counts.purpose")
    return Allow(rule=f"{rule.scope}.counts")


def _upload(policy: Policy, rule: Rule, subject: Subject, rights: Rights, conditions: Conditions) -> Decision:
    if rights.restricted:
        return Refuse(reason="restricted", rule="restriction")
    if rule.upload == "never":
        return Refuse(reason="not_allowed", rule=f"{rule.scope}.upload")
    may_read = recipients_for(rule, rights.consents, sealed_for=subject.purposes)
    reseal_to: tuple[str, ...] = ()
    if not may_read or not set(subject.recipients) <= set(may_read):
        reseal_to = readers_left(may_read, recipients=subject.recipients, owner=policy.owner_recipients())
        if not reseal_to or subject.kind == "header-key" or subject.state != "sealed":
            return Refuse(reason="recipient_not_allowed", rule=f"{rule.scope}.seal_to")
    opens_ms = _opens_ms(policy.hours, conditions.moment.agent_ms)
    if opens_ms is not None:
        return Refuse(reason="outside_hours", rule="upload.hours", until_ms=opens_ms)
    return Allow(rule=f"{rule.scope}.upload", reseal_to=reseal_to)


def _delete(requester: Requester, rights: Rights, conditions: Conditions) -> Decision:
    if rights.hold is not None:
        return Refuse(reason="held", rule="hold", until_ms=rights.hold.until_ms)
    if requester.role == "client":
        return Allow(rule="owner_erase")
    if rights.restricted:
        return Refuse(reason="restricted", rule="restriction")
    if requester.role != "backend":
        return Refuse(reason="verb_not_allowed", rule="roles")
    if not conditions.moment.trusted:
        return Refuse(reason="clock_unconfirmed", rule="time")
    return Allow(rule="backend_delete")


def _export(policy: Policy, requester: Requester, rights: Rights, conditions: Conditions) -> Decision:
    decision = _may_have(requester, rights, conditions)
    return _room_for_copy(policy, conditions) or decision if isinstance(decision, Allow) else decision


def _room_for_copy(policy: Policy, conditions: Conditions) -> Refuse | None:
    """Refuse a copy for which recordings would have to go, or be refused, later."""
    total = conditions.total_bytes
    if not total:
        return None
    for rule in policy.rules:
        floor_bytes = rule.keep.floor_bytes(total)
        if floor_bytes and conditions.free_bytes < floor_bytes:
            return Refuse(reason="disk_full", rule=f"{rule.scope}.keep.disk_free")
    rule = policy.export_rule()
    size_bytes = rule.keep.size_bytes
    if conditions.copies_bytes > (total // EXPORTS_SHARE if size_bytes is None else size_bytes):
        return Refuse(reason="disk_full", rule=f"{rule.scope}.keep.size")
    return Refuse(reason="disk_full", rule="reserve") if conditions.free_bytes <= 0 else None


def _may_have(requester: Requester, rights: Rights, conditions: Conditions) -> Decision:
    if requester.role == "client":
        return Allow(rule="owner_export")
    if not conditions.to_owner_only:
        return Refuse(reason="not_granted", rule="recipients.owner")
    if rights.restricted:
        return Refuse(reason="restricted", rule="restriction")
    if requester.role in {"local", "backend"}:
        return Allow(rule="export_to_owner")
    return Refuse(reason="verb_not_allowed", rule="roles")


def _expire(
    rule: Rule | None, subject: Subject, rights: Rights, conditions: Conditions, *, owner: tuple[str, ...]
) -> Decision:
    if rights.hold is not None:
        return Refuse(reason="held", rule="hold", until_ms=rights.hold.until_ms)
    if rights.restricted:
        return Refuse(reason="restricted", rule="restriction")
    if subject.purposes == () and not set(subject.recipients) & set(owner):
        return Allow(rule=WITHDRAWN)
    if rule is None:
        return Refuse(reason="no_rule", rule=f"category.{subject.category}")
    return _expire_by(rule, subject, conditions)


def _expire_by(rule: Rule, subject: Subject, conditions: Conditions) -> Decision:
    keep = rule.keep
    due_ms = subject.taken_in_ms + keep.age_ms if keep.age_ms is not None else None
    if due_ms is not None and conditions.moment.agent_ms >= due_ms:
        return Allow(rule=f"{rule.scope}.keep.age")
    pressed = _pressed_by(rule, conditions)
    if pressed is None:
        if due_ms is None:
            return Refuse(reason="not_due", rule=f"{rule.scope}.keep")
        return Refuse(reason="not_due", rule=f"{rule.scope}.keep.age", until_ms=due_ms)
    if rule.upload == "before-expiry" and subject.state != "uploaded":
        pressed = _waits_no_more(rule, conditions)
        if pressed is None:
            return Refuse(reason="upload_first", rule=f"{rule.scope}.upload", until_ms=due_ms)
    return Allow(rule=pressed)


def _waits_no_more(rule: Rule, conditions: Conditions) -> str | None:
    """Return by which rule what no store has goes all the same."""
    if _drops_oldest(rule, conditions):
        return f"{rule.scope}.on_full"
    return _reached_limit(rule, conditions, sets=UNSENT_SETS)


def _drops_oldest(rule: Rule, conditions: Conditions) -> bool:
    return rule.on_full == "drop-oldest" and conditions.free_bytes < conditions.wanted_bytes


def _pressed_by(rule: Rule, conditions: Conditions) -> str | None:
    keep = rule.keep
    if conditions.total_bytes and conditions.free_bytes < keep.floor_bytes(conditions.total_bytes):
        return f"{rule.scope}.keep.disk_free"
    if _drops_oldest(rule, conditions):
        return f"{rule.scope}.on_full"
    return _reached_limit(rule, conditions, sets=1)


def _reached_limit(rule: Rule, conditions: Conditions, *, sets: int) -> str | None:
    """Return which limit of a set's size or count is reached so many times."""
    keep = rule.keep
    if keep.size_bytes is not None and conditions.newer_bytes > sets * keep.size_bytes:
        return f"{rule.scope}.keep.size"
    if keep.count is not None and conditions.rank >= sets * keep.count:
        return f"{rule.scope}.keep.count"
    return None


def _opens_ms(hours: tuple[tuple[int, int], ...], agent_ms: int) -> int | None:
    """Return ``None`` inside the allowed hours (none set: always), else the agent time at which they next begin."""
    if not hours:
        return None
    minute = agent_ms // _MINUTE_MS % _DAY_MINUTES
    if any(start <= minute < end if start < end else minute >= start or minute < end for start, end in hours):
        return None
    wait = min((start - minute) % _DAY_MINUTES for start, _end in hours)
    return (agent_ms // _MINUTE_MS + wait) * _MINUTE_MS
