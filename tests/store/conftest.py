"""One vault for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.store.home import Home


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    opened = Home(tmp_path / "vault")
    yield opened
    opened.close()
