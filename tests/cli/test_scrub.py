"""``privacy-agent scrub``: what is damaged is named here and everywhere, with where else it is."""

import asyncio
import json
import re

from agent.damage import replace
from agent.model import new_id
from tests.cli.conftest import Device
from tests.cli.test_export import damage
from tests.waiting import until


def test_scrub_of_a_sound_vault_says_so_and_status_says_when(device: Device) -> None:
    assert "read again  not yet" in device.ok("status").out
    device.take_in("front/a.mp4", "front/b.mp4")
    ran = device.ok("scrub")
    assert ran.out.startswith("2 objects read, ")
    assert ran.out.rstrip().endswith(": none is damaged")
    assert "read again  2 objects, " in device.ok("status").out
    assert device.ok("scrub", "--json").json["damaged"] == 0


def test_damaged_object_is_named_by_scrub_status_inventory_and_explain(device: Device) -> None:
    good, bad = device.take_in("front/a.mp4", "front/b.mp4")
    damage(device, bad)
    ran = device.agent("scrub")
    assert ran.code == 1
    lost = "its bytes are not those that were sealed. Neither a store nor its source is known to have it."
    assert f"  {bad}  {lost}" in ran.out
    assert good not in ran.out
    assert "privacy-agent: damaged: 1\n  next: check the disk: smartctl -a; " in ran.err
    assert "privacy-agent explain ID" in ran.err
    assert "privacy-agent scrub" not in ran.err, "it was just that"

    told = device.ok("status", "--json").json
    assert [one["id"] for one in told["scrub"]["objects"]] == [bad]
    assert [one["code"] for one in told["alerts"]] == ["corrupt_object"]
    assert "DAMAGED     1 object, neither exported nor uploaded" in device.ok("status").out
    held = {one["id"]: one for one in device.ok("inventory", "--json").json["objects"]}
    assert held[bad]["damaged"]["what"] == "changed"
    assert "damaged" not in held[good]
    assert lost in device.ok("explain", bad).out
    assert lost not in device.ok("explain", good).out


def test_named_object_is_looked_at_alone(device: Device) -> None:
    good, bad = device.take_in("front/a.mp4", "front/b.mp4")
    damage(device, bad)
    assert device.ok("scrub", good).out.startswith("1 object read, ")
    assert device.ok("scrub", good, good).out.startswith("1 object read, "), "named twice, it is one"
    ran = device.agent("scrub", bad, "--json")
    assert (ran.code, ran.json["damaged"]) == (1, 1)
    assert [one["id"] for one in ran.json["objects_damaged"]] == [bad]
    nobody = new_id()
    ran = device.agent("scrub", nobody, good, "nope")
    assert ran.code == 1
    assert ran.out.startswith("1 object read, ")
    assert f"not held here: {nobody}, nope\n  next: privacy-agent inventory" in ran.err


def test_copy_that_is_put_back_makes_it_whole_and_its_owner_hears_of_both(device: Device) -> None:
    """The running agent does it by itself once the copy is there."""
    content = bytes(range(256)) * 40
    device.put("front/recording/2026-11-22T10-15-00.000Z_10s.mp4", content)
    (bad,) = device.take_in()
    damage(device, bad)
    with device.running():
        assert device.agent("scrub").code == 1
        device.put("front/recording/2026-11-22T10-15-00.000Z_10s.mp4", content)
        until(lambda: not device.ok("status", "--json").json["scrub"]["damaged"], what="the object whole again")
        assert [one["id"] for one in device.ok("inventory", "--json").json["objects"]] == [bad]
    assert device.ok("scrub").out.rstrip().endswith("none is damaged")
    kinds = [json.loads(line).get("kind") for line in device.ok("audit", "show").out.splitlines()]
    assert kinds.count("corrupt_object") == kinds.count("mended") == 1


def test_damaged_object_is_deleted_by_its_owner(device: Device) -> None:
    (bad,) = device.take_in("front/a.mp4")
    damage(device, bad)
    assert device.agent("scrub").code == 1
    command = device.folder / "delete.jws"
    assert device.owner("delete", bad, "--yes", "--out", command).code == 0
    assert "done" in device.ok("submit", command).out
    assert device.ok("scrub").out.startswith("0 objects read, ")


def test_what_is_in_quarantine_is_not_exported_before_it_was_looked_at_again(device: Device) -> None:
    (bad,) = device.take_in("front/a.mp4")
    file = device.state / "vault/objects" / bad
    whole = file.read_bytes()
    damage(device, bad)
    assert device.agent("scrub").code == 1
    file.write_bytes(whole)
    assert f"{bad}  failed" in device.agent("export").out
    assert device.ok("scrub", bad).out.rstrip().endswith("none is damaged, 1 whole again")
    assert device.ok("export").out.startswith("1 of 1 object exported")


def test_start_puts_a_whole_payload_in_place_that_a_cut_left_beside_the_damaged_one(device: Device) -> None:
    (bad,) = device.take_in("front/a.mp4")
    file = device.state / "vault/objects" / bad
    whole, name = file.read_bytes(), new_id()
    damage(device, bad)
    assert device.agent("scrub").code == 1

    async def cut() -> None:
        async with device.parts() as parts:
            await parts.index.write(lambda tx: replace(tx, bad, name))
            file.with_name(name).write_bytes(whole)

    asyncio.run(cut())
    assert device.ok("status", "--json").json["scrub"]["damaged"] == 0
    assert [path.name for path in file.parent.iterdir()] == [bad]
    assert file.read_bytes() == whole


def test_object_that_cannot_be_read_now_is_named_as_in_doubt_everywhere(device: Device) -> None:
    good, away = device.take_in("front/a.mp4", "front/b.mp4")
    (device.state / "vault" / "objects" / away).rename(device.folder / "away")
    ran = device.agent("scrub")
    assert ran.code == 1
    assert f"  {away}  its file is not there, now. It is looked at again in an hour." in ran.out
    assert good not in ran.out
    assert "privacy-agent: not readable now: 1\n  next: " in ran.err
    told = device.agent("scrub", away, "--json").json
    assert [one["id"] for one in told["objects_in_doubt"]] == [away]
    assert told["objects_damaged"] == []
    assert "its file is not there, then." in device.ok("explain", away).out
    assert "in doubt" not in device.ok("explain", good).out
    held = {one["id"]: one for one in device.ok("inventory", "--json").json["objects"]}
    assert held[away]["in_doubt"]["what"] == "missing"
    assert "in_doubt" not in held[good]
    assert "in doubt" in device.ok("inventory").out
    assert re.search(
        r"^damage +look +not readable when that was tried last: 1 object", device.ok("doctor").out, re.MULTILINE
    )


def test_doctor_finds_a_damaged_object_though_its_owner_has_heard_of_it(device: Device) -> None:
    (bad,) = device.take_in("front/a.mp4")
    damage(device, bad)
    assert "damage " not in device.agent("doctor").out
    assert device.agent("scrub").code == 1
    ran = device.agent("doctor", "--json")
    assert ran.code == 1
    (found,) = [one for one in ran.json["findings"] if one["what"] == "damage"]
    assert (found["verdict"], "not what was sealed" in found["told"]) == ("bad", True)
