"""A broker for the tests of the simulated cloud: the real one, with certificates and its access rules."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from device_sim.broker import Broker, make_identities


@dataclass(frozen=True)
class BrokerPlace:
    """Where the broker is and who may speak to it."""

    url: str
    backend: Path
    owner: Path
    device: Path


@pytest.fixture(scope="session")
def broker_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerPlace]:
    folder = tmp_path_factory.mktemp("cloud-broker")
    certs = folder / "tls"
    make_identities(certs)
    with Broker(folder / "broker", certs) as broker:
        yield BrokerPlace(broker.url, certs / "backend", certs / "owner", certs / "device")
