"""`docs/promises.md` and the marks of the tests say the same: each promise is proved, by tests that say so."""

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.netns import Network, on_network

ROOT: Final = Path(__file__).resolve().parents[2]
TEXT: Final = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")
LINES: Final = re.findall(r"^\| (.+) \|$", TEXT, re.MULTILINE)
ROWS: Final = {cells[0]: cells[1:] for cells in (line.split(" | ") for line in LINES) if cells[0] != "id"}
NAMED: Final = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
CITED: Final = re.compile(rf"\b({'|'.join(name for name in ROWS if '-' in name)})\b")  # a plain word has other uses


def is_mark(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and ast.unparse(node) == "pytest.mark.promise"


def ids_in(node: ast.AST) -> Iterator[str]:
    """Yield the ids of the marks in a decorator or a list of them, as they are written there."""
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and is_mark(call.func):
            yield ", ".join(map(ast.unparse, [*call.args, *call.keywords]))


class Marks(NamedTuple):
    """The ids that each test of a file is marked with, those of all marks in it, wherever, and how many these are."""

    tests: dict[str, set[str]]
    ids: list[str]
    number: int


def marks_in(path: Path) -> Marks:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    whole: set[str] = set()
    marked: dict[str, set[str]] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark":
            whole |= set(ids_in(node.value))
        elif isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            marked[node.name] = {name for decorator in node.decorator_list for name in ids_in(decorator)}
    tests = {name: ids | whole for name, ids in marked.items()}
    return Marks(tests, list(ids_in(tree)), sum(map(is_mark, ast.walk(tree))))


@functools.cache
def files() -> dict[str, Marks]:
    """Read every file of tests: it takes seconds, which whoever runs none of these tests does not wait for."""
    return {str(path.relative_to(ROOT)): marks_in(path) for path in sorted((ROOT / "tests").rglob("test_*.py"))}


def of_file(path: str) -> dict[str, set[str]]:
    return files()[path].tests if path in files() else {}


def test_every_mark_names_one_promise_of_the_document() -> None:
    found = [(path, written) for path, marks in files().items() for written in marks.ids]
    assert len(found) > 30
    assert [(path, written) for path, written in found if written not in {repr(name) for name in ROWS}] == []


def test_every_mark_is_that_of_tests_and_bears_an_id() -> None:
    for path, marks in files().items():
        assert marks.number == len(marks.ids), f"{path}: a mark without an id"
        used = {written for ids in marks.tests.values() for written in ids}
        assert set(marks.ids) <= used, f"{path}: a mark of what is no test"


def test_mark_is_seen_above_and_beneath_what_gives_a_test_its_network() -> None:
    def test(_net: Network) -> None:
        raise AssertionError("it is not run")

    mark = pytest.mark.usefixtures("tmp_path")
    for marked in (mark(on_network(hosts=0)(test)), on_network(hosts=0)(mark(test))):
        assert vars(marked)["pytestmark"] == [mark.mark]


def test_every_promise_is_proved_by_tests_that_are_marked_with_it() -> None:
    for name, (_, _, proved, _) in ROWS.items():
        tests = NAMED.findall(proved)
        assert tests, name
        marked = {(path, test) for path, test in tests if repr(name) in of_file(path).get(test, ())}
        assert sorted(set(tests) - marked) == [], f"named for {name}, and not there or not marked with it"


def test_every_promise_says_what_is_built_and_what_is_out_of_reach() -> None:
    assert len(ROWS) == len(LINES) - 1, "an id stands there once"
    assert {len(cells) for cells in ROWS.values()} == {4}
    assert [name for name, cells in ROWS.items() if not all(cell.strip() for cell in cells)] == []


def test_promise_is_cited_by_its_mark_and_in_no_other_way() -> None:
    found = {
        f"{path}: {line.strip()}"
        for folder in ("agent", "device_sim", "certs", "tests")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if CITED.search(line) and "pytest.mark.promise(" not in line
    }
    assert found == set()
