"""Killed anywhere: one effect, one receipt (invariants I3, I4)."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agent import bundle
from agent.envelope import signing_input_sha256
from tests.commands.office import Office, run
from tests.commands.test_export_stays import SELECT_ALL, ends_of, folder_of

ROOT = Path(__file__).parents[2]


def kill_at(office: Office, raw: bytes, step: int | str) -> None:
    """Let another process take the command and be killed at ``step``; then open everything again."""
    file = office.folder / "command"
    file.write_bytes(raw)
    office.close()
    command = [sys.executable, "-m", "tests.commands.dying", str(office.folder), office.owner_recipient, str(file)]
    died = subprocess.run([*command, str(step)], cwd=ROOT, capture_output=True, timeout=60, check=False)
    assert died.returncode == -9, died.stderr.decode()
    office.restart()


@pytest.mark.promise("ERASE")
@pytest.mark.parametrize("step", [0, 1, 2, 3, 4, 5, 6, 7])
def test_delete_killed_at_any_step_is_finished_once_and_answered_with_one_receipt(office: Office, step: int) -> None:
    async def before() -> tuple[str, str]:
        return (await office.keep()).id, (await office.keep()).id

    victim, survivor = run(before())
    raw = office.command(office.client, "delete", select={"ids": [victim]})
    kill_at(office, raw, step)

    async def after() -> None:
        await office.erasure.resume(office.moment)
        await office.commands.resume(office.moment)
        assert office.get(victim) is None
        assert office.get(survivor) is not None
        assert [path.name for path in (office.folder / "objects").iterdir()] == [survivor]
        (told,) = office.waiting(office.client)
        assert told["status"] == "done"
        assert [(outcome["id"], outcome["result"]) for outcome in told["outcomes"]] == [(victim, "deleted")]
        kinds = office.audit_kinds()
        assert (kinds.count("erased"), kinds.count("command_accepted"), kinds.count("command_done")) == (1, 1, 1)
        assert await office.receive(office.client, raw) == told
        assert office.audit_kinds() == kinds

    run(after())


def test_export_cut_off_is_built_again_after_a_restart(office: Office) -> None:
    async def before() -> bytes:
        await office.keep(b"clip")
        raw = office.command(office.client, "export", select={"all": True}, form="objects")
        assert await office.receive(office.client, raw)
        return raw

    raw = run(before())
    (left_over,) = [office.bundle.folder / "half.part"]
    left_over.mkdir()
    (left_over / "x").write_bytes(b"half")
    office.restart()

    async def after() -> None:
        assert office.bundle.recover(office.moment) == 1
        await office.commands.resume(office.moment)
        assert office.waiting(office.client)[0]["status"] == "accepted"  # a long export does not hold up a start
        told = office.client.open((await office.commands.submit(raw, moment=office.moment)).receipt)
        assert told["status"] == "done"
        assert office.waiting(office.client) == [told]
        assert len(list(office.bundle.folder.iterdir())) == 1

    run(after())


def outcome_of(told: dict[str, Any], object_id: str) -> str:
    return next(str(one["result"]) for one in told["outcomes"] if one["id"] == object_id)


@pytest.mark.promise("ERASE")
@pytest.mark.parametrize("means", ["it", "everything"])
def test_delete_killed_between_an_exports_files_and_its_row_says_once_that_it_deleted_it(
    office: Office, means: str
) -> None:
    # The start took the row for what it had removed itself, and the delete said that it was gone already.
    async def before() -> Path:
        await office.keep()
        return folder_of(office, await office.submit(office.client, "export", select=SELECT_ALL, form="objects"))

    folder = run(before())
    raw = office.command(
        office.client, "delete", select=SELECT_ALL if means == "everything" else {"ids": [folder.name]}
    )
    kill_at(office, raw, "row")
    assert not folder.exists()

    async def after() -> None:
        assert office.bundle.recover(office.moment) == 0
        (lying,) = office.index.read_now(office.bundle.lying)
        assert bundle.view(lying, policy=office.world.policy())["state"] == "erasing"
        assert office.bundle.expire(lambda _one, _freed: "age", moment=office.moment) == ()
        await office.commands.resume(office.moment)
        told = office.waiting(office.client)[-1]
        assert (told["status"], outcome_of(told, folder.name)) == ("done", "deleted")
        (end,) = ends_of(office, folder.name)
        assert (end["actor"], end["command"]) == (office.client.kid, told["cmd"])
        assert await office.receive(office.client, raw) == told
        assert office.index.read_now(office.bundle.exports) == frozenset()

    run(after())


def test_export_of_a_cut_delete_whose_key_may_delete_no_more_is_written_down_by_the_device(office: Office) -> None:
    async def before() -> tuple[Path, dict[str, Any]]:
        await office.keep()
        folder = folder_of(office, await office.submit(office.client, "export", select=SELECT_ALL, form="objects"))
        return folder, office.claims(office.client, "delete", select={"ids": [folder.name]})

    folder, claims = run(before())
    kill_at(office, office.seal(office.client.sign(claims)), "row")

    async def after() -> None:
        office.client.role, office.client.verbs = "backend", office.backend.verbs
        keys = office.sign_keyset(2, signing_input_sha256(office.keyset_raw))
        await office.commands.submit(keys, moment=office.moment)
        await office.commands.resume(office.moment)
        assert office.bundle.recover(office.moment) == 0
        assert [end["actor"] for end in ends_of(office, folder.name)] == ["device"]

    run(after())
