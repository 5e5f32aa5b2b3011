"""The owner's client as the benchmark needs it: it signs beforehand, asks, verifies and acknowledges receipts."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from agent.clock import system_clock
from agent.model import new_id
from agent.owner import command as requests
from agent.owner import device as devices
from agent.owner.command import Me, Signed
from agent.owner.home import Home
from agent.owner.receipt import Receipt, jws_of, read_receipt
from tests.bench.station import DEVICE, WITHIN_S, Ear, cmd_topic


def _ignored(_came_s: float, _receipt: Receipt) -> None:
    return None


class Owner:
    """The owner's client: signs, verifies, acknowledges; keeps nothing."""

    def __init__(self, home: Path) -> None:
        self._home = Home(home)
        described = self._home.me()
        self.me = Me(kid=described.kid, alg=described.alg, key=self._home.client())
        self._identities = self._home.identities()
        self._device = devices.pick(self._home, DEVICE)
        self._now_s = system_clock(source="system")().wall_ms // 1000

    def ask_all(self, listener: Ear, verb: str, own: Sequence[dict[str, Any]]) -> list[float]:
        """Send the commands one after another; return the milliseconds to each receipt."""
        return [self.ask(listener, one) for one in self.sign_all(verb, own)]

    def sign_all(self, verb: str, own: Sequence[dict[str, Any]]) -> list[Signed]:
        """Return signed commands, in the order in which they are to be sent."""
        with self._home.locked():
            return [self._sign(verb, one) for one in own]

    def _sign(self, verb: str, own: dict[str, Any]) -> Signed:
        return requests.build(
            verb, own, me=self.me, device=self._device.descriptor, jti=new_id(), seq=self._device.take_seq(),
            iat_s=self._now_s, lifetime_s=3600,
        )  # fmt: skip

    def ask(self, listener: Ear, signed: Signed, *, others: Callable[[float, Receipt], object] = _ignored) -> float:
        """Send a command; return the milliseconds to its receipt. ``others`` is told of every other one."""
        begin_s = listener.send(cmd_topic(), signed.payload)
        while True:
            came_s, receipt = self.hear(listener)
            if receipt.cmd == signed.jti and receipt.terminal:
                break
            others(came_s, receipt)
        if receipt.status != "done":
            raise RuntimeError(f"{signed.verb} ended {receipt.status} {receipt.reason}")
        self.acknowledge(listener, receipt)
        return (came_s - begin_s) * 1000

    def hear(self, listener: Ear, *, within_s: float = WITHIN_S) -> tuple[float, Receipt]:
        """Return the next receipt, opened and verified, and when it came."""
        came_s, _topic, payload = listener.next(within_s=within_s)
        return came_s, self._read(payload)

    def acknowledge(self, listener: Ear, receipt: Receipt) -> None:
        """Say that it was read."""
        acknowledgement = requests.ack((receipt.jti,), me=self.me, device=DEVICE, iat_s=self._now_s)
        listener.send(cmd_topic(), acknowledgement)

    def _read(self, payload: bytes) -> Receipt:
        jws = jws_of(payload, kind="receipt", identities=self._identities)
        return read_receipt(jws, device=self._device.descriptor, kid=self.me.kid)
