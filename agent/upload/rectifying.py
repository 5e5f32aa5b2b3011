"""Corrections on their way to stores: sent until each has stated that it keeps them with its copies.

As with erasures, only an answer that names a request of ours, still open, is believed (``re``), and each store is asked
about its own copies alone, one after the other, so that no copy that it does not confirm keeps another from its
correction. What is corrected is sealed to the owner and to those who can read the copies and may still, by what stands
when it is sent (``told_of``): the store keeps it, unread. Where it is not known any more to whom a copy is sealed, the
owner alone can read the correction. A copy that a store says it does not have is lost, and uploaded anew.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

import msgspec

from agent import age, audit
from agent.audit import Event
from agent.clock import MS_PER_S, rfc3339_ms
from agent.envelope import Rectified
from agent.errors import ConfigError, LinkError, RefusedError
from agent.index import Index, Tx
from agent.model import Moment, RandomBytes, new_id
from agent.policy import Policy, told_of
from agent.rights import correction
from agent.rights.correction import DueCopy, Stated
from agent.rights.snapshot import Snapshot
from agent.uplink import MAX_ITEMS, UP_RECTIFY, Line, Mail, Wait, pause_until
from agent.upload.copies import FIRST_AGAIN_S, LONGEST_AGAIN_S
from agent.vault import Vault

PASSED_MAX: Final = 8
"""Statements that cannot be sealed and are passed by before a store is left alone for a while."""

_log: Final = logging.getLogger(__name__)


class _Open(msgspec.Struct, frozen=True):
    """A request that a store has not answered."""

    jti: str
    target: str
    number: int
    named: frozenset[tuple[str, str]]  # (upload, manifest)


class Corrections:
    """Sends ``rectify``; the flow hands it every ``rectified``. ``mails`` has one for each store, by key id."""

    def __init__(
        self,
        *,
        index: Index,
        vault: Vault,
        line: Line,
        mails: Callable[[], Mapping[str, Mail]],
        policy: Callable[[], Policy],
        snapshot: Snapshot,
        now: Callable[[], Moment],
        corrected: Callable[[Tx, Moment], None],
        changed: Callable[[], None],
        lost: Callable[[str], Awaitable[None]],
        wait: Wait = pause_until,
        random: RandomBytes = secrets.token_bytes,
    ) -> None:
        self._index = index
        self._vault = vault
        self._line = line
        self._mails = mails
        self._policy = policy
        self._snapshot = snapshot
        self._now = now
        self._corrected = corrected
        self._changed = changed
        self._lost = lost
        self._wait = wait
        self._random = random
        self._open: dict[str, _Open] = {}
        self._next: dict[str, tuple[str, str]] = {}
        self._news = asyncio.Event()

    def wake(self) -> None:
        """Look for copies to correct now."""
        self._news.set()

    async def run(self) -> None:
        """Work until cancelled: ask every store, then wait for an answer, for news, or for the time to ask again."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch(), name="corrections-watch")
            again_s = FIRST_AGAIN_S
            while True:
                self._news.clear()
                asked = [await self._ask(mail) for mail in tuple(self._mails().values())]
                if any(asked):
                    await self._wait(again_s, self._news)
                else:
                    await self._news.wait()
                again_s = FIRST_AGAIN_S if self._news.is_set() else min(LONGEST_AGAIN_S, 2 * again_s)

    async def take(self, answer: Rectified) -> bool:
        """Note a store's word, if it answers what that store was asked last; return whether it does."""
        request = self._open.get(answer.iss)
        if request is None or request.jti != answer.re:
            return False
        del self._open[answer.iss]
        ours = [item for item in answer.items if (item.upload, item.manifest) in request.named]
        kept = tuple(item.upload for item in ours if item.result == "kept")
        absent = tuple(item.upload for item in ours if item.result == "absent")
        noted = partial(correction.confirmed, store=answer.iss, target=request.target, number=request.number)
        moment = self._now()

        def note(tx: Tx) -> int:
            news = noted(tx, uploads=kept)
            if news:
                event = Event(kind="remote_rectified", actor=answer.iss, detail={"copies": news})
                audit.append(tx, event, moment=moment)
            news += noted(tx, uploads=absent, kept=False)
            self._corrected(tx, moment)
            return news

        news = await self._index.write(note, urgent=True)
        for upload in absent:
            await self._lost(upload)
        self._changed()
        if news:  # there may be more than one message names; an answer beside the point is asked for later
            self._news.set()
        return True

    async def _watch(self) -> None:
        session = 0
        while True:
            session = await self._line.next_session(session)
            self._open.clear()
            self._news.set()

    async def _ask(self, mail: Mail) -> bool:
        """Ask a store for what is next; return whether anything is due there. What cannot be sealed is passed by."""
        store = mail.store_kid
        for passed in range(PASSED_MAX):
            since = self._next.get(store, correction.FIRST)
            due, told, readers, after = await self._index.read(partial(self._due, store=store, since=since))
            self._next[store] = after
            if told is None:
                return bool(passed)
            moment = self._now()
            jti = new_id(self._random)
            try:
                statement = mail.statement(_claims(told, due), to=[age.parse_recipient(text) for text in readers])
            except ConfigError as error:  # nobody could read it: what is due stays due, and its command waits
                _log.warning("a correction cannot be sealed: %s", error.message)
                continue
            message = mail.rectify(
                due, statement, about=told.about, number=told.number, iat_s=moment.agent_ms // MS_PER_S, jti=jti
            )
            named = frozenset((copy.upload, copy.manifest) for copy in due)
            self._open[store] = _Open(jti, told.target, told.number, named)
            with suppress(LinkError, RefusedError):  # it is asked again: at the next connection, and later on this one
                await (await self._line.submit(UP_RECTIFY, message))
            break
        return True

    def _due(
        self, tx: Tx, *, store: str, since: tuple[str, str]
    ) -> tuple[tuple[DueCopy, ...], Stated | None, tuple[str, ...], tuple[str, str]]:
        """Return copies that are told the same, what that is, who may read it, and where to go on."""
        due, after = correction.due_at(tx, store, since=since, limit=MAX_ITEMS)
        if not due and since != correction.FIRST:  # round again
            due, after = correction.due_at(tx, store, limit=MAX_ITEMS)
        if not due:
            return (), None, (), after
        of_each = [self._readers(tx, copy) for copy in due]
        alike = tuple(copy for copy, readers in zip(due, of_each, strict=True) if readers == of_each[0])
        left_out = [(copy.target, copy.upload) for copy in due if copy not in alike]
        if left_out:
            after = left_out[0] if after == correction.FIRST else min(after, left_out[0])
        return alike, correction.stated(tx, due[0].target), of_each[0], after

    def _readers(self, tx: Tx, copy: DueCopy) -> tuple[str, ...]:
        item = self._vault.get(tx, copy.object)
        if item is None:
            return self._policy().owner_recipients()
        return told_of(self._policy(), item, self._snapshot.of(tx, item))


def _claims(told: Stated, due: Sequence[DueCopy]) -> dict[str, Any]:
    """Return what the statement says; one of a camera names the objects that it is told with."""
    claims: dict[str, Any] = {
        "iat": told.at_ms // MS_PER_S,
        "about": told.about,
        "number": told.number,
        "corrected": rfc3339_ms(told.at_ms),
        "objects": [copy.object for copy in due],
    }
    return claims | {field: text for field in ("name", "location") if (text := getattr(told, field)) is not None}
