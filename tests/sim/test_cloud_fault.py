"""Every fault strikes, is named in the journal, and is seen by the device as what it is."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from device_sim.cloud.failure import SetupError
from device_sim.cloud.faults import Faults
from device_sim.cloud.journal import Journal
from device_sim.cloud.service import init
from tests.sim.cloud_line import DEVICE, BrokerPlace, CloudProcess, Line, line
from tests.sim.fake_device import CHUNK_BYTES, device, new_id, recording


@pytest.fixture
def running(tmp_path: Path, broker_place: BrokerPlace) -> Iterator[Line]:
    with line(tmp_path, broker_place) as made:
        yield made


def test_lost_chunk_is_asked_for_before_the_end(running: Line) -> None:
    one = recording(3_000_000)
    running.cloud.faults.lose("chunk", nth=3)
    assert running.device.upload(one)["payload"] == one.parts["payload"]
    assert [event["kind"] for event in running.journal.events("fault", fault="lose")] == ["chunk"]
    assert [go["offset"] for go in running.device.claims("go")][:2] == [0, 2 * CHUNK_BYTES]


def test_lost_last_chunk_is_asked_for_at_the_end(running: Line) -> None:
    one = recording(3 * CHUNK_BYTES)
    running.cloud.faults.lose("chunk", nth=3)
    assert running.device.upload(one)["payload"] == one.parts["payload"]
    assert [go["offset"] for go in running.device.claims("go")] == [0, 2 * CHUNK_BYTES]


def test_lost_answer_comes_when_the_device_asks_again(running: Line) -> None:
    one = recording(1_000)
    running.cloud.faults.lose("stored")
    running.device.begin(one)
    running.device.next("go")
    running.device.chunks(one)
    running.device.end(one)
    running.journal.wait("fault", fault="lose", kind="stored")
    assert running.device.claims("stored") == []
    running.device.begin(one)
    running.device.next("stored")


def test_duplicated_and_reordered_chunks_change_nothing(running: Line) -> None:
    one = recording(1_000_000)
    running.cloud.faults.duplicate("chunk", nth=2)
    running.cloud.faults.reorder("chunk", nth=4)
    assert running.device.upload(one)["payload"] == one.parts["payload"]
    assert [event["fault"] for event in running.journal.events("fault")] == ["duplicate", "reorder"]
    assert len(running.device.claims("go")) == 1


def test_duplicated_answer_arrives_twice(running: Line) -> None:
    running.cloud.faults.duplicate("stored")
    running.device.upload(recording(1_000))
    running.device.next("stored")


def test_delayed_answer_arrives_after_a_later_one(running: Line) -> None:
    first, second = recording(1_000), recording(1_000)
    running.cloud.faults.delay("go", by_s=0.5)
    running.device.begin(first)
    running.journal.wait("fault", fault="delay")
    running.device.begin(second)
    uploads = [running.device.next("go")[1]["upload"] for _ in range(2)]
    assert uploads == [second.upload, first.upload]


def test_lie_about_the_hash_is_signed_by_the_store(running: Line) -> None:
    one = recording(1_000)
    running.cloud.faults.lie("wrong_hash")
    assert running.device.upload(one)["payload"] == {**one.parts["payload"], "sha256": "0" * 64}
    running.device.begin(one)
    assert running.device.next("stored")[1]["payload"] == one.parts["payload"]


def test_lie_about_storing_leaves_nothing_behind(running: Line) -> None:
    one = recording(1_000)
    running.cloud.faults.lie("not_stored")
    assert running.device.upload(one)["payload"] == one.parts["payload"]
    assert running.store_files() == []
    assert running.cloud.store.stored() == []


def test_lie_about_the_durable_offset_acknowledges_what_never_came(running: Line) -> None:
    one = recording(3_000_000)
    running.cloud.faults.lie("ack_ahead")
    running.device.begin(one)
    running.device.next("go")
    running.device.chunks(one, end=10 * CHUNK_BYTES)
    assert running.device.next("upload-ack")[1]["offset"] == len(one.payload)


def test_lie_about_erasing_keeps_everything(running: Line) -> None:
    one = recording(1_000)
    running.device.upload(one)
    running.cloud.faults.lie("not_erased")
    item = {"upload": one.upload, "object": one.object, "manifest": one.manifest}
    running.device.say("erase", "up/erase", jti=new_id(), items=[item])
    assert running.device.next("erased")[1]["items"][0]["payload"] == "erased"
    assert len(running.store_files()) == 2


@pytest.mark.parametrize(
    ("how", "seen"),
    [("unknown_key", "signed by another key"), ("stolen_kid", "signature does not hold"), ("other_device", "not from")],
)
def test_forged_receipt_is_not_the_stores(running: Line, how: str, seen: str) -> None:
    running.cloud.faults.add(f"forge={how}:stored")
    one = recording(1_000)
    running.device.begin(one)
    running.device.next("go")
    running.device.chunks(one)
    running.device.end(one)
    running.device.wait_until(lambda: running.device.bad)
    assert seen in running.device.bad[0]
    assert running.device.claims("stored") == []
    assert running.journal.events("fault", fault="forge", how=how)


def test_receipt_for_another_manifest_is_signed_and_wrong(running: Line) -> None:
    one = recording(1_000)
    running.cloud.faults.forge("stored", "other_manifest")
    assert running.device.upload(one)["manifest"] == "0" * 64


def test_erasure_for_another_manifest_is_signed_and_wrong(running: Line) -> None:
    one = recording(1_000)
    running.device.upload(one)
    running.cloud.faults.forge("erased", "other_manifest")
    item = {"upload": one.upload, "object": one.object, "manifest": one.manifest}
    running.device.say("erase", "up/erase", jti=new_id(), items=[item])
    assert running.device.next("erased")[1]["items"][0]["manifest"] == "0" * 64


def test_silent_store_reads_and_says_nothing(running: Line) -> None:
    one = recording(1_000)
    running.cloud.faults.silent()
    running.device.begin(one)
    running.journal.wait("fault", fault="silent", kind="go")
    assert running.device.seen == []
    running.cloud.faults.clear()
    running.device.upload(one)


def test_region_and_room_are_refused_as_often_as_asked(running: Line) -> None:
    running.cloud.faults.refuse_region(count=1)
    assert running.device.upload(recording(1_000))["reason"] == "region_refused"
    running.cloud.faults.no_room(count=1)
    assert running.device.upload(recording(1_000))["reason"] == "no_room"
    assert "region" in running.device.upload(recording(1_000))


def test_rolled_back_store_forgets_a_running_upload(running: Line) -> None:
    one = recording(2_000_000)
    snapshot = running.cloud.snapshot()
    running.device.begin(one)
    epoch = running.device.next("go")[1]["epoch"]
    running.device.chunks(one, end=10 * CHUNK_BYTES)
    running.device.next("upload-ack")
    running.cloud.roll_back(snapshot)
    running.device.chunks(one, offset=10 * CHUNK_BYTES)
    running.journal.wait("dropped", kind="chunk")
    running.device.end(one)
    assert running.device.next("failed")[1]["reason"] == "unknown_upload"
    running.device.begin(one)
    _, go = running.device.next("go")
    assert go["offset"] == 0
    assert go["epoch"] != epoch


def test_rolled_back_store_goes_on_from_what_the_backup_held(running: Line) -> None:
    one = recording(3_000_000)
    running.device.begin(one)
    running.device.next("go")
    running.device.chunks(one, end=10 * CHUNK_BYTES)
    held = running.device.next("upload-ack")[1]["offset"]
    snapshot = running.cloud.snapshot()
    running.device.chunks(one, offset=held, end=20 * CHUNK_BYTES)
    running.device.next("upload-ack")
    running.cloud.roll_back(snapshot)
    running.device.begin(one)
    assert running.device.next("go")[1]["offset"] == held
    assert running.device.upload(one)["payload"] == one.parts["payload"]


def test_cloud_that_was_offline_answers_when_it_is_back(running: Line) -> None:
    one = recording(1_000)
    running.cloud.offline()
    running.device.begin(one)
    running.cloud.online()
    running.device.begin(one)
    running.device.next("go", "stored")


def test_faults_from_the_command_line_strike(
    tmp_path: Path, broker_place: BrokerPlace, start_cloud: Callable[..., CloudProcess]
) -> None:
    """``--fault`` and the orders on stdin reach the same faults; ``roll_back=1`` undoes the first stored upload."""
    init(tmp_path)
    one, two = recording(1_000), recording(2_000)
    with device(broker_place.url, folder=tmp_path, identity=broker_place.device, name=DEVICE) as made:
        cloud = start_cloud(tmp_path, broker_place, "--fault", "roll_back=1", "--fault", "duplicate=go")
        made.upload(one)
        cloud.journal.wait("fault", fault="duplicate")
        cloud.journal.wait("rolled-back")
        cloud.tell({"do": "fault", "fault": "no_room=1"})
        cloud.journal.wait("did", do="fault")
        assert made.upload(two)["reason"] == "no_room"
        cloud.tell({"do": "command", "verb": "inventory", "claims": {"select": {"all": True}}})
        jti = cloud.journal.wait("did", do="command")["jti"]
        assert cloud.journal.events("command", jti=jti)
        cloud.tell({"do": "dance"})
        cloud.journal.wait("refused")
        cloud.tell({"do": "stop"})
        assert cloud.process.wait(60) == 0
        cloud.end()


@pytest.mark.parametrize(
    "spec",
    ["lose", "lose=nothing", "lose=chunk:x", "delay=go", "lie=big", "forge=unknown_key", "dance", "no_room=many"],
)
def test_fault_that_does_not_exist_is_named(spec: str) -> None:
    with pytest.raises(SetupError, match="--fault"):
        Faults(Journal()).add(spec)


def test_every_fault_of_the_help_is_read() -> None:
    faults = Faults(Journal())
    for spec in (
        "lose=chunk", "lose=chunk:3", "lose=chunk:3:2", "duplicate=stored", "reorder=chunk:2", "delay=go:0.1",
        "delay=go:0.1:2:3", "lie=wrong_hash", "lie=ack_ahead:2", "forge=stolen_kid:erased", "forge=other_device:go:2",
        "silent", "refuse_region", "refuse_region=2", "no_room", "no_room=1",
    ):  # fmt: skip
        faults.add(spec)
