"""How fast a key may speak: the flood of one is refused with the reason, and costs nobody else anything.

The generic cell rate algorithm (ITU-T I.371): of each key one time is kept, at which all that it has said is within its
pace; a command moves it on by the pause of its role. While it lies less than a burst ahead of now, commands act. Behind
that they are refused, which says why, as long as it lies less than two bursts ahead; what comes then is dropped, for to
refuse each of a flood is what a flood wants. A repeat of a command that was taken up is none of it: it gets its stored
receipt. But whoever has seen one pass can say it for ever, and each answer is written down: repeats have a pace of
their own, ``REPEATS``, and above it nothing is sent. All of it is rows, so a restart forgives nothing. A time that lies
further ahead than any flood brings it is of an agent time that a power cut took back before it was kept: it is counted
anew, else the owner would be heard no more until the clocks agree.
"""

from typing import Final, Literal

import msgspec

from agent.index import Tx
from agent.index import pace as rows
from agent.model import Moment

Word = Literal["act", "refuse", "drop"]


class Pace(msgspec.Struct, frozen=True):
    """One command each ``pause_ms`` in the long run, ``burst`` at once."""

    burst: int
    pause_ms: int


PACES: Final[dict[str, Pace]] = {
    "client": Pace(burst=1024, pause_ms=1_000),
    "backend": Pace(burst=256, pause_ms=5_000),
    "store": Pace(burst=16, pause_ms=60_000),
    "time": Pace(burst=16, pause_ms=60_000),
}
"""By role. A person does not say a thousand things at once, and a service that says one each five seconds to every
camera needs none of it again; a store has no command at all, and a time source one a minute."""


REPEATS: Final = Pace(burst=256, pause_ms=10_000)
"""Of what one key said once: all of it may come again when a line does."""


def forget_others(tx: Tx, kids: frozenset[str]) -> None:
    """Forget what was counted of keys that are not named."""
    rows.forget_others(tx, kids)


def takes_again(tx: Tx, kid: str, *, moment: Moment) -> bool:
    """Count the repeat of a command of a key and tell whether its receipt is sent; else nothing is written."""
    due_ms, bursts = _ahead(rows.again_ms(tx, kid), REPEATS, moment)
    if bursts:
        return False
    rows.set_again_ms(tx, kid, due_ms + REPEATS.pause_ms)
    return True


def take(tx: Tx, kid: str, *, pace: Pace, moment: Moment) -> Word:
    """Count a command of a key and say what becomes of it; what is dropped is not counted, and writes nothing."""
    due_ms, bursts = _ahead(rows.due_ms(tx, kid), pace, moment)
    if bursts > 1:
        return "drop"
    rows.set_due_ms(tx, kid, due_ms + pace.pause_ms)
    return "act" if bursts == 0 else "refuse"


def _ahead(kept_ms: int, pace: Pace, moment: Moment) -> tuple[int, int]:
    """Return the time at which all that was said is within its pace, and how many bursts it lies ahead of now."""
    now_ms = moment.agent_ms
    due_ms = max(kept_ms, now_ms)
    if due_ms - now_ms > (2 * pace.burst + 1) * pace.pause_ms:
        due_ms = now_ms
    return due_ms, (due_ms - now_ms + pace.pause_ms - 1) // (pace.burst * pace.pause_ms)
