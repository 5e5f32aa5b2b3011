"""Calls that share a trip."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from agent.errors import CorruptError, SpaceError
from agent.ingest.together import Together, beneath
from agent.sources import FolderSource, SourceSettings
from agent.sources.root import Root


def test_calls_that_wait_during_a_trip_share_the_next() -> None:
    trips: list[list[int]] = []

    async def run() -> list[int]:
        first = asyncio.Event()

        async def trip(numbers: Sequence[int]) -> Sequence[int | Exception]:
            trips.append(list(numbers))
            await first.wait()
            return [number * 10 for number in numbers]

        together = Together(trip)
        async with asyncio.TaskGroup() as tasks:
            calls = [tasks.create_task(together(number)) for number in range(5)]
            tasks.create_task(_set(first))
        return [call.result() for call in calls]

    assert asyncio.run(run()) == [0, 10, 20, 30, 40]
    assert trips == [[0], [1, 2, 3, 4]]


async def _set(event: asyncio.Event) -> None:
    event.set()


def test_one_failure_is_its_callers_alone(tmp_path: Path) -> None:
    def call(root: Root, number: int) -> int:
        assert root.stands()
        if number == 1:
            raise CorruptError("one")
        return number

    async def run() -> list[int | BaseException]:
        settings = SourceSettings(name="spool", kind="spool", path=tmp_path, medium="disk")
        source = FolderSource(settings, on_refusal=lambda _refusal: None)
        await source.open()
        try:
            together = beneath(source, call)
            return await asyncio.gather(*(together(number) for number in range(3)), return_exceptions=True)
        finally:
            source.close()

    zero, one, two = asyncio.run(run())
    assert (zero, two) == (0, 2)
    assert isinstance(one, CorruptError)


def test_failure_of_the_trip_is_every_callers() -> None:
    async def trip(_numbers: Sequence[int]) -> Sequence[int | Exception]:
        raise SpaceError("full")

    async def run() -> list[int | BaseException]:
        together = Together(trip)
        return await asyncio.gather(*(together(number) for number in range(3)), return_exceptions=True)

    assert all(isinstance(result, SpaceError) for result in asyncio.run(run()))


def test_cancelled_trip_leaves_nobody_waiting() -> None:
    async def run() -> None:
        never = asyncio.Event()

        async def trip(_numbers: Sequence[int]) -> Sequence[int | Exception]:
            await never.wait()
            return []

        together = Together(trip)
        leader = asyncio.ensure_future(together(1))
        while not together._under_way.locked():
            await asyncio.to_thread(lambda: None)
        leader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leader

    asyncio.run(run())
