"""The check of system calls relies on a life in which one promise comes after the other."""

from pathlib import Path

import pytest

from agent.ingest.flow import Ingest
from agent.ingest.share import Share
from agent.ingest.work import Work
from tests.torture import life
from tests.torture.home import PHOTO, RECORDING, Home


def test_traced_life_takes_one_file_in_after_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A constant was set that had been read before. So files went side by side, and where one of them was just named,
    # its folder not synced yet, the promise of another was taken for a broken one.
    under_way: list[int] = []
    real = Ingest._take

    async def take(self: Ingest, work: Work) -> None:
        under_way.append(self._share(work).under_way)
        await real(self, work)

    monkeypatch.setattr(Ingest, "_take", take)
    monkeypatch.setattr(Share, "__init__", Share.__init__)  # puts it back at the end
    life.one_file_after_another()
    home = Home.make(tmp_path / "home")
    home.fill(1, RECORDING, PHOTO, RECORDING.replace("10-15", "11-15"))
    home.take_in()
    assert under_way == [1, 1, 1]
