"""``privacy-agent doctor`` as somebody else than the agent's user: it tells what it sees, and once what it may not.

It ended with a traceback where it came to a folder that this user may not enter.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.cli.conftest import Device, Shell
from tests.ordinary_user import ordinary_user


@pytest.fixture
def device(made: Path, shell: Shell) -> Iterator[Device]:
    """A device whose config everybody may read, and whose state folder only its own user."""
    with TemporaryDirectory() as top:
        Path(top).chmod(0o755)
        folder = Path(top) / "device"
        shutil.copytree(made, folder)
        folder.chmod(0o755)
        config = folder / "agent.toml"
        text = config.read_text().replace(str(made), str(folder))
        config.write_text(f'socket = "{folder}/run/control.sock"\n{text}')
        for name in ("agent.toml", "policy.toml"):
            (folder / name).chmod(0o644)
        (folder / "spool").chmod(0o755)
        yield Device(folder, shell, folder / "home")


CLOSED = {"keys", "objects", "exports", "audit log", "source spool"}
"""What nobody but the agent's user can look at here, whether an agent runs or not."""


def as_another(device: Device) -> dict[str, dict[str, Any]]:
    """Run doctor as a user who may enter neither state folder nor spool; return the findings by their names.

    Where root does not run the tests there is no other user: then it is the agent's own, who is kept out by the modes.
    """
    device.take_in()  # makes the vault's folders
    with device.running():
        assert "alert" not in device.examined()  # and what is loaded only when it is wanted may lie in a closed folder
    mode = 0o700 if os.geteuid() == 0 else 0
    for folder in (device.state, device.spool):
        folder.chmod(mode)
    try:
        with ordinary_user():
            text = device.agent("doctor")
            ran = device.agent("doctor", "--json")
    finally:
        for folder in (device.state, device.spool):
            folder.chmod(0o700)
    assert text.code == ran.code
    return {one["what"]: one for one in ran.json["findings"]}


def test_what_somebody_else_may_not_look_at_is_named_once_and_the_rest_is_told(device: Device) -> None:
    found = as_another(device)
    assert found["config"]["verdict"] == found["policy"]["verdict"] == found["state folder"]["verdict"] == "good"
    assert found["socket"]["verdict"] == "good"
    if os.geteuid() != 0:
        assert {found[what]["verdict"] for what in CLOSED} == {"bad"}
        return
    told = found["not looked at"]
    assert set(told["told"].partition(":")[0].split(", ")) == CLOSED | {"vault"}
    assert "user nobody may not look there" in told["told"]
    assert f": privacy-agent doctor --config {device.config}" in told["next"]
    assert told["verdict"] == "bad"  # no agent runs that would have been asked
    assert not CLOSED & set(found)


def test_member_of_the_agents_group_learns_what_the_running_agent_says(device: Device) -> None:
    device.take_in()
    group = os.getegid()  # whoever asks is in it still
    with device.running():
        (device.folder / "run").chmod(0o750)
        assert (device.folder / "run/control.sock").stat().st_gid == group
        device.examined()
        with ordinary_user():
            ran = device.agent("doctor", "--json")
    found = {one["what"]: one for one in ran.json["findings"]}
    assert found["agent"]["told"] == "runs"
    assert found["audit log"]["verdict"] == found["owner"]["verdict"] == found["socket"]["verdict"] == "good"
    assert ran.json["healthy"] is True
    if os.geteuid() == 0:
        assert found["not looked at"]["verdict"] == "look"
        assert found["not looked at"]["told"].startswith("keys, objects, exports")


def test_socket_that_this_user_may_not_use_is_no_agent_that_does_not_run(device: Device) -> None:
    with device.running():
        device.examined()
        (device.folder / "run").chmod(0o700 if os.geteuid() == 0 else 0)
        try:
            with ordinary_user():
                found = {one["what"]: one for one in device.agent("doctor", "--json").json["findings"]}
        finally:
            (device.folder / "run").chmod(0o700)
    assert "agent" not in found
    if os.geteuid() == 0:
        assert {"socket", "vault", "audit log"} <= set(found["not looked at"]["told"].partition(":")[0].split(", "))
    else:
        assert found["socket"]["verdict"] == "bad"
