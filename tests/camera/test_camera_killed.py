"""SIGKILL before and after every step at a camera, then a start: each recording once, and nothing deleted returns."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from agent.index import Index
from agent.keystore import Keystore
from agent.vault import Vault
from tests.camera.place import LIMIT_S, Place

# A whole agent process that collects until its camera has nothing for it, and kills itself just before or after the
# named call is made for the nth time, or just before or after the commit that it is in.
CHILD = """
import asyncio, json, os, signal, sys
from pathlib import Path
from agent import enrolment, ingest, payload
from agent.camera.identity import Address, Pinned
from agent.camera.link import CameraLink
from agent.clock import monotonic_s
from agent.erasure import Erasure
from agent.index import Index
from agent.keystore import Keystore
from agent.model import Moment
from agent.policy import parse_policy
from agent.sealer import Sealer
from agent.sources.camera import CameraSettings, CameraSource
from agent.vault import Vault

about = json.loads(sys.argv[1])
point, left = about["point"], about["count"]

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def deadly(call):
    def killing(*args, **kwargs):
        global left
        left -= 1
        if left == 0 and point.startswith("before ") and " commit " not in point:
            die()
        answer = call(*args, **kwargs)
        if left == 0 and point.startswith("after ") and " commit " not in point:
            die()
        return answer
    return killing

def deadly_after(call):
    def killing(*args):
        answer = call(*args)
        if left <= 0:
            die()
        return answer
    return killing

WHERE = {
    "page": (CameraLink, "page"), "fetch": (Sealer, "fetch"), "settle": (payload, "settle"),
    "insert": (Vault, "_insert"), "acknowledge": (CameraLink, "acknowledge"), "delete": (CameraLink, "delete"),
    "note": (Erasure, "note_source_erased"),
}
if point:
    owner, name = WHERE[point.split()[-1]]
    setattr(owner, name, deadly(getattr(owner, name)))
    if " commit " in point:  # a job of a transaction is over before its commit, a transaction after it
        ends = {"before": "_run", "after": "_commit"}[point.split()[0]]
        setattr(Index, ends, deadly_after(getattr(Index, ends)))

state = Path(about["state"])
keystore = Keystore.open(state / "keystore")
index = Index(state / "index.db", key=keystore.index_key())
store = Vault(folder=state, index=index, keystore=keystore)
store.recover()
rules = parse_policy(about["policy"].encode(), file="policy.toml")
now = Moment(agent_ms=about["now_ms"], wall_ms=about["now_ms"], trusted=True)
shown = index.write_now(lambda tx: enrolment.link_identity(tx, moment=now))
(camera,) = index.read_now(enrolment.enrolled)
erasure = Erasure(vault=store, index=index, keystore=keystore, finish=lambda *_: None)

async def main():
    sealer = Sealer()
    await erasure.resume(now)
    flow = ingest.Ingest((), vault=store, sealer=sealer, policy=lambda: rules, now=lambda: now)
    passes = 0

    async def passed(_status):
        nonlocal passes
        passes += 1

    source = CameraSource(
        CameraSettings(name=f"camera-link:{camera.camera}", camera=camera.camera, label=camera.device),
        pinned=Pinned(device=camera.device, kid=camera.kid),
        credentials=shown,
        addresses=lambda: (Address("127.0.0.1", about["port"]),), pairs=False, collects=lambda: True,
        now_ms=lambda: now.agent_ms, on_status=passed, poll_s=0.05,
    )
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(flow.run()), tasks.create_task(flow.collect(source, erasure=erasure))]
        while passes < 4 or flow._under_way:
            await asyncio.sleep(0.01)
        for task in running:
            task.cancel()
    flow.close()
    await sealer.aclose()

asyncio.run(main())
index.close()
"""

TAKING = (
    ("before page", 1), ("before fetch", 1), ("before fetch", 2), ("before settle", 1), ("after settle", 1),
    ("before commit insert", 1), ("after commit insert", 1), ("after commit insert", 2), ("before acknowledge", 1),
    ("after acknowledge", 1), ("after acknowledge", 3),
)  # fmt: skip
DELETING = (
    ("before page", 1), ("after page", 1), ("before delete", 1), ("after delete", 1), ("before delete", 2),
    ("before commit note", 1), ("after commit note", 1), ("after commit note", 2),
)  # fmt: skip


def start(place: Place, point: str, count: int) -> int:
    """Collect once in a process of its own, to be killed at that call; return its exit code."""
    text = "\n".join(
        ["version = 1", "[recipients]", f'owner = ["{place.owner.recipient().to_text()}"]']
        + [f'[category.{name}]\npurpose = "security"\nseal_to = ["owner"]' for name in ("recording", "photo")]
    )
    about = {
        "state": str(place.state), "policy": text, "point": point, "count": count, "port": place.stand.port,
        "now_ms": place.now.agent_ms,
    }  # fmt: skip
    return subprocess.run([sys.executable, "-c", CHILD, json.dumps(about)], check=False, timeout=6 * LIMIT_S).returncode


def opened_again(place: Place) -> None:
    """Open the vault that the process left."""
    place.index = Index(place.state / "index.db", key=Keystore.open(place.state / "keystore").index_key())
    place.vault = Vault(folder=place.state, index=place.index, keystore=place.keystore)
    place.erasure = place.new_erasure()


def files(place: Place) -> set[str]:
    return {path.name for path in (place.state / "objects").iterdir()}


@pytest.mark.parametrize(("point", "count"), TAKING)
def test_killed_while_it_takes_the_next_start_ends_with_each_recording_once(
    place: Place, point: str, count: int
) -> None:
    contents = [os.urandom(150_000), os.urandom(20_000), os.urandom(30)]
    for content in contents:
        place.record(content)
    place.index.close()
    assert start(place, point, count) == -signal.SIGKILL  # else this point was never reached
    clear = [
        path
        for path in place.state.rglob("*")
        if path.is_file() and any(content[:30] in path.read_bytes() for content in contents)
    ]
    assert clear == []
    # What the camera may give up is here.
    opened_again(place)
    given_up = sum(place.card().values())
    assert len(place.objects()) >= given_up
    place.index.close()
    assert start(place, "", 0) == 0
    opened_again(place)
    assert place.contents() == sorted(contents)
    assert list(place.card().values()) == [True, True, True]
    assert files(place) == {item.id for item in place.objects()}


@pytest.mark.parametrize(("point", "count"), DELETING)
def test_killed_while_its_camera_deletes_the_next_start_deletes_the_rest_and_nothing_returns(
    place: Place, point: str, count: int
) -> None:
    for number in range(3):
        place.record(os.urandom(1_000 + number))
    place.collect(place.is_clean())
    place.at = ()
    place.erase(*(item.id for item in place.objects()))
    place.index.close()
    assert start(place, point, count) == -signal.SIGKILL
    assert start(place, "", 0) == 0
    opened_again(place)
    assert place.card() == {}
    assert place.objects() == ()
    assert files(place) == set()
    assert not place.waits()


def test_sealing_process_that_is_killed_while_it_fetches_loses_nothing(place: Place) -> None:
    content = os.urandom(400_000)
    place.record(content)
    place.stand.do(lambda: place.stand.device.faults.add("link-cut"))
    killed: list[int] = []

    def kill_once() -> bool:
        pid = place.sealers[-1].pid
        if not killed and pid is not None:
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)
        return all(place.card().values())

    condition: Callable[[], bool] = kill_once
    place.collect(condition)
    assert killed
    assert place.contents() == [content]
