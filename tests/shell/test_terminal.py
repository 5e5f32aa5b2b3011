"""What a person at a terminal sees: tables that fit, a line that changes and goes, and in a pipe nothing of either."""

from pathlib import Path

import pytest

from agent.age import generate_identity
from tests.cli.conftest import Device, device, made, shell
from tests.screen import on_screen

__all__ = ["device", "made", "shell"]  # fixtures

BAR_FROM_BYTES = 128 * 1024 * 1024


@pytest.mark.parametrize("columns", [40, 80])
def test_inventory_fits_a_narrow_terminal_with_every_id_whole(device: Device, columns: int) -> None:
    ids = device.take_in("front_door/a.mp4", "front_door/b.jpg")
    code, shown = on_screen("privacy-agent", "inventory", "--config", device.config, columns=columns)
    assert code == 0
    lines = shown.splitlines()
    assert max(map(len, lines)) <= columns
    assert [line.split()[0] for line in lines if line.split()[:1] and line.split()[0] in ids] == ids
    assert " ".join(shown.split()).count(" until ") == len(ids)
    assert "\x1b" not in shown


def test_inventory_is_one_line_each_where_there_is_room_and_in_a_pipe(device: Device) -> None:
    ids = device.take_in("front_door/a.mp4", "front_door/b.jpg")
    _code, wide = on_screen("privacy-agent", "inventory", "--config", device.config, columns=300)
    piped = device.ok("inventory").out
    assert [line.split()[0] for line in wide.splitlines()[1:3]] == ids
    assert piped == wide


def test_doctor_breaks_its_words_and_keeps_the_column_of_verdicts(device: Device) -> None:
    device.take_in("front_door/a.mp4")
    code, shown = on_screen("privacy-agent", "doctor", "--config", device.config, columns=72)
    table = shown.partition("\n\n")[0].splitlines()
    assert code == 0
    assert max(len(line) for line in table if "/" not in line) <= 72  # a path stays whole, to be copied
    at = table[0].index("verdict")
    assert {line[at : at + 4] for line in table[1:]} <= {"good", "look", "    "}
    assert "    " in {line[at : at + 4] for line in table[1:]}, "nothing was long enough to be broken"


@pytest.mark.parametrize("columns", [40, 80])
def test_status_and_explain_break_between_words_under_what_they_tell(device: Device, columns: int) -> None:
    (one,) = device.take_in("front_door/a.mp4")
    code, explained = on_screen("privacy-agent", "explain", one, "--config", device.config, columns=columns)
    assert code == 0
    assert max(map(len, explained.splitlines())) <= columns
    assert explained.split() == device.ok("explain", one).out.split()
    code, status = on_screen("privacy-agent", "status", "--config", device.config, columns=columns)
    assert code == 0
    assert max(map(len, status.splitlines())) <= columns
    names = [line.split("  ")[0] for line in device.ok("status").out.splitlines()]
    assert [line.split("  ")[0] for line in status.splitlines() if not line.startswith(" ")] == names


@pytest.mark.parametrize("columns", [40, 60])
def test_owners_tables_fit_too(device: Device, columns: int) -> None:
    # A key's id has 43 letters and stays whole, so that it can be copied; the screen breaks it.
    code, shown = on_screen("privacy-owner", "--home", device.home, "client", "list", columns=columns)
    assert code == 0
    assert max(len(line) for line in shown.splitlines() if not line.strip().startswith("KEY ")) <= columns
    assert "  VERBS  delete export" in shown
    piped = device.owner("client", "list")
    (verbs,) = (key["verbs"] for key in device.owner("client", "list", "--json").json["keys"])
    assert piped.out.rstrip().endswith(" ".join(verbs)), "none is cut off: a refusal sends here to look"


def test_question_is_broken_between_words(device: Device) -> None:
    code, shown = on_screen(
        "privacy-owner", "--home", device.home, "erase-all", "--out", device.folder / "c", columns=60, typed=b"no\n"
    )
    assert code == 2
    asked = shown.partition("Type yes:")[0].splitlines()[1:]
    assert len(asked) > 1
    assert max(map(len, asked)) <= 60
    assert " ".join(asked).startswith("Erase EVERYTHING of yours on "), shown
    assert "without an owner?" in " ".join(" ".join(asked).split())


def test_sentences_on_a_policy_are_broken_between_words_and_indented(device: Device) -> None:
    code, shown = on_screen("privacy-agent", "policy", "explain", "--config", device.config, columns=50)
    assert code == 0
    assert max(map(len, shown.splitlines())) <= 50
    assert shown.split() == device.ok("policy", "explain").out.split()
    assert {line[:2] for line in shown.splitlines() if not line.startswith(("category.", "the whole device"))} == {"  "}


def test_nothing_of_what_others_get_is_cut_off(device: Device) -> None:
    told = {one["kind"]: one for one in device.ok("integrations", "--json").json["integrations"]}
    _code, narrow = on_screen("privacy-agent", "integrations", "--config", device.config, columns=60)
    for shown in (device.ok("integrations").out, narrow):
        words = " ".join(shown.split())
        assert all(f"{one['purpose']} \N{MIDDLE DOT} gets {one['gets']}" in words for one in told.values())


@pytest.mark.parametrize("columns", [20, 40, 80])
def test_bar_of_long_work_is_never_wider_than_the_terminal_and_is_gone_at_its_end(tmp_path: Path, columns: int) -> None:
    with (tmp_path / "long").open("wb") as file:
        file.truncate(BAR_FROM_BYTES)
    recipient = generate_identity(post_quantum=False).recipient().to_text()
    words = ("privacy-agent", "encrypt", "-r", recipient, "-o", "/dev/null", tmp_path / "long")
    code, shown = on_screen(*words, columns=columns)
    drawn = shown.split("\r")
    assert code == 0
    assert len(drawn) > 50
    assert max(map(len, drawn)) < columns
    assert drawn[-3].startswith(("[" + "#" * 28 + "] 100 %")[: columns - 1])
    assert drawn[-2].strip() == drawn[-1] == ""
    assert len(drawn[-2]) >= max(map(len, drawn))


def test_short_work_and_work_in_a_pipe_show_no_bar(tmp_path: Path, device: Device) -> None:
    (tmp_path / "short").write_bytes(b"clip")
    with (tmp_path / "long").open("wb") as file:
        file.truncate(BAR_FROM_BYTES)
    recipient = generate_identity(post_quantum=False).recipient().to_text()
    words = ("encrypt", "-r", recipient, "-o", "/dev/null")
    assert on_screen("privacy-agent", *words, tmp_path / "short", columns=80) == (0, "")
    ran = device.shell("privacy-agent", *words, tmp_path / "long")
    assert (ran.code, ran.out, ran.err) == (0, "", "")


def test_export_shows_how_far_it_is_on_a_terminal_and_nothing_of_it_with_json(device: Device) -> None:
    device.take_in("front_door/a.mp4", "front_door/b.jpg")
    words = ("privacy-agent", "export", "--config", device.config)
    code, shown = on_screen(*words, columns=80)
    assert code == 0
    assert "\r100%  2 of 2" in shown
    code, shown = on_screen(*words, "--json", columns=80)
    assert code == 0
    assert "\r" not in shown


def test_changing_line_is_cut_cleaned_and_erased(tmp_path: Path) -> None:
    program = """\
from agent.shell.terminal import LiveLine
line = LiveLine()
line.show('front \\x1b[2Jdoor ' + 'x' * 100)
line.show('short')
line.clear()
line.clear()
"""
    (tmp_path / "program.py").write_text(program)
    _code, shown = on_screen("python", tmp_path / "program.py", columns=30)
    first, second, erased, end = shown.removeprefix("\r").split("\r")
    assert first == "front \N{REPLACEMENT CHARACTER}[2Jdoor " + "x" * 14
    assert second == "short".ljust(len(first))
    assert erased == " " * len("short")
    assert end == ""


def test_live_table_is_cut_to_the_screen_while_it_changes_and_whole_at_its_end() -> None:
    code = (
        "from agent.shell.terminal import LiveTable; table = LiveTable(); "
        "text = chr(10).join(f'row {n}.' for n in range(60)); table.show(text); table.show(text); table.end()"
    )
    _code, shown = on_screen("python", "-c", code, columns=80)
    *_, last_drawn, whole = shown.split("\x1b[49F")
    assert "12 more lines: make the window higher, or see them all after Ctrl-C" in last_drawn
    assert "row 59." not in last_drawn
    assert [f"row {n}." in whole for n in range(60)] == [True] * 60
    assert "more lines" not in whole
