"""What shell commands print: text from outside draws nothing on a terminal, and columns line up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.shell.layout import CELL_MAX, clean, counted, printable, size, table

HOSTILE = ["\x1b[2J", "a\r\nb", "\u202egpj.exe", "\x9b31m", "\x00", "\x7f", "tab\t"]


@given(st.text())
def test_name_from_outside_draws_nothing_on_a_terminal(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert len(shown) == len(text)
    assert printable(shown) == shown


@pytest.mark.parametrize("hostile", HOSTILE)
def test_escape_is_replaced_and_the_rest_stays(hostile: str) -> None:
    shown = printable("front " + hostile)
    assert shown.startswith("front ")
    assert "\N{REPLACEMENT CHARACTER}" in shown
    assert not set("\x1b\r\n\u202e\x9b\x00\x7f\t") & set(shown)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_no_cell_of_a_table_steers_the_terminal(hostile: str) -> None:
    assert all(line.isprintable() for line in table([(hostile, hostile)], head=("first", "last")).splitlines())
    assert len(table([(hostile, hostile)], head=("first", "last")).splitlines()) == 2


def test_long_cell_pushes_no_other_column_away() -> None:
    long = "x" * 500
    (row,) = table([(long, long)], head=("first", "last")).splitlines()[1:]
    assert row.index("  ") == CELL_MAX
    assert row.endswith(long)


def test_columns_line_up_under_their_head() -> None:
    shown = table([("a", "1"), ("longer", "1000")], head=("name", "size"), right=(1,)).splitlines()
    assert shown == ["name    size", "a          1", "longer  1000"]


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (12_400_000, "12.4 MB"), (5e15, "5000.0 TB")],
)
def test_size_is_readable(count: float, shown: str) -> None:
    assert size(count) == shown


ROWS = (
    ("a2b", "front door", "1 kB", "category.recording.keep.age"),
    ("c3d", "", "2 kB", "kept because a hold says so"),
)
HEAD = ("id", "camera", "size", "rule")


def test_one_is_one() -> None:
    assert [counted(number) for number in (0, 1, 2)] == ["0 objects", "1 object", "2 objects"]
    assert counted(1, "rule") == "1 rule"


def test_table_that_fits_its_screen_is_as_in_a_pipe() -> None:
    whole = table(ROWS, head=HEAD, right=(2,))
    width = max(map(len, whole.splitlines()))
    assert table(ROWS, head=HEAD, right=(2,), columns=width) == whole
    assert table(ROWS, head=HEAD, right=(2,), columns=width - 1) != whole


def test_last_column_is_broken_between_words_under_itself() -> None:
    shown = table((("clock", "look", "unsure: ages advance by the boot clock"),), head=("what", "is", ""), columns=40)
    assert shown.splitlines() == [
        "what   is",
        "clock  look  unsure: ages advance by the",
        "             boot clock",
    ]


def test_row_that_is_too_wide_becomes_a_block_without_its_empty_cells() -> None:
    shown = table(ROWS, head=HEAD, right=(2,), columns=30)
    assert shown.splitlines() == [
        "id  a2b",
        "  camera  front door",
        "  size    1 kB",
        "  rule    category.recording.keep.age",
        "",
        "id  c3d",
        "  size  2 kB",
        "  rule  kept because a hold",
        "        says so",
    ]


@given(
    st.lists(st.lists(st.text(max_size=70), min_size=3, max_size=3), max_size=4),
    st.integers(min_value=1, max_value=200),
)
def test_no_width_breaks_a_word_or_lets_one_steer(rows: list[list[str]], columns: int) -> None:
    shown = table(rows, head=("one", "two", "three"), columns=columns)
    assert all(line.isprintable() for line in shown.split("\n"))
    for *others, last in rows:
        words = [*(word for cell in others for word in clean(cell).split()), *printable(last).split()]
        assert [word for word in words if word not in shown] == []
