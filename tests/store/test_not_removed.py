"""A deleted object's file that cannot be removed: everything else goes on, and it is tried again until it is gone.

A folder in the file's place stands for whatever keeps it there; ``tests/cli/test_not_removed.py`` has real ones.
"""

import asyncio
import secrets
from pathlib import Path

import pytest

from agent import erasure
from agent.errors import ConfigError, CorruptError, LinkError
from agent.files import remove, remove_tree
from agent.model import Object, Outcome, new_id
from tests.store.home import NOW, Home, run


def block(home: Home, item: Object) -> Path:
    path = home.vault.payload_path(item.id)
    path.unlink()
    path.mkdir()
    return path


def put_off(home: Home) -> tuple[str, ...]:
    return home.index.read_now(lambda tx: erasure.put_off(tx, limit=10))


def erased(home: Home) -> int:
    ((count,),) = home.rows('SELECT count(*) FROM audit WHERE CAST(line AS TEXT) LIKE \'%"kind":"erased"%\'')
    return int(count)


def test_file_that_cannot_be_removed_ends_nothing_and_the_others_go(home: Home) -> None:
    # It ended the agent with a traceback, and so did every start after it.
    bad, *good = [run(home.keep(secrets.token_bytes(16))) for _ in range(3)]
    path = block(home, bad)
    with pytest.raises(LinkError, match="its key is destroyed"):
        run(home.erase(*(item.id for item in (bad, *good))))
    assert put_off(home) == (bad.id,)
    assert [item.name for item in home.vault.payloads.folder.iterdir()] == [bad.id]
    assert (erased(home), home.finished) == (2, []), "nothing is reported that was not done"
    with pytest.raises(CorruptError, match="has no slot"):
        home.slot_key(bad.id)

    path.rmdir()
    assert run(home.erasure.retry(NOW)) == 0
    assert (erased(home), put_off(home)) == (3, ())
    (told,) = home.finished
    assert {(outcome.id, outcome.result) for outcome in told[1]} == {(item.id, "deleted") for item in (bad, *good)}


def test_what_was_put_off_is_tried_again_by_the_next_start_and_stays_put_off(home: Home) -> None:
    bad = run(home.keep())
    path = block(home, bad)
    run_until_put_off(home, bad)
    run(home.resume())
    assert home.vault.recover() == 0
    assert run(home.erasure.retry(NOW)) == 1
    assert put_off(home) == (bad.id,)
    home.close()
    again = Home(home.folder)
    run(again.resume())
    path.rmdir()
    assert run(again.erasure.retry(NOW)) == 0
    assert [command for command, _ in again.finished] == ["command"]
    again.close()


def run_until_put_off(home: Home, item: Object, command: str = "command") -> None:
    with pytest.raises(LinkError):
        run(home.erase(item.id, command=command))


def test_second_request_for_what_is_put_off_waits_for_it_as_well(home: Home) -> None:
    # It would have been told ``already_gone`` of a file that lies there.
    bad = run(home.keep())
    path = block(home, bad)
    run_until_put_off(home, bad, "a")
    run_until_put_off(home, bad, "b")
    path.rmdir()
    run(home.erasure.retry(NOW))
    gone = (Outcome(id=bad.id, result="deleted", remarks=("source_copy_remains",)),)
    assert sorted(home.finished) == [("a", gone), ("b", gone)]


def test_retention_does_not_change_keys_for_what_is_put_off(home: Home) -> None:
    bad = run(home.keep())
    block(home, bad)
    run(home.expire(bad.id))
    assert put_off(home) == (bad.id,)
    assert home.index.read_now(home.erasure.begun) is None
    fresh = run(home.keep())
    run(home.erasure.begin((fresh.id,), rule="category.recording.keep.age", moment=NOW))
    assert home.index.read_now(home.erasure.begun) is not None


def test_many_that_stay_let_those_behind_them_go(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasure, "PART", 2)
    items = run(home.keep_many(7))
    paths = [block(home, item) for item in items[:5]]
    with pytest.raises(LinkError):
        run(home.erase(*(item.id for item in items)))
    assert len(put_off(home)) == 5
    for path in paths[3:]:
        path.rmdir()
    for _ in range(4):
        run(home.erasure.retry(NOW))
    assert set(put_off(home)) == {item.id for item in items[:3]}, "each has its turn"


def test_sweep_leaves_folders_and_ends_where_a_file_stays(home: Home) -> None:
    kept = run(home.keep())
    (home.vault.payloads.folder / "lost+found").mkdir()
    (home.vault.payloads.folder / new_id()).write_bytes(b"no row")
    assert home.vault.recover() == 1
    assert {path.name for path in home.vault.payloads.folder.iterdir()} == {kept.id, "lost+found"}


def test_removal_says_who_mends_it(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="Is a directory") as told:
        remove(tmp_path / "folder")
    assert "move it away" in told.value.hint
    with pytest.raises(ConfigError, match="Not a directory"):
        remove_tree(tmp_path / "file")
    with pytest.raises(LinkError, match="symbolic link"):
        remove_tree(tmp_path / "link")
    assert remove_tree(tmp_path / "folder")
    assert not remove_tree(tmp_path / "folder")


def test_deletes_that_run_beside_one_that_is_put_off_are_answered(home: Home) -> None:
    bad, good = run(home.keep()), run(home.keep())
    block(home, bad)

    async def both() -> dict[str, Outcome]:
        refused = asyncio.ensure_future(home.erase(bad.id, command="bad"))
        gone = await home.erase(good.id, command="good")
        with pytest.raises(LinkError):
            await refused
        return gone

    assert run(both()) == {good.id: Outcome(id=good.id, result="deleted", remarks=("source_copy_remains",))}
