"""What is on its way out, and what only a store has, is told as that, alike by every question."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agent.app.living import Offline
from agent.app.parts import Parts
from agent.app.verbs import table
from agent.index import Tx
from agent.model import Selection
from agent.owner import show
from agent.owner.receipt import Told
from tests.app.station import Station
from tests.app.test_verbs import keep, nothing
from tests.cli.conftest import Device
from tests.cli.test_exports_seen import owner_asks

NAMES = ("front/a.mp4", "front/b.mp4")
STORE = "s" * 43


def stored(tx: Tx, parts: Parts, ids: list[str]) -> None:
    """Have a store confirm objects."""
    for n, object_id in enumerate(ids):
        upload, _iat_s = parts.vault.begin_upload(tx, object_id, moment=parts.now())
        parts.vault.set_manifest(tx, upload, f"{n:064x}", store=STORE, moment=parts.now())
        parts.vault.note_stored(tx, upload, region="eu", stated_by=STORE, epoch="e", moment=parts.now())


async def expire(parts: Parts, ids: list[str]) -> None:
    """Have a store confirm objects, and retention begin to end this device's own copies of them."""
    await parts.index.write(lambda tx: stored(tx, parts, ids))
    await parts.erasure.begin(ids, rule="category.recording.keep.age", moment=parts.now())


def expired(device: Device) -> list[str]:
    ids = device.take_in(*NAMES)

    async def act() -> None:
        async with device.parts() as parts:
            await expire(parts, ids)
            await parts.erasure.resume(parts.now())

    asyncio.run(act())
    return ids


def test_copy_that_only_a_store_has_is_listed_as_that_by_every_question(device: Device, tmp_path: Path) -> None:
    ids = expired(device)
    told = device.ok("inventory", "--json").json
    assert {(one["id"], one["state"], one["camera_label"]) for one in told["objects"]} == {
        (id_, "at_store", "front") for id_ in ids
    }
    assert told["objects"] == sorted(told["objects"], key=lambda one: (one["captured_from"], one["id"]))
    shown = device.ok("inventory").out
    assert "2 objects at the store only, " in shown
    assert "kept there until a delete" in shown
    assert device.ok("inventory", ids[0]).code == 0
    explained = device.ok("explain", ids[0]).out
    assert "store, region eu: stored" in explained
    assert f"privacy-owner delete {ids[0]}" in explained
    status = device.ok("status")
    assert "holds       0 objects" in status.out
    assert "store only  2 objects, " in status.out
    answers = owner_asks(device, tmp_path, "inventory", "--all")["outcomes"]
    assert [(one["id"], one["result"], one["object"]["state"]) for one in answers] == [
        (id_, "listed", "at_store") for id_ in sorted(ids)
    ]
    assert [without_copies(one) for one in answers] == sorted(told["objects"], key=lambda one: one["id"])
    assert {one["object"]["copies"][0]["where"] for one in answers} == {"store, region eu"}


def test_copy_that_a_store_confirmed_has_the_size_of_the_whole_payload(device: Device) -> None:
    """No acknowledgement is noted of one that is confirmed within a moment: the owner read ``"bytes": 0`` of it."""
    (held, sending) = device.take_in(*NAMES)

    async def act() -> None:
        async with device.parts() as parts:
            await parts.index.write(lambda tx: stored(tx, parts, [held]))
            await parts.index.write(lambda tx: parts.vault.begin_upload(tx, sending, moment=parts.now()))

    asyncio.run(act())
    copies = [device.ok("explain", one, "--json").json["copies"][1] for one in (held, sending)]
    size = (device.state / "vault" / "objects" / held).stat().st_size
    assert copies == [
        {"where": "store, region eu", "state": "stored", "bytes": size},
        {"where": "store", "state": "sending", "bytes": 0},
    ]


def test_copy_in_an_export_of_what_only_a_store_has_is_told_by_whoever_tells_of_copies(
    device: Device, tmp_path: Path
) -> None:
    # The store alone was named.
    (gone, _) = device.take_in(*NAMES)
    export = device.ok("export", gone, "--json").json["object"]

    async def act() -> None:
        async with device.parts() as parts:
            await expire(parts, [gone])
            await parts.erasure.resume(parts.now())

    asyncio.run(act())
    copies = device.ok("explain", gone, "--json").json["copies"]
    assert [one["where"] for one in copies] == ["store, region eu", f"export {export}"]
    (told,) = owner_asks(device, tmp_path, "inventory", gone)["outcomes"]
    assert told["object"]["copies"] == copies


def without_copies(one: dict[str, Any]) -> dict[str, Any]:
    """Return what a receipt tells of an object but where its copies are, which only ``explain`` tells here."""
    return {name: value for name, value in one["object"].items() if name != "copies"}


@pytest.mark.parametrize("select", [{"all": True}, {"category": "recording"}, {"ids": []}], ids=str)
def test_what_is_being_erased_is_one_story_for_owner_and_device(tmp_path: Path, select: dict[str, Any]) -> None:
    station = Station(tmp_path)

    async def act() -> None:
        async with station.parts() as parts:
            ids = sorted([(await keep(parts)).id for _ in range(3)])
            await expire(parts, ids)
            own = {name: ids if name == "ids" else value for name, value in select.items()}
            verbs = table(Offline(parts))
            told = (await verbs["inventory"]({} if "all" in own else own, nothing))["objects"]
            assert [(one["id"], one["state"]) for one in told] == [(id_, "erasing") for id_ in ids]
            assert (await verbs["status"]({}, nothing))["erasing"] == {"objects": 3, "until": told[0]["until"]}
            command = station.command(station.client, "inventory", select=own)
            receipt = station.client.open((await parts.commands.submit(command, moment=parts.now())).receipt)
            assert [without_copies(one) for one in receipt["outcomes"]] == told
            for one in receipt["outcomes"]:
                explained = await verbs["explain"]({"id": one["id"]}, nothing)
                assert one["object"]["copies"] == explained["copies"]
            answers = [Told(**one) for one in receipt["outcomes"]]
            assert "3 objects being erased, keys gone by 2027-" in show.held(answers, Selection(all=True), own=())
            assert not show.missing(answers)

    asyncio.run(act())
