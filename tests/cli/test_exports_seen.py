"""An export that lies on the device is seen: by whoever sits at it and by its owner, with when it goes."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from agent.app import inventory as listing
from agent.clock import parse_rfc3339_ms
from agent.policy.values import EXPORT_AGE_MS
from tests.cli.conftest import Device

MADE = "--category", "export"


@pytest.fixture
def exported(device: Device) -> tuple[Device, str, list[str]]:
    """A device with two objects and one export of both."""
    ids = device.take_in("front/a.mp4", "front/b.mp4")
    return device, device.ok("export", "--json").json["object"], ids


def owner_asks(device: Device, folder: Path, *words: object) -> dict[str, Any]:
    """Give a command as a file and return the checked receipt."""
    cmd, answer = folder / f"cmd-{len(list(folder.iterdir()))}.jws", folder / "answer.bin"
    asked = device.owner(*words, "--out", cmd)
    assert asked.code == 0, asked.err
    device.agent("submit", cmd, "-o", answer)
    read = device.owner("receipt", answer, "--json")
    assert read.code == 0, read.err
    (receipt,) = json.loads(read.out)
    found: dict[str, Any] = receipt
    return found


def test_inventory_status_and_explain_show_an_export_and_when_it_goes(exported: tuple[Device, str, list[str]]) -> None:
    device, export, ids = exported
    told = device.ok("inventory", "--json").json
    assert [item["id"] for item in told["objects"]] == ids
    (seen,) = told["exports"]
    assert (seen["id"], seen["objects"], seen["category"], seen["rule"]) == (
        export,
        2,
        "export",
        "category.export.keep.age",
    )
    assert seen["bytes"] == sum(path.stat().st_size for path in (device.state / "vault/exports" / export).iterdir())
    assert parse_rfc3339_ms(seen["until"]) - parse_rfc3339_ms(seen["taken_in"]) == EXPORT_AGE_MS
    assert [one.startswith("age1") for one in seen["recipients"]] == [True]
    assert export in device.ok("inventory").out

    assert device.ok("status", "--json").json["exports"] == {"count": 1, "bytes": seen["bytes"]}
    assert re.search(r"^exports +1, ", device.ok("status").out, re.MULTILINE)

    explained = device.ok("explain", export, "--json").json
    assert explained["until"] == seen["until"]
    assert explained["folder"] == str(device.state / "vault/exports" / export)
    text = device.ok("explain", export).out
    assert "export of 2 objects" in text
    assert re.search(r"^can read +owner, to whom it is sealed$", text, re.MULTILINE)
    held = device.ok("explain", ids[0]).out
    assert re.search(r"^name +front/[ab]\.mp4$", held, re.MULTILINE)
    assert re.search(r"^can read +owner, to whom it is sealed", held, re.MULTILINE)
    assert re.search(rf"^copy +export {export}: sealed to owner, until ", held, re.MULTILINE)
    assert "by category.export.keep.age" in text
    copies = device.ok("explain", ids[0], "--json").json["copies"]
    told = {"where": f"export {export}", "state": "sealed", "until": seen["until"], "readers": ["owner"]}
    assert told in copies


def test_selection_of_exports_lists_them_alone_and_one_of_objects_does_not(
    exported: tuple[Device, str, list[str]],
) -> None:
    device, export, ids = exported
    for words in (MADE, (export,)):
        told = device.ok("inventory", *words, "--json").json
        assert (told["objects"], [one["id"] for one in told["exports"]], told["missing"]) == ([], [export], [])
    assert device.ok("inventory", ids[0], "--json").json["exports"] == []
    assert device.ok("inventory", "--category", "recording", "--json").json["exports"] == []


def test_owner_s_inventory_lists_exports_and_a_delete_s_receipt_names_them(
    exported: tuple[Device, str, list[str]], tmp_path: Path
) -> None:
    device, export, ids = exported
    told = {one["id"]: one for one in owner_asks(device, tmp_path, "inventory", "--all")["outcomes"]}
    assert sorted(told) == sorted([export, *ids])
    assert told[export]["object"] == device.ok("inventory", "--json").json["exports"][0]
    (alone,) = owner_asks(device, tmp_path, "inventory", *MADE)["outcomes"]
    assert alone["id"] == export

    (gone,) = owner_asks(device, tmp_path, "delete", ids[0], "--yes")["outcomes"]
    assert "export_copy_remains" in gone["remarks"]
    assert gone["exports"] == [export]
    shown = device.owner("receipt", tmp_path / "answer.bin").out
    assert f"export {export} still holds copies; remove it:\n  privacy-owner delete {export} --out FILE\n" in shown

    (removed,) = owner_asks(device, tmp_path, "delete", export, "--yes")["outcomes"]
    assert removed["result"] == "deleted"
    (other,) = owner_asks(device, tmp_path, "delete", ids[1], "--yes")["outcomes"]
    assert other["exports"] == []
    assert device.ok("inventory", "--json").json["exports"] == []


def test_explain_tells_of_the_copy_of_what_is_gone_here(
    exported: tuple[Device, str, list[str]], tmp_path: Path
) -> None:
    # It said that no such object is held here, and nothing of the copy.
    device, export, ids = exported
    (before,) = [one for one in device.ok("explain", ids[0], "--json").json["copies"] if "export" in one["where"]]
    owner_asks(device, tmp_path, "delete", ids[0], "--yes")
    told = device.ok("explain", ids[0], "--json").json
    assert (told["state"], told["copies"], told["exports"]) == ("in_exports", [before], [export])
    shown = device.ok("explain", ids[0]).out
    assert re.search(rf"^copy +export {export}: sealed to owner, until ", shown, re.MULTILINE)
    assert re.search(rf"^remove them +privacy-owner delete {export}$", shown, re.MULTILINE)
    (asked,) = owner_asks(device, tmp_path, "inventory", ids[0])["outcomes"]
    assert (asked["result"], asked["remarks"]) == ("already_gone", ["export_copy_remains"])
    assert asked["exports"] == [export]
    owner_asks(device, tmp_path, "delete", export, "--yes")
    assert device.agent("explain", ids[0]).code == 1


def test_more_exports_than_an_answer_holds_are_counted(
    exported: tuple[Device, str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    device, export, ids = exported
    device.ok("export", ids[0])
    monkeypatch.setattr(listing, "EXPORTS_LISTED_MAX", 1)
    told = device.ok("inventory", "--json").json
    assert ([one["id"] for one in told["exports"]], told["more_exports"]) == ([export], 1)
    assert "and 1 newer ones" in device.ok("inventory").out
