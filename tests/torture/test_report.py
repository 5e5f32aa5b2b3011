"""The page gets the table of the run that was made, and keeps what people wrote around it."""

from pathlib import Path

import pytest

from tests.torture import report
from tests.torture.report import BEGIN, END, Ran
from tests.torture.sweep import Row


def a_run() -> Ran:
    rows = [
        Row("hold", "kill before", points=9, tried=4, fired=4),
        Row("hold", "kill after", points=9, tried=2, fired=2, lost=1, wrong=["hold: I2 it is gone"]),
        Row("start after hold", "EIO once", points=9, tried=3, fired=3, residue=32),
        Row("retain", "power cut", points=9, tried=5, fired=5),
    ]
    bugs = {"no fsync": "hold: power cut", "no tombstone": ""}
    return Ran(
        seed=7,
        repeat="make torture LONG=1 POINTS=5 SEED=7",
        rows=rows,
        bugs=bugs,
        trace=[],
        at_ms=1_800_000_000_000,
        seconds=90.0,
        cpu_seconds=80.0,
    )


def test_page_gets_one_line_for_each_mode_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold table\n{END}\nafter\n")
    report.write(a_run(), page)
    lines = page.read_text().splitlines()
    assert (lines[0], lines[1], lines[-2], lines[-1]) == ("before", BEGIN, END, "after")
    assert "old table" not in lines
    assert "| kill | 6 | 6 | 1 | 0 | 0 |" in lines
    assert "| I/O error | 3 | 3 | 0 | 0 | 32 |" in lines
    assert "| power cut | 5 | 5 | 0 | 0 | 0 |" in lines
    assert "| all | 14 | 14 | 1 | 0 | 32 |" in lines
    assert "Seeded mistakes found: 1 of 2. Findings: 2. Lives: hold, retain." in lines
    assert any(line.startswith("`make torture LONG=1 POINTS=5 SEED=7`, 2027-01-15, commit ") for line in lines)


def test_page_without_marks_is_left_as_it_is(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("no mark\n")
    with pytest.raises(SystemExit, match="has not the two lines"):
        report.write(a_run(), page)
    assert page.read_text() == "no mark\n"
