"""The agent's own commands and exports, asked for and opened with the owner's tool; files instead of a broker."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.age import parse_identity_file
from agent.app.setup import describe
from agent.envelope import VERBS, private_key_from_pem, signing_input_sha256
from agent.model import Object
from tests.commands.office import DEVICE, START_S, Office, Party, run
from tests.owner.conftest import Owner, fingerprint_of


class Device:
    """A real agent's commands, and the owner's tool beside it."""

    def __init__(self, owner: Owner, office: Office, folder: Path) -> None:
        self.owner = owner
        self.office = office
        self.folder = folder
        owner.now_s = START_S
        (identity,) = parse_identity_file((owner.home / "identity.txt").read_text())
        self.recipient = identity.recipient().to_text()
        key = private_key_from_pem((owner.home / "client.key").read_bytes())
        client = Party("client", "owner", key, identity, VERBS)
        raw = office.sign_keyset(2, signing_input_sha256(office.keyset_raw), client)
        run(office.commands.submit(raw, moment=office.moment))
        path = folder / "device.jws"
        path.write_bytes(describe(office.keystore, device=DEVICE))
        owner.ok("device", "add", path, "--accept", fingerprint_of(owner, path))

    def ask(self, *words: object) -> Any:  # noqa: ANN401 - a receipt as JSON
        """Sign to a file, submit it, take the answer in; return the receipt."""
        command, answer = self.folder / "cmd.bin", self.folder / "answer.bin"
        yes = ("--yes",) if words[0] in {"delete", "approve"} else ()
        self.owner.ok(*words, *yes, "--out", command)
        answer.write_bytes(run(self.office.commands.submit(command.read_bytes(), moment=self.office.moment)).receipt)
        (receipt,) = self.owner.run("receipt", answer, "--json").json
        return receipt

    def keep(self, content: bytes) -> Object:
        return run(self.office.keep(content))


@pytest.fixture
def device(owner: Owner, tmp_path: Path) -> Iterator[Device]:
    office = Office(tmp_path / "state")
    yield Device(owner, office, tmp_path)
    office.close()


def test_agent_deletes_what_was_asked_and_its_receipt_is_believed(device: Device) -> None:
    item = device.keep(b"frames")

    listed = device.ask("inventory")
    receipt = device.ask("delete", item.id)

    assert [one["object"]["name"] for one in listed["outcomes"]] == ["Haustür 10-15.mp4"]
    assert receipt["status"] == "done"
    assert receipt["outcomes"][0]["result"] == "deleted"
    assert device.ask("inventory")["outcomes"] == []


@pytest.mark.parametrize("form", ["objects", "zip"])
def test_agent_export_is_opened(device: Device, form: str) -> None:
    contents = {b"first" * 50_000, b"second"}
    for content in contents:
        device.keep(content)

    receipt = device.ask("export", "--all", "--form", form, "--recipient", device.recipient)
    out = device.folder / "out"
    device.owner.ok("open", device.office.bundle.folder / receipt["export"]["object"], "-o", out)

    assert {path.read_bytes() for path in out.rglob("*.mp4")} == contents


def test_agent_refusal_is_explained(device: Device) -> None:
    receipt = device.ask("approve", "a" * 26, "0" * 64)

    assert (receipt["status"], receipt["reason"]) == ("refused", "nothing_waiting")
