"""`docs/erasure-statement.md` says what the code does: its headings, figures, steps and the tests that it names."""

import ast
import re
from pathlib import Path
from typing import Any, Final, get_args, get_type_hints

from agent import erasure, keystore, keytree
from agent.element import DEFAULT_COUNTER, wear
from agent.keystore import Keystore

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "erasure-statement.md").read_text(encoding="utf-8")
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")

# What the sample statement of NIST SP 800-88 asks a vendor for.
HEADINGS: Final = [
    "Key generation",
    "Media encryption",
    "Key level and wrapping",
    "Data areas addressed",
    "Key life-cycle",
    "Key sanitisation technique",
    "Key escrow and injection",
    "Error handling",
    "Interface",
]


def section(heading: str) -> str:
    return TEXT.split(f"{heading}\n", 1)[1].split("\n## ", 1)[0]


def functions_in(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_headings_are_those_that_are_asked_for_in_their_order() -> None:
    assert re.findall(r"^## \d+\. (.+)$", TEXT, re.MULTILINE) == HEADINGS


def test_every_heading_but_the_areas_names_tests_and_each_is_there() -> None:
    assert [heading for heading in HEADINGS if not NAMED.search(section(heading))] == ["Data areas addressed"]
    assert [f"{path}::{name}" for path, name in NAMED.findall(TEXT) if name not in functions_in(path)] == []


def test_figures_are_those_of_the_code() -> None:
    keys = section("Key generation")
    assert f"{keytree.KEY_BYTES} bytes, those of objects {keytree.SLOT_KEY_BYTES} bytes" in keys
    assert f"at most {keytree.GROUP_SLOTS} of them" in section("Key level and wrapping")
    technique = section("Key sanitisation technique")
    first, second = keystore.SLOT_OFFSETS
    assert f"both slots of {keystore.SLOT_BYTES} bytes, {(second - first) >> 20} MiB apart" in technique
    assert f"{wear.ENDURANCE:,} writes" in technique
    assert f"{wear.BURST:,} times at once and once an hour" in technique
    assert wear.PAUSE_MS == 3_600_000
    assert f"{wear.BURST + wear.LIFE_MS // wear.PAUSE_MS:,} raises in ten years" in technique
    assert f"every {wear.ANCHOR_MS // wear.PAUSE_MS} hours" in section("Key life-cycle")


def test_steps_are_those_that_the_keystore_quotes() -> None:
    documented = keystore.__doc__ or ""
    (steps,) = re.findall(r"^    (1 .+)$", documented, re.MULTILINE)
    assert f"in four steps: {steps}." in section("Key life-cycle")
    code = (ROOT / "agent" / "keystore.py").read_text(encoding="utf-8")
    assert re.findall(r"self\._at\((\d)\)", code) == re.findall(r"\d", steps)
    assert set(re.findall(r"# Step (\d)\.", code)) == set(re.findall(r"\d", steps))


def test_every_word_of_protection_is_explained() -> None:
    getter: Any = Keystore.protection
    words = get_args(get_type_hints(getter.fget)["return"])
    assert sorted(re.findall(r"^\| `(\w+)` \| a file", TEXT, re.MULTILINE)) == sorted(words)


def test_remark_of_clear_blocks_is_the_codes() -> None:
    assert f"`{erasure._BLOCKS_REMAIN}`" in section("Data areas addressed")


def test_operating_shows_the_counter_that_is_usual() -> None:
    assert f"counter = {DEFAULT_COUNTER:#010x}" in (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
