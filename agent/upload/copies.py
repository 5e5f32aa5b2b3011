"""Copies that a store has: erased until it confirms, and compared with what we hold receipts for.

Only an answer that names a request of ours, still open, is believed (``re``): an old one replayed proves nothing. Each
store is asked about its own copies only, and believed about those: another one would truly state them ``absent``. One
whose key left the key set is not asked, so what it has stays unconfirmed.
"""

import asyncio
import math
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from agent.clock import monotonic_s
from agent.envelope import Erased, ErasedItem, Failed, Go, Stored
from agent.erasure import Erasure
from agent.errors import LinkError, RefusedError
from agent.index import Index, Tx
from agent.model import Moment, RandomBytes, new_id
from agent.uplink import MAX_ITEMS, UP_ERASE, UP_RESYNC, Line, Mail, Wait, pause_until
from agent.vault import RemoteCopy, Vault

FIRST_AGAIN_S: Final = 15.0  # an unanswered request is repeated, first after this
LONGEST_AGAIN_S: Final = 900.0
OPEN_REQUESTS: Final = 64
WHOLE_AGAIN_S: Final = 600.0
"""Between two comparisons of everything: a store may name a new incarnation in each answer."""

NOTED_AT_ONCE: Final = 8
"""Erasures of one message that share a transaction. With the last copy of a part of a large delete its outcomes are
written anew, hundreds; the copies are random, so the last message ends many parts."""

_MS_PER_S: Final = 1000

Pair = tuple[str, str]


@dataclass(slots=True)
class _Request:
    """A message that a store has not answered, and the (upload, manifest) that it named."""

    store: str
    open: set[Pair]


@dataclass(slots=True)
class _Pages:
    """How far the copies of one store were compared since the agent started, or since its incarnation changed."""

    epoch: str = ""
    page_due: bool = False
    every_page_due: bool = False
    changed: bool = False  # another incarnation was named since the last comparison of everything began
    whole_s: float = -math.inf  # when that was
    cursor: str = ""  # the page asked about comes after this upload id
    end: str = ""  # where the next one starts; "" after the last

    def answered(self) -> None:
        """Go on behind a page whose every copy was told of."""
        self.cursor = self.end
        self.page_due = False
        self.every_page_due = self.every_page_due and bool(self.cursor)

    def start_over(self, now_s: float) -> None:
        """Ask about everything."""
        self.changed = False
        self.whole_s = now_s
        self.every_page_due = True
        self.cursor = ""

    def start_over_in_s(self, now_s: float) -> float:
        """Return in how many seconds everything is to be asked about; infinite when it is not."""
        return max(0.0, self.whole_s + WHOLE_AGAIN_S - now_s) if self.changed else math.inf


class Copies:
    """Sends ``erase`` and ``resync``; the flow hands it every answer that may concern them.

    ``mails`` has one for each store of the key set, by key id. ``lost`` is told of an object that a store does not have
    any more, and how many of its uploads to that store were given up by then, before ``changed`` is called.
    """

    def __init__(
        self,
        *,
        index: Index,
        vault: Vault,
        erasure: Erasure,
        line: Line,
        mails: Callable[[], Mapping[str, Mail]],
        now: Callable[[], Moment],
        alert: Callable[[str, str], None],
        changed: Callable[[], None],
        lost: Callable[[str, int], None],
        clock_s: Callable[[], float] = monotonic_s,
        wait: Wait = pause_until,
        random: RandomBytes = secrets.token_bytes,
    ) -> None:
        self._index = index
        self._vault = vault
        self._erasure = erasure
        self._line = line
        self._mails = mails
        self._now = now
        self._alert = alert
        self._changed = changed
        self._lost = lost
        self._clock_s = clock_s
        self._wait = wait
        self._random = random
        self._erasing: dict[str, _Request] = {}
        self._comparing: dict[str, _Request] = {}
        self._erase_after: dict[str, str] = {}
        self._erase_news = asyncio.Event()
        self._compare_news = asyncio.Event()
        self._connected = False
        self._pages: dict[str, _Pages] = {}
        self.lost = 0

    def wake(self) -> None:
        """Look for copies to erase now."""
        self._erase_news.set()

    def stores_changed(self) -> None:
        """Say that a store's key came into the key set, or left it."""
        self._erase_news.set()
        self._compare_news.set()

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch(), name="copies-watch")
            group.create_task(self._erase_always(), name="copies-erase")
            group.create_task(self._compare_always(), name="copies-compare")

    def note_epoch(self, store: str, epoch: str, *, before: str = "") -> None:
        """Take a store's incarnation from its verified answer; a new one means that it may have lost what it had."""
        pages = self._pages_of(store)
        known = pages.epoch or before
        pages.epoch = epoch
        if known and known != epoch and not pages.changed:
            pages.changed = True
            self._compare_news.set()

    async def take(self, answer: Go | Stored | Erased | Failed) -> bool:
        """Take an answer to a request of ours; return whether it was one."""
        if isinstance(answer, Erased):
            return await self._note_erased(answer)
        request = self._comparing.get(answer.re or "")
        if request is None or request.store != answer.iss or (answer.upload, answer.manifest) not in request.open:
            return False
        request.open.discard((answer.upload, answer.manifest))
        if not request.open:
            del self._comparing[answer.re or ""]
            self._pages_of(request.store).answered()
            self._compare_news.set()
        row = await self._index.read(lambda tx: self._vault.upload_of(tx, answer.upload))
        if not isinstance(answer, Failed):
            self.note_epoch(answer.iss, answer.epoch, before=row.store_epoch if row is not None else "")
        if not isinstance(answer, Stored):
            await self.note_lost(answer.upload)
        return True

    async def note_lost(self, upload: str) -> None:
        """Note that a store said that it does not have a copy which it had stated."""
        moment = self._now()
        found = await self._index.write(lambda tx: self._note_lost(tx, upload, moment=moment), urgent=True)
        if found is not None:
            self.lost += 1
            self._lost(*found)
            self._alert("store_rolled_back", "The store was asked about its copies, and does not have them all.")
            self._changed()

    def _note_lost(self, tx: Tx, upload: str, *, moment: Moment) -> tuple[str, int] | None:
        row = self._vault.upload_of(tx, upload)
        if row is None or not self._vault.note_lost(tx, upload, moment=moment):
            return None
        return row.object, self._vault.given_up(tx, row.object, store=row.store)

    async def _note_erased(self, answer: Erased) -> bool:
        request = self._erasing.get(answer.re)
        if request is None or request.store != answer.iss:
            return False
        del self._erasing[answer.re]
        items = [item for item in answer.items if (item.upload, item.manifest) in request.open]
        moment = self._now()
        news = 0

        for start in range(0, len(items), NOTED_AT_ONCE):
            note = partial(
                self._note_some, items=items[start : start + NOTED_AT_ONCE], stated_by=answer.iss, moment=moment
            )
            news += await self._index.write(note, urgent=True)
        self._changed()
        if news:  # there may be more than one message names; an answer beside the point is asked for later
            self._erase_news.set()
        return True

    def _note_some(self, tx: Tx, *, items: Sequence[ErasedItem], stated_by: str, moment: Moment) -> int:
        """Return how many were news."""
        asked = [item.upload for item in items if self._erasure.is_store_asked(tx, item.upload, store=stated_by)]
        for item in items:
            self._erasure.note_erased(
                tx,
                item.upload,
                item.manifest,
                header=item.header,
                payload=item.payload,
                stated_by=stated_by,
                moment=moment,
            )
        return sum(not self._erasure.is_store_asked(tx, upload, store=stated_by) for upload in asked)

    async def _watch(self) -> None:
        session = 0
        while True:
            session = await self._line.next_session(session)
            self._connected = True
            self._erasing.clear()
            self._comparing.clear()
            for pages in self._pages.values():
                pages.page_due = True
            self._erase_news.set()
            self._compare_news.set()

    def _pages_of(self, store: str) -> _Pages:
        """Return a store's pages; those of one that left the key set are forgotten."""
        if store not in self._pages:
            known = self._mails()
            self._pages = {kid: pages for kid, pages in self._pages.items() if kid in known}
            self._pages[store] = _Pages(page_due=self._connected)
        return self._pages[store]

    async def _erase_always(self) -> None:
        again_s = FIRST_AGAIN_S
        while True:
            self._erase_news.clear()
            asked = [await self._erase_at(mail) for mail in tuple(self._mails().values())]
            again_s = await self._pause(again_s, self._erase_news, asked=any(asked))

    async def _erase_at(self, mail: Mail) -> bool:
        copies = await self._pending(mail.store_kid, after=self._erase_after.get(mail.store_kid, ""))
        if copies:
            self._erase_after[mail.store_kid] = copies[-1].upload if len(copies) == MAX_ITEMS else ""
            jti = new_id(self._random)
            message = mail.erase(copies, iat_s=self._iat_s(), jti=jti)
            self._open(self._erasing, jti, mail.store_kid, copies)
            await self._ask(UP_ERASE, message)
        return bool(copies)

    async def _pending(self, store: str, *, after: str) -> tuple[RemoteCopy, ...]:
        """Return what comes behind the copies that were asked about last, so that none keeps another waiting."""
        copies = await self._index.read(lambda tx: self._erasure.pending_remote(tx, store, MAX_ITEMS, after=after))
        return await self._pending(store, after="") if after and not copies else copies

    async def _compare_always(self) -> None:
        again_s = FIRST_AGAIN_S
        while True:
            self._compare_news.clear()
            asked = [await self._compare_with(mail) for mail in tuple(self._mails().values())]
            again_s = await self._pause(
                again_s, self._compare_news, asked=any(asked), at_most_s=self._start_over_in_s()
            )

    def _start_over_in_s(self) -> float:
        now_s = self._clock_s()
        return min((self._pages_of(kid).start_over_in_s(now_s) for kid in self._mails()), default=math.inf)

    async def _compare_with(self, mail: Mail) -> bool:
        copies = await self._page(mail.store_kid)
        if copies:
            jti = new_id(self._random)
            for other, request in tuple(self._comparing.items()):
                if request.store == mail.store_kid:  # one page at a time; a repeat supersedes what it repeats
                    del self._comparing[other]
            message = mail.resync(copies, iat_s=self._iat_s(), jti=jti)
            self._open(self._comparing, jti, mail.store_kid, copies)
            await self._ask(UP_RESYNC, message)
        return bool(copies)

    async def _page(self, store: str) -> tuple[RemoteCopy, ...]:
        """Return the copies to ask about now: one page for each connection, all pages after a new epoch."""
        pages = self._pages_of(store)
        if pages.start_over_in_s(self._clock_s()) == 0:
            self._alert("store_rolled_back", "The store has another incarnation, as after a restore from a backup.")
            pages.start_over(self._clock_s())
        if not (pages.page_due or pages.every_page_due):
            return ()
        after = pages.cursor
        copies = await self._index.read(lambda tx: self._vault.stored_page(tx, store, after=after, limit=MAX_ITEMS))
        pages.end = copies[-1].upload if len(copies) == MAX_ITEMS else ""
        if not copies:
            pages.cursor = ""
            pages.page_due = pages.every_page_due = False
        return copies

    async def _pause(self, again_s: float, news: asyncio.Event, *, asked: bool, at_most_s: float = math.inf) -> float:
        """Wait for news, or for the time to ask again; return how long the next wait is."""
        wait_s = min(at_most_s, again_s if asked else math.inf)
        if wait_s < math.inf:
            await self._wait(wait_s, news)
        else:
            await news.wait()
        return FIRST_AGAIN_S if news.is_set() else min(LONGEST_AGAIN_S, 2 * again_s)

    def _open(self, requests: dict[str, _Request], jti: str, store: str, copies: Sequence[RemoteCopy]) -> None:
        while len(requests) >= OPEN_REQUESTS:
            del requests[next(iter(requests))]
        requests[jti] = _Request(store, {(copy.upload, copy.manifest) for copy in copies})

    async def _ask(self, channel: str, message: bytes) -> None:
        try:
            await (await self._line.submit(channel, message))
        except (LinkError, RefusedError):
            return  # it is asked again: at the next connection, and later on this one

    def _iat_s(self) -> int:
        return self._now().agent_ms // _MS_PER_S
