"""`docs/en303645.md` claims what it can show: each row is whole, and each test that it names is there."""

import re
from pathlib import Path
from typing import Final

from tests.docs.test_threat_model import NAMED, functions_in

ROOT: Final = Path(__file__).resolve().parents[2]
TEXT: Final = (ROOT / "docs" / "en303645.md").read_text(encoding="utf-8")
ROWS: Final = [line.split(" | ") for line in re.findall(r"^\| ((?!provision|---).+) \|$", TEXT, re.MULTILINE)]
NOTHING: Final = "\N{EN DASH}"


def test_every_row_is_filled_and_every_no_says_why() -> None:
    assert len(ROWS) > 30
    for provision, status, support, done, evidence, missing in ROWS:
        assert re.fullmatch(r"\d(\.\d+)?-\d+[AB]?", provision), provision
        assert status in {"M", "R", "M C", "R C"}, provision
        assert support in {"yes", "in part", "no", "n/a"}, provision
        assert (done == NOTHING) is (support == "no"), provision
        assert (missing == NOTHING) is (support == "yes") or support == "n/a", provision
        assert evidence != NOTHING or support in {"no", "n/a"}, provision


def test_every_provision_stands_there_once_in_the_standards_order() -> None:
    def place(row: list[str]) -> tuple[list[int], str]:
        return [int(number) for number in re.findall(r"\d+", row[0])], row[0][-1]

    assert [row[0] for row in ROWS] == [row[0] for row in sorted(ROWS, key=place)]
    assert len({row[0] for row in ROWS}) == len(ROWS)


def test_every_test_that_is_evidence_exists() -> None:
    named = NAMED.findall(TEXT)
    assert len(named) > 40
    assert [f"{path}::{name}" for path, name in named if name not in functions_in(path)] == []
