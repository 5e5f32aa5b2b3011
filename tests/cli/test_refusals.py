"""What a source offers and the agent does not take in is told: in the log, by ``status`` and by ``doctor``."""

import os

from agent.app.refusals import REASONS_MAX, Refusals
from agent.ingest import IngestEvent
from tests.cli.conftest import Device
from tests.waiting import until


def unreadable(reason: str, *, source: str = "spool") -> IngestEvent:
    return IngestEvent(kind="unreadable", source=source, reason=reason)


def test_flood_of_one_kind_is_told_to_the_log_a_few_times_and_counted_whole() -> None:
    refusals = Refusals()
    told = [count for _ in range(1000) if (count := refusals.note(unreadable("a symbolic link")))]
    assert told == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
    assert refusals.of("spool") == [{"kind": "unreadable", "reason": "a symbolic link", "count": 1000}]
    assert refusals.of("other") == []


def test_file_that_is_offered_again_at_each_look_at_everything_is_counted_once() -> None:
    """Each reload and each key set had what was deleted before counted anew."""
    refusals = Refusals()

    def offer(path: str, *, destroyed: bool = False) -> int:
        return refusals.note(
            IngestEvent(kind="deleted_before", source="spool", reason="r", unverified_path=path, obeys=destroyed)
        )

    assert [offer(path) for _ in range(5) for path in ("a.mp4", "b.mp4")] == [1, 2, *[0] * 8]
    assert refusals.of("spool") == [{"kind": "deleted_before", "reason": "r", "count": 2}]
    assert [offer("a.mp4", destroyed=True) for _ in range(2)] == [0, 4], "it was put there again each time"


def test_what_was_refused_under_another_policy_is_told_no_more_unless_it_is_refused_again() -> None:
    refusals = Refusals()

    def offer(path: str) -> int:
        return refusals.note(IngestEvent(kind="refused", source="spool", reason="no_rule", unverified_path=path))

    refusals.note(unreadable("a symbolic link"))
    assert [offer(path) for path in ("a.jsonl", "b.jsonl", "a.jsonl")] == [1, 2, 0]
    refusals.judged_anew()
    assert refusals.of("spool") == [{"kind": "unreadable", "reason": "a symbolic link", "count": 1}]
    assert [offer(path) for path in ("a.jsonl", "a.jsonl")] == [1, 0]
    assert {"kind": "refused", "reason": "no_rule", "count": 1} in refusals.of("spool")


def test_flood_of_reasons_is_counted_together() -> None:
    refusals = Refusals()
    for number in range(10 * REASONS_MAX):
        refusals.note(unreadable(str(number)))
    counted = refusals.of("spool")
    assert len(counted) == REASONS_MAX + 1
    assert counted[0] == {"kind": "unreadable", "reason": "other reasons", "count": 9 * REASONS_MAX}


def test_what_is_ordinary_or_has_an_alert_is_not_counted() -> None:
    refusals = Refusals()
    for kind in ("admitted", "later", "disk_full", "source_failed"):
        assert refusals.note(IngestEvent(kind=kind, source="spool")) == 0
    assert refusals.of("spool") == []


def test_hostile_files_are_told_by_the_log_by_status_and_by_doctor(device: Device) -> None:
    device.put("front/a.mp4")
    os.mkfifo(device.spool / "pipe.mp4")
    (device.spool / "link.mp4").symlink_to(device.put("front/b.txt"))
    device.put("front/log.jsonl", b'{"event": "motion"}\n')
    device.config.write_text(device.config.read_text().replace("[[source]]", '[[source]]\nbatch_age = "1s"'))

    with device.running() as log:
        until(lambda: log.read_text().count("not taken in") >= 4, what="four files told")
        said = log.read_text()
        status = device.ok("status")
        counts = device.ok("status", "--json").json["sources"]
        doctor = device.agent("doctor", "--json")

    for reason in ("a symbolic link", "not a plain file"):
        assert f"WARNING agent.app.running: not taken in: source=spool unreadable: {reason} (1 so far)" in said
    assert "source=spool refused: " in said
    assert "link.mp4" not in said
    assert [one["name"] for one in counts] == ["spool"]
    kinds = {(one["kind"], one["count"]) for one in counts[0]["not_taken"]}
    assert kinds == {("unreadable", 1), ("unknown_name", 1), ("refused", 1)}
    assert any(line.split()[:1] == ["spool"] and "a symbolic link" in line for line in status.out.splitlines())
    finding = next(one for one in doctor.json["findings"] if one["told"].startswith("not taken in"))
    assert finding["what"] == "source spool"
    assert finding["verdict"] == "look"
    assert "a symbolic link" in finding["told"]
    assert str(device.spool) in finding["next"]
    assert "policy.toml" in finding["next"]


def test_name_that_no_pattern_matches_is_called_that_and_its_step_names_the_patterns(device: Device) -> None:
    text = device.config.read_text()
    device.config.write_text(text.replace("[[source]]", '[[source]]\npatterns = ["{camera}/{category}/{time}.{ext}"]'))
    device.put("front/a.mp4")
    device.put("front/a.txt")

    with device.running() as log:
        until(lambda: log.read_text().count("not taken in") >= 2, what="two files told")
        said = log.read_text()
        (source,) = device.ok("status", "--json").json["sources"]
        found = next(one for one in device.agent("doctor", "--json").json["findings"] if "not taken in" in one["told"])

    assert "unknown_name: no pattern of the source matches its path (1 so far)" in said
    assert {(one["kind"], one["count"]) for one in source["not_taken"]} == {("unknown_name", 1)}
    assert "as a pattern of the source does" in found["next"]


def test_hostile_files_that_come_while_it_runs_are_told_at_the_next_look_at_everything(device: Device) -> None:
    device.config.write_text(device.config.read_text().replace("[[source]]", '[[source]]\nrescan = "1s"'))
    outside = device.folder / "outside.mp4"
    outside.write_bytes(b"not for you")

    with device.running() as log:
        (device.spool / "link.mp4").symlink_to(outside)
        (device.spool / "hard.mp4").hardlink_to(outside)
        until(lambda: log.read_text().count("not taken in") >= 2, what="both told")
        said = log.read_text()

    assert "a symbolic link" in said
    assert "more than one name" in said
    assert outside.read_bytes() == b"not for you"
