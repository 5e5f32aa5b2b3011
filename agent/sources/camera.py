"""One enrolled camera with storage of its own: what waits there is listed, again and again, and offered.

Rules: the camera's list is all that it waits with; what is in it was not acknowledged, whether it was taken or not, so
whoever takes it says so again. Each pass begins with what is due at the camera (``opened``). Where it may be is asked
anew each time, and an address proves nothing (``agent/camera/link.py``). A session says only who had the key when it
began: every ``PROVED_S`` another one is begun, or a camera of which nothing is fetched would never be proved again.
What was offered is offered again when somebody says so (``again``), when everything is looked at anew, or with another
content.

A camera that lost its clock, or has another time than we do, dates what it records at will. What a pass did not find
and the next one does on the same card was recorded between the two, by our clock; of what was there at the first pass
nothing is known (``Told.is_dated``). One whose time is near ours dates well enough to show, not to delete by: by how
much its clock was off at most, since this began, is the doubt about its dates (``Told.doubt_ms``).

A camera says which card is in it, and of which each page of its list is. Once at the start, once for each card that is
put in and once in ``ANEW_S`` all of the list is looked at, also what was acknowledged: what was deleted here may be on
a card that comes back, or be there again.

All that waits for the network happens in a thread of its own, and ends when it takes too long.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, Literal, TypeVar, TypeVarTuple

import msgspec

from agent.camera import tls
from agent.camera.answer import PAGE_MAX, WORKING, AnswerError, ClockState, Code, Page, Recording, Status
from agent.camera.identity import Address, LinkIdentity, Order, Pinned
from agent.camera.link import CameraLink
from agent.camera.route import Given
from agent.clock import monotonic_s
from agent.errors import AgentError, ConfigError, LinkError
from agent.model import Medium, SourceCopy
from agent.sources.candidate import Candidate, MediumError, Refusal, Told, card_number
from agent.sources.lane import Lane
from agent.sources.place import Place
from agent.sources.source import Fresh, Offer, Opened

POLL_S: Final = 10.0
"""Between two looks at a camera that is there; one costs it a request of some hundred bytes."""

SOON_S: Final = 1.0
"""Behind a look at which it was switched: what it says of itself was asked before that."""

PROVED_S: Final = 120.0
"""So long the proof of a camera's key counts. A new one costs both sides a handshake: ten cameras, proved each minute,
took a sixth of what an agent at rest may take."""

ANEW_S: Final = 3_600.0
"""After so long everything is offered again: what was refused, or could not be read."""

CALL_S: Final = 120.0
"""For one call with all the addresses that it tries; a camera that keeps a handshake waiting ends there."""

PAGES_MAX: Final = 1_000
"""Of one pass: more than any card holds; a list without an end is cut there, and begun anew."""

REMEMBERED_MAX: Final = 20_000
"""Recordings remembered that were offered, and those whose time is not known; of more than that it is forgotten."""

SWITCHES_MAX: Final = 3
"""Within one look, while a person changes what is wanted."""

SKEW_MS: Final = 10 * 60_000
"""Further from our time than this a camera's clock is wrong, or ours is: then its dates are not relied on."""

DOUBT_MS: Final = 1_000
"""By how much a camera's dates are in doubt besides what was measured."""

AWAY_S: Final = 600.0
"""A camera that is heard and cannot be asked for so long is told of."""

_ERASED_BY_KEY: Final = "key"
_BAD_ENTRY: Final = "an entry of the camera's list is not of the document's form"

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


async def _to_nobody(_about: object) -> None:
    return None


class CameraSettings(msgspec.Struct, frozen=True, kw_only=True):
    """An enrolled camera as a source; ``medium`` is ``encrypted`` where a delete there destroys a key."""

    name: str
    camera: str
    label: str
    medium: Medium = "disk"
    takes: bool = False
    copy: SourceCopy = "asked"
    batch_bytes: int = 0
    batch_age_s: float = 0.0


class CameraSource:
    """The camera of one ``CameraSettings``; belongs to the running event loop.

    ``addresses`` says where it may be, ``collects`` whether it is to record; one that ``pairs`` with this agent when it
    knows none does so once. ``on_status`` is told what it says of itself, once in each pass, ``on_met`` where it gave
    whole answers or that it did nowhere, ``on_collection`` whether it collects, and at each change whether it did
    before it was told, ``on_trouble`` why it cannot be asked, with the code where that is what the camera answered,
    once per reason, then ``""``. ``now_ms`` is agent time.
    """

    def __init__(
        self,
        settings: CameraSettings,
        *,
        pinned: Pinned,
        credentials: LinkIdentity,
        addresses: Callable[[], Sequence[Address]],
        pairs: bool,
        collects: Callable[[], bool],
        now_ms: Callable[[], int],
        on_refusal: Callable[[Refusal], None] = lambda _refusal: None,
        on_trouble: Callable[[str, Code | Literal[""]], None] = lambda _reason, _code: None,
        on_status: Callable[[Status], Awaitable[None]] = _to_nobody,
        on_impostor: Callable[[Address], None] = lambda _address: None,
        on_collection: Callable[[bool, bool], None] = lambda _now, _before: None,
        on_met: Callable[[Address | None], Awaitable[None]] = _to_nobody,
        poll_s: float = POLL_S,
        call_s: float = CALL_S,
        monotonic: Callable[[], float] = monotonic_s,
    ) -> None:
        self.settings = settings
        self._pinned = pinned
        self._credentials = credentials
        self._addresses = addresses
        self._pairs = pairs
        self._collects = collects
        self._now_ms = now_ms
        self._on_refusal = on_refusal
        self._on_trouble = on_trouble
        self._on_status = on_status
        self._on_met = on_met
        self._poll_s = poll_s
        self._call_s = call_s
        self._monotonic = monotonic
        loop = asyncio.get_running_loop()
        self._tell_collection: Callable[[bool, bool], None] = lambda now, before: _hand_over(
            loop, on_collection, now, before
        )
        self._link = CameraLink(
            pinned=pinned,
            credentials=credentials,
            monotonic=monotonic,
            on_impostor=lambda address: _hand_over(loop, on_impostor, address),
        )
        self._lane = Lane(f"camera {settings.camera}")
        self._woken = asyncio.Event()
        self._trouble = ""
        self._away_since_s: float | None = None
        self._card = ""
        self._card_state = ""
        self._looked_over = ""
        self._is_skewed = False
        self._status_asked_s = 0.0
        self._doubt_ms = 0
        self._offered: dict[str, tuple[bytes, bool]] = {}
        self._anew_s = monotonic() + ANEW_S
        self._doubted = False
        self._proved_s = monotonic()
        self._switched = self._was_soon = False
        self._undated = _Undated()

    # -- what the flow asks of every source

    async def open(self) -> Status:
        """Meet the camera and ask how it is; raises ``MediumError`` when it is away or refuses us."""
        addresses, now_s = tuple(self._addresses()), self._monotonic()
        anew, self._doubted = self._doubted or now_s - self._proved_s >= PROVED_S, False
        if anew:
            self._proved_s = now_s
        return await self._ask(partial(self._meet, addresses, anew=anew))

    async def run(self, offer: Offer, fresh: Fresh, opened: Opened) -> None:
        """Look at the camera every ``poll_s``, or when woken, for ever; one that is away is tried as often.

        A look at which it was switched is followed by another ``SOON_S`` later.
        """
        try:
            while True:
                self._woken.clear()
                try:
                    await self._pass(offer, fresh, opened)
                except (ConfigError, MediumError) as error:
                    await self._tell_where(error)
                    self._tell_trouble(error, heard=bool(self._addresses()))
                await self._wait()
        finally:
            self._leave()

    async def scan(self, offer: Offer, fresh: Fresh, *, at_once: bool = False) -> None:  # noqa: ARG002 - all that is listed is complete
        """Offer what waits at the camera, page by page; also what does not any more, where that is due."""
        self._undated.begin(self._now_ms())
        if self._monotonic() >= self._anew_s:
            self.reconsider()
        waiting = self._card == self._looked_over
        self._looked_over = self._card
        try:
            await self._each_page(partial(self._offer_page, offer=offer, fresh=fresh), waiting=waiting)
        except BaseException:
            if not waiting:
                self._looked_over = ""
            raise
        self._undated.passed()

    async def _each_page(self, see: Callable[[Page], Awaitable[None]], *, waiting: bool) -> None:
        after = ""
        for _ in range(PAGES_MAX):
            page = await self._ask(partial(self._link.page, after, limit=PAGE_MAX, waiting=waiting))
            await see(page)
            if not page.next:
                return
            after = page.next
        raise MediumError("the camera's list has no end", hint="look at its firmware; it is tried again by itself")

    async def _offer_page(self, page: Page, offer: Offer, fresh: Fresh) -> None:
        self._note_card(page.card)
        for running, clock in page.running:
            if not self._is_dated(running, clock):
                self._undated.since_ms(running)
        if page.bad:
            self._on_refusal(Refusal(source=self.settings.name, unverified_path="", reason=_BAD_ENTRY))
        candidates = [self._candidate(item, page.card) for item in page.recordings]
        for one in await fresh(tuple(one for one in candidates if self._is_news(one))):
            await self._offer_once(one, offer)

    def reconsider(self) -> None:
        """Look again at what was refused, and over the whole card."""
        self._looked_over = ""
        self._offered.clear()
        self._anew_s = self._monotonic() + ANEW_S
        self.wake()

    def again(self, path: str) -> None:
        """Offer a recording again at the next pass, and prove the camera's address anew: something failed."""
        _, acknowledged = self._offered.pop(path, (b"", True))
        if acknowledged:  # or nobody knows: it is listed only when all is
            self._looked_over = ""
        self._doubted = True

    def give_back(self, fd: int) -> None:
        """Nothing of a camera is open here."""
        raise AssertionError(fd)

    def close(self) -> None:
        """Give the connection and its thread back, once nobody asks any more."""
        self._leave()
        self._lane.close()

    # -- what is asked of a camera alone

    @property
    def kid(self) -> str:
        """The camera's key: whose word its answers are."""
        return self._pinned.kid

    def let_go(self) -> None:
        """Tell that nothing is wrong any more: the camera is not asked again."""
        self._tell_trouble(None)

    def wake(self) -> None:
        """Look at the camera now: it was heard, or something is due there."""
        self._woken.set()

    async def acknowledge(self, recording: str, sha256: bytes) -> None:
        """Let the camera give a recording up; raises ``MediumError``."""
        await self._ask(lambda: self._link.acknowledge(recording, sha256))

    @property
    def card(self) -> str:
        """The id of the card that is in, as it was said last; raises ``MediumError`` when none can be read."""
        if not self._card:
            answer = AnswerError("storage_missing" if self._card_state == "missing" else "storage_failed")
            raise MediumError(answer.message, hint=answer.hint) from answer
        return self._card

    async def delete(self, recording: str, *, sha256: bytes, card: str) -> None:
        """Have a recording of that content deleted from that card; on return the camera said so; ``MediumError``."""
        await self._ask(lambda: self._link.delete(recording, sha256=sha256, card=card))

    async def listed(self, wanted: Collection[str], *, card: str) -> dict[str, bytes]:
        """Return the SHA-256 of what has these ids on a card; empty where it is no single whole recording.

        Raises ``MediumError``, also when another card is in.
        """
        found: dict[str, bytes] = {}

        async def see(page: Page) -> None:
            if page.card != card:
                raise MediumError("another card was put into the camera", hint="it is tried again by itself")
            for item in page.recordings:
                if item.id in wanted and found.setdefault(item.id, item.sha256) != item.sha256:
                    found[item.id] = b""
            found.update({running: b"" for running, _ in page.running if running in wanted})

        await self._each_page(see, waiting=False)
        return found

    async def connect(self) -> Given:
        """Return a connection to where the camera may be, for whoever proves it; what came of it is to be told.

        Raises ``LinkError`` where nobody answers anywhere.
        """
        for address in self._link.order():
            try:
                line = await self._connected(address)
            except LinkError:
                self._link.broke(address)
                continue
            served, broke = partial(self._link.served, address), partial(self._link.broke, address)
            return Given(line=line, served=served, broke=broke)
        raise LinkError("the camera is away", hint="it is tried again when it is back")

    async def _connected(self, address: Address) -> socket.socket:
        call = partial(tls.connect, address.host, address.port, numeric=address.numeric)
        connecting = asyncio.get_running_loop().run_in_executor(None, call)
        try:
            return await asyncio.shield(connecting)
        except asyncio.CancelledError:
            connecting.add_done_callback(_close)
            raise

    def order(self, candidate: Candidate) -> Order:
        """Return what the sealing process needs to fetch a recording."""
        assert candidate.told is not None  # noqa: S101 - it came from here
        return Order(
            pinned=self._pinned,
            credentials=self._credentials,
            recording=candidate.path,
            size_bytes=candidate.size_bytes,
            sha256=candidate.told.sha256,
        )

    # -- within

    async def _pass(self, offer: Offer, fresh: Fresh, opened: Opened) -> None:
        self._is_skewed = False
        refused = await self._tend(opened)
        scanning = asyncio.ensure_future(self.scan(offer, fresh))
        try:
            while not (await asyncio.wait((scanning,), timeout=self._poll_s))[0]:
                refused = await self._tend(opened)  # what waits may take hours to fetch; a delete does not wait for it
            await scanning
        finally:
            scanning.cancel()
            await asyncio.wait((scanning,))
        self._tell_trouble(refused)

    async def _tend(self, opened: Opened) -> MediumError | None:
        """Meet the camera, and do what is due there; return why it does not, which keeps nothing else waiting."""
        status = await self.open()
        self._note_time(status.time_ms)
        self._card_state = status.storage
        self._note_card(status.card)
        if status.storage not in WORKING:
            self._undated.forget()
        await self._on_status(status)
        await self._tell_where()
        try:
            await opened()
        except MediumError as error:
            return error
        return None

    def _note_time(self, time_ms: int) -> None:
        """Compare the camera's time with ours; what it recorded before its clock was put right is on the card still."""
        off_ms = abs(time_ms - self._now_ms())
        if off_ms > SKEW_MS:
            self._is_skewed = True
            return
        took_ms = int((self._monotonic() - self._status_asked_s) * 1000)
        self._doubt_ms = max(self._doubt_ms, off_ms + took_ms + DOUBT_MS)

    def _meet(self, addresses: Sequence[Address], *, anew: bool) -> Status:
        """Prove where the camera is, and have it record or not, as is wanted; in the camera's thread."""
        if anew:
            self._link.close()
        self._link.meet(addresses)
        status = self._paired_status()
        now = self._link.collects()
        self._tell_collection(now, now)
        for _ in range(SWITCHES_MAX):  # what is wanted may have changed, and reached it by radio, during an answer
            if (wanted := self._collects()) is now:
                break
            self._link.collect(enabled=wanted)
            self._tell_collection(wanted, now)
            now, self._switched = wanted, True
        medium: Medium = "encrypted" if status.erasure == _ERASED_BY_KEY else "disk"
        if medium != self.settings.medium:
            self.settings = msgspec.structs.replace(self.settings, medium=medium)
        return status

    def _paired_status(self) -> Status:
        try:
            status = self._status()
        except AnswerError as error:
            if error.code != "not_paired" or not self._pairs:
                raise
            self._link.pair()
            status = self._status()
        self._pairs = False
        return status

    def _status(self) -> Status:
        self._status_asked_s = self._monotonic()
        return self._link.status()

    async def _ask(self, call: Callable[[], T]) -> T:
        """Make a call in the camera's thread; what cannot be asked of it now becomes ``MediumError``."""
        answer = self._lane.submit(call)
        try:
            await asyncio.wait((answer,), timeout=self._call_s)
            while not answer.done():
                self._link.cut()
                await asyncio.wait((answer,), timeout=self._poll_s)
            return await answer
        except ConfigError:
            raise
        except AgentError as error:
            raise MediumError(error.message, hint=error.hint) from error
        finally:
            answer.cancel()  # what nobody waits for is not begun

    async def _wait(self) -> None:
        soon = self._switched and not self._was_soon  # one that is another at each look is not asked more often for it
        self._switched, self._was_soon = False, soon
        try:
            async with asyncio.timeout(min(self._poll_s, SOON_S) if soon else self._poll_s):
                await self._woken.wait()
        except TimeoutError:
            pass

    def _leave(self) -> None:
        self._link.end()
        self._lane.post(self._link.close)

    def _note_card(self, card: str) -> None:
        if not card or card != self._card:
            self._undated.forget()
            self._offered.clear()
        self._card = card

    def _candidate(self, item: Recording, card: str) -> Candidate:
        from_ms, to_ms, is_dated = item.from_ms, item.to_ms, self._is_dated(item.id, item.clock)
        doubt_ms = self._doubt_ms if is_dated else 0
        if not is_dated and not item.acknowledged:
            since_ms = self._undated.since_ms(item.id)
            if since_ms is not None:
                from_ms, to_ms, is_dated = since_ms, max(since_ms, self._now_ms()), True
                doubt_ms = to_ms - from_ms  # by our own clock; when in between it began nobody knows
        place = Place(
            label=self.settings.label,
            category=item.category,
            media_type=item.media_type,
            captured_from_ms=from_ms,
            captured_to_ms=to_ms,
        )
        told = Told(
            identity=self._pinned.identity,
            camera=self.settings.camera,
            card=card,
            sha256=item.sha256,
            is_dated=is_dated,
            doubt_ms=doubt_ms,
            acknowledged=item.acknowledged,
        )
        return Candidate(
            source=self.settings.name,
            path=item.id,
            place=place,
            size_bytes=item.size_bytes,
            folder=card_number(card),
            told=told,
        )

    async def _offer_once(self, candidate: Candidate, offer: Offer) -> None:
        self._remember(candidate)
        try:
            await offer((candidate,))
        except BaseException:
            self._offered.pop(candidate.path, None)
            raise

    def _is_dated(self, recording: str, clock: ClockState) -> bool:
        return clock == "trusted" and not self._is_skewed and recording not in self._undated

    def _is_news(self, candidate: Candidate) -> bool:
        told = candidate.told
        return told is not None and self._offered.get(candidate.path) != (told.sha256, told.acknowledged)

    def _remember(self, candidate: Candidate) -> None:
        assert candidate.told is not None  # noqa: S101 - it was made here
        while len(self._offered) >= REMEMBERED_MAX:
            del self._offered[next(iter(self._offered))]
        self._offered[candidate.path] = candidate.told.sha256, candidate.told.acknowledged

    # -- telling

    async def _tell_where(self, error: AgentError | None = None) -> None:
        """Tell where the camera gave whole answers, or that it answered nowhere."""
        at = self._link.at
        if at is not None or (error is not None and isinstance(error.__cause__, LinkError)):
            await self._on_met(at)

    def _tell_trouble(self, error: AgentError | None, *, heard: bool = True) -> None:
        """Tell what is wrong; that a camera is away is ordinary, and told only of one that is heard all the same."""
        if error is None:
            self._away_since_s = None
        elif is_away(error):
            now_s = self._monotonic()
            self._away_since_s = self._away_since_s or now_s
            if not heard or now_s - self._away_since_s < AWAY_S:
                return
        reason = "" if error is None else error.message
        if reason != self._trouble:
            self._trouble = reason
            self._on_trouble(reason, _code_of(error))


def _code_of(error: AgentError | None) -> Code | Literal[""]:
    """Return what the camera answered, where that is what went wrong."""
    cause = None if error is None else error.__cause__
    return cause.code if isinstance(cause, AnswerError) else ""


def is_away(error: AgentError) -> bool:
    """Tell whether a camera did not answer, or whether it did and nothing can be made of it."""
    return isinstance(error.__cause__, LinkError) and not isinstance(error.__cause__, AnswerError)


def _hand_over(loop: asyncio.AbstractEventLoop, tell: Callable[[*Ts], None], *told: *Ts) -> None:
    with suppress(RuntimeError):  # the loop is closed: nobody asks any more
        loop.call_soon_threadsafe(tell, *told)


def _close(connecting: asyncio.Future[socket.socket]) -> None:
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result().close()


class _Undated:
    """Since when recordings of a camera without a clock may exist, by our own."""

    def __init__(self) -> None:
        self._began_ms: int | None = None
        self._passed_ms: int | None = None
        self._since_ms: dict[str, int | None] = {}
        self._met: set[str] = set()

    def begin(self, now_ms: int) -> None:
        """Begin a look at everything; one that was cut before counts as none."""
        self._began_ms = now_ms
        self._met.clear()

    def forget(self) -> None:
        """Know nothing any more, nor by a look that is under way: another card may be in the camera."""
        self._began_ms = self._passed_ms = None
        self._since_ms.clear()
        self._met.clear()

    def __contains__(self, recording: str) -> bool:
        return recording in self._since_ms

    def since_ms(self, recording: str) -> int | None:
        """Return a time before which it was not there; ``None`` when it may be of any time."""
        if recording not in self._since_ms:
            if len(self._since_ms) >= REMEMBERED_MAX:
                return None
            self._since_ms[recording] = self._passed_ms
        self._met.add(recording)
        return self._since_ms[recording]

    def passed(self) -> None:
        """End a look at everything; what it did not meet is gone."""
        self._since_ms = {one: since for one, since in self._since_ms.items() if one in self._met}
        self._met.clear()
        self._passed_ms = self._began_ms
