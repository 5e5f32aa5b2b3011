"""A correction on its way to a real store over a real broker: kept with each copy, read by nobody but its readers."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent import age, envelope
from agent.envelope import TYP_CORRECTION, Erased, Rectified
from agent.envelope.uploads import ErasedItem, RectifiedItem
from agent.index import Tx
from agent.model import Object, Selection, new_id
from agent.policy import Policy, parse_policy
from agent.rights import consent, correction, freezing
from agent.rights.consent import By
from agent.upload import Upload
from agent.upload.rectifying import _Open
from agent.vault import RemoteCopy
from device_sim.broker import Broker as BrokerProcess
from device_sim.cloud.faults import FOREVER
from device_sim.cloud.service import Cloud
from tests.upload.cloud import Keys, cloud_at
from tests.upload.hub import NOW, OWNER, Hub, uploading
from tests.upload.line import until
from tests.upload.test_upload import line, upload_of


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    made = Hub(tmp_path / "hub")
    yield made
    made.close()


def correct(hub: Hub, target: str, *, name: str) -> int:
    return hub.index.write_now(
        lambda tx: correction.correct(
            tx,
            target,
            about="camera" if target == "k3x9" else "object",
            name=name,
            location=None,
            command="a" * 26,
            moment=NOW,
        )
    )


def is_due(hub: Hub, store: str) -> bool:
    return bool(hub.index.read_now(lambda tx: correction.due_at(tx, store, limit=1))[0])


def opened(sealed: bytes, hub: Hub) -> dict[str, Any]:
    """Open a correction as its reader does: unseal it, and verify that this device signed it."""
    unverified = envelope.parse(age.decrypt(sealed, [OWNER]), typ=TYP_CORRECTION)
    return envelope.verify(unverified, jwk=hub.keystore.public_jwk(), alg=hub.keystore.alg)


def kept(cloud: Cloud, hub: Hub, item: Object) -> dict[str, bytes]:
    return cloud.store.corrections(upload_of(hub, item))


def test_store_keeps_a_correction_with_each_copy_and_cannot_read_it(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path, hub: Hub
) -> None:
    async def act() -> None:
        items = [await hub.add(size_bytes=100) for _ in range(3)]
        with cloud_at(mosquitto.url, tls=tls, folder=tmp_path / "cloud", keys=Keys.of(hub)) as (cloud, store):
            async with uploading(hub, line(mosquitto.url, tls), store) as flow:
                await until(lambda: hub.uploaded(*items))
                assert correct(hub, "k3x9", name="Hintertür") == 3
                flow.corrections.wake()
                await until(lambda: not is_due(hub, store.kid))
            found = [kept(cloud, hub, item)["camera"] for item in items]
            told = opened(found[0], hub)
            assert (told["iss"], told["name"], told["number"]) == ("cam-1", "Hintertür", 1)
            assert set(told["objects"]) == {item.id for item in items}
            seen = b"".join(path.read_bytes() for path in (tmp_path / "cloud").rglob("*") if path.is_file())
            assert "Hintertür".encode() not in seen
            assert json.dumps("Hintertür").strip('"').encode() not in seen

    asyncio.run(act())


@pytest.mark.parametrize("word", ["nothing", "objected", "restricted"])
def test_correction_is_told_to_the_readers_of_a_copy_who_may_read_it_still(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path, hub: Hub, word: str
) -> None:
    # Whom the purpose was taken away from was still told what its owner calls the place, and where it is.
    vendor = age.generate_identity(post_quantum=False)
    hub.policy = analytics_for(vendor)

    async def act() -> None:
        purposes = ("security", "analytics")
        items = [await hub.add(size_bytes=100, purposes=purposes, readers=(vendor.recipient(),)) for _ in range(2)]
        with cloud_at(mosquitto.url, tls=tls, folder=tmp_path / "cloud", keys=Keys.of(hub)) as (cloud, store):
            async with uploading(hub, line(mosquitto.url, tls), store) as flow:
                await until(lambda: hub.uploaded(*items))
                if word != "nothing":
                    hub.index.write_now(lambda tx: say(tx, word, items[0], policy=hub.policy))
                assert correct(hub, "k3x9", name="Hintertür") == len(items)
                flow.corrections.wake()
                await until(lambda: not is_due(hub, store.kid))
            for item in items:
                assert opened(kept(cloud, hub, item)["camera"], hub)["name"] == "Hintertür"
            told = [may_open(kept(cloud, hub, item)["camera"], vendor) for item in items]
            assert told == {"nothing": [True, True], "objected": [False, False], "restricted": [False, True]}[word]

    asyncio.run(act())


def analytics_for(vendor: age.Identity) -> Policy:
    """A policy under which somebody else reads recordings too, until the owner says no."""
    text = f"""
version = 1
[recipients]
owner = ["{OWNER.recipient().to_text()}"]
vendor = ["{vendor.recipient().to_text()}"]
[purpose.analytics]
description = "To see which functions are used."
basis = "legitimate-interest"
seal_to = ["vendor"]
[category.recording]
purposes = ["security", "analytics"]
seal_to = ["owner"]
upload = "allowed"
"""
    return parse_policy(text.encode(), file="policy.toml")


def say(tx: Tx, word: str, item: Object, *, policy: Policy) -> None:
    if word == "objected":
        by = By(kid="phone", name="phone", command="b" * 26, seq=1, iat_s=1)
        consent.say(tx, [("analytics", "recording")], "objected", policy=policy, by=by, moment=NOW)
        return
    select = Selection(ids=(item.id,))
    freezing.put(tx, select, kind="restriction", freeze_id=new_id(), author="phone", reason="unlawful", moment=NOW)


def may_open(sealed: bytes, reader: age.Identity) -> bool:
    try:
        age.decrypt(sealed, [reader])
    except age.NoMatchError:
        return False
    return True


def test_correction_made_while_the_store_is_away_reaches_it_and_the_newest_is_kept(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path, hub: Hub
) -> None:
    async def act() -> None:
        item = await hub.add(size_bytes=100)
        with cloud_at(mosquitto.url, tls=tls, folder=tmp_path / "cloud", keys=Keys.of(hub)) as (cloud, store):
            async with uploading(hub, line(mosquitto.url, tls), store):
                await until(lambda: hub.uploaded(item))
            for name in ("a.mp4", "b.mp4"):
                correct_alone(hub, item, name=name)
            cloud.faults.lose("rectified")
            hub.hurry = 50.0
            async with uploading(hub, line(mosquitto.url, tls), store):
                await until(lambda: not is_due(hub, store.kid))
            assert opened(kept(cloud, hub, item)["object"], hub)["name"] == "b.mp4"

    asyncio.run(act())


def correct_alone(hub: Hub, item: Object, *, name: str) -> None:
    """Correct twice under two commands: the second takes the place of the first."""

    def note(tx: Tx) -> None:
        command = {"a.mp4": "a", "b.mp4": "b"}[name] * 26
        correction.correct(tx, item.id, about="object", name=name, location=None, command=command, moment=NOW)

    hub.index.write_now(note)


def test_copy_uploaded_after_the_correction_gets_it_too(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path, hub: Hub
) -> None:
    async def act() -> None:
        item = await hub.add(size_bytes=100)
        assert correct(hub, "k3x9", name="Tor") == 0
        with cloud_at(mosquitto.url, tls=tls, folder=tmp_path / "cloud", keys=Keys.of(hub)) as (cloud, store):
            async with uploading(hub, line(mosquitto.url, tls), store):
                await until(lambda: hub.uploaded(item) and not is_due(hub, store.kid))
            assert opened(kept(cloud, hub, item)["camera"], hub)["name"] == "Tor"

    asyncio.run(act())


@pytest.mark.parametrize("forged", ["unknown_key", "stolen_kid", "other_device"])
def test_forged_word_confirms_nothing(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path, hub: Hub, forged: str
) -> None:
    async def act() -> None:
        item = await hub.add(size_bytes=100)
        with cloud_at(mosquitto.url, tls=tls, folder=tmp_path / "cloud", keys=Keys.of(hub)) as (cloud, store):
            async with uploading(hub, line(mosquitto.url, tls), store) as flow:
                await until(lambda: hub.uploaded(item))
                cloud.faults.add(f"forge={forged}:rectified:1000")  # it may be asked again
                correct(hub, item.id, name="b.mp4")
                flow.corrections.wake()
                await until(lambda: refusals(flow) > 0)
                assert is_due(hub, store.kid)

    asyncio.run(act())


def refusals(flow: Upload) -> int:
    return sum(flow.refused.values())


def test_answer_of_an_earlier_request_confirms_nothing(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path, hub: Hub
) -> None:
    async def act() -> None:
        item = await hub.add(size_bytes=100)
        keys = Keys.of(hub)
        with cloud_at(mosquitto.url, tls=tls, folder=tmp_path / "cloud", keys=keys) as (cloud, store):
            async with uploading(hub, line(mosquitto.url, tls), store) as flow:
                await until(lambda: hub.uploaded(item))
                cloud.faults.lose("rectify", count=FOREVER)  # it may be asked again, and would answer then
                correct(hub, item.id, name="b.mp4")
                flow.corrections.wake()
                await until(lambda: bool(cloud.journal.events("fault")))
                upload = upload_of(hub, item)
                row = hub.index.read_now(lambda tx: hub.vault.upload_of(tx, upload))
                assert row is not None
                word = {"upload": upload, "manifest": row.manifest, "result": "kept"}
                cloud.store.say("cam-1", "rectified", {"re": "b" * 26, "items": [word]})
                cloud.store.say("cam-1", "failed", failed(word))  # it comes behind the other
                await until(lambda: flow.refused["late_failed"] > 0)
                assert is_due(hub, store.kid)

    asyncio.run(act())


def failed(word: dict[str, str]) -> dict[str, Any]:
    return {"upload": word["upload"], "manifest": word["manifest"], "reason": "no_room"}


def test_copy_that_the_store_lost_is_told_of_and_uploaded_anew(
    mosquitto: BrokerProcess, tls: Path, tmp_path: Path, hub: Hub
) -> None:
    async def act() -> None:
        item = await hub.add(size_bytes=100)
        with cloud_at(mosquitto.url, tls=tls, folder=tmp_path / "cloud", keys=Keys.of(hub)) as (cloud, store):
            async with uploading(hub, line(mosquitto.url, tls), store) as flow:
                await until(lambda: hub.uploaded(item))
                lost = upload_of(hub, item)
                cloud.store._shelf.forget("cam-1", lost)
                correct(hub, item.id, name="b.mp4")
                flow.corrections.wake()
                await until(lambda: flow.copies.lost == 1)
                await until(lambda: hub.uploaded(item))
                assert upload_of(hub, item) != lost
                await until(lambda: not is_due(hub, store.kid))
            assert opened(kept(cloud, hub, item)["object"], hub)["name"] == "b.mp4"

    asyncio.run(act())


def test_answer_beside_the_point_is_not_followed_by_another_question_at_once(tls: Path, hub: Hub) -> None:
    async def act() -> None:
        item = await hub.add(size_bytes=100)
        flow = hub.flow(line("mqtts://127.0.0.1:1", tls))
        flow.corrections._open["store"] = _Open("a" * 26, item.id, 1, frozenset({("u" * 26, "f" * 64)}))
        flow.corrections._news.clear()
        said = RectifiedItem(upload="u" * 26, manifest="f" * 64, result="kept")
        await flow.corrections.take(Rectified(iss="store", aud="cam-1", iat=0, re="a" * 26, items=(said,)))
        assert not flow.corrections._news.is_set()
        flow.copies._erase_news.clear()
        flow.copies._open(flow.copies._erasing, "b" * 26, "store", [RemoteCopy("u" * 26, item.id, "f" * 64)])
        gone = ErasedItem(upload="u" * 26, manifest="f" * 64, header="absent", payload="absent")
        await flow.copies.take(Erased(iss="store", aud="cam-1", iat=0, re="b" * 26, items=(gone,)))
        assert not flow.copies._erase_news.is_set()

    asyncio.run(act())
