"""The keys of pseudonyms: one for each rotation period of the policy, destroyed when that is over.

Rules: a key is made when it is first needed and lives in the keystore, which overwrites it in place. It is destroyed at
its time whether or not a log comes, and as soon as the policy has no pseudonym of its period any more. A log that is
sealed while a key is rotated is sealed under the one that was current when it was let in.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from agent.clock import pause
from agent.ingest.work import Let, Now
from agent.keystore import Keystore
from agent.model import Moment
from agent.policy import Policy
from agent.policy.fields.rule import KeyedFields, encode_rules, periods_ms

LOOK_S: Final = 30.0
"""How often it is looked whether a key's time has passed; the shortest period is an hour."""


class Pseudonyms:
    """Belongs to the running event loop."""

    def __init__(self, keystore: Keystore, *, policy: Callable[[], Policy], now: Now) -> None:
        self._keystore = keystore
        self._policy = policy
        self._now = now
        self._rotating = asyncio.Lock()

    async def cleaning(self, let: Let, moment: Moment) -> bytes:
        """Return ``SealJob.cleaning``: a category's field rules with the keys of their pseudonyms, or nothing.

        What is counted is counted only while its purpose is allowed.
        """
        fields, counts = let.rule.fields, let.rule.counts
        if fields is None:
            return b""
        needed = periods_ms(fields)
        async with self._rotating:
            await self._rotate(needed, moment)
            keys = {one.period_ms: one.key for one in self._keystore.pseudonym_keys() if one.period_ms in needed}
        counted = counts.values if counts is not None and counts.purpose in let.purposes else {}
        return encode_rules(KeyedFields(fields, keys, counted))

    async def run(self) -> None:
        """Destroy each key at its time, for ever."""
        while True:
            await self.rotate()
            await pause(LOOK_S)

    async def rotate(self) -> None:
        """Destroy the keys whose time has passed, or whose period the policy has no more."""
        async with self._rotating:
            await self._rotate(frozenset(), self._now())

    async def _rotate(self, needed: frozenset[int], moment: Moment) -> None:
        there, now_ms = self._keystore.pseudonym_keys(), moment.agent_ms
        known = self._policy().rotation_periods_ms()
        good = frozenset(one.period_ms for one in there if one.period_ms in known and not one.is_over(now_ms))
        if not good >= needed or len(good | needed) < len(there):
            await asyncio.to_thread(partial(self._keystore.rotate_pseudonyms, good | needed, now_ms=now_ms))
