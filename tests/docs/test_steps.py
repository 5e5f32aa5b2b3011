"""The numbered procedures stand in docs/design.md alone: what the code says of them is held to it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

INGEST = "Ingest, numbered"
FORGETTING = "Forgetting, numbered"
DAMAGE = "Looking for damage, numbered"


def steps(heading: str) -> dict[int, str]:
    """Return number and name of each step of a procedure."""
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    section = text.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return {
        int(number): name.lower() for number, name in re.findall(r"^(\d+)\. \*\*(.+?)\.\*\*", section, re.MULTILINE)
    }


@pytest.mark.parametrize(
    ("heading", "module"),
    [
        (INGEST, "agent/vault.py"),
        (INGEST, "agent/ingest/__init__.py"),
        (FORGETTING, "agent/erasure.py"),
        (DAMAGE, "agent/scrub/__init__.py"),
    ],
)
def test_code_names_the_steps_as_the_design_does(heading: str, module: str) -> None:
    docstring = (ROOT / module).read_text(encoding="utf-8").split('"""')[1]
    (line,) = [line for line in docstring.splitlines() if line.startswith("    1 ")]
    named = dict(each.split(" ", 1) for each in line.strip().split(" · "))
    assert {int(number): name for number, name in named.items()} == steps(heading)
    assert list(steps(heading)) == list(range(1, len(named) + 1))


@pytest.mark.parametrize(
    ("heading", "modules"),
    [
        (INGEST, ("agent/vault.py", "agent/payload.py", *(f"agent/ingest/{n}.py" for n in ("flow", "giving_up")))),
        (FORGETTING, ("agent/erasure.py",)),
    ],
)
def test_step_that_the_code_quotes_is_one_of_the_design(heading: str, modules: tuple[str, ...]) -> None:
    quoted = [
        int(number)
        for module in modules
        for number in re.findall(r"\b[Ss]teps? (\d+)", (ROOT / module).read_text(encoding="utf-8"))
    ]
    assert quoted, "the numbers are quoted somewhere"
    assert set(quoted) <= steps(heading).keys()


def test_step_of_looking_for_damage_that_the_code_quotes_is_one_of_the_design_and_each_is_quoted() -> None:
    modules = ("agent/vault.py", "agent/scrub/flow.py")
    quoted = {
        int(number) for module in modules for number in re.findall(r"\bS(\d)\b", (ROOT / module).read_text("utf-8"))
    }
    assert quoted == steps(DAMAGE).keys()
