"""Real brokers and TLS identities for the tests of broker, uplink and upload."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from device_sim.broker import Broker as BrokerProcess

DEVICE = "cam-1"


def certs(*words: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "certs", *map(str, words)], check=True, stdout=subprocess.DEVNULL)


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls") / "ca"
    certs("init", folder, "--device", DEVICE, "--device", "cam-2")
    return folder


@pytest.fixture
def mosquitto(tmp_path: Path, tls: Path) -> Iterator[BrokerProcess]:
    with BrokerProcess(tmp_path / "broker", tls, engine="mosquitto") as process:
        yield process


@pytest.fixture
def amqtt(tmp_path: Path, tls: Path) -> Iterator[BrokerProcess]:
    with BrokerProcess(tmp_path / "amqtt", tls, engine="amqtt") as process:
        yield process
