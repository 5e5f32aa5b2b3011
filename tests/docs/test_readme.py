"""The README's five minutes are run as they stand; what it claims of them is looked up in what they leave."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.cli.conftest import Device, device, made, shell
from tests.docs.conftest import Minutes

__all__ = ["device", "made", "shell"]  # fixtures

ROOT = Path(__file__).resolve().parents[2]


def test_five_minutes_on_a_folder_end_in_the_line_that_the_readme_shows(five_minutes: Minutes) -> None:
    shown = re.escape(five_minutes.blocks[2].strip()).replace("…", r"\S+ \S+ \S+")
    assert re.fullmatch(shown, five_minutes.printed.splitlines()[-1]), five_minutes.printed


def test_five_minutes_on_a_folder_seal_open_and_delete_what_was_recorded(five_minutes: Minutes) -> None:
    folder, printed, _blocks = five_minutes
    assert not [path for path in (folder / "recordings").rglob("*") if path.is_file()]
    assert len(list((folder / "opened").iterdir())) == 4
    kept = {path.name for path in (folder / "state/vault/objects").iterdir()}
    deleted = re.search(r"^([a-z2-7]{26})  deleted", printed, re.MULTILINE)
    assert deleted is not None
    assert len(kept) == 3
    assert deleted[1] not in kept
    assert "audit.jsonl: consistent from 1 up to" in printed
    assert re.search(r"signed up to \d+, anchored$", printed, re.MULTILINE)


def test_five_minutes_on_a_folder_explain_by_the_rule_that_the_policy_names(five_minutes: Minutes) -> None:
    rule = r"by category\.(?:recording|photo)\.keep\.age"
    assert re.search(rf"^stays +not due until [\d-]+ [\d:]+ [+-]\d{{4}}, {rule}$", five_minutes.printed, re.MULTILINE)


def test_two_commands_come_first_and_the_makefile_has_them(five_minutes: Minutes) -> None:
    made = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^make (\w+)", five_minutes.blocks[0], re.MULTILINE)
    assert targets == ["demo", "test"]
    assert all(re.search(rf"^{target}:", made, re.MULTILINE) for target in targets)


def test_every_kind_of_file_that_may_be_put_there_is_taken_in_by_the_policy_that_init_wrote(
    five_minutes: Minutes, device: Device
) -> None:
    (told,) = re.findall(r"^# Something to record\. Or put an? (.*?) of yours", five_minutes.blocks[1], re.MULTILINE)
    endings = re.findall(r"\.(\w+)", told)
    assert len(endings) > 2
    assert len(device.take_in(*(f"mine.{ending}" for ending in endings))) == len(endings)
    assert not [path for path in device.spool.rglob("*") if path.is_file()]


def test_table_for_usage_logs_that_waits_is_obeyed_once_its_owner_did_what_the_readme_says(
    five_minutes: Minutes, device: Device
) -> None:
    (approving,) = [block for block in five_minutes.blocks if "--waiting" in block]
    policy = device.folder / "policy.toml"
    text = policy.read_text(encoding="utf-8")
    start = text.index("# [purpose.diagnosis]")
    end = text.index("\n\n", start)
    edited = text[:start] + text[start:end].replace("# ", "", 1).replace("\n# ", "\n") + text[end:]
    with device.running():
        pass
    policy.write_text(edited, encoding="utf-8")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with device.running():
        assert "policy_waiting" in {one["code"] for one in device.ok("status", "--json").json["alerts"]}
        done = subprocess.run(
            ["bash", "-c", f"set -e\n{approving}"],
            cwd=device.folder,
            env=os.environ | {"PATH": path, "PRIVACY_OWNER_HOME": str(device.home)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        shown = device.ok("policy", "show", "--json").json
    assert (shown["document"], shown["waiting"]) == (edited, [])
