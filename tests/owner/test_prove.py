"""Receipts and audit logs judged offline; whatever was changed is found and named."""

from pathlib import Path

import pytest

from agent.chain import EMPTY, Event, Head, checkpoint_line, entry_line, line_hash
from agent.model import Moment
from tests.owner.conftest import Owner, known_peer
from tests.owner.peer import Peer

ENTRIES = 20


def log_of(peer: Peer, *, signed_at: int = 15) -> tuple[list[bytes], Head]:
    """Make a log as the device would, with one checkpoint; return its lines and its head."""
    head, lines = EMPTY, []
    for number in range(1, ENTRIES + 1):
        moment = Moment(agent_ms=number, wall_ms=number, trusted=True)
        line = entry_line(Event(kind="admitted", rule="r", detail={"n": number}), head=head, moment=moment)
        head = Head(number, line_hash(line))
        lines.append(line)
        if number == signed_at:
            lines.append(checkpoint_line(head, peer.key.sign, alg="EdDSA", kid=peer.key.kid, moment=moment))
    return lines, head


def written(path: Path, lines: list[bytes]) -> Path:
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def anchor(owner: Owner, peer: Peer, head: Head) -> bytes:
    """Let the owner hold a receipt that states this head; return it."""
    owner.ok("inventory", "--out", "cmd.bin")
    command = peer.open_command(Path("cmd.bin").read_bytes())
    raw = peer.receipt(command, audit_head={"seq": head.seq, "hash": head.hash})
    Path("answer.bin").write_bytes(raw)
    owner.ok("receipt", "answer.bin")
    return raw


def test_whole_log_is_anchored_by_a_receipt(owner: Owner, peer: Peer) -> None:
    lines, head = log_of(peer)
    anchor(owner, peer, head)

    told = owner.ok("verify", written(Path("log.jsonl"), lines), "answer.bin", "--json").json

    assert "up to 20" in told[0]["says"]
    assert told[0]["says"].endswith("signed up to 15, anchored")
    assert "a receipt that device signed" in told[1]["says"]


def test_log_without_a_receipt_is_consistent_but_not_anchored(owner: Owner, peer: Peer) -> None:
    lines, _head = log_of(peer)

    told = owner.ok("verify", written(Path("log.jsonl"), lines))

    assert "consistent" in told.out
    assert "not anchored" in told.out


def test_highest_head_of_several_receipts_is_the_anchor(owner: Owner, peer: Peer) -> None:
    lines, head = log_of(peer)
    for known in (Head(2, line_hash(lines[1])), head, Head(3, line_hash(lines[2]))):
        anchor(owner, peer, known)

    ran = owner.run("verify", written(Path("log.jsonl"), lines[:-3]))

    assert ran.code == 1
    assert "it lacks entries 18 to 20, which are known to exist" in ran.err


def test_known_head_that_went_bad_is_refused_with_what_to_do(owner: Owner, peer: Peer) -> None:
    """Bytes that are no UTF-8 come out of the JSON reader as another error than all that is no JSON."""
    lines, head = log_of(peer)
    anchor(owner, peer, head)
    (kept,) = owner.home.glob("devices/*/head.json")
    kept.write_bytes(b'{"seq":1,"hash":"\xff\xfe"}')

    ran = owner.run("verify", written(Path("log.jsonl"), lines))

    assert ran.code == 2
    assert "head.json" in ran.err
    assert "remove it; the next receipt writes it again" in ran.err


def test_cut_log_is_found_by_the_receipt_and_only_by_it(owner: Owner, peer: Peer) -> None:
    lines, head = log_of(peer)
    cut = written(Path("log.jsonl"), lines[:-3])
    owner.ok("verify", cut)
    anchor(owner, peer, head)

    ran = owner.run("verify", cut)

    assert ran.code == 1
    assert "log.jsonl: NOT COMPLETE: consistent from 1 up to 17, signed up to 15" in ran.err
    assert "it lacks entries 18 to 20, which are known to exist" in ran.err
    assert "get the newest log" in ran.err
    assert "rely on nothing in it" not in ran.err, "an older copy that is honest looks the same"


@pytest.mark.parametrize("at", [0, 7, 15, 16])
def test_flipped_byte_in_a_log_names_the_line(owner: Owner, peer: Peer, at: int) -> None:
    lines, head = log_of(peer)
    anchor(owner, peer, head)
    bent = bytearray(lines[at])
    where = bent.index(b'"rule":"r"') + 8 if b'"rule"' in bent else bent.index(b'"seq":') + 6
    bent[where] ^= 1
    lines[at] = bytes(bent)

    ran = owner.run("verify", written(Path("log.jsonl"), lines))

    assert ran.code == 1
    assert f"line {at + 1}" in ran.err or f"line {at + 2}" in ran.err


def test_dropped_and_swapped_entries_are_named(owner: Owner, peer: Peer) -> None:
    lines, _head = log_of(peer)
    dropped = written(Path("dropped.jsonl"), lines[:4] + lines[5:])
    swapped = written(Path("swapped.jsonl"), [*lines[:2], lines[3], lines[2], *lines[4:]])

    ran = owner.run("verify", dropped, swapped)

    assert ran.code == 1
    assert "dropped.jsonl: DOES NOT HOLD: line 5" in ran.err
    assert "swapped.jsonl: DOES NOT HOLD: line 3" in ran.err


def test_receipt_is_judged_in_every_form(owner: Owner, peer: Peer) -> None:
    raw = anchor(owner, peer, Head(1, "a" * 64))
    (kept,) = (owner.home / "devices/device/receipts").iterdir()
    Path("body.age").write_bytes(raw[1:])

    owner.ok("verify", kept, "answer.bin", "body.age")


@pytest.mark.parametrize("at", [5, 120, -5])
def test_flipped_byte_in_a_kept_receipt_is_found(owner: Owner, peer: Peer, at: int) -> None:
    anchor(owner, peer, Head(1, "a" * 64))
    (kept,) = (owner.home / "devices/device/receipts").iterdir()
    bent = bytearray(kept.read_bytes())
    bent[at] = ord("A") if bent[at] != ord("A") else ord("B")
    Path("bent.jws").write_bytes(bent)

    ran = owner.run("verify", "bent.jws")

    assert ran.code == 1
    assert "bent.jws: DOES NOT HOLD" in ran.err


def test_log_of_another_device_does_not_hold(owner: Owner, peer: Peer) -> None:
    assert peer.id
    lines, _head = log_of(Peer("camera-2"))

    ran = owner.run("verify", written(Path("log.jsonl"), lines))

    assert ran.code == 1
    assert "not signed by the device" in ran.err


def test_descriptor_alone_is_enough_to_judge_a_log(owner: Owner, peer: Peer, tmp_path: Path) -> None:
    lines, _head = log_of(peer)
    path = written(Path("log.jsonl"), lines)
    stranger = Owner(tmp_path / "nobody", owner.capsys)

    told = stranger.ok("verify", path, "--descriptor", tmp_path / "device.jws")

    assert "not anchored" in told.out


def test_key_set_of_this_owner_holds_and_a_changed_one_does_not(owner: Owner) -> None:
    kept = owner.home / "keysets/1.jws"
    bent = bytearray(kept.read_bytes())
    bent[200] = ord("A") if bent[200] != ord("A") else ord("B")
    Path("bent.jws").write_bytes(bent)

    owner.ok("verify", kept)
    assert owner.run("verify", "bent.jws").code == 1


@pytest.mark.parametrize("raw", [b"\x89PNG\r\n", b"hello", b"eyJhbGciOi", b"\x11", b"age-encryption.org/v1\n"])
def test_file_of_another_kind_is_told_apart(owner: Owner, peer: Peer, raw: bytes) -> None:
    assert peer.id
    Path("what").write_bytes(raw)

    ran = owner.run("verify", "what")

    assert ran.code == 1
    assert "DOES NOT HOLD" in ran.err


def test_missing_file_is_a_usage_error(owner: Owner, peer: Peer) -> None:
    assert peer.id
    assert owner.run("verify", "nowhere").code == 2


def test_receipt_of_another_known_device_is_judged_by_the_key_of_that_one(
    owner: Owner, peer: Peer, tmp_path: Path
) -> None:
    # It was said not to hold, and nothing in it to be relied on: of good evidence.
    second = known_peer(owner, tmp_path, "camera-2")
    (owner.home / "owner.toml").write_text('device = "device"\n')
    command = {"iss": second.client["name"], "iat": 1_772_000_000, "jti": "a" * 26, "verb": "delete", "seq": 1}
    Path("answer.bin").write_bytes(second.receipt(command))
    assert "answer.bin: a receipt that camera-2 signed at " in owner.ok("verify", "answer.bin").out
    named = owner.run("verify", "answer.bin", "--device", peer.id)
    assert named.code == 2
    assert "the key that it names is that of camera-2, not of device\n  next: add --device camera-2" in named.err
    assert "DOES NOT HOLD" not in named.err
