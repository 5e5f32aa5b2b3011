"""What is kept back on a full disk is for deletes: whoever may send commands may not use it up by asking."""

import os
import secrets
from pathlib import Path
from typing import Any

from tests.commands.office import Office, run
from tests.disk import as_root, fill, small_disk

OBJECTS = 200
ASKED = 120
"""Each answer tells of all objects: together several times what is kept back."""

MANY = 4_000


async def held(office: Office) -> list[str]:
    """Page through all that the owner's client is told of."""
    told: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = await office.submit(office.client, "inventory", select={"all": True}, **cursor)
        told += [one["id"] for one in page["outcomes"]]
        if not page.get("cursor"):
            return told
        cursor = {"cursor": page["cursor"]}


@as_root
def test_backends_commands_do_not_eat_the_room_that_the_owners_delete_needs(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", size="48m") as disk:
        office = Office(disk / "state")

        async def scenario() -> None:
            kept = [await office.keep(secrets.token_bytes(20_000)) for _ in range(OBJECTS)]
            fill(disk / "eaten")
            assert os.statvfs(disk).f_bavail == 0
            everything = {"all": True}
            asked = [office.command(office.backend, "inventory", select=everything) for _ in range(ASKED)]
            answered = [await office.receive(office.backend, command) for command in asked]
            assert answered[-1] is None, "it keeps its command and sends it again"

            fill(disk / "eaten")
            select = {"ids": [one.id for one in kept[: OBJECTS // 2]]}
            assert (await office.submit(office.client, "delete", select=select))["status"] == "done"
            assert len(await held(office)) == OBJECTS // 2

            (disk / "eaten").unlink()
            await office.keep()
            receipt = await office.receive(office.backend, asked[-1])
            assert receipt is not None
            assert receipt["status"] == "done"

        run(scenario())
        office.close()


@as_root
def test_withdrawal_is_taken_up_where_the_owners_other_commands_are_not_and_leaves_room_for_a_delete(
    tmp_path: Path,
) -> None:
    """On a full disk some of the owner's own questions were enough, and what was withdrawn was uploaded on."""
    with small_disk(tmp_path / "disk", size="48m") as disk:
        office = Office(disk / "state")

        async def unheard(verb: str, **own: Any) -> None:  # noqa: ANN401 - JSON
            """Ask until it is not taken up any more."""
            for _ in range(MANY):
                if await office.receive(office.client, office.command(office.client, verb, **own)) is None:
                    return
            raise AssertionError(f"{verb} is taken up without end")

        async def scenario() -> None:
            everything = {"all": True}
            kept = [await office.keep(secrets.token_bytes(20_000)) for _ in range(OBJECTS)]
            fill(disk / "eaten")
            await unheard("inventory", select=everything)
            objected = await office.submit(office.client, "object", do_not_track=True)
            assert objected["status"] == "done"
            restricted = await office.submit(office.client, "restrict", select=everything, ground="claims")
            assert restricted["status"] == "done"

            fill(disk / "eaten")
            await unheard("object", do_not_track=True)
            select = {"ids": [one.id for one in kept]}
            assert (await office.submit(office.client, "delete", select=select))["status"] == "done"

        run(scenario())
        office.close()
