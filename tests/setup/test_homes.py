"""What is done in one place is done nowhere else: removals, renames and waits, also by methods that ruff cannot see.

``banned-api`` knows functions of modules; ``path.unlink()`` is a method of whatever ``path`` is, so its name is looked
for. The simulator is not held to it: it plays cameras and clouds that are not durable.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILES = {"agent/files.py", "certs/folder.py"}
HOMES = {
    **dict.fromkeys(("unlink", "rename", "rmdir", "removedirs", "renames", "rmtree", "move", "replace"), FILES),
    "sleep": {"agent/clock.py"},
}
MODULES = {"asyncio", "os", "shutil"}


def done_in(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield (line, name) of what has a home."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in MODULES:
            yield from ((node.lineno, one.name) for one in node.names if one.name in HOMES)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in HOMES:
            # A text's takes two, a struct's and a date's take names; a path's, and that of ``os``, take targets alone.
            of_module = isinstance(node.func.value, ast.Name) and node.func.value.id in MODULES
            if node.func.attr != "replace" or of_module or (len(node.args) == 1 and not node.keywords):
                yield node.lineno, node.func.attr


def test_removals_renames_and_waits_stand_in_their_homes() -> None:
    found = {
        f"{name}:{line}: {what}": name in HOMES[what]
        for folder in ("agent", "certs")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for name in (str(path.relative_to(ROOT)),)
        for line, what in done_in(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert sum(found.values()) > 5, "the homes have them"
    assert [where for where, at_home in found.items() if not at_home] == []


def test_every_way_of_doing_it_is_seen_and_nothing_that_is_named_alike() -> None:
    seen = "p.unlink()\np.rename(q)\np.replace(q)\np.rmdir()\nshutil.rmtree(p)\nos.replace(p, q)\nasyncio.sleep(1)\n"
    imported = "from shutil import rmtree\nfrom asyncio import sleep\n"
    alike = 't.replace("a", "b")\nd.replace(hour=1)\nstructs.replace(s, a=1)\nt.replace("a", "", 1)\n'
    lines = (seen + imported).count("\n")
    assert sorted(line for line, _ in done_in(ast.parse(seen + imported + alike))) == list(range(1, lines + 1))
