"""A cloud and a device on one broker, as the tests of the simulated cloud want them."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from device_sim.cloud import strictjson
from device_sim.cloud.journal import Journal
from device_sim.cloud.service import Cloud, init
from tests import loaded
from tests.sim.fake_device import NOW_S, TENANT, FakeDevice, device

DEVICE = "device"
"""The common name that `python -m certs init` gives its first device: topics carry it."""


@dataclass(frozen=True)
class BrokerPlace:
    """Where the broker is and who may speak to it."""

    url: str
    backend: Path
    owner: Path
    device: Path


@dataclass
class Line:
    cloud: Cloud
    device: FakeDevice
    folder: Path

    @property
    def journal(self) -> Journal:
        return self.cloud.journal

    def store_files(self) -> list[str]:
        kept = self.folder / "store"
        return sorted(str(path.relative_to(kept)) for path in kept.rglob("*") if path.is_file())


@contextmanager
def line(folder: Path, broker: BrokerPlace) -> Iterator[Line]:
    """Run a cloud in this process with a device that it knows."""
    init(folder, roles=("store", "backend", "client"))
    with (
        device(broker.url, folder=folder, identity=broker.device, name=DEVICE) as made,
        Cloud(
            folder,
            broker=broker.url,
            tenant=TENANT,
            identity=broker.backend,
            descriptors=[folder / f"{DEVICE}.jws"],
            now_s=lambda: NOW_S,
        ) as cloud,
    ):
        yield Line(cloud, made, folder)


class CloudProcess:
    """``device-sim cloud`` as a process: to kill, and to command by its stdin."""

    def __init__(self, folder: Path, broker: BrokerPlace, *options: str) -> None:
        self.journal = Journal()
        self.process = loaded.begin(
            [
                *(sys.executable, "-m", "device_sim.cloud", "--json"),
                *("--dir", folder, "--broker", broker.url, "--identity", broker.backend, "--tenant", TENANT),
                *("--device-descriptor", folder / f"{DEVICE}.jws"),
                *options,
            ],
            stdin=loaded.PIPE,
            stdout=loaded.PIPE,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_until_online(self) -> Self:
        self.journal.wait("online", timeout_s=60)
        return self

    def kill(self) -> None:
        """End it if it still runs."""
        if self.process.poll() is None:
            self.end(signal.SIGKILL)

    def tell(self, order: dict[str, object]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(strictjson.dumps(order) + b"\n")
        self.process.stdin.flush()

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        code = self.process.wait(60)
        self._reader.join()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        return code

    def _read(self) -> None:
        assert self.process.stdout is not None
        for text in self.process.stdout:
            event = strictjson.loads(text)
            self.journal.note(str(event.pop("event")), **event)
