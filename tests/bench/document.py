"""The document that a run becomes: machine, table, what missed, and how it was measured (in the words of each part)."""

import importlib
from collections.abc import Mapping, Sequence
from typing import Final

from tests.bench.table import Figure, markdown

_METHODS: Final = (
    "encrypting", "uploading", "resting", "answering", "taking_in", "discovering", "hearing", "proving", "enrolled",
    "streaming", "scaling",
)  # fmt: skip
_HEAD: Final = """\
# Benchmarks

Written by `python -m tests.bench --write docs/benchmarks.md`; `make bench` prints the same table. Every figure was
measured in one run beside its peers, in turns, so that whatever else the machine did fell on all of them: read the
ratios before the absolute numbers. Nothing here is a test: a figure that misses its target says so.
"""


def document(about: Mapping[str, str], figures: Sequence[Figure]) -> str:
    """Return the Markdown."""
    missed = [figure for figure in figures if figure.holds is False]
    lines = [_HEAD, "## Machine", ""]
    lines += [f"- {name}: {value}" for name, value in about.items()]
    lines += ["", "## Figures", "", markdown(figures), "", "## Missed in this run", ""]
    lines += [f"- {one.part}, {one.what}: target {one.target}" for one in missed] or ["Nothing."]
    lines += ["", "## How it was measured", ""]
    for name in _METHODS:
        module = importlib.import_module(f"tests.bench.{name}")
        lines += [f"### {module.PART}", "", (module.__doc__ or "").strip().replace("``", "`"), ""]
    return "\n".join(lines)
