"""A real vault and sealing process, and a simulated camera with its link on loopback."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.camera.place import Place


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A paired camera and the agent's side of it."""
    made = Place(tmp_path)
    with made.stand:
        made.pair()
        yield made
    made.close()
