"""Each defence that `docs/threat-model.md` claims names tests that are there."""

import ast
import functools
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


@functools.cache
def functions_in(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds)}


def test_every_test_that_a_defence_names_exists() -> None:
    named = NAMED.findall(TEXT)
    assert len(named) > 40
    assert [f"{path}::{name}" for path, name in named if name not in functions_in(path)] == []


def test_every_defence_names_a_test() -> None:
    rows = re.findall(r"^\| (?!defence|---)(.+?) \|$", TEXT, re.MULTILINE)
    defences = [row for row in rows if not row.startswith("-")]
    assert len(defences) > 30
    assert [row for row in defences if not NAMED.search(row)] == []


def test_every_threat_says_what_is_not_defended_or_has_a_table() -> None:
    parts = re.split(r"^## \d+\. ", TEXT, flags=re.MULTILINE)[1:]
    assert len(parts) == 11
    assert all("| defence | proved by |" in part for part in parts)
