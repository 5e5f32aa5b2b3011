"""A promise is kept by code, and its tests see it: with the code that keeps it switched off each of them fails.

One file for each promise, `PROMISE.toml`, with a table for each mutation: the file, the text in it that is replaced
(`old`, which stands there once) by what (`new`), and the test of `docs/promises.md` that fails then. Each test that the
document names for a promise has one at least.
"""

import ast
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue
from typing import Final

import msgspec
import pytest

from tests.docs.test_promises import NAMED, ROWS
from tests.promises.tree import ROOT, Mutation, Tree

HERE: Final = Path(__file__).resolve().parent
FILES: Final = sorted(HERE.glob("*.toml"))
FOUND: Final = [
    (path, mutation)
    for path in FILES
    for mutation in msgspec.toml.decode(path.read_bytes(), type=dict[str, list[Mutation]])["mutation"]
]

AT_ONCE: Final = 6
"""A test that fails mostly waits for what does not come."""


def test_every_promise_has_mutations_in_a_file_of_its_name() -> None:
    assert {path.stem for path in FILES} == set(ROWS)
    assert {path.stem for path, mutation in FOUND if path.stem != mutation.promise} == set()


def test_every_test_that_the_document_names_has_a_mutation_of_its_promise_and_no_other_test_has() -> None:
    named = {(name, f"{path}::{test}") for name, cells in ROWS.items() for path, test in NAMED.findall(cells[2])}
    broken = {(mutation.promise, mutation.test.partition("[")[0]) for _, mutation in FOUND}
    assert sorted(named - broken) == [], "nothing is known that these would notice"
    assert sorted(broken - named) == [], "no promise says that it is proved by these"


def test_every_mutation_changes_what_is_there_and_leaves_python_behind() -> None:
    for _path, mutation in FOUND:
        text = (ROOT / mutation.file).read_text(encoding="utf-8")
        assert text.count(mutation.old) == 1, mutation
        assert mutation.file.startswith("agent/")
        ast.parse(text.replace(mutation.old, mutation.new))


@pytest.mark.parametrize("program", [(), ("-I",)], ids=["a program", "a process of the agent"])
def test_copy_runs_its_own_agent(tmp_path: Path, program: tuple[str, ...]) -> None:
    with Tree(tmp_path) as tree:
        told = Path(tree.where(*program))
    assert told == tmp_path / "project" / "agent" / "__init__.py"


def test_unchanged_copy_passes_with_no_more_patience_than_a_changed_one_has(tmp_path: Path) -> None:
    with Tree(tmp_path) as tree:
        told = tree.run("tests/flow/test_thread.py::test_recording_lives_and_dies_with_proof[mosquitto]")
    assert (told.passed, told.failed, told.broken) == (1, 0, 0), told.said


@pytest.mark.long
def test_promise_that_nothing_keeps_any_more_fails_its_test(tmp_path: Path) -> None:
    trees: SimpleQueue[Tree] = SimpleQueue()

    def judge(mutation: Mutation) -> str:
        tree = trees.get()
        try:
            with tree.mutated(mutation):
                told = tree.run(mutation.test)
        finally:
            trees.put(tree)
        return "" if told.failed and not told.broken else f"{mutation} is not seen:\n{told.said}"

    with ExitStack() as stack, ThreadPoolExecutor(AT_ONCE) as pool:
        for number in range(AT_ONCE):
            (tmp_path / str(number)).mkdir()
            trees.put(stack.enter_context(Tree(tmp_path / str(number))))
        unseen = [said for said in pool.map(judge, [mutation for _, mutation in FOUND]) if said]
    assert not unseen, "\n".join(unseen)
