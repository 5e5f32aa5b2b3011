"""A device keeps the name that ``init`` gave it: its owner's commands are addressed to it.

``doctor`` said to write another device's name where the certificate was another's. Who did was unreachable to their
owner: the owner's own commands had another audience, and each was told as a misuse of the owner's key.
"""

import re
from pathlib import Path

import pytest

from certs.__main__ import main as certs
from tests.cli.conftest import Device, Shell

BROKER = '[broker]\nurl = "mqtts://localhost:1"\ntenant = "acme"\nidentity = "{}"\n'


@pytest.fixture(scope="module")
def identities(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("naming") / "tls"
    assert certs(["init", str(folder), "--device", "cam-01", "--device", "cam-03"]) == 0
    return folder


def name_it(device: Device, name: str) -> None:
    text = device.config.read_text()
    device.config.write_text(re.sub(r'(?m)^device = "[^"]*"', f'device = "{name}"', text))


def connect(device: Device, identity: Path) -> None:
    with device.config.open("a") as config:
        config.write(BROKER.format(identity))


def test_other_name_than_init_gave_is_refused_by_run_init_and_every_question(device: Device) -> None:
    name_it(device, "cam-03")
    descriptor = (device.state / "device.jws").read_bytes()
    for words in (("status",), ("inventory",), ("init", "--owner", device.home / "owner.pub"), ("run",)):
        ran = device.agent(*words)
        assert ran.code == 2, words
        assert f"{device.config}: device = 'cam-03', and this device was set up as 'cam-01'" in ran.err, words
        assert f'next: write device = "cam-01" in {device.config}' in ran.err, words
    assert (device.state / "device.jws").read_bytes() == descriptor
    keys = device.examined()["keys"]
    assert keys["verdict"] == "bad"
    assert 'write device = "cam-01"' in keys["next"]
    name_it(device, "cam-01")
    device.ok("status")


def test_certificate_of_another_device_is_no_reason_to_take_its_name(device: Device, identities: Path) -> None:
    connect(device, identities / "cam-03")
    ran = device.agent("run")
    assert ran.code == 2
    told = device.examined("--offline")["TLS identity"]
    assert told["verdict"] == "bad"
    for following in (ran.err, told["next"]):
        assert f"name the folder of cam-01's certificate in [broker] identity of {device.config}" in following
        assert "write device" not in following


def test_certificate_of_this_device_beside_a_wrong_name_gives_the_name_back(device: Device, identities: Path) -> None:
    connect(device, identities / "cam-01")
    name_it(device, "cam-03")
    assert device.examined("--offline")["TLS identity"]["next"] == f'write device = "cam-01" in {device.config}'


def test_device_that_was_not_set_up_may_still_be_named_after_its_certificate(
    shell: Shell, identities: Path, tmp_path: Path
) -> None:
    config = tmp_path / "agent.toml"
    config.write_text(f'device = "cam-01"\npolicy = "policy.toml"\nstate = "{tmp_path / "state"}"\n')
    with config.open("a") as file:
        file.write(BROKER.format(identities / "cam-03"))
    ran = shell("privacy-agent", "doctor", "--offline", "--json", "--config", config)
    told = next(one for one in ran.json["findings"] if one["what"] == "TLS identity")
    first, _, second = told["next"].partition("; ")
    assert "[broker] identity" in first
    assert second == f'or, only before init: write device = "cam-03" in {config}'


def test_descriptor_that_cannot_be_read_keeps_no_agent_from_running(device: Device) -> None:
    """It is for handing out, and people move it: then nobody can tell."""
    (device.state / "device.jws").write_bytes(b"damage")
    device.ok("status")
    (device.state / "device.jws").unlink()
    device.ok("status")
