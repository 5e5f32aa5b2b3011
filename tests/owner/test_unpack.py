"""Exports opened: manifest, hashes, names; stock age opens the same files."""

import hashlib
import io
import shlex
import shutil
import stat
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

from agent.config import Config, parse_config
from device_sim.cloud import jws, sealing
from tests.owner.conftest import NOW_S, Owner
from tests.owner.peer import Peer
from tests.sim.fake_device import new_id

CLIPS = (b"first clip" * 9000, b"", b"third")


def described(object_id: str, data: bytes, **more: object) -> dict[str, Any]:
    return {
        "id": object_id, "camera": "k3x9abcd", "camera_label": "Front Door \u202e/../..", "category": "recording",
        "name": "a.mp4", "media_type": "video/mp4", "captured_from": "2026-03-01T10:15:00.000Z",
        "captured_to": "2026-03-01T10:16:00.000Z", "taken_in": "2026-03-01T10:17:00.000Z", "bytes": len(data),
        "payload": {"bytes": len(data), "sha256": "0" * 64}, **more,
    }  # fmt: skip


class Export:
    """Writes an export's folder as the device would, to be bent before the manifest is signed."""

    def __init__(self, peer: Peer, owner: Owner, folder: Path, *, form: str = "objects") -> None:
        self.peer = peer
        self.recipient = peer.client["recipient"]
        self.folder = folder
        self.claims: dict[str, Any] = {
            "v": 1, "iss": peer.id, "iat": NOW_S, "export": new_id(), "form": form,
            "recipients": [self.recipient], "files": [], "objects": [], "left_out": [],
        }  # fmt: skip
        self.owner = owner
        folder.mkdir()

    def put(self, name: str, plain: bytes) -> None:
        sealed = sealing.seal(plain, self.recipient)
        (self.folder / name).write_bytes(sealed)
        file = {"name": name, "bytes": len(sealed), "sha256": hashlib.sha256(sealed).hexdigest()}
        self.claims["files"].append(file)

    def objects(self) -> "Export":
        for data in CLIPS:
            object_id = new_id()
            self.put(f"{object_id}.age", data)
            self.claims["objects"].append(described(object_id, data, file=f"{object_id}.age", sha256="0" * 64))
        return self

    def zip(self, entries: dict[str, bytes], *, told: list[str] | None = None) -> "Export":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, data in entries.items():
                archive.writestr(name, data)
        self.put("part-001.zip.age", buffer.getvalue())
        names = list(entries) if told is None else told
        self.claims["objects"].append(described(new_id(), b"", files=names, part="part-001.zip.age"))
        return self

    def sign(self) -> Path:
        signed = jws.sign(self.claims, self.peer.key, typ="pv1.export")
        (self.folder / "manifest.jws.age").write_bytes(sealing.seal(signed, self.recipient))
        return self.folder


@pytest.fixture
def export(owner: Owner, peer: Peer, tmp_path: Path) -> Export:
    return Export(peer, owner, tmp_path / "taken").objects()


def test_export_of_objects_is_opened_into_safe_names(owner: Owner, export: Export, tmp_path: Path) -> None:
    folder = export.sign()

    told = owner.ok("open", folder, "-o", tmp_path / "out", "--json").json

    opened = sorted((tmp_path / "out").iterdir())
    assert sorted(path.read_bytes() for path in opened) == sorted(CLIPS)
    assert sorted(told["files"]) == [path.name for path in opened]
    ids = {item["id"] for item in export.claims["objects"]}
    assert {path.name for path in opened} == {
        f"2026-03-01T10-15-00-000Z_Front-Door_recording_{object_id}.mp4" for object_id in ids
    }
    assert {stat.S_IMODE(path.stat().st_mode) for path in opened} == {0o600}


def test_several_exports_are_opened_beside_each_other_and_again_without_harm(
    owner: Owner, peer: Peer, export: Export, tmp_path: Path
) -> None:
    second = Export(peer, owner, tmp_path / "second").objects()
    folders, out = (export.sign(), second.sign()), tmp_path / "opened"
    told = owner.ok("open", *folders, "-o", out, "--json").json
    assert [one["export"] for one in told] == [export.claims["export"], second.claims["export"]]
    for one in told:
        assert sorted(path.read_bytes() for path in (out / one["export"]).iterdir()) == sorted(CLIPS)

    shutil.rmtree(out / told[0]["export"])
    again = owner.ok("open", *folders, "-o", out)

    assert (out / told[0]["export"]).is_dir()
    assert f"export {told[1]['export']}: opened already" in again.err


def test_stock_age_opens_what_the_command_names(owner: Owner, peer: Peer, tmp_path: Path) -> None:
    told = owner.ok("open", Export(peer, owner, tmp_path / "my holiday").objects().sign())
    words = shlex.split(told.out[told.out.index("age -d ") :])
    age = shutil.which("age")
    assert age is not None

    subprocess.run([age, *words[1:]], check=True)

    assert Path(words[words.index("-o") + 1]).read_bytes() in CLIPS


def state_folder(tmp_path: Path) -> Config:
    """Lay out what an agent's state folder is known by."""
    config = parse_config(b'device = "device"\nstate = "state"\n', file=tmp_path / "agent.toml")
    (config.vault / "exports").mkdir(parents=True)
    config.index.touch()
    return config


def test_export_in_an_agents_vault_is_opened_into_the_current_folder(owner: Owner, peer: Peer, tmp_path: Path) -> None:
    # What was opened lay in clear in the vault: no delete reached it, and the agent's next start removed it unsaid.
    exports = state_folder(tmp_path).vault / "exports"
    folder = Export(peer, owner, exports / new_id()).objects().sign()
    before = sorted(exports.iterdir())

    owner.ok("open", folder)

    assert sorted(path.read_bytes() for path in (tmp_path / f"{folder.name}-opened").iterdir()) == sorted(CLIPS)
    assert sorted(exports.iterdir()) == before


@pytest.mark.parametrize("place", ["vault/exports", "."])
@pytest.mark.parametrize("is_named", [True, False])
def test_nothing_is_opened_into_an_agents_state_folder(
    owner: Owner, peer: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, *, is_named: bool
) -> None:
    config = state_folder(tmp_path)
    folder = Export(peer, owner, config.vault / "exports" / new_id()).objects().sign()
    (tmp_path / "link").symlink_to(config.state)
    monkeypatch.chdir(config.state / place)
    before = sorted(config.state.rglob("*"))

    ran = owner.run("open", folder, *(("-o", tmp_path / "link" / place / "out") if is_named else ()))

    assert ran.code == 2
    assert f"lies in {config.state}, an agent's state folder" in ran.err
    assert "next: name a folder elsewhere: -o OUT" in ran.err
    assert sorted(config.state.rglob("*")) == before


def test_changed_file_is_reported_and_the_others_are_opened(owner: Owner, export: Export, tmp_path: Path) -> None:
    folder = export.sign()
    bent = folder / export.claims["files"][0]["name"]
    raw = bytearray(bent.read_bytes())
    raw[-1] ^= 1
    bent.write_bytes(raw)

    ran = owner.run("open", folder, "-o", tmp_path / "out")

    assert ran.code == 1
    assert f"{bent.name}: changed since" in ran.err
    assert len(list((tmp_path / "out").iterdir())) == len(CLIPS) - 1
    assert "age -d " in ran.out
    assert bent.name not in ran.out


def test_export_of_which_nothing_holds_offers_no_stock_command(owner: Owner, export: Export, tmp_path: Path) -> None:
    folder = export.sign()
    for path in folder.iterdir():
        if path.name != "manifest.jws.age":
            path.write_bytes(b"bent")

    ran = owner.run("open", folder, "-o", tmp_path / "out")

    assert ran.code == 1
    assert "age -d " not in ran.out


def test_wrong_identity_is_told_as_such(owner: Owner, export: Export, tmp_path: Path) -> None:
    owner.ok("keygen", "-o", tmp_path / "other.key")

    ran = owner.run("open", export.sign(), "-i", tmp_path / "other.key")

    assert ran.code == 1
    assert "next: give the identity that the export was sealed to: -i FILE" in ran.err


def test_missing_and_foreign_files_are_named(owner: Owner, export: Export, tmp_path: Path) -> None:
    folder = export.sign()
    gone = next(path for path in folder.iterdir() if path.name != "manifest.jws.age")
    gone.unlink()
    (folder / "evil.sh").write_text("rm -rf /")

    ran = owner.run("open", folder, "-o", tmp_path / "out")

    assert ran.code == 1
    assert gone.name in ran.err
    assert "evil.sh: not in the manifest" in ran.err


def test_manifest_of_another_signer_opens_nothing(owner: Owner, export: Export, tmp_path: Path) -> None:
    export.peer.key = Peer("x").key
    folder = export.sign()

    ran = owner.run("open", folder, "-o", tmp_path / "out")

    assert ran.code == 1
    assert "no device that is known" in ran.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "name", ["../evil.age", "/etc/evil.age", "a.age", "part-001.zip.age\n", f"{'a' * 26}.age/../x"], ids=range(5)
)
def test_hostile_file_name_in_a_signed_manifest_is_refused(
    owner: Owner, export: Export, tmp_path: Path, name: str
) -> None:
    export.claims["files"][0]["name"] = name
    export.claims["objects"][0]["file"] = name

    ran = owner.run("open", export.sign(), "-o", tmp_path / "out")

    assert ran.code == 1
    assert "not a manifest" in ran.err
    assert not (tmp_path / "out").exists()


def test_receipt_that_names_another_manifest_opens_nothing(owner: Owner, export: Export, tmp_path: Path) -> None:
    folder = export.sign()
    owner.ok("export", "--all", "--out", tmp_path / "cmd.bin")
    command = export.peer.open_command((tmp_path / "cmd.bin").read_bytes())
    told = {"object": export.claims["export"], "files": [{"name": "manifest.jws.age", "bytes": 1, "sha256": "0" * 64}]}
    (tmp_path / "answer.bin").write_bytes(export.peer.receipt(command, export=told, outcomes=[]))
    answered = owner.ok("receipt", tmp_path / "answer.bin")

    ran = owner.run("open", folder, "-o", tmp_path / "out")

    assert f"privacy-owner open {export.claims['export']}" in answered.out
    assert ran.code == 1
    assert "another manifest" in ran.err


def test_zip_parts_are_extracted(owner: Owner, peer: Peer, tmp_path: Path) -> None:
    entries = {"recordings/2026_door.mp4": b"moving", "usage-logs/usage.csv": b"a,b\n1,2\n"}
    folder = Export(peer, owner, tmp_path / "taken", form="zip").zip(entries).sign()

    owner.ok("open", folder, "-o", tmp_path / "out")

    out = tmp_path / "out"
    assert {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*.*")} == entries


def test_archive_entry_that_the_manifest_does_not_name_stays_inside(owner: Owner, peer: Peer, tmp_path: Path) -> None:
    entries = {"door.mp4": b"moving", "../../evil": b"x"}
    folder = Export(peer, owner, tmp_path / "taken", form="zip").zip(entries, told=["door.mp4"]).sign()

    owner.ok("open", folder, "-o", tmp_path / "out")

    assert [path.name for path in (tmp_path / "out").iterdir()] == ["door.mp4"]
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/b/evil", "a/../evil", "-evil", ".evil", "a/.evil"])
def test_hostile_archive_entry_in_the_manifest_is_refused(owner: Owner, peer: Peer, tmp_path: Path, name: str) -> None:
    folder = Export(peer, owner, tmp_path / "taken", form="zip").zip({name: b"x"}).sign()

    assert owner.run("open", folder, "-o", tmp_path / "out").code == 1
    assert not list(tmp_path.rglob("evil"))


def test_manifest_in_the_name_of_another_device_opens_nothing(owner: Owner, export: Export, tmp_path: Path) -> None:
    export.claims["iss"] = "camera-2"

    ran = owner.run("open", export.sign(), "-o", tmp_path / "out")

    assert ran.code == 1
    assert "in another name" in ran.err


def test_object_in_a_file_that_is_not_listed_is_refused(owner: Owner, export: Export, tmp_path: Path) -> None:
    export.claims["objects"][0]["file"] = f"{'a' * 26}.age"

    ran = owner.run("open", export.sign(), "-o", tmp_path / "out")

    assert ran.code == 1
    assert "does not list" in ran.err


def test_object_of_another_size_than_told_is_not_opened(owner: Owner, export: Export, tmp_path: Path) -> None:
    export.claims["objects"][2]["bytes"] += 1

    ran = owner.run("open", export.sign(), "-o", tmp_path / "out")

    assert ran.code == 1
    assert "holds 5 bytes, not 6" in ran.err
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_folder_with_files_is_never_written_into(owner: Owner, export: Export, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")

    ran = owner.run("open", export.sign(), "-o", tmp_path / "out")

    assert ran.code == 2
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


def test_export_sealed_to_somebody_else_is_told_apart(owner: Owner, export: Export, tmp_path: Path) -> None:
    folder = export.sign()
    friend = tmp_path / "friend.key"
    owner.ok("keygen", "-o", friend)

    ran = owner.run("open", folder, "-i", friend)

    assert ran.code == 1
    assert "manifest.jws.age" in ran.err
