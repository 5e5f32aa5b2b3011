"""What was deleted and turns up later is told to whoever deleted it, in a receipt of its own (invariant I3)."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from agent.app.alarm import Alarm
from agent.app.parts import Parts
from agent.app.running import LATE_MS, Live, _pass
from agent.ingest import Ingest
from agent.sealer import Sealer
from agent.sources import SourceSettings
from agent.sources.settings import After
from tests.app.station import START_S, Station

NAME = "{camera}/recording/2026-11-{day:02}T10-15-00.000Z_10s.mp4"
SCHEMA = Path(__file__).parents[2] / "docs" / "schemas" / "receipt.json"


class Scene:
    """A device whose owner deleted all recordings, and a spool that is filled afterwards."""

    def __init__(self, station: Station, parts: Parts, spool: Path, after: After) -> None:
        self.station = station
        self.parts = parts
        self.spool = spool
        self.source = SourceSettings(name="spool", kind="spool", path=spool, medium="disk", after=after)
        alarm = Alarm(index=parts.index, trust=parts.trust, outbox=parts.outbox)
        self.sealer = Sealer()
        flow = Ingest(
            (self.source,), vault=parts.vault, sealer=self.sealer, policy=parts.policy_in_force, now=parts.now
        )
        self.live = Live(parts, alarm, flow)

    def put(self, *days: int, camera: str = "front") -> None:
        for day in days:
            file = self.spool / NAME.format(camera=camera, day=day)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"late %d" % day)

    async def scan(self) -> None:
        await self.live.ingest.scan_once()

    async def pass_by(self, ms: int = LATE_MS) -> None:
        self.station.let_pass(ms)
        await _pass(self.live, lambda _code, _what: None, self.parts.now())

    async def delete(self, **select: Any) -> str:  # noqa: ANN401 - JSON
        command = self.station.command(self.station.client, "delete", select=select)
        await self.parts.commands.submit(command, moment=self.parts.now())
        await self.parts.commands.resume(self.parts.now())
        ((jti,),) = await self.parts.index.read(lambda tx: tx.execute("SELECT jti FROM command"))
        return str(jti)

    async def told(self) -> list[dict[str, Any]]:
        """Return the receipts that wait for the owner, in their order."""
        waiting = await self.parts.index.read(self.parts.outbox.pending)
        return [self.station.client.open(one.body) for one in waiting]

    async def late(self) -> list[dict[str, Any]]:
        return [one for one in await self.told() if "late" in one]


def played(folder: Path, *acts: Callable[[Scene], Awaitable[None]], after: After = "take") -> None:
    """Play each act in a life of the agent's own."""
    station = Station(folder)
    spool = folder / "spool"
    spool.mkdir()

    async def play(act: Callable[[Scene], Awaitable[None]]) -> None:
        async with station.parts() as parts:
            scene = Scene(station, parts, spool, after)
            try:
                await act(scene)
            finally:
                scene.live.ingest.close()
                await scene.sealer.aclose()

    for act in acts:
        asyncio.run(play(act))


def test_late_recordings_that_are_destroyed_unread_are_told_in_one_receipt_an_hour(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        jti = await scene.delete(category="recording")
        await scene.pass_by()
        assert await scene.late() == []
        scene.put(1, 2, 3)
        await scene.scan()
        assert scene.parts.index.read_now(scene.parts.vault.page) == ()
        await scene.pass_by(60_000)
        assert await scene.late() == [], "an hour has not passed"
        await scene.pass_by()
        (receipt,) = await scene.late()
        first = (await scene.told())[0]
        assert (receipt["cmd"], receipt["verb"], receipt["seq"]) == (jti, "delete", first["seq"])
        assert (receipt["status"], receipt["late"]) == ("done", {"destroyed": 3, "remaining": 0})
        assert receipt["jti"] != first["jti"]
        assert set(receipt) <= set(json.loads(SCHEMA.read_text(encoding="utf-8"))["properties"])
        await scene.pass_by()
        assert len(await scene.late()) == 1, "what was told is told once"
        scene.put(4)
        await scene.scan()
        await scene.pass_by()
        assert [one["late"]["destroyed"] for one in await scene.late()] == [3, 1]

    played(tmp_path, act)


def test_late_recordings_that_are_not_ours_to_remove_are_told_as_remaining(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        await scene.delete(all=True)
        scene.put(1, 2)
        await scene.scan()
        await scene.pass_by()
        (receipt,) = await scene.late()
        assert (receipt["status"], receipt["late"]) == ("partial", {"destroyed": 0, "remaining": 2})

    played(tmp_path, act, after="leave")


def test_late_recording_that_remains_is_counted_once_however_often_the_agent_starts(tmp_path: Path) -> None:
    # Each start met the file anew, and each told of one more.
    async def met(scene: Scene) -> None:
        await scene.delete(all=True)
        scene.put(1)
        await scene.scan()

    async def met_again(scene: Scene) -> None:
        await scene.scan()

    async def told(scene: Scene) -> None:
        await scene.scan()
        await scene.pass_by()
        (receipt,) = await scene.late()
        assert receipt["late"] == {"destroyed": 0, "remaining": 1}
        scene.put(2)
        await scene.scan()
        await scene.pass_by()
        assert [one["late"]["remaining"] for one in await scene.late()] == [1, 1]

    played(tmp_path, met, met_again, told, after="leave")


def test_what_was_destroyed_before_a_restart_is_told_after_it(tmp_path: Path) -> None:
    async def destroyed(scene: Scene) -> None:
        await scene.delete(category="recording")
        scene.put(1)
        await scene.scan()

    async def told(scene: Scene) -> None:
        await scene.pass_by(1)
        assert [one["late"] for one in await scene.late()] == [{"destroyed": 1, "remaining": 0}]

    played(tmp_path, destroyed, told)


def test_supplement_never_overtakes_the_terminal_receipt(tmp_path: Path) -> None:
    async def act(scene: Scene) -> None:
        jti = await scene.delete(category="recording")
        await scene.parts.index.write(lambda tx: tx.execute("UPDATE command SET settled_ms = NULL"))
        scene.put(1)
        await scene.scan()
        await scene.pass_by()
        assert await scene.late() == [], "a sender that reads 'done' stops sending the command"
        await scene.parts.index.write(lambda tx: tx.execute("UPDATE command SET settled_ms = ?", (START_S * 1000,)))
        await scene.pass_by()
        assert [one["cmd"] for one in await scene.late()] == [jti]

    played(tmp_path, act)
