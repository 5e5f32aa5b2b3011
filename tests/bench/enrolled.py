"""The whole agent with ten cameras: enrolled, paired and collected from, heard by all three ways at once.

Ten simulated cameras are on two hosts, in network namespaces, the agent on a third; each has a camera link, announces
itself by multicast DNS, answers WS-Discovery and is near by Bluetooth (``device-sim ble`` is bluetoothd and the air).
The agent is connected to a broker. Each camera is enrolled by its label, paired, proved over its link and by radio, and
at least one recording of each was taken. Then, with nothing to record (their owners' consent is off): every ten seconds
each is asked how it is, what it has and whether it records, over a connection that is kept and begun anew once in two
minutes; every minute its key is looked at where it answers. Memory is PSS, and processor time what the kernel counted,
both of all processes of the agent. In the end the consent is on again, and each records a clip every ten seconds, which
is fetched, sealed and acknowledged; memory is then the highest of samples a second apart. What the ten cameras
themselves take, on the same processors, is not counted.
"""

import sys
from pathlib import Path
from typing import Final

from tests.bench.apart import hosts, measured_apart
from tests.bench.meter import cpu_s, family, in_turn, now_s, pss_bytes, resident_bytes, run
from tests.bench.near import WITHIN_S, Cameras, Listening, bluetooth, cameras, let_pass
from tests.bench.table import MEGA, Figure, Peer
from tests.waiting import until

PART: Final = "ten cameras"
_CAMERAS: Final = 10
_MB: Final = 58
_PERCENT: Final = 1.0
_WINDOW_S: Final = 120.0  # a camera is proved anew once in it
_QUIET_S: Final = 20.0
_SAMPLE_S: Final = 1.0


def measure(folder: Path, *, quick: bool) -> list[Figure]:
    """Return memory and processor share, at rest and while they record."""
    return measured_apart("enrolled", folder, quick=quick)


def measure_here(folder: Path, *, quick: bool) -> list[Figure]:
    """Do that on host 1 of a network of its own."""
    count, window_s = (2, 3.0) if quick else (_CAMERAS, _WINDOW_S)
    names = [f"Camera {number}" for number in range(1, count + 1)]
    with hosts() as (_, first, second, _), bluetooth() as near:
        places = [(first, names[::2]), (second, names[1::2])]
        with (
            cameras(folder / "cameras", near, places, *(("--seconds", "1", "--rate", "30") if quick else ())) as there,
            Listening(folder / "house") as house,
        ):
            house.hears(near.bus)
            house.listen()
            house.start_agent()
            house.enrol(there.labels)
            broker = pss_bytes(house.broker.pid) if house.broker is not None else 0
            rest = _at_rest(house, there, window_s=window_s, quick=quick)
            busy = _recording(house, there, window_s=window_s)
    bare = in_turn({"python": lambda: run([sys.executable, "-I", "-c", "pass"])}, rounds=3 if quick else 9)["python"]
    peers = (Peer("mosquitto", broker / MEGA), Peer("bare Python", bare.peak_bytes / MEGA))
    what = f"{count} enrolled and collected from"
    return [
        Figure(
            part=PART, what=f"{what}, at rest, memory (PSS)", value=rest[0] / MEGA, unit="MB",
            target=f"≤ {_MB} MB", holds=rest[0] <= _MB * MEGA, peers=peers,
            note=f"three ways on; {rest[2] / MEGA:.1f} MB with what other programs share",
        ),
        Figure(
            part=PART, what=f"{what}, at rest, processor over {window_s:.0f} s", value=100 * rest[1],
            unit="% of a core", target=f"< {_PERCENT} %", holds=100 * rest[1] < _PERCENT,
        ),
        Figure(
            part=PART, what=f"{what}, a clip of each every ten seconds, memory (PSS), highest",
            value=busy[0] / MEGA, unit="MB", note="with the sealing process",
        ),
        Figure(
            part=PART, what=f"{what}, a clip of each every ten seconds, processor over {window_s:.0f} s",
            value=100 * busy[1], unit="% of a core", note=f"{busy[2]} clips, {busy[3] / MEGA:.1f} MB, taken in it",
        ),
    ]  # fmt: skip


def _at_rest(house: Listening, there: Cameras, *, window_s: float, quick: bool) -> tuple[int, float, int]:
    """Return memory, the share of a core, and memory with all that is shared, once nothing is left to take."""
    there.order("consent all off")
    until(lambda: not there.waiting(), what="everything taken and acknowledged", within_s=WITHIN_S)
    until(lambda: len(family(house.pid)) == 1, what="the end of the sealing process", within_s=WITHIN_S)
    let_pass(1.0 if quick else _QUIET_S)
    share = _share(house, window_s)
    weight = pss_bytes(house.pid)
    proved = set(house.proved("mdns")) & set(house.proved("ble"))
    assert proved >= set(there.labels), f"only {proved} are proved"
    return weight, share, resident_bytes(house.pid)


def _recording(house: Listening, there: Cameras, *, window_s: float) -> tuple[int, float, int, int]:
    """Return the highest memory, the share of a core, and how many clips of how many bytes came."""
    before = len(house.held())
    there.order("consent all on")
    until(lambda: len(house.held()) > before, what="the first new recording", within_s=WITHIN_S)
    early = house.held()
    begin_s, before_s, most = now_s(), cpu_s(house.pid), 0
    while now_s() - begin_s < window_s:
        let_pass(_SAMPLE_S)
        most = max(most, pss_bytes(house.pid))
    share = (cpu_s(house.pid) - before_s) / (now_s() - begin_s)
    known = {one["id"] for one in early}
    late = [one for one in house.held() if one["id"] not in known]
    return most, share, len(late), sum(one["bytes"] for one in late)


def _share(house: Listening, window_s: float) -> float:
    begin_s, before_s = now_s(), cpu_s(house.pid)
    let_pass(window_s)
    return (cpu_s(house.pid) - before_s) / (now_s() - begin_s)
