"""Calls that wait at the same moment share one trip: to another thread, to the index, into one commit.

A trip to another thread costs more than what most calls do there. While one trip is under way the calls that come
wait; the next takes all of them. So one file alone waits for nothing, and a thousand share some dozens of trips.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

from agent.sources import FolderSource
from agent.sources.root import Root

Argument = TypeVar("Argument")
Result = TypeVar("Result")


class Together(Generic[Argument, Result]):
    """``await together(argument)`` gives what ``trip`` says of it, asked along with others.

    ``trip`` gets the arguments in order and returns as many results; one that is an exception is raised at its caller
    alone, and one that ``trip`` raises at all of them.
    """

    def __init__(self, trip: "Callable[[Sequence[Argument]], Awaitable[Sequence[Result | Exception]]]") -> None:
        self._trip = trip
        self._waiting: list[tuple[Argument, asyncio.Future[Result]]] = []
        self._under_way = asyncio.Lock()

    async def __call__(self, argument: Argument) -> Result:
        """Return the result for ``argument``, or raise what it became."""
        mine: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((argument, mine))
        async with self._under_way:
            if not mine.done():
                batch, self._waiting = self._waiting, []
                await self._go(batch)
        return await mine

    async def _go(self, batch: "list[tuple[Argument, asyncio.Future[Result]]]") -> None:
        try:
            results = await self._trip([argument for argument, _ in batch])
        except BaseException as error:
            for _, future in batch:
                if future.done():
                    continue
                if isinstance(error, Exception):
                    future.set_exception(error)
                else:
                    future.cancel()
            if isinstance(error, Exception):
                return
            raise
        for (_, future), result in zip(batch, results, strict=True):
            if future.done():  # its caller was cancelled
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)


def attempt(call: Callable[[Argument], Result], argument: Argument) -> "Result | Exception":
    """Return what the call returns or raises, for one of several in a trip."""
    try:
        return call(argument)
    except Exception as error:  # noqa: BLE001 - raised at its caller
        return error


def beneath(source: FolderSource, call: "Callable[[Root, Argument], Result]") -> Together[Argument, Result]:
    """Make the call with the source's open folder, for several arguments in one trip to the source's thread."""

    async def trip(arguments: Sequence[Argument]) -> "Sequence[Result | Exception]":
        return await source.do(lambda root: [attempt(partial(call, root), argument) for argument in arguments])

    return Together(trip)


def in_transaction(
    run: Callable[[Callable[[Any], Any]], Awaitable[Any]], call: Callable[[Any, Argument], Result]
) -> Together[Argument, Result]:
    """Make the call for several arguments in one transaction of ``run`` (the index's ``read`` or ``write``).

    Whatever one of them raises undoes and fails all of them, so it is for calls that cannot be refused.
    """

    async def trip(arguments: Sequence[Argument]) -> "Sequence[Result | Exception]":
        return list(await run(lambda tx: [call(tx, argument) for argument in arguments]))

    return Together(trip)
