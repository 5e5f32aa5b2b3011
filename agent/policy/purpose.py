"""Why data may be used, what its owner said of that, and so who may read it.

A purpose stands in the policy; whether it may be followed now is decided here and nowhere else: by its basis, and by
the owner's last word on it for a category. What is sealed is sealed to the recipients of the purposes that are allowed
at that moment, and to nobody else.

The bases bear the names that the Data Privacy Vocabulary (DPV) gives to the legal grounds of the GDPR's article 6.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from agent.model import Category

if TYPE_CHECKING:  # a rule has purposes
    from agent.policy.values import Rule

Basis = Literal["consent", "contract", "legitimate-interest", "legal-obligation"]

Word = Literal["given", "refused", "withdrawn", "objected", "lapsed"]
"""What an owner says of a purpose. ``refused`` answers the question, ``withdrawn`` takes a yes back, ``objected`` says
no to what needs no consent. ``lapsed`` nobody says: what a yes was said to is not what the policy has now; it counts as
if nobody had been asked."""


class Purpose(msgspec.Struct, frozen=True, kw_only=True):
    """Why data may be used, and on what ground; ``recipients`` are those of its own, beside the category's."""

    name: str
    description: str
    basis: Basis
    seal_to: tuple[str, ...] = ()
    recipients: tuple[str, ...] = ()


class Given(msgspec.Struct, frozen=True):
    """Since when (agent time) a purpose is agreed to without interruption, and what stood before that.

    ``recorded_ms`` is the same by the clocks of cameras, which a clock of ours that is unsure may lag behind.
    """

    since_ms: int
    before: Word | None
    recorded_ms: int


class Consents(msgspec.Struct, frozen=True, kw_only=True):
    """The owner's last word by (purpose, category); of what is absent nobody was ever asked.

    With ``do_not_track`` a legitimate interest of others is objected to, unless the owner agreed to just that; until
    ``tracked_ms`` it was on, by cameras' clocks until ``tracked_recorded_ms``. ``given`` tells of each yes since when
    it counts.
    """

    words: dict[tuple[str, str], Word] = {}
    do_not_track: bool = False
    given: dict[tuple[str, str], Given] = {}
    tracked_ms: int = 0
    tracked_recorded_ms: int = 0

    def word(self, purpose: str, category: str) -> Word | None:
        """Return the last word on this purpose for this category."""
        return self.words.get((purpose, category))

    def after(self, purpose: str, category: str, word: Word) -> "Consents":
        """Return what stands once this word was said too."""
        return msgspec.structs.replace(self, words={**self.words, (purpose, category): word})

    def for_data_of(self, at_ms: int) -> "Consents":
        """Return what counts for data of that agent time: a yes is about what is recorded from then on, and no older.

        For what is older there stands what the yes ended; so it was before, and so it stays.
        """
        late = {about: one.before for about, one in self.given.items() if at_ms < one.since_ms}
        return self._without(late, tracked=self.do_not_track or at_ms < self.tracked_ms)

    def for_what_was_recorded(self, at_ms: int) -> "Consents":
        """Return the same for data of that time by the clock of whoever recorded it."""
        late = {about: one.before for about, one in self.given.items() if at_ms < one.recorded_ms}
        return self._without(late, tracked=self.do_not_track or at_ms < self.tracked_recorded_ms)

    def _without(self, late: "dict[tuple[str, str], Word | None]", *, tracked: bool) -> "Consents":
        if not late and tracked is self.do_not_track:
            return self
        words = {about: word for about, word in self.words.items() if about not in late}
        words |= {about: word for about, word in late.items() if word is not None}
        return Consents(words=words, do_not_track=tracked)


BUILT_IN: Final = {
    one.name: one
    for one in (
        Purpose(
            name="security",
            description="To let the owner see what happened at home: what the camera was bought for.",
            basis="contract",
        ),
        Purpose(
            name="access",
            description="To give people the copy of their data that they asked for.",
            basis="legal-obligation",
        ),
    )
}
"""Purposes that exist without a table of their own; a table of that name takes their place."""


def is_allowed(purpose: Purpose, category: Category, consents: Consents) -> bool:
    """Tell whether data of this category may be used for this purpose now.

    A legal obligation asks nobody; everything else ends with the owner's no, whatever its basis is called meanwhile.
    """
    word = consents.word(purpose.name, category)
    if purpose.basis == "legal-obligation":
        return True
    asked = purpose.basis == "consent" or (purpose.basis == "legitimate-interest" and consents.do_not_track)
    return word == "given" if asked else word in {None, "given", "lapsed"}


def purposes_for(rule: "Rule", consents: Consents, *, sealed_for: Iterable[str] | None = None) -> tuple[Purpose, ...]:
    """Return the purposes for which data under this rule may be used now, in the policy's order.

    ``sealed_for`` names those that an object was sealed for: it is used for no others.
    """
    names = None if sealed_for is None else frozenset(sealed_for)
    return tuple(
        purpose
        for purpose in rule.purposes
        if (names is None or purpose.name in names) and is_allowed(purpose, rule.category, consents)
    )


def readers_left(may_read: tuple[str, ...], *, recipients: tuple[str, ...], owner: tuple[str, ...]) -> tuple[str, ...]:
    """Return whom an object is to be sealed to that somebody can open who may not.

    That is who may of those who can, and its owner by the keys of now; nobody else gains anything.
    """
    return tuple(one for one in may_read if one in recipients or one in owner)


def recipients_for(rule: "Rule", consents: Consents, *, sealed_for: Iterable[str] | None = None) -> tuple[str, ...]:
    """Return who may read data under this rule now, each once: nobody where no purpose is allowed."""
    allowed = purposes_for(rule, consents, sealed_for=sealed_for)
    if not allowed:
        return ()
    keys = (rule.recipients, *(purpose.recipients for purpose in allowed))
    return tuple(dict.fromkeys(key for some in keys for key in some))
