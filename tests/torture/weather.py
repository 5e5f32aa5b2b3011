"""What happens to a device again and again: the disk fills up, the clock jumps by years, the line to the broker falls.

Each is so many rounds of one life of the agent's parts, not one life per point: what a round leaves behind is what the
next one begins with. A round counts as fired when what was to happen was seen: no byte free, a wall clock that is years
from the device's own time, a connection that was cut, a packet that was dropped, a broker that was killed. Root only:
a disk is mounted, and the line is in a network namespace of its own, where packets can be dropped.
"""

import asyncio
import ctypes
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Final

import msgspec

from agent.app.parts import Parts, opened
from agent.broker import Broker
from agent.model import Object
from agent.uplink import CHUNK_BYTES, CHUNKS_AHEAD
from device_sim.broker import Broker as BrokerProcess
from device_sim.cloud.service import Cloud
from tests.disk import fill, mounts_of_our_own, small_disk
from tests.intake import take_in
from tests.netns import SYSTEM_PATH
from tests.torture import judge
from tests.torture.home import NOW_S, Home, admitted, clock_at
from tests.torture.sweep import Row, workshop
from tests.upload.cloud import Keys, cloud_at
from tests.upload.hub import Hub, policy, uploading
from tests.upload.line import TENANT, short_pause, until
from tests.upload.proxy import Proxy, proxy_to
from tests.writing import policy_text

KINDS: Final = ("full", "line", "clock")

DAY_S: Final = 86_400
TEN_YEARS_S: Final = 3652 * DAY_S
YEAR_MS: Final = 365 * DAY_S * 1000

KEPT_DAYS: Final = 14
"""How long a recording is kept."""

UPLOAD_BYTES: Final = 3 * CHUNK_BYTES
AHEAD_BYTES: Final = CHUNK_BYTES * CHUNKS_AHEAD
DEVICE: Final = "cam-1"

_ROUND_S: Final = 20
_NEW_NETWORK: Final = 0x40000000  # unshare(2), CLONE_NEWNET


def rounds(kind: str, count: int, *, seed: int, tell: Callable[[], None]) -> Row:
    """Go through so many rounds of one kind."""
    dice = random.Random(f"{seed} {kind}")  # noqa: S311 - repeats by its seed
    row = Row(kind, "rounds", points=count)
    with workshop() as folder:
        match kind:
            case "full":
                _Full(folder, row, dice).go(count, tell)
            case "clock":
                _Clock(folder, row, dice).go(count, tell)
            case _:
                _network_of_our_own()
                made = [sys.executable, "-m", "certs", "init", str(folder / "tls"), "--device", DEVICE]
                subprocess.run(made, check=True, capture_output=True)
                asyncio.run(_line(folder, row, dice, count, tell))
    return row


def _name(number: int) -> str:
    hours, minutes = divmod(number, 60)
    days, hours = divmod(hours, 24)
    return f"front/recording/2026-11-{1 + days % 28:02}T{hours:02}-{minutes:02}-{days // 28:02}.000Z_10s.mp4"


class _Full:
    """A disk that is full to the last byte in each round: a recording is refused, one deleted, then there is room."""

    def __init__(self, folder: Path, row: Row, dice: random.Random) -> None:
        self._folder = folder
        self._row = row
        self._dice = dice

    def go(self, count: int, tell: Callable[[], None]) -> None:
        mounts_of_our_own()
        with small_disk(self._folder / "disk", size="48m") as disk:
            home = Home.make(disk / "home")
            held = self._new(home, 0)
            for number in range(1, count + 1):
                self._row.tried += 1
                held = self._round(home, disk / "eaten", held, number)
                tell()

    def _new(self, home: Home, number: int) -> str:
        """Have the camera write one more, and take it in."""
        home.sources = {_name(number): self._dice.randbytes(self._dice.randrange(1, 200_000))}
        home.put_back(_name(number))
        return self._take_in(home, number)

    def _take_in(self, home: Home, number: int) -> str:
        ids: list[str] = []

        async def work(parts: Parts) -> None:
            await take_in(parts, lambda event: ids.append(admitted(event)) if admitted(event) else None)
            if ids and home.open(parts, ids[0]) != home.sources[_name(number)]:
                self._row.wrong.append(f"I2 recording {number} opens to other bytes")
                self._row.lost += 1

        self._at(home, number, work)
        return ids[0] if ids else ""

    def _at(self, home: Home, number: int, work: Callable[[Parts], Awaitable[object]]) -> None:
        async def act() -> None:
            async with opened(home.config(), read_clock=lambda: clock_at(10 + number * 2)) as parts:
                await work(parts)

        asyncio.run(act())

    def _round(self, home: Home, eaten: Path, held: str, number: int) -> str:
        home.sources = {_name(number): self._dice.randbytes(self._dice.randrange(1, 200_000))}
        home.put_back(_name(number))
        home.command("delete", "delete", select={"ids": [held]})
        fill(eaten)
        self._row.fired += os.statvfs(eaten).f_bavail == 0
        before = len(self._row.wrong)

        async def work(parts: Parts) -> None:
            refused: list[str] = []
            await take_in(parts, lambda event: refused.append(admitted(event)))
            if any(refused):
                self._row.wrong.append(f"round {number}: a recording is taken in on a full disk")
            answers = [await parts.commands.submit(home.commands["delete"], moment=parts.now()) for _ in range(2)]
            told = [home.client.open(answer.receipt) for answer in answers]
            if [one["status"] for one in told] != ["done", "done"]:
                self._row.wrong.append(f"I3 round {number}: the delete ends as {told[0]['status']}")
            if told[0]["jti"] != told[1]["jti"]:
                self._row.wrong.append(f"I4 round {number}: a repeat is answered anew")
            claims = {"iss": home.client.kid, "aud": "cam-01", "iat": NOW_S, "acks": [told[0]["jti"]]}
            await parts.commands.submit(b"\x02" + home.client.sign(claims, typ="pv1.ack"), moment=parts.now())
            left = [item.id for item in parts.index.read_now(parts.vault.page)]
            if held in left or (parts.vault.folder / "objects" / held).exists():
                self._row.wrong.append(f"I3 round {number}: what was deleted is there")

        self._at(home, number, work)
        self._row.wrong.extend(f"I1 clear bytes in {name}" for name in judge.clear_files(home))
        eaten.unlink()
        found = self._take_in(home, number)
        if not found:
            self._row.wrong.append(f"I2 round {number}: what was refused is not taken in once there is room")
        new = self._row.wrong[before:]
        self._row.lost += judge.lost(new)
        self._row.doubled += judge.doubled(new)
        self._row.residue += judge.residue(new)
        return found or self._new(home, number + 10_000)


class _Clock:
    """A wall clock that jumps by up to ten years: nothing goes before its time, and all of it at its time."""

    def __init__(self, folder: Path, row: Row, dice: random.Random) -> None:
        self._folder = folder
        self._row = row
        self._dice = dice
        self._reading = clock_at(0)
        self._boots = 0

    def go(self, count: int, tell: Callable[[], None]) -> None:
        home = Home.make(self._folder / "home")
        keep = f'keep.age = "{KEPT_DAYS}d"'
        home.config().policy.write_text(policy_text(home.owner.recipient().to_text(), recording=keep))
        home.fill(1, *(_name(number) for number in range(5)))
        home.take_in()
        left = count
        while left:
            some = min(left, self._dice.randrange(1, 9))
            left -= some
            asyncio.run(self._boot(home, some, tell))
        self._reading = clock_at((KEPT_DAYS + 1) * DAY_S)  # it is right again, and the time has come
        asyncio.run(self._end(home))

    async def _boot(self, home: Home, jumps: int, tell: Callable[[], None]) -> None:
        """Start, in another boot of the machine at times, and let the clock jump while it runs."""
        if self._dice.random() < 0.5:
            self._boots += 1
        async with opened(home.config(), read_clock=lambda: self._reading) as parts:
            for _ in range(jumps):
                self._row.tried += 1
                self._jump()
                await parts.retention.run_pass(parts.now(), parts.disk())
                await parts.erasure.resume(parts.now())
                moment = parts.now()
                await parts.index.write(parts.timeline.keep)
                self._row.fired += abs(self._reading.wall_ms - moment.agent_ms) > YEAR_MS
                held = {item.id for item in parts.index.read_now(parts.vault.page)}
                if held != home.objects.keys():
                    self._row.lost += len(home.objects.keys() - held)
                    self._row.wrong.append(f"I8 {len(home.objects) - len(held)} gone too early at {self._reading}")
                tell()

    def _jump(self) -> None:
        far_s = self._dice.uniform(TEN_YEARS_S / 5, TEN_YEARS_S) * self._dice.choice((-1, 1))
        true = clock_at(self._row.tried * _ROUND_S)
        self._reading = msgspec.structs.replace(
            true,
            wall_ms=true.wall_ms + int(far_s * 1000),
            boot_id=f"boot{self._boots}",
            synchronised=self._dice.random() < 0.5,
        )

    async def _end(self, home: Home) -> None:
        async with opened(home.config(), read_clock=lambda: self._reading) as parts:
            await parts.retention.run_pass(parts.now(), parts.disk())
            await parts.erasure.resume(parts.now())
            left = parts.index.read_now(parts.vault.page)
            if left:
                self._row.wrong.append(f"I8 {len(left)} are there a day after their time, of a clock that is right")


async def _line(folder: Path, row: Row, dice: random.Random, count: int, tell: Callable[[], None]) -> None:
    """Uploads over a line that falls: cut behind any byte, reset, the broker killed."""
    tls = folder / "tls"
    hub = Hub(folder / "hub")
    hub.policy = policy()
    items: list[Object] = []
    with (
        BrokerProcess(folder / "broker", tls, engine="mosquitto") as broker,
        cloud_at(broker.url, tls=tls, folder=folder / "cloud", keys=Keys.of(hub)) as (cloud, store),
    ):
        async with proxy_to(broker.port) as proxy:
            line = Broker(proxy.url, tenant=TENANT, identity=tls / DEVICE, wait=short_pause)
            async with uploading(hub, line, store) as flow:
                for number in range(count):
                    row.tried += 1
                    fallen = _falling(proxy, broker, dice, number)
                    item = await hub.add(size_bytes=UPLOAD_BYTES + dice.randrange(CHUNK_BYTES))
                    items.append(item)
                    flow.changed()
                    row.fired += await fallen()
                    await until(lambda item=item: hub.uploaded(item), what=f"object {number} stored")  # type: ignore[misc] # the lambda is of one round
                    tell()
            await until(lambda: len(asyncio.all_tasks()) == 1, what="the proxy's connections closed")
        _judge_line(row, cloud, items, passed_bytes=proxy.passed_bytes)
    hub.close()


def _falling(
    proxy: Proxy, broker: BrokerProcess, dice: random.Random, number: int
) -> Callable[[], Coroutine[None, None, bool]]:
    """Have the line fall under what is sent next; what is returned waits until it has, and mends it.

    In every tenth round the broker is killed, and in two more packets are dropped in silence.
    """
    cuts = proxy.cuts

    async def killed() -> bool:
        before = broker.pid
        await asyncio.to_thread(broker.kill)
        await asyncio.to_thread(broker.start)
        return broker.pid != before

    async def dropped() -> bool:
        await until(lambda: "packets 0 " not in nft("list chain inet cut in"), what="a packet dropped")
        nft("flush chain inet cut in")
        return True

    async def cut() -> bool:
        await until(lambda: proxy.cuts > cuts, what="the cut")
        return True

    match number % 10:
        case 9:
            return killed
        case 3 | 6:
            nft(f"add rule inet cut in tcp dport {broker.port} counter drop")
            return dropped
        case _:
            proxy.cut_after(dice.randrange(1, UPLOAD_BYTES))
            return cut


def nft(words: str) -> str:
    """Change the rules of this network, or tell them."""
    tool = shutil.which("nft", path=SYSTEM_PATH)
    assert tool, "nft is missing\n  next: install nftables"
    return subprocess.run([tool, *words.split()], check=True, capture_output=True, text=True).stdout


def _network_of_our_own() -> None:
    """Give this process a network that nothing else is on."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_NETWORK) != 0:
        raise OSError(ctypes.get_errno(), "this machine makes no network namespace for us\n  next: run it as root")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True, env={**os.environ, "PATH": SYSTEM_PATH})
    nft("add table inet cut")
    nft("add chain inet cut in { type filter hook input priority 0 ; }")


def _judge_line(row: Row, cloud: Cloud, items: Sequence[Object], *, passed_bytes: int) -> None:
    stored = Counter(one.object for one in cloud.store.stored())
    hashes = {one.object: one.payload.sha256 for one in cloud.store.stored()}
    begun = {(str(one["object"]), str(one["upload"])) for one in cloud.journal.events("begin")}
    uploads = Counter(object_id for object_id, _ in begun)
    for item in items:
        if stored[item.id] != 1 or hashes[item.id] != item.payload_sha256.hex():
            row.lost += 1
            row.wrong.append(f"I2 {item.id} is at the store {stored[item.id]} times, or as other bytes")
        if uploads[item.id] != 1:
            row.doubled += 1
            row.wrong.append(f"I2 {item.id} was begun as {uploads[item.id]} uploads")
    most = sum(item.size_bytes for item in items) + row.tried * (AHEAD_BYTES + CHUNK_BYTES)
    if passed_bytes > most:
        row.wrong.append(f"{passed_bytes} bytes passed, at most {most} were to be sent")
