"""What the owner says of purposes: the effect of ``consent``, ``withdraw`` and ``object`` inside their transaction.

From that commit on nothing is taken in, and nothing uploaded, for a purpose that was taken away; what becomes of each
object that was sealed for it is ``withdrawing.py``'s.
"""

from collections.abc import Callable
from typing import Final

from agent.envelope import Command, Consent, Key, Objection, Withdraw
from agent.errors import RefusedError
from agent.index import Tx
from agent.model import CATEGORIES, Category, Moment, Outcome
from agent.policy import Policy, Word
from agent.policy.purpose import BUILT_IN
from agent.rights import consent
from agent.rights.consent import By
from agent.timeline import asked_ms

_ASKED: Final = frozenset({"consent", "legitimate-interest"})
"""Bases of purposes that do-not-track speaks of: what a contract or the law calls for is no tracking."""

Act = Callable[[Tx, Key, Command, Moment], tuple[Outcome, ...]]

Target = tuple[str, Category]


def takes(command: Command) -> bool:
    """Tell whether a command takes a purpose away, so that something may become of objects."""
    match command.request:
        case Withdraw():
            return True
        case Consent(decision=decision):
            return decision == "refused"
        case Objection(do_not_track=on):
            return on is not False
        case _:
            return False


class Purposes:
    """The acts of these verbs under the policy in force; ``changed`` is told, in the transaction, that rights did."""

    def __init__(self, *, policy: Callable[[], Policy], changed: Callable[[Tx], None]) -> None:
        self._policy = policy
        self.changed = changed

    def acts(self) -> dict[type[Consent | Withdraw | Objection], Act]:
        """Return the effects by the type of the request."""
        return {Consent: self.consent, Withdraw: self.withdraw, Objection: self.object_}

    def meant(self, tx: Tx, command: Command) -> tuple[Target, ...]:
        """Return the purposes and categories that a command takes away; none for one that gives."""
        request = command.request
        if isinstance(request, Consent):
            return self._targets(tx, request.purpose, request.category) if request.decision == "refused" else ()
        if isinstance(request, Withdraw):
            return self._targets(tx, request.purpose, request.category)
        if isinstance(request, Objection) and request.purpose is not None:
            return self._targets(tx, request.purpose, request.category)
        if isinstance(request, Objection) and request.do_not_track:
            return self._tracked()
        return ()

    def consent(self, tx: Tx, key: Key, command: Command, moment: Moment) -> tuple[Outcome, ...]:
        """Give or refuse; ``given`` also ends an objection."""
        request = command.request
        assert isinstance(request, Consent)  # noqa: S101 - by the table of acts
        targets = self._targets(tx, request.purpose, request.category)
        if request.decision == "given" and request.purpose not in self._policy().purposes:
            raise _unknown(request.purpose)
        if request.decision == "refused":
            self._require_refusable(request.purpose)
        return self._say(tx, key, command, targets=targets, word=request.decision, moment=moment)

    def withdraw(self, tx: Tx, key: Key, command: Command, moment: Moment) -> tuple[Outcome, ...]:
        """Take consent back; ``wrong_basis`` for a purpose that never rested on one."""
        request = command.request
        assert isinstance(request, Withdraw)  # noqa: S101 - the same
        known = self._policy().purposes.get(request.purpose)
        if known is not None and known.basis != "consent":
            raise RefusedError(
                f"{request.purpose} rests on no consent", reason="wrong_basis", retry="after_fix", hint="object to it"
            )
        targets = self._targets(tx, request.purpose, request.category)
        return self._say(tx, key, command, targets=targets, word="withdrawn", moment=moment)

    def object_(self, tx: Tx, key: Key, command: Command, moment: Moment) -> tuple[Outcome, ...]:
        """Object to a purpose, or switch do-not-track."""
        request = command.request
        assert isinstance(request, Objection)  # noqa: S101 - the same
        by = _by(key, command, moment)
        if request.purpose is not None:
            self._require_refusable(request.purpose)
            targets = self._targets(tx, request.purpose, request.category)
            return self._say(tx, key, command, targets=targets, word="objected", moment=moment)
        on = request.do_not_track is True
        consent.require_newer(tx, (consent.DO_NOT_TRACK,), by=by, gives=not on)
        if on:
            self._say(tx, key, command, targets=self._tracked(), word="objected", moment=moment)
        consent.switch_do_not_track(tx, on=on, by=by, moment=moment)
        self.changed(tx)
        return ()

    def _require_refusable(self, purpose: str) -> None:
        known = self._policy().purposes.get(purpose, BUILT_IN.get(purpose))
        if known is not None and known.basis == "legal-obligation":
            raise RefusedError(f"the law calls for {purpose}", reason="wrong_basis", retry="after_fix", hint="")

    def _say(
        self, tx: Tx, key: Key, command: Command, *, targets: tuple[Target, ...], word: Word, moment: Moment
    ) -> tuple[Outcome, ...]:
        by = _by(key, command, moment)
        consent.require_newer(tx, targets, by=by, gives=word == "given")
        consent.say(tx, targets, word, policy=self._policy(), by=by, moment=moment)
        self.changed(tx)
        return ()

    def _targets(self, tx: Tx, purpose: str, category: Category | None) -> tuple[Target, ...]:
        """Return where a purpose is used or was spoken of; ``RefusedError`` for nowhere."""
        spoken = {known for name, known in consent.standing(tx).words if name == purpose}
        used = {rule.category for rule in self._policy().rules if purpose in {one.name for one in rule.purposes}}
        found = tuple((purpose, one) for one in CATEGORIES if one in spoken | used and category in {None, one})
        if not found:
            self._require_refusable(purpose)  # what only the copies of exports are made for: no rule names it
            raise _unknown(purpose)
        return found

    def _tracked(self) -> tuple[Target, ...]:
        """Return what do-not-track takes away at once."""
        rules = self._policy().rules
        found = {(one.name, rule.category) for rule in rules for one in rule.purposes if one.basis in _ASKED}
        return tuple(sorted(found))


def _by(key: Key, command: Command, moment: Moment) -> By:
    return By(
        kid=key.kid,
        name=key.name,
        command=command.jti,
        seq=command.seq,
        iat_s=command.iat,
        asked_ms=asked_ms(moment, iat_s=command.iat),
    )


def _unknown(purpose: str) -> RefusedError:
    return RefusedError(
        f"the policy has no purpose {purpose!r} for that",
        reason="unknown_purpose",
        retry="after_fix",
        hint="privacy-agent policy explain names its purposes",
    )
