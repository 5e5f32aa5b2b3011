"""The scripted line's time: it passes whenever nothing is left to hear, or a life stands still for ever."""

import asyncio
from pathlib import Path

from agent.keystore import Keystore
from tests.torture.home import Home
from tests.torture.store import Store


def test_time_passes_behind_a_fall_that_took_an_answer_from_whoever_was_about_to_hear_it(tmp_path: Path) -> None:
    home = Home.make(tmp_path / "home")

    async def live() -> float:
        keystore = Keystore.open(home.state / "keystore")
        store = Store(home.store, device="cam-01", keystore=keystore, told=(), say=lambda _line: None)
        listening = asyncio.ensure_future(store.receive("up"))
        await asyncio.sleep(0)
        store._fail("upload", "manifest", reason="quota")
        await store.reconnect()
        async with asyncio.timeout(60):
            await store.pause(5, asyncio.Event())
        listening.cancel()
        keystore.close()
        return store.clock_s()

    assert asyncio.run(live()) == 5
