"""Wrong calls: each says what is wrong in words that a person has for it, and what to do next; nothing is a riddle."""

import pytest

from tests.owner.conftest import MakeOwner, Owner
from tests.owner.peer import Peer
from tests.riddles import RIDDLES, lay_out_wrong_files

ID = "a" * 26

_NOWHERE = ("nowhere: no owner's keys are here", "privacy-owner init, or name --home DIR")

WRONG: dict[tuple[str, ...], tuple[str, str]] = {
    ("approve", ID, "00", "--yes"): ("64 digits", "privacy-owner listen"),
    ("approve", "x", "0" * 64, "--yes"): ("no command's id", "policy show --waiting"),
    ("release", "x"): ("HOLD 'x' is no command's id", "privacy-owner inventory --json, or privacy-owner receipts"),
    ("unrestrict", "x"): (
        "RESTRICTION 'x' is no command's",
        "privacy-owner inventory --json, or privacy-owner receipts",
    ),
    ("rectify", ID, "--location", "x"): ("only a camera has a place", "--camera ID --location TEXT"),
    ("rectify", "--camera", "front_door", "--name", "x"): ("'front_door' is no camera's id", "inventory --json"),
    ("rectify", "--camera", "k3x9abcd"): ("what is right is not said", "give --name or --location"),
    ("rectify", "a" * 26): ("what is right is not said", "give --name\n"),
    ("rectify", "x", "--name", "x"): ("'x' is not an id", "privacy-owner inventory"),
    ("--home", "nowhere", "client", "approvals", "2"): _NOWHERE,
    ("--home", "nowhere", "client", "remove", "x"): _NOWHERE,
    ("--home", "nowhere", "client", "grant", "x", "hold"): _NOWHERE,
    ("--home", "nowhere", "client", "list"): _NOWHERE,
    ("client", "approvals", "2"): ("2 clients have to say yes, and 1 could", "privacy-owner client new NAME"),
    ("client", "new", "phone"): ("there are keys here already", "that client's machine"),
    ("inventory", "--after", "x", "--out", "x"): ("--after 'x' is no command's id", "privacy-owner pending"),
    ("export", "--all", "--recipient", "bob", "--out", "x"): ("--recipient 'bob': this is no age", "age1"),
    ("export", "--all", "--recipient", "age1bob", "--out", "x"): ("--recipient 'age1bob'", ""),
    ("inventory", "--camera", "Front Door", "--out", "x"): (
        "'Front Door' is no camera's id",
        "inventory --json tells each camera's, or privacy-agent cameras at the device",
    ),
    ("inventory", "--from", "yesterday", "--out", "x"): ("'yesterday' is not a time", "36h"),
    ("inventory", "--from", "3d", "--to", "4d", "--out", "x"): ("from is not before to", "the earlier time first"),
    ("inventory", *(f"{'a' * 24}{i}{j}" for i in "abcdefghijklmnop" for j in "abcdefghijklmnop"), "--out", "x"): (
        "256 ids, and a command takes 200",
        "--camera",
    ),
    ("inventory", "--cursor", "x", "--out", "x"): ("cursor is none of ours", ""),
    ("decrypt", "-i", "own.key", "plain"): ("plain: this is no age v1 file", "as age"),
    ("decrypt", "-i", "own.key", "cut.age"): ("cut.age: ", "copy it again, whole"),
    ("decrypt", "-i", "other.key", "clip.age"): ("clip.age: none of the identities", "sealed to: -i FILE"),
    ("decrypt", "-i", "nope", "clip.age"): ("privacy-owner: nope: No such file", "check the name"),
    ("decrypt", "-i", "own.key", "nope"): ("privacy-owner: nope: No such file", "check the name"),
    ("verify", "plain"): ("plain: DOES NOT HOLD: neither a receipt", "privacy-agent submit -o"),
    ("verify", "clip.age"): ("clip.age: DOES NOT HOLD", ""),
    ("receipt", "plain"): ("plain: ", "privacy-agent submit"),
    ("open", "nope"): ("nope: no export lies here", "copy the folder vault/exports/ID"),
    ("open", "."): (".: no export lies here", "copy the folder vault/exports/ID"),
    ("device", "add", "plain"): ("plain: ", "device.jws as privacy-agent init wrote it"),
    ("client", "add", "plain"): ("plain: ", "descriptor file"),
    ("recover", "plain", "--force"): ("plain: ", "type every R and I line"),
    ("inventory", "--colour", "red"): ("unrecognized arguments: --colour", "privacy-owner inventory --help"),
    ("client", "add", "plain", "--colour"): ("unrecognized arguments: --colour", "privacy-owner client add --help"),
    ("client", "dance"): ("invalid choice: 'dance'", "privacy-owner client --help"),
    ("listen", "--timeout", "nan"): ("'nan' is no number of seconds", "privacy-owner listen --help"),
}


@pytest.mark.parametrize("words", WRONG, ids=lambda words: " ".join(words)[:40])
def test_wrong_call_says_what_is_wrong_and_what_next(owner: Owner, peer: Peer, words: tuple[str, ...]) -> None:
    assert peer.id
    lay_out_wrong_files()

    ran = owner.run(*words)

    says, step = WRONG[words]
    what, _, following = ran.err.partition("\n  next: ")
    assert ran.code != 0
    assert ran.out == ""
    assert says in what
    assert step in following
    assert not [riddle for riddle in RIDDLES if riddle in ran.err]
    assert owner.ok("pending", "--json").json == []


def test_client_in_the_owners_own_folder_is_no_reason_to_move_that_aside(owner: Owner) -> None:
    ran = owner.run("client", "new", "phone")
    assert "--force" not in ran.err
    assert "privacy-owner --home DIR client new phone" in ran.err


@pytest.mark.parametrize(
    ("words", "step"),
    [
        (("inventory", "--out", "ask.cmd"), "device add DEVICE.jws"),
        (("device", "list"), "device add DEVICE.jws"),
        (("client", "grant", "nobody", "hold"), "client list"),
        (("client", "remove", "nobody"), "client list"),
        (("client", "add", "home/client.json", "--yes"), "client list"),
        (("client", "approvals", "2"), "client add NAME.json"),
        (("client", "approvals", "2"), "client approvals N"),
    ],
)
def test_next_step_is_one_for_the_home_that_was_named(owner: Owner, words: tuple[str, ...], step: str) -> None:
    ran = owner.run(*words)
    assert f"privacy-owner --home {owner.home} {step}" in ran.out + ran.err


def test_steps_of_init_are_for_the_home_that_was_named(make_owner: MakeOwner) -> None:
    made = make_owner("elsewhere")
    told = made.ok("init", "--classic").out
    assert f"  3. here again:    privacy-owner --home {made.home} device add DEVICE.jws\n" in told


def test_verb_that_was_not_granted_is_granted_in_the_home_that_was_named(owner: Owner, peer: Peer) -> None:
    assert peer.id
    ran = owner.run("release", ID, "--out", "release.cmd")
    assert f"next: privacy-owner --home {owner.home} client grant " in ran.err


def test_open_where_no_home_is_says_where_one_comes_from(owner: Owner) -> None:
    ran = owner.run("--home", "nowhere", "open", ".")
    says, step = _NOWHERE
    assert says in ran.err
    assert step in ran.err
