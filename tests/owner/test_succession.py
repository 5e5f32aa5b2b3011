"""Owners change at a device: clients come and go, and a lost root is replaced with the recovery sheet's key.

The owner's real tool signs, a real agent's commands take what it signed; files instead of a broker.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.app.setup import describe
from agent.errors import AgentError, RefusedError
from tests.commands.office import DEVICE, START_S, Office, run
from tests.owner.conftest import MakeOwner, Owner, fingerprint_of


class Household:
    """A device whose owner is ``owner``: its root signed the key set in force."""

    def __init__(self, owner: Owner, folder: Path) -> None:
        self.owner = owner
        self.folder = folder
        owner.now_s = START_S
        self.office = Office.owned_by(folder / "state", owner.home / "owner.pub")
        path = folder / "device.jws"
        path.write_bytes(describe(self.office.keystore, device=DEVICE))
        owner.ok("device", "add", path, "--accept", fingerprint_of(owner, path))

    def submit(self, path: Path) -> None:
        run(self.office.commands.submit(path.read_bytes(), moment=self.office.moment))

    def asks(self, owner: Owner) -> str:
        """Let an owner's client ask for what is held; return what became of it."""
        command = self.folder / "ask.cmd"
        command.unlink(missing_ok=True)
        owner.ok("inventory", "--device", DEVICE, "--out", command)
        try:
            return run(self.office.commands.submit(command.read_bytes(), moment=self.office.moment)).status
        except RefusedError as error:
            return error.reason


@pytest.fixture
def house(owner: Owner, tmp_path: Path) -> Iterator[Household]:
    found = Household(owner, tmp_path)
    yield found
    found.office.close()


def typed(owner: Owner, folder: Path) -> Path:
    sheet = folder / "typed.txt"
    sheet.write_text((owner.home / "recovery-sheet.txt").read_text())
    return sheet


def test_client_that_is_added_commands_and_one_that_is_removed_does_not(
    house: Household, make_owner: MakeOwner
) -> None:
    phone = make_owner("phone")
    phone.now_s = START_S
    phone.ok("client", "new", "phone", "--classic", "--out", house.folder / "phone.json")
    phone.ok(
        "device", "add", house.folder / "device.jws", "--accept", fingerprint_of(phone, house.folder / "device.jws")
    )
    assert (house.asks(house.owner), house.asks(phone)) == ("done", "verb_not_allowed")

    house.owner.ok("client", "add", house.folder / "phone.json", "--yes", "--out", house.folder / "two.jws")
    house.submit(house.folder / "two.jws")
    assert (house.asks(house.owner), house.asks(phone)) == ("done", "done")

    house.owner.ok("client", "remove", "Ada Example", "--yes", "--out", house.folder / "three.jws")
    house.submit(house.folder / "three.jws")
    assert (house.asks(house.owner), house.asks(phone)) == ("verb_not_allowed", "done")


def test_lost_root_is_replaced_with_the_sheets_key_and_signs_nothing_more(house: Household) -> None:
    owner, former = house.owner, Owner(house.folder / "home.old-1", house.owner.capsys, START_S)
    sheet = typed(owner, house.folder)
    (owner.home / "root.key").unlink()

    told = owner.run("replace-root", sheet, "--yes", "--json", "--out", house.folder / "succession.jws").json
    assert house.asks(owner) == "verb_not_allowed"  # the device has not heard of it yet
    house.submit(house.folder / "succession.jws")

    assert (house.asks(owner), house.asks(former)) == ("done", "verb_not_allowed")
    now = house.office.index.read_now(house.office.trust.owner)
    assert now is not None
    assert now.fingerprint == told["fingerprint"]
    owner.ok("client", "remove", "Ada Example", "--yes", "--out", house.folder / "next.jws")
    house.submit(house.folder / "next.jws")
    with pytest.raises(RefusedError) as refused:  # the former root handed over once
        house.submit(house.folder / "succession.jws")
    assert refused.value.reason == "bad_signature"


def test_replaced_root_opens_with_its_own_sheet_and_the_former_ones_identity(house: Household) -> None:
    identity = (house.owner.home / "identity.txt").read_text().splitlines()[-1]
    house.owner.ok("replace-root", typed(house.owner, house.folder), "--yes", "--out", house.folder / "one.jws")
    house.submit(house.folder / "one.jws")
    assert (house.owner.home / "identity.txt").read_text().splitlines()[-1] == identity

    house.owner.ok("replace-root", typed(house.owner, house.folder), "--yes", "--out", house.folder / "two.jws")
    house.submit(house.folder / "two.jws")

    assert house.asks(house.owner) == "done"


@pytest.mark.parametrize("what", ["another owner's", "the statement alone", "a key set of the former root"])
def test_hand_over_that_the_root_did_not_sign_whole_changes_nothing(
    house: Household, make_owner: MakeOwner, what: str
) -> None:
    other = make_owner("other")
    other.now_s = START_S
    other.ok("init", "--name", "Eve", "--classic")
    wrong = house.folder / "wrong.jws"
    if what == "another owner's":
        other.ok("replace-root", typed(other, house.folder), "--yes", "--out", wrong)
    else:
        before = (house.owner.home / "keysets" / "1.jws").read_bytes()
        house.owner.ok("replace-root", typed(house.owner, house.folder), "--yes", "--out", wrong)
        first, second = wrong.read_bytes().splitlines()
        wrong.write_bytes(first + b"\n" + (b"" if what == "the statement alone" else before))
        assert second
    owner, keys = house.office.index.read_now(lambda tx: (house.office.trust.owner(tx), house.office.trust.key_set(tx)))

    with pytest.raises(AgentError):
        house.submit(wrong)

    assert house.office.index.read_now(house.office.trust.owner) == owner
    assert house.office.index.read_now(house.office.trust.key_set) == keys


def test_sheet_of_another_owner_replaces_no_root_here(house: Household, make_owner: MakeOwner) -> None:
    other = make_owner("other")
    other.ok("init", "--name", "Eve", "--classic")

    ran = house.owner.run("replace-root", typed(other, house.folder), "--yes")

    assert ran.code == 2
    assert "not of this home's owner" in ran.err
    assert (house.owner.home / "root.key").exists()
