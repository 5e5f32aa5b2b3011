"""Every target, and the inputs that once broke one: ``found/TARGET/`` holds them, each a small file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.fuzz import answers, cameras, documents, heard, logs, messages, sealed
from tests.fuzz.target import Target

FOUND: Final = Path(__file__).resolve().parent / "found"

TARGETS: Final[dict[str, Target]] = {
    target.name: target
    for module in (sealed, messages, answers, heard, cameras, documents, logs)
    for target in module.TARGETS
}


def found(target: Target) -> Iterator[Path]:
    """Yield the files of the inputs that broke it once."""
    yield from sorted((FOUND / target.name).glob("*"))
