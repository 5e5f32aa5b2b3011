"""A command counts only if somebody said yes and it could go: nothing that failed lies in wait to be sent later."""

import os
import pty
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.shell.ending import INTERRUPTED
from tests.owner.conftest import NOW_S, Owner, Place
from tests.owner.peer import TENANT, Peer
from tests.sim.fake_device import new_id

CANNOT_GO: dict[str, tuple[str, ...]] = {
    "no broker is named": (),
    "no TLS identity": ("--broker", "mqtts://127.0.0.1:9", "--tenant", TENANT),
    "TLS folder is empty": ("--broker", "mqtts://127.0.0.1:9", "--tenant", TENANT, "--tls", "."),
    "broker is no URL": ("--broker", "mqtt.example", "--tenant", TENANT, "--tls", "."),
    "folder of the file is missing": ("--out", "absent/cmd.bin"),
    "file is a folder": ("--out", "."),
    "no room in the file": ("--out", "/dev/full"),
}


def seq_of(owner: Owner, peer: Peer) -> bytes:
    return (owner.home / "devices" / peer.id / "seq").read_bytes()


@pytest.mark.parametrize("case", CANNOT_GO)
def test_command_that_cannot_go_is_not_armed(owner: Owner, peer: Peer, case: str) -> None:
    before = seq_of(owner, peer)

    ran = owner.run("delete", "--all", "--yes", *CANNOT_GO[case])

    assert ran.code in {1, 2}
    assert "next: " in ran.err
    assert owner.ok("pending", "--json").json == []
    if case != "no room in the file":
        assert seq_of(owner, peer) == before
    assert owner.ok("resend", *CANNOT_GO["no broker is named"]).out == "nothing is pending\n"


# --- nobody said yes


@pytest.mark.parametrize("words", [
    ("delete", "--all"),
    ("delete", "--all", "--out", "cmd.bin"),
    ("approve", "a" * 26, "0" * 64),
    ("approve", "a" * 26, "0" * 64, "--out", "cmd.bin"),
])  # fmt: skip
def test_without_a_terminal_only_yes_is_a_yes(owner: Owner, peer: Peer, words: tuple[str, ...]) -> None:
    before = seq_of(owner, peer)

    ran = owner.run(*words)

    assert ran.code == 2
    assert "--yes" in ran.err
    assert seq_of(owner, peer) == before
    assert not Path("cmd.bin").exists()


def test_half_an_option_deletes_nothing(owner: Owner, peer: Peer) -> None:
    before = seq_of(owner, peer)

    ran = owner.run("delete", "--al", "--yes", "--out", "cmd.bin")

    assert ran.code == 2
    assert seq_of(owner, peer) == before


# --- sent again


def armed(owner: Owner, *words: str) -> str:
    """Sign a command into a file that never reaches the device; return its id."""
    told = owner.ok(*words, "--out", f"{new_id()}.bin", "--json").json
    return str(told["command"])


def test_resend_shows_what_it_would_send_and_needs_a_yes(owner: Owner, peer: Peer, place: Place) -> None:
    delete = armed(owner, "delete", "--all", "--yes")
    listing = armed(owner, "inventory")
    with peer.online(place.url, place.device):
        refused = owner.run("resend", "--timeout", "1", *place.reach)
        sent_unasked = list(peer.commands)
        owner.ok("resend", "--yes", "--timeout", "20", *place.reach)

    assert refused.code == 2
    assert f"{delete}  delete" in refused.err
    assert "EVERYTHING" in refused.err
    assert f"{listing}  inventory" in refused.err
    assert "Send all 2 to device again?" in refused.err
    assert sent_unasked == []
    assert {one["jti"] for one in peer.commands} == {delete, listing}


def test_resend_shows_what_did_not_happen_and_why(owner: Owner, peer: Peer, place: Place) -> None:
    # It pointed at a table that it did not show.
    kept = new_id()
    done, partial = armed(owner, "inventory"), armed(owner, "delete", "--all", "--yes")
    peer.answers = lambda _peer, command: [
        {"status": "partial", "outcomes": [{"id": kept, "result": "held"}]} if command["jti"] == partial else {}
    ]
    with peer.online(place.url, place.device):
        ran = owner.run("resend", "--yes", "--timeout", "20", *place.reach)
    assert ran.code == 1
    assert "the table names why" in ran.err
    assert f"\n\ndelete  partial  {partial}\n" in ran.out
    assert kept in ran.out
    assert f"inventory  done  {done}" not in ran.out


def test_resend_of_what_ends_nothing_asks_nothing(owner: Owner, peer: Peer, place: Place) -> None:
    armed(owner, "inventory")
    with peer.online(place.url, place.device):
        owner.ok("resend", "--timeout", "20", *place.reach)


def test_resend_of_what_the_device_has_answered_asks_nothing(owner: Owner, peer: Peer, place: Place) -> None:
    owner.ok("delete", "--all", "--yes", "--out", "cmd.bin")
    claims = peer.open_command(Path("cmd.bin").read_bytes())
    Path("answer.bin").write_bytes(peer.receipt(claims, status="waiting"))
    owner.ok("receipt", "answer.bin")
    with peer.online(place.url, place.device):
        owner.ok("resend", "--timeout", "20", *place.reach)


def test_command_that_is_named_is_sent_alone(owner: Owner, peer: Peer, place: Place) -> None:
    armed(owner, "delete", "--all", "--yes")
    named = armed(owner, "delete", new_id(), "--yes")
    with peer.online(place.url, place.device):
        owner.ok("resend", named, "--timeout", "20", *place.reach)

    assert [one["jti"] for one in peer.commands] == [named]


def test_pending_says_what_each_command_wants_and_until_when(owner: Owner, peer: Peer) -> None:
    assert peer.id
    armed(owner, "delete", "--category", "photo", "--yes")

    (told,) = owner.ok("pending", "--json").json

    assert told["what"] == "every photo, and what of that turns up later"
    assert told["expires"] == "2026-03-04T06:13:20.000Z"
    assert "every photo" in owner.ok("pending").out
    assert NOW_S == 1_772_000_000


# --- forgotten


def test_forgotten_command_is_never_sent_again_and_its_answer_is_still_believed(
    owner: Owner, peer: Peer, place: Place
) -> None:
    owner.ok("delete", "--all", "--yes", "--out", "cmd.bin")
    claims = peer.open_command(Path("cmd.bin").read_bytes())

    told = owner.ok("forget", claims["jti"])

    assert "may still be carried out, until 2026-03-04" in told.out
    assert owner.ok("pending", "--json").json == []
    with peer.online(place.url, place.device):
        assert owner.ok("resend", *place.reach).out == "nothing is pending\n"
        assert owner.run("resend", claims["jti"], *place.reach).code == 2
    assert peer.commands == []
    Path("answer.bin").write_bytes(peer.receipt(claims, outcomes=[]))
    owner.ok("receipt", "answer.bin")
    assert owner.ok("receipts", "--json").json[0]["status"] == "done"


def test_forgetting_what_is_unknown_forgets_nothing(owner: Owner, peer: Peer) -> None:
    assert peer.id
    jti = armed(owner, "inventory")

    ran = owner.run("forget", jti, new_id())

    assert ran.code == 2
    assert [one["command"] for one in owner.ok("pending", "--json").json] == [jti]


# --- on a terminal


def on_terminal(
    home: Path, words: tuple[str, ...], *, until: bytes, then: Callable[["subprocess.Popen[bytes]", int], object]
) -> tuple[int, bytes]:
    """Run ``privacy-owner`` on a terminal up to its question, and ``then`` act on the process or on the terminal.

    Returns its exit code and what was shown.
    """
    main_end, other_end = pty.openpty()
    command = [sys.executable, "-m", "agent.owner", "--home", str(home), *words]
    with subprocess.Popen(command, stdin=other_end, stdout=subprocess.PIPE, stderr=other_end) as process:
        os.close(other_end)
        shown = b""
        while until not in shown:
            assert select.select([main_end], [], [], 60)[0], shown
            shown += os.read(main_end, 1000)
        then(process, main_end)
        code = process.wait(60)
        shown += os.read(main_end, 1000)
    os.close(main_end)
    return code, shown


@pytest.mark.parametrize(("answer", "code"), [(b"no\n", 2), (b"\n", 2), (b"y\n", 2), (b"yes\n", 0)])
def test_terminal_is_asked_before_a_delete_is_signed(owner: Owner, peer: Peer, answer: bytes, code: int) -> None:
    before = seq_of(owner, peer)

    ended, shown = on_terminal(
        owner.home,
        ("delete", "--all", "--out", "cmd.bin"),
        until=b"Type yes:",
        then=lambda _process, terminal: os.write(terminal, answer),
    )

    assert ended == code
    assert b"EVERYTHING" in shown
    assert (seq_of(owner, peer) == before) is (code != 0)
    assert Path("cmd.bin").exists() is (code == 0)


def test_interrupted_listening_ends_with_130_and_says_that_nothing_was_sent(owner: Owner, peer: Peer) -> None:
    assert peer.id
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"mqtt://127.0.0.1:{silent.getsockname()[1]}"
        words = ["--home", str(owner.home), "listen", "--broker", url, "--tenant", TENANT]
        with subprocess.Popen([sys.executable, "-m", "agent.owner", *words], stderr=subprocess.PIPE) as running:
            connection, _address = silent.accept()  # it waits for the broker's answer
            with connection:
                running.send_signal(signal.SIGINT)
                assert running.stderr is not None
                told = running.stderr.read().decode()

    assert running.returncode == INTERRUPTED
    assert told == "stopped; nothing was sent\n"


def test_interrupted_question_says_that_nothing_was_sent(owner: Owner, peer: Peer) -> None:
    before = seq_of(owner, peer)

    code, shown = on_terminal(
        owner.home,
        ("delete", "--all", "--out", "cmd.bin"),
        until=b"Type yes:",
        then=lambda process, _terminal: process.send_signal(signal.SIGINT),
    )

    assert code == INTERRUPTED
    assert b"stopped; nothing was sent" in shown
    assert b"kept" not in shown
    assert seq_of(owner, peer) == before


def test_interrupted_wait_for_an_answer_names_the_command_and_who_sends_it_again(
    owner: Owner, peer: Peer, place: Place
) -> None:
    peer.answers = lambda _peer, _command: []
    words = ["--home", str(owner.home), "inventory", *place.reach]
    with (
        peer.online(place.url, place.device),
        subprocess.Popen([sys.executable, "-m", "agent.owner", *words], stderr=subprocess.PIPE) as running,
    ):
        peer.wait_until(lambda: bool(peer.commands))
        running.send_signal(signal.SIGINT)
        assert running.stderr is not None
        told = running.stderr.read().decode()

    assert running.returncode == INTERRUPTED
    (waiting,) = owner.ok("pending", "--json").json
    assert f"stopped; command {waiting['command']} is kept" in told
    assert "next: privacy-owner resend" in told
