"""``privacy-agent inventory``: what is held, and never "nothing" for a selection that could not mean anything."""

import pytest

from agent.app import inventory as listing
from agent.cli import asking
from tests.cli.conftest import Device

NOBODY = "a" * 26


def test_empty_vault_holds_nothing(device: Device) -> None:
    ran = device.agent("inventory")
    assert (ran.code, ran.out, ran.err) == (0, "Nothing is held.\n", "")


def test_selection_that_matches_nothing_is_not_said_to_be_all(device: Device) -> None:
    device.take_in("front/a.mp4")
    for words in (("--category", "photo"), ("--from", "2001-01-01", "--to", "2001-01-02")):
        ran = device.agent("inventory", *words)
        assert (ran.code, ran.out, ran.err) == (0, "Nothing of that selection is held.\n", "")


def test_id_that_is_not_held_is_named_and_fails_beside_one_that_is(device: Device) -> None:
    (held,) = device.take_in("front/a.mp4")
    ran = device.agent("inventory", held, NOBODY, "nope")
    assert ran.code == 1
    assert held in ran.out
    assert f"privacy-agent: not held here: {NOBODY}, nope\n  next: " in ran.err
    told = device.agent("inventory", held, NOBODY, "--json")
    assert told.code == 1
    assert [item["id"] for item in told.json["objects"]] == [held]
    assert told.json["missing"] == [NOBODY]
    alone = device.agent("inventory", NOBODY)
    assert (alone.code, alone.out) == (1, "Nothing of that selection is held.\n")


@pytest.mark.parametrize("verb", ["inventory", "export"])
def test_camera_that_nobody_knows_is_said_to_be_unknown(device: Device, verb: str) -> None:
    device.take_in("front/a.mp4")
    ran = device.agent(verb, "--camera", "nope")
    assert ran.code == 1
    assert "no camera 'nope' is known" in ran.err
    assert "next: " in ran.err


@pytest.mark.parametrize("verb", ["inventory", "export"])
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--from", "2026-03-02", "--to", "2026-03-01"), "from is not before to"),
        (("--from", "2026-03-02", "--to", "2026-03-02"), "from is not before to"),
        (("--from", "yesterday"), "'yesterday' is not a time"),
        ((NOBODY, "--category", "photo"), "ids stand alone"),
    ],
)
def test_selection_that_cannot_mean_anything_is_wrong_usage(
    device: Device, verb: str, words: tuple[str, ...], message: str
) -> None:
    ran = device.agent(verb, *words)
    assert ran.code == 2
    assert message in ran.err
    assert "next: " in ran.err


def test_camera_is_listed_by_the_id_that_the_policy_and_the_option_take(device: Device) -> None:
    device.take_in("front/a.mp4", "back/b.mp4")
    camera = next(
        item["camera"] for item in device.ok("inventory", "--json").json["objects"] if item["camera_label"] == "back"
    )
    assert f"  {camera} back  " in device.ok("inventory").out
    ran = device.ok("inventory", "--camera", camera, "--json")
    assert [item["camera_label"] for item in ran.json["objects"]] == ["back"]
    assert f"camera {camera} back" in device.ok("explain", ran.json["objects"][0]["id"]).out


def test_inventory_is_in_the_order_of_capture_and_says_where_it_is_not_all(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"front/recording/2026-03-{day:02}T10-15-00.000Z_10s.mp4" for day in (9, 3, 7, 1, 5, 8, 2)]
    device.take_in(*names)
    told = device.ok("inventory", "--json").json
    assert [one["name"] for one in told["objects"]] == sorted(one["name"] for one in told["objects"])
    assert told["more"] is False
    few = device.ok("inventory", "--from", "2026-03-05", "--to", "2026-03-08", "--json").json
    assert len(few["objects"]) == 2
    monkeypatch.setattr(listing, "LISTED_MAX", 2)
    monkeypatch.setattr(asking, "LISTED_MAX", 4)
    ran = device.agent("inventory", "--json")
    assert (ran.code, len(ran.json["objects"]), ran.json["more"]) == (1, 4, True)
    assert "this is not all" in ran.err
    assert "next: " in ran.err
