"""What the owner, and whoever holds something, asked for one object: the ``Rights`` that ``policy.decide`` is given.

Restrictions and holds cover objects, what was said of purposes covers whatever is used for them: a yes only what was
taken in since, without a no in between.

Every flow asks here, for each object that it judges, in the transaction in which it read that object. All that stands
is kept in memory while it is the same: for each object only the marks are read by which that is known, and the stage of
the service.
"""

from typing import Final

import msgspec

from agent.index import Tx
from agent.model import Object
from agent.policy import Consents, Hold, Rights
from agent.rights import consent, force, freezing, service
from agent.rights.freezing import Coming, Freeze, Freezes, Placed

FREE: Final = Rights()
"""Of what nobody asked anything."""


class Snapshot:
    """Answers from what stands in the caller's transaction."""

    def __init__(self) -> None:
        self._known = Freezes()
        self._said: tuple[str, Consents] = ("", Consents())

    def consents(self, tx: Tx) -> Consents:
        """Return what the owner said of purposes."""
        state, said = self._said
        now = consent.state(tx)
        if now != state:
            said = consent.standing(tx)
            self._said = now, said
        return said

    def standing(self, tx: Tx) -> Freezes:
        """Return the restrictions and holds that stand."""
        known = self._known
        if freezing.state(tx) != known.state:
            self._known = known = freezing.standing(tx)
        return known

    def of(self, tx: Tx, item: Placed) -> Rights:
        """Return what stands over an object that is here, or that only a store has."""
        rights = self._of(tx, item, self.consents(tx).for_data_of(item.taken_in_ms))
        if isinstance(item, Object) and not item.purposes:  # of no other does it matter who could read it once
            return msgspec.structs.replace(rights, owners_before=force.owners_before(tx))
        return rights

    def _of(self, tx: Tx, item: Placed, consents: Consents) -> Rights:
        return _served(tx, _with(rights_of(self.standing(tx), item), consents))

    def of_set(self, tx: Tx, camera: str, category: str) -> Rights:
        """Return what stands over everything of a camera's category, whenever it was recorded."""
        standing = self.standing(tx)
        rights = _rights(
            tuple(one for one in standing.restrictions if one.covers_all_of(camera, category)),
            tuple(one for one in standing.holds if one.covers_all_of(camera, category)),
        )
        return _served(tx, _with(rights, self.consents(tx)))

    def at_ingest(
        self,
        tx: Tx,
        *,
        camera: str,
        category: str,
        captured_from_ms: int,
        captured_to_ms: int,
        by_our_clock: bool = False,
    ) -> Rights:
        """Return what stands over what is not here yet; ``camera`` is ``""`` for one that has no id yet.

        What the owner said counts as of the time at which it was recorded at the earliest, ``by_our_clock`` agent time.
        """
        coming = Coming(
            camera=camera, category=category, captured_from_ms=captured_from_ms, captured_to_ms=captured_to_ms
        )
        if by_our_clock:
            return self.of(tx, coming)
        return self._of(tx, coming, self.consents(tx).for_what_was_recorded(captured_from_ms))


def rights_of(standing: Freezes, item: Placed) -> Rights:
    """Return which restrictions and holds stand over one object; for whoever judges many of one transaction."""
    return _rights(standing.restricting(item), standing.holding(item))


def _with(rights: Rights, consents: Consents) -> Rights:
    return rights if consents == FREE.consents else msgspec.structs.replace(rights, consents=consents)


def _served(tx: Tx, rights: Rights) -> Rights:
    return msgspec.structs.replace(rights, ended=True) if service.ended(tx) else rights


def _rights(restrictions: tuple[Freeze, ...], holds: tuple[Freeze, ...]) -> Rights:
    if not restrictions and not holds:
        return FREE
    hold = None
    if holds:
        last = max(holds, key=lambda one: one.until_ms or 0)
        hold = Hold(reason=last.reason, author=last.author, until_ms=last.until_ms or 0)
    return Rights(hold=hold, restricted=bool(restrictions))
