"""A station's agent as it runs, in this process: its ticks come one behind the other, its clocks are the test's."""

import asyncio
from collections.abc import Callable
from typing import Any

from agent.app.running import run as run_agent
from agent.control import ask
from tests.app.station import Station
from tests.waiting import at_most


async def resident(station: Station, act: Callable[[], Any]) -> None:
    """Run the agent, its ticks one behind the other, and end it when ``act`` has ended."""
    stop, ready = asyncio.Event(), asyncio.Event()

    async def direct() -> None:
        await ready.wait()
        await act()
        stop.set()

    async def hurry(_seconds: float) -> None:
        await asyncio.sleep(0.01)

    async with asyncio.timeout(at_most(60)), asyncio.TaskGroup() as group:
        group.create_task(direct(), name="direct")
        await run_agent(station.config, read_clock=station.read_clock, stop=stop, ready=ready.set, wait=hurry)


async def alerts(station: Station, wanted: set[str]) -> None:
    """Ask until just these stand; the deadline of the test ends it."""
    told: set[str] | None = None
    while told != wanted:
        status = await ask(station.config.socket, "status", {}, progress=lambda _step: None)
        told = {one["code"] for one in status["alerts"]}
