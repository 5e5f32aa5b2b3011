"""Copies that a store has: erased until it confirms, and compared with what we hold receipts for.

Only an answer that names a request of ours, still open, is believed (``re``): an old one replayed proves nothing.
"""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from agent.envelope import Erased, Failed, Go, Stored
from agent.erasure import Erasure
from agent.errors import LinkError, RefusedError
from agent.index import Index
from agent.model import Moment, RandomBytes, new_id
from agent.uplink import MAX_ITEMS, UP_ERASE, UP_RESYNC, Line, Mail, Wait, pause_until
from agent.vault import RemoteCopy, Vault

FIRST_AGAIN_S: Final = 15.0  # an unanswered request is repeated, first after this
LONGEST_AGAIN_S: Final = 900.0
OPEN_REQUESTS: Final = 64
_MS_PER_S: Final = 1000

Pair = tuple[str, str]


class Copies:
    """Sends ``erase`` and ``resync``; the flow hands it every answer that may concern them."""

    def __init__(
        self,
        *,
        index: Index,
        vault: Vault,
        erasure: Erasure,
        line: Line,
        mail: Callable[[], Mail | None],
        now: Callable[[], Moment],
        alert: Callable[[str, str], None],
        changed: Callable[[], None],
        wait: Wait = pause_until,
        random: RandomBytes = secrets.token_bytes,
    ) -> None:
        self._index = index
        self._vault = vault
        self._erasure = erasure
        self._line = line
        self._mail = mail
        self._now = now
        self._alert = alert
        self._changed = changed
        self._wait = wait
        self._random = random
        self._erasing: dict[str, set[Pair]] = {}
        self._comparing: dict[str, set[Pair]] = {}
        self._erase_news = asyncio.Event()
        self._compare_news = asyncio.Event()
        self._page_due = False
        self._every_page_due = False
        self._cursor = ""  # the page asked about comes after this upload id
        self._page_end = ""  # where the next one starts; "" after the last
        self._epoch = ""
        self.lost = 0

    def wake(self) -> None:
        """Look for copies to erase now."""
        self._erase_news.set()

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch(), name="copies-watch")
            group.create_task(self._erase_always(), name="copies-erase")
            group.create_task(self._compare_always(), name="copies-compare")

    def note_epoch(self, epoch: str, *, before: str = "") -> None:
        """Take the store's incarnation from a verified answer; a new one means that it may have lost what it had."""
        known = self._epoch or before
        self._epoch = epoch
        if known and known != epoch:
            self._alert(
                "store_rolled_back", "the store has another incarnation: it may have lost what it had confirmed"
            )
            self._every_page_due = True
            self._cursor = ""
            self._compare_news.set()

    async def take(self, answer: Go | Stored | Erased | Failed) -> bool:
        """Take an answer to a request of ours; return whether it was one."""
        if isinstance(answer, Erased):
            await self._note_erased(answer)
            return True
        pair = (answer.upload, answer.manifest)
        if answer.re is None or pair not in self._comparing.get(answer.re, set()):
            return False
        self._comparing[answer.re].discard(pair)
        if not self._comparing[answer.re]:
            del self._comparing[answer.re]
            self._cursor = self._page_end
            self._page_due = False
            self._every_page_due = self._every_page_due and bool(self._cursor)
            self._compare_news.set()
        row = await self._index.read(lambda tx: self._vault.upload_of(tx, answer.upload))
        if not isinstance(answer, Failed):
            self.note_epoch(answer.epoch, before=row.store_epoch if row is not None else "")
        if not isinstance(answer, Stored):
            await self._note_lost(answer.upload)
        return True

    async def _note_lost(self, upload: str) -> None:
        moment = self._now()
        if await self._index.write(lambda tx: self._vault.note_lost(tx, upload, moment=moment)):
            self.lost += 1
            self._alert("store_rolled_back", "the store lost recordings that it had confirmed; they are sent again")
            self._changed()

    async def _note_erased(self, answer: Erased) -> None:
        asked = self._erasing.pop(answer.re, None)
        if asked is None:
            return
        items = [item for item in answer.items if (item.upload, item.manifest) in asked]
        moment = self._now()
        for item in items:
            await self._index.write(
                partial(
                    self._erasure.note_erased,
                    upload=item.upload,
                    manifest=item.manifest,
                    header=item.header,
                    payload=item.payload,
                    stated_by=answer.iss,
                    moment=moment,
                ),
                urgent=True,
            )
        self._changed()
        self._erase_news.set()  # there may be more than one message names

    async def _watch(self) -> None:
        session = 0
        while True:
            session = await self._line.next_session(session)
            self._erasing.clear()
            self._comparing.clear()
            self._page_due = True
            self._erase_news.set()
            self._compare_news.set()

    async def _erase_always(self) -> None:
        again_s = FIRST_AGAIN_S
        while True:
            self._erase_news.clear()
            copies = await self._index.read(lambda tx: self._erasure.pending_remote(tx, MAX_ITEMS))
            mail = self._mail()
            if copies and mail is not None:
                jti = new_id(self._random)
                message = mail.erase(copies, iat_s=self._iat_s(), jti=jti)
                await self._ask(self._erasing, jti, copies, channel=UP_ERASE, message=message)
                await self._wait(again_s, self._erase_news)
            else:
                await self._erase_news.wait()
            again_s = FIRST_AGAIN_S if self._erase_news.is_set() else min(LONGEST_AGAIN_S, 2 * again_s)

    async def _compare_always(self) -> None:
        again_s = FIRST_AGAIN_S
        while True:
            self._compare_news.clear()
            copies = await self._page()
            mail = self._mail()
            if copies and mail is not None:
                jti = new_id(self._random)
                self._comparing.clear()  # one page at a time; a repeat supersedes what it repeats
                message = mail.resync(copies, iat_s=self._iat_s(), jti=jti)
                await self._ask(self._comparing, jti, copies, channel=UP_RESYNC, message=message)
                await self._wait(again_s, self._compare_news)
            else:
                await self._compare_news.wait()
            again_s = FIRST_AGAIN_S if self._compare_news.is_set() else min(LONGEST_AGAIN_S, 2 * again_s)

    async def _page(self) -> tuple[RemoteCopy, ...]:
        """Return the copies to ask about now: one page for each connection, all pages after a new epoch."""
        if not (self._page_due or self._every_page_due):
            return ()
        after = self._cursor
        copies = await self._index.read(lambda tx: self._vault.stored_page(tx, after=after, limit=MAX_ITEMS))
        self._page_end = copies[-1].upload if len(copies) == MAX_ITEMS else ""
        if not copies:
            self._cursor = ""
            self._page_due = self._every_page_due = False
        return copies

    async def _ask(
        self, requests: dict[str, set[Pair]], jti: str, copies: Sequence[RemoteCopy], *, channel: str, message: bytes
    ) -> None:
        while len(requests) >= OPEN_REQUESTS:
            del requests[next(iter(requests))]
        requests[jti] = {(copy.upload, copy.manifest) for copy in copies}
        try:
            await (await self._line.submit(channel, message))
        except (LinkError, RefusedError):
            return  # it is asked again: at the next connection, and later on this one

    def _iat_s(self) -> int:
        return self._now().agent_ms // _MS_PER_S
