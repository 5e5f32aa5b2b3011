"""The shell commands where the keys are in a TPM: what is used is told, and every receipt says so."""

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from agent import audit
from agent.audit import Event
from agent.cli.doctor import _swap
from agent.element.wear import BURST
from tests.cli.conftest import Device, Shell
from tests.tpm.conftest import Swtpm


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


@pytest.fixture
def device(tmp_path: Path, shell: Shell, tpm: Swtpm) -> Device:
    folder = tmp_path / "device"
    (folder / "spool").mkdir(parents=True)
    device = Device(folder, shell, folder / "home")
    assert device.owner("init", "--name", "Ada", "--classic").code == 0
    done = device.ok(
        "init", "--owner", folder / "home/owner.pub", "--device", "cam-01", "--clock", "system",
        "--state", device.state, "--source", f"spool:{device.spool}", "--tpm", tpm.settings.tcti, "--json",
    )  # fmt: skip
    assert done.json["keystore"] == "tpm"
    assert f'tcti = "{tpm.settings.tcti}"' in device.config.read_text()
    fingerprint = done.json["fingerprint"]
    assert device.owner("device", "add", device.state / "device.jws", "--accept", fingerprint).code == 0
    return device


def test_doctor_says_that_the_keys_are_in_a_tpm_and_how_often_its_counter_may_be_raised(device: Device) -> None:
    found = device.examined()
    assert found["keys"]["verdict"] == "good"
    assert found["keys"]["told"].startswith("tpm keystore, ES256; its counter may be raised 12000 times")


def test_doctor_says_what_to_do_when_the_tpm_is_gone(device: Device, tpm: Swtpm) -> None:
    tpm.power_off()
    found = device.examined()
    assert found["keys"]["verdict"] == "bad"
    assert "no TPM answers there" in found["keys"]["told"]
    assert "/dev/tpmrm0" in found["keys"]["next"]
    tpm.power_on()


def test_receipt_of_a_delete_says_tpm_and_the_owner_reads_it(device: Device, tmp_path: Path) -> None:
    (held,) = device.take_in("front/a.mp4")
    command, receipt = tmp_path / "cmd.jws", tmp_path / "receipt.bin"
    assert device.owner("delete", held, "--yes", "--out", command).code == 0
    assert device.agent("submit", command, "-o", receipt).code == 0
    read = device.owner("receipt", receipt, "--json")
    (told,) = read.json
    assert (read.code, told["protection"]) == (0, "tpm")


def test_state_folder_from_before_a_delete_is_refused_with_the_next_step(device: Device, tmp_path: Path) -> None:
    (held,) = device.take_in("front/a.mp4")
    copy, command = tmp_path / "copy", tmp_path / "cmd.jws"
    shutil.copytree(device.state, copy)
    assert device.owner("delete", held, "--yes", "--out", command).code == 0
    assert device.agent("submit", command).code == 0
    shutil.rmtree(device.state)
    shutil.copytree(copy, device.state)
    ran = device.agent("inventory")
    assert ran.code == 1
    assert "a copy from before something was destroyed" in ran.err
    assert "next: put back the newest file" in ran.err


def test_agent_changes_its_roots_daily_so_that_an_index_of_before_is_refused(device: Device) -> None:
    device.take_in("front/a.mp4")

    async def change() -> tuple[str, str, str]:
        async with device.parts() as parts:
            (before,) = parts.keystore.roots()
            await parts.keep_keys()
            (after,) = parts.keystore.roots()
            await parts.keep_keys()
            (same,) = parts.keystore.roots()
            return before.id, after.id, same.id

    before, after, same = asyncio.run(change())
    assert before != after == same


def test_index_from_before_a_word_is_refused_while_half_of_the_raises_are_left(device: Device, tmp_path: Path) -> None:
    device.take_in("front/a.mp4")

    async def change(left: int) -> tuple[bool, bool]:
        async with device.parts() as parts:
            state = parts.keystore._state
            wear = msgspec.structs.replace(parts.keystore.wear, left=left)
            parts.keystore._state = msgspec.structs.replace(state, wear=wear)
            event = Event(kind="do_not_track", rule="on")
            await parts.index.write(lambda tx: audit.append(tx, event, moment=parts.now()))
            before = parts.keystore.roots()
            await parts.anchor_words(at_once=True)
            return before != parts.keystore.roots(), await parts.index.read(audit.unanchored)

    assert asyncio.run(change(BURST // 2)) == (False, True)
    copy = tmp_path / "index.db"
    shutil.copy(device.state / "index.db", copy)
    assert asyncio.run(change(BURST // 2 + 1)) == (True, False)
    shutil.copy(copy, device.state / "index.db")
    ran = device.agent("inventory")
    assert "lacks root" in ran.err
    assert "next: this index is from before the last change of keys" in ran.err


def test_agent_that_was_killed_goes_on_with_the_same_keys_when_power_is_back(device: Device, tpm: Swtpm) -> None:
    (held,) = device.take_in("front/a.mp4")
    device.kill_running()
    tpm.cut()
    with device.running():
        pass
    assert device.examined()["keys"]["verdict"] == "good"
    assert [item["id"] for item in device.ok("inventory", "--json").json["objects"]] == [held]


def test_init_without_tpm_says_software_and_writes_how_a_tpm_is_chosen(tmp_path: Path, shell: Shell) -> None:
    folder = tmp_path / "device"
    device = Device(folder, shell, folder / "home")
    assert device.owner("init", "--name", "Ada", "--classic").code == 0
    done = device.ok("init", "--owner", folder / "home/owner.pub", "--device", "cam-01", "--state", device.state)
    assert "keystore     software\n" in done.out
    assert '# engine = "tpm"' in device.config.read_text()
    assert device.examined()["keys"]["told"] == "software keystore, EdDSA"


def test_tpm_that_cannot_be_loaded_is_said_with_the_next_step(
    tmp_path: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "device"
    device = Device(folder, shell, folder / "home")
    assert device.owner("init", "--name", "Ada", "--classic").code == 0
    monkeypatch.delitem(sys.modules, "agent.element.tpm", raising=False)
    monkeypatch.setitem(sys.modules, "tpm2_pytss", None)  # as Python says of what is not installed
    ran = device.agent(
        "init", "--owner", folder / "home/owner.pub", "--device", "cam-01", "--state", device.state, "--tpm"
    )
    assert ran.code != 0
    assert "tpm2-pytss cannot be loaded" in ran.err
    assert "pip install '.[tpm]'" in ran.err
    assert not (device.state / "keystore").exists()
    assert not device.config.exists()


def test_commands_that_open_the_keys_leave_no_core_and_cannot_be_traced(device: Device) -> None:
    asked = ["init", "--owner", device.folder / "home/owner.pub", "--state", device.state, "--device", "cam-01"]
    for words in (asked, ["doctor"], ["inventory"]):
        told = [str(word) for word in (*words, "--config", device.config)]
        code = (
            "import ctypes, resource, sys; from agent.cli import main; main(sys.argv[1:]);"
            "print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
        )
        said = subprocess.run([sys.executable, "-c", code, *told], capture_output=True, text=True, check=True).stdout
        assert said.splitlines()[-1] == "(0, 0) 0", words


def test_swap_area_on_a_disk_is_told_and_one_in_memory_is_not(tmp_path: Path) -> None:
    swaps = tmp_path / "swaps"
    title = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
    swaps.write_text(title + "/dev/zram0 partition 1048576 0 100\n")
    assert [one.verdict for one in _swap(swaps)] == ["good"]
    swaps.write_text(title + "/swapfile file 1048576 0 -2\n")
    (found,) = _swap(swaps)
    assert (found.verdict, "/swapfile" in found.told, "MemorySwapMax=0" in found.next) == ("look", True, True)
