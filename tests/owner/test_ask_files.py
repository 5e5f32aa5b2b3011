"""Commands as files: signed, numbered, kept; the answers taken in from files."""

import re
from pathlib import Path
from typing import Any

import pytest

from agent.shell.times import when, when_text
from device_sim.cloud import jws
from device_sim.cloud.jws import PublicKey, SigningKey
from tests.owner.conftest import NOW_S, MakeOwner, Owner, fingerprint_of, known_peer
from tests.owner.peer import Peer
from tests.sim.fake_device import new_id


def asked(owner: Owner, peer: Peer, *words: object) -> dict[str, Any]:
    yes = ("--yes",) if words[0] in {"delete", "approve", "end-service", "erase-all"} else ()
    file = owner.home.parent / f"{new_id()}.bin"
    owner.ok(*words, *yes, "--out", file)
    return peer.open_command(file.read_bytes())


def answer(owner: Owner, raw: bytes) -> Path:
    path = owner.home.parent / "answer.bin"
    path.write_bytes(raw)
    return path


def test_delete_file_is_a_command_for_that_device(owner: Owner, peer: Peer) -> None:
    object_id = new_id()

    claims = asked(owner, peer, "delete", object_id)

    assert claims["aud"] == peer.id
    assert claims["verb"] == "delete"
    assert claims["select"] == {"ids": [object_id]}
    assert (claims["iat"], claims["exp"]) == (NOW_S, NOW_S + 7 * 86_400)


@pytest.mark.parametrize(
    ("words", "select"),
    [
        (("--all",), {"all": True}),
        (("--camera", "k3x9abcd"), {"camera": "k3x9abcd"}),
        (("--category", "photo", "--from", "2026-03-01T00:00:00Z"),
         {"category": "photo", "from": "2026-03-01T00:00:00.000Z"}),
        (("--from", "36h", "--to", "now"), {"from": "2026-02-23T18:13:20.000Z", "to": "2026-02-25T06:13:20.000Z"}),
    ],
)  # fmt: skip
def test_selection_arguments_become_the_selection(
    owner: Owner, peer: Peer, words: tuple[str, ...], select: dict[str, Any]
) -> None:
    assert asked(owner, peer, "delete", *words)["select"] == select


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--all", "--camera", "k3x9abcd"),
        ("not-an-id",),
        ("--category", "film"),
        ("--from", "yesterday"),
        ("--from", "2026-03-02T00:00:00Z", "--to", "2026-03-01T00:00:00Z"),
        ("--camera", "K3"),
        ("--all", "--expires", "60d"),
        ("--all", "--after", "x"),
    ],
)
def test_selection_that_cannot_be_spends_no_number(owner: Owner, peer: Peer, words: tuple[str, ...]) -> None:
    before = (owner.home / "devices" / peer.id / "seq").read_bytes()

    ran = owner.run("delete", *words, "--yes", "--out", "x.bin")

    assert ran.code == 2
    assert "next:" in ran.err
    assert (owner.home / "devices" / peer.id / "seq").read_bytes() == before
    assert not Path("x.bin").exists()


def test_each_command_has_the_next_number_which_is_durable_first(owner: Owner, peer: Peer) -> None:
    numbers = [asked(owner, peer, "inventory")["seq"] for _ in range(3)]

    assert numbers == [NOW_S + 1, NOW_S + 2, NOW_S + 3]
    assert (owner.home / "devices" / peer.id / "seq").read_text() == f"{NOW_S + 3}\n"


def test_home_that_lost_a_device_goes_on_above_its_old_numbers(owner: Owner, peer: Peer, make_owner: MakeOwner) -> None:
    last = asked(owner, peer, "inventory")["seq"]
    again = make_owner("again")
    again.now_s = NOW_S + 3600
    again.ok("init", "--classic")
    peer.learn(again.home / "client.json")
    path = owner.home.parent / f"{peer.id}.jws"
    again.ok("device", "add", path, "--accept", fingerprint_of(again, path))

    assert asked(again, peer, "inventory")["seq"] > last


def test_export_approve_and_time_carry_their_claims(owner: Owner, peer: Peer) -> None:
    friend = owner.ok("keygen", "--json").json["recipient"]
    jti, digest = new_id(), "ab" * 32

    export = asked(owner, peer, "export", "--all", "--form", "zip", "--recipient", friend, "--after", jti)
    approve = asked(owner, peer, "approve", jti, digest)
    time = asked(owner, peer, "time", "--now")

    assert (export["form"], export["to"], export["after"]) == ("zip", [friend], jti)
    assert (approve["command"], approve["selection"]) == (jti, digest)
    assert time["now"] == NOW_S


@pytest.mark.parametrize(("at", "ends_s"), [("40d", NOW_S + 40 * 86_400), ("2026-12-31T12:00:00Z", 1_798_718_400)])
def test_service_ends_at_a_day_or_so_many_days_ahead(owner: Owner, peer: Peer, at: str, ends_s: int) -> None:
    assert asked(owner, peer, "end-service", "--at", at)["ends"] == ends_s


def test_receipt_file_ends_the_command_and_tells_the_outcome(owner: Owner, peer: Peer) -> None:
    claims = asked(owner, peer, "delete", new_id())
    assert claims["jti"] in owner.ok("pending").out
    outcome = {
        "id": claims["select"]["ids"][0],
        "result": "deleted",
        "remarks": ["cloud_confirmed"],
        "stated_by": "k" * 43,
    }

    told = owner.ok("receipt", answer(owner, peer.receipt(claims, outcomes=[outcome])))

    assert re.search(rf"{outcome['id']} +deleted +1 +k{{12}}", told.out)
    assert owner.ok("pending").out == "nothing is pending\n"
    assert owner.ok("receipts", "--json").json[0]["status"] == "done"


def test_partial_delete_is_told_and_exits_one(owner: Owner, peer: Peer) -> None:
    claims = asked(owner, peer, "delete", "--all")
    outcomes = [{"id": new_id(), "result": "deleted"}, {"id": new_id(), "result": "held"}]

    ran = owner.run("receipt", answer(owner, peer.receipt(claims, status="partial", outcomes=outcomes)))

    assert ran.code == 1
    assert "held" in ran.out
    assert "1 of it did not happen" in ran.err


def test_refusal_is_explained_and_stale_seq_raises_the_next_number(owner: Owner, peer: Peer) -> None:
    claims = asked(owner, peer, "inventory")
    raw = peer.receipt(claims, status="refused", reason="stale_seq", retry="after_fix", next_seq=NOW_S + 5000)

    ran = owner.run("receipt", answer(owner, raw))

    assert ran.code == 1
    assert "give the command again" in ran.err
    assert asked(owner, peer, "inventory")["seq"] == NOW_S + 5000


@pytest.mark.parametrize(
    ("answered", "says", "step"),
    [
        (
            {"status": "failed", "reason": "disk_full", "retry": "later"},
            "failed: disk_full: ",
            "give the command again",
        ),
        (
            {"status": "partial", "outcomes": [{"id": "a" * 26, "result": "held"}]},
            "1 of it",
            "privacy-owner release HOLD",
        ),
        ({"status": "failed", "outcomes": [{"id": "a" * 26, "result": "failed"}]}, "1 of it", "privacy-agent doctor"),
        ({"status": "partial", "outcomes_hash": "0" * 64, "cursor": "b" * 26 + "."}, "not all", "--cursor " + "b" * 26),
        ({"status": "failed", "outcomes": [{"id": "a" * 26, "result": "of_a_later_version"}]}, "1 of it", "docs/"),
    ],
)
def test_what_did_not_happen_is_counted_and_has_a_next_step(
    owner: Owner, peer: Peer, answered: dict[str, Any], says: str, step: str
) -> None:
    claims = asked(owner, peer, "delete", "--all")

    ran = owner.run("receipt", answer(owner, peer.receipt(claims, **answered)))

    assert ran.code == 1
    assert says in ran.err
    assert step in ran.err.partition("next: ")[2]


def test_export_of_nothing_fails_and_names_no_folder(owner: Owner, peer: Peer) -> None:
    claims = asked(owner, peer, "export", "--all")

    ran = owner.run("receipt", answer(owner, peer.receipt(claims, outcomes=[])))

    assert ran.code == 1
    assert "no export was built" in ran.err
    assert "privacy-owner open" not in ran.out


def test_inventory_receipt_of_nothing_says_so(owner: Owner, peer: Peer) -> None:
    claims = asked(owner, peer, "inventory")

    told = owner.ok("receipt", answer(owner, peer.receipt(claims, outcomes=[])))

    assert "nothing of that selection is held" in told.out


@pytest.mark.parametrize("name", ["nope", "*", "a" * 26])
def test_receipts_of_a_command_that_was_never_signed_are_an_error(owner: Owner, peer: Peer, name: str) -> None:
    asked(owner, peer, "inventory")

    ran = owner.run("receipts", name)

    assert ran.code == 2
    assert "no such command was signed here" in ran.err


def test_receipt_of_another_device_key_is_refused(owner: Owner, peer: Peer) -> None:
    claims = asked(owner, peer, "delete", "--all")
    forged = peer.seal("receipt", peer.receipt_claims(claims), signer=SigningKey.generate())

    ran = owner.run("receipt", answer(owner, forged))

    assert ran.code == 1
    assert "not signed by device" in ran.err
    assert claims["jti"] in owner.ok("pending").out


@pytest.mark.parametrize(
    "differs",
    [{"aud": "k" * 43}, {"iss": "camera-2"}, {"cmd": "a" * 26}, {"status": "maybe"}, {"audit_head": {"seq": 1}}],
    ids=lambda differs: next(iter(differs)),
)
def test_receipt_with_a_wrong_claim_ends_nothing(owner: Owner, peer: Peer, differs: dict[str, Any]) -> None:
    claims = asked(owner, peer, "delete", "--all")

    ran = owner.run("receipt", answer(owner, peer.receipt(claims, **differs)))

    assert ran.code == 1
    assert claims["jti"] in owner.ok("pending").out
    assert owner.ok("receipts").out == "no receipts yet\n"


def test_receipt_with_flipped_bytes_is_refused_wherever_they_are(owner: Owner, peer: Peer) -> None:
    claims = asked(owner, peer, "delete", "--all")
    raw = peer.receipt(claims)

    for at in (0, 30, len(raw) // 2, len(raw) - 1):
        bent = bytearray(raw)
        bent[at] ^= 0x20
        assert owner.run("receipt", answer(owner, bytes(bent))).code == 1
    assert claims["jti"] in owner.ok("pending").out
    owner.ok("receipt", answer(owner, raw))


def test_receipt_with_members_from_a_later_version_is_read(owner: Owner, peer: Peer) -> None:
    claims = asked(owner, peer, "delete", "--all")

    owner.ok("receipt", answer(owner, peer.receipt(claims, weather="fine", outcomes=[])))


def test_waiting_receipt_says_what_it_waits_for(owner: Owner, peer: Peer) -> None:
    claims = asked(owner, peer, "delete", "--all")
    waiting = peer.receipt(claims, status="waiting", reason="quota_exceeded", retry="later")

    told = owner.ok("receipt", answer(owner, waiting))

    assert f"privacy-owner approve {claims['jti']}" in told.out
    assert claims["jti"] in owner.ok("pending").out


def test_receipt_that_waits_for_a_camera_speaks_of_no_store(owner: Owner, peer: Peer) -> None:
    claims = asked(owner, peer, "delete", "--all")
    outcome = {"id": "a" * 26, "result": "waiting_for_camera", "remarks": ["camera_unconfirmed"]}
    told = owner.ok("receipt", answer(owner, peer.receipt(claims, status="waiting", outcomes=[outcome]))).out
    assert "a camera's answer that its own copy is gone" in told
    assert "store" not in told
    both = [outcome, outcome | {"id": "b" * 26, "result": "waiting_for_cloud"}]
    told = owner.ok("receipt", answer(owner, peer.receipt(claims, status="waiting", outcomes=both))).out
    assert "a store's confirmation and a camera's answer" in told


def test_object_that_a_store_and_a_camera_still_have_waits_for_both(owner: Owner, peer: Peer) -> None:
    # Its result names the store alone, and so did we, also once the store had confirmed.
    claims = asked(owner, peer, "delete", "--all")
    remarks = ["camera_unconfirmed", "cloud_unconfirmed"]
    outcome = {"id": "a" * 26, "result": "waiting_for_cloud", "remarks": remarks}
    told = owner.ok("receipt", answer(owner, peer.receipt(claims, status="waiting", outcomes=[outcome]))).out
    assert "waits for a store's confirmation and a camera's answer that its own copy is gone" in told
    assert "a store's confirmation and a camera's answer" in owner.ok("pending").out


def test_waiting_for_more_than_a_receipt_names_blames_neither_store_nor_camera(owner: Owner, peer: Peer) -> None:
    claims = asked(owner, peer, "delete", "--all")
    many = {"outcomes_hash": "a" * 64, "cursor": f"{claims['jti']}."}
    told = owner.ok("receipt", answer(owner, peer.receipt(claims, status="waiting", **many))).out
    assert "waits for a store's confirmation or a camera's answer" in told
    assert f"privacy-owner inventory --cursor {claims['jti']}." in told


def test_audit_head_that_contradicts_a_known_one_is_reported(owner: Owner, peer: Peer) -> None:
    first, second = asked(owner, peer, "inventory"), asked(owner, peer, "inventory")
    owner.ok("receipt", answer(owner, peer.receipt(first, audit_head={"seq": 7, "hash": "a" * 64})))

    ran = owner.run("receipt", answer(owner, peer.receipt(second, audit_head={"seq": 7, "hash": "b" * 64})))

    assert ran.code == 1
    assert "rewritten" in ran.err


def test_hostile_names_never_steer_the_terminal(owner: Owner, peer: Peer) -> None:
    claims = asked(owner, peer, "delete", "--all")
    outcome = {"id": "\x1b[2Jgone\u202e", "result": "deleted\n\nroot", "remarks": []}

    told = owner.ok("receipt", answer(owner, peer.receipt(claims, outcomes=[outcome])))

    assert "\x1b" not in told.out
    assert "\u202e" not in told.out
    assert "deleted\ufffd\ufffdroot" in told.out


def test_acknowledgement_file_names_the_receipts_that_are_kept(owner: Owner, peer: Peer) -> None:
    claims = asked(owner, peer, "delete", "--all")
    told = owner.ok("receipt", answer(owner, peer.receipt(claims, outcomes=[])), "--ack", "ack.bin", "--json").json
    key = PublicKey.from_jwk(peer.client["jwk"])

    raw = Path("ack.bin").read_bytes()

    ack = jws.verify(jws.parse(raw[1:]), key, typ="pv1.ack")
    assert raw[0] == 0x02
    assert (ack["iss"], ack["aud"], ack["acks"]) == (key.kid, peer.id, [told[0]["jti"]])


def test_several_devices_need_a_name(owner: Owner, peer: Peer, tmp_path: Path) -> None:
    second = known_peer(owner, tmp_path, "camera-2")
    (owner.home / "owner.toml").write_text("")

    ran = owner.run("delete", "--all", "--yes", "--out", "x.bin")
    claims = asked(owner, second, "inventory", "--device", "camera-2")

    assert ran.code == 2
    assert f"{second.id}, {peer.id}" in ran.err
    assert claims["aud"] == "camera-2"


def test_command_without_broker_or_out_says_both_ways(owner: Owner, peer: Peer) -> None:
    assert peer.id

    ran = owner.run("inventory")

    assert ran.code == 2
    assert "--out FILE" in ran.err


def test_pending_says_in_words_what_each_command_wants(owner: Owner, peer: Peer) -> None:
    assert peer.id
    owner.ok("export", "--category", "photo", "--from", "2026-02-01", "--form", "zip", "--out", "export.cmd")
    owner.ok("inventory", "--all", "--out", "inventory.cmd")
    owner.ok("approve", "a" * 26, "0" * 64, "--yes", "--out", "approve.cmd")
    owner.ok("time", "--now", "--out", "time.cmd")
    owner.ok("delete", "b" * 26, "c" * 26, "--yes", "--out", "delete.cmd")

    told = owner.ok("pending", "--json").json

    assert {one["verb"]: one["what"] for one in told} == {
        "export": f"every photo from {when_text('2026-02-01')}, as zip",
        "inventory": "everything that the device holds",
        "approve": f"let {'a' * 26} proceed",
        "time": when(owner.now_s * 1000),
        "delete": "2 objects by id",
    }
    shown = owner.ok("pending").out
    assert all(one["what"] in shown and one["command"] in shown for one in told)


def test_answer_about_requests_that_came_as_a_file_lists_each_with_its_deadline(owner: Owner, peer: Peer) -> None:
    claims = asked(owner, peer, "requests")
    told = {
        "command": new_id(),
        "verb": "export",
        "asked": "2026-03-02T10:00:00.000Z",
        "due": "2026-03-24T00:00:00.000Z",
    }
    late = {**told, "command": new_id(), "verb": "delete", "state": "overdue"}
    raw = peer.receipt(claims, requests=[{**told, "state": "open", "working_days_left": 3}, late])

    ran = owner.run("receipt", answer(owner, raw))

    assert f"{told['command']}  export" in ran.out
    assert "open, 3 working days left" in ran.out
    assert "OVERDUE" in ran.out
    assert "2026-03-24" in ran.out


def test_refusal_that_wants_something_mended_says_so_before_it_is_given_again(owner: Owner, peer: Peer) -> None:
    claims = asked(owner, peer, "consent", "give", "analytics")
    raw = peer.receipt(claims, status="refused", reason="unknown_purpose", retry="after_fix")

    ran = owner.run("receipt", answer(owner, raw))

    assert "mend that, then give the command again" in ran.err


def test_party_without_an_address_says_what_to_add_and_what_happens_without_both(owner: Owner, peer: Peer) -> None:
    assert peer.id
    ran = owner.run("export", "--all", "--party", "Insurer", "--out", owner.home.parent / "cmd.bin")
    assert ran.code == 2
    assert "--put and --party come together" in ran.err
    assert "leave both out" in ran.err
    assert not (owner.home.parent / "cmd.bin").exists()


def test_approve_without_an_alert_names_where_it_is_seen_without_a_broker(owner: Owner, peer: Peer) -> None:
    assert peer.id
    ran = owner.run("approve", new_id(), "a" * 64, "--out", owner.home.parent / "cmd.bin")
    assert ran.code == 2
    assert "privacy-agent policy show --waiting" in ran.err


@pytest.mark.parametrize(
    ("words", "says", "step"),
    [
        (("hold", "--all", "--reason", "claim 7", "--until", "200d"), "within 90 days", "--until 30d"),
        (("hold", "--all", "--reason", "claim 7", "--until", "2020-01-01"), "a hold ends ahead", "--until 30d"),
        (
            ("hold", "--all", "--reason", "claim 7", "--until", "30d"),
            "was not granted hold: the device would refuse it",
            "client grant 'Ada Example' hold",
        ),
        (("object",), "object to what?", "--do-not-track on"),
        (("object", "analytics", "--do-not-track", "on"), "object to what?", "--do-not-track on"),
        (("object", "--do-not-track", "on", "--category", "photo"), "object to what?", "--do-not-track on"),
        (
            ("export", "--all", "--put", "https://inbox.example/42/", "--party", "Insurer"),
            "nobody is named who could open it",
            "--recipient",
        ),
        (("consent", "give", "x", "--category", "phot"), "choose from 'recording', 'photo'", "--help"),
    ],
)
def test_arguments_that_cannot_be_are_told_in_the_words_of_the_command_line(
    owner: Owner, peer: Peer, words: tuple[str, ...], says: str, step: str
) -> None:
    assert peer.id
    ran = owner.run(*words, "--out", owner.home.parent / "cmd.bin")
    assert ran.code == 2
    assert says in ran.err
    assert step in ran.err.partition("next: ")[2]
    assert not (owner.home.parent / "cmd.bin").exists()


HELD = {
    "camera": "k3x9", "camera_label": "Door", "category": "photo", "name": "a.jpg", "state": "sealed", "bytes": 1000,
    "captured_from": "2026-03-01T00:00:00.000Z", "until": "2026-05-01T00:00:00.000Z", "rule": "hold",
    "purposes": ["security", "analytics"],
}  # fmt: skip


def test_inventory_says_why_for_whom_and_whose_hold(owner: Owner, peer: Peer) -> None:
    """README and the alert ``held`` send here for that."""
    claims = asked(owner, peer, "inventory")
    hold = {"id": new_id(), "reason": "claim 7", "author": "K" * 43, "until": "2026-05-01T00:00:00.000Z"}
    lifted = {"id": new_id(), "ground": "accuracy", "since": "2026-03-01T00:00:00.000Z"}
    held = HELD | {"recipients": [peer.client["recipient"], "age1someone-else-altogether"]}
    held |= {"holds": [hold], "restrictions": [lifted]}
    one = new_id()

    raw = peer.receipt(claims, outcomes=[{"id": one, "result": "listed", "object": held}])
    shown = owner.ok("receipt", answer(owner, raw)).out

    (row, *kept) = [line for line in shown.splitlines() if line.startswith(one)]
    assert "  hold  security, analytics  you, age1someone-else-alt…  a.jpg" in row
    assert [line.split()[1:3] for line in kept] == [["hold", hold["id"]], ["restriction", lifted["id"]]]
    assert kept[0].endswith(f"{hold['author']}  claim 7")
    assert kept[1].endswith("accuracy")


@pytest.mark.parametrize("mine", [True, False])
def test_export_says_who_can_open_it_once_it_was_copied(owner: Owner, peer: Peer, *, mine: bool) -> None:
    claims = asked(owner, peer, "export", "--all")
    recipient = peer.client["recipient"] if mine else "age1somebody"
    files = [{"name": "manifest.jws.age", "bytes": 10, "sha256": "0" * 64}]
    export = {"object": claims["jti"], "files": files, "recipients": [recipient]}

    shown = owner.ok("receipt", answer(owner, peer.receipt(claims, outcomes=[], export=export))).out

    assert f"export {claims['jti']}: 1 file, 10 B" in shown
    assert (f"privacy-owner open {claims['jti']}" in shown) is mine
    assert ("you cannot open it" in shown) is not mine


def test_switch_without_a_record_says_what_it_changes_not(owner: Owner, peer: Peer) -> None:
    claims = asked(owner, peer, "object", "--do-not-track", "off")
    shown = owner.ok("receipt", answer(owner, peer.receipt(claims, outcomes=[]))).out
    assert "stays off until it is given by itself: privacy-owner consent give PURPOSE" in shown


def test_object_that_is_kept_for_nobody_else_says_what_that_means(owner: Owner, peer: Peer) -> None:
    claims = asked(owner, peer, "object", "improvement")
    raw = peer.receipt(claims, outcomes=[{"id": new_id(), "result": "kept"}])
    shown = owner.ok("receipt", answer(owner, raw)).out
    assert "kept    it is for no purpose any more" in shown


@pytest.mark.parametrize("acknowledged", [True, False])
def test_last_word_of_an_erase_all_says_how_the_device_is_told_that_it_was_read(
    owner: Owner, peer: Peer, *, acknowledged: bool
) -> None:
    claims = asked(owner, peer, "erase-all")
    farewell = {
        "phase": 2, "cloud": "confirmed", "cameras": "confirmed", "held": 0, "deadline": "2026-03-20T00:00:00.000Z",
    }  # fmt: skip
    words = ("--ack", owner.home.parent / "ack.bin") if acknowledged else ()
    ran = owner.run("receipt", answer(owner, peer.receipt(claims, outcomes=[], farewell=farewell)), *words)
    assert ran.code == 0
    assert ("was read: privacy-owner receipt" in ran.err) is not acknowledged
    assert "privacy-agent submit " in ran.err


def test_what_waits_at_a_device_that_left_its_owner_is_said_to_be_answered_no_more(owner: Owner, peer: Peer) -> None:
    waits = asked(owner, peer, "rectify", "--camera", "k3x9abcd", "--name", "Back")
    claims = asked(owner, peer, "erase-all")
    farewell = {
        "phase": 2, "cloud": "confirmed", "cameras": "confirmed", "held": 0, "deadline": "2026-03-20T00:00:00.000Z",
    }  # fmt: skip
    assert "no answer yet" in owner.ok("pending").out
    owner.run("receipt", answer(owner, peer.receipt(claims, outcomes=[], farewell=farewell)))
    shown = owner.ok("pending").out
    assert f"is answered no more: the device has no owner now; privacy-owner forget {waits['jti']}" in shown


@pytest.mark.parametrize("value", [None, 1, "text", [1, None, []], {"a": 1}])
def test_inventory_with_members_of_another_form_is_shown_without_them(owner: Owner, peer: Peer, value: object) -> None:
    claims = asked(owner, peer, "inventory")
    held = HELD | dict.fromkeys(("purposes", "recipients", "holds", "restrictions"), value)
    raw = peer.receipt(claims, outcomes=[{"id": new_id(), "result": "listed", "object": held}])
    assert "a.jpg" in owner.ok("receipt", answer(owner, raw)).out


def test_inventory_lists_the_oldest_first_whatever_their_ids(owner: Owner, peer: Peer) -> None:
    claims = asked(owner, peer, "inventory")
    days = ("03", "01", "02")
    outcomes = [
        {"id": one, "result": "listed", "object": HELD | {"captured_from": f"2026-03-{day}T00:00:00.000Z"}}
        for one, day in zip(sorted(new_id() for _ in days), days, strict=True)
    ]
    shown = owner.ok("receipt", answer(owner, peer.receipt(claims, outcomes=outcomes))).out
    listed = [line.split()[0] for line in shown.splitlines() if line]
    by_time = [outcomes[number]["id"] for number in (1, 2, 0)]
    assert [one for one in listed if one in by_time] == by_time


def test_page_of_consents_without_a_record_says_that_nothing_was_said(owner: Owner, peer: Peer) -> None:
    claims = asked(owner, peer, "consent", "list")
    shown = owner.ok("receipt", answer(owner, peer.receipt(claims, outcomes=[], records=[]))).out
    assert "nothing was said of any purpose" in shown


def test_file_with_a_command_that_has_no_final_receipt_is_not_overwritten(owner: Owner, peer: Peer) -> None:
    # The first command could not be reached any more: its only copy was gone without a word.
    owner.ok("delete", "--all", "--yes", "--out", "ask.cmd")
    first = Path("ask.cmd").read_bytes()
    claims = peer.open_command(first)
    ran = owner.run("inventory", "--out", "ask.cmd")
    assert ran.code == 2
    assert f"ask.cmd: delete {claims['jti']} lies in it, and has no final receipt; nothing was written" in ran.err
    assert Path("ask.cmd").read_bytes() == first
    assert [one["command"] for one in owner.ok("pending", "--json").json] == [claims["jti"]]
    owner.ok("receipt", answer(owner, peer.receipt(claims, outcomes=[])))
    owner.ok("inventory", "--out", "ask.cmd")
    assert peer.open_command(Path("ask.cmd").read_bytes())["verb"] == "inventory"


def test_command_whose_file_is_lost_is_written_again_the_same(owner: Owner, peer: Peer) -> None:
    owner.ok("delete", "--all", "--yes", "--out", "ask.cmd")
    before = Path("ask.cmd").read_bytes()
    jti = peer.open_command(before)["jti"]
    Path("ask.cmd").unlink()
    told = owner.ok("resend", jti, "--out", "again.cmd").out
    assert "privacy-agent submit again.cmd" in told
    assert Path("again.cmd").read_bytes() == before
    owner.ok("resend", jti, "--out", "again.cmd")  # it is its own file
    owner.ok("inventory", "--out", "second.cmd")
    ran = owner.run("resend", "--yes", "--out", "both.cmd")
    assert "2 commands are pending, and a file holds one" in ran.err
    assert not Path("both.cmd").exists()


def test_next_step_of_what_waits_without_a_broker_is_one_that_works(owner: Owner, peer: Peer) -> None:
    assert peer.id
    owner.ok("inventory", "--out", "ask.cmd")
    ran = owner.run("resend", "--yes")
    assert "or --out FILE to go without a broker" in ran.err  # which it takes
    heard = owner.run("listen")
    assert "--out" not in heard.err
    assert "privacy-agent status" in heard.err


def test_first_half_of_an_erase_all_that_came_as_a_file_says_how_its_last_word_comes(owner: Owner, peer: Peer) -> None:
    claims = asked(owner, peer, "erase-all")
    farewell = {
        "phase": 1, "cloud": "pending", "cameras": "confirmed", "held": 0, "deadline": "2026-03-20T00:00:00.000Z",
    }  # fmt: skip
    path = answer(owner, peer.receipt(claims, status="partial", farewell=farewell))
    ran = owner.run("receipt", path)
    assert "submit the same file again on the device" in ran.err
    assert "listen" not in ran.err
    ran = owner.run("receipt", path, "--ack", "ack.bin")
    assert "submit the same file again on the device" in ran.err


def test_empty_file_is_no_forgotten_command(owner: Owner, peer: Peer) -> None:
    claims = asked(owner, peer, "inventory")
    owner.ok("forget", claims["jti"])
    Path("ask.cmd").write_bytes(b"")
    owner.ok("inventory", "--out", "ask.cmd")
    assert peer.open_command(Path("ask.cmd").read_bytes())["verb"] == "inventory"


def test_receipt_is_taken_in_for_the_device_that_signed_it_whichever_is_the_usual_one(
    owner: Owner, peer: Peer, tmp_path: Path
) -> None:
    # The line that is printed after a command for another device than the usual one called its true receipt not signed.
    second = known_peer(owner, tmp_path, "camera-2")
    (owner.home / "owner.toml").write_text('device = "device"\n')
    claims = asked(owner, second, "inventory", "--device", "camera-2")
    raw = second.receipt(claims, outcomes=[])
    owner.ok("receipt", answer(owner, raw))
    assert owner.ok("pending", "--device", "camera-2", "--json").json == []
    assert owner.ok("receipts").out == "no receipts yet\n", "nothing of it is kept of the usual one"
    other = owner.run("receipt", answer(owner, raw), "--device", peer.id)
    assert (
        "answer.bin: the key that it names is that of camera-2, not of device\n  next: add --device camera-2"
        in other.err
    )


def test_acknowledgement_of_receipts_of_two_devices_is_refused_before_any_is_taken_in(
    owner: Owner, peer: Peer, tmp_path: Path
) -> None:
    second = known_peer(owner, tmp_path, "camera-2")
    for one in (peer, second):
        claims = asked(owner, one, "inventory", "--device", one.id)
        Path(f"{one.id}.bin").write_bytes(one.receipt(claims, outcomes=[]))
    ran = owner.run("receipt", "device.bin", "camera-2.bin", "--ack", "ack.bin")
    assert "the receipts are of camera-2, device, and --ack FILE tells one device; nothing was taken in" in ran.err
    assert not Path("ack.bin").exists()
    assert len(owner.ok("pending", "--device", "device", "--json").json) == 1
    owner.ok("receipt", "device.bin", "camera-2.bin")
    assert owner.ok("pending", "--device", "device", "--json").json == []


def test_step_after_a_command_brings_its_answer_back_to_the_same_home_and_device(
    owner: Owner, peer: Peer, tmp_path: Path
) -> None:
    # Without -o the answer stayed on the device, and the command without an answer for ever.
    known_peer(owner, tmp_path, "camera-2")
    told = owner.ok("inventory", "--device", peer.id, "--out", "ask.cmd").out
    assert "on the device: privacy-agent submit ask.cmd -o ANSWER\n" in told
    assert told.endswith(f"privacy-owner --home {owner.home} receipt ANSWER --device {peer.id}\n")
    assert owner.ok("inventory", "--out", "usual.cmd").out.endswith(" receipt ANSWER\n")
