"""What the owner said of each purpose (given, refused, withdrawn, objected to), who said so, when, of which policy.

Rules: the last word by purpose and category counts, and every word stays as a record; a word is in one transaction with
its record and its audit event. A word that takes something away counts from whomever it comes and however late, unless
the same key has said something newer; one that gives counts only if nothing newer was said by anybody.

A yes is about what is recorded from then on, and about what the policy said when it was given: where another one no
longer has that purpose for the category, or says something else of it, the yes lapses in the transaction that puts that
policy in force. A no stays.
"""

import hashlib
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from agent import audit
from agent.audit import Event
from agent.errors import RefusedError
from agent.index import Tx
from agent.index import consent as rows
from agent.model import Moment, new_id
from agent.policy import Consents, Given, Policy, Rule, Word
from agent.rights import force

RECORDS_MAX: Final = 10_000
"""Records that are kept: those that are the last word, and the newest others."""

WORDS_MAX: Final = 1_000
"""Purposes by category of which anything may have been said: a policy has some tens."""

TOLD_MAX: Final = 200
"""Records of one answer at most."""

KEYS_MAX: Final = 64
"""Keys of which the newest word on one target is known: more than a key set ever has of clients."""

DO_NOT_TRACK: Final = ("", "")
"""The target of a command that switches do-not-track."""


class By(msgspec.Struct, frozen=True, kw_only=True):
    """Whose signed word it is; ``asked_ms`` is when, by the clocks of cameras (``timeline.asked_ms``)."""

    kid: str
    name: str
    command: str
    seq: int
    iat_s: int
    asked_ms: int = 0


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What the policy said of a purpose and a category when a word was said: what the person was told.

    ``keys`` are the SHA-256 of the age recipients behind the names, but the owner's; ``None`` where an older version
    wrote it.
    """

    description: str = ""
    basis: str = ""
    recipients: tuple[str, ...] = ()
    keep_age_ms: int | None = None
    regions: tuple[str, ...] = ()
    keys: tuple[str, ...] | None = None


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One word as it was said; the columns' meaning stands beside the schema."""

    id: str
    purpose: str
    category: str
    status: Word
    at_ms: int
    trusted: bool
    kid: str
    key_name: str
    command: str
    policy_sha256: str
    policy_version: int
    about: About


def state(tx: Tx) -> str:
    """Return what changes with every word that is said."""
    return rows.state(tx)


def standing(tx: Tx) -> Consents:
    """Return what counts now."""
    found = rows.words(tx)
    tracked_ms, tracked_recorded_ms = rows.tracked_ms(tx)
    return Consents(
        words={(purpose, category): status for purpose, category, status, *_ in found},
        do_not_track=rows.do_not_track(tx),
        given={
            (purpose, category): Given(since_ms, before, recorded_ms)
            for purpose, category, status, since_ms, before, recorded_ms in found
            if status == "given"
        },
        tracked_ms=tracked_ms,
        tracked_recorded_ms=tracked_recorded_ms,
    )


def require_newer(tx: Tx, targets: Iterable[tuple[str, str]], *, by: By, gives: bool) -> None:
    """Raise ``RefusedError`` (``superseded``) for a command that is older than what was said of a target.

    Of the same key the sequence number tells; of another one, for a word that gives, the second in which it was signed.
    """
    for purpose, category in targets:
        newest = rows.newest(tx, purpose, category)
        if any(by.seq < seq if kid == by.kid else gives and by.iat_s <= iat_s for kid, seq, iat_s in newest):
            raise RefusedError(
                "something newer was said of it", reason="superseded", retry="after_fix", hint="give it again"
            )


def say(
    tx: Tx, targets: Iterable[tuple[str, str]], word: Word, *, policy: Policy, by: By, moment: Moment
) -> tuple[Record, ...]:
    """Write a word on some (purpose, category) and return the records; raises ``RefusedError`` for far too many."""
    made = []
    targets = tuple(targets)
    new = sum(rows.word(tx, purpose, category) is None for purpose, category in targets)
    if rows.count_words(tx) + new > WORDS_MAX:
        raise RefusedError("too many purposes were spoken of", reason="too_large", retry="never")
    for purpose, category in targets:
        was = rows.word(tx, purpose, category)
        goes_on = was is not None and was[0] == "given" and word == "given"
        since_ms, before = moment.agent_ms, None if was is None else was[0]
        recorded_ms = max(moment.agent_ms, by.asked_ms)
        if was is not None and goes_on:  # a yes of a clock that was ahead counts from the next one of one that is not
            since_ms, before, recorded_ms = was[1], was[2], min(was[3], recorded_ms)
        record, n = _write(tx, purpose, category, word, policy=policy, by=by, moment=moment)
        rows.set_word(tx, purpose, category, word, record=n, since_ms=since_ms, before=before, recorded_ms=recorded_ms)
        rows.note_newest(tx, purpose, category, kid=by.kid, seq=by.seq, iat_s=by.iat_s, keep=KEYS_MAX)
        made.append(record)
    rows.drop_oldest(tx, keep=RECORDS_MAX)
    return tuple(made)


def _write(
    tx: Tx, purpose: str, category: str, word: Word, *, policy: Policy, by: By, moment: Moment
) -> tuple[Record, int]:
    """Write a record and its audit event; return it with its number."""
    in_force = force.in_force(tx)
    record = Record(
        id=new_id(),
        purpose=purpose,
        category=category,
        status=word,
        at_ms=moment.agent_ms,
        trusted=moment.trusted,
        kid=by.kid,
        key_name=by.name,
        command=by.command,
        policy_sha256="" if in_force is None else in_force.sha256,
        policy_version=0 if in_force is None else in_force.revision,
        about=about(policy, purpose, category),
    )
    values = msgspec.structs.asdict(record)
    values |= {"trusted": int(record.trusted), "about": msgspec.json.encode(record.about)}
    n = rows.insert(tx, values)
    detail: dict[str, str | int] = {"word": word, "category": category, "record": record.id}
    event = Event(kind="purpose_said", rule=f"purpose.{purpose}", actor=by.kid, command=by.command, detail=detail)
    audit.append(tx, event, moment=moment)
    return record, n


def lapse(tx: Tx, *, policy: Policy, actor: str, command: str, moment: Moment) -> tuple[Record, ...]:
    """Let each yes lapse that was said to something else than what a policy, just put in force, has now.

    ``actor`` is who brought or approved the policy. What stood before the yes stands again.
    """
    made = []
    by = By(kid=actor, name="", command=command, seq=0, iat_s=0)
    for (purpose, category), said in last_words(tx).items():
        was = rows.word(tx, purpose, category)
        if was is None or was[0] != "given" or _is_same(said.about, policy, purpose, category):
            continue
        record, n = _write(tx, purpose, category, "lapsed", policy=policy, by=by, moment=moment)
        back = was[2] or "lapsed"
        rows.set_word(
            tx,
            purpose,
            category,
            back,
            record=n,
            since_ms=moment.agent_ms,
            before=was[2],
            recorded_ms=moment.agent_ms,
        )
        made.append(record)
    rows.drop_oldest(tx, keep=RECORDS_MAX)
    return tuple(made)


def _is_same(told: About, policy: Policy, purpose: str, category: str) -> bool:
    """Tell whether a policy asks no more than what was told: fewer readers, and consent, are no less."""
    now = about(policy, purpose, category)
    return (
        bool(_rules(policy, purpose, category))
        and now.description == told.description
        and now.basis in {told.basis, "consent"}
        and set(now.recipients) <= set(told.recipients)
        and (told.keys is None or set(now.keys or ()) <= set(told.keys))
    )


def _rules(policy: Policy, purpose: str, category: str) -> tuple[Rule, ...]:
    """Return the rules, of all cameras, that use a category for a purpose."""
    return tuple(
        rule for rule in policy.rules if rule.category == category and any(one.name == purpose for one in rule.purposes)
    )


def switch_do_not_track(tx: Tx, *, on: bool, by: By, moment: Moment) -> None:
    """Switch do-not-track: while it is on, what no consent and no contract calls for is objected to unasked."""
    if on:
        rows.set_do_not_track(tx, since_ms=moment.agent_ms, command=by.command)
    else:
        rows.clear_do_not_track(tx, at_ms=moment.agent_ms, recorded_ms=max(moment.agent_ms, by.asked_ms))
    rows.note_newest(tx, *DO_NOT_TRACK, kid=by.kid, seq=by.seq, iat_s=by.iat_s, keep=KEYS_MAX)
    word = "on" if on else "off"
    audit.append(tx, Event(kind="do_not_track", rule=word, actor=by.kid, command=by.command), moment=moment)


def about(policy: Policy, purpose: str, category: str) -> About:
    """Return what a policy says of a purpose and a category; of one that it does not have, nothing."""
    known = policy.purposes.get(purpose)
    if known is None:
        return About()
    rules = _rules(policy, purpose, category)
    readers = [name for rule in rules for name in rule.seal_to]
    keys = {key for some in (known.recipients, *(rule.recipients for rule in rules)) for key in some}
    ages = [rule.keep.age_ms for rule in rules]
    return About(
        description=known.description,
        basis=known.basis,
        recipients=tuple(dict.fromkeys((*readers, *known.seal_to))),
        keep_age_ms=None if None in ages else max((age for age in ages if age is not None), default=None),
        regions=policy.regions,
        keys=tuple(sorted(hashlib.sha256(key.encode()).hexdigest() for key in keys - set(policy.owner_recipients()))),
    )


def last_words(tx: Tx) -> dict[tuple[str, str], Record]:
    """Return the record of every last word, by (purpose, category)."""
    return {(one.purpose, one.category): one for one in map(_record, rows.last_words(tx))}


def of_command(tx: Tx, command: str) -> tuple[Record, ...]:
    """Return the records that a command made."""
    return tuple(map(_record, rows.of_command(tx, command, TOLD_MAX)))


def page(tx: Tx, *, after: str = "", limit: int = TOLD_MAX) -> tuple[Record, ...]:
    """Return records behind one, oldest first."""
    return tuple(map(_record, rows.page(tx, after, limit)))


def _record(row: tuple[object, ...]) -> Record:
    values: dict[str, Any] = dict(zip(rows.RECORD_COLUMNS, row, strict=True))
    told = {"trusted": bool(values["trusted"]), "about": msgspec.json.decode(values["about"], type=About)}
    return Record(**(values | told))
