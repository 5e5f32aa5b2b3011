"""Every target, and the inputs that once broke one: ``found/TARGET/`` holds them, each a small file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.fuzz import answers, cameras, documents, heard, kept, logs, messages, peers, processes, sealed
from tests.fuzz.target import Target

FOUND: Final = Path(__file__).resolve().parent / "found"

_MODULES: Final = (sealed, messages, answers, heard, cameras, documents, logs, processes, peers, kept)

TARGETS: Final[dict[str, Target]] = {target.name: target for module in _MODULES for target in module.TARGETS}
MODULE_OF: Final = {target.name: module.__name__ for module in _MODULES for target in module.TARGETS}
"""Where a target stands: a worker loads no other, which takes its time."""


def found(target: Target) -> Iterator[Path]:
    """Yield the files of the inputs that broke it once."""
    yield from sorted((FOUND / target.name).glob("*"))
