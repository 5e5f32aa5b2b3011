"""What the tests here share: a broker client that runs while the test does, a plain observer, waiting with an end."""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from agent.broker import Broker
from tests.waiting import at_most

TENANT = "acme"
LIMIT_S = 60.0


@contextlib.asynccontextmanager
async def running(broker: Broker) -> AsyncIterator[Broker]:
    """Run a broker client and close it in order."""
    async with asyncio.TaskGroup() as group:
        group.create_task(broker.run(), name="broker")
        try:
            yield broker
        finally:
            await broker.aclose()


async def no_pause(_seconds: float, _stop: asyncio.Event) -> None:
    await asyncio.sleep(0)


async def short_pause(_seconds: float, _stop: asyncio.Event) -> None:
    await asyncio.sleep(0.05)


async def until(true: Callable[[], bool], *, what: str = "") -> None:
    """Poll until ``true``; the deadline fails the test."""
    limit_s = at_most(LIMIT_S)
    try:
        async with asyncio.timeout(limit_s):
            while not true():  # noqa: ASYNC110 - what is looked at sets no event
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"did not happen in {limit_s} s: {what or true}") from None


class Observer:
    """Another client of the broker, with its own identity; keeps what it receives."""

    def __init__(self, url: str, identity: Path, *, topics: tuple[str, ...]) -> None:
        self.seen: list[tuple[str, bytes, bool]] = []
        self._ready = threading.Event()
        context = ssl.create_default_context(cafile=str(identity / "ca.crt"))
        context.load_cert_chain(identity / "tls.crt", identity / "tls.key")
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=f"test-{identity.name}", protocol=paho.MQTTv311
        )
        self.client.tls_set_context(context)
        self._topics = topics
        self.client.on_connect = self._connected
        self.client.on_subscribe = lambda *_: self._ready.set()
        self.client.on_message = self._message
        host, _, port = url.partition("//")[2].partition(":")
        self.client.connect(host, int(port))
        self.client.loop_start()
        assert self._ready.wait(LIMIT_S)

    def _connected(self, client: paho.Client, *_: object) -> None:
        client.subscribe([(topic, 1) for topic in self._topics])

    def _message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:  # noqa: ANN401 - paho's
        self.seen.append((message.topic, bytes(message.payload), message.retain))

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self.client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(LIMIT_S)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()
        self.client._reset_sockets()  # else the pair that wakes its thread waits for the garbage collector


@contextlib.contextmanager
def observing(url: str, identity: Path, *topics: str) -> Iterator[Observer]:
    observer = Observer(url, identity, topics=topics or ("#",))
    try:
        yield observer
    finally:
        observer.close()
