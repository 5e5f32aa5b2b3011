"""One vault for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ingest.conftest import Home
from tests.scrub.scene import Scene


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path / "vault")
    yield made
    made.close()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """One agent's folder with a source beside it."""
    place = Home(tmp_path)
    yield place
    place.close()
