"""``privacy-agent submit``: what became of the file is said, and the exit code agrees."""

import base64
import re
from pathlib import Path

import pytest

from agent.cli.submitting import RETRIES, WAITS
from agent.commands.ledger import RETRY
from agent.shell.refusal import REASONS
from tests.cli.conftest import Device, Shell
from tests.ran import Ran


@pytest.fixture
def cmd(tmp_path: Path) -> Path:
    return tmp_path / "cmd.jws"


def signed(device: Device, cmd: Path, *words: object) -> Path:
    ran = device.owner(*words, "--out", cmd)
    assert ran.code == 0, ran.err
    return cmd


def test_command_that_is_done_is_said_to_be_and_its_receipt_is_kept(device: Device, cmd: Path, tmp_path: Path) -> None:
    (held,) = device.take_in("front/a.mp4")
    receipt = tmp_path / "receipt.bin"
    ran = device.agent("submit", signed(device, cmd, "delete", held, "--yes"), "-o", receipt)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == f"done; read the receipt:  privacy-owner receipt {receipt}\n"
    assert device.owner("receipt", receipt).code == 0


def test_command_that_is_refused_is_said_to_be_with_its_reason_and_fails(
    device: Device, cmd: Path, tmp_path: Path
) -> None:
    signed(device, cmd, "approve", "a" * 26, "0" * 64, "--yes")
    receipt = tmp_path / "receipt.bin"
    ran = device.agent("submit", cmd, "-o", receipt)
    assert ran.code == 1
    assert "the command is refused: nothing waiting" in ran.err
    assert f"next: {REASONS['nothing_waiting']}; {RETRIES['after_fix']}" in ran.err
    assert "protocol" not in ran.err, "a person is told what to do, not where to read"
    assert device.owner("receipt", receipt).out  # it is signed all the same


def test_policy_with_a_wrong_line_says_where_that_line_is_named_and_what_to_do_once(
    device: Device, cmd: Path, tmp_path: Path
) -> None:
    policy = tmp_path / "bad.toml"
    policy.write_text((device.folder / "policy.toml").read_text().replace('age = "14d"', 'age = "14x"'))
    receipt = tmp_path / "receipt.bin"
    ran = device.agent("submit", signed(device, cmd, "policy", policy, "--yes"), "-o", receipt)
    assert ran.code == 1
    assert ran.err.endswith(
        "next: the document in force stays; the receipt names the line to correct; mend that, and sign a new command\n"
    )
    assert re.search(r"the policy:[0-9]+: .*14x", device.owner("receipt", receipt).err)


def test_refusal_is_in_the_json_and_a_repeat_gets_the_same_answer(device: Device, cmd: Path) -> None:
    signed(device, cmd, "approve", "a" * 26, "0" * 64, "--yes")
    first = device.agent("submit", cmd, "--json")
    assert first.code == 1
    told = first.json
    assert (told["status"], told["reason"]) == ("refused", "nothing_waiting")
    assert base64.b64decode(told["receipt"])
    assert "next: " in first.err
    again = device.agent("submit", cmd, "--json")  # the number is used up by now
    assert again.code == 1
    assert again.json["status"] == "refused"


@pytest.mark.parametrize("place", ["nowhere/receipt.bin", "."])
def test_receipt_that_could_not_be_kept_is_said_before_anything_is_carried_out(
    device: Device, cmd: Path, tmp_path: Path, place: str
) -> None:
    (held,) = device.take_in("front/a.mp4")
    signed(device, cmd, "delete", held, "--yes")
    ran = device.agent("submit", cmd, "-o", tmp_path / place)
    assert ran.code == 2
    assert "nothing was submitted" in ran.err
    assert device.ok("inventory", "--json").json["objects"]


def test_command_that_waits_says_for_what(device: Device, cmd: Path) -> None:
    signed(device, cmd, "inventory", "--after", "a" * 26)
    ran = device.agent("submit", cmd)
    assert ran.code == 1
    assert "the command is waiting: after pending" in ran.err
    assert f"next: {WAITS['after_pending']}" in ran.err


def test_key_set_is_done_and_has_no_receipt(device: Device) -> None:
    (keyset,) = (device.home / "keysets").iterdir()
    ran = device.agent("submit", keyset, "--json")
    assert (ran.code, ran.json) == (0, {"receipt": "", "status": "done", "reason": ""})


def test_command_of_a_stranger_is_refused_with_the_next_step(
    device: Device, shell: Shell, cmd: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    assert shell("privacy-owner", "--home", other, "init", "--classic").code == 0
    added = shell("privacy-owner", "--home", other, "device", "add", device.state / "device.jws")
    fingerprint = added.err.partition("fingerprint ")[2].partition(";")[0]
    words: tuple[object, ...] = ("device", "add", device.state / "device.jws", "--accept", fingerprint)
    assert shell("privacy-owner", "--home", other, *words).code == 0
    assert shell("privacy-owner", "--home", other, "inventory", "--out", cmd).code == 0
    ran = device.agent("submit", cmd)
    assert ran.code == 1
    assert "no key of this device's key set signed this" in ran.err
    assert "next: " in ran.err


def test_every_reason_and_every_wait_has_a_next_step() -> None:
    assert set(RETRIES) == set(RETRY.values())
    assert set(REASONS) == set(RETRY) - set(WAITS), "what ends a command, and what waits"


@pytest.mark.parametrize("content", [b"", b"device = 1\n", b"\x01age-encryption.org/v1\n", b"a.b.c"])
def test_file_that_is_no_command_says_which_files_are(device: Device, cmd: Path, content: bytes) -> None:
    cmd.write_bytes(content)
    ran: Ran = device.agent("submit", cmd)
    assert ran.code == 1
    assert f"{cmd}: " in ran.err
    assert "next: give a file that privacy-owner --out wrote" in ran.err


@pytest.mark.parametrize(("name", "words"), [("nowhere.jws", "No such file"), ("/dev/zero", "a device"), (".", "Is a")])
def test_file_that_cannot_be_read_whole_is_named(device: Device, name: str, words: str) -> None:
    ran = device.agent("submit", name)
    assert ran.code == 2
    assert f"{name}: {words}" in ran.err
    assert "next: " in ran.err
