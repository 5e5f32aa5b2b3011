"""What tests of a device that leaves its owner look at."""

from pathlib import Path

from tests.flow.house import House
from tests.waiting import until


def ended(house: House) -> int:
    """Wait until the agent ended by itself and return its exit code."""
    process = house.process("agent")
    until(lambda: process.poll() is not None, what="the agent to end")
    return house.stop("agent")


def contents_of(folder: Path) -> dict[str, bytes]:
    """Return every file beneath a folder by its path there."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
