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


def test_provisions_that_software_beside_a_camera_answers_for_all_stand_there() -> None:
    """Of Table B.1: what is mandatory, and what is recommended of software, data and its life."""
    wanted = """5.0-1 5.1-1 5.2-1 5.4-1 5.4-3 5.4-4 5.5-1 5.5-5 5.5-7 5.5-8 5.6-1 5.6-2 5.6-4A 5.7-1 5.7-2 5.8-2 5.8-3
        5.9-1 5.9-2 5.9-3 5.10-1 5.11-1 5.11-2 5.11-3 5.11-4 5.13-1A 5.13-1B 6-1 6-2 6-3A 6-3B 6-4 6-5 6-6 6-7 6-8"""
    assert set(wanted.split()) - {row[0] for row in ROWS} == set()


def test_policy_of_disclosure_names_a_way_and_times() -> None:
    told = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    assert "security advisories" in told
    assert re.search(r"within \d+ working days", told)
