"""The effect of ``restrict``, ``unrestrict``, ``hold`` and ``release``, in the transaction that takes the command up.

An owner's client restricts. A hold needs a key that the owner granted the verb, whoever has it; each hold is told to
the owner at once, and so is its end. Of named objects the answer tells each; whatever else is selected stands from now
on, whether anything of it is here or not.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, cast

from agent.clock import rfc3339_ms
from agent.commands.world import Act
from agent.envelope import Command, Hold, Key, Release, Restrict, Unrestrict
from agent.errors import RefusedError
from agent.index import Tx
from agent.model import Moment, Outcome, Selection
from agent.outbox import Outbox, RaiseIn
from agent.rights import freezing
from agent.rights.freezing import Freeze, FreezeKind
from agent.vault import Vault


class Freezing:
    """Puts and lifts; all state is rows.

    ``alert`` tells the owner at once; ``changed`` takes the transaction in which another set stands.
    """

    def __init__(self, *, vault: Vault, outbox: Outbox, alert: RaiseIn, changed: Callable[[Tx], None]) -> None:
        self._vault = vault
        self._outbox = outbox
        self._alert = alert
        self._changed = changed

    def acts(self) -> Mapping[type[Any], Act]:
        """Return the effects by the type of their request."""
        return {Restrict: self._restrict, Unrestrict: self._unrestrict, Hold: self._hold, Release: self._release}

    def end_holds(self, tx: Tx, *, moment: Moment) -> bool:
        """Let the holds go whose end has come, shorten those that last too long, and tell the owner of each.

        Returns whether there were any.
        """
        ended = freezing.end_holds(tx, moment=moment)
        for one in ended:
            self._ended(tx, one, "has come to its end", moment)
        shortened = freezing.shorten_holds(tx, moment=moment)
        for one in shortened:
            until = rfc3339_ms(one.until_ms or 0)
            what = f"Hold {one.id}, set by key {one.author}, reached further than 90 days and now ends {until}."
            self._alert(tx, "held", what, moment, about=one.id)
        if shortened:
            self._changed(tx)
        return bool(ended or shortened)

    def _restrict(self, tx: Tx, key: Key, command: Command, moment: Moment) -> tuple[Outcome, ...]:
        request = cast("Restrict", command.request)
        freezing.put(
            tx,
            request.select,
            kind="restriction",
            freeze_id=command.jti,
            author=key.kid,
            reason=request.ground,
            moment=moment,
        )
        self._changed(tx)
        return self._outcomes(tx, request.select, result="restricted")

    def _unrestrict(self, tx: Tx, key: Key, command: Command, moment: Moment) -> tuple[Outcome, ...]:
        found = _standing(tx, cast("Unrestrict", command.request).restriction, kind="restriction")
        freezing.lift(tx, found, actor=key.kid, command=command.jti, why="unrestricted", moment=moment)
        self._changed(tx)
        return ()

    def _hold(self, tx: Tx, key: Key, command: Command, moment: Moment) -> tuple[Outcome, ...]:
        request = cast("Hold", command.request)
        if request.until_ms <= moment.agent_ms:
            raise RefusedError("until has passed", reason="expired", retry="after_fix")
        freezing.put(
            tx,
            request.select,
            kind="hold",
            freeze_id=command.jti,
            author=key.kid,
            reason=request.reason,
            until_ms=request.until_ms,
            moment=moment,
        )
        count, until = len(freezing.standing(tx).holds), rfc3339_ms(request.until_ms)
        what = f"Hold {command.jti} was set by key {key.kid} and ends {until}; holds that stand now: {count}."
        self._alert(tx, "held", what, moment, about=command.jti)
        self._changed(tx)
        return self._outcomes(tx, request.select, result="held")

    def _release(self, tx: Tx, key: Key, command: Command, moment: Moment) -> tuple[Outcome, ...]:
        found = _standing(tx, cast("Release", command.request).hold, kind="hold")
        if key.role != "client" and key.kid != found.author:
            raise RefusedError("another key set this hold", reason="not_granted")
        freezing.lift(tx, found, actor=key.kid, command=command.jti, why="released", moment=moment)
        self._ended(tx, found, f"was released by key {key.kid}", moment)
        return ()

    def _ended(self, tx: Tx, hold: Freeze, how: str, moment: Moment) -> None:
        self._alert(tx, "hold_ended", f"Hold {hold.id}, set by key {hold.author}, {how}.", moment, about=hold.id)
        # Where it shared its alert with others that one goes with the last of them.
        about = hold.id if freezing.standing(tx).holds else None
        self._outbox.clear_alert(tx, "held", about=about, moment=moment)
        self._changed(tx)

    def _outcomes(self, tx: Tx, select: Selection, *, result: Literal["restricted", "held"]) -> tuple[Outcome, ...]:
        """Say of each object that was named whether it is here, or at a store, and so is kept from now on."""
        found = []
        for object_id in sorted(select.ids or ()):
            item = self._vault.get(tx, object_id)
            here = item is not None and item.state != "erasing"
            there = here or self._vault.at_store(tx, object_id) is not None
            found.append(Outcome(id=object_id, result=result if there else "already_gone"))
        return tuple(found)


def _standing(tx: Tx, freeze_id: str, *, kind: FreezeKind) -> Freeze:
    standing = freezing.standing(tx)
    for one in standing.holds if kind == "hold" else standing.restrictions:
        if one.id == freeze_id:
            return one
    raise RefusedError(f"no {kind} of that id stands", reason="nothing_stands", retry="after_fix")
