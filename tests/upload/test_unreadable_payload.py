"""The medium fails under one sealed payload: its owner is told, the others go on, and it is tried again."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from device_sim.broker import Broker as BrokerProcess
from tests.failing import failing
from tests.upload.hub import Hub

ROOT = Path(__file__).parents[2]
LIMIT_S = 120


@pytest.mark.parametrize(
    "fault",
    ["openat=EIO:when=1..3", "preadv,preadv2=EIO:when=1..3", "preadv,preadv2=EIO:when=3"],
    ids=["open", "begin", "middle"],
)
def test_unreadable_payload_is_told_parked_and_sent_once_it_reads_and_the_others_go_on(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path, fault: str
) -> None:
    hub = Hub(tmp_path / "hub")
    bad, *good = [asyncio.run(hub.add(size_bytes=size)) for size in (700_000, 1000, 300_000)]
    path = hub.vault.payload_path(bad.id)
    hub.close()
    program = [sys.executable, "-m", "tests.upload.on_failing_medium", str(tmp_path / "hub"), mosquitto.url, str(tls)]
    ran = subprocess.run(
        [*failing(path, fault), *program], cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    alert = ("corrupt_object", f"object {bad.id} cannot be read: Input/output error")
    assert {tuple(one) for one in told["alerts"]} == {alert}
    assert told["tries"] == 1, "it waits for its time"
    assert told["first"] == {bad.id: "sealed"} | {item.id: "uploaded" for item in good}
    assert told["stored"] == {item.id: item.payload_sha256.hex() for item in (bad, *good)}
