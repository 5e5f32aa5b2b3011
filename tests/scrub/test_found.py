"""Whatever a medium does to sealed bytes, wherever it does it, is found; what is whole is never accused."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from agent.age.stream import CHUNK_BYTES, NONCE_BYTES, TAG_BYTES
from agent.model import Outcome
from agent.scrub.look import PIECE_BYTES, Seen
from tests.scrub.scene import HOUR_MS, Scene, flip
from tests.store.home import NOW
from tests.waiting import at_most

SIZES = (0, 1, 100, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES, PIECE_BYTES + 17)

PLACES = {
    "nonce": 0,
    "first chunk": NONCE_BYTES,
    "tag of the first chunk": NONCE_BYTES + CHUNK_BYTES,
    "second chunk": NONCE_BYTES + CHUNK_BYTES + TAG_BYTES,
    "first byte of the second piece": PIECE_BYTES,
    "last byte": -1,
}

HARM = st.tuples(st.sampled_from(("none", "flip", "cut", "grow", "empty")), st.integers(0, 10**9), st.integers(0, 7))


def harm(path: Path, what: str, *, at: int, bit: int) -> str:
    """Do it; return what a scrub is to say of it, ``""`` where nothing was done."""
    size = path.stat().st_size
    if what == "flip":
        flip(path, at % size, bit)
        return "changed"
    if what in {"cut", "empty"}:
        with path.open("r+b") as file:
            file.truncate(0 if what == "empty" else at % size)
        return "short"
    if what == "grow":
        with path.open("ab") as file:
            file.write(bytes(at % 5_000 + 1))
        return "long"
    return ""


@settings(max_examples=25, deadline=None, phases=(Phase.generate,))  # each costs many syncs: none is made smaller
@given(st.lists(HARM, min_size=len(SIZES), max_size=len(SIZES)))
def test_each_object_that_was_harmed_is_found_and_no_other(harms: list[tuple[str, int, int]]) -> None:
    with TemporaryDirectory() as folder:
        scene = Scene(Path(folder) / "vault")
        items = scene.keep_some(*SIZES)
        before = {item.id: scene.path(item).read_bytes() for item in items}
        expected = {}
        for item, (what, at, bit) in zip(items, harms, strict=True):
            found = harm(scene.path(item), what, at=at, bit=bit)
            if found:
                expected[item.id] = found
        scene.look_over()
        assert scene.damaged() == expected
        assert sorted(scene.quarantined) == sorted(expected)
        assert sorted(about for _code, about, _what in scene.alerts) == sorted(expected)
        queued = scene.home.index.read_now(lambda tx: scene.home.vault.queued(tx, 100))
        assert {item.id for item in queued} == before.keys() - expected.keys(), "nothing of it is uploaded"

        for item in items:
            scene.path(item).write_bytes(before[item.id])
        scene.look_over()
        assert scene.damaged() == {}, "bytes that are right again end the quarantine"
        scene.close()


@pytest.mark.parametrize("place", PLACES)
def test_bit_that_turned_is_found_wherever_it_lies(scene: Scene, place: str) -> None:
    whole, broken = scene.keep_some(PIECE_BYTES + 3 * CHUNK_BYTES, PIECE_BYTES + 3 * CHUNK_BYTES)
    flip(scene.path(broken), PLACES[place] % broken.size_bytes)
    scene.look_over()
    assert scene.damaged() == {broken.id: "changed"}
    ((code, about, what),) = scene.alerts
    assert (code, about) == ("corrupt_object", broken.id)
    assert what == (
        f"Object {broken.id} is damaged: its bytes are not those that were sealed. "
        "Neither a store nor its source is known to have it."
    )
    kinds = [row[0] for row in scene.home.rows("SELECT line FROM audit")]
    assert sum(b'"corrupt_object"' in bytes(line) and broken.id.encode() in bytes(line) for line in kinds) == 1
    assert scene.path(broken).exists(), "its bytes stay"
    assert whole.id not in scene.quarantined


def test_pass_that_finds_it_again_tells_it_once(scene: Scene) -> None:
    (broken,) = scene.keep_some(1000)
    flip(scene.path(broken), 20)
    scene.look_over()
    scene.look_over()
    assert len(scene.alerts) == 1
    assert scene.quarantined == [broken.id]


def test_missing_file_is_in_doubt_for_an_hour_and_then_in_quarantine(scene: Scene) -> None:
    (lost, _whole) = scene.keep_some(1000, 1000)
    scene.path(lost).rename(scene.folder / "elsewhere")
    scene.look_over()
    assert scene.damaged() == {}
    assert scene.doubted() == {lost.id: "missing"}

    scene.later(HOUR_MS - 1)
    asyncio.run(scene.scrub().do_what_is_due())
    scene.look_over()  # nor does somebody who asks again make it any surer
    assert scene.damaged() == {}, "not yet"
    scene.later(1)
    asyncio.run(scene.scrub().do_what_is_due())
    assert scene.damaged() == {lost.id: "missing"}
    assert scene.alerts[0][2].startswith(f"Object {lost.id} is damaged: its file is not there.")


def test_file_that_is_back_within_the_hour_was_never_damaged(scene: Scene) -> None:
    (lost, _whole) = scene.keep_some(1000, 1000)
    away = scene.path(lost).rename(scene.folder / "elsewhere")
    scene.look_over()
    away.rename(scene.path(lost))
    scene.later(HOUR_MS)
    asyncio.run(scene.scrub().do_what_is_due())
    assert (scene.damaged(), scene.doubted(), scene.alerts) == ({}, {}, [])


def test_folder_that_is_away_condemns_nothing_and_is_told_once_and_the_pass_goes_on(scene: Scene) -> None:
    items = scene.keep_some(*[100] * 20)
    folder = scene.home.vault.payloads.folder
    away = folder.rename(scene.folder / "away")
    folder.mkdir(mode=0o700)

    async def one() -> bool:
        return (await scene.scrub().whole_pass()).whole

    assert not asyncio.run(one())
    assert (scene.damaged(), scene.doubted()) == ({}, {})
    ((code, about, what),) = scene.alerts
    assert (code, about) == ("corrupt_object", "")
    assert what == "16 sealed objects in a row cannot be read: the disk of the vault fails, or is away."

    folder.rmdir()
    away.rename(folder)
    flip(scene.path(items[0]), 20)
    scene.look_over()
    assert scene.damaged() == {items[0].id: "changed"}


@pytest.mark.parametrize("count", [5, 20])
def test_folder_that_is_away_for_hours_condemns_nothing_whoever_asked_to_look(scene: Scene, count: int) -> None:
    items = scene.keep_some(*[100] * count)
    folder = scene.home.vault.payloads.folder
    away = folder.rename(scene.folder / "away")
    folder.mkdir(mode=0o700)
    scrub = scene.scrub()
    for item in items:
        scrub.suspect(item.id)
    scene.keep_some(100)  # what is taken in meanwhile lies in the folder that is there
    for _ in range(3):
        asyncio.run(scrub.do_what_is_due())
        assert scene.damaged() == {}
        scene.later(HOUR_MS)
    assert {about for _code, about, _what in scene.alerts} == {""}
    assert "the disk of the vault fails, or is away." in scene.alerts[-1][2]

    for file in away.iterdir():
        file.rename(folder / file.name)
    scene.later(HOUR_MS)
    asyncio.run(scrub.do_what_is_due())
    assert (scene.damaged(), scene.doubted()) == ({}, {})


def test_region_that_is_lost_stops_no_pass(scene: Scene) -> None:
    items = scene.keep_some(*[100] * 40)
    lost, broken = items[2:22], items[30]
    for item in lost:
        scene.path(item).unlink()  # as a repair of the file system leaves it
    flip(scene.path(broken), 20)
    scene.look_over()
    assert scene.damaged() == {broken.id: "changed"}, "what lies behind it is found"
    assert scene.doubted() == {item.id: "missing" for item in lost}
    scene.later(HOUR_MS)
    asyncio.run(scene.scrub().do_what_is_due())
    assert scene.damaged() == {broken.id: "changed"} | {item.id: "missing" for item in lost}


def test_look_at_the_damaged_file_that_ends_when_the_whole_one_has_its_place_accuses_nobody(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = b"recorded" * 1000
    item = asyncio.run(scene.keep(plain, source_tag=b"t" * 32, source_copy="left"))
    with scene.path(item).open("r+b") as file:
        file.truncate(100)
    scene.look_over()
    payloads, scrub = scene.home.vault.payloads, scene.scrub()
    given, looked = threading.Event(), threading.Event()
    put_in_place, judge = payloads.put_in_place, scrub._judge

    def waiting(payload: str, object_id: str) -> None:
        given.set()
        assert looked.wait(at_most(60))
        put_in_place(payload, object_id)

    async def race() -> None:
        mended = asyncio.ensure_future(scene.keep(plain, source_tag=b"t" * 32, source_copy="left"))
        assert await asyncio.to_thread(given.wait, at_most(60))

        async def late(item: Any, seen: Seen) -> bool:  # noqa: ANN401 - what only the flow knows
            looked.set()
            await mended
            return await judge(item, seen)

        monkeypatch.setattr(scrub, "_judge", late)
        await scrub.look_at([item.id])

    monkeypatch.setattr(payloads, "put_in_place", waiting)
    asyncio.run(race())
    assert scene.damaged() == {}
    assert scene.opened(item) == plain


def test_object_of_a_store_says_that_a_whole_copy_is_there(scene: Scene) -> None:
    (broken,) = scene.keep_some(1000)
    scene.home.upload(broken.id)
    flip(scene.path(broken), 20)
    scene.look_over()
    assert scene.alerts[0][2].endswith("A store has confirmed a whole copy.")


def test_half_an_upload_of_what_is_damaged_is_asked_back(scene: Scene) -> None:
    (broken,) = scene.keep_some(1000)
    upload = scene.home.upload(broken.id, stored=False)
    flip(scene.path(broken), 20)
    scene.look_over()
    assert scene.home.rows("SELECT id, erase FROM upload") == [(upload, 1)]
    assert scene.home.index.read_now(scene.home.vault.waiting_totals) == {}


def test_damaged_object_is_deleted_like_any_other(scene: Scene) -> None:
    broken, whole = scene.keep_some(1000, 1000)
    flip(scene.path(broken), 20)
    scene.look_over()
    outcomes = asyncio.run(scene.home.erase(broken.id))
    assert outcomes[broken.id] == Outcome(id=broken.id, result="deleted", remarks=outcomes[broken.id].remarks)
    assert scene.damaged() == {}
    assert scene.home.rows("SELECT count(*) FROM damage") == [(0,)]
    assert not scene.path(broken).exists()
    assert scene.home.get(whole.id) is not None


def test_damaged_object_that_went_is_not_told_as_whole_again(scene: Scene) -> None:
    broken, _whole = scene.keep_some(1000, 1000)
    flip(scene.path(broken), 20)
    scene.look_over()

    def delete(_done: int, _all: int) -> None:
        with ThreadPoolExecutor(1) as others:
            others.submit(asyncio.run, scene.home.erase(broken.id)).result()

    async def meanwhile() -> int:
        return (await scene.scrub().whole_pass(delete)).mended

    assert asyncio.run(meanwhile()) == 0


def test_damaged_object_goes_by_its_age_like_any_other(scene: Scene) -> None:
    (broken,) = scene.keep_some(1000)
    flip(scene.path(broken), 20)
    scene.look_over()
    asyncio.run(scene.home.expire(broken.id))
    assert scene.home.get(broken.id) is None
    assert scene.home.rows("SELECT count(*) FROM damage") == [(0,)]


def test_object_that_is_on_its_way_out_is_not_looked_at(scene: Scene) -> None:
    (going,) = scene.keep_some(1000)
    flip(scene.path(going), 20)
    asyncio.run(scene.home.erasure.begin([going.id], rule="category.recording.keep.age", moment=NOW))
    scene.look_over()
    assert (scene.damaged(), scene.alerts) == ({}, [])
