"""An export that something outside keeps from being built: tried again after longer and longer pauses, not for ever."""

import errno
from pathlib import Path

import pytest

from agent import files
from agent.bundle.work import ChangedError
from tests.commands.office import START_S, Office, at, run
from tests.commands.test_export_stays import SELECT_ALL
from tests.commands.test_export_under_way import ask

TROUBLE = [
    OSError(errno.EIO, "Input/output error"),
    ChangedError("an object could not be read a second time", object_id="o", hint="look at the disk"),
]


class Disk:
    """Where an export is moved into place; ``trouble`` is what comes of it."""

    def __init__(self, trouble: Exception) -> None:
        self.trouble: Exception | None = trouble
        self.tries = 0

    def settle(self, part: Path, final: Path) -> None:
        self.tries += 1
        if self.trouble is not None:
            raise self.trouble
        files.settle(part, final)


@pytest.mark.parametrize("trouble", TROUBLE, ids=["medium", "object"])
def test_export_that_a_failing_disk_stops_is_built_again_ever_less_often(
    office: Office, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    # Each tick built it whole, five seconds behind the one before.
    disk = Disk(trouble)
    monkeypatch.setattr("agent.bundle.build.settle", disk.settle)

    async def scenario() -> None:
        await office.keep()
        export = await ask(office)
        for second, tries in ((0, 1), (5, 1), (14, 1), (15, 2), (44, 2), (45, 3), (104, 3), (105, 4)):
            office.moment = at(second)
            await office.commands._work_on(export)
            assert (second, disk.tries) == (second, tries)
            assert list(office.bundle.folder.iterdir()) == []
        disk.trouble = None
        office.moment = at(105 + 120)
        await office.commands._work_on(export)
        assert office.waiting(office.client)[-1]["status"] == "done"
        assert [path.name for path in office.bundle.folder.iterdir()] == [export]

    run(scenario())


def test_pause_of_one_export_keeps_no_other_waiting(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(TROUBLE[0])
    monkeypatch.setattr("agent.bundle.build.settle", disk.settle)

    async def scenario() -> None:
        await office.keep()
        stopped = await ask(office)
        await office.commands._work_on(stopped)
        disk.trouble = None
        told = await office.submit(office.client, "export", select=SELECT_ALL, form="objects")
        assert told["status"] == "done"
        assert office.index.read_now(office.bundle.exports) == {told["cmd"]}

    run(scenario())


@pytest.mark.parametrize("behind_a_start", [False, True], ids=["running", "started_anew"])
def test_export_that_cannot_be_built_while_its_command_is_valid_has_failed(
    office: Office,
    monkeypatch: pytest.MonkeyPatch,
    behind_a_start: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    disk = Disk(TROUBLE[0])
    monkeypatch.setattr("agent.bundle.build.settle", disk.settle)

    async def begin() -> str:
        await office.keep()
        export = await ask(office)
        office.moment = at(86_399)
        await office.commands._work_on(export)
        assert [one["status"] for one in office.waiting(office.client)] == ["accepted"]
        return export

    async def go_on(export: str) -> None:
        office.moment = at(86_400)
        await office.commands._work_on(export)
        (told,) = office.waiting(office.client)
        assert (told["status"], told["reason"], told["retry"]) == ("failed", "expired", "after_fix")
        assert disk.tries == 1 + behind_a_start, "what a start forgot is tried once more"
        assert list(office.bundle.folder.iterdir()) == []

    export = run(begin())
    if behind_a_start:
        office.restart()
    run(go_on(export))


def test_export_that_waits_to_be_tried_again_is_refused_at_once_when_the_device_leaves_its_owner(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It was told behind its pause, up to an hour later: by then nobody is left to be told.
    monkeypatch.setattr("agent.bundle.build.settle", Disk(TROUBLE[0]).settle)

    async def scenario() -> None:
        office.hold((await office.keep()).id)
        export = await ask(office)
        await office.commands._work_on(export)
        office.moment = at(5)
        await office.submit(office.client, "erase-all")
        await office.commands._work_on(export)
        (told,) = [one for one in office.waiting(office.client) if one["cmd"] == export]
        assert (told["status"], told["reason"]) == ("failed", "superseded")

    run(scenario())


def test_export_whose_turn_comes_late_is_built_once_before_it_is_given_up(office: Office) -> None:
    async def scenario() -> None:
        await office.keep()
        export = await ask(office)
        office.moment = at(90_000)
        assert office.moment.agent_ms // 1000 > START_S + 86_400
        await office.commands._work_on(export)
        assert office.waiting(office.client)[-1]["status"] == "done"

    run(scenario())
