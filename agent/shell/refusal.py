"""What the reason of a refusal means to a person, and what to do: a sentence each, for the owner and at the device."""

from typing import Final

REASONS: Final = {
    "wrong_audience": "it is addressed to another device",
    "malformed": "the device cannot read it: its version may be older than ours",
    "unknown_verb": "the device's version has no such verb",
    "expired": "it came after its time; give it again, perhaps with a longer --expires",
    "not_yet_valid": "this machine's clock is ahead of the device's; set it and give the command again",
    "jti_reused": "its id was used for something else; give it again",
    "seq_reused": "its number was used by another copy of this home; give it again",
    "stale_seq": "its number is too old; the next one was noted, give the command again",
    "verb_not_allowed": "this client's key does not hold the verb: privacy-owner client list says which it does; "
    "privacy-owner client grant NAME VERB gives it, once the device has the new key set",
    "not_granted": "only an owner's client may do this",
    "too_large": "the selection is too large; take a smaller one, for example by --from and --to",
    "busy": "the device has too many unfinished commands; privacy-owner pending, then give it again",
    "too_many_requests": "this client sent too many commands; wait some minutes, and look who else uses its key",
    "disk_full": "the device has no room for it; delete something first",
    "bad_policy": "the document in force stays; the receipt names the line to correct",
    "stale_revision": "this client put a later revision in force; give the command again, with a higher --revision",
    "nothing_waiting": "nothing of that id and hash waits there: it was approved, replaced or has ended; what waits "
    "now is named by privacy-agent status and privacy-agent policy show",
    "unknown_purpose": "its policy has no such purpose, or not for that category: privacy-agent policy explain",
    "wrong_basis": "that purpose rests on no consent, or the law calls for it (privacy-agent policy explain); "
    "what the law does not call for can be objected to: privacy-owner object",
    "superseded": "something newer was said of it meanwhile, or a delete named it; if this still holds, give it again",
    "not_delivered": "the third party did not get it, or not all: the receipt says why",
    "not_held": "the device knows nothing of that id: privacy-owner inventory --json tells the ids",
    "nothing_stands": "no restriction or hold of that id stands there: it was lifted, or has ended",
}
"""The reasons of docs/protocol.md §5 that end a command; what waits has words of its own."""
