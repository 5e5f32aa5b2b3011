"""``privacy-agent run``: what it asks of its own process while it starts, and once it is ready."""

import subprocess
import sys

from tests.cli.conftest import Device

STARTED = """
import gc, sys
from agent.app import running
from agent.cli import main

run = running.run

async def told(config, *, stop, ready, **others):
    def and_stop():
        ready()
        print("ready", gc.isenabled(), gc.get_freeze_count() > 0, flush=True)
        stop.set()
    print("begins", gc.isenabled(), flush=True)
    await run(config, stop=stop, ready=and_stop, **others)

running.run = told
print("before", gc.isenabled())
sys.exit(main(["run", "--config", sys.argv[1]]))
"""
"""The agent as it is, which says how it is with its garbage, and stops once it is ready."""


def test_garbage_is_looked_for_once_the_agent_is_ready_and_not_while_it_starts(device: Device) -> None:
    argv = [sys.executable, "-c", STARTED, str(device.config)]
    ran = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True, timeout=60)
    assert ran.stdout.splitlines() == ["before True", "begins False", "ready True True"]
