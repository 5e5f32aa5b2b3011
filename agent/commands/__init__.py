"""Signed commands: what a key may ask, done exactly once and answered truthfully (``docs/protocol.md`` §4, §5).

    door.py        bytes become a heard command, a counted nothing, or a refusal: the order of checks, with its numbers
    admission.py   whether a heard command acts now, waits or is refused: rights, selection, quota (step 4)
    ledger.py      what was taken up, what it waits for, what became of it, and every receipt; all inside transactions
    listing.py     what an inventory tells to whom
    exporting.py   exports built, one at a time
    removing.py    exports that deletes mean, removed
    misuse.py      which refusals say that a key is in two places, or in the wrong hands
    handing.py     exports put at a third party's address, file by file, until it has all
    rectifying.py  names and locations corrected: here at once, at the stores until each said so
    consent.py     what the owner says of purposes: recorded, and in force from that commit on
    withdrawing.py what becomes of each object that was sealed for a purpose which was taken away
    stranger.py    what nobody we know sent: counted, audited at most once a minute
    world.py       what the composition root injects, and the judge that an erasure asks
    flow.py        ``Commands``: the shell around them: receives, runs, resumes, acknowledges

A command's life: *taken up* (sequence number, id, frozen selection and first receipt in one transaction) → perhaps
*waiting* → *accepted* → its effect → *settled* (terminal receipt in the transaction of the last effect). A crash at any
line leaves either no trace, so the sender's repeat acts, or a row that ``resume`` finishes and a repeat gets answered.
"""

from agent.commands.flow import Commands
from agent.commands.ledger import Ledger
from agent.commands.world import BACKEND_DELETE, OWNER_ERASE, World, sparing

__all__ = ["BACKEND_DELETE", "OWNER_ERASE", "Commands", "Ledger", "World", "sparing"]
