"""From a file at its source to a sealed, durable object: once, and never back after a delete."""

import asyncio
import errno
import json
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent import audit, registry
from agent.erasure import Erasure
from agent.files import ASIDE_PREFIX
from agent.index import Tx
from agent.ingest import IngestEvent
from agent.ingest import telling as telling_module
from agent.ingest.known import Known
from agent.ingest.work import Work
from agent.model import Moment, Selection
from agent.policy import Consents, Hold, Rights, parse_policy
from agent.sources import Candidate
from agent.sources import folder as folder_module
from agent.sources import root as root_module
from agent.sources.root import Root
from agent.sources.usage_log import LINE_MAX_BYTES

Home = Any  # the fixture's class; tests are no package
Until = Callable[[Callable[[], bool]], Awaitable[None]]

NAME = "front/recording/2026-11-22T10-15-00.000Z_10s.mp4"
LOGS = tuple(f"front/usage-log/2026-11-22T1{n}-00-00.000Z.jsonl" for n in range(4))
NOW = Moment(agent_ms=1_800_000_100_000, wall_ms=1_800_000_100_000, trusted=True)


def erase(home: Home, *ids: str, cutoff: Selection | None = None, moment: Moment = NOW) -> None:
    """Delete as a command does, down to the last numbered step."""

    async def run() -> None:
        eraser = Erasure(
            vault=home.vault, index=home.index, keystore=home.keystore, finish=lambda *_args: None
        )  # fmt: skip
        await eraser.erase(ids, actor="owner", rule="owner_erase", command="c" * 26, moment=moment, cutoff=cutoff)

    asyncio.run(run())


def log(*values: object) -> bytes:
    return b"".join(json.dumps({"n": value}).encode() + b"\n" for value in values)


def test_complete_file_in_the_spool_becomes_one_sealed_object_and_leaves(home: Home) -> None:
    content = os.urandom(200_000)
    home.put(NAME, content)
    home.scan()
    item = home.only()
    assert home.opened(item) == content
    assert home.left() == []
    assert (item.category, item.purposes, item.source_copy, item.state) == (
        "recording",
        ("security",),
        "taken",
        "sealed",
    )
    assert item.captured_to_ms - item.captured_from_ms == 10_000
    assert home.left_over() == ()


def test_label_lives_in_the_index_alone_and_one_camera_has_one_id(home: Home) -> None:
    home.put(NAME, b"one")
    home.put("front/photo/2026-11-22T10-15-00.000Z.jpg", b"two")
    home.put(NAME.replace("front", "back"), b"three")
    home.scan()
    cameras = home.index.read_now(registry.cameras)
    assert {camera.label for camera in cameras} == {"front", "back"}
    assert {item.camera for item in home.objects()} == {camera.id for camera in cameras}
    written = b"".join(path.read_bytes() for path in home.state.rglob("*") if path.is_file())
    assert b"front" not in written


def test_object_that_its_device_may_not_read_opens_for_its_owner_only(home: Home) -> None:
    owner = home.owner.recipient().to_text()
    text = (
        f'version = 1\n[recipients]\nowner = ["{owner}"]\n'
        '[category.recording]\npurpose = "security"\nseal_to = ["owner"]\nreadable_by_device = false\n'
    )
    home.put(NAME, b"private")
    home.scan(policy=parse_policy(text.encode(), file="policy.toml"))
    item = home.only()
    assert item.kind == "header-key"
    assert home.opened(item) == b"private"


def test_left_file_is_taken_once_whatever_starts_again(home: Home) -> None:
    content = os.urandom(1000)
    home.put(NAME, content)
    source = home.settings(after="leave")
    home.scan(source)
    home.scan(source)
    home.reopen()
    home.scan(source)
    assert home.opened(home.only()) == content
    assert len([event for event in home.events if event.kind == "admitted"]) == 1
    assert home.only().source_copy == "left"
    assert home.left() == [NAME]


def test_left_file_that_changed_is_another_object(home: Home) -> None:
    source = home.settings(after="leave")
    home.put(NAME, b"one")
    home.scan(source)
    home.put(NAME, b"two, longer")
    home.scan(source)
    assert {home.opened(item) for item in home.objects()} == {b"one", b"two, longer"}


def test_left_file_that_was_deleted_is_not_taken_back(home: Home) -> None:
    source = home.settings(after="leave")
    home.put(NAME, b"deleted")
    home.scan(source)
    erase(home, home.only().id)
    home.scan(source)
    home.reopen()
    home.scan(source)
    assert home.objects() == ()
    assert home.left() == [NAME]
    assert home.reasons("deleted_before")[0] == "the source's copy remains"


def test_deleted_content_under_another_name_is_destroyed_and_never_taken(home: Home) -> None:
    content = os.urandom(5000)
    home.put(NAME, content)
    home.scan()
    erase(home, home.only().id)
    home.put("front/recording/2026-11-22T11-00-00.000Z_10s.mp4", content)
    home.scan()
    assert home.objects() == ()
    assert home.left() == []
    assert home.reasons("deleted_before") == ["the source's copy was destroyed"]
    assert [event.obeys for event in home.events if event.kind == "deleted_before"] == [True], "no warning"


def test_what_a_cut_off_covers_is_destroyed_unread_and_the_rest_is_taken(home: Home) -> None:
    home.put(NAME, b"first")
    home.scan()
    cutoff = Selection(from_="2026-11-22T10:00:00.000Z", to="2026-11-22T11:00:00.000Z")
    erase(home, home.only().id, cutoff=cutoff)
    home.put("front/recording/2026-11-22T10-59-55.000Z_10s.mp4", b"late arrival")
    home.put("front/recording/2026-11-22T11-00-00.000Z_10s.mp4", b"after it")
    home.scan()
    assert home.opened(home.only()) == b"after it"
    assert home.left() == []


@pytest.mark.promise("HOLD")
def test_hold_beats_the_cut_off(home: Home) -> None:
    content = os.urandom(5000)
    home.put(NAME, content)
    home.scan()
    erase(home, home.only().id)
    home.put(NAME, content)
    home.rights = Rights(hold=Hold(reason="claim", author="owner", until_ms=NOW.agent_ms * 2))
    home.scan()
    assert home.left() == [NAME]
    assert home.reasons("held") == ["a hold keeps the source's copy"]


def test_category_without_a_rule_stays_where_it_is(home: Home) -> None:
    owner = home.owner.recipient().to_text()
    text = (
        f'version = 1\n[recipients]\nowner = ["{owner}"]\n[category.photo]\npurpose = "security"\nseal_to = ["owner"]\n'
    )
    home.put(NAME, b"no rule")
    home.put(NAME.replace("00.000", "30.000"), b"no rule")
    flow = home.scan(policy=parse_policy(text.encode(), file="policy.toml"))
    assert home.objects() == ()
    assert len(home.left()) == 2
    assert home.reasons("refused") == ["no_rule"]
    assert flow.counts["refused"] == 2
    assert home.index.read_now(registry.cameras) == ()


def test_withdrawn_consent_stops_the_gate(home: Home) -> None:
    home.rights = Rights(consents=Consents(words={("security", "recording"): "withdrawn"}))
    home.put(NAME, b"private")
    home.scan()
    assert home.objects() == ()
    assert home.left() == [NAME]


def test_full_disk_refuses_loudly_and_the_source_keeps_its_copy(home: Home) -> None:
    home.put(NAME, b"content")
    home.scan(reserve_bytes=1 << 60)
    assert home.objects() == ()
    assert home.left() == [NAME]
    (reason,) = home.reasons("disk_full")
    assert "reserved" in reason
    home.scan()
    assert home.opened(home.only()) == b"content"


def test_recipient_that_cannot_be_used_leaves_the_source_alone(home: Home) -> None:
    replace = msgspec.structs.replace
    rules = tuple(replace(rule, recipients=("age1nobody",)) for rule in home.policy.rules)
    home.put(NAME, b"content")
    home.scan(policy=replace(home.policy, rules=rules))
    assert home.objects() == ()
    assert home.left() == [NAME]
    assert list((home.state / "objects").iterdir()) == []


def test_sealing_that_fails_leaves_the_source_alone_and_is_told(home: Home) -> None:
    home.put(NAME, b"content")
    home.job_limit_s = 0.001  # less than any process needs to start
    home.scan()
    assert home.objects() == ()
    assert home.left() == [NAME]
    assert len(home.reasons("source_failed")) == 1
    assert list((home.state / "objects").iterdir()) == []
    home.job_limit_s = 60.0
    home.scan()
    assert home.opened(home.only()) == b"content"


def test_file_that_vanishes_between_offer_and_opening_stops_nothing(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.put(NAME, b"vanishes")
    home.put(NAME.replace("front", "back"), b"stays")
    find = Known.find

    def vanish_then_find(known: Known, tx: Tx, work: Work) -> object:
        (home.spool / NAME).unlink(missing_ok=True)
        return find(known, tx, work)

    monkeypatch.setattr(Known, "find", vanish_then_find)
    home.scan()
    assert home.opened(home.only()) == b"stays"
    assert home.reasons("later") == ["the file vanished"]


def test_log_files_of_one_camera_become_one_object(home: Home) -> None:
    for number, name in enumerate(LOGS):
        home.put(name, log(number, number + 10))
    home.put(LOGS[0].replace("front", "back"), log("other"))
    home.scan()
    found = {home.opened(item) for item in home.objects()}
    assert found == {b"".join(log(number, number + 10) for number in range(4)), log("other")}
    assert home.left() == []


def test_bad_log_lines_are_sealed_as_they_are_and_counted(home: Home) -> None:
    # They were left out of the object, and then the source's file was removed: they were nowhere any more.
    first = log(1) + b'garbage\n[]\r\n{"cut": 1, "off' + b"\n" + log(2)
    second = log(3) + b'{"cut off by a power ' + b"x" * LINE_MAX_BYTES
    home.put(LOGS[0], first)
    home.put(LOGS[1], second)
    home.put(LOGS[2], b"no log at all\n")
    home.scan()
    assert home.opened(home.only()) == first + second + b"\n"
    assert home.left() == [LOGS[2]]
    assert home.reasons("bad_lines") == ["4 lines are no JSON objects; they are sealed as they are"]
    assert home.reasons("unreadable") == ["it holds no line that is a JSON object"]


def test_left_log_files_are_taken_once_and_not_again_after_a_delete(home: Home) -> None:
    source = home.settings(after="leave")
    for number, name in enumerate(LOGS[:3]):
        home.put(name, log(number))
    home.scan(source)
    home.reopen()
    home.scan(source)
    batch = home.only()
    home.put(LOGS[3], log("new"))
    home.scan(source)
    assert sorted(home.opened(item) for item in home.objects()) == sorted([log("new"), log(0, 1, 2)])
    erase(home, batch.id)
    home.scan(source)
    home.put(LOGS[3].replace("13", "14"), log("newer"))
    home.scan(source)
    assert sorted(home.opened(item) for item in home.objects()) == sorted([log("new"), log("newer")])


def test_log_batch_that_reaches_into_a_cut_off_loses_only_what_it_covers(home: Home) -> None:
    home.put(NAME.replace("T10", "T01"), b"first")
    home.scan()
    cutoff = Selection(from_="2026-11-22T11:30:00.000Z", to="2026-11-22T11:40:00.000Z")
    erase(home, home.only().id, cutoff=cutoff)
    for name in (LOGS[0], LOGS[1], LOGS[3]):
        file = home.put(name, log(name))
        at_s = {LOGS[0]: 1795342500, LOGS[1]: 1795347300, LOGS[3]: 1795354500}[name]  # 10:15, 11:35 and 13:35
        os.utime(file, (at_s, at_s))
    home.scan()
    assert sorted(home.opened(item) for item in home.objects()) == sorted([log(LOGS[0]), log(LOGS[3])])
    assert home.left() == []


def unclocked(home: Home, name: str, content: bytes) -> None:
    """Write a file as a camera does that has no clock."""
    os.utime(home.put(name, content), ns=(10**18, 10**18))


@pytest.mark.parametrize("names", [LOGS[:1], LOGS[:3]])
def test_other_log_of_the_same_name_size_and_time_is_sealed_and_never_destroyed_unread(
    home: Home, names: tuple[str, ...]
) -> None:
    # Of a batch the index knew the files by name, size and time alone, and forgot them once they were given up: a log
    # with other lines was destroyed as known, or the same lines were taken a second time.
    for word in ("one", "two", "one"):
        for name in names:
            unclocked(home, name, log(name, word))
        home.scan()
        assert home.left() == []
    wanted = [b"".join(log(name, word) for name in names) for word in ("one", "two")]
    assert sorted(home.opened(item) for item in home.objects()) == sorted(wanted)


def test_file_of_a_deleted_batch_under_another_name_is_destroyed_and_the_rest_is_taken(home: Home) -> None:
    # The delete left one tombstone, of all files joined: each of them alone came back under another name.
    for name in LOGS[:3]:
        home.put(name, log(name))
    home.scan()
    erase(home, home.only().id)
    home.put("front/usage-log/copy.jsonl", log(LOGS[1]))
    home.put("front/usage-log/new.jsonl", log("new"))
    home.put("front/usage-log/newer.jsonl", log("newer"))
    home.scan()
    assert home.opened(home.only()) == log("new", "newer")
    assert home.left() == []
    assert home.reasons("deleted_before") == ["the source's copy was destroyed"]


def test_left_file_of_a_deleted_batch_under_another_name_stays_where_it_is(home: Home) -> None:
    source = home.settings(after="leave")
    for name in LOGS[:3]:
        home.put(name, log(name))
    home.scan(source)
    erase(home, home.only().id)
    copy = "front/usage-log/copy.jsonl"
    home.put(copy, log(LOGS[1]))
    home.scan(source)
    home.reopen()
    home.scan(source)
    assert home.objects() == ()
    assert home.left() == sorted([copy, *LOGS[:3]])
    assert set(home.reasons("deleted_before")) == {"the source's copy remains"}


def test_folder_that_is_ours_from_now_on_is_emptied_and_nothing_in_it_taken_twice(home: Home) -> None:
    home.put(NAME, b"content")
    for name in LOGS[:2]:
        home.put(name, log(name))
    home.scan(home.settings(after="leave"))
    before = home.objects()
    home.scan()
    assert home.left() == []
    assert home.objects() == before


def test_left_folder_is_not_read_again_at_a_start(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    source = home.settings(after="leave")
    for name in (NAME, *LOGS[:2]):
        home.put(name, log(name))
    home.scan(source)
    home.reopen()
    read = []
    monkeypatch.setattr(Root, "open_file", lambda _root, candidate: read.append(candidate))
    home.scan(source)
    assert read == []


def test_copy_that_cannot_be_removed_is_told_and_not_read_each_time(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []

    def refused(*_args: object, **_words: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    def open_file(root: Root, candidate: Candidate) -> int:
        read.append(candidate.path)
        return opening(root, candidate)

    opening = Root.open_file
    monkeypatch.setattr(Root, "open_file", open_file)
    home.put(NAME, b"content")

    async def run() -> None:
        flow = home.ingest()
        try:
            with monkeypatch.context() as patched:
                patched.setattr(root_module, "remove_beneath", refused)
                await flow.scan_once()
                await flow.scan_once()
            assert home.left() == [NAME]
            assert home.reasons("source_failed") == ["the source's copy cannot be removed: Permission denied"]
            await flow.scan_once()
        finally:
            flow.close()
            await home.sealers[-1].aclose()

    asyncio.run(run())
    assert read == [NAME]
    assert home.left() == []
    assert home.opened(home.only()) == b"content"
    assert home.left_over() == ()


def test_line_that_is_added_while_its_log_is_removed_is_taken_beside_what_is_begun_by_its_name(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It was written into the file that was aside, another was begun by the free name, and the first one removed unread.
    home.put(LOGS[0], log(0))
    path, require_unwritten = home.spool / LOGS[0], root_module._require_unwritten
    begun: list[int] = []

    def looked(fd: int, *, candidate: Candidate) -> None:
        if not begun:
            begun.append(path.write_bytes(log(2)))
            with os.fdopen(os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_APPEND), "wb") as logger:
                logger.write(log(1))
        require_unwritten(fd, candidate=candidate)

    monkeypatch.setattr(root_module, "_require_unwritten", looked)
    for _ in range(3):
        home.scan()
    assert home.left() == []
    assert {home.opened(item) for item in home.objects()} == {log(0), log(1), log(2)}
    assert len(home.objects()) == 3
    assert {item.captured_from_ms for item in home.objects()} == {home.objects()[0].captured_from_ms}
    assert home.left_over() == ()


@pytest.mark.parametrize("name", [NAME, LOGS[0], "front/photo/2026-11-22T10-15-00.000Z.jpg"])
def test_sealed_file_that_a_cut_left_aside_goes_without_a_second_object_where_another_has_its_name(
    home: Home, name: str
) -> None:
    was = home.put(name, log("sealed")).stat()
    home.scan()
    path = home.put(name, log("newer"))
    aside = path.with_name(ASIDE_PREFIX + path.name)
    aside.write_bytes(log("sealed"))
    os.utime(aside, ns=(was.st_atime_ns, was.st_mtime_ns))
    for _ in range(3):
        home.scan()
    assert home.left() == []
    assert sorted(home.opened(item) for item in home.objects()) == [log("newer"), log("sealed")]


def stays_once(home: Home, *, on_event: Callable[[IngestEvent], None]) -> None:
    """Look twice in one run; at the first look the recording is touched, and stays."""

    async def run() -> None:
        flow = home.ingest(on_event=on_event)
        try:
            await flow.scan_once()
            assert home.left() == [NAME]
            await flow.scan_once()
        finally:
            flow.close()
            await home.sealers[-1].aclose()

    asyncio.run(run())


def test_recording_that_is_changed_in_place_while_it_is_sealed_and_gets_its_time_back_is_taken_as_it_is_now(
    home: Home,
) -> None:
    file = home.put(NAME, b"before")

    def change(event: IngestEvent) -> None:
        home.events.append(event)
        if event.kind == "admitted" and file.read_bytes() == b"before":
            was = file.stat()
            file.write_bytes(b"behind")
            os.utime(file, ns=(was.st_atime_ns, was.st_mtime_ns))

    stays_once(home, on_event=change)
    assert sorted(home.opened(item) for item in home.objects()) == [b"before", b"behind"]
    assert home.left() == []
    assert home.left_over() == ()


def test_recording_whose_rights_are_changed_while_it_is_sealed_is_read_again_and_is_one_object(home: Home) -> None:
    file = home.put(NAME, b"content")

    def change(event: IngestEvent) -> None:
        home.events.append(event)
        if event.kind == "admitted":
            file.chmod(0o640)

    stays_once(home, on_event=change)
    assert home.opened(home.only()) == b"content"
    assert home.left() == []
    assert home.left_over() == ()


def remarks_of_delete(home: Home, *ids: str) -> set[str]:
    """Delete, and return what the outcomes remark."""

    async def run() -> set[str]:
        eraser = Erasure(vault=home.vault, index=home.index, keystore=home.keystore, finish=lambda *_args: None)
        outcomes = await eraser.erase(ids, actor="owner", rule="owner_erase", command="c" * 26, moment=NOW)
        return {remark for outcome in outcomes for remark in outcome.remarks}

    return asyncio.run(run())


@pytest.mark.parametrize("names", [(NAME,), LOGS[:2]])
def test_copy_that_got_a_second_name_after_it_was_read_is_said_to_remain_and_tried_again(
    home: Home, names: tuple[str, ...]
) -> None:
    # A backup tool links files for a moment. The copy stayed, and log and receipt said that it was gone.
    backup = home.top / "backup"
    for name in names:
        home.put(name, log(name))

    def link(event: IngestEvent) -> None:
        home.events.append(event)
        if event.kind == "admitted":
            backup.hardlink_to(home.spool / names[-1])

    async def run() -> None:
        flow = home.ingest(on_event=link)
        try:
            await flow.scan_once()
            assert home.left() == [names[-1]]
            assert "hard link" in home.reasons("source_failed")[0]
            assert len(home.left_over()) == 1
            backup.unlink()
            await flow.scan_once()
        finally:
            flow.close()
            await home.sealers[-1].aclose()

    asyncio.run(run())
    assert home.left() == []
    assert home.left_over() == ()
    assert "source_copy_remains" not in remarks_of_delete(home, home.only().id)


def test_copy_with_a_second_name_is_not_noted_as_gone_at_a_start_and_its_delete_says_that_it_remains(
    home: Home,
) -> None:
    home.put(NAME, b"content")
    home.scan(home.settings(after="leave"))
    home.index.write_now(lambda tx: tx.execute("UPDATE object SET source_copy = 'taken'"))  # as if cut before step 5
    (home.top / "backup").hardlink_to(home.spool / NAME)
    home.reopen()
    home.scan()
    assert home.left() == [NAME]
    assert "source_copy_remains" in remarks_of_delete(home, home.only().id)


@pytest.mark.parametrize("name", ["Birthday", None])
def test_copy_whose_name_was_corrected_is_not_noted_as_gone_while_it_stands_and_does_not_return(
    home: Home, monkeypatch: pytest.MonkeyPatch, name: str | None
) -> None:
    """Nothing stood under the corrected name: the copy counted as given up, and what retention removed came back."""
    home.put(NAME, b"content")
    with monkeypatch.context() as patched:
        patched.setattr(root_module, "remove_beneath", refused)
        home.scan()
        item = home.only()
        if name is None:  # as an older version left it, which overwrote the source's name
            home.index.write_now(lambda tx: tx.execute("UPDATE object SET source_name = '', corrected_name = 'Ada'"))
        else:
            home.index.write_now(lambda tx: home.vault.set_name(tx, item.id, name))
        home.reopen()
        home.scan()
        assert [one.id for one in home.left_over()] == [item.id]
        assert audited(home).count("source_given_up") == 0
        expire(home, item.id)
        home.reopen()
        home.scan()
    assert home.left() == [NAME]
    assert home.objects() == ()
    home.scan()
    assert (home.left(), home.objects()) == ([], ())


@pytest.mark.parametrize("name", ["Birthday", None])
def test_copy_whose_name_was_corrected_is_noted_as_gone_once_it_is(
    home: Home, monkeypatch: pytest.MonkeyPatch, name: str | None
) -> None:
    home.put(NAME, b"content")
    with monkeypatch.context() as patched:
        patched.setattr(root_module, "remove_beneath", refused)
        home.scan()
    item = home.only()
    if name is None:
        home.index.write_now(lambda tx: tx.execute("UPDATE object SET source_name = '', corrected_name = 'Ada'"))
    else:
        home.index.write_now(lambda tx: home.vault.set_name(tx, item.id, name))
    home.reopen()
    home.scan()
    assert (home.left(), home.left_over()) == ([], ())
    assert audited(home).count("source_given_up") == 1
    assert "source_copy_remains" not in remarks_of_delete(home, item.id)


def refused(*_about: object, **_words: object) -> None:
    raise PermissionError(errno.EACCES, "Permission denied")


def audited(home: Home) -> list[str]:
    return [json.loads(line)["kind"] for line in home.index.read_now(lambda tx: audit.entries(tx, 0))[1]]


def expire(home: Home, *ids: str) -> None:
    """Remove as retention does."""

    async def run() -> None:
        eraser = Erasure(vault=home.vault, index=home.index, keystore=home.keystore, finish=lambda *_args: None)
        await eraser.begin(ids, rule="category.recording.keep.age", moment=NOW)
        await eraser.resume(NOW)

    asyncio.run(run())


def test_copy_is_not_said_to_be_gone_by_a_folder_that_took_the_place_of_its_own(home: Home) -> None:
    # As at a start before the disk is mounted: the empty folder beneath its mount point said that all copies were gone.
    home.put(NAME, b"content")
    home.scan(home.settings(after="leave"))
    home.index.write_now(lambda tx: tx.execute("UPDATE object SET source_copy = 'taken'"))  # as if cut before step 5
    disk = home.spool.rename(home.top / "disk")
    home.spool.mkdir()
    home.reopen()
    home.scan()
    assert [item.id for item in home.left_over()] == [home.only().id]
    home.spool.rmdir()
    disk.rename(home.spool)
    home.scan()
    assert home.left() == []
    assert home.left_over() == ()


def test_file_that_was_added_to_after_it_was_read_is_taken_again_and_then_both_copies_are_gone(
    home: Home, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "AGAIN_S", 0.05)
    home.put(NAME, b"half")

    def add(event: IngestEvent) -> None:
        home.events.append(event)
        if event.kind == "admitted" and len(home.reasons("admitted")) == 1:
            with (home.spool / NAME).open("ab") as writer:
                writer.write(b", whole")

    async def run() -> None:
        flow = home.ingest(on_event=add)
        try:
            async with asyncio.TaskGroup() as tasks:
                running = tasks.create_task(flow.run())
                await until(lambda: home.left_over() == () and home.left() == [])
                running.cancel()
        finally:
            flow.close()
            await home.sealers[-1].aclose()

    asyncio.run(run())
    assert sorted(home.opened(item) for item in home.objects()) == [b"half", b"half, whole"]
    assert home.reasons("later") == ["the file changed after it was read"]


def test_deleted_file_that_vanished_by_itself_is_not_said_to_be_destroyed(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    erase(home, cutoff=Selection(camera="", category="recording"))
    home.put(NAME, b"late")
    find = Known.find

    def find_then_vanish(known: Known, tx: Tx, work: Work) -> object:
        found = find(known, tx, work)
        (home.spool / NAME).unlink(missing_ok=True)
        return found

    monkeypatch.setattr(Known, "find", find_then_vanish)
    home.scan()
    _, lines = home.index.read_now(lambda tx: audit.entries(tx, 0))
    assert [line for line in lines if b"source_given_up" in line] == []
    assert home.reasons("deleted_before") == []


def test_hostile_files_leave_nothing_and_stop_nothing(home: Home, tmp_path: Path) -> None:
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    (home.spool / "a.mp4").symlink_to(tmp_path / "secret.mp4")
    os.mkfifo(home.spool / "b.mp4")
    (home.spool / "c.mp4").hardlink_to(tmp_path / "secret.mp4")
    (home.spool / "d\n.mp4").write_bytes(b"x")
    home.put(NAME, b"good")
    home.scan()
    assert home.opened(home.only()) == b"good"
    assert len(home.reasons("unreadable")) == 4


def test_two_files_that_hold_the_same_are_two_objects(home: Home) -> None:
    home.put(NAME, b"same")
    home.put(NAME.replace("front", "back"), b"same")
    home.scan()
    assert [home.opened(item) for item in home.objects()] == [b"same", b"same"]


def test_empty_file_is_an_object_too(home: Home) -> None:
    home.put(NAME, b"")
    home.scan()
    assert home.opened(home.only()) == b""


def test_copy_that_a_cut_left_behind_is_given_up_at_the_next_start(home: Home) -> None:
    # The state after a cut between steps 4 and 5: acknowledged, and the source still has its copy.
    home.put(NAME, b"content")
    for name in LOGS[:2]:
        home.put(name, log(name))
    kept = home.top / "kept"
    shutil.copytree(home.spool, kept, copy_function=shutil.copy2)
    home.scan(home.settings(after="leave"))
    before = {item.id for item in home.objects()}
    home.index.write_now(lambda tx: tx.execute("UPDATE object SET source_copy = 'taken'"))
    home.reopen()
    home.scan()
    assert home.left() == []
    assert {item.id for item in home.objects()} == before
    assert home.left_over() == ()


def test_running_flow_takes_what_comes(home: Home, until: Until) -> None:
    contents = {f"cam{n % 3}/recording/2026-11-22T10-{n:02d}-00.000Z_10s.mp4": os.urandom(50_000) for n in range(40)}

    async def run() -> None:
        flow = home.ingest(home.settings(batch_age_s=0.1))
        try:
            async with asyncio.TaskGroup() as tasks:
                running = tasks.create_task(flow.run())
                for name, content in contents.items():
                    await asyncio.to_thread(home.put, name, content)
                await asyncio.to_thread(home.put, LOGS[0], log(1))
                await until(lambda: flow.counts["admitted"] == 41 and home.left() == [])
                running.cancel()
        finally:
            flow.close()
            await home.sealers[-1].aclose()

    asyncio.run(run())
    found = {item.name: home.opened(item) for item in home.objects()}
    assert found == {**contents, LOGS[0]: log(1)}
    assert home.index.commits < 41 * 3


def test_file_that_is_still_written_comes_when_it_is_done(
    home: Home, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "AGAIN_S", 0.05)
    file = home.put(NAME, b"half")

    async def run() -> None:
        flow = home.ingest()
        try:
            async with asyncio.TaskGroup() as tasks:
                with file.open("ab") as writer:
                    running = tasks.create_task(flow.run())
                    await until(lambda: flow.counts["later"] > 0)
                    assert home.objects() == ()
                    writer.write(b", whole")
                await until(lambda: flow.counts["admitted"] == 1 and home.left() == [])
                running.cancel()
        finally:
            flow.close()
            await home.sealers[-1].aclose()

    asyncio.run(run())
    assert home.opened(home.only()) == b"half, whole"


def test_nothing_clear_is_left_anywhere_of_ours(home: Home) -> None:
    content = b"".join(b"clear sample %08d of this recording. " % n for n in range(4000))
    home.put(NAME, content)
    home.put("front/photo/2026-11-22T10-15-00.000Z.jpg", content[::-1])
    home.put(LOGS[0], log("clear line"))
    home.scan()
    samples = [content[at : at + 32] for at in range(0, len(content) - 32, 4096)] + [b"clear line", b"usage-log"]
    samples += [sample[::-1] for sample in samples]
    files = [path for path in home.state.rglob("*") if path.is_file()]
    assert len(files) >= 5
    for file in files:
        written = file.read_bytes()
        assert not [sample for sample in samples if sample in written]
    planted = home.state / "planted"
    planted.write_bytes(content)
    assert any(sample in planted.read_bytes() for sample in samples)


def test_files_and_folders_of_the_vault_are_private(home: Home) -> None:
    home.put(NAME, b"content")
    home.scan()
    for path in home.state.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0


def test_memory_of_what_was_told_is_bounded(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling_module, "TOLD_MAX", 3)
    for n in range(10):
        home.put(f"front/usage-log/2026-11-22T1{n}-00-00.000Z.jsonl", b"bad\n")
    flow = home.scan()
    assert len(flow._telling._told) == 3
    assert flow.counts["unreadable"] == 10


def test_source_whose_folder_fails_ends_no_other_and_is_told(
    home: Home, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A disk that is pulled fails where its names are read (EIO): that ended the whole process.
    away = home.top / "away"
    away.mkdir()
    pulled = False
    scandir = os.scandir

    def failing(fd: int) -> object:
        if pulled and Path(f"/proc/self/fd/{fd}").readlink() == away:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return scandir(fd)

    monkeypatch.setattr("agent.sources.walk.os.scandir", failing)

    async def run() -> None:
        nonlocal pulled
        flow = home.ingest(home.settings(), home.settings(name="away", path=away))
        try:
            async with asyncio.TaskGroup() as tasks:
                running = tasks.create_task(flow.run())
                await until(lambda: flow.counts["source_back"] == 2)
                pulled = True
                flow.reconsider()
                await until(lambda: flow.counts["source_failed"] == 1)
                home.put(NAME, b"content")
                await until(lambda: flow.counts["admitted"] == 1)
                home.put(NAME, b"another", folder=away)
                pulled = False
                await until(lambda: flow.counts["admitted"] == 2 and flow.counts["source_back"] == 3)
                running.cancel()
        finally:
            flow.close()
            await home.sealers[-1].aclose()

    asyncio.run(run())
    assert [event.source for event in home.events if event.kind == "source_failed"] == ["away"]
