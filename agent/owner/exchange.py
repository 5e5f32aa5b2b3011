"""One conversation with a device: send, wait, check, keep, acknowledge; and the same without any broker.

Order for every message that arrives: checked, then kept durably, then acknowledged. A command is sent again, the same
bytes, when the link comes back and when the device turns online, until its terminal receipt is kept.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from agent import age
from agent.clock import MS_PER_S, ReadClock, monotonic_s
from agent.errors import CorruptError, LinkError
from agent.owner.command import Me, Signed, ack
from agent.owner.device import Device
from agent.owner.home import Home
from agent.owner.line import Heard, Line
from agent.owner.receipt import Alert, Receipt, jws_of, read_alert, read_receipt, read_state

FIRST_RECEIPT_S: Final = 5.0
"""A device takes a command up within 2 s of its arrival; after this we say that it is silent."""

_KEPT: Final = "sent again if it returns while this waits, later by: privacy-owner resend"

Tell = Callable[[str], None]


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """What a conversation needs: whose it is, with which device, and who hears of its course."""

    home: Home
    device: Device
    me: Me
    identities: tuple[age.Identity, ...]
    read_clock: ReadClock
    on_receipt: Callable[[Receipt], None]
    on_alert: Callable[[Alert], None]
    tell: Tell


class Exchange:
    """A conversation over an open line."""

    def __init__(self, session: Session, line: Line) -> None:
        self._session = session
        self._line = line
        self._online: int | None = None
        self._offline = "what it has for us comes when it returns"

    async def converse(self, wanted: tuple[Signed, ...], *, timeout_s: float) -> dict[str, Receipt]:
        """Send the commands and wait; return the newest receipt of each, terminal unless the time ran out."""
        self._offline = _KEPT
        newest: dict[str, Receipt] = {}
        open_ = {signed.jti: signed for signed in wanted}
        deadline_s = monotonic_s() + timeout_s
        silent_s = monotonic_s() + FIRST_RECEIPT_S
        await self._send(open_)
        while open_:
            limit_s = min(deadline_s, silent_s) if not newest else deadline_s
            heard = await self._line.next(limit_s)
            if heard is None:
                if monotonic_s() >= deadline_s:
                    break
                silent_s = deadline_s
                self._session.tell(f"no answer yet: the device may be offline; {_KEPT}")
                continue
            receipt = await self._hear(heard, open_)
            if receipt is not None and receipt.cmd in open_:
                newest[receipt.cmd] = receipt
                if receipt.last:
                    del open_[receipt.cmd]
        return newest

    async def listen(self, asked: tuple[Signed, ...], *, for_s: float) -> frozenset[str]:
        """Send a question and take in what arrives for a while; return the questions without an answer."""
        deadline_s = monotonic_s() + for_s
        open_ = {signed.jti: signed for signed in asked}
        await self._send(open_)
        while (heard := await self._line.next(deadline_s)) is not None:
            receipt = await self._hear(heard, open_)
            if receipt is not None and receipt.terminal:
                open_.pop(receipt.cmd, None)
        return frozenset(open_)

    async def _send(self, open_: dict[str, Signed]) -> None:
        try:
            for signed in open_.values():
                await self._line.publish(signed.payload)
        except LinkError as error:
            self._session.tell(f"not sent: {error.message}; trying again")

    async def _hear(self, heard: Heard, open_: dict[str, Signed]) -> Receipt | None:
        session = self._session
        try:
            if not heard.channel:
                await self._send(open_)
            elif heard.channel == "state":
                await self._hear_state(heard.payload, open_)
            elif heard.channel == "alert":
                await self._hear_alert(heard.payload)
            else:
                receipt = keep(session, heard.payload)
                if receipt.terminal:
                    await self._acknowledge(receipt.jti)
                session.on_receipt(receipt)
                return receipt
        except CorruptError as error:
            session.tell(f"dropped a message on {heard.channel}: {error}")
        return None

    async def _hear_state(self, payload: bytes, open_: dict[str, Signed]) -> None:
        if not payload:  # docs/protocol.md §5a
            self._session.tell("the device keeps no word of itself at the broker any more: it leaves its owner")
            return
        state = read_state(payload, device=self._session.device.descriptor)
        if self._online is not None and state.session < self._online:
            return
        came = state.online and self._online is not None and state.session > self._online
        self._online = state.session
        if not state.online:
            self._session.tell(f"the device is offline; {self._offline}")
        elif came:
            await self._send(open_)

    async def _hear_alert(self, payload: bytes) -> None:
        session = self._session
        try:
            jws = jws_of(payload, kind="alert", identities=session.identities)
        except age.NoMatchError:
            return  # sealed to another reader of the same topic
        alert = read_alert(jws, device=session.device.descriptor, kid=session.me.kid)
        with session.home.locked():
            session.device.keep_alert(jws, alert)
        session.on_alert(alert)
        await self._acknowledge(alert.jti)

    async def _acknowledge(self, jti: str) -> None:
        session = self._session
        iat_s = session.read_clock().wall_ms // MS_PER_S
        try:
            await self._line.publish(ack((jti,), me=session.me, device=session.device.name, iat_s=iat_s))
        except LinkError:
            return  # the device repeats what was not acknowledged


def keep(session: Session, raw: bytes) -> Receipt:
    """Check a receipt in any of its forms and keep it; raises ``CorruptError``."""
    device = session.device
    jws = jws_of(raw, kind="receipt", identities=session.identities)
    receipt = read_receipt(jws, device=device.descriptor, kid=session.me.kid)
    signed = device.command(receipt.cmd)
    if signed is None:
        raise CorruptError(
            f"a receipt of command {receipt.cmd or '(none)'}, which was not sent from here",
            hint="take it in where the command was signed",
        )
    if receipt.verb not in {"", signed.verb}:
        raise CorruptError(
            f"it answers another verb than {receipt.cmd}, which is to {signed.verb}",
            hint="rely on nothing in it; look at the device: privacy-agent doctor",
        )
    with session.home.locked():
        device.keep_receipt(jws, receipt)
        if receipt.next_seq is not None:
            device.raise_seq(receipt.next_seq)
    return receipt
