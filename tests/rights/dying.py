"""A device that takes a policy and is killed: before each statement of its index in turn, and behind the last commit.

Each death is one of a process, in a copy of the same folder; a first run, which lives to its end, writes down which
statements there are. The copies lie in ``into``: ``done`` of that run, ``adopting`` of the one that is killed behind
the commit before anything else, and one by the number of each statement that did not happen any more.
"""

import asyncio
import gc
import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from agent.app.alarm import Alarm
from agent.app.parts import Parts, opened
from agent.app.proposing import propose_file
from agent.clock import Reading
from agent.config import parse_config
from tests.app.station import DEVICE, START_S

Prepare = Callable[[Parts], None]


def die(*_: object, **_named: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def take(folder: Path, command: bytes | None, prepare: Prepare, end: Callable[[], None]) -> None:
    """Take a command, or the policy file where there is none."""
    config = parse_config(f'device = "{DEVICE}"\nstate = "state"\n'.encode(), file=folder / "agent.toml")
    reading = Reading(wall_ms=START_S * 1000, boot_ms=60_000, boot_id="one", synchronised=True)
    async with opened(config, read_clock=lambda: reading) as parts:
        prepare(parts)
        if command is None:
            await propose_file(parts, Alarm(index=parts.index, trust=parts.trust, outbox=parts.outbox))
        else:
            await parts.commands.submit(command, moment=parts.now())
        end()


def each_statement(parts: Parts, note: Callable[[str], None]) -> None:
    def trace(_cursor: object, sql: str, _bindings: object) -> bool:
        note(sql)
        return True

    parts.index._connection.exec_trace = trace


def before(number: int) -> Prepare:
    """Die before the statement of this number."""

    def prepare(parts: Parts) -> None:
        seen = iter(range(number))

        def note(_sql: str) -> None:
            if next(seen, None) is None:
                die()

        each_statement(parts, note)

    return prepare


def adopting(parts: Parts) -> None:
    parts.ratchet._adopt = die


def _copy(source: str, target: str) -> None:
    if source.endswith(".ballast"):
        os.link(source, target)  # megabytes of nothing
    else:
        shutil.copyfile(source, target)
        shutil.copymode(source, target)


def run(home: Path, folder: Path, command: bytes | None, prepare: Prepare, end: Callable[[], None]) -> int:
    """Return how the process that took it ended, as ``subprocess`` tells it."""
    shutil.copytree(home, folder, copy_function=_copy)
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        asyncio.run(take(folder, command, prepare, end))
    except BaseException:  # noqa: BLE001 - whatever it is, no second process goes on as the first
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def die_everywhere(home: Path, into: Path, command: bytes | None) -> None:
    gc.freeze()  # what was imported is looked through in no copy of this process
    statements: list[str] = []
    told = into / "statements.json"

    def end() -> None:
        told.write_text(json.dumps(statements))
        die()

    ends = {"done": run(home, into / "done", command, lambda parts: each_statement(parts, statements.append), end)}
    ends["adopting"] = run(home, into / "adopting", command, adopting, lambda: None)
    for number in range(len(json.loads(told.read_text()))):
        ends[str(number)] = run(home, into / str(number), command, before(number), lambda: None)
    (into / "ends.json").write_text(json.dumps(ends))


if __name__ == "__main__":
    die_everywhere(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]).read_bytes() if sys.argv[3:] else None)
