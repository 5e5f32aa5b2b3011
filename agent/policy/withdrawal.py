"""What becomes of an object once a purpose that it was sealed for is allowed no more. Pure; the flow carries it out.

Earlier use stays lawful, so nothing is undone: an object that another purpose still calls for goes on for that one,
sealed anew without the readers of the other; one that no purpose calls for any more stays here for its owner alone,
and is erased where its owner could not read it. A key that was the owner's when it was sealed is the owner's for that:
who has another one by now may have that one still. What was narrowed so stays narrow: a consent that is given again is
about what is recorded from then on. What is corrected later of a copy that a store has is told to nobody of the others.
"""

from typing import Literal

import msgspec

from agent.model import Object
from agent.policy.purpose import Consents, is_allowed, readers_left, recipients_for
from agent.policy.values import Policy, Rights

Fate = Literal["continues", "resealed", "kept", "erased"]
"""``continues``: for its other purposes, sealed as it is; ``resealed``: the same, for fewer readers; ``kept``: stays
here and goes no further; ``erased``: nobody is left who may read it."""


class After(msgspec.Struct, frozen=True, kw_only=True):
    """What an object is from now on: for which purposes, and whom it is to be sealed to."""

    fate: Fate
    purposes: tuple[str, ...]
    recipients: tuple[str, ...]


def after_withdrawal(policy: Policy, item: Object, consents: Consents, *, owners_before: tuple[str, ...] = ()) -> After:
    """Return what becomes of an object under what the owner has said by now.

    The recipients are those of the object's that may still read it, and its owner where somebody else has to go: by the
    keys of now where the object's are all of ``owners_before``, that were the owner's once. They stay as they are where
    its key is not readable here, or a store has it: who could read that copy can do so still.
    """
    purposes = tuple(name for name in item.purposes if _is_allowed(policy, name, item, consents))
    fixed = item.kind == "header-key" or item.state != "sealed"
    rule = policy.rule_for(item.camera, item.category)
    may_read = () if rule is None or not purposes else recipients_for(rule, consents, sealed_for=purposes)
    readers = tuple(one for one in item.recipients if one in may_read)
    if readers == item.recipients or (readers and item.state != "sealed"):
        return After(fate="continues", purposes=purposes, recipients=item.recipients)
    if not fixed and (left := readers_left(may_read, recipients=item.recipients, owner=policy.owner_recipients())):
        return After(fate="resealed", purposes=purposes, recipients=left)
    owners = tuple(one for one in item.recipients if one in policy.owner_recipients())
    if not owners and (earlier := tuple(one for one in item.recipients if one in owners_before)):
        owners = policy.owner_recipients() or earlier
    if owners or (readers and fixed):
        return After(fate="kept", purposes=purposes, recipients=item.recipients if fixed else owners)
    return After(fate="erased", purposes=(), recipients=item.recipients)


def told_of(policy: Policy, item: Object, rights: Rights) -> tuple[str, ...]:
    """Return whom a correction of what a store has is sealed to: its owner, and those who can read it and may still.

    While the object is restricted, and once the service ended, that is its owner alone.
    """
    rule = policy.rule_for(item.camera, item.category)
    may_read: tuple[str, ...] = ()
    if rule is not None and not rights.restricted and not rights.ended:
        may_read = recipients_for(rule, rights.consents, sealed_for=item.purposes)
    readers = tuple(one for one in item.recipients if one in may_read)
    told = tuple(dict.fromkeys((*policy.owner_recipients(), *readers)))
    # Kinds that one file may not mix: then the rule has its owner among its readers no more, and they hear it.
    return readers if len({key.startswith("age1pq1") for key in told}) > 1 else told


def _is_allowed(policy: Policy, name: str, item: Object, consents: Consents) -> bool:
    purpose = policy.purposes.get(name)
    return purpose is not None and is_allowed(purpose, item.category, consents)
