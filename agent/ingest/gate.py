"""Step 1: may it be taken in, under which rule, and is there room for it?"""

from collections.abc import Callable
from typing import Final

import msgspec

from agent.errors import SpaceError
from agent.ingest.room import Room
from agent.ingest.work import Let
from agent.model import Category, Moment, Requester
from agent.policy import Allow, Conditions, Policy, Refuse, Rights, Subject, decide, purposes_for, recipients_for

LARGEST_SHARE: Final = 2
"""What finds no room and is larger than half of the disk is too large to keep: most of what is kept would go for it."""

_DEVICE: Final = Requester(role="device")


class Gate:
    """Asks the policy in force, once for each piece; ``on_full`` as in ``Ingest``."""

    def __init__(
        self,
        room: Room,
        *,
        policy: Callable[[], Policy],
        on_full: Callable[[int], None],
    ) -> None:
        self._room = room
        self._policy = policy
        self._on_full = on_full

    def ask(self, camera: str, category: Category, *, rights: Rights, size_bytes: int, moment: Moment) -> Let | Refuse:
        """Return under which rule it is let in, its room promised, or why it is not; ``SpaceError`` when that may end.

        ``camera`` is ``""`` for one that has no id yet; ``rights`` are what stands over it.
        """
        free, total = self._room.left()
        policy = self._policy()
        decision = decide(
            policy,
            "ingest",
            requester=_DEVICE,
            subject=Subject(camera=camera, category=category, taken_in_ms=moment.agent_ms),
            rights=rights,
            conditions=Conditions(moment=moment, free_bytes=free - size_bytes, total_bytes=total),
        )
        rule = policy.rule_for(camera, category)
        if isinstance(decision, Allow):
            assert rule is not None  # noqa: S101 - decide refuses without one
            # Promised before anybody else is judged.
            return Let(
                rule=rule,
                consents=rights.consents,
                purposes=tuple(purpose.name for purpose in purposes_for(rule, rights.consents)),
                recipients=recipients_for(rule, rights.consents),
                camera=camera,
                room=self._room.promise(size_bytes),
            )
        if decision.reason != "disk_full":
            return decision
        if size_bytes > total // LARGEST_SHARE:
            # No room for it is no want of room: nobody is called, nothing makes way, and it is looked at again with all
            # else, not by itself.
            return Refuse(reason="too_large", rule=decision.rule)
        if rule is not None and rule.on_full == "drop-oldest":
            self._on_full(size_bytes)
        raise SpaceError(
            f"{max(free, 0)} bytes are free for it, {self._room.reserve_bytes} more are reserved; "
            f"{size_bytes} are needed",
            hint="free space or lower the keep limits in policy.toml",
        )

    def refusal(self, camera: str, category: Category, *, rights: Rights, moment: Moment) -> Refuse | None:
        """Return why it would not be let in now, however much room there is; nothing is promised."""
        decision = decide(
            self._policy(),
            "ingest",
            requester=_DEVICE,
            subject=Subject(camera=camera, category=category, taken_in_ms=moment.agent_ms),
            rights=rights,
            conditions=Conditions(moment=moment),
        )
        return decision if isinstance(decision, Refuse) else None

    def ask_again(self, let: Let, category: Category, *, rights: Rights, moment: Moment) -> Let | Refuse:
        """Return what of a yes holds for a piece over which ``rights`` stand, by when it may have been written.

        What is another since ``let`` is not judged here, but in step 4 (``meanwhile.py``).
        """
        if rights.ended or self._policy().rule_for(let.camera, category) != let.rule:
            return let
        refused = self.refusal(let.camera, category, rights=rights, moment=moment)
        if refused is not None:
            return refused
        return msgspec.structs.replace(
            let,
            consents=rights.consents,
            purposes=tuple(purpose.name for purpose in purposes_for(let.rule, rights.consents)),
            recipients=recipients_for(let.rule, rights.consents),
        )
