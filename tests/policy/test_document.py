"""A document that a person wrote: every mistake is named with file, line, key and fix, and none is overlooked."""

import tomllib
from collections.abc import Callable
from functools import partial
from typing import Any, SupportsIndex

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent.document import (
    DOCUMENT_BYTES,
    DOTS_MAX,
    DURATION_MAX_MS,
    NUMBER_MAX,
    Lines,
    Table,
    line_of,
    parse_size,
    read_document,
)
from agent.errors import ConfigError

FILE = "policy.toml"
DOCUMENT = """\
# what a person wrote
version = 1
name = "door"
quiet = true
list = ["a", "b"]

[limits]
age = "14d"
size = "200GB"
room = "10%"

[limits.deep]
count = 3

[[source]]
kind = "spool"

[[source]]
kind = "frigate"
path = "/media"

[camera.k3x9.recording]
keep.age = "3d"
"""


def document(text: str = DOCUMENT) -> Table:
    return read_document(text.encode(), file=FILE)


def refused(act: Callable[[], object]) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        act()
    return caught.value


# --- values by name and type


def test_every_kind_of_value_is_handed_out_once() -> None:
    read = document()
    assert read.keys() == ("version", "name", "quiet", "list", "limits", "source", "camera")
    assert (read.take("version", int), read.take("name", str), read.take("quiet", bool)) == (1, "door", True)
    assert read.texts("list") == ("a", "b")
    limits = read.table("limits")
    assert (limits.duration_ms("age"), limits.size_bytes("size")) == (14 * 86_400_000, 200 * 10**9)
    assert limits.share_or_size("room") == (0.1, None)
    deep = limits.table("deep")
    assert deep.take("count", int) == 3
    assert [source.choice("kind", ("spool", "frigate")) for source in read.tables("source")] == ["spool", "frigate"]
    ((camera, of_camera),) = read.table("camera").named_tables()
    ((category, of_category),) = of_camera.named_tables()
    assert (camera, category) == ("k3x9", "recording")
    assert of_category.table("keep").duration_ms("age") == 3 * 86_400_000
    for table in (read, limits, deep, of_camera):
        table.close()


def test_absent_values_read_as_their_default_or_as_nothing() -> None:
    read = document("")
    assert read.take("name", str, "usual") == "usual"
    assert read.choice("kind", ("a", "b"), "b") == "b"
    assert read.texts("list", ["x"]) == ("x",)
    assert (read.duration_ms("age"), read.size_bytes("size")) == (None, None)
    assert read.share_or_size("room") == (None, None)
    assert (read.table("limits").keys(), read.tables("source")) == ((), ())
    assert "name" not in read
    read.close()


@pytest.mark.parametrize(
    ("act", "line", "name", "words"),
    [
        (lambda read: read.take("absent", str), 1, "absent", "is missing"),
        (lambda read: read.take("version", str), 2, "version", "should be a text, not 1"),
        (lambda read: read.take("name", int), 3, "name", "should be a whole number, not 'door'"),
        (lambda read: read.take("quiet", int), 4, "quiet", "should be a whole number, not True"),
        (lambda read: read.take("version", bool), 2, "version", "should be true or false, not 1"),
        (lambda read: read.take("name", list), 3, "name", "should be a list, not 'door'"),
        (lambda read: read.table("name"), 3, "name", "should be a table, not 'door'"),
        (lambda read: read.tables("list"), 5, "list", "should be tables"),
        (lambda read: read.tables("limits"), 7, "limits", "should be a list of tables, not one table"),
        (lambda read: read.choice("name", ("front", "back")), 3, "name", "'door' is not known"),
        (lambda read: read.table("limits").take("age", int), 8, "limits.age", "should be a whole number"),
        (lambda read: read.table("limits").duration_ms("size"), 9, "limits.size", "'200GB' is not a duration"),
        (lambda read: read.table("limits").size_bytes("age"), 8, "limits.age", "'14d' is not a size"),
        (lambda read: read.table("limits").share_or_size("age"), 8, "limits.age", "neither a share nor a size"),
        (lambda read: read.table("limits").take("absent", int), 7, "limits.absent", "is missing"),
        (lambda read: read.table("limits").table("deep").take("count", str), 13, "limits.deep.count", "should be"),
        (lambda read: read.tables("source")[1].take("path", int), 20, "source[1].path", "should be"),
        (lambda read: read.tables("source")[0].take("path", str), 15, "source[0].path", "is missing"),
        (lambda read: read.tables("source")[1].close(), 19, "source[1].kind", "is not a known key"),
        (lambda read: read.close(known=("version",)), 2, "version", "is not a known key"),
        (
            lambda read: read.table("camera").table("k3x9").table("recording").table("keep").close(known=("size",)),
            23,
            "camera.k3x9.recording.keep.age",
            "is not a known key",
        ),
    ],
)  # fmt: skip
def test_mistake_is_named_with_file_line_key_and_fix(
    act: Callable[[Table], object], line: int, name: str, words: str
) -> None:
    error = refused(lambda: act(document()))
    assert error.message.startswith(f"{FILE}:{line}: {name}: "), error.message
    assert words in error.message
    assert error.hint


def test_list_of_other_things_than_texts_is_refused_with_an_example() -> None:
    error = refused(lambda: document('seal_to = ["owner", 7]').texts("seal_to"))
    assert error.message == f"{FILE}:1: seal_to: should be a list of texts"
    assert 'seal_to = ["one", "two"]' in error.hint


def test_what_was_never_asked_for_is_refused_however_deep_it_stands() -> None:
    read = document()
    for key in ("version", "name", "quiet", "list", "limits", "source", "camera"):
        error = refused(lambda: read.close(known=("a", "b")))
        assert f": {key}: is not a known key" in error.message
        assert "use one of: a, b" in error.hint
        read.take(key, type(tomllib.loads(DOCUMENT)[key]))
    read.close()


def test_taken_value_is_not_there_a_second_time() -> None:
    read = document()
    read.take("name", str)
    assert "name" not in read
    assert "is missing" in refused(lambda: read.take("name", str)).message


# --- durations, sizes, shares

UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}


@given(st.integers(min_value=0, max_value=10**9 - 1), st.sampled_from(sorted(UNITS_MS)))
def test_duration_is_its_count_of_units(count: int, unit: str) -> None:
    duration_ms = count * UNITS_MS[unit]
    read = document(f'age = "{count}{unit}"')
    if duration_ms <= DURATION_MAX_MS:
        assert read.duration_ms("age") == duration_ms
    else:  # the day on which it ends could not be written
        assert "is more than a hundred years" in refused(lambda: read.duration_ms("age")).message


UNITS_BYTES = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12} | {
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}  # fmt: skip


@given(st.integers(min_value=0, max_value=10**9 - 1), st.sampled_from(sorted(UNITS_BYTES)), st.sampled_from(["", " "]))
def test_size_is_its_count_of_units_to_the_byte(count: int, unit: str, space: str) -> None:
    assert parse_size(f"{count}{space}{unit}") == count * UNITS_BYTES[unit]


def test_parts_of_a_unit_are_read_and_rounded_down() -> None:
    assert (parse_size("1.5GB"), parse_size("0.001kB"), parse_size("1.5B")) == (1_500_000_000, 1, 1)


@given(st.integers(min_value=0, max_value=99), st.integers(min_value=0, max_value=99))
def test_share_is_a_part_of_the_whole(whole: int, hundredths: int) -> None:
    share, size = document(f'room = "{whole}.{hundredths:02d}%"').share_or_size("room")
    assert size is None
    assert share == pytest.approx((whole + hundredths / 100) / 100)


@pytest.mark.parametrize(
    "text",
    ["", " ", "14", "d", "-1d", "+1d", "1.5d", "14 d", "14D", "1d12h", "14d\n", "٣d", "1e3s", "0x10s", "9999999999s"],
)
def test_text_that_is_no_duration_is_refused(text: str) -> None:
    error = refused(lambda: document(f"age = {text!r}".replace("'", '"')).duration_ms("age"))
    assert "is not a duration" in error.message
    assert '"14d"' in error.hint


@pytest.mark.parametrize(
    "text",
    ["", "GB", "200", "-1GB", "1.2345GB", "200gb", "200Gb", "1 000GB", "1,5GB", "200GB ", "٣GB", "1e3GB", "100%"],
)
def test_text_that_is_no_size_is_refused(text: str) -> None:
    error = refused(lambda: document(f"size = {text!r}".replace("'", '"')).size_bytes("size"))
    assert "is not a size" in error.message
    assert '"512MiB"' in error.hint


@pytest.mark.parametrize("text", ["", "%", "100%", "-5%", "5 %", "1.234%", "ten%", "٣%"])
def test_text_that_is_no_share_is_refused(text: str) -> None:
    assert "neither a share nor a size" in refused(lambda: document(f'room = "{text}"').share_or_size("room")).message


# --- the whole document


@pytest.mark.parametrize(
    ("raw", "line", "words"),
    [
        (b"a = 1\nb = \xff\n", 2, "not UTF-8 text"),
        (b"\xfe\xff", 1, "not UTF-8 text"),
        (b"a = 1\na = 2\n", 2, "Cannot overwrite a value"),
        (b"a = 1\n[b\n", 2, "Expected"),
        (b"a = 1\n\nb =\n", 3, "Invalid value"),
        (b"a = 1\nb = 'open", 2, ""),
        (b"a = 1979-13-45\n", 1, ""),
        (b"a = 1\n\x00 = 2\n", 2, ""),
        (b"a = " + b"9" * 5000, 1, ""),
    ],
)
def test_text_that_is_no_toml_is_refused_on_its_line(raw: bytes, line: int, words: str) -> None:
    error = refused(lambda: read_document(raw, file=FILE))
    assert error.message.startswith(f"{FILE}:{line}: "), error.message
    assert words in error.message
    assert "(at line" not in error.message
    assert error.hint


def test_too_large_or_too_deep_a_document_is_refused() -> None:
    largest = b"#" * DOCUMENT_BYTES
    assert read_document(largest, file=FILE).keys() == ()
    for raw in (largest + b"#", b"a = " + b"[" * 100_000):
        error = refused(partial(read_document, raw, file=FILE))
        assert error.message.startswith(FILE)
        assert error.hint


@pytest.mark.parametrize("shape", ["version{} = 1", "[version{}]", "version = {{ a{} = 1 }}"])
def test_key_of_too_many_parts_is_refused_before_it_is_read(shape: str) -> None:
    raw = f"# {'.' * (DOTS_MAX + 1)}\n{shape.format('.a' * (DOTS_MAX + 1))}\n".encode()
    error = refused(lambda: read_document(raw, file=FILE))
    assert error.message == f"{FILE}:2: more than {DOTS_MAX} dots on one line"
    assert error.hint


def test_table_in_table_where_something_else_should_be_is_refused_by_our_error() -> None:
    deep = f"version{'.a' * DOTS_MAX} = 1"
    assert refused(lambda: document(deep).take("version", int)).message.endswith(
        "should be a whole number, not a table"
    )


@pytest.mark.parametrize("digits", [str(NUMBER_MAX + 1), f"-{NUMBER_MAX + 2}", "0x" + "f" * 9000])
def test_number_that_nothing_can_hold_is_refused(digits: str) -> None:
    assert "is too large a number" in refused(lambda: document(f"count = {digits}").take("count", int)).message
    assert "so large a number" in refused(lambda: document(f"count = {digits}").take("count", str)).message
    assert "so large a number" in refused(lambda: document(f"count = {digits}").number("count")).message


def test_largest_number_is_read() -> None:
    assert document(f"count = {NUMBER_MAX}").take("count", int) == NUMBER_MAX


def test_size_of_no_disk_is_refused() -> None:
    assert "more than any disk" in refused(lambda: document('size = "999999999TB"').size_bytes("size")).message
    assert "more than any disk" in refused(lambda: document('room = "999999999TB"').share_or_size("room")).message


@pytest.mark.parametrize("text", ['"\\u001b[31mred\\nfoo" = 1', f'name = "{"x" * 9000}"', f'"{"x" * 9000}" = 1'])
def test_somebodys_words_are_told_printable_and_bounded(text: str) -> None:
    read = document(text)
    error = refused(lambda: read.take("name", int) if "name" in read else read.close())
    assert error.message.isprintable()
    assert len(error.message) < 500


class Counted(str):
    """A text that tells how often it was cut into lines."""

    __slots__ = ("cuts",)
    cuts: int

    def split(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        self.cuts += 1
        return super().split(sep, maxsplit)


def test_document_is_read_once_for_the_lines_of_all_its_keys() -> None:
    text = Counted(DOCUMENT)
    text.cuts = 0
    lines = Lines(text)
    assert [lines.of(("limits", name)) for name in ("age", "size", "room")] == [8, 9, 10]
    assert text.cuts == 1


PIECES = [
    *("a", "b.c", '"d e"', "=", "= 1", '= "x"', "= [1, 2]", "= 1979-05-27"),
    *("[t]", "[[s]]", "[t.u]", "{ a = 1 }", "'''", '"""', "#", "\n"),
]
TOML = st.lists(st.sampled_from(PIECES), max_size=30).map(" ".join)


@settings(deadline=None)  # three thousand tables in each other take their time on a busy machine
@given(st.binary(max_size=200) | TOML.map(str.encode) | st.text(max_size=100).map(lambda text: text.encode("utf-8")))
@example(b"a = " + b"9" * 5000)
@example(b"a = " + b"[" * 3000)
@example(b"a" + b".a" * 3000 + b" = 1")
def test_any_bytes_are_read_as_a_table_or_refused_by_our_error(raw: bytes) -> None:
    told: list[ConfigError] = []
    try:
        read = read_document(raw, file=FILE)
    except ConfigError as error:
        told.append(error)
    else:
        assert set(read.keys()) == set(tomllib.loads(raw.decode()))
        if read.keys():
            told.append(refused(read.close))
    for one in told:
        assert one.message.startswith(f"{FILE}:")
        assert one.hint


# --- lines

WORDS = st.text("abcdefgh-_", min_size=1, max_size=6)
SHAPES = st.dictionaries(WORDS, st.dictionaries(WORDS, st.integers(), max_size=4), max_size=5)


@given(SHAPES, st.sampled_from(["", "  ", "\t"]), st.booleans())
def test_line_of_any_key_of_any_table_is_found(
    shape: dict[str, dict[str, int]],
    indent: str,
    spaced: bool,  # noqa: FBT001 - hypothesis gives positions
) -> None:
    lines: list[str] = []
    expected: dict[tuple[str, ...], int] = {}
    for table, members in shape.items():
        if spaced:
            lines.extend(("", f"# [{table}] is explained here"))
        lines.append(f"{indent}[{table}]")
        expected[table,] = len(lines)
        for key, value in members.items():
            lines.append(f"{indent}{key} = {value}  # {key} = 7")
            expected[table, key] = len(lines)
    text = "\n".join(lines)
    for path, line in expected.items():
        assert line_of(text, path) == line, path


@given(st.lists(st.dictionaries(WORDS, st.integers(), max_size=4), min_size=1, max_size=6))
def test_line_of_any_key_of_any_member_of_an_array_is_found(members: list[dict[str, int]]) -> None:
    lines: list[str] = ["[before]", "other = 1"]
    expected: dict[tuple[str, ...], int] = {}
    for at, member in enumerate(members):
        lines.append("[[source]]")
        expected[f"source[{at}]",] = len(lines)
        for key, value in member.items():
            lines.append(f"{key} = {value}")
            expected[f"source[{at}]", key] = len(lines)
    text = "\r\n".join(lines)
    for path, line in expected.items():
        assert line_of(text, path) == line, path


@given(st.text(max_size=200), st.lists(st.text(max_size=5), max_size=4).map(tuple))
def test_line_is_always_one_of_the_document(text: str, path: tuple[str, ...]) -> None:
    assert 1 <= line_of(text, path) <= text.count("\n") + 1


def test_dotted_quoted_and_inline_keys_are_found_where_they_stand() -> None:
    text = 'a = 1\nkeep.age = "3d"\n"quoted key" = 2\n[t]\n"x-y" = { deep = 1 }\n'
    places: list[tuple[tuple[str, ...], int]] = [
        (("keep", "age"), 2),
        (("t", "x-y"), 5),
        (("t", "x-y", "deep"), 5),
        (("t",), 4),
        (("t", "absent"), 4),
        (("keep", "absent"), 1),
    ]
    for path, line in places:
        assert line_of(text, path) == line, path


def test_error_about_the_document_itself_is_on_its_first_line() -> None:
    told: Any = document().error("", "is wrong", hint="mend it")
    assert told.message == f"{FILE}:1: the document: is wrong"


@pytest.mark.parametrize(
    ("text", "read", "problem", "hint"),
    [
        ("age = 14", lambda table: table.duration_ms("age"), "14 has no unit, and should be a duration", '"14d"'),
        ("size = 30", lambda table: table.size_bytes("size"), "30 has no unit, and should be a size", '"200GB"'),
        ("room = 2", lambda table: table.share_or_size("room"), "2 has no unit, and should be a share or", '"10%"'),
        ('to = "me"', lambda table: table.texts("to"), "should be a list", 'to = ["me"]'),
        ('n = "3"', lambda table: table.take("n", int), "should be a whole number", "without quotes"),
        ("text = 3", lambda table: table.take("text", str), "should be a text", 'text = "…"'),
        ('text = ["a"]', lambda table: table.take("text", str), "should be a text", "without brackets"),
        ('keep = "3d"', lambda table: table.table("keep"), "should be a table", "keep = { … }"),
    ],
)
def test_value_of_another_type_is_told_how_it_is_written(
    text: str, read: Callable[[Table], object], problem: str, hint: str
) -> None:
    error = refused(lambda: read(document(text)))
    assert problem in error.message
    assert hint in error.hint


def test_text_without_its_quotes_is_told_to_stand_in_them() -> None:
    assert "quotes" in refused(lambda: document("age = 14d")).hint


def test_one_table_where_several_may_stand_is_told_as_it_would_be_written() -> None:
    with pytest.raises(ConfigError) as caught:
        document('[source]\nkind = "spool"\n').tables("source")
    assert caught.value.hint == "write [[source]], for each one"
