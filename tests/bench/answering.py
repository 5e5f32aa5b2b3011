"""From a command on its way to its signed receipt, at an MQTT client: one at a time, no batching.

Commands are signed and sealed beforehand. The clock runs from the call that publishes to the arrival of the terminal
receipt; each receipt is opened and verified afterwards, and acknowledged before the next command leaves. A delete
destroys one object of those that are held, with every write and sync that ``docs/design.md`` numbers.
"""

from pathlib import Path
from statistics import median, quantiles
from typing import Final

from agent.model import Selection
from agent.owner import command as requests
from tests.bench.asking import Owner
from tests.bench.station import Ear, cmd_topic, ear
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
        kid = Owner(house.home).me.kid
        with ear(house, f"rcpt/{kid}") as listener, ear(house, "cmd", name="echo") as echo:
            until(lambda: house.agent_json("status")["held"]["objects"] >= count, what="objects held", within_s=300)
            ids = _held(house, count)
            round_trips = [_round_trip(echo) for _ in range(min(count, 200))]
            owner = Owner(house.home)
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
