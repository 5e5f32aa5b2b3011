"""The agent's side of one camera, and the camera: everything between them goes over its link."""

import asyncio
import faulthandler
import socket
import sys
import threading
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent import enrolment
from agent.camera.answer import Status
from agent.camera.identity import Address, Pinned
from agent.camera.link import CameraLink
from agent.clock import monotonic_s
from agent.erasure import Erasure
from agent.ingest import Ingest
from agent.model import Moment, Outcome, Selection
from agent.policy import Policy
from agent.sources.camera import CameraSettings, CameraSource
from device_sim.camera.card import Entry
from tests.ingest.conftest import Home
from tests.link_server.stand import Stand
from tests.waiting import at_most

NOW_MS = 1_795_500_000_000
"""The agent's clock: two days after the camera's."""
WHEN = datetime.fromtimestamp(NOW_MS / 1000, tz=UTC)
LIMIT_S = 240.0
"""A machine that does much else beside is no failure: one test takes seven seconds alone."""


class Place(Home):
    """One agent, one camera."""

    def __init__(self, top: Path) -> None:
        super().__init__(top)
        self.now = at(NOW_MS)
        self.stand = Stand(top / "camera")
        self.stand.hands.at = WHEN
        self.outcomes: dict[str, tuple[Outcome, ...]] = {}
        self.impostors: list[Address] = []
        self.met: list[Address | None] = []
        self.statuses: list[Status] = []
        self.collecting = True
        self.changes: list[tuple[bool, bool]] = []
        self.pairs = True
        self.stolen: dict[Address, Address] = {}
        self.later_s = 0.0
        self.poll_s = 0.05
        self.at: tuple[Address, ...] | None = None
        shown = self.index.write_now(lambda tx: enrolment.link_identity(tx, moment=self.now))
        self.credentials = shown
        device = self.stand.device
        self.pinned = Pinned(device=device.id, kid=device.identity.kid)
        self.enrolled = self.index.write_now(
            lambda tx: enrolment.enrol(tx, level="proved", device=device.id, kid=device.identity.kid, moment=self.now)
        )
        self.erasure = self.new_erasure()

    def new_erasure(self) -> Erasure:
        return Erasure(vault=self.vault, index=self.index, keystore=self.keystore, finish=self._finish)

    def _finish(self, _tx: Any, command: str, outcomes: tuple[Outcome, ...], _moment: Moment) -> None:  # noqa: ANN401 - as the simulator's
        self.outcomes[command] = outcomes

    @property
    def name(self) -> str:
        return f"camera-link:{self.enrolled.camera}"

    def address(self) -> Address:
        return Address("127.0.0.1", self.stand.port)

    def addresses(self) -> tuple[Address, ...]:
        if self.at is not None:
            return self.at
        return (self.address(),) if self.stand.port else ()

    def link(self) -> CameraLink:
        """The link by itself, met."""
        made = CameraLink(pinned=self.pinned, credentials=self.credentials, monotonic=monotonic_s)
        made.meet((self.address(),))
        return made

    async def note_met(self, at: Address | None) -> None:
        self.met.append(at)

    async def note_status(self, status: Status) -> None:
        self.statuses.append(status)

    def note_collection(self, now: bool, before: bool) -> None:  # noqa: FBT001 - a pair that is told
        if now is not before:
            self.changes.append((before, now))

    def pair(self) -> None:
        self.stand.do(self.stand.device.open_setup)
        link = self.link()
        link.pair()
        link.close()

    def source(self, flow: Ingest, *, call_s: float = 20.0) -> CameraSource:
        settings = CameraSettings(name=self.name, camera=self.enrolled.camera, label=self.enrolled.device)
        return Diverted(
            self.stolen,
            settings,
            pinned=self.pinned,
            credentials=self.credentials,
            addresses=self.addresses,
            pairs=self.pairs,
            collects=lambda: self.collecting,
            now_ms=lambda: self.now.agent_ms,
            on_refusal=flow.unacceptable,
            on_trouble=lambda reason, _code: flow.trouble(self.name)(reason),
            on_status=self.note_status,
            on_impostor=self.impostors.append,
            on_met=self.note_met,
            on_collection=self.note_collection,
            poll_s=self.poll_s,
            call_s=call_s,
            monotonic=lambda: monotonic_s() + self.later_s,
        )

    async def collecting_until(
        self, condition: Callable[[], bool], *, policy: Policy | None = None, call_s: float = 20.0
    ) -> Ingest:
        """Collect until something is true."""
        flow = self.ingest(policy=policy)
        source = self.source(flow, call_s=call_s)
        late = asyncio.get_running_loop().call_later(0.9 * at_most(LIMIT_S), self._show_where)
        try:
            async with asyncio.timeout(at_most(LIMIT_S)), asyncio.TaskGroup() as tasks:
                running = [
                    tasks.create_task(flow.run()),
                    tasks.create_task(flow.collect(source, erasure=self.erasure)),
                ]
                await until(condition)
                for task in running:
                    task.cancel()
        finally:
            late.cancel()
            flow.close()
            await self.sealers[-1].aclose()
        return flow

    def _show_where(self) -> None:
        """Print what waits for what, before the deadline ends it: a failure that comes seldom has to tell at once."""
        print("so far:", [(event.kind, event.reason) for event in self.events], len(self.statuses), "looks")
        for task in asyncio.all_tasks():
            task.print_stack(limit=3, file=sys.stdout)
        faulthandler.dump_traceback()

    def collect(self, condition: Callable[[], bool], *, policy: Policy | None = None, call_s: float = 20.0) -> Ingest:
        return asyncio.run(self.collecting_until(condition, policy=policy, call_s=call_s))

    def collect_passes(self, passes: int = 2, *, policy: Policy | None = None, call_s: float = 20.0) -> Ingest:
        """Collect through so many whole looks at the camera."""
        seen = len(self.statuses)
        return self.collect(lambda: len(self.statuses) >= seen + passes + 1, policy=policy, call_s=call_s)

    def erase(self, *ids: str, command: str = "c" * 26, cutoff: Selection | None = None) -> tuple[Outcome, ...]:
        async def run() -> tuple[Outcome, ...]:
            return await self.erasure.erase(
                ids, actor="owner", rule="owner_erase", command=command, moment=self.now, cutoff=cutoff
            )

        return asyncio.run(run())

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run(work)

    def record(self, content: bytes, *, kind: Any = "recording", start: datetime = WHEN) -> Entry:  # noqa: ANN401 - as the simulator's
        return self.stand.record(content, kind=kind, start=start)

    def card(self) -> dict[str, bool]:
        """What is on the camera's card: whether each was acknowledged."""
        return self.stand.do(lambda: {entry.id: entry.acknowledged for entry in self.stand.device.card.entries()})

    def waits(self) -> bool:
        """Whether the camera is asked to delete anything that it has not."""
        return self.index.read_now(lambda tx: self.erasure.waits_at_source(tx, self.name))

    def is_clean(self) -> Callable[[], bool]:
        """Tell that nothing on the card waits for the agent."""
        return lambda: all(self.card().values())

    def contents(self) -> list[bytes]:
        return sorted(self.opened(item) for item in self.objects())


class Diverted(CameraSource):
    """Whose connections for the sealing process end elsewhere than where the camera was proved."""

    def __init__(self, stolen: dict[Address, Address], *about: Any, **more: Any) -> None:  # noqa: ANN401 - as the real one
        super().__init__(*about, **more)
        self._stolen = stolen

    async def _connected(self, address: Address) -> socket.socket:
        stolen = self._stolen.get(address, address)
        return await super()._connected(stolen)


def at(ms: int) -> Moment:
    return Moment(agent_ms=ms, wall_ms=ms, trusted=True)


async def until(condition: Callable[[], bool]) -> None:
    """Wait in a running loop until something is true."""
    pulse = threading.Event()  # never set: only its deadline is used
    while not await asyncio.to_thread(condition):
        await asyncio.to_thread(pulse.wait, 0.01)
