"""What a start after a fault comes to when it does not come to its end, and who forks the sealing processes."""

import asyncio
import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from agent import child
from agent.sealer import client
from tests.torture import sweep, witness
from tests.torture.forked import fork_sealers
from tests.torture.home import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.make(tmp_path / "home")


async def _stand_still(_home: Home) -> dict[str, Any]:
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")


async def _be_killed(_home: Home) -> dict[str, Any]:
    os.kill(os.getpid(), signal.SIGKILL)
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")


def test_start_that_stands_still_is_no_start_and_tells_where(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    # Once in many runs a start said nothing. It was tried again, so that nobody ever learnt why.
    monkeypatch.setattr(witness, "see", _stand_still)
    monkeypatch.setattr(sweep, "START_LIMIT_S", 3)
    told = sweep._seen(home)["failed"]
    assert told.startswith("it says nothing for 3 s and stands at\n")
    assert "run_until_complete" in told


def test_start_that_dies_is_told_apart_from_one_that_stands_still(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(witness, "see", _be_killed)
    assert sweep._seen(home)["failed"] == f"it ended with {-signal.SIGKILL}"


def test_sealing_process_is_forked_by_one_that_has_no_other_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "subprocess", subprocess)  # puts it back at the end
    end = threading.Event()
    with fork_sealers():
        busy = threading.Thread(target=end.wait)
        busy.start()
        try:
            mother = _parent_of(asyncio.run(_started_and_ended()))
            assert mother != os.getpid()
            assert len(list(Path(f"/proc/{mother}/task").iterdir())) == 1
        finally:
            end.set()
            busy.join()


async def _started_and_ended() -> int:
    process = client._Process()
    process.close()
    await process.gone()
    assert process.reaped
    return process.pid  # nobody waited for it, so its entry is there still


def _parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/status").read_text().split("PPid:")[1].split()[0])
