"""A broker for the tests of the simulated cloud: the real one, with certificates and its access rules."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from device_sim.broker import Broker, make_identities
from tests.sim.cloud_line import BrokerPlace, CloudProcess


@pytest.fixture(scope="session")
def broker_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerPlace]:
    folder = tmp_path_factory.mktemp("cloud-broker")
    certs = folder / "tls"
    make_identities(certs)
    with Broker(folder / "broker", certs) as broker:
        yield BrokerPlace(broker.url, certs / "backend", certs / "owner", certs / "device")


@pytest.fixture
def start_cloud() -> Iterator[Callable[..., CloudProcess]]:
    """Start ``device-sim cloud`` processes; whatever a failed test leaves running is ended."""
    started: list[CloudProcess] = []

    def start(folder: Path, broker: BrokerPlace, *options: str) -> CloudProcess:
        started.append(CloudProcess(folder, broker, *options))
        return started[-1].wait_until_online()

    yield start
    for one in started:
        one.kill()
