"""What the owner said of each purpose (given, refused, withdrawn, objected to), who said so, when, of which policy.

Rules: the last word by purpose and category counts, and every word stays as a record; a word is in one transaction with
its record and its audit event. A word that takes something away counts from whomever it comes and however late, unless
the same key has said something newer; one that gives counts only if nothing newer was said by anybody.
"""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from agent import audit
from agent.audit import Event
from agent.errors import RefusedError
from agent.index import Tx
from agent.index import consent as rows
from agent.model import Moment, new_id
from agent.policy import Consents, Policy, Word
from agent.rights import force

RECORDS_MAX: Final = 10_000
"""Records that are kept: those that are the last word, and the newest others."""

WORDS_MAX: Final = 1_000
"""Purposes by category of which anything may have been said: a policy has some tens."""

TOLD_MAX: Final = 200
"""Records of one answer at most."""

DO_NOT_TRACK: Final = ("", "")
"""The target of a command that switches do-not-track."""


class By(msgspec.Struct, frozen=True, kw_only=True):
    """Whose signed word it is."""

    kid: str
    name: str
    command: str
    seq: int
    iat_s: int


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What the policy said of a purpose and a category when a word was said: what the person was told."""

    description: str = ""
    basis: str = ""
    recipients: tuple[str, ...] = ()
    keep_age_ms: int | None = None
    regions: tuple[str, ...] = ()


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
    words = {(str(purpose), str(category)): status for purpose, category, status in rows.words(tx)}
    return Consents(words=words, do_not_track=rows.do_not_track(tx))


def require_newer(tx: Tx, targets: Iterable[tuple[str, str]], *, by: By, gives: bool) -> None:
    """Raise ``RefusedError`` (``superseded``) for a command that is older than what was said of a target.

    Of the same key the sequence number tells; of another one, for a word that gives, the second in which it was signed.
    """
    for purpose, category in targets:
        newest = rows.target(tx, purpose, category)
        if newest is None:
            continue
        kid, seq, iat_s = newest
        late = by.seq < seq if kid == by.kid else gives and by.iat_s <= iat_s
        if late:
            raise RefusedError(
                "something newer was said of it", reason="superseded", retry="after_fix", hint="give it again"
            )


def say(
    tx: Tx, targets: Iterable[tuple[str, str]], word: Word, *, policy: Policy, by: By, moment: Moment
) -> tuple[Record, ...]:
    """Write a word on some (purpose, category) and return the records; raises ``RefusedError`` for far too many."""
    made = []
    in_force = force.in_force(tx)
    for purpose, category in targets:
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
        rows.set_word(tx, purpose, category, word, record=rows.insert(tx, values))
        rows.set_target(tx, purpose, category, kid=by.kid, seq=by.seq, iat_s=by.iat_s)
        detail: dict[str, str | int] = {"word": word, "category": category, "record": record.id}
        event = Event(kind="purpose_said", rule=f"purpose.{purpose}", actor=by.kid, command=by.command, detail=detail)
        audit.append(tx, event, moment=moment)
        made.append(record)
    if rows.count_words(tx) > WORDS_MAX:
        raise RefusedError("too many purposes were spoken of", reason="too_large", retry="never")
    rows.drop_oldest(tx, keep=RECORDS_MAX)
    return tuple(made)


def switch_do_not_track(tx: Tx, *, on: bool, by: By, moment: Moment) -> None:
    """Switch do-not-track: while it is on, what no consent and no contract calls for is objected to unasked."""
    if on:
        rows.set_do_not_track(tx, since_ms=moment.agent_ms, command=by.command)
    else:
        rows.clear_do_not_track(tx)
    rows.set_target(tx, *DO_NOT_TRACK, kid=by.kid, seq=by.seq, iat_s=by.iat_s)
    word = "on" if on else "off"
    audit.append(tx, Event(kind="do_not_track", rule=word, actor=by.kid, command=by.command), moment=moment)


def about(policy: Policy, purpose: str, category: str) -> About:
    """Return what a policy says of a purpose and a category; of one that it does not have, nothing."""
    known = policy.purposes.get(purpose)
    rule = policy.rule_for("", category)
    if known is None:
        return About()
    readers = known.seal_to if rule is None else (*rule.seal_to, *known.seal_to)
    return About(
        description=known.description,
        basis=known.basis,
        recipients=tuple(dict.fromkeys(readers)),
        keep_age_ms=None if rule is None else rule.keep.age_ms,
        regions=policy.regions,
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
