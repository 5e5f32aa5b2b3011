"""SIGKILL before every durable step of ingest, then a start: exactly one object, and the source's copy is gone."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agent.index import Index
from agent.keystore import Keystore
from agent.vault import Vault
from tests.ingest.test_ingest import erase

Home = Any  # the fixture's class; tests are no package

NAME = "front/recording/2026-11-22T10-15-00.000Z_10s.mp4"
LOGS = ("front/usage-log/2026-11-22T10-00-00.000Z.jsonl", "front/usage-log/2026-11-22T11-00-00.000Z.jsonl")

# A whole agent process that takes in once and kills itself just before the named call is made for the nth time, or
# just before or after the commit that it is in: how many writes share one differs from run to run, so none is counted.
CHILD = """
import asyncio, os, signal, sys
from pathlib import Path
from agent import bookmark, ingest, payload
from agent.index import Index
from agent.keystore import Keystore
from agent.model import Moment
from agent.policy import parse_policy
from agent.sealer import Sealer
from agent.sources import SourceSettings
from agent.sources.root import Root
from agent.vault import Vault

state, spool, policy, point, count = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5])
left = count
after = sys.argv[6]

def deadly(call):
    def killing(*args, **kwargs):
        global left
        left -= 1
        if left == 0 and " commit of " not in point:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*args, **kwargs)
    return killing

def deadly_after(call):
    def killing(*args):
        answer = call(*args)
        if left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer
    return killing

WHERE = {
    "seal": (Sealer, "seal"), "settle": (payload, "settle"), "sync_folder": (payload, "sync_folder"),
    "insert": (Vault, "_insert"), "give_up": (Root, "give_up"), "mark": (Vault, "mark_source_gone"),
    "bookmark": (bookmark, "keep"), "acknowledged": (ingest.Ingest, "_acknowledged"),
}
if point != "none":
    when, _, step = point.rpartition(" commit of ")
    owner, name = WHERE[step]
    setattr(owner, name, deadly(getattr(owner, name)))
    if when:  # a job of a transaction is over before its commit, a transaction after it
        ends = {"before": "_run", "after": "_commit"}[when]
        setattr(Index, ends, deadly_after(getattr(Index, ends)))

keystore = Keystore.open(state / "keystore")
index = Index(state / "index.db", key=keystore.index_key())
store = Vault(folder=state, index=index, keystore=keystore)
store.recover()
settings = SourceSettings(name="spool", kind="spool", path=spool, medium="disk", after=after)
rules = parse_policy(policy.encode(), file="policy.toml")
now = Moment(agent_ms=1_800_000_000_000, wall_ms=1_800_000_000_000, trusted=True)

async def main():
    sealer = Sealer()
    flow = ingest.Ingest((settings,), vault=store, sealer=sealer, policy=lambda: rules, now=lambda: now)
    await flow.scan_once()
    flow.close()
    await sealer.aclose()

asyncio.run(main())
index.close()
"""

POINTS = (
    ("seal", 2), ("settle", 1), ("sync_folder", 1), ("insert", 2), ("give_up", 1), ("give_up", 3), ("mark", 1),
    ("before commit of insert", 1), ("before commit of insert", 2), ("before commit of mark", 1),
    ("after commit of insert", 1), ("after commit of insert", 2), ("after commit of mark", 1),
)  # fmt: skip


def start(home: Home, point: str, count: int, *, after: str = "take") -> int:
    """Take in once in a process of its own, to be killed at that call; return its exit code."""
    policy = "\n".join(
        ["version = 1", "[recipients]", f'owner = ["{home.owner.recipient().to_text()}"]']
        + [f'[category.{name}]\npurpose = "security"\nseal_to = ["owner"]' for name in ("recording", "usage-log")]
    )
    arguments = [sys.executable, "-c", CHILD, str(home.state), str(home.spool), policy, point, str(count), after]
    return subprocess.run(arguments, check=False, timeout=60).returncode


def opened_again(home: Home) -> None:
    """Open the vault that the process left."""
    home.index = Index(home.state / "index.db", key=Keystore.open(home.state / "keystore").index_key())
    home.vault = Vault(folder=home.state, index=home.index, keystore=home.keystore)


@pytest.mark.parametrize(("point", "count"), POINTS)
def test_killed_before_a_step_the_next_start_ends_with_each_object_once(home: Home, point: str, count: int) -> None:
    content = os.urandom(150_000)
    home.put(NAME, content)
    home.put(LOGS[0], b'{"n":1}\n')
    home.put(LOGS[1], b'{"n":2}\n')
    home.close()
    assert start(home, point, count) == -signal.SIGKILL  # else this point was never reached
    clear = [path for path in home.state.rglob("*") if path.is_file() and content[:64] in path.read_bytes()]
    assert clear == []
    assert start(home, "none", 0) == 0
    opened_again(home)
    assert sorted(home.opened(item) for item in home.objects()) == sorted([content, b'{"n":1}\n{"n":2}\n'])
    assert home.left() == []
    assert home.left_over() == ()
    assert {path.name for path in (home.state / "objects").iterdir()} == {item.id for item in home.objects()}


@pytest.mark.parametrize("names", [(NAME,), LOGS])
def test_file_that_replaced_the_one_a_cut_left_behind_is_sealed_too(home: Home, names: tuple[str, ...]) -> None:
    # The start took whatever had the name, size and time of what was acknowledged for its copy, and removed it unread.
    def write(word: bytes) -> None:
        for number, name in enumerate(names):
            os.utime(home.put(name, b'{"%d":"%s"}\n' % (number, word)), ns=(10**18, 10**18))

    write(b"one")
    home.close()
    assert start(home, "give_up", 1) == -signal.SIGKILL
    assert len(home.left()) == len(names)
    write(b"two")
    assert start(home, "none", 0) == 0
    assert home.left() == []
    assert start(home, "none", 0) == 0
    opened_again(home)
    wanted = [b"".join(b'{"%d":"%s"}\n' % (number, word) for number in range(len(names))) for word in (b"one", b"two")]
    assert sorted(home.opened(item) for item in home.objects()) == wanted
    assert home.left_over() == ()


GROWING_POINTS = (
    ("seal", 1), ("settle", 1), ("sync_folder", 1), ("insert", 1), ("bookmark", 1), ("before commit of bookmark", 1),
    ("after commit of bookmark", 1), ("acknowledged", 1),
)  # fmt: skip


@pytest.mark.parametrize("rotated", [False, True])
@pytest.mark.parametrize(("point", "count"), GROWING_POINTS)
def test_killed_while_a_growing_log_is_taken_no_line_is_lost_or_comes_twice_or_comes_back(
    home: Home, point: str, count: int, *, rotated: bool
) -> None:
    log = home.put("front/usage-log/camera.jsonl", b'{"n":1}\n{"n":2}\n')
    home.scan(home.settings(after="leave"))
    erase(home, home.only().id)
    with log.open("ab") as writer:
        writer.write(b'{"n":3}\n')
    home.close()
    assert start(home, point, count, after="leave") == -signal.SIGKILL
    with log.open("ab") as writer:
        writer.write(b'{"n":4}\n')
    if rotated:
        log.rename(log.with_name("camera.jsonl.1"))
        log.write_bytes(b'{"n":5}\n')
    assert start(home, "none", 0, after="leave") == 0
    opened_again(home)
    lines = [line for item in home.objects() for line in home.opened(item).splitlines()]
    assert sorted(lines) == [b'{"n":%d}' % n for n in ((3, 4, 5) if rotated else (3, 4))]


def test_sealed_with_a_killed_process_is_admitted_all_the_same(home: Home) -> None:
    content = os.urandom(1_000_000)
    home.put(NAME, content)

    async def run() -> None:
        flow = home.ingest()
        sealer = home.sealers[-1]
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(flow.scan_once())
                tasks.create_task(asyncio.to_thread(_kill_child_of, os.getpid()))
        finally:
            flow.close()
            await sealer.aclose()

    asyncio.run(run())
    assert home.opened(home.only()) == content


def _kill_child_of(parent: int) -> None:
    """Kill the sealing process as soon as there is one."""
    for _ in range(100_000):
        for task in Path(f"/proc/{parent}/task").iterdir():
            children = (task / "children").read_text(encoding="ascii").split()
            if children:
                os.kill(int(children[0]), signal.SIGKILL)
                return
    raise AssertionError("no sealing process was started")
