"""The simulated store against real mosquitto with mutual TLS: every answer of docs/protocol.md §6."""

import json
import os
import signal
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from device_sim.cloud import sealing, wire
from device_sim.cloud.failure import SetupError
from device_sim.cloud.keys import Party
from device_sim.cloud.observer import Observer, read_record
from device_sim.cloud.service import Cloud, init
from tests.sim.cloud_line import DEVICE, BrokerPlace, CloudProcess, Line, line
from tests.sim.fake_device import CHUNK_BYTES, TENANT, device, new_id, recording


@pytest.fixture
def running(tmp_path: Path, broker_place: BrokerPlace) -> Iterator[Line]:
    with line(tmp_path, broker_place) as made:
        yield made


def test_upload_is_stored_and_the_receipt_says_what_was_sent(running: Line) -> None:
    one = recording()
    stored = running.device.upload(one)
    assert {name: stored[name] for name in ("payload", "header")} == one.parts
    assert (stored["object"], stored["manifest"], stored["region"]) == (one.object, one.manifest, "eu")
    place = running.folder / "store" / DEVICE / one.object
    assert (place / "header").read_bytes() + (place / "payload").read_bytes() == one.header + one.payload
    assert not running.device.bad


def test_upload_is_acknowledged_every_mebibyte_and_after_the_last_byte(running: Line) -> None:
    def acknowledged() -> int:
        return max((ack["offset"] for ack in running.device.claims("upload-ack")), default=0)

    one = recording(5_000_000)
    running.device.begin(one)
    running.device.next("go")
    for sent in (1_500_000, 3_000_000, 4_500_000):  # a slow disk may join some of what comes at once
        running.device.chunks(one, offset=sent - 1_500_000, end=sent)
        while acknowledged() <= sent - 2**20 - CHUNK_BYTES:
            running.device.next("upload-ack")
    running.device.upload(one)
    offsets = [ack["offset"] for ack in running.device.claims("upload-ack")]
    assert offsets == sorted(offsets)
    assert offsets[-1] == len(one.payload)


@pytest.mark.parametrize("size", [1_000_000, 1_230_000, 1_630_000])
def test_small_upload_that_is_cut_past_sixty_per_cent_goes_on_from_somewhere(size: int, running: Line) -> None:
    """The demo's clips under 1.75 MB had no ack before the cut, so its wait for one ended in vain."""
    one = recording(size)
    running.device.begin(one)
    running.device.next("go")
    running.device.chunks(one, end=size * 6 // 10)
    _kind, ack = running.device.next("upload-ack")
    assert 0 < ack["offset"] <= size * 6 // 10


def test_begin_of_a_stored_upload_is_answered_by_stored_at_once(running: Line) -> None:
    one = recording(10_000)
    first = running.device.upload(one)
    running.device.begin(one)
    kind, again = running.device.next("go", "stored", upload=one.upload)
    assert (kind, again) == ("stored", first)


def test_second_begin_of_a_running_upload_names_the_durable_offset(running: Line) -> None:
    one = recording(3_000_000)
    running.device.begin(one)
    running.device.next("go")
    running.device.chunks(one, end=10 * CHUNK_BYTES)
    running.device.next("upload-ack")
    running.device.begin(one)
    _, go = running.device.next("go")
    assert go["offset"] == 10 * CHUNK_BYTES
    running.device.chunks(one, offset=go["offset"])
    running.device.end(one)
    running.device.next("stored", upload=one.upload)


def test_end_with_bytes_missing_asks_for_them(running: Line) -> None:
    one = recording(500_000)
    running.device.begin(one)
    running.device.next("go")
    running.device.chunks(one, end=2 * CHUNK_BYTES)
    running.device.end(one)
    _, go = running.device.next("go", "stored", "failed")
    assert go["offset"] == 2 * CHUNK_BYTES


def test_payload_with_another_hash_fails_and_starts_over_at_zero(running: Line) -> None:
    one = recording(300_000)
    running.device.begin(one)
    running.device.next("go")
    running.device.send(f"up/{one.upload}", wire.chunk(0, os.urandom(CHUNK_BYTES)))
    running.device.chunks(one, offset=CHUNK_BYTES)
    running.device.end(one)
    _, failed = running.device.next("failed", "stored")
    assert failed["reason"] == "hash_mismatch"
    assert running.device.upload(one)["manifest"] == one.manifest
    assert [go["offset"] for go in running.device.claims("go")] == [0, 0]


def test_header_with_another_hash_fails(running: Line) -> None:
    one = recording(1_000)
    parts = one.parts
    one.manifest = running.device.say(
        "begin",
        f"up/{one.upload}",
        upload=one.upload,
        object=one.object,
        payload=parts["payload"],
        header={**parts["header"], "data": "AAAA"},
        regions=[],
    )
    running.device.next("go")
    running.device.chunks(one)
    running.device.end(one)
    assert running.device.next("failed", "stored")[1]["reason"] == "hash_mismatch"
    assert running.store_files() == []


def test_region_that_is_not_allowed_is_refused(running: Line) -> None:
    one = recording(1_000)
    one.regions = ("moon",)
    assert running.device.upload(one)["reason"] == "region_refused"


def test_abort_forgets_the_half_sent_upload(running: Line) -> None:
    one = recording(500_000)
    running.device.begin(one)
    running.device.next("go")
    running.device.chunks(one, end=CHUNK_BYTES)
    jti = new_id()
    running.device.say("abort", f"up/{one.upload}", jti=jti, upload=one.upload, manifest=one.manifest)
    _, erased = running.device.next("erased")
    assert erased["re"] == jti
    expected = {"upload": one.upload, "manifest": one.manifest, "header": "erased", "payload": "erased"}
    assert erased["items"] == [expected]
    assert not list((running.folder / "part").rglob("*/*"))
    assert running.device.upload(one)["object"] == one.object


def test_abort_of_a_stored_upload_removes_nothing(running: Line) -> None:
    one = recording(1_000)
    running.device.upload(one)
    running.device.say("abort", f"up/{one.upload}", jti=new_id(), upload=one.upload, manifest=one.manifest)
    assert running.device.next("stored", "erased")[0] == "stored"
    assert len(running.store_files()) == 2


@pytest.mark.parametrize("finished", [True, False])
def test_begin_of_a_known_upload_with_another_manifest_is_refused(running: Line, *, finished: bool) -> None:
    one, other = recording(1_000), recording(1_000)
    if finished:
        running.device.upload(one)
    else:
        running.device.begin(one)
        running.device.next("go")
    other.upload = one.upload
    running.device.begin(other)
    _, failed = running.device.next("failed", "go", "stored")
    assert (failed["reason"], failed["manifest"]) == ("manifest_changed", other.manifest)
    running.device.upload(one)


def test_erase_removes_stored_and_half_sent_and_refuses_their_return(running: Line) -> None:
    kept, stored, half, unknown = (recording(200_000) for _ in range(4))
    unknown.manifest = "ab" * 32
    for one in (kept, stored):
        running.device.upload(one)
    running.device.begin(half)
    running.device.next("go")
    running.device.chunks(half, end=CHUNK_BYTES)
    items = [{"upload": o.upload, "object": o.object, "manifest": o.manifest} for o in (stored, half, unknown)]
    jti = new_id()
    running.device.say("erase", "up/erase", jti=jti, items=items)
    _, erased = running.device.next("erased")
    assert erased["re"] == jti
    assert [item["payload"] for item in erased["items"]] == ["erased", "erased", "absent"]
    assert running.store_files() == [f"{DEVICE}/{kept.object}/{name}" for name in ("header", "payload")]
    running.device.begin(stored)
    assert running.device.next("failed", "go", "stored")[1]["reason"] == "erased"


def test_resync_after_a_roll_back_tells_what_is_lost_and_what_is_there(running: Line) -> None:
    kept, lost = recording(1_000), recording(2_000)
    before = running.device.upload(kept)
    snapshot = running.cloud.snapshot()
    running.device.upload(lost)
    running.cloud.roll_back(snapshot)
    items = [{"upload": o.upload, "object": o.object, "manifest": o.manifest} for o in (kept, lost)]
    jti = new_id()
    running.device.say("resync", "up/resync", jti=jti, stored=items)
    _, stored = running.device.next("stored", upload=kept.upload)
    assert stored["re"] == jti
    assert stored["epoch"] != before["epoch"]
    _, go = running.device.next("go", upload=lost.upload)
    assert (go["manifest"], go["offset"], go["epoch"], go["re"]) == (lost.manifest, 0, stored["epoch"], jti)
    lost.upload = new_id()
    assert running.device.upload(lost)["object"] == lost.object


def test_resync_of_an_erased_upload_is_told_so(running: Line) -> None:
    one = recording(1_000)
    running.device.upload(one)
    item = {"upload": one.upload, "object": one.object, "manifest": one.manifest}
    running.device.say("erase", "up/erase", jti=new_id(), items=[item])
    running.device.next("erased")
    jti = new_id()
    running.device.say("resync", "up/resync", jti=jti, stored=[item])
    _, failed = running.device.next("failed", "go", "stored")
    assert (failed["reason"], failed["re"]) == ("erased", jti)


def test_erase_on_the_topic_of_an_upload_is_dropped(running: Line) -> None:
    one = recording(1_000)
    running.device.upload(one)
    item = {"upload": one.upload, "object": one.object, "manifest": one.manifest}
    running.device.say("erase", f"up/{one.upload}", jti=new_id(), items=[item])
    running.journal.wait("dropped", kind="erase")
    assert len(running.store_files()) == 2


def test_messages_that_are_not_the_devices_have_no_effect(running: Line, broker_place: BrokerPlace) -> None:
    one = recording(1_000)
    with device(broker_place.url, folder=running.folder, identity=broker_place.owner, name="other") as thief:
        # Same topic, other key: mosquitto lets only the device write there, so the thief takes its identity.
        assert thief.key.kid != running.device.key.kid
        signed_by_thief = running.device.key
        running.device.key = thief.key
        running.device.begin(one)
        running.device.key = signed_by_thief
        dropped = running.journal.wait("dropped", kind="begin", device=DEVICE)
    assert "another key" in str(dropped["why"])
    for claims in ({"iss": "other"}, {"aud": "other"}):
        running.device.say("end", f"up/{one.upload}", upload=one.upload, manifest="ab" * 32, **claims)
    running.journal.wait("dropped", why="not from this device to this store", count=2)
    running.device.send(f"up/{one.upload}", wire.chunk(0, b"chunk of nothing"))
    running.journal.wait("dropped", kind="chunk")
    running.device.send(f"up/{one.upload}", b"\x20 not sealed")
    running.journal.wait("dropped", kind="begin", count=2)
    running.device.send(f"up/{one.upload}", b"\x99")
    running.device.send(f"up/{one.upload}", b"")
    running.journal.wait("dropped", why="a kind that the channel does not carry", count=2)
    assert running.device.claims("go") == []


def test_upload_survives_kills_of_the_store_at_random_points(
    tmp_path: Path, broker_place: BrokerPlace, start_cloud: Callable[..., CloudProcess]
) -> None:
    """Each killed store, however far it was, goes on from at least what it had acknowledged."""
    init(tmp_path)
    one = recording(24_000_000)
    with device(broker_place.url, folder=tmp_path, identity=broker_place.device, name=DEVICE) as made:
        acknowledged = 0
        for progress_bytes in (1, 4_000_000, 7_000_000):
            cloud = start_cloud(tmp_path, broker_place)
            made.begin(one)
            _, go = made.next("go")
            assert go["offset"] >= acknowledged
            made.chunks(one, offset=go["offset"])  # all of it: the kill comes while the store still reads
            wanted = min(go["offset"] + progress_bytes, len(one.payload))
            while made.next("upload-ack")[1]["offset"] < wanted:
                pass
            assert cloud.end(signal.SIGKILL) == -signal.SIGKILL
            acknowledged = max(ack["offset"] for ack in made.claims("upload-ack"))
        cloud = start_cloud(tmp_path, broker_place)
        assert made.upload(one)["payload"] == one.parts["payload"]
        assert cloud.end() == 0
        assert len({go["offset"] for go in made.claims("go")}) > 1, "no restart went on in the middle"


def test_stored_upload_is_still_stored_after_a_kill(
    tmp_path: Path, broker_place: BrokerPlace, start_cloud: Callable[..., CloudProcess]
) -> None:
    init(tmp_path)
    one = recording(1_000_000)
    with device(broker_place.url, folder=tmp_path, identity=broker_place.device, name=DEVICE) as made:
        cloud = start_cloud(tmp_path, broker_place)
        made.upload(one)
        cloud.end(signal.SIGKILL)
        cloud = start_cloud(tmp_path, broker_place)
        made.begin(one)
        assert made.next("stored", "go")[0] == "stored"
        assert cloud.end() == 0


def test_restarted_store_asks_for_the_rest_on_the_first_chunk(
    tmp_path: Path, broker_place: BrokerPlace, start_cloud: Callable[..., CloudProcess]
) -> None:
    """A device that did not notice the restart just goes on sending."""
    init(tmp_path)
    one = recording(2_000_000)
    with device(broker_place.url, folder=tmp_path, identity=broker_place.device, name=DEVICE) as made:
        cloud = start_cloud(tmp_path, broker_place)
        made.begin(one)
        made.next("go")
        made.chunks(one, end=10 * CHUNK_BYTES)
        made.next("upload-ack")
        cloud.end(signal.SIGKILL)
        cloud = start_cloud(tmp_path, broker_place)
        made.chunks(one, offset=12 * CHUNK_BYTES)
        _, go = made.next("go")
        assert 0 < go["offset"] <= 10 * CHUNK_BYTES
        made.chunks(one, offset=go["offset"], end=12 * CHUNK_BYTES)
        made.end(one)
        made.next("stored")
        assert cloud.end() == 0


def test_observer_sees_every_message_and_no_claims(running: Line, tmp_path: Path, broker_place: BrokerPlace) -> None:
    one = recording(50_000)
    record = tmp_path / "seen"
    with Observer(broker_place.url, record, identity=broker_place.owner) as observer:
        running.device.upload(one)
        running.cloud.backend.command("delete", select={"ids": [one.object]})
        running.device.wait_until(
            lambda: observer.count >= 7 and any(t.endswith("/cmd") for t, _, _ in running.device.raw)
        )
    seen = list(read_record(record))
    kinds = {payload[0] for topic, payload in seen if topic.startswith(f"pv1/{TENANT}/{DEVICE}/")}
    assert {wire.BYTE[kind] for kind in ("begin", "chunk", "end", "go", "upload-ack", "stored", "command")} <= kinds
    raw = record.read_bytes()
    assert one.payload[:32] in raw  # the control: what is on the wire is found
    assert one.object.encode() not in raw
    assert b'"verb"' not in raw


def test_cloud_learns_no_device_whose_descriptor_is_not_its_own(tmp_path: Path, broker_place: BrokerPlace) -> None:
    init(tmp_path)
    with device(broker_place.url, folder=tmp_path, identity=broker_place.device, name=DEVICE) as made:
        file = tmp_path / f"{DEVICE}.jws"
        head, body, signature = file.read_text().split(".")
        broken = file.with_name("broken.jws")
        broken.write_text(f"{head}.{body}.{'A' * len(signature)}")
        with pytest.raises(SetupError, match="signature"):
            Cloud(tmp_path, broker=broker_place.url, tenant=TENANT, descriptors=[broken])
        assert made.key.kid


def test_init_makes_private_keys_private_and_descriptors_public(tmp_path: Path) -> None:
    made = init(tmp_path / "new", roles=("store", "backend"), alg="ES256")
    assert [json.loads(file.read_text())["role"] for file in made] == ["store", "backend"]
    for file in made:
        key = file.with_suffix(".key")
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        assert Party.load(key).descriptor() == json.loads(file.read_text())
        assert sealing.unseal(sealing.seal(b"x", Party.load(key).recipient), Party.load(key).identity) == b"x"
    with pytest.raises(SetupError, match="not overwritten"):
        init(tmp_path / "new")
