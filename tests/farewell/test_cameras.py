"""Cameras with recordings on their cards, where their owner leaves: emptied, switched off, unpaired."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent import enrolment, former
from agent.app import collecting
from agent.app.parts import Parts
from agent.control import ask
from agent.errors import ConfigError
from agent.index import Tx
from tests.app.resident import resident
from tests.app.station import START_S, Station
from tests.camera.place import until
from tests.farewell.leaver import DEADLINE_MS, erase_all
from tests.link_server.stand import Stand

CONTENT = b"of the owner who leaves" * 100


class Front:
    """A station and its one camera, on whose card one recording is that was taken in and acknowledged."""

    def __init__(self, folder: Path, stand: Stand) -> None:
        self.folder = folder
        self.stand = stand
        self.device = stand.device
        stand.hands.at = datetime.fromtimestamp(START_S, tz=UTC)
        self.station = Station(folder)

    def enrol(self, tx: Tx, parts: Parts) -> str:
        made = enrolment.enrol(
            tx,
            level="proved",
            device=self.device.id,
            kid=self.device.identity.kid,
            endpoint=f"127.0.0.1:{self.stand.port}",
            moment=parts.now(),
        )
        return enrolment.source_name(made.camera)

    async def collect(self) -> None:
        """Enrol it, and run the agent until a recording on its card is acknowledged."""
        async with self.station.parts() as parts:
            await parts.index.write(lambda tx: self.enrol(tx, parts))
        self.stand.do(self.device.open_setup)
        await resident(self.station, self._record)

    async def _record(self) -> None:
        await until(lambda: self.stand.do(lambda: self.device.collecting))
        self.stand.record(CONTENT, start=self.stand.hands.at)
        await until(lambda: self.card() == [True])

    def card(self) -> list[bool]:
        """What is on its card: whether each was acknowledged."""
        return self.stand.do(lambda: [entry.acknowledged for entry in self.device.card.entries()])

    def is_left(self) -> bool:
        return self.stand.do(lambda: not self.device.agent and not self.device.collecting)

    async def told(self) -> list[tuple[str, int, str]]:
        """What waits for its owner: the status, the phase and what is said of the cameras.

        The agent was ended as soon as the camera was seen to be left: what comes behind that is done here.
        """
        async with self.station.parts() as parts:
            await parts.commands.part(parts.now())
            found = await parts.index.read(parts.outbox.pending)
        receipts = [self.station.client.open(one.body) for one in found if one.channel.startswith("rcpt/")]
        said = [(one["status"], one["farewell"]) for one in receipts if "farewell" in one]
        return [(status, farewell["phase"], farewell["cameras"]) for status, farewell in said]

    async def depart(self) -> None:
        """Go on until it has no owner any more, which is told."""
        for _ in range(3):
            async with self.station.parts() as parts:
                await parts.commands.part(parts.now())
            self.station.let_pass(DEADLINE_MS)

    async def submitted_to_the_agent(self) -> None:
        file = base64.b64encode(erase_all(self.station.client)).decode("ascii")
        await ask(self.station.config.socket, "submit", {"file": file}, progress=lambda _step: None)


@pytest.fixture
def on_front(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Front], Awaitable[None]]], None]:
    """Do something with one."""
    monkeypatch.setattr(collecting, "LOOK_S", 0.1)

    def do(work: Callable[[Front], Awaitable[None]]) -> None:
        async def run(front: Front) -> None:
            await work(front)

        with Stand(tmp_path / "camera") as stand:
            asyncio.run(run(Front(tmp_path / "agent", stand)))

    return do


OnFront = Callable[[Callable[[Front], Awaitable[None]]], None]


@pytest.mark.promise("ACCOUNT-DELETE")
def test_camera_whose_card_has_recordings_is_emptied_switched_off_and_unpaired(on_front: OnFront) -> None:
    async def leave(front: Front) -> None:
        await front.collect()

        async def act() -> None:
            await front.submitted_to_the_agent()
            await until(front.is_left)

        await resident(front.station, act)
        assert front.card() == []
        assert await front.told() == [("done", 2, "confirmed")]

    on_front(leave)


@pytest.mark.promise("ACCOUNT-DELETE")
def test_agent_that_starts_behind_the_first_receipt_empties_the_cards_that_it_waits_for(on_front: OnFront) -> None:
    async def leave(front: Front) -> None:
        await front.collect()
        async with front.station.parts() as parts:
            await parts.commands.submit(erase_all(front.station.client), moment=parts.now())
        assert (await front.told(), front.card()) == ([("partial", 1, "pending")], [True])
        await resident(front.station, lambda: until(front.is_left))
        assert front.card() == []
        assert await front.told() == [("done", 2, "confirmed")]

    on_front(leave)


@pytest.mark.promise("ACCOUNT-DELETE")
def test_camera_whose_card_is_out_at_the_deadline_is_unpaired_all_the_same_and_told_as_unconfirmed(
    on_front: OnFront,
) -> None:
    async def leave(front: Front) -> None:
        await front.collect()
        front.stand.do(lambda: front.device.break_("card-missing"))

        async def act() -> None:
            await front.submitted_to_the_agent()
            await until(lambda: not front.stand.do(lambda: front.device.collecting))
            assert not front.is_left()
            front.station.let_pass(DEADLINE_MS)
            await until(front.is_left)

        await resident(front.station, act)
        assert await front.told() == [("partial", 2, "unconfirmed")]

    on_front(leave)


@pytest.mark.promise("ERASE")
def test_cut_off_of_a_camera_outlives_the_owner_who_had_it(on_front: OnFront) -> None:
    async def begin_anew(front: Front) -> None:
        await front.collect()

        async def act() -> None:
            await front.submitted_to_the_agent()
            await until(front.is_left)
            front.station.let_pass(DEADLINE_MS)

        await resident(front.station, act)
        with pytest.raises(ConfigError, match="no owner any more"):
            await front.depart()
        front.station = Station(front.folder)
        async with front.station.parts() as parts:
            source = await parts.index.write(lambda tx: front.enrol(tx, parts))
            assert await parts.index.read(lambda tx: former.before_ms(tx, source)) == START_S * 1000

    on_front(begin_anew)
