"""``privacy-agent export``: what was exported, what was not and why; and no folder of nothing."""

from pathlib import Path

import pytest

from agent.app.alarm import MEANING
from tests.cli.conftest import Device

NOBODY = "a" * 26


def exports_of(device: Device) -> list[Path]:
    folder = device.state / "vault/exports"
    return list(folder.iterdir()) if folder.exists() else []


def damage(device: Device, object_id: str) -> None:
    file = device.state / "vault/objects" / object_id
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("words", [(), (NOBODY,), ("--category", "photo")])
@pytest.mark.parametrize("form", ["objects", "zip"])
def test_export_of_nothing_is_refused_and_leaves_nothing(device: Device, words: tuple[str, ...], form: str) -> None:
    if words:
        device.take_in("front/a.mp4")
    ran = device.agent("export", *words, "--form", form)
    assert ran.code == 1
    assert "nothing of that selection is held" in ran.err
    assert "next: privacy-agent inventory" in ran.err
    assert exports_of(device) == []


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_export_with_an_id_that_is_gone_fails_in_both_forms_of_answer(device: Device, words: tuple[str, ...]) -> None:
    (held,) = device.take_in("front/a.mp4")
    ran = device.agent("export", held, NOBODY, *words)
    assert ran.code == 1
    assert NOBODY in ran.out
    assert "not exported: 1 already gone\n  next: privacy-agent audit show" in ran.err
    assert len(exports_of(device)) == 1


def test_damaged_object_is_said_to_be_damaged_everywhere(device: Device) -> None:
    good, bad = device.take_in("front/a.mp4", "front/b.mp4")
    damage(device, bad)
    ran = device.agent("export")
    assert ran.code == 1
    assert "1 of 2 objects exported" in ran.out
    assert f"{bad}  failed" in ran.out
    assert f"{good}.age" in ran.out
    assert "not exported: 1 damaged, whose bytes are not what was sealed" in ran.err
    assert f"next: {MEANING['corrupt_object'][1]}" in ran.err
    assert [one["code"] for one in device.ok("status", "--json").json["alerts"]] == ["corrupt_object"]
    found = [one for one in device.agent("doctor", "--json").json["findings"] if one["what"] == "alert"]
    assert [(one["verdict"], one["next"]) for one in found] == [("look", MEANING["corrupt_object"][1])]


def test_export_of_damaged_objects_alone_leaves_no_folder_and_suggests_no_opening(device: Device) -> None:
    (bad,) = device.take_in("front/a.mp4")
    damage(device, bad)
    ran = device.agent("export")
    assert ran.code == 1
    assert "privacy-owner open" not in ran.out
    assert f"{bad}  failed" in ran.out
    assert "1 damaged" in ran.err
    assert exports_of(device) == []
    assert device.agent("export", "--json").code == 1


def test_export_is_opened_by_the_command_that_is_shown_into_a_folder_outside_the_vault(
    device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    device.take_in("front/a.mp4")
    shown = device.ok("export").out.partition("open it:  privacy-owner ")[2].split()
    before = exports_of(device)
    ran = device.owner(*shown)
    assert ran.code == 0, ran.err
    assert len(list((tmp_path / "opened").iterdir())) == 1
    assert exports_of(device) == before
