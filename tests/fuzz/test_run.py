"""What a run of the fuzzer keeps and tells, without a fuzzer."""

import re
from pathlib import Path

import pytest

from tests.fuzz import __main__ as fuzz
from tests.fuzz.broken import Broken, name_of
from tests.fuzz.dictionary import words_of, written
from tests.fuzz.targets import TARGETS


def raised(raw: bytes) -> Exception:
    """Return what comes of short inputs, and of long ones at another place."""
    try:
        _short(raw)
        _long(raw)
    except (KeyError, IndexError) as error:
        return error
    raise AssertionError(raw)


def _short(raw: bytes) -> None:
    if len(raw) < 4:
        raise IndexError(len(raw))


def _long(raw: bytes) -> None:
    raise KeyError(len(raw))


def test_shortest_input_of_each_place_is_kept_with_its_reason(tmp_path: Path) -> None:
    broken = Broken(tmp_path)
    for raw in (b"12345", b"1234", b"123456", b"12", b"123"):
        broken.keep(raw, raised(raw))
    kept = {broke.raw: broke.why for broke in broken.all()}
    assert set(kept) == {b"1234", b"12"}
    assert "KeyError: 4" in kept[b"1234"]


def test_input_that_ended_the_process_is_told_as_that(tmp_path: Path) -> None:
    (tmp_path / "timeout-0123").write_bytes(b"slow")
    (broke,) = Broken(tmp_path).all()
    assert (broke.raw, "timeout" in broke.why) == (b"slow", True)


def test_words_of_the_examples_are_written_as_the_fuzzer_reads_them() -> None:
    words = words_of([b'{"verb":"delete","a":1}', b'{"verb":"export"}'])
    assert words[0] == b'"verb"'
    assert b'"delete"' in words
    text = written([b'"a\\'])
    assert text == '"\\x22\\x61\\x5c"\n'
    assert re.fullmatch(r'("(\\x[0-9a-f]{2})+"\n)*', written(words))


def test_table_names_every_target_its_sum_and_what_broke() -> None:
    rows = [fuzz.Row("age-file", runs=1200, new_inputs=3), fuzz.Row("json", runs=5, why=["tests/fuzz/found/json/x"])]
    lines = fuzz.table(rows).splitlines()
    assert lines[0].split() == ["target", "runs", "new", "inputs", "crashes"]
    assert [line.split() for line in lines[1:4]] == [
        ["age-file", "1,200", "3", "0"],
        ["json", "5", "0", "1"],
        ["all", "1,205", "3", "1"],
    ]
    assert "json: tests/fuzz/found/json/x" in lines
    assert lines[-1].startswith("next: ")


def test_input_becomes_a_file_of_its_target_named_by_what_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fuzz, "FOUND", tmp_path / "found")
    monkeypatch.setattr(fuzz, "ROOT", tmp_path)
    told = fuzz._kept(TARGETS["json"], b"{", "Traceback\nKeyError: 1\n")
    assert told.splitlines()[0] == f"found/json/{name_of(b'{')}"
    assert told.endswith("KeyError: 1")
    assert (tmp_path / "found" / "json" / name_of(b"{")).read_bytes() == b"{"
