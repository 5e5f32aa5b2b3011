"""Whoever can write into a spool may try to fill memory; what is remembered of folders and lines has an end."""

import asyncio
from pathlib import Path

import pytest

from agent.sources import Candidate, FolderSource, SourceSettings, folder


def test_folders_that_come_and_go_are_not_remembered_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "QUIET_MAX", 40)
    settings = SourceSettings(name="spool", kind="spool", path=tmp_path, medium="disk", settle_s=0.01)
    source = FolderSource(settings, on_refusal=lambda _refusal: None)

    async def nothing(_offered: tuple[Candidate, ...]) -> None:
        return None

    async def all_of(candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        return candidates

    async def churn() -> None:
        source.open()
        source._watch()
        for round_of in range(10):
            names = [tmp_path / f"{round_of}-{number}" for number in range(10)]
            for name in names:
                name.mkdir()
            await source.scan(nothing, all_of)
            for name in names:
                name.rmdir()
            source._drain()
        source.close()

    asyncio.run(churn())

    assert 0 < len(source._quiet) <= 40
