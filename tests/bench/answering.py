"""From a command on its way to its signed receipt, at an MQTT client: one at a time, no batching.

Commands are signed and sealed beforehand. The clock runs from the call that publishes to the arrival of the terminal
receipt; each receipt is opened and verified afterwards, and acknowledged before the next command leaves. A delete
destroys one object of those that are held, with every write and sync that ``docs/design.md`` numbers.
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final

from agent.clock import system_clock
from agent.model import Selection, new_id
from agent.owner import command as requests
from agent.owner import device as devices
from agent.owner.command import Me, Signed
from agent.owner.home import Home
from agent.owner.receipt import Receipt, jws_of, read_receipt
from tests.bench.station import DEVICE, Ear, cmd_topic, ear
from tests.bench.syncing import sync_ms
from tests.bench.table import Figure, Peer
from tests.flow.house import House
from tests.waiting import until

PART: Final = "command to receipt"


def measure(folder: Path, *, quick: bool) -> list[Figure]:
    """Return median and 99th percentile of both verbs."""
    count = 20 if quick else 500  # of each verb: a client is refused above 1,024 at once (docs/protocol.md §9)
    (folder / "house").mkdir()
    with House(folder / "house") as house:
        _fill(house, count)
        house.start_agent()
        kid = _Owner(house.home).me.kid
        with ear(house, f"rcpt/{kid}") as listener, ear(house, "cmd", name="echo") as echo:
            until(lambda: house.agent_json("status")["held"]["objects"] >= count, what="objects held", within_s=300)
            ids = _held(house, count)
            round_trips = [_round_trip(echo) for _ in range(min(count, 200))]
            owner = _Owner(house.home)
            everything = requests.as_claim(Selection(ids=(ids[0],)))
            listing = owner.ask_all(listener, "inventory", [{"select": everything}] * count)
            deleting = owner.ask_all(
                listener, "delete", [{"select": requests.as_claim(Selection(ids=(one,)))} for one in ids]
            )
            syncs = sync_ms(folder, count=50 if quick else 200)
        left = house.agent_json("status")["held"]["objects"]
        if left:
            raise RuntimeError(f"{left} objects are left after deleting all")
    trip, sync = Peer("MQTT round trip", median(round_trips)), Peer("one fsync", median(syncs))
    return [*_figures("inventory of one", listing, (trip,)), *_figures("delete of one", deleting, (trip, sync))]


class _Owner:
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
        with self._home.locked():
            signed = [self._sign(verb, one) for one in own]
        return [self._ask(listener, one) for one in signed]

    def _sign(self, verb: str, own: dict[str, Any]) -> Signed:
        return requests.build(
            verb, own, me=self.me, device=self._device.descriptor, jti=new_id(), seq=self._device.take_seq(),
            iat_s=self._now_s, lifetime_s=3600,
        )  # fmt: skip

    def _ask(self, listener: Ear, signed: Signed) -> float:
        begin_s = listener.send(cmd_topic(), signed.payload)
        while True:
            came_s, _topic, payload = listener.next()
            receipt = self._read(payload)
            if receipt.cmd == signed.jti and receipt.terminal:
                break
        if receipt.status != "done":
            raise RuntimeError(f"{signed.verb} ended {receipt.status} {receipt.reason}")
        acknowledgement = requests.ack((receipt.jti,), me=self.me, device=DEVICE, iat_s=self._now_s)
        listener.send(cmd_topic(), acknowledgement)
        return (came_s - begin_s) * 1000

    def _read(self, payload: bytes) -> Receipt:
        jws = jws_of(payload, kind="receipt", identities=self._identities)
        return read_receipt(jws, device=self._device.descriptor, kid=self.me.kid)


def _fill(house: House, count: int) -> None:
    folder = house.spool / "front_door" / "photo"
    folder.mkdir(parents=True)
    for number in range(count):
        minute, second = divmod(number, 60)
        name = f"2026-03-01T{10 + minute // 60:02d}-{minute % 60:02d}-{second:02d}.000Z.jpg"
        (folder / name).write_bytes(b"\xff\xd8\xff" + number.to_bytes(4, "big") * 500)


def _held(house: House, count: int) -> list[str]:
    ids = [one["id"] for one in house.held()]
    if len(ids) != count:
        raise RuntimeError(f"{len(ids)} of {count} objects are held")
    return ids


def _round_trip(echo: Ear) -> float:
    """Publish what no agent understands and wait for our own copy of it."""
    echo.empty()
    begin_s = echo.send(cmd_topic(), b"\x00" * 64)
    came_s, _topic, _payload = echo.next()
    return (came_s - begin_s) * 1000


def _figures(what: str, found_ms: list[float], peers: tuple[Peer, ...]) -> list[Figure]:
    return [
        Figure(part=PART, what=f"{what}, median of {len(found_ms)}", value=median(found_ms), unit="ms", peers=peers),
        Figure(part=PART, what=f"{what}, 99th percentile", value=quantiles(found_ms, n=100)[98], unit="ms"),
    ]
