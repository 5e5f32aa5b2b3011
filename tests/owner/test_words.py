"""What an owner reads of answers and news: whole sentences, of which command, and a next step that works."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.owner import show
from agent.owner.receipt import Alert, Receipt
from agent.owner.remark import REMARKS
from tests.owner.conftest import Owner, Place, fingerprint_of
from tests.owner.peer import Peer
from tests.owner.test_ask_files import answer, asked
from tests.owner.test_late import receipt as late_receipt
from tests.sim.fake_device import new_id

PROTOCOL = (Path(__file__).resolve().parents[2] / "docs/protocol.md").read_text(encoding="utf-8")


def test_sentences_of_remarks_are_those_of_the_protocol() -> None:
    section = PROTOCOL.split("| remark | tell a person |", 1)[1].split("\n\n", 1)[0]
    assert dict(re.findall(r"^\| `([a-z_]+)` \| (.+) \|$", section, re.MULTILINE)) == REMARKS


def ended(*outcomes: dict[str, Any], **more: object) -> Receipt:
    claims = msgspec.to_builtins(late_receipt(destroyed=0, remaining=0)) | {"late": None, "outcomes": outcomes}
    return msgspec.convert(claims | more, Receipt)


def test_no_remark_of_a_delete_is_cut_off_and_each_is_told_in_a_sentence() -> None:
    every = list(REMARKS)
    told = show.end(
        ended({"id": "a" * 26, "result": "deleted", "remarks": every}, {"id": "b" * 26, "result": "deleted"})
    )
    for number, (code, sentence) in enumerate(REMARKS.items(), start=1):
        assert re.search(rf"^ *{number} +{re.escape(sentence)} \({code}\)$", told, re.MULTILINE)
    assert re.search(r"^a{26} +deleted +1 2 3 4 5 6", told, re.MULTILINE)
    assert re.search(r"^b{26} +deleted$", told, re.MULTILINE)


def test_alert_is_told_once_and_each_sentence_on_a_line_of_its_own() -> None:
    told = show.alert(
        Alert(
            iss="cam-01",
            aud="k",
            iat=1,
            jti="a" * 26,
            code="store_rolled_back",
            since="2026-03-01T10:15:00.000Z",
            count=1,
            what="What.",
            effect="Effect.",
            next="Step",
        )
    )
    first, *others = told.splitlines()
    assert re.fullmatch(r"alert store_rolled_back since 2026-03-01 [\d:]+ [+-]\d{4}", first)
    assert others == ["  What.", "  Effect.", "  next: Step"]


def test_news_of_a_command_names_it_and_what_turned_up_later() -> None:
    later = late_receipt(destroyed=3, remaining=2)
    assert show.news(later) == f"delete {later.cmd}: turned up after it: 3 destroyed unread, 2 left to their source"
    assert later.cmd in show.news(ended())


def test_listening_speaks_of_no_command_where_none_is_sent(owner: Owner, peer: Peer, place: Place) -> None:
    with peer.online(place.url, place.device):
        peer.say_state(session=1, online=False)
        ran = owner.ok("listen", "--timeout", "3", *place.reach)
        peer.publish("state", b"", retain=True)
    assert "the device is offline; what it has for us comes when it returns" in ran.err
    assert "resend" not in ran.err
    assert "every 15 minutes" in ran.out


def test_command_that_waits_for_the_device_says_who_sends_it_again(owner: Owner, peer: Peer, place: Place) -> None:
    peer.answers = lambda _peer, _command: []
    with peer.online(place.url, place.device):
        peer.say_state(session=1, online=False)
        ran = owner.run("inventory", "--timeout", "3", *place.reach)
        peer.publish("state", b"", retain=True)
    assert "sent again if it returns while this waits, later by: privacy-owner resend" in ran.err


def test_next_step_without_a_broker_is_one_that_works_without(owner: Owner, peer: Peer, tmp_path: Path) -> None:
    path = peer.write_descriptor(tmp_path / "again.jws")
    shown = owner.run("device", "add", path).err.partition("fingerprint ")[2].partition(";")[0]
    told = owner.ok("device", "add", path, "--accept", shown).out
    words = told.partition("next: privacy-owner ")[2].split(",")[0].split()
    assert owner.ok(*words).code == 0
    assert Path("ask.cmd").exists()


def test_next_step_of_a_second_device_is_for_that_one(owner: Owner, peer: Peer, tmp_path: Path) -> None:
    # It went to the first one, which stays the one that is meant without --device.
    second = Peer("camera-2")
    second.learn(owner.home / "client.json")
    path = second.write_descriptor(tmp_path / "second.jws")
    told = owner.ok("device", "add", path, "--accept", fingerprint_of(owner, path)).out
    assert f"default      {peer.id}: name this one with --device camera-2\n" in told
    words = told.partition("next: privacy-owner ")[2].split(",")[0].split()
    assert owner.ok(*words).code == 0
    assert second.open_command(Path("ask.cmd").read_bytes())["verb"] == "inventory"


@pytest.mark.parametrize("verb", ["restrict", "hold"])
@pytest.mark.parametrize("objects", [0, 1])
def test_freeze_over_nothing_says_so_and_where_the_ids_are(verb: str, objects: int) -> None:
    # One wrong letter in a camera's id was answered by "over 0 objects there", and done.
    told = show.end(ended(verb=verb, covers={"objects": objects, "bytes": objects * 5}))
    warned = "nothing of that selection is held there now; where another was meant: privacy-owner inventory, or "
    assert (warned in told) is (objects == 0)


def test_command_given_as_an_answer_is_called_what_it_is(owner: Owner, peer: Peer) -> None:
    assert peer.id
    owner.ok("inventory", "--out", "ask.cmd")
    ran = owner.run("receipt", "ask.cmd")
    assert "ask.cmd: this is a command, not an answer to one" in ran.err
    assert "next: on the device: privacy-agent submit ask.cmd -o ANSWER" in ran.err


@pytest.mark.parametrize(("has_broker", "ends"), [(False, " --out FILE"), (True, "")])
def test_export_that_still_holds_copies_is_removed_by_the_command_that_is_shown(
    owner: Owner, peer: Peer, *, has_broker: bool, ends: str
) -> None:
    if has_broker:
        with (owner.home / "owner.toml").open("a", encoding="utf-8") as settings:
            settings.write('url = "mqtts://mqtt.example:8883"\n')
    export = new_id()
    claims = asked(owner, peer, "delete", new_id())
    outcome = {"id": claims["select"]["ids"][0], "result": "deleted", "remarks": [], "exports": [export]}
    told = owner.ok("receipt", answer(owner, peer.receipt(claims, outcomes=[outcome]))).out
    assert f"export {export} still holds copies; remove it:\n  privacy-owner delete {export}{ends}\n" in told
