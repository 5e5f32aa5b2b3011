"""What a source still has takes the place of what the medium lost: the object stays what it was, for whom and since."""

import errno
import os
from functools import partial
from pathlib import Path

import pytest

from agent import damage
from agent.erasure import Erasure
from agent.errors import LinkError
from agent.ingest.giving_up import GivingUp
from agent.ingest.work import Work
from agent.model import Moment, Object
from agent.policy import parse_policy
from agent.scrub.flow import Scrub, damaged_view
from agent.scrub.settings import ScrubSettings
from agent.sources import root as root_module
from tests.ingest.conftest import NOW, Home
from tests.scrub.scene import flip
from tests.store.home import run
from tests.writing import policy_text

NAME = "front/recording/2026-11-22T10-15-00.000Z_10s.mp4"
OTHER = "front/recording/2026-11-22T10-16-00.000Z_10s.mp4"
PLAIN = os.urandom(100_000)


def looking(home: Home) -> Scrub:
    return Scrub(
        vault=home.vault,
        settings=ScrubSettings(rate_bytes_s=1 << 40),
        now=lambda: home.now,
        alert=lambda _tx, _code, _what, _moment, *, about="": about,
    )


def scrub(home: Home) -> None:
    async def one() -> None:
        await looking(home).whole_pass()

    run(one())


def damaged(home: Home) -> set[str]:
    return {one.object for _n, one in home.index.read_now(damage.page)}


def broken(home: Home) -> Object:
    """Return the one object, whose payload a bit turned around in."""
    item = home.only()
    flip(home.vault.payload_path(item.id), item.size_bytes // 2)
    scrub(home)
    assert damaged(home) == {item.id}
    return item


def erase(home: Home, item: Object) -> tuple[str, ...]:
    """Delete an object and return the remarks of its outcome."""
    erasure = Erasure(vault=home.vault, index=home.index, keystore=home.keystore, finish=lambda *_words: None)
    (told,) = run(erasure.erase([item.id], actor="owner", rule="test", command="c", moment=home.now))
    assert told.result == "deleted"
    return told.remarks


def put_back(home: Home) -> Path:
    """Put the file back as a backup may: at another time of last change."""
    file = home.put(NAME, PLAIN)
    os.utime(file, ns=(1_700_000_000_000_000_000, 1_700_000_000_000_000_000))
    return file


def sealed_but_not_placed(home: Home, patch: pytest.MonkeyPatch) -> Object:
    """Return an object whose source was read again, in a vault whose folder took no name then (S6)."""

    def failing(_payload: str, _object_id: str) -> None:
        raise LinkError("the vault cannot be written")

    home.put(NAME, PLAIN)
    home.scan(home.settings(after="leave"))
    item = broken(home)
    with patch.context() as patched:
        patched.setattr(home.vault.payloads, "put_in_place", failing)
        home.scan(home.settings(after="leave"))
    assert damaged(home) == {item.id}
    assert len(list(home.vault.payloads.folder.iterdir())) == 2
    return item


def same_but_for_its_payload(before: Object, after: Object) -> None:
    for name in ("id", "camera", "category", "purposes", "recipients", "captured_from_ms", "taken_in_ms", "size_bytes"):
        assert getattr(after, name) == getattr(before, name), name
    assert after.payload_sha256 != before.payload_sha256


def test_source_that_keeps_its_copy_is_read_once_more_and_the_object_is_whole(home: Home) -> None:
    source = home.settings(after="leave")
    home.put(NAME, PLAIN)
    home.scan(source)
    item = broken(home)
    told: list[str] = []
    home.vault.mended = lambda _tx, object_id, _moment: told.append(object_id)
    home.now = Moment(agent_ms=NOW.agent_ms + 1_000_000, wall_ms=NOW.wall_ms + 1_000_000, trusted=True)
    home.scan(source)

    after = home.only()
    same_but_for_its_payload(item, after)
    assert home.opened(after) == PLAIN
    assert (damaged(home), told) == (set(), [item.id])
    assert [path.name for path in home.vault.payloads.folder.iterdir()] == [item.id]
    scrub(home)
    assert damaged(home) == set()
    sealed = home.opened(after)
    home.scan(source)  # it is known again, and not read anew
    assert home.only().payload_sha256 == after.payload_sha256
    assert sealed == PLAIN


def test_copy_that_a_person_puts_back_mends_the_object_and_is_given_up(home: Home) -> None:
    home.put(NAME, PLAIN)
    home.scan()
    assert home.left() == []
    item = broken(home)
    home.put(NAME, PLAIN)  # from a backup: its time of last change is another
    home.scan()
    same_but_for_its_payload(item, home.only())
    assert home.opened(home.only()) == PLAIN
    assert damaged(home) == set()
    assert home.left() == [], "it is given up once ours is whole"


def test_copy_that_is_put_back_mends_the_object_whose_name_was_corrected_and_is_given_up(home: Home) -> None:
    home.put(NAME, PLAIN)
    home.scan()
    item = broken(home)
    home.index.write_now(lambda tx: home.vault.set_name(tx, item.id, "Birthday"))
    put_back(home)
    home.scan()
    same_but_for_its_payload(item, home.only())
    assert (home.only().name, damaged(home), home.left()) == ("Birthday", set(), [])


def test_copy_with_another_time_that_stays_at_its_source_is_known_from_then_on(home: Home) -> None:
    source = home.settings(after="leave")
    home.put(NAME, PLAIN)
    home.scan(source)
    item = broken(home)
    file = put_back(home)
    for _ in range(3):
        home.scan(source)
        assert [one.id for one in home.objects()] == [item.id]
        assert damaged(home) == set()
    broken(home)
    home.scan(source)
    assert damaged(home) == set(), "nor is it forgotten that it is the object's when the disk loses it once more"
    broken(home)
    times = file.stat()
    file.write_bytes(bytes(len(PLAIN)))
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    for _ in range(3):
        home.scan(source)
        assert len(home.objects()) == 2, "another content under that identity is another object, once"
    assert damaged(home) == {item.id}


def test_cut_before_the_copy_that_made_it_whole_is_given_up_makes_no_second_object(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cut(*_words: object) -> None:
        """Do nothing more."""

    home.put(NAME, PLAIN)
    home.scan()
    item = broken(home)
    put_back(home)
    with monkeypatch.context() as patched:
        patched.setattr(GivingUp, "taken_before", cut)
        home.scan()
    assert damaged(home) == set()
    assert home.left() == [NAME]
    home.reopen()
    home.scan()
    assert [one.id for one in home.objects()] == [item.id]
    assert home.left() == []
    assert home.left_over() == ()


def test_copy_that_made_it_whole_and_cannot_be_removed_is_told_by_its_delete(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.put(NAME, PLAIN)
    home.scan()
    item = broken(home)
    file, taken_before = put_back(home), GivingUp.taken_before

    async def linked(giving_up: GivingUp, work: Work, known: Object | None) -> None:
        os.link(file, home.top / "second name")
        await taken_before(giving_up, work, known)

    monkeypatch.setattr(GivingUp, "taken_before", linked)
    home.scan()
    assert (damaged(home), home.left()) == (set(), [NAME])
    assert "source_copy_remains" in erase(home, item)


def test_folder_that_took_no_name_is_tried_again_and_no_second_object_made(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = sealed_but_not_placed(home, monkeypatch)
    home.scan(home.settings(after="leave"))
    assert home.opened(home.only()) == PLAIN
    assert damaged(home) == set()
    assert [path.name for path in home.vault.payloads.folder.iterdir()] == [item.id]


def test_delete_of_what_waits_for_its_payload_leaves_no_file(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    erase(home, sealed_but_not_placed(home, monkeypatch))
    assert list(home.vault.payloads.folder.iterdir()) == []
    assert home.vault.payloads.leave() != "", "nothing is left for the next start to sweep"


def test_payload_that_comes_behind_its_objects_delete_is_not_put_there(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = sealed_but_not_placed(home, monkeypatch)
    (payload,) = (path for path in home.vault.payloads.folder.iterdir() if path.name != item.id)
    waiting = payload.read_bytes()
    erase(home, item)
    payload.write_bytes(waiting)
    run(home.vault._put_in_place(item.id, payload.name, home.now))
    assert list(home.vault.payloads.folder.iterdir()) == []


def test_other_content_under_its_name_becomes_an_object_of_its_own(home: Home) -> None:
    source = home.settings(after="leave")
    file = home.put(NAME, PLAIN)
    times = file.stat()
    home.scan(source)
    item = broken(home)
    file.write_bytes(bytes(len(PLAIN)))
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))  # the very same identity
    home.scan(source)
    assert damaged(home) == {item.id}
    ((other,),) = ([one for one in home.objects() if one.id != item.id],)
    assert home.opened(other) == bytes(len(PLAIN))
    told = home.index.read_now(partial(damaged_view, found=item))["damaged"]["elsewhere"]
    assert told == "Neither a store nor its source is known to have it."
    home.scan(source)
    assert len(home.objects()) == 2, "and it is not read at each look"


def test_copy_in_a_spool_is_never_given_up_for_a_damaged_object(home: Home) -> None:
    """A usage log is not made whole; what is put back becomes an object of its own before it is given up."""
    name, plain = "front/usage-log/2026-11-22T10-15-00.000Z_10s.jsonl", b'{"a": 1}\n' * 200
    file = home.put(name, plain)
    times = file.stat()
    home.scan()
    item = broken(home)
    file = home.put(name, plain)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    home.scan()
    assert damaged(home) == {item.id}
    ((other,),) = ([one for one in home.objects() if one.id != item.id],)
    assert home.opened(other) == plain
    assert home.left() == []


def test_object_is_sealed_for_those_it_was_sealed_for_and_not_for_whom_the_policy_names_now(home: Home) -> None:
    from agent.age import generate_identity  # noqa: PLC0415 - of this test alone

    source = home.settings(after="leave")
    home.put(NAME, PLAIN)
    home.scan(source)
    item = broken(home)
    stranger = generate_identity(post_quantum=False).recipient().to_text()
    text = policy_text(home.owner.recipient().to_text(), recording="").replace("owner = [", f'owner = ["{stranger}", ')
    home.scan(source, policy=parse_policy(text.encode(), file="policy.toml"))
    assert damaged(home) == set()
    assert home.only().recipients == item.recipients
    assert home.opened(home.only()) == PLAIN


def test_header_key_is_made_whole_for_the_same_readers(home: Home) -> None:
    source = home.settings(after="leave")
    text = policy_text(home.owner.recipient().to_text(), recording="readable_by_device = false")
    policy = parse_policy(text.encode(), file="policy.toml")
    home.put(NAME, PLAIN)
    home.scan(source, policy=policy)
    item = broken(home)
    assert item.kind == "header-key"
    home.scan(source, policy=policy)
    same_but_for_its_payload(item, home.only())
    assert home.opened(home.only()) == PLAIN


def test_deleted_meanwhile_it_is_neither_mended_nor_taken_in(home: Home) -> None:
    source = home.settings(after="leave")
    home.put(NAME, PLAIN)
    home.scan(source)
    item = broken(home)
    erase(home, item)
    home.scan(source)
    assert home.objects() == ()
    assert list(home.vault.payloads.folder.iterdir()) == []


@pytest.mark.parametrize("content", [PLAIN, PLAIN[::-1]], ids=["alike", "another"])
def test_next_recording_is_an_object_of_its_own_also_where_it_is_alike(home: Home, content: bytes) -> None:
    """Two pictures of a dark room are one content and two recordings."""
    home.put(NAME, PLAIN)
    home.scan()
    item = broken(home)
    home.put(OTHER, content)
    home.scan()
    assert damaged(home) == {item.id}
    ((other,),) = ([one for one in home.objects() if one.id != item.id],)
    assert home.opened(other) == content


@pytest.mark.parametrize("after", ["take", "leave"])
def test_payload_that_could_not_be_put_in_place_is_so_at_the_next_try_and_makes_no_other_object(
    home: Home, after: str
) -> None:
    source = home.settings(after=after)
    home.put(NAME, PLAIN)
    home.scan(source)
    item = broken(home)
    if after == "take":
        home.put(NAME, PLAIN)
    path = home.vault.payload_path(item.id)
    path.unlink()
    path.mkdir()
    home.scan(source)
    assert "source_failed" in {event.kind for event in home.events}
    assert damaged(home) == {item.id}
    path.rmdir()
    home.scan(source)
    same_but_for_its_payload(item, home.only())
    assert home.opened(home.only()) == PLAIN
    assert damaged(home) == set()
    assert [file.name for file in home.vault.payloads.folder.iterdir()] == [item.id]


def test_copy_in_a_spool_is_not_given_up_for_an_object_in_doubt_but_makes_it_whole(home: Home) -> None:
    file = home.put(NAME, PLAIN)
    times = file.stat()
    home.scan()
    item = home.only()
    home.vault.payload_path(item.id).unlink()
    scrub(home)
    assert [one.object for _n, one in home.index.read_now(partial(damage.page, sure=False))] == [item.id]
    file = home.put(NAME, PLAIN)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))  # the very same identity
    home.scan()
    same_but_for_its_payload(item, home.only())
    assert home.opened(home.only()) == PLAIN
    assert home.left() == []


def test_copy_that_could_not_be_given_up_makes_its_object_whole_before_it_is(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_args: object, **_words: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    home.put(NAME, PLAIN)

    async def live() -> None:
        flow = home.ingest()
        try:
            with monkeypatch.context() as patched:
                patched.setattr(root_module, "remove_beneath", refused)
                await flow.scan_once()
            item = home.only()
            assert home.left() == [NAME]
            flip(home.vault.payload_path(item.id), item.size_bytes // 2)
            await looking(home).whole_pass()
            assert damaged(home) == {item.id}
            await flow.scan_once()
        finally:
            flow.close()
            await home.sealers[-1].aclose()

    run(live())
    assert home.left() == []
    assert damaged(home) == set()
    assert home.opened(home.only()) == PLAIN


def test_payload_that_takes_its_place_is_not_swept(home: Home) -> None:
    home.put(NAME, PLAIN)
    home.scan()
    item = broken(home)
    file = home.vault.payloads.folder / ("a" * 26)
    file.write_bytes(b"whole")
    home.index.write_now(partial(damage.replace, object_id=item.id, payload=file.name))
    home.vault.recover()
    assert file.exists()
    run(home.vault.finish_mending(home.now))
    assert home.vault.payload_path(item.id).read_bytes() == b"whole"
    assert damaged(home) == set()
