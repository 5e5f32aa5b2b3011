"""Taking in, asking, uploading: what is acknowledged is there, what is not leaves nothing."""

import asyncio
import hashlib
import secrets
from functools import partial

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import age, vault
from agent.errors import CorruptError, RefusedError, SpaceError
from agent.ids import Ids
from agent.keytree import GROUP_SLOTS, new_group, wrap_slot
from agent.model import Object, Selection, new_id
from agent.vault import Total
from tests.store.home import NOW, Home, draft, made_of, run


def files(home: Home) -> set[str]:
    return {path.name for path in home.vault.payloads.folder.iterdir()}


def test_admitted_object_survives_a_new_start(home: Home) -> None:
    key = secrets.token_bytes(16)
    kept = run(home.keep(key, content=b"ciphertext"))
    home.close()
    again = Home(home.folder)
    assert again.get(kept.id) == kept
    assert again.vault.payload_path(kept.id).read_bytes() == b"ciphertext"
    assert again.slot_key(kept.id) == key
    assert again.index.read_now(lambda tx: again.vault.header(tx, kept.id)) == b"header"
    assert again.vault.recover() == 0
    again.close()


def test_admitted_fields_are_the_drafts(home: Home) -> None:
    kept = run(home.keep(name="nap.mp4", camera="cam2", category="photo", recipients=("a", "b"), source_copy="left"))
    assert (kept.name, kept.camera, kept.category, kept.recipients) == ("nap.mp4", "cam2", "photo", ("a", "b"))
    assert (kept.taken_in_ms, kept.state, kept.upload, kept.source_copy) == (NOW.agent_ms, "sealed", "", "left")


def test_left_overs_of_a_cut_are_swept_and_objects_stay(home: Home) -> None:
    kept = run(home.keep())
    home.part()
    (home.vault.payloads.folder / new_id()).write_bytes(b"settled, but no row")
    assert home.vault.recover() == 2
    assert files(home) == {kept.id}


def test_same_source_identity_twice_gives_the_first_object_back(home: Home) -> None:
    tag = secrets.token_bytes(32)
    first = run(home.keep(source_tag=tag, source_copy="left"))
    assert home.index.read_now(lambda tx: home.vault.seen(tx, tag))
    assert run(home.keep(source_tag=tag, source_copy="left")) == first
    assert files(home) == {first.id}


def test_same_identity_with_other_content_is_another_object_where_the_copy_is_ours_to_destroy(home: Home) -> None:
    # A camera without a clock gave a second recording the name, size and time of the first. The first was given back,
    # so the second was destroyed at its source without ever having been sealed.
    tag = secrets.token_bytes(32)
    contents = [secrets.token_bytes(32) for _ in range(3)]
    kept = [run(home.keep(source_tag=tag, content_tag=content)) for content in contents]
    assert len({found.id for found in kept}) == 3
    assert [run(home.keep(source_tag=tag, content_tag=content)) for content in contents] == kept
    run(home.erase(kept[0].id))
    assert run(home.keep(source_tag=tag, content_tag=contents[1])) == kept[1]
    with pytest.raises(RefusedError):
        run(home.keep(source_tag=tag, content_tag=contents[0]))
    fourth = run(home.keep(source_tag=tag, content_tag=secrets.token_bytes(32)))
    assert files(home) == {kept[1].id, kept[2].id, fourth.id}


def test_file_inside_a_batch_is_known_by_itself(home: Home) -> None:
    first, second = made_of(2)
    batch = run(home.keep(files=(first, second)))

    def held(source_tag: bytes, content_tag: bytes) -> Object | None:
        return home.index.read_now(lambda tx: home.vault.held(tx, source_tag, content_tag))

    assert held(first.source_tag, first.content_tag) == held(second.source_tag, second.content_tag) == batch
    assert held(first.source_tag, second.content_tag) is None
    assert home.index.read_now(lambda tx: home.vault.seen(tx, second.source_tag))
    assert home.index.read_now(lambda tx: home.vault.source_paths(tx, batch)) == (first.path, second.path)
    home.index.write_now(lambda tx: home.vault.mark_source_gone(tx, batch.id))
    assert home.rows("SELECT DISTINCT path FROM object_file") == [("",)]


def test_objects_without_a_source_do_not_take_each_other_for_the_same(home: Home) -> None:
    first, second = run(home.keep(source_tag=b"")), run(home.keep(source_tag=b""))
    assert first.id != second.id
    assert not home.index.read_now(lambda tx: home.vault.seen(tx, b""))


def test_refused_object_leaves_no_file_and_no_row(home: Home) -> None:
    tag = secrets.token_bytes(32)
    gone = run(home.keep(content_tag=tag))
    run(home.erase(gone.id))
    with pytest.raises(RefusedError) as refused:
        run(home.keep(content_tag=tag))
    assert refused.value.reason == "deleted_before"
    assert files(home) == set()
    assert home.rows("SELECT count(*) FROM object") == [(0,)]


def test_slot_under_a_stale_version_is_rewrapped_with_the_key_in_memory(home: Home) -> None:
    async def work() -> None:
        victim = await home.keep()
        await home.keep()
        group = await home.vault.group()
        key = secrets.token_bytes(16)
        made = draft(group, key)
        await home.erase(victim.id)  # the group's key changes while ours is being sealed
        admitted = await home.vault.admit(made, part=home.part(), group=group, moment=NOW)
        assert (await home.index.read(lambda tx: home.vault.slot_key(tx, admitted.id))) == key

    run(work())
    assert home.rows("SELECT count(DISTINCT version) FROM slot") == [(1,)]


def test_slot_of_an_unknown_group_is_rewrapped(home: Home) -> None:
    group, key = new_group(), secrets.token_bytes(16)
    admitted = run(home.vault.admit(draft(group, key), part=home.part(), group=group, moment=NOW))
    assert home.slot_key(admitted.id) == key


def test_slot_that_its_group_does_not_open_is_corrupt_and_leaves_nothing(home: Home) -> None:
    made = draft(new_group(), secrets.token_bytes(16))
    with pytest.raises(CorruptError):
        run(home.vault.admit(made, part=home.part(), group=new_group(), moment=NOW))
    assert files(home) == set()


def test_full_group_is_followed_by_another(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vault, "GROUP_SLOTS", 3)
    kept = run(home.keep_many(8))
    assert home.rows("SELECT slots FROM key_group ORDER BY n") == [(3,), (3,), (2,)]
    assert all(len(home.slot_key(found.id)) == 16 for found in kept)
    assert GROUP_SLOTS == 128


def test_closed_group_takes_nothing(home: Home) -> None:
    async def work() -> None:
        group = await home.vault.group()
        home.vault.closed_groups = frozenset({1})
        made = draft(group, secrets.token_bytes(16))
        await home.vault.admit(made, part=home.part(), group=group, moment=NOW)
        assert (await home.vault.group()).id != group.id

    run(work())
    assert home.rows("SELECT slots FROM key_group ORDER BY n") == [(0,), (1,)]


def test_index_of_another_keystore_is_refused(home: Home) -> None:
    home.index.write_now(lambda tx: tx.execute("UPDATE vault SET root_id = 'elsewhere'"))
    home.close()
    with pytest.raises(CorruptError, match=r"next: one of the two is an older copy: put back the newest of each"):
        Home(home.folder)


def test_cancelled_admit_leaves_either_all_or_nothing(home: Home) -> None:
    async def work() -> None:
        for turns in range(12):
            task = asyncio.ensure_future(home.keep())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    run(work())
    assert files(home) - {path.name for path in home.vault.payloads.folder.glob("*.part")} == {
        row[0] for row in home.rows("SELECT id FROM object")
    }


def test_no_room_beyond_the_ballast_refuses_new_parts(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home.index._ballast, "_bytes", 0)
    with pytest.raises(SpaceError, match="next: free space"):
        home.vault.new_part()


def test_selection_by_ids_answers_about_each_that_was_named(home: Home) -> None:
    kept = run(home.keep())
    absent = new_id()
    selection = Selection(ids=(kept.id, absent, kept.id))
    assert home.index.read_now(lambda tx: home.vault.select(tx, selection)) == Ids.of((kept.id, absent))


CAMERAS = ("cam1", "cam2")
CATEGORIES = ("recording", "photo")


@settings(max_examples=60, deadline=None)
@given(
    camera=st.none() | st.sampled_from(CAMERAS),
    category=st.none() | st.sampled_from(CATEGORIES),
    start=st.none() | st.integers(0, 30),
    length=st.none() | st.integers(0, 30),
)
def test_selection_means_overlap_and_all_that_is_given(
    many: Home, camera: str | None, category: str | None, start: int | None, length: int | None
) -> None:
    end = None if length is None else (start or 0) + length
    selection = msgspec.convert(
        {
            "camera": camera,
            "category": category,
            "from": None if start is None else f"1970-01-01T00:00:{start:02}Z",
            "to": None if end is None else f"1970-01-01T00:0{end // 60}:{end % 60:02}Z",
        },
        Selection,
    )
    found = many.index.read_now(lambda tx: many.vault.select(tx, selection))
    everything = many.index.read_now(many.vault.page)
    expected = [
        kept.id
        for kept in everything
        if (camera is None or kept.camera == camera)
        and (category is None or kept.category == category)
        and (start is None or max(kept.captured_to_ms, kept.captured_from_ms + 1) > start * 1000)
        and (end is None or kept.captured_from_ms < end * 1000)
    ]
    assert list(found) == sorted(expected)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("many") / "vault")
    for number in range(40):
        run(
            home.keep(
                content=bytes(number + 1),
                camera=CAMERAS[number % 2],
                category=CATEGORIES[number // 2 % 2],
                captured_from_ms=number * 1000,
                captured_to_ms=number * 1000 + (number % 3) * 1500,
            )
        )
    return home


def test_sets_are_paged_oldest_first_and_know_what_is_newer(many: Home) -> None:
    everything = sorted(many.index.read_now(many.vault.page), key=lambda kept: kept.captured_from_ms)
    for cameras in (("cam1",), ("cam1", "cam2"), ("cam1", "nobody")):
        expected = [kept for kept in everything if kept.category == "recording" and kept.camera in cameras]
        found: list[str] = []
        above = 0
        while page := many.index.read_now(
            partial(many.vault.oldest, cameras=cameras, category="recording", above=above, limit=3)
        ):
            found += [kept.id for kept in page]
            above = page[-1].n
        assert found == [kept.id for kept in expected]
        for place, kept in enumerate(expected):
            newer = many.index.read_now(
                partial(many.vault.newer_than, object_id=kept.id, cameras=cameras, category="recording")
            )
            assert newer == Total(len(expected) - place - 1, sum(kept.size_bytes for kept in expected[place + 1 :]))


def test_totals_agree_with_the_objects(many: Home) -> None:
    totals = many.index.read_now(many.vault.totals)
    everything = many.index.read_now(many.vault.page)
    assert totals.all == Total(len(everything), sum(kept.size_bytes for kept in everything))
    assert set(totals.sets) == {(kept.camera, kept.category) for kept in everything}


def test_pages_go_over_all_ids_once(many: Home) -> None:
    ids: list[str] = []
    after = ""
    while page := many.index.read_now(partial(many.vault.page, after=after, limit=7)):
        ids += [kept.id for kept in page]
        after = ids[-1]
    assert ids == sorted(set(ids))
    assert len(ids) == 40


def test_queue_is_newest_first_by_category_and_skips_sets_that_may_not_go(home: Home) -> None:
    kept = [
        run(home.keep(camera=camera, category=category))
        for camera, category in (("cam1", "photo"), ("cam1", "recording"), ("cam2", "recording"), ("cam2", "recording"))
    ]
    queued = home.index.read_now(lambda tx: home.vault.queued(tx, 10))
    assert [found.id for found in queued] == [kept[index].id for index in (3, 2, 1, 0)]
    some = home.index.read_now(lambda tx: home.vault.queued(tx, 1, skip=frozenset({("cam2", "recording")})))
    assert [found.id for found in some] == [kept[1].id, kept[0].id]


def test_upload_keeps_its_id_and_time_until_it_is_stored(home: Home) -> None:
    kept = run(home.keep())

    def begin(home: Home) -> tuple[str, int]:
        return home.index.write_now(lambda tx: home.vault.begin_upload(tx, kept.id, moment=NOW))

    upload, iat_s = begin(home)
    assert (upload, iat_s) == begin(home)
    assert iat_s == NOW.agent_ms // 1000
    home.index.write_now(lambda tx: home.vault.set_manifest(tx, upload, "m" * 64, store="store", moment=NOW))
    home.index.write_now(lambda tx: home.vault.note_offset(tx, upload, 3))
    row = home.index.read_now(lambda tx: home.vault.upload_of(tx, upload))
    assert row is not None
    assert (row.object, row.offset, row.manifest, row.stored) == (kept.id, 3, "m" * 64, False)


def test_stored_object_is_uploaded_and_its_header_is_gone(home: Home) -> None:
    kept = run(home.keep())
    upload = home.upload(kept.id)
    found = home.get(kept.id)
    assert found is not None
    assert (found.state, found.upload) == ("uploaded", upload)
    assert home.rows("SELECT count(*) FROM header") == [(0,)]
    assert home.index.read_now(lambda tx: home.vault.queued(tx, 10)) == ()
    assert [copy.upload for copy in home.index.read_now(lambda tx: home.vault.stored_page(tx, "store"))] == [upload]


def test_second_storage_receipt_changes_nothing(home: Home) -> None:
    upload = home.upload(run(home.keep()).id)
    assert not home.index.write_now(
        lambda tx: home.vault.note_stored(tx, upload, region="x", stated_by="store", epoch="z", moment=NOW)
    )
    assert not home.index.write_now(
        lambda tx: home.vault.note_stored(tx, new_id(), region="x", stated_by="store", epoch="z", moment=NOW)
    )


def test_storage_receipt_of_another_store_does_not_count(home: Home) -> None:
    upload = home.upload(run(home.keep()).id, stored=False)
    assert not home.index.write_now(
        lambda tx: home.vault.note_stored(tx, upload, region="x", stated_by="another", epoch="z", moment=NOW)
    )
    assert home.index.read_now(lambda tx: home.vault.stored_page(tx, "store")) == ()


def test_storage_receipt_of_an_upload_that_was_given_up_does_not_count(home: Home) -> None:
    kept = run(home.keep())
    given_up = home.upload(kept.id, stored=False)
    home.index.write_now(lambda tx: home.vault.forget_upload(tx, given_up))
    assert not home.index.write_now(
        lambda tx: home.vault.note_stored(tx, given_up, region="far", stated_by="store", epoch="e", moment=NOW)
    )
    found = home.get(kept.id)
    assert found is not None
    assert (found.state, found.upload) == ("sealed", "")


def test_header_key_keeps_its_header_for_ever(home: Home) -> None:
    async def keep() -> str:
        group, key = await home.vault.group(), secrets.token_bytes(16)
        made = draft(group, key)
        slot = wrap_slot(group, key, object_id=made.id, payload_sha256=made.payload_sha256, kind="header-key")
        made = msgspec.structs.replace(made, kind="header-key", slot=slot)
        return (await home.vault.admit(made, part=home.part(), group=group, moment=NOW)).id

    object_id = run(keep())
    home.upload(object_id)
    assert home.index.read_now(lambda tx: home.vault.header(tx, object_id)) == b"header"


def test_lost_copy_is_uploaded_anew_with_a_header_made_anew(home: Home) -> None:
    identity = age.generate_identity(post_quantum=True)
    key = secrets.token_bytes(16)
    kept = run(home.keep(key, recipients=(identity.recipient().to_text(),)))
    lost = home.upload(kept.id)
    assert home.index.write_now(lambda tx: home.vault.note_lost(tx, lost, moment=NOW))
    found = home.get(kept.id)
    assert found is not None
    assert (found.state, found.upload) == ("sealed", "")
    assert home.index.read_now(lambda tx: home.vault.header(tx, kept.id)) is None
    header = home.index.write_now(lambda tx: home.vault.remake_header(tx, kept.id))
    assert age.unwrap_header(header, [identity]) == key
    assert home.index.read_now(lambda tx: home.vault.header(tx, kept.id)) == header
    again = home.get(kept.id)
    assert again is not None
    assert again.header_sha256 == hashlib.sha256(header).digest()
    assert home.upload(kept.id) != lost


def test_source_copies_that_are_due_to_go_are_told_until_noted(home: Home) -> None:
    taken, _left, _made_here = (
        run(home.keep()),
        run(home.keep(source_copy="left")),
        run(home.keep(source_tag=b"")),
    )
    left_over = partial(home.vault.source_left_over, source="door")
    assert [found.id for found in home.index.read_now(left_over)] == [taken.id]
    home.index.write_now(lambda tx: home.vault.mark_source_gone(tx, taken.id))
    assert home.index.read_now(left_over) == ()
