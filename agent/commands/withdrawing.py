"""What becomes of each object that was sealed for a purpose which its owner took away.

The word itself is durable before this begins (``consent.py``): from then on the judge lets nothing of it go, whatever
is left of the steps here.

1. a part of the objects, in one transaction: each is narrowed to the purposes and readers that are left, a half-sent
   copy of it is asked back from its store, and its outcome is written. A hand-out to a third party ends that has one
   which nobody is left to read, or which a limit ended here meanwhile. If power fails before this is durable, the part
   is done anew; after it, its objects are decided.
2. those of the part that nobody is left to read are erased, by the steps of ``agent/erasure.py``. A store's finished
   copy stays: it was made while that was allowed, and only a delete removes it. What a hold or a restriction keeps is
   for no purpose from step 1 on, and retention ends it when that is over.
3. what came in meanwhile (it was being sealed when the word was said) goes the same way, until there is no more.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from agent import audit
from agent.audit import Event
from agent.bundle import Bundle
from agent.commands.consent import Purposes
from agent.commands.ledger import Ledger, command_of
from agent.commands.world import World
from agent.envelope import Command
from agent.erasure import Erasure
from agent.errors import LinkError
from agent.ids import Ids
from agent.index import Index, Tx
from agent.model import Moment, Object, Outcome
from agent.policy import WITHDRAWN, After, after_withdrawal
from agent.rights import consent, force
from agent.trust import CommandRow, Trust
from agent.vault import Vault

PART: Final = 100
"""Objects of one transaction: each may get a header anew, a post-quantum one in about a millisecond."""


class Withdrawals:
    """Carries out what a word takes away; holds no state, all of it is rows."""

    def __init__(
        self,
        *,
        index: Index,
        vault: Vault,
        erasure: Erasure,
        bundle: Bundle,
        trust: Trust,
        ledger: Ledger,
        world: World,
        purposes: Purposes,
        end_hand_outs: Callable[[Tx, Ids], tuple[str, ...]],
        stop: Callable[[str], None],
    ) -> None:
        self._index = index
        self._vault = vault
        self._erasure = erasure
        self._bundle = bundle
        self._trust = trust
        self._ledger = ledger
        self._world = world
        self._purposes = purposes
        self._end_hand_outs = end_hand_outs
        self._stop = stop

    def selected(self, tx: Tx, command: Command) -> Ids:
        """Return the objects that a command may take something away from now."""
        return self._vault.sealed_for(tx, self._purposes.meant(tx, command))

    async def carry_out(self, row: CommandRow, *, progress: Callable[[int, int], None]) -> None:
        """Do the steps and settle; whatever stops them, the next try goes on where they were."""
        ids = await self._index.read(lambda tx: self._trust.frozen(tx, row.jti))
        for start in range(0, len(ids), PART):
            progress(start, len(ids))
            await self._do(row, tuple(ids[start : start + PART]), selected=True)
        while late := await self._index.read(partial(self._late, row=row)):
            await self._do(row, late[:PART], selected=False)
        if await self._index.read(lambda tx: self._erasure.is_open(tx, row.jti)):
            raise LinkError("deleted files of it cannot be removed yet", hint="privacy-agent doctor says which")
        await self._index.write(
            lambda tx: self._ledger.settle_running(tx, row.jti, moment=self._world.now()), urgent=True
        )

    def _late(self, tx: Tx, row: CommandRow) -> tuple[str, ...]:
        """Return what this command means as well and has not decided: it was sealed before the word, and came after."""
        return self._unasked(tx, row, self.selected(tx, command_of(row)))

    def _unasked(self, tx: Tx, row: CommandRow, ids: Iterable[str]) -> tuple[str, ...]:
        """Return those that have no outcome yet and that no erasure works on for this command."""
        undecided = self._trust.undecided(tx, row.jti, ids)
        pending = self._erasure.pending(tx, row.jti, undecided)
        return tuple(object_id for object_id in undecided if object_id not in pending)

    async def _do(self, row: CommandRow, part: tuple[str, ...], *, selected: bool) -> None:
        moment = self._world.now()
        # Step 1.
        narrow = partial(self._narrow, row=row, part=part, selected=selected, moment=moment)
        doomed, ended = await self._index.write(narrow, urgent=True)
        for export_id in ended:
            self._stop(export_id)
        if doomed:
            # Step 2. If power fails between these, both are done again: what is doomed has no outcome yet.
            await self._erasure.erase(
                doomed, actor=row.kid, rule=WITHDRAWN, command=row.jti, moment=moment, keeps_at_store=True
            )

    def _narrow(
        self, tx: Tx, row: CommandRow, part: tuple[str, ...], *, selected: bool, moment: Moment
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Do step 1 for what of a part is undecided; return what is to be erased, and the hand-outs that end."""
        said, policy, before = consent.standing(tx), self._world.policy(), force.owners_before(tx)
        outcomes, doomed, gone = [], [], []
        for object_id in self._unasked(tx, row, part):
            item = self._vault.get(tx, object_id)
            if item is None:
                gone.append(object_id)
                outcomes.append(Outcome(id=object_id, result="already_gone"))
                continue
            # By what counts for it: a yes that was said behind this word, before its turn came, does not give it back.
            after = after_withdrawal(policy, item, said.for_data_of(item.taken_in_ms), owners_before=before)
            if item.state == "erasing" or after.fate == "erased":
                doomed.append(object_id)
                self._strike(tx, item)
            else:
                outcomes.append(self._narrowed(tx, row, item, after, moment=moment))
        self._trust.decide(tx, row.jti, self._bundle.remarked(tx, row.jti, tuple(outcomes)), selected=selected)
        self._purposes.changed(tx)  # what was sealed anew may go on now
        return tuple(doomed), self._end_hand_outs(tx, Ids.of(doomed + gone))

    def _strike(self, tx: Tx, item: Object) -> None:
        """Let what is to be erased be for nothing any more: a hold or a restriction may keep it, but to no use."""
        if item.state != "erasing":
            self._vault.ask_half_back(tx, item)
            self._vault.narrow(tx, item, purposes=(), recipients=item.recipients)

    def _narrowed(self, tx: Tx, row: CommandRow, item: Object, after: After, *, moment: Moment) -> Outcome:
        remarks = []
        aborted = after.fate != "continues" and self._vault.ask_half_back(tx, item)
        if aborted:
            remarks.append("half_upload_aborted")
        if item.state == "uploaded":
            remarks.append("store_copy_remains")
        elif item.kind == "header-key" and after.fate == "kept":
            remarks.append("not_readable_here")
        self._vault.narrow(tx, item, purposes=after.purposes, recipients=after.recipients)
        detail: dict[str, str | int] = {"fate": after.fate, "recipients": len(after.recipients)}
        event = Event(kind="narrowed", object=item.id, rule=WITHDRAWN, actor=row.kid, command=row.jti, detail=detail)
        audit.append(tx, event, moment=moment)
        assert after.fate != "erased"  # noqa: S101 - the caller erases those
        return Outcome(id=item.id, result=after.fate, remarks=tuple(remarks))
