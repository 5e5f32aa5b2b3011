"""Killed anywhere while a purpose is taken away: the word is there or not at all, and each object has one fate."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.rights import consent
from tests.commands.consenting import Consulate, consulate
from tests.commands.office import run

ROOT = Path(__file__).parents[2]


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Consulate]:
    opened = consulate(tmp_path)
    yield opened
    opened.close()


def kill_at(office: Consulate, raw: bytes, step: str) -> None:
    """Let another process take the command and be killed at ``step``; then open everything again."""
    file = office.folder / "command"
    file.write_bytes(raw)
    office.close()
    words = [str(office.folder), office.owner_recipient, office.vendor_key, str(file), step]
    command = [sys.executable, "-m", "tests.commands.dying_consent", *words]
    died = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60, check=False)
    assert died.returncode == -9, died.stderr.decode()
    office.restart()


@pytest.mark.parametrize("step", ["taken up", "narrowed", "1", "2", "3", "4", "5", "6", "7"])
def test_withdrawal_killed_at_any_step_is_finished_once_with_one_fate_for_each_object(
    office: Consulate, step: str
) -> None:
    async def before() -> tuple[str, str, str, str]:
        await office.give()
        both = await office.keep_for("security", "analytics")
        theirs = await office.keep_for("analytics", owner=False, category="usage-log")
        half = await office.keep_for("security", "analytics")
        return both.id, theirs.id, half.id, office.begin_upload(half.id)

    both, theirs, half, upload = run(before())
    raw = office.command(office.client, "withdraw", purpose="analytics")
    kill_at(office, raw, step)
    assert set(office.index.read_now(consent.standing).words.values()) == {"withdrawn"}, "it counts from the first"

    async def after() -> None:
        await office.erasure.resume(office.moment)
        await office.commands.resume(office.moment)
        told = office.waiting(office.client)[-1]
        assert told["status"] == "done"
        assert {one["id"]: one["result"] for one in told["outcomes"]} == {
            both: "resealed",
            theirs: "deleted",
            half: "resealed",
        }
        for object_id in (both, half):
            found = office.get(object_id)
            assert found is not None
            assert (found.purposes, found.recipients) == (("security",), (office.owner_recipient,))
        assert office.get(theirs) is None
        asked = office.index.read_now(lambda tx: office.erasure.pending_remote(tx, office.store.kid, 10))
        assert [copy.upload for copy in asked] == [upload]
        kinds = office.audit_kinds()
        assert (kinds.count("narrowed"), kinds.count("erased"), kinds.count("command_done")) == (2, 1, 2)
        assert kinds.count("purpose_said") == 6, "three categories, given and withdrawn once each"
        assert await office.receive(office.client, raw) == told

    run(after())


def test_word_that_was_not_yet_durable_was_never_said(office: Consulate) -> None:
    run(office.give())
    raw = office.command(office.client, "withdraw", purpose="analytics")
    kill_at(office, raw, "before")
    assert set(office.index.read_now(consent.standing).words.values()) == {"given"}
    told = run(office.receive(office.client, raw))
    assert told is not None
    assert told["status"] == "done"
