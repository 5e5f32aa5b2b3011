"""A device that was taken over signs what it likes: its owner's tool may be told nonsense, and must stay unharmed."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.owner.conftest import Owner, make_owner, owner, peer
from tests.owner.peer import Peer
from tests.owner.test_unpack import Export

__all__ = ["make_owner", "owner", "peer"]  # fixtures

ENTRY = "recordings/a.mp4"


def encrypted_flag(raw: bytes) -> bytes:
    """Say of the entry that it needs a password."""
    return bent(raw, local=6, central=8, value=b"\x01\x00")


def future_version(raw: bytes) -> bytes:
    """Say that it takes a reader of version 99."""
    return bent(raw, local=4, central=6, value=b"\x63\x00")


def cut(raw: bytes) -> bytes:
    """Lose bytes of the entry while its directory stays."""
    return raw[:40] + raw[44:]


def far_offset(raw: bytes) -> bytes:
    """Let the directory point behind the end."""
    return bent(raw, local=None, central=42, value=b"\xff\xff\xff\x7f")


def large_sizes(raw: bytes) -> bytes:
    """Tell both sizes wrong."""
    return bent(raw, local=None, central=20, value=b"\xff\xff\xff\x7f\xff\xff\xff\x7f")


def bent(raw: bytes, *, local: int | None, central: int, value: bytes) -> bytes:
    """Overwrite a field of the only entry, in its local header and in the directory."""
    out = bytearray(raw)
    if local is not None:
        out[local : local + len(value)] = value
    start = raw.index(b"PK\x01\x02") + central
    out[start : start + len(value)] = value
    return bytes(out)


@pytest.mark.parametrize(
    "bend", [encrypted_flag, future_version, cut, far_offset, large_sizes], ids=lambda bend: bend.__name__
)
def test_bent_archive_is_a_problem_that_is_told_and_leaves_nothing(
    owner: Owner, peer: Peer, tmp_path: Path, bend: Callable[[bytes], bytes]
) -> None:
    export = Export(peer, owner, tmp_path / "taken", form="zip")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(ENTRY, b"moving" * 100)
    export.zip({ENTRY: b""})
    export.claims["files"].clear()
    export.put("part-001.zip.age", bend(buffer.getvalue()))

    ran = owner.run("open", export.sign(), "-o", tmp_path / "out")

    assert ran.code == 1
    assert "part-001.zip.age" in ran.err
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []


def test_entry_that_is_both_file_and_folder_is_told(owner: Owner, peer: Peer, tmp_path: Path) -> None:
    export = Export(peer, owner, tmp_path / "taken", form="zip").zip({"recordings": b"one", ENTRY: b"two"})

    ran = owner.run("open", export.sign(), "-o", tmp_path / "out")

    assert ran.code == 1
    assert "as file and as folder" in ran.err
    assert not (tmp_path / "out").exists()


def test_two_objects_of_one_name_do_not_overwrite_each_other(owner: Owner, peer: Peer, tmp_path: Path) -> None:
    export = Export(peer, owner, tmp_path / "taken").objects()
    first, second, *_ = export.claims["objects"]
    second["id"] = first["id"]

    ran = owner.run("open", export.sign(), "-o", tmp_path / "out")

    assert ran.code == 1
    assert "an object twice" in ran.err


def texts(value: Any, bad: str) -> Any:  # noqa: ANN401 - JSON
    """Replace every text that is free to choose."""
    if isinstance(value, dict):
        free = {"camera", "camera_label", "name", "media_type", "captured_from", "captured_to", "category"}
        return {name: bad if name in free else texts(inner, bad) for name, inner in value.items()}
    return [texts(inner, bad) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    "bad", ["\x1b]0;owned\x07\x1b[2J", "a\r\nb: forged", "\u202egpj.exe", "../../x", "", "x" * 5000]
)
def test_names_of_a_hostile_manifest_reach_neither_terminal_nor_file_system(
    owner: Owner, peer: Peer, tmp_path: Path, bad: str
) -> None:
    export = Export(peer, owner, tmp_path / "taken").objects()
    export.claims["objects"] = texts(export.claims["objects"], bad)

    ran = owner.run("open", export.sign(), "-o", tmp_path / "out")

    for shown in (ran.out, ran.err):
        assert not set(shown) & {"\x1b", "\x07", "\r", "\u202e"}
        assert "forged" not in shown
    for path in (tmp_path / "out").rglob("*"):
        assert path.parent == tmp_path / "out"
        assert path.name.isascii()
        assert path.name.isprintable()
