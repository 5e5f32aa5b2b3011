"""What shell commands print: names from outside draw nothing on a terminal, and columns line up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cli.layout import printable, size, table, time


@given(st.text())
def test_name_from_outside_draws_nothing_on_a_terminal(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert len(shown) == len(text)
    assert printable(shown) == shown


@pytest.mark.parametrize("hostile", ["\x1b[2J", "a\r\nb", "\u202egpj.exe", "\x9b31m", "\x00", "\x7f", "tab\t"])
def test_escape_is_replaced_and_the_rest_stays(hostile: str) -> None:
    shown = printable("front " + hostile)
    assert shown.startswith("front ")
    assert "\N{REPLACEMENT CHARACTER}" in shown
    assert not set("\x1b\r\n\u202e\x9b\x00\x7f\t") & set(shown)


def test_columns_line_up_under_their_head() -> None:
    shown = table([("a", "1"), ("longer", "1000")], head=("name", "size"), right=(1,)).splitlines()
    assert shown == ["name    size", "a          1", "longer  1000"]


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (12_400_000, "12.4 MB"), (5e15, "5000.0 TB")],
)
def test_size_is_readable(count: float, shown: str) -> None:
    assert size(count) == shown


def test_time_loses_its_noise() -> None:
    assert time("2026-03-01T10:15:00.000Z") == "2026-03-01 10:15:00"
