import asyncio
from collections.abc import Callable
from pathlib import Path

from agent.broker import Broker
from device_sim.broker import Broker as BrokerProcess
from tests.upload.line import TENANT, no_pause, observing, running, until

BASE = f"pv1/{TENANT}/cam-1"


def make(
    process: BrokerProcess,
    tls: Path,
    *,
    name: str = "cam-1",
    alerts: list[tuple[str, str]] | None = None,
    wait: Callable[..., object] = no_pause,
) -> Broker:
    told = alerts if alerts is not None else []
    return Broker(
        process.url,
        tenant=TENANT,
        identity=tls / name,
        wait=wait,  # type: ignore[arg-type] # test double
        alert=lambda code, what: told.append((code, what)),
    )


def test_published_with_tls_reaches_a_subscriber_under_our_own_name(mosquitto: BrokerProcess, tls: Path) -> None:
    async def act() -> None:
        broker = make(mosquitto, tls)
        with observing(mosquitto.url, tls / "backend") as observer:
            async with running(broker):
                await broker.first_session(within_s=10)
                await broker.publish("alert", b"\x50abc")
                await broker.publish("state", b"\x40on", retain=True)
                await until(lambda: len(observer.seen) >= 3)
            assert (f"{BASE}/alert", b"\x50abc", False) in observer.seen
        assert broker.protocol == 5
        assert broker.device == "cam-1"

    asyncio.run(act())
