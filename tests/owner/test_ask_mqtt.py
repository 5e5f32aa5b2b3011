"""Commands over a real broker: sent, answered, verified, kept, acknowledged; sent again where no answer came."""

import threading
from pathlib import Path
from typing import Any

import pytest

from agent.owner import answers, ask
from agent.owner.home import Home
from agent.owner.line import _take_place
from device_sim.broker import Broker
from device_sim.cloud.jws import SigningKey
from tests.owner.conftest import Owner, Place
from tests.owner.peer import TENANT, Peer
from tests.sim.fake_device import new_id

ID = "a" * 26
WHEN = "2026-03-20T00:00:00.000Z"


def test_delete_is_answered_kept_and_acknowledged(owner: Owner, peer: Peer, place: Place) -> None:
    object_id = new_id()
    peer.answers = lambda _peer, _command: [
        {"status": "accepted", "selection": {"count": 1, "hash": "0" * 64}},
        {"status": "in_progress", "progress": {"done": 0, "total": 1}},
        {"status": "waiting", "outcomes": [{"id": object_id, "result": "waiting_for_cloud"}]},
        {"status": "done", "outcomes": [{"id": object_id, "result": "deleted", "remarks": ["cloud_confirmed"]}]},
    ]
    with peer.online(place.url, place.device):
        ran = owner.ok("delete", object_id, "--yes", "--timeout", "20", *place.reach)
        peer.wait_until(lambda: bool(peer.acked))

    kept = owner.ok("receipts", "--json").json
    assert "cloud_confirmed" in ran.out
    assert [one["status"] for one in kept] == ["accepted", "in_progress", "waiting", "done"]
    assert peer.acked == [kept[-1]["jti"]]
    assert owner.ok("pending", "--json").json == []


def test_refused_command_exits_one_with_the_reason(owner: Owner, peer: Peer, place: Place) -> None:
    peer.answers = lambda _peer, _command: [{"status": "refused", "reason": "verb_not_allowed", "retry": "never"}]
    with peer.online(place.url, place.device):
        ran = owner.run("delete", "--all", "--yes", "--json", *place.reach)

    assert ran.code == 1
    assert ran.json["error"]["reason"] == "verb_not_allowed"
    assert "does not hold the verb" in ran.err


def test_inventory_goes_through_every_page(owner: Owner, peer: Peer, place: Place) -> None:
    ids = sorted(new_id() for _ in range(5))

    def page(_peer: Peer, command: dict[str, Any]) -> list[dict[str, Any]]:
        behind = [one for one in ids if one > command.get("cursor", "")]
        outcomes = [
            {"id": one, "result": "listed", "object": {"id": one, "camera_label": "door", "category": "photo",
             "captured_from": "2026-03-01T10:15:00.000Z", "bytes": 1000, "state": "sealed", "name": "x.jpg"}}
            for one in behind[:2]
        ]  # fmt: skip
        return [{"outcomes": outcomes, **({"cursor": behind[1]} if len(behind) > 2 else {})}]

    peer.answers = page
    with peer.online(place.url, place.device):
        table = owner.ok("inventory", *place.reach)
        told = owner.ok("inventory", "--json", *place.reach).json

    assert [one["id"] for one in told["objects"]] == ids
    assert (told["count"], told["bytes"]) == (5, 5000)
    assert all(one in table.out for one in ids)
    assert "5 objects, 5.0 kB" in table.out
    assert len(peer.commands) == 6


def test_inventory_of_more_pages_than_are_read_says_so_and_how_to_go_on(
    owner: Owner, peer: Peer, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it had was printed as the whole, with exit code 0."""
    monkeypatch.setattr(ask, "PAGES_MAX", 2)
    ids = sorted(new_id() for _ in range(5))

    def page(_peer: Peer, command: dict[str, Any]) -> list[dict[str, Any]]:
        behind = [one for one in ids if one > command.get("cursor", "")]
        view = {"category": "photo", "bytes": 1000, "state": "sealed"}
        told: dict[str, Any] = {"id": behind[0], "result": "listed", "object": view | {"id": behind[0]}}
        return [{"outcomes": [told], **({"cursor": behind[0]} if len(behind) > 1 else {})}]

    peer.answers = page
    with peer.online(place.url, place.device):
        ran = owner.run("inventory", *place.reach)
        told = owner.run("inventory", "--json", *place.reach)
        rest = owner.run("inventory", "--cursor", ids[1], *place.reach)

    assert (ran.code, told.code) == (1, 1)
    assert "this is not all" in ran.err
    assert f"--cursor {ids[1]} " in ran.err
    assert (len(told.json["objects"]), told.json["cursor"]) == (2, ids[1])
    assert ids[2] in rest.out


@pytest.mark.parametrize(
    ("words", "text"),
    [((), "nothing is held\n"), (("--camera", "k3x9abcd"), "nothing of that selection is held\n")],
)
def test_inventory_of_nothing_says_of_what(
    owner: Owner, peer: Peer, place: Place, words: tuple[str, ...], text: str
) -> None:
    with peer.online(place.url, place.device):
        assert owner.ok("inventory", *words, *place.reach).out == text


def test_delete_that_met_nothing_says_so(owner: Owner, peer: Peer, place: Place) -> None:
    # Of a mistyped camera it said "done" and no more.
    with peer.online(place.url, place.device):
        out = owner.ok("delete", "--camera", "nosuch", "--yes", *place.reach).out
    assert "\n\nnothing of that selection is held: nothing was there to be deleted; " in out


def test_delete_of_an_id_under_which_nothing_was_held_says_so(owner: Owner, peer: Peer, place: Place) -> None:
    """Of a mistyped id it said done, already_gone, and not a word more; of others there is nothing to say."""
    deleted, gone, copied = new_id(), new_id(), new_id()
    outcomes = [
        {"id": deleted, "result": "deleted"},
        {"id": gone, "result": "already_gone"},
        {"id": copied, "result": "already_gone", "remarks": ["export_copy_remains"], "exports": [new_id()]},
    ]
    peer.answers = lambda _peer, _command: [{"outcomes": outcomes}]
    with peer.online(place.url, place.device):
        out = owner.ok("delete", deleted, gone, copied, "--yes", *place.reach).out
    assert f"\nnothing was held under {gone}: gone before, or no id of anything here; privacy-owner inventory" in out


def test_object_that_is_named_and_not_held_fails_the_inventory(owner: Owner, peer: Peer, place: Place) -> None:
    held, gone = new_id(), new_id()
    view = {"id": held, "camera": "k3x9abcd", "category": "photo", "bytes": 1000, "state": "sealed"}
    peer.answers = lambda _peer, _command: [
        {"outcomes": [{"id": held, "result": "listed", "object": view}, {"id": gone, "result": "already_gone"}]}
    ]
    with peer.online(place.url, place.device):
        ran = owner.run("inventory", held, gone, *place.reach)
        asked = owner.run("inventory", held, gone, "--json", *place.reach)

    assert (ran.code, asked.code) == (1, 1)
    assert held in ran.out
    assert f"not held: {gone}\n" in ran.err
    assert (asked.json["missing"], asked.json["in_exports"]) == ([gone], {})


def test_export_that_has_a_copy_of_what_is_not_held_is_named(owner: Owner, peer: Peer, place: Place) -> None:
    # It said that the object is not held, and no more.
    gone, export = new_id(), new_id()
    told = {"id": gone, "result": "already_gone", "remarks": ["export_copy_remains"], "exports": [export]}
    peer.answers = lambda _peer, _command: [{"outcomes": [told]}]
    with peer.online(place.url, place.device):
        ran = owner.run("inventory", gone, *place.reach)
        asked = owner.run("inventory", gone, "--json", *place.reach)
    assert f"not held: {gone}; exports have copies still, remove them: privacy-owner delete {export}\n" in ran.err
    assert asked.json["in_exports"] == {gone: [export]}


def test_silent_device_leaves_the_command_pending_and_resend_sends_the_same_bytes(
    owner: Owner, peer: Peer, place: Place
) -> None:
    first = owner.run("delete", "--all", "--yes", "--timeout", "0.5", *place.reach)
    with peer.online(place.url, place.device):
        second = owner.ok("resend", "--yes", "--timeout", "20", *place.reach)

    (kept,) = (owner.home / "devices/device/commands").glob("*.msg")
    assert first.code == 1
    assert "privacy-owner resend" in first.err
    assert set(peer.payloads) == {kept.read_bytes()}
    assert "done" in second.out
    assert owner.ok("pending", "--json").json == []


def test_command_is_sent_again_when_the_device_turns_online(owner: Owner, peer: Peer, place: Place) -> None:
    peer.answers = lambda one, _command: [] if len(one.commands) == 1 else [{}]
    with peer.online(place.url, place.device):
        peer.say_state(session=1, online=True)

        def reboot() -> None:
            peer.wait_until(lambda: bool(peer.commands))
            peer.say_state(session=1, online=False)
            peer.say_state(session=2, online=True)

        thread = threading.Thread(target=reboot)
        thread.start()
        owner.ok("inventory", "--timeout", "20", *place.reach)
        thread.join()
        peer.publish("state", b"", retain=True)

    assert peer.commands[0] == peer.commands[1]


def test_forged_receipt_on_the_topic_is_dropped_and_the_true_one_counts(owner: Owner, peer: Peer, place: Place) -> None:
    def answers(one: Peer, command: dict[str, Any]) -> list[dict[str, Any]]:
        forged = one.seal("receipt", one.receipt_claims(command, status="done"), signer=SigningKey.generate())
        one.publish(f"rcpt/{command['iss']}", forged)
        one.publish(f"rcpt/{command['iss']}", b"\x11garbage")
        return [{"status": "failed", "outcomes": [{"id": ID, "result": "failed"}]}]

    peer.answers = answers
    with peer.online(place.url, place.device):
        ran = owner.run("delete", "--all", "--yes", *place.reach)

    assert ran.code == 1
    assert "dropped a message" in ran.err
    assert [one["status"] for one in owner.ok("receipts", "--json").json] == ["failed"]


def test_alert_for_us_is_told_and_acknowledged(owner: Owner, peer: Peer, place: Place) -> None:
    claims = {
        "iss": peer.id, "aud": SigningKey.generate().kid, "iat": 1, "jti": new_id(), "code": "disk_full",
        "since": "2026-03-01T10:15:00.000Z", "count": 1, "what": "The disk is full.", "effect": "Nothing is taken in.",
        "next": "Delete something.",
    }  # fmt: skip

    def answers(one: Peer, command: dict[str, Any]) -> list[dict[str, Any]]:
        one.publish("alert", one.seal("alert", claims | {"aud": command["iss"]}))
        return [{}]

    peer.answers = answers
    with peer.online(place.url, place.device):
        ran = owner.ok("inventory", *place.reach)
        peer.wait_until(lambda: len(peer.acked) == 2)

    assert "The disk is full." in ran.err
    assert claims["jti"] in peer.acked


def test_alerts_of_one_code_and_time_about_different_things_are_all_kept(
    owner: Owner, peer: Peer, place: Place
) -> None:
    """The second took the place of the first in the owner's home: what was acknowledged was lost."""

    def answers(one: Peer, command: dict[str, Any]) -> list[dict[str, Any]]:
        for kid in ("kid-a", "kid-b"):
            claims = {
                "iss": one.id, "aud": command["iss"], "iat": 1, "jti": new_id(), "code": "key_misused", "about": kid,
                "since": "2026-03-01T10:15:00.000Z", "count": 1, "what": f"The key {kid} did it.", "effect": "None.",
                "next": "Ask.", "incident": True,
            }  # fmt: skip
            one.publish("alert", one.seal("alert", claims))
        return [{}]

    peer.answers = answers
    with peer.online(place.url, place.device):
        owner.ok("inventory", *place.reach)
        peer.wait_until(lambda: len(peer.acked) == 3)

    assert [one["about"] for one in owner.ok("alerts", "--incidents", "--json").json] == ["kid-a", "kid-b"]


def test_alert_about_what_is_no_id_writes_no_file(owner: Owner, peer: Peer, place: Place) -> None:
    def answers(one: Peer, command: dict[str, Any]) -> list[dict[str, Any]]:
        claims = {
            "iss": one.id, "aud": command["iss"], "iat": 1, "jti": new_id(), "code": "held", "about": "../../x",
            "since": "2026-03-01T10:15:00.000Z", "count": 1, "what": "w", "effect": "e", "next": "n",
        }  # fmt: skip
        one.publish("alert", one.seal("alert", claims))
        return [{}]

    peer.answers = answers
    with peer.online(place.url, place.device):
        ran = owner.ok("inventory", *place.reach)
    assert "dropped a message" in ran.err
    assert owner.ok("alerts", "--json").json == []


def test_listen_takes_in_what_the_device_repeats_until_it_is_acknowledged(
    owner: Owner, peer: Peer, place: Place
) -> None:
    peer.answers = lambda _peer, _command: []
    with peer.online(place.url, place.device):
        owner.run("delete", "--all", "--yes", "--timeout", "0.5", *place.reach)
        peer.wait_until(lambda: bool(peer.commands))
        receipt = peer.receipt(peer.commands[0], outcomes=[])
        over = threading.Event()

        def repeat() -> None:
            while not over.wait(0.1) and not peer.acked:
                peer.publish(f"rcpt/{peer.commands[0]['iss']}", receipt)

        thread = threading.Thread(target=repeat)
        thread.start()
        told = owner.ok("listen", "--timeout", "3", "--json", *place.reach).json
        over.set()
        thread.join()

    assert {one["status"] for one in told["receipts"]} == {"done"}
    assert peer.acked[0] == told["receipts"][0]["jti"]
    assert owner.ok("pending", "--json").json == []


def test_listen_asks_for_the_alerts_that_wait_and_keeps_the_question_to_itself(
    owner: Owner, peer: Peer, place: Place
) -> None:
    # It heard nothing of what stood: alerts come every 15 minutes, or in front of the answer to a command.
    def in_front_of_the_answer(peer: Peer, command: dict[str, Any]) -> list[dict[str, Any]]:
        words = {"code": "camera_impostor", "since": WHEN, "count": 1, "what": "W.", "effect": "E.", "next": "N."}
        claims = {"iss": peer.id, "aud": command["iss"], "iat": command["iat"], "jti": new_id(), **words}
        peer.publish("alert", peer.seal("alert", claims))
        return [{"outcomes": []}]

    peer.answers = in_front_of_the_answer
    with peer.online(place.url, place.device):
        told = owner.ok("listen", "--timeout", "8", "--json", *place.reach).json
        peer.answers = lambda _peer, _command: [{"outcomes": []}]
        quiet = owner.ok("listen", "--timeout", "8", *place.reach).out
    assert [one["code"] for one in told["alerts"]] == ["camera_impostor"]
    assert told["receipts"] == []
    assert [(one["verb"], one["limit"]) for one in peer.commands] == [("inventory", 1)] * 2
    assert "nothing new: no alert waits for us" in quiet
    assert owner.ok("pending", "--json").json == []


def test_question_that_nobody_answered_while_we_listened_is_sent_no_more(
    owner: Owner, peer: Peer, place: Place
) -> None:
    peer.answers = lambda _peer, _command: []
    with peer.online(place.url, place.device):
        told = owner.ok("listen", "--timeout", "1", *place.reach).out
        peer.wait_until(lambda: bool(peer.commands))
    assert "nothing came in 1 s, no answer either" in told
    assert owner.ok("pending", "--json").json == []


def leaves(*, held: int) -> dict[str, Any]:
    """Say as a device that leaves its owner, and waits for its store, answers."""
    farewell = {"phase": 1, "cloud": "pending", "cameras": "confirmed", "held": held, "deadline": WHEN}
    return {"status": "partial", "farewell": farewell}


def leaving_and_listening(owner: Owner, place: Place) -> str:
    """Have it erase everything, and return what its owner hears then."""
    owner.run("erase-all", "--yes", "--timeout", "1", *place.reach)
    return owner.ok("listen", "--timeout", "1", *place.reach).out


def test_device_that_was_told_to_forget_its_owner_is_asked_nothing(owner: Owner, peer: Peer, place: Place) -> None:
    peer.answers = lambda _peer, _command: [leaves(held=0)]
    with peer.online(place.url, place.device):
        told = leaving_and_listening(owner, place)
        peer.wait_until(lambda: len(peer.commands) >= 1)
    assert {one["verb"] for one in peer.commands} == {"erase-all"}
    assert "nothing came in 1 s, and nothing was asked: the device leaves its owner" in told
    assert "cloud: pending, cameras: confirmed, held: 0; its last word comes by " in told
    assert "inventory" not in told


def test_erase_all_is_pending_until_its_last_word(owner: Owner, peer: Peer, place: Place) -> None:
    peer.answers = lambda _peer, _command: [leaves(held=1)]
    with peer.online(place.url, place.device):
        told = leaving_and_listening(owner, place)
        assert "held: 1; its last word comes by " in told
        assert "what is held is listed by privacy-owner inventory" in told
        assert "held: 1; its last word comes by " in owner.ok("pending").out
        (pending,) = owner.ok("pending", "--json").json
        assert (pending["verb"], pending["status"]) == ("erase-all", "partial")
        last = leaves(held=0)["farewell"] | {"phase": 2, "cloud": "confirmed"}
        peer.answers = lambda _peer, _command: [{"status": "done", "farewell": last}]
        owner.ok("resend", "--timeout", "30", *place.reach)
    assert owner.ok("pending", "--json").json == []


def test_erase_all_without_an_answer_is_why_nothing_was_asked(owner: Owner, peer: Peer, place: Place) -> None:
    peer.answers = lambda _peer, _command: []
    with peer.online(place.url, place.device):
        owner.run("erase-all", "--yes", "--timeout", "1", *place.reach)
        (pending,) = owner.ok("pending", "--json").json
        told = owner.ok("listen", "--timeout", "1", *place.reach).out
        assert f"nothing was asked: erase-all {pending['command']} has no final answer here" in told
        assert f"privacy-owner resend {pending['command']}" in told
        owner.ok("forget", pending["command"])
        told = owner.ok("listen", "--timeout", "1", *place.reach).out
    assert "resend" not in told
    assert "privacy-owner listen --timeout 1000" in told


def test_device_that_said_its_last_word_is_not_waited_for(
    owner: Owner, peer: Peer, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "LAST_WORD_S", 1.0)
    farewell = {"phase": 2, "cloud": "confirmed", "cameras": "confirmed", "held": 0, "deadline": WHEN}
    peer.answers = lambda _peer, _command: [{"status": "done", "farewell": farewell}]
    with peer.online(place.url, place.device):
        owner.run("erase-all", "--yes", "--timeout", "30", *place.reach)
        told = owner.ok("listen", "--timeout", "30", *place.reach).out
    assert "nothing came: the device said its last word at " in told


def test_offline_device_is_told_while_waiting(owner: Owner, peer: Peer, place: Place) -> None:
    peer.answers = lambda _peer, _command: []
    with peer.online(place.url, place.device):
        peer.say_state(session=1, online=False)
        ran = owner.run("inventory", "--timeout", "3", *place.reach)
        peer.publish("state", b"", retain=True)

    assert ran.code == 1
    assert "the device is offline" in ran.err


def test_outcomes_beyond_one_receipt_are_read_page_by_page(owner: Owner, peer: Peer, place: Place) -> None:
    ids = [new_id() for _ in range(3)]

    def page(_peer: Peer, command: dict[str, Any]) -> list[dict[str, Any]]:
        jti, _, behind = command["cursor"].partition(".")
        at = ids.index(behind) + 1 if behind else 0
        rest = {"cursor": f"{jti}.{ids[at]}"} if at < 2 else {}
        return [{"outcomes": [{"id": ids[at], "result": "deleted"}], **rest}]

    peer.answers = page
    with peer.online(place.url, place.device):
        told = owner.ok("inventory", "--cursor", f"{new_id()}.", "--json", *place.reach).json

    assert [(one["id"], one["result"]) for one in told] == [(one, "deleted") for one in ids]


def test_broker_that_speaks_3_1_1_only_is_spoken_to(owner: Owner, peer: Peer, broker_tls: Path, tmp_path: Path) -> None:
    with (
        Broker(tmp_path / "amqtt", broker_tls, engine="amqtt") as broker,
        peer.online(broker.url, broker_tls / "device"),
    ):
        place = Place(broker.url, broker_tls / "owner", broker_tls / "device")
        owner.ok("inventory", "--timeout", "20", *place.reach)


def test_broker_that_restarts_meanwhile_costs_nothing(
    owner: Owner, peer: Peer, broker_tls: Path, tmp_path: Path
) -> None:
    heard = threading.Event()

    def answers(one: Peer, _command: dict[str, Any]) -> list[dict[str, Any]]:
        heard.set()
        return [] if len(one.commands) == 1 else [{}]

    peer.answers = answers
    with (
        Broker(tmp_path / "broker", broker_tls, engine="mosquitto") as broker,
        peer.online(broker.url, broker_tls / "device"),
    ):
        peer.say_state(session=1, online=True)

        def restart() -> None:
            heard.wait(60)
            broker.restart()

        thread = threading.Thread(target=restart)
        thread.start()
        owner.ok("inventory", "--timeout", "40", *Place(broker.url, broker_tls / "owner", broker_tls / "device").reach)
        thread.join()

    assert peer.commands[0] == peer.commands[1]


def test_wrong_authority_is_explained(owner: Owner, peer: Peer, place: Place, tmp_path: Path) -> None:
    assert peer.id
    folder = tmp_path / "tls"
    folder.mkdir(mode=0o700)
    for name in ("tls.crt", "tls.key"):
        (folder / name).write_bytes((place.owner / name).read_bytes())
        (folder / name).chmod(0o600)
    (folder / "ca.crt").write_bytes((place.owner / "tls.crt").read_bytes())

    ran = owner.run("inventory", "--broker", place.url, "--tenant", TENANT, "--tls", folder)

    assert ran.code == 2
    assert "ca.crt" in ran.err


def test_broker_that_is_away_is_told_and_nothing_was_signed(owner: Owner, peer: Peer, place: Place) -> None:
    assert peer.id
    words = ("--broker", "mqtts://127.0.0.1:9", "--tenant", TENANT, "--tls", place.owner)

    ran = owner.run("delete", "--all", "--yes", *words)

    assert ran.code == 1
    assert "refused the connection; nothing was signed" in ran.err
    assert owner.ok("pending", "--json").json == []


def test_two_commands_at_the_same_time_do_not_end_each_other(owner: Owner, peer: Peer, place: Place) -> None:
    first, second = _take_place(Home(owner.home)), _take_place(Home(owner.home))

    assert (first[1], second[1]) == (0, 1)
    with peer.online(place.url, place.device):
        owner.ok("inventory", *place.reach)


@pytest.mark.parametrize("words", [("--tenant", "a/b"), ("--broker", "mqtt://mqtt.example:1883")])
def test_settings_that_cannot_be_are_named(owner: Owner, peer: Peer, place: Place, words: tuple[str, ...]) -> None:
    assert peer.id

    ran = owner.run("inventory", *place.reach, *words)

    assert ran.code == 2
    assert "next:" in ran.err
