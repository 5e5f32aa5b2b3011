"""Alerts: what is wrong becomes sentences for the owner, kept until acknowledged (``docs/protocol.md`` §8).

A flow says a code and one sentence; what that means and what to do next stand here once. Every reader is a client of
the owner; nothing personal is in the sentences, but of a policy that waits its lines as they are, which no log gets.
"""

import logging
from contextlib import suppress
from typing import Final, cast

from agent.errors import SpaceError
from agent.index import Index, Tx
from agent.model import Moment
from agent.outbox import Alert, AlertCode, Outbox
from agent.trust import Trust

_log = logging.getLogger(__name__)

MEANING: Final[dict[str, tuple[str, str]]] = {
    "clock_unsure": (
        "Ages advance by the boot clock; a backend's deletes wait. The owner's commands still act.",
        "Give the device network time, or send a signed time: privacy-owner time --now",
    ),
    "clock_jump": (
        "The wall clock is not believed; nothing is deleted early because of it.",
        "Check who sets this device's clock, then settle it: privacy-owner time --now",
    ),
    "disk_full": (
        "New recordings are refused and stay with their source; deletes and receipts still work.",
        "Free space, lower the keep limits in policy.toml, or delete: privacy-owner delete",
    ),
    "source_failed": (
        "What this source records is not taken in; everything else goes on.",
        "Look at that folder and its rights, or at that camera and its card: privacy-agent doctor",
    ),
    "certificate_expiring": (
        "When it ends, the broker refuses this device and nothing is uploaded.",
        "Renew it: python -m certs renew DIR NAME; the agent takes the new one up by itself",
    ),
    "store_rolled_back": (
        "The store lost uploads that it had confirmed; what is still here is sent again, up to five times.",
        "Ask its operator what was lost, and if what it had erased is back; or change it: privacy-owner client add",
    ),
    "upload_region_refused": (
        "The store would keep recordings in a region that the policy does not allow; nothing is sent.",
        "Change the store, or allow the region: [upload] regions in policy.toml",
    ),
    "mass_delete_waiting": (
        "A command above its quota waits; nothing was deleted.",
        "Approve just the selection that the alert names, or let it expire: privacy-owner approve",
    ),
    "approval_waiting": (
        "A command that needs the word of several of the owner's clients waits; nothing of it was done.",
        "Approve just what the alert names, from another client, or let it expire: privacy-owner approve",
    ),
    "service_ending": (
        "Once it has ended nothing is collected or uploaded, and what nothing keeps goes by the policy's plan.",
        "Export what shall stay: privacy-owner export; or go on without it: privacy-owner end-service --resume",
    ),
    "policy_waiting": (
        "The policy in force goes on; nothing of the other one is obeyed before an owner approves it.",
        "Look at it first: privacy-agent policy show --waiting; then approve just that hash: privacy-owner approve",
    ),
    "policy_unreadable": (
        "Nothing of it is obeyed: the policy in force, which the agent keeps itself, goes on.",
        "See what is wrong: privacy-agent policy check; then mend the file, and reload the agent",
    ),
    "policy_tightened": (
        "Less is kept, read or sent than before; what is too old now goes, but what is held or restricted stays.",
        "Look at it: privacy-agent policy show; nothing is to be done",
    ),
    "retention_waiting": (
        "A retention pass would remove far more than expected; it waits and nothing of that was deleted.",
        "Check policy.toml and the clock, then approve it: privacy-owner approve",
    ),
    "removed_unsent": (
        "What went cannot be had back from anywhere. Age ends what is here sent or not, size and count from twice on.",
        "See what keeps uploads: privacy-agent status; then widen [upload] or the keep limits in policy.toml",
    ),
    "request_due": (
        "It is still open, and the time within which this device promises an answer ends soon.",
        "See which, and what each waits for: privacy-owner requests, privacy-owner pending",
    ),
    "request_overdue": (
        "The time within which this device promises an answer is over; it goes on trying.",
        "See which, and what each waits for: privacy-owner requests; then ask whoever does not answer",
    ),
    "unknown_keys": (
        "Messages signed by keys that are not in the key set arrive; they have no effect.",
        "Check who may write to this device's topics on the broker",
    ),
    "forged_message": (
        "Messages under the id of a key of the set, or in this device's uploads, are not its own; they have no effect.",
        "Check who may write to this device's topics on the broker; the key itself is not lost by that",
    ),
    "key_misused": (
        "Its signature is true, so whoever signed that has the key; what it says had no effect.",
        "Ask who holds that key; if nobody there did it, take it out: privacy-owner client remove",
    ),
    "request_flood": (
        "What it sends beyond its pace is refused, then not answered; everybody else is served as before.",
        "Ask who holds that key; if nobody there did it, take it out: privacy-owner client remove",
    ),
    "takeover": (
        "Another client uses this device's name at the broker; the connection keeps being lost.",
        "Find the second device; revoke its certificate: python -m certs revoke DIR NAME",
    ),
    "corrupt_object": (
        "A stored object's bytes are not what was sealed; it is neither exported nor uploaded, and stays here.",
        "Check the disk; see what is damaged and where else it is: privacy-agent scrub, privacy-agent explain ID",
    ),
    "audit_broken": (
        "The log of what was done does not hold together; entries were changed or lost.",
        "Keep a copy of the state folder and look into who had access to it",
    ),
    "acl_broken": (
        "The broker filters or refuses this device's topics: commands do not arrive, or receipts and uploads wait.",
        "Correct the broker's access rules, the log names the topic: docs/protocol.md section 1",
    ),
    "removal_failed": (
        "Files of deleted recordings, without their keys, or exports lie there still; their deletes are not answered.",
        "Look at what is in the way: privacy-agent doctor; it is tried again each minute",
    ),
    "camera_impostor": (
        "Something answers for an enrolled camera and holds another key. It was given nothing; the camera is used on.",
        "Look who is on the camera's network, the log names the camera: privacy-agent discover",
    ),
    "held": (
        "Until it ends nobody deletes what it covers, its owner neither; it is named by status and by each object.",
        "Look at what is held, why and by whom: privacy-owner inventory; it ends by itself, or: privacy-owner release",
    ),
    "hold_ended": (
        "What it kept is deleted again by the policy's limits, and by whoever may delete it.",
        "Restrict what has to be kept: privacy-owner restrict; or delete what was held: privacy-owner delete",
    ),
    "unusable_key": (
        "That key is told nothing; a store with such a key gets no upload.",
        "Get its descriptor again and sign the next key set: privacy-owner client remove, then client add",
    ),
}


class Alarm:
    """Raises and clears alerts, in transactions of its own unless it is handed one."""

    def __init__(self, *, index: Index, trust: Trust, outbox: Outbox) -> None:
        self._index = index
        self._trust = trust
        self._outbox = outbox

    async def raise_(self, code: str, what: str, *, about: str = "", moment: Moment) -> bool:
        """Raise or repeat an alert; return whether a message was queued. A disk too full for it is logged."""
        _log.warning("%s: %s", code, what)
        try:
            return await self._index.write(lambda tx: self.raise_in(tx, code, what, moment, about=about), urgent=True)
        except SpaceError:
            return False

    def raise_in(self, tx: Tx, code: str, what: str, moment: Moment, *, about: str = "", at_once: bool = False) -> bool:
        """Raise or repeat an alert in the transaction of what it is about; return whether a message was queued.

        ``about`` is an id: what is about another is another alert. ``at_once`` for one that stands and now says more.
        """
        effect, following = MEANING[code]
        alert = Alert(code=cast("AlertCode", code), what=what, effect=effect, next=following, about=about)
        readers = self._trust.keys_of(tx, "client", moment=moment)
        return self._outbox.raise_alert(tx, alert, readers=readers, at_once=at_once, moment=moment)

    async def clear(self, code: str, *, moment: Moment) -> None:
        """End an alert that stands; does nothing when it does not. On a disk too full for it the alert goes on."""
        standing = await self._index.read(self._outbox.alerts)
        if any(code == name for name, _since, _count in standing):
            with suppress(SpaceError):
                await self._index.write(
                    lambda tx: self._outbox.clear_alert(tx, cast("AlertCode", code), moment=moment), urgent=True
                )
