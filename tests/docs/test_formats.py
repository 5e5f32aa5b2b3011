"""`docs/formats.md` is read back: its byte tables open the files of a real run, its lists are the code's lists."""

import hashlib
import json
import re
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from agent import chain
from agent.index.opening import MIGRATIONS
from agent.keytree import BranchKey, GroupKey, Root, seal_header, wrap_branch, wrap_group, wrap_slot
from agent.owner.home import CLIENT, Home
from tests.docs.conftest import Minutes
from tests.docs.listed import part, unlisted


@pytest.mark.parametrize(("number", "folder"), [(1, "state"), (7, "owner")])
def test_every_file_that_a_run_leaves_is_documented(number: int, folder: str, five_minutes: Minutes) -> None:
    home = five_minutes.folder / folder
    left = [str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()]
    assert left
    assert unlisted(left, section=number) == []


def test_home_that_was_moved_aside_is_documented(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.create()
    home.write(CLIENT, b"a key")
    aside = home.move_aside()
    assert aside is not None
    assert (aside / CLIENT).read_bytes() == b"a key"
    assert unlisted([f"../{aside.name}"], section=7) == []


def test_every_file_that_a_run_leaves_is_private(five_minutes: Minutes) -> None:
    for folder in ("state", "owner"):
        paths = [five_minutes.folder / folder, *(five_minutes.folder / folder).rglob("*")]
        assert {oct(path.stat().st_mode & 0o777) for path in paths} <= {"0o600", "0o700"}


def test_no_name_or_label_of_the_run_stands_in_the_state_folder_or_the_log(five_minutes: Minutes) -> None:
    folder = five_minutes.folder
    looked = [path for path in (folder / "state").rglob("*") if path.is_file()] + [folder / "agent.log"]
    said = b"".join(path.read_bytes() for path in looked)
    of_content = (
        b"ftypisom",
        b"Exif\0\0MM",
    )  # how a clip and a photo of this camera begin; sealed bytes hit four by chance
    assert all(word not in said for word in (b"front_door", b"Front door", b"s.mp4", b"Z.jpg", *of_content))
    assert b"front_door" in (folder / "screen.txt").read_bytes()


def test_keystore_is_read_by_the_documents_table(five_minutes: Minutes) -> None:
    raw = (five_minutes.folder / "state/keystore").read_bytes()
    assert f"{len(raw):,} bytes" in part(2)
    slots = [raw[0:4096], raw[1_048_576 : 1_048_576 + 4096]]
    assert raw[4096:1_048_576] == bytes(1_048_576 - 4096)
    assert slots[0] == slots[1]
    slot = slots[0]
    assert slot[:16] == b"pv1-keystore-1\n\x00"
    assert hashlib.sha256(slot[:4064]).digest() == slot[4064:]
    length = int.from_bytes(slot[16:20])
    assert not any(slot[20 + length : 4064])
    body = msgspec.msgpack.decode(slot[20 : 20 + length])
    told = re.search(r"The body is a map: (.*?)\. Of two", part(2), re.DOTALL)
    assert told is not None
    assert all(f"`{name}`" in told[1] for name in body)
    assert len(body["roots"]) == 1


def test_tables_of_the_index_are_all_named() -> None:
    scripts = "".join("".join(own) for own in MIGRATIONS.values())
    made = set(re.findall(r"CREATE TABLE (\w+)", scripts)) - set(re.findall(r"DROP TABLE (\w+)", scripts))
    told = {}
    for owner, tables in re.findall(r"^\| (\S+) \| ((?:`\w+` ?)+) \|", part(3), re.MULTILINE):
        told[owner] = set(re.findall(r"`(\w+)`", tables))
    assert set().union(*told.values()) == made
    assert "`schema_part`" in part(3)
    assert set(told) == set(MIGRATIONS)


def test_index_is_unreadable_without_its_key(five_minutes: Minutes) -> None:
    raw = (five_minutes.folder / "state/index.db").read_bytes()
    assert b"SQLite format 3" not in raw
    assert b"CREATE TABLE" not in raw


def test_wraps_open_with_the_associated_data_of_the_document() -> None:
    group, root = GroupKey("gggg", 3, b"g" * 32), Root("rrrr", b"r" * 32)
    branch = BranchKey("bbbb", 5, b"b" * 32)
    payload = hashlib.sha256(b"payload").digest()
    slot = wrap_slot(group, b"s" * 16, object_id="oooo", payload_sha256=payload, kind="file-key")
    place = f"slot\ngggg\n3\noooo\n{payload.hex()}\nfile-key".encode()
    assert ChaCha20Poly1305(group.key).decrypt(slot[:12], slot[12:], place) == b"s" * 16
    wrapped = wrap_group(branch, group)
    place = b"group\nbbbb\ngggg\n3\nbranch\n5"
    assert ChaCha20Poly1305(branch.key).decrypt(wrapped[:12], wrapped[12:], place) == group.key
    older = wrap_group(root, group)
    assert ChaCha20Poly1305(root.key).decrypt(older[:12], older[12:], b"group\nrrrr\ngggg\n3") == group.key
    above = wrap_branch(root, branch)
    assert ChaCha20Poly1305(root.key).decrypt(above[:12], above[12:], b"branch\nrrrr\nbbbb\n5") == branch.key
    header = seal_header(b"s" * 16, b"the header", object_id="oooo")
    info = b"privacy-agent header at rest"
    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(b"s" * 16)
    assert ChaCha20Poly1305(key).decrypt(header[:12], header[12:], b"header\noooo") == b"the header"
    lengths = re.findall(r"^\| (?:slot|group key|branch key) \|.*\| (\d+) \|$", part(4), re.MULTILINE)
    assert [len(slot), len(wrapped), len(above)] == [int(length) for length in lengths]
    assert len(header) == len(b"the header") + 28


def test_audit_log_of_a_run_has_the_documents_members_kinds_and_hashes(five_minutes: Minutes) -> None:
    members = re.search(r'^`\{("actor".*?)\}`$', part(5), re.MULTILINE)
    kinds = re.search(r"^`(started [a-z_ ]+)`$", part(5), re.MULTILINE)
    assert members is not None
    assert kinds is not None
    assert tuple(kinds[1].split()) == get_args(chain.EventKind)
    before = "0" * 64
    for line in (five_minutes.folder / "audit.jsonl").read_bytes().splitlines():
        entry = json.loads(line)
        if "checkpoint" in entry:
            assert entry["checkpoint"]["hash"] == before
            continue
        assert list(entry) == json.loads(f"[{members[1]}]")
        assert entry["prev"] == before
        assert entry["kind"] in kinds[1].split()
        before = hashlib.sha256(b"pv1.audit\n" + line).hexdigest()
