"""When the service behind a camera ends: what follows, in numbered stages, and when; pure.

    1 served     a cloud is there, or nobody said that it ends
    2 noticed    a signed notice names a time that has not come: all goes on, and the owner is told
    3 ended      nothing is collected or uploaded any more; the owner has the policy's time of grace
    4 deleting   the deletion plan runs: everything that nothing keeps goes, here and at the stores
    5 done       nothing is left but what a hold or a restriction keeps, and that goes when it is over

A cloud that is silent for longer than the policy allows ends it too, also where it gave a notice for later, and one
that is heard again within the time of grace takes that back, the notice with it. Of a signed notice only the owner
does. While the clock is unsure no stage is entered, and only time counts as silence in which the agent ran and somebody
was there who could have spoken: a device that lay in a drawer, or that has no cloud, deletes nothing for its silence.
A cloud whose keys have expired, or that there is no line to, cannot speak: its silence stands still until it can, and
what it ended stays ended. Only its owner, who takes the last backend's key out of the key set, has no cloud any more.
"""

from typing import Final, Literal

import msgspec

from agent.model import Moment
from agent.policy.values import Policy

Stage = Literal["served", "noticed", "ended", "deleting", "done"]

Cloud = Literal["none", "mute", "there"]
"""``none``: no backend's key is in the key set. ``mute``: one is, and none is valid now, or there is no line."""

LOOK_MAX_MS: Final = 3_600_000
"""Between two looks no more than this counts as silence: else the agent was not running, or did not look."""


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """How the service stands; times are agent time.

    ``by`` is the key that signed the notice, ``""`` of silence; ``command`` that notice. ``ends_ms`` is when collection
    stops, ``due_ms`` when the plan runs. ``silent_ms`` is how long no word came, as of ``looked_ms``.
    """

    stage: Stage = "served"
    by: str = ""
    command: str = ""
    since_ms: int = 0
    ends_ms: int = 0
    due_ms: int = 0
    silent_ms: int = 0
    looked_ms: int = 0

    @property
    def ended(self) -> bool:
        """Whether nothing is collected any more."""
        return self.stage in {"ended", "deleting", "done"}


def advance(  # noqa: PLR0911 - one return per way from stage to stage
    now: Service, policy: Policy, *, heard: bool, cloud: Cloud, moment: Moment
) -> Service:
    """Return how the service stands after a look; ``heard`` tells whether a word of the cloud came since the last.

    ``cloud`` tells whether anybody is there who could speak: silence counts of one that is ``there``, and stands still
    while it is ``mute``; where there is ``none`` it counts no more, and what ended by silence goes on.
    """
    at_ms = moment.agent_ms
    passed_ms = min(max(0, at_ms - now.looked_ms), LOOK_MAX_MS) if now.looked_ms and moment.trusted else 0
    silent_ms = now.silent_ms + (passed_ms if cloud == "there" else 0)
    if heard or cloud == "none":
        silent_ms = 0
    looked = msgspec.structs.replace(now, silent_ms=silent_ms, looked_ms=at_ms)
    if not moment.trusted:
        return looked
    if looked.stage == "noticed" and at_ms >= looked.ends_ms:
        return _end(looked, policy, at_ms=at_ms)
    limit_ms = policy.silent_ms
    if looked.stage in {"served", "noticed"} and limit_ms is not None and looked.silent_ms >= limit_ms:
        return _end(msgspec.structs.replace(looked, by="", command="", since_ms=at_ms), policy, at_ms=at_ms)
    if looked.stage == "ended" and heard and not looked.by:
        return Service(looked_ms=at_ms)
    if looked.stage in {"ended", "deleting"} and cloud == "none" and not looked.by:
        return Service(looked_ms=at_ms)
    if looked.stage == "ended" and policy.ending == "delete" and at_ms >= looked.due_ms:
        return msgspec.structs.replace(looked, stage="deleting")
    if looked.stage == "deleting" and policy.ending != "delete":
        return msgspec.structs.replace(looked, stage="ended")
    return looked


def noticed(now: Service, *, by: str, command: str, ends_ms: int, moment: Moment) -> Service:
    """Return how the service stands after a signed notice; one that has ended goes on ending as it does."""
    if now.ended:
        return now
    return msgspec.structs.replace(
        now, stage="noticed", by=by, command=command, since_ms=moment.agent_ms, ends_ms=ends_ms
    )


def _end(now: Service, policy: Policy, *, at_ms: int) -> Service:
    return msgspec.structs.replace(now, stage="ended", ends_ms=at_ms, due_ms=at_ms + policy.grace_ms)
