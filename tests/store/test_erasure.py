"""Forgetting: what is gone is gone from every place of ours, survivors stay readable, and receipts tell the truth."""

import asyncio
import secrets
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent import audit, chain, erasure, tombstone, vault
from agent.errors import CorruptError, RefusedError
from agent.ids import Ids
from agent.index import Index, Tx
from agent.index import vault as rows
from agent.keystore import Keystore
from agent.keytree import BranchKey, unwrap_branch, unwrap_group, wrap_group
from agent.model import AtStore, Object, Outcome, Selection, new_id
from agent.vault import Vault
from tests.store.home import NOW, Home, made_of, run


def test_deleted_object_is_gone_everywhere_and_others_stay(home: Home) -> None:
    keys = [secrets.token_bytes(16) for _ in range(5)]
    kept = [run(home.keep(key)) for key in keys]
    outcomes = run(home.erase(kept[2].id))
    assert outcomes == {kept[2].id: Outcome(id=kept[2].id, result="deleted", remarks=("source_copy_remains",))}
    assert home.finished == [("command", tuple(outcomes.values()))]
    assert home.get(kept[2].id) is None
    assert not home.vault.payload_path(kept[2].id).exists()
    with pytest.raises(CorruptError, match="has no slot"):
        home.slot_key(kept[2].id)
    for index in (0, 1, 3, 4):
        assert home.slot_key(kept[index].id) == keys[index]
    assert home.rows("SELECT slots, version FROM key_group") == [(4, 2)]
    for table in ("intent", "erasure", "erasure_item"):
        assert home.rows(f"SELECT count(*) FROM {table}") == [(0,)], table  # noqa: S608 - names of our own tables


def test_copy_of_the_vault_made_before_opens_survivors_only(home: Home, tmp_path: Path) -> None:
    victim, survivor = run(home.keep()), run(home.keep())
    old_roots = home.keystore.roots()
    index_key = home.keystore.index_key()
    home.close()
    before = tmp_path / "before"
    shutil.copytree(home.folder, before)

    home = Home(home.folder)
    run(home.erase(victim.id))
    after = Keystore.open(home.folder / "keystore")
    assert old_roots[0].key not in (home.folder / "keystore").read_bytes()
    assert after.roots() != old_roots
    home.close()

    # A thief with the old files and today's keystore: the old index names a root that is gone.
    stolen = Index(before / "index.db", key=index_key)
    with pytest.raises(CorruptError, match="lacks root"):
        Vault(folder=before, index=stolen, keystore=after)
    # Even told to use today's root, neither the victim's nor any other old slot opens.
    stolen.write_now(lambda tx: rows.set_root_id(tx, after.roots()[0].id))
    thief = Vault(folder=before, index=stolen, keystore=after)
    for found in (victim, survivor):
        with pytest.raises(CorruptError):
            stolen.read_now(partial(thief.slot_key, object_id=found.id))
    stolen.close()
    # Today's index has the survivor alone, and it opens.
    today = Home(home.folder)
    assert len(today.slot_key(survivor.id)) == 16
    with pytest.raises(CorruptError):
        today.slot_key(victim.id)
    today.close()


def test_log_is_empty_after_the_keys_changed_and_holds_only_the_receipt_after(tmp_path: Path) -> None:
    sizes: dict[int, int] = {}
    home = Home(tmp_path / "vault", at=lambda step: sizes.update({step: log.stat().st_size}))
    log = home.folder / "index.db-wal"
    run(home.erase(run(home.keep()).id))
    assert sizes[3] > 0
    assert sizes[4] == 0
    home.close()


def test_steps_come_in_their_order(tmp_path: Path) -> None:
    steps: list[int] = []
    home = Home(tmp_path / "vault", at=steps.append)
    run(home.erase(run(home.keep()).id))
    assert steps == [1, 2, 3, 4, 5, 6, 7]
    home.close()


def test_absent_and_repeated_ids_are_told_as_already_gone(home: Home) -> None:
    kept, absent = run(home.keep()), new_id()
    roots = home.keystore.roots()
    assert {outcome.result for outcome in run(home.erase(absent)).values()} == {"already_gone"}
    assert home.keystore.roots() == roots  # nothing to forget costs no rotation
    first = run(home.erase(kept.id, kept.id, absent))
    assert {name: outcome.result for name, outcome in first.items()} == {kept.id: "deleted", absent: "already_gone"}
    assert run(home.erase(kept.id))[kept.id].result == "already_gone"


def test_fully_deleted_group_is_dropped_without_rewrapping(home: Home) -> None:
    kept = run(home.keep_many(6))
    run(home.erase(*(found.id for found in kept)))
    assert home.rows("SELECT count(*) FROM key_group") == [(0,)]
    assert b'"rewrapped":0' in home.rows("SELECT line FROM audit WHERE CAST(line AS TEXT) LIKE '%keys_rotated%'")[0][0]
    assert home.index.read_now(home.vault.totals).all.objects == 0
    again = run(home.keep())
    assert len(home.slot_key(again.id)) == 16


def test_only_the_victims_group_is_rewrapped(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vault, "GROUP_SLOTS", 4)
    kept = run(home.keep_many(12))
    run(home.erase(kept[0].id))
    assert sorted(home.rows("SELECT slots, version FROM key_group")) == [(3, 2), (4, 1), (4, 1)]
    for found in kept[1:]:
        assert len(home.slot_key(found.id)) == 16


def small_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vault, "GROUP_SLOTS", 2)
    monkeypatch.setattr(vault, "BRANCH_GROUPS", 2)


def test_only_the_victims_branch_is_rewrapped_and_a_dead_one_goes(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    small_tree(monkeypatch)
    kept = run(home.keep_many(10))
    assert home.rows("SELECT version, groups FROM key_branch ORDER BY n") == [(1, 2), (1, 2), (1, 1)]
    first, last = (
        {row[0] for row in home.rows(f"SELECT id FROM object ORDER BY n {order} LIMIT 4")}  # noqa: S608 - our own words
        for order in ("ASC", "DESC")
    )
    (victim, *others) = sorted(first)
    run(home.erase(victim))
    assert home.rows("SELECT version, groups FROM key_branch ORDER BY n") == [(2, 2), (1, 2), (1, 1)]
    assert sorted(home.rows("SELECT version FROM key_group")) == [(1,), (1,), (1,), (1,), (2,)]
    run(home.erase(*others))
    assert home.rows("SELECT version, groups FROM key_branch ORDER BY n") == [(1, 2), (1, 1)]
    for found in kept:
        if found.id not in first:
            assert len(home.slot_key(found.id)) == 16
    run(home.erase(*last))
    left = [found for found in kept if found.id not in first | last]
    assert [len(home.slot_key(found.id)) for found in left] == [16, 16]


def test_old_wrap_of_a_group_key_is_opened_by_no_key_that_lives_on(home: Home) -> None:
    victim, survivor = run(home.keep()), run(home.keep())
    ((group, version, wrapped),) = home.rows("SELECT id, version, wrapped FROM key_group")
    ((branch, before),) = home.rows("SELECT id, version FROM key_branch")
    run(home.erase(victim.id))
    ((same, after, above),) = home.rows("SELECT id, version, wrapped FROM key_branch")
    assert (same, after) == (branch, before + 1)
    (root,) = home.keystore.roots()
    today = unwrap_branch(root, above, id=branch, version=after)
    for about in (before, after):
        with pytest.raises(CorruptError, match="group key"):
            unwrap_group(BranchKey(branch, about, today.key), wrapped, id=group, version=version)
    assert len(home.slot_key(survivor.id)) == 16


def without_branches(home: Home) -> None:
    """Make the index one from before there were branches."""

    def write(tx: Tx) -> None:
        root = home.vault.root(tx)
        for n, group_id, version, wrapped, branch_id, of, above in tx.execute(
            "SELECT g.n, g.id, g.version, g.wrapped, b.id, b.version, b.wrapped"
            " FROM key_group g JOIN key_branch b ON b.n = g.branch"
        ):
            branch = unwrap_branch(root, above, id=branch_id, version=of)
            key = unwrap_group(branch, wrapped, id=group_id, version=version)
            tx.execute("UPDATE key_group SET branch = NULL, wrapped = ? WHERE n = ?", (wrap_group(root, key), n))
        tx.execute("DELETE FROM key_branch")

    home.index.write_now(write)


def test_groups_from_before_there_were_branches_get_some_with_the_next_change_of_roots(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_tree(monkeypatch)
    kept = run(home.keep_many(9))
    keys = {found.id: home.slot_key(found.id) for found in kept}
    without_branches(home)
    assert {found.id: home.slot_key(found.id) for found in kept} == keys
    late = run(home.keep())
    assert home.rows("SELECT slots FROM key_group WHERE branch IS NOT NULL") == [(1,)], "an old group takes none in"
    run(home.erase(kept[0].id))
    assert home.rows("SELECT count(*) FROM key_group WHERE branch IS NULL") == [(0,)]
    assert home.rows("SELECT groups FROM key_branch ORDER BY n") == [(2,), (2,), (2,)]
    assert {found.id: home.slot_key(found.id) for found in kept[1:]} == {found.id: keys[found.id] for found in kept[1:]}
    assert len(home.slot_key(late.id)) == 16


def test_slots_of_all_groups_that_die_count_together(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    small_tree(monkeypatch)
    run(home.keep_many(6))
    monkeypatch.setattr(erasure, "WHOLE_GROUPS", 4)
    ids = [row[0] for row in home.rows("SELECT id FROM object ORDER BY n")]

    def worth_it() -> bool:
        begun = home.index.read_now(home.erasure.begun)
        return begun is not None and begun.whole_groups

    run(home.erasure.begin(ids[:3], rule="r", moment=NOW))
    assert not worth_it(), "of the second group one survives"
    run(home.erasure.begin(ids[3:4], rule="r", moment=NOW))
    assert worth_it()


def test_large_selection_goes_in_parts_with_one_receipt(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vault, "GROUP_SLOTS", 5)
    monkeypatch.setattr(erasure, "ROTATION_GROUPS", 2)
    monkeypatch.setattr(erasure, "SMALL", 3)
    monkeypatch.setattr(erasure, "PART", 7)
    kept = run(home.keep_many(40))
    survivors = kept[::10]
    victims = [found.id for found in kept if found not in survivors]
    outcomes = run(home.erasure.erase(victims, actor="o", rule="r", command="c", moment=NOW))
    assert [outcome.result for outcome in outcomes] == ["deleted"] * 36
    assert [outcome.id for outcome in outcomes] == sorted(victims)
    assert len(home.finished) == 1
    for found in survivors:
        assert len(home.slot_key(found.id)) == 16
    assert {path.name for path in home.vault.payloads.folder.iterdir()} == {found.id for found in survivors}


def test_requests_that_come_together_share_rotations_and_each_gets_its_own_answer(home: Home) -> None:
    kept = run(home.keep_many(10))

    async def work() -> list[dict[str, Outcome]]:
        wanted = [(found.id, f"command{number}") for number, found in enumerate(kept)]
        return await asyncio.gather(*(home.erase(name, command=command) for name, command in wanted))

    answers = run(work())
    assert [list(answer) for answer in answers] == [[found.id] for found in kept]
    assert {outcome.result for answer in answers for outcome in answer.values()} == {"deleted"}
    assert sorted(command for command, _ in home.finished) == sorted(f"command{number}" for number in range(10))
    ((rotations,),) = home.rows("SELECT count(*) FROM audit WHERE CAST(line AS TEXT) LIKE '%keys_rotated%'")
    assert 1 <= rotations <= 3


def test_object_named_by_two_requests_is_deleted_for_both(home: Home) -> None:
    kept = run(home.keep())

    async def work() -> list[dict[str, Outcome]]:
        return await asyncio.gather(*(home.erase(kept.id, command=command) for command in ("a", "b")))

    assert [answer[kept.id].result for answer in run(work())] == ["deleted", "deleted"]


def test_request_that_is_cancelled_anywhere_is_finished_by_the_next_run(home: Home) -> None:
    async def work() -> None:
        for turns in range(0, 3000, 200):
            kept = await home.keep()
            task = asyncio.ensure_future(home.erase(kept.id))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await home.resume()
            found = await home.index.read(partial(home.vault.get, object_id=kept.id))
            assert found is None or found == kept  # never half: erasing for ever

    run(work())
    assert home.rows("SELECT count(*) FROM intent") == [(0,)]
    assert home.rows("SELECT count(*) FROM erasure") == [(0,)]
    assert len(home.keystore.roots()) == 1


def test_object_that_the_judge_keeps_is_told_as_held_and_stays(tmp_path: Path) -> None:
    def judge(_tx: object, found: Object | AtStore, actor: str, rule: str) -> Outcome | None:
        assert (actor, rule) == ("owner", "test")
        assert isinstance(found, Object)
        return Outcome(id=found.id, result="held") if found.name == "held" else None

    home = Home(tmp_path / "vault", judge=judge)
    held, free = run(home.keep(name="held")), run(home.keep())
    outcomes = run(home.erase(held.id, free.id))
    assert (outcomes[held.id].result, outcomes[free.id].result) == ("held", "deleted")
    assert home.get(held.id) == held
    assert len(home.slot_key(held.id)) == 16
    home.close()


def test_remarks_say_what_is_not_ours_to_remove(home: Home) -> None:
    left = run(home.keep(source_copy="left", medium="disk"))
    given_up = run(home.keep(medium="disk"))
    home.index.write_now(lambda tx: home.vault.mark_source_gone(tx, given_up.id))
    outcomes = run(home.erase(left.id, given_up.id))
    assert outcomes[left.id].remarks == ("source_copy_remains", "clear_source_blocks_may_remain")
    assert outcomes[given_up.id].remarks == ("clear_source_blocks_may_remain",)


# -- remote copies


def test_stored_copy_waits_for_the_store_and_is_confirmed_by_its_word(home: Home) -> None:
    kept = run(home.keep())
    home.index.write_now(lambda tx: home.vault.mark_source_gone(tx, kept.id))
    upload = home.upload(kept.id)
    assert run(home.erase(kept.id))[kept.id] == Outcome(
        id=kept.id, result="waiting_for_cloud", remarks=("cloud_unconfirmed",)
    )
    (copy,) = home.index.read_now(lambda tx: home.erasure.pending_remote(tx, "store", 10))
    assert (copy.upload, copy.object, copy.manifest) == (upload, kept.id, "m" * 64)
    assert home.confirm(new_id()) == ()
    assert home.confirm(upload, "f" * 64) == ()
    assert home.confirm(upload) == ("command",)
    assert home.finished[-1] == (
        "command",
        (Outcome(id=kept.id, result="deleted", remarks=("cloud_confirmed",), stated_by="store"),),
    )
    assert home.confirm(upload) == ()
    assert len(home.finished) == 2
    assert home.index.read_now(lambda tx: home.erasure.pending_remote(tx, "store", 10)) == ()
    assert home.rows("SELECT count(*) FROM upload") == [(0,)]


def answered_by_camera(home: Home, object_id: str) -> None:
    home.index.write_now(
        lambda tx: home.erasure.note_source_erased(tx, object_id, stated_by="kid", blocks_remain=False, moment=NOW)
    )


def both(home: Home) -> tuple[Object, str]:
    """Keep what a store and its camera have too; return it and its upload."""
    kept = run(home.keep(source="camera-link:x", source_copy="asked", source_sha256=b"s" * 32))
    return kept, home.upload(kept.id)


def test_delete_that_waits_for_a_camera_alone_blames_the_store_no_more(home: Home) -> None:
    """Its receipt went on to say that it waits for the store, which had confirmed."""
    kept, upload = both(home)
    other, second = both(home)
    outcome = run(home.erase(kept.id, other.id))[kept.id]
    assert (outcome.result, outcome.remarks) == ("waiting_for_cloud", ("camera_unconfirmed", "cloud_unconfirmed"))
    assert home.confirm(upload) == ()
    assert len(home.finished) == 1  # a store's word is still missing
    assert home.confirm(second) == ()
    command, told = home.finished[-1]
    assert command == "command"
    assert [(one.result, one.remarks) for one in told] == [
        ("waiting_for_camera", ("camera_unconfirmed", "cloud_confirmed"))
    ] * 2
    answered_by_camera(home, kept.id)
    assert len(home.finished) == 2
    answered_by_camera(home, other.id)
    assert len(home.finished) == 3
    assert {(one.result, one.remarks) for one in home.finished[-1][1]} == {
        ("deleted", ("camera_confirmed", "cloud_confirmed"))
    }


def test_delete_whose_cameras_have_answered_waits_for_the_store_alone_and_says_so_once(home: Home) -> None:
    kept, upload = both(home)
    other, second = both(home)
    run(home.erase(kept.id, other.id))
    answered_by_camera(home, kept.id)
    assert len(home.finished) == 1
    answered_by_camera(home, other.id)
    assert {(one.result, one.remarks) for one in home.finished[-1][1]} == {
        ("waiting_for_cloud", ("camera_confirmed", "cloud_unconfirmed"))
    }
    assert len(home.finished) == 2
    home.confirm(upload)
    assert len(home.finished) == 2
    assert home.confirm(second) == ("command",)
    assert len(home.finished) == 3


def test_another_store_is_not_asked_and_its_word_is_not_believed(home: Home) -> None:
    """After a change of the store the new one truly stated ``absent``, and the receipt said deleted everywhere."""
    kept = run(home.keep())
    upload = home.upload(kept.id)
    assert run(home.erase(kept.id))[kept.id].result == "waiting_for_cloud"
    assert home.index.read_now(lambda tx: home.erasure.pending_remote(tx, "another store", 10)) == ()
    assert home.confirm(upload, stated_by="another store") == ()
    assert len(home.index.read_now(lambda tx: home.erasure.pending_remote(tx, "store", 10))) == 1
    assert home.confirm(upload) == ("command",)


def test_half_sent_upload_is_erased_at_the_store_and_told(home: Home) -> None:
    kept = run(home.keep())
    upload = home.upload(kept.id, stored=False)
    outcome = run(home.erase(kept.id))[kept.id]
    assert outcome.result == "waiting_for_cloud"
    assert "half_upload_aborted" in outcome.remarks
    assert home.confirm(upload) == ("command",)


def test_upload_that_was_never_begun_leaves_no_copy_to_ask_for(home: Home) -> None:
    kept = run(home.keep())
    home.index.write_now(lambda tx: home.vault.begin_upload(tx, kept.id, moment=NOW))
    assert run(home.erase(kept.id))[kept.id].result == "deleted"
    assert home.rows("SELECT count(*) FROM upload") == [(0,)]


def test_every_copy_that_a_store_ever_had_is_asked_for(home: Home) -> None:
    kept = run(home.keep())
    given_up = home.upload(kept.id, "1" * 64, stored=False)
    home.index.write_now(lambda tx: home.vault.forget_upload(tx, given_up))
    current = home.upload(kept.id, "2" * 64)
    run(home.erase(kept.id))
    asked = {copy.upload for copy in home.index.read_now(lambda tx: home.erasure.pending_remote(tx, "store", 10))}
    assert asked == {given_up, current}
    assert home.confirm(given_up, "1" * 64) == ()
    assert home.confirm(current, "2" * 64) == ("command",)


def test_storage_receipt_that_comes_after_the_delete_does_not_bring_the_object_back(home: Home) -> None:
    kept = run(home.keep())
    upload = home.upload(kept.id, stored=False)
    run(home.erase(kept.id))
    assert not home.index.write_now(
        lambda tx: home.vault.note_stored(tx, upload, region="eu", stated_by="store", epoch="e", moment=NOW)
    )
    assert home.get(kept.id) is None
    assert len(home.index.read_now(lambda tx: home.erasure.pending_remote(tx, "store", 10))) == 1


def test_word_that_comes_before_the_last_step_counts(tmp_path: Path) -> None:
    uploads: list[str] = []

    def at(step: int) -> None:
        if step == 3:
            home.confirm(uploads[0])

    home = Home(tmp_path / "vault", at=at)
    kept = run(home.keep())
    uploads.append(home.upload(kept.id))
    outcome = run(home.erase(kept.id))[kept.id]
    assert (outcome.result, outcome.stated_by) == ("deleted", "store")
    assert len(home.finished) == 1
    assert home.rows("SELECT count(*) FROM upload") == [(0,)]
    home.close()


def test_retention_leaves_a_stored_copy_and_a_later_delete_still_finds_it(home: Home) -> None:
    kept = run(home.keep(camera="cam7"))
    upload = home.upload(kept.id)
    run(home.expire(kept.id))
    assert home.get(kept.id) is None
    assert home.index.read_now(lambda tx: home.erasure.pending_remote(tx, "store", 10)) == ()
    for selection in (Selection(camera="cam7"), Selection(all=True)):
        assert home.index.read_now(partial(home.vault.select, selection=selection)) == Ids.of((kept.id,))
    assert run(home.erase(kept.id))[kept.id].result == "waiting_for_cloud"
    assert home.index.read_now(lambda tx: home.vault.select(tx, Selection(all=True))) == Ids()
    assert run(home.erase(kept.id, command="again"))[kept.id].result == "waiting_for_cloud"
    assert sorted(home.confirm(upload)) == ["again", "command"]
    assert run(home.erase(kept.id, command="last"))[kept.id].result == "already_gone"


def test_retention_still_aborts_a_half_sent_upload(home: Home) -> None:
    kept = run(home.keep())
    upload = home.upload(kept.id, stored=False)
    run(home.expire(kept.id))
    assert [copy.upload for copy in home.index.read_now(lambda tx: home.erasure.pending_remote(tx, "store", 10))] == [
        upload
    ]
    assert home.confirm(upload) == ()
    assert home.rows("SELECT count(*) FROM upload") == [(0,)]


# -- what must not return


def test_deleted_recording_does_not_return_by_its_source_or_by_its_content(home: Home) -> None:
    source, content = secrets.token_bytes(32), secrets.token_bytes(32)
    run(home.erase(run(home.keep(source_tag=source, content_tag=content)).id))
    # By its source alone only where the copy stays: where it would be destroyed, it may be another recording.
    for tags in ({"source_tag": source, "source_copy": "left"}, {"content_tag": content}):
        with pytest.raises(RefusedError, match="deleted before"):
            run(home.keep(**tags))
    assert run(home.keep()).state == "sealed"


COMMANDED_MS = NOW.agent_ms


@pytest.mark.parametrize(
    ("cutoff", "late", "refused"),
    [
        (Selection(all=True), {}, True),
        (Selection(all=True), {"captured_from_ms": COMMANDED_MS, "captured_to_ms": COMMANDED_MS + 1}, False),
        (Selection(camera="cam1"), {}, True),
        (Selection(camera="cam1"), {"camera": "cam2"}, False),
        (Selection(category="photo"), {}, False),
        (Selection(category="photo"), {"category": "photo"}, True),
        (Selection(camera="cam1", category="photo"), {}, False),
        (Selection(from_="2023-11-14T22:14:00Z", to="2023-11-14T22:15:00Z"), {}, True),
        (Selection(from_="2023-11-14T22:14:20Z"), {}, False),  # half-open: it ended at that moment
        (Selection(from_="2023-11-14T22:14:19.999Z"), {}, True),
        (Selection(to="2023-11-14T22:13:20Z"), {}, False),  # half-open: it began at that moment
        (Selection(to="2023-11-14T22:13:20.001Z"), {}, True),
    ],
)
def test_cut_off_refuses_what_was_recorded_before_and_turns_up_later(
    home: Home, cutoff: Selection, late: dict[str, Any], *, refused: bool
) -> None:
    run(home.erase(cutoff=cutoff))
    if refused:
        with pytest.raises(RefusedError, match=r"deleted before \(test\)"):
            run(home.keep(**late))
    else:
        assert run(home.keep(**late)).state == "sealed"


def test_recording_that_was_being_sealed_when_everything_was_deleted_is_not_taken_in(home: Home) -> None:
    async def work() -> None:
        group = await home.vault.group()
        await home.erase(cutoff=Selection(all=True))
        with pytest.raises(RefusedError):
            await home.keep()
        assert group is not None

    run(work())
    assert list(home.vault.payloads.folder.iterdir()) == []


def test_delete_of_everything_takes_back_no_earlier_delete(home: Home) -> None:
    kept = run(home.keep_many(3))
    run(home.erase(kept[0].id))
    run(home.erase(cutoff=Selection(camera="cam1")))
    assert home.rows("SELECT count(*) FROM tombstone WHERE length(content_tag) > 0") == [(1,)]
    run(home.erase(cutoff=Selection(all=True)))
    assert home.rows("SELECT count(*) FROM tombstone") == [(1,)], "its content may come again under a later date"
    assert home.rows("SELECT count(*) FROM cutoff") == [(1,)], "the wider one covers the other"


def test_same_cut_off_again_moves_its_mark_and_adds_no_row(home: Home) -> None:
    for _ in range(3):
        run(home.erase(cutoff=Selection(camera="cam1")))
    assert home.rows("SELECT count(*) FROM cutoff") == [(1,)]


def test_too_many_cut_offs_become_wider_ones(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tombstone, "CUTOFFS_MAX", 4)
    for second in range(0, 40, 2):
        times = [f"2023-11-14T22:13:{value:02}Z" for value in (second, second + 1)]
        run(home.erase(cutoff=Selection(camera="cam1", from_=times[0], to=times[1])))
    assert home.rows("SELECT count(*) FROM cutoff") == [(4,)]
    for second in range(0, 40, 2):
        moment_ms = 1_700_000_000_000 - 20_000 + second * 1000  # 22:13:00 and on
        with pytest.raises(RefusedError):
            run(home.keep(captured_from_ms=moment_ms, captured_to_ms=moment_ms + 1000))


@pytest.mark.parametrize(
    "cutoffs",
    [
        [Selection(from_=f"2023-11-14T22:{minute}:00Z") for minute in range(30, 10, -1)],
        [Selection(to=f"2023-11-14T22:{minute}:00Z") for minute in range(10, 30)],
        [Selection(camera=f"cam{n}", from_="2023-11-14T22:13:00Z") for n in range(20)],
        [Selection(category=category, camera=f"cam{n}") for n in range(10) for category in ("recording", "photo")],
        [Selection(from_=f"2023-11-14T22:{n}:00Z", to=f"2023-11-14T22:{60 - n}:00Z") for n in range(10, 30)],
    ],
    ids=["from", "to", "cameras", "categories", "within each other"],
)
def test_cut_offs_of_every_kind_are_bounded_and_go_on_refusing(
    home: Home, monkeypatch: pytest.MonkeyPatch, cutoffs: list[Selection]
) -> None:
    # Only intervals with both ends became one: a device whose owner deletes with a begin alone kept them all.
    monkeypatch.setattr(tombstone, "CUTOFFS_MAX", 4)
    for cutoff in cutoffs:
        run(home.erase(cutoff=cutoff))
        assert home.rows("SELECT count(*) <= 4 FROM cutoff") == [(1,)]
    for cutoff in cutoffs:
        with pytest.raises(RefusedError):
            run(home.keep(camera=cutoff.camera or "cam1", category=cutoff.category or "recording"))


def test_cut_off_that_another_covers_is_none_of_its_own(home: Home) -> None:
    narrow = Selection(camera="cam1", from_="2023-11-14T22:13:00Z", to="2023-11-14T22:14:00Z")
    wide = Selection(camera="cam1", from_="2023-11-14T22:00:00Z")
    for cutoff in (narrow, wide, narrow, Selection(camera="cam2"), Selection(camera="cam1", category="photo")):
        run(home.erase(cutoff=cutoff))
    assert home.rows("SELECT camera, category, to_ms IS NULL FROM cutoff ORDER BY n") == [
        ("cam1", "", 1),
        ("cam2", "", 1),
        ("cam1", "photo", 1),
    ]


def test_each_file_of_a_deleted_batch_stays_away_by_itself(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    # A batch of log files left one tombstone, of all of them joined: one of its files came back under another name.
    batch = made_of(20)
    run(home.erase(run(home.keep(files=batch)).id))
    for file in batch:
        with pytest.raises(RefusedError, match="deleted before"):
            run(home.keep(content_tag=file.content_tag))
        with pytest.raises(RefusedError, match="deleted before"):
            run(home.keep(source_tag=file.source_tag, source_copy="left"))
    with pytest.raises(RefusedError, match="deleted before"):  # nor inside another batch
        run(home.keep(files=(*made_of(1), msgspec.structs.replace(batch[7], source_tag=secrets.token_bytes(32)))))
    assert home.rows("SELECT count(*) FROM object_file") == [(0,)]
    assert home.rows("SELECT count(*) FROM tombstone") == [(21,)]
    monkeypatch.setattr(tombstone, "TOMBSTONES_MAX", 16)
    run(home.erase(run(home.keep(files=made_of(40))).id))
    assert home.rows("SELECT count(*) FROM tombstone")[0][0] <= 16


def tombstones(home: Home) -> int:
    ((found,),) = home.rows("SELECT count(*) FROM tombstone")
    return int(found)


def test_too_many_tombstones_of_what_a_source_keeps_become_a_mark_that_still_refuses_each(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tombstone, "TOMBSTONES_MAX", 16)
    tags = [secrets.token_bytes(32) for _ in range(40)]
    left: dict[str, Any] = {"source_copy": "left", "captured_to_ms": 100_000}
    for number, tag in enumerate(tags):
        run(home.erase(run(home.keep(source_tag=tag, captured_from_ms=number * 1000, **left)).id))
    assert tombstones(home) <= 16
    reasons = set()
    for number, tag in enumerate(tags):
        with pytest.raises(RefusedError) as refused:
            run(home.keep(source_tag=tag, captured_from_ms=number * 1000, **left))
        reasons.add(refused.value.reason)
    assert reasons == {"deleted_before", "before_mark"}
    others: list[dict[str, Any]] = [{"source": "garage"}, {"camera": "cam2"}, {"category": "photo"}]
    for other in others:
        assert run(home.keep(captured_from_ms=0, **left, **other)).state == "sealed", "nothing of it was deleted"


def test_mark_never_lies_ahead_of_now(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    # A camera whose clock ran ahead: its mark would refuse everything that it records until then.
    monkeypatch.setattr(tombstone, "TOMBSTONES_MAX", 16)
    ahead: dict[str, Any] = {
        "captured_from_ms": NOW.agent_ms * 2,
        "captured_to_ms": NOW.agent_ms * 2 + 1,
        "source_copy": "left",
    }
    for _ in range(20):
        run(home.erase(run(home.keep(**ahead)).id))
    assert home.rows("SELECT before_ms FROM mark") == [(NOW.agent_ms,)]


def test_expired_object_leaves_a_tombstone_only_until_its_source_and_the_stores_have_nothing(home: Home) -> None:
    # None was ever dropped: a hub with a million objects a month had the most that there may be within a week.
    given_up = run(home.keep(files=made_of(3)))
    home.index.write_now(lambda tx: home.vault.mark_source_gone(tx, given_up.id))
    run(home.expire(given_up.id))
    assert tombstones(home) == 0

    half_sent, not_yet = run(home.keep()), run(home.keep(files=made_of(3)))
    home.index.write_now(lambda tx: home.vault.mark_source_gone(tx, half_sent.id))
    upload = home.upload(half_sent.id, stored=False)
    run(home.expire(half_sent.id, not_yet.id))
    assert tombstones(home) == 1 + 4
    home.confirm(upload)
    assert tombstones(home) == 4
    home.index.write_now(lambda tx: home.vault.mark_source_gone(tx, not_yet.id))  # step 6 came after the delete
    assert tombstones(home) == 0


def test_stored_copy_that_retention_leaves_needs_no_tombstone_and_a_delete_that_is_asked_for_keeps_one(
    home: Home,
) -> None:
    kept = run(home.keep())
    home.index.write_now(lambda tx: home.vault.mark_source_gone(tx, kept.id))
    home.upload(kept.id)
    run(home.expire(kept.id))
    assert tombstones(home) == 0
    left = run(home.keep(source_copy="left"))
    upload = home.upload(left.id)
    run(home.expire(left.id))
    run(home.erase(left.id))
    home.confirm(upload)
    assert home.rows("SELECT asked, object = '' FROM tombstone") == [(1, 0)], "its source still has it"


def test_tombstone_of_a_delete_that_was_asked_for_stays_and_goes_before_any_that_is_needed(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = [run(home.keep()) for _ in range(8)]
    for one in gone:
        home.index.write_now(partial(home.vault.mark_source_gone, object_id=one.id))
    run(home.erase(*(one.id for one in gone)))
    assert home.rows("SELECT DISTINCT object, camera, category, asked FROM tombstone") == [("", "", "", 1)]
    needed = [run(home.keep(source_copy="left")) for _ in range(8)]
    run(home.erase(*(one.id for one in needed)))
    monkeypatch.setattr(tombstone, "TOMBSTONES_MAX", 10)
    run(home.erase(run(home.keep(source_copy="left")).id))
    assert home.rows("SELECT at_source, count(*) FROM tombstone GROUP BY 1 ORDER BY 1") == [(0, 1), (1, 9)]
    assert home.rows("SELECT count(*) FROM mark") == [(0,)]


# -- history and state


def test_every_deletion_stands_in_the_chain_and_names_nothing_personal(home: Home) -> None:
    kept = run(home.keep(name="secret-name.mp4"))
    run(home.erase(kept.id, cutoff=Selection(camera="cam1")))
    home.index.write_now(lambda tx: audit.checkpoint(tx, home.keystore, moment=NOW))
    _, lines = home.index.read_now(lambda tx: audit.entries(tx, 0))
    kinds = [chain._read_entry.decode(line).kind for line in lines if not line.startswith(b'{"checkpoint')]
    assert kinds == ["admitted", "erase_asked", "keys_rotated", "erased"]
    assert chain.verify_lines(lines, jwk=home.keystore.public_jwk()).signed == 4
    assert not any(b"secret-name" in line or b"cam1" in line for line in lines)


def test_large_delete_drops_as_many_old_entries_as_it_writes(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each receipt signs the head, so a signature was never due, and only where one was due was the log cut."""
    monkeypatch.setattr(audit, "KEEP_ENTRIES", 20)
    kept = [run(home.keep()) for _ in range(30)]
    home.index.write_now(lambda tx: audit.checkpoint(tx, home.keystore, moment=NOW))
    run(home.erase(*(one.id for one in kept)))
    assert home.rows("SELECT min(seq), max(seq) FROM audit") == [(31, 62)]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_sequence_of_keeping_erasing_and_starting_anew_agrees_with_a_set(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = Home(tmp_path_factory.mktemp("model") / "vault")
    model: dict[str, bytes] = {}
    gone: list[str] = []
    for _ in range(data.draw(st.integers(1, 8))):
        action = data.draw(st.sampled_from(["keep", "erase", "restart"]))
        if action == "keep":
            key = secrets.token_bytes(16)
            model[run(home.keep(key)).id] = key
        elif action == "erase" and model:
            victims = data.draw(st.lists(st.sampled_from(sorted(model)), min_size=1, unique=True))
            run(home.erase(*victims))
            for victim in victims:
                del model[victim]
                gone.append(victim)
        elif action == "restart":
            home.close()
            home = Home(home.folder)
            assert home.vault.recover() == 0
            run(home.erasure.resume(NOW))
    assert {found: home.slot_key(found) for found in model} == model
    assert all(home.get(victim) is None for victim in gone)
    assert {path.name for path in home.vault.payloads.folder.iterdir()} == set(model)
    assert home.index.read_now(home.vault.totals).all.objects == len(model)
    assert len(home.keystore.roots()) == 1
    home.close()
