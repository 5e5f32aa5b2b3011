"""At zero bytes free each word that stops a use, keeps, or makes room is taken up, answered, and stands in the log."""

import os
import secrets
from pathlib import Path
from typing import Any

from agent import audit
from agent.clock import rfc3339_ms
from tests.commands.consenting import Consulate
from tests.commands.office import START_S, run
from tests.disk import as_root, fill, small_disk

OBJECTS = 40

Words = tuple[str, str, dict[str, Any]]


def words(ids: list[str], restriction: str) -> dict[str, Words]:
    """Return who says which verb with what, by what it is called here."""
    return {
        "delete": ("client", "delete", {"select": {"ids": ids[:3]}}),
        "delete all": ("client", "delete", {"select": {"all": True}}),
        "restrict": ("client", "restrict", {"select": {"all": True}, "ground": "claims"}),
        "unrestrict": ("client", "unrestrict", {"restriction": restriction}),
        "withdraw": ("client", "withdraw", {"purpose": "analytics"}),
        "object": ("client", "object", {"purpose": "improvement"}),
        "do not track": ("client", "object", {"do_not_track": True}),
        "inventory": ("client", "inventory", {"select": {"all": True}, "limit": 5}),
    }


NAMES = ("delete", "delete all", "restrict", "unrestrict", "withdraw", "object", "do not track", "inventory")


async def said(office: Consulate, name: str, folder: Path) -> None:
    """Have a word said on a disk that is full to the last byte."""
    await office.submit(office.client, "consent", purpose="analytics")
    kept = [await office.keep(secrets.token_bytes(20_000)) for _ in range(OBJECTS)]
    put = await office.submit(office.client, "restrict", select={"ids": [kept[-1].id]}, ground="accuracy")
    ids = [one.id for one in kept]
    who, verb, own = words(ids, put["cmd"])[name]
    command = office.command(getattr(office, who), verb, **own)
    fill(folder / "eaten")
    assert os.statvfs(folder).f_bavail == 0
    submitted = await office.commands.submit(command, moment=office.moment)
    receipt = getattr(office, who).open(submitted.receipt)
    assert receipt["status"] == "done", name
    fill(folder / "eaten")
    head = await office.index.read(audit.head)
    assert head.seq >= receipt["audit_head"]["seq"], f"what the receipt of {name} names is not in the log"
    again = await office.receive(getattr(office, who), command)
    assert again is not None, f"a repeat of {name} is not answered"
    assert again["status"] == "done", name
    if verb == "delete":
        gone = ids if name == "delete all" else ids[:3]
        assert {office.get(object_id) for object_id in gone} == {None}


@as_root
def test_each_word_is_taken_up_answered_and_written_down_without_a_byte_free(tmp_path: Path) -> None:
    for number, name in enumerate(NAMES):
        with small_disk(tmp_path / f"disk-{number}", size="32m") as disk:
            office = Consulate(disk / "state")
            run(said(office, name, disk))
            office.close()


@as_root
def test_hold_of_a_backend_waits_for_room_and_is_taken_up_then(tmp_path: Path) -> None:
    """What is kept back is its owner's: a hold makes no room, and whoever sets one keeps it and sends it again."""
    until = rfc3339_ms((START_S + 30 * 86_400) * 1000)
    with small_disk(tmp_path / "disk", size="32m") as disk:
        office = Consulate(disk / "state")

        async def scenario() -> None:
            one = await office.keep(secrets.token_bytes(20_000))
            own = {"select": {"ids": [one.id]}, "reason": "claim 7", "until": until}
            hold = office.command(office.backend, "hold", **own)
            fill(disk / "eaten")
            await office.submit(office.client, "inventory", select={"all": True})  # it gives a piece up
            assert await office.receive(office.backend, hold) is None
            (disk / "eaten").unlink()
            await office.index.read(lambda _tx: None)  # behind whatever comes next the piece is taken again
            receipt = await office.receive(office.backend, hold)
            assert receipt is not None
            assert [outcome["result"] for outcome in receipt["outcomes"]] == ["held"]
            fill(disk / "eaten")
            refused = await office.submit(office.client, "delete", select={"ids": [one.id]})
            assert [outcome["result"] for outcome in refused["outcomes"]] == ["held"], "it stands on a full disk too"

        run(scenario())
        office.close()
