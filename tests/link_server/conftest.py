"""One camera with its link, paired with one agent; and somebody else."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.link_server.stand import Caller, Stand


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    with Stand(tmp_path / "camera") as made:
        yield made


@pytest.fixture
def agent(tmp_path: Path, stand: Stand) -> Caller:
    made = Caller(tmp_path / "agent")
    stand.pair(made)
    return made


@pytest.fixture
def other(tmp_path: Path) -> Caller:
    return Caller(tmp_path / "other")
