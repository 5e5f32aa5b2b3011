"""Files, once: what is true at any cut, and what is never opened, whatever stands in a folder that is not ours."""

import ctypes
import errno
import os
import re
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import files
from agent.errors import ConfigError, CorruptError, SpaceError
from agent.files import (
    ASIDE_PREFIX,
    TMPFS_MAGIC,
    born_ms,
    bring_back,
    file_system_magic,
    free_bytes,
    is_there,
    make_folder,
    new_file,
    open_beneath,
    open_folder,
    read_whole,
    remove,
    remove_beneath,
    settle,
    sync_folder,
    translated_space,
    write_durably,
)
from tests.disk import as_root, small_disk
from tests.failing import failing

ROOT = Path(__file__).parents[2]
PROC_MAGIC = 0x9FA0  # statfs(2)
LIMIT_S = 60


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    folder = tmp_path / "spool"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def spool_fd(spool: Path) -> Iterator[int]:
    fd = open_folder(spool)
    yield fd
    os.close(fd)


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def calls(folder: Path, program: str) -> list[str]:
    """Run a program under strace and return, in order, what it did to files beneath the folder."""
    out = folder.parent / "calls"
    watched = "write,fsync,?rename,renameat,renameat2,?unlink,unlinkat,?mkdir,mkdirat"  # "?": not on every machine
    traced = subprocess.run(
        ["strace", "-f", "-y", "-e", f"trace={watched}", "-o", str(out), sys.executable, "-c", program, str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )
    assert traced.returncode == 0, traced.stderr
    told = []
    for line in out.read_text().splitlines():
        if str(folder) in line and "= -1" not in line:
            call = re.sub(r"at2?$", "", line.split(maxsplit=1)[1].split("(")[0])
            told.append(f"{call} folder" if f"<{folder}>)" in line else call)
    return told


# --- the durable write


def test_birth_of_a_file_stays_what_it_was_when_it_is_written_dated_and_renamed(spool: Path) -> None:
    path = spool / "log"
    path.write_bytes(b"1")
    with path.open("rb") as file:
        born = born_ms(file.fileno())
        if born is None:  # this file system tells no birth times
            return
        assert abs(born - os.fstat(file.fileno()).st_mtime_ns // 1_000_000) < 1000
        os.utime(path, (0, 0))
        path.write_bytes(b"2")
        path.rename(spool / "other")
        assert born_ms(file.fileno()) == born


def test_birth_of_a_file_is_not_made_up_where_nobody_knows_it() -> None:
    with Path("/proc/self/status").open("rb") as file:
        assert born_ms(file.fileno()) is None


@pytest.mark.parametrize("size", [0, 1, 3_000_000])
def test_file_is_written_whole_private_and_with_nothing_beside_it(tmp_path: Path, size: int) -> None:
    data, path = os.urandom(size), tmp_path / "file"
    write_durably(path, data)
    assert path.read_bytes() == data
    assert mode_of(path) == 0o600
    write_durably(path, b"again")
    assert path.read_bytes() == b"again"
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_file_of_another_mode_becomes_private_when_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o666)
    write_durably(path, b"new")
    assert mode_of(path) == 0o600


def test_link_that_stands_in_the_way_is_replaced_and_not_followed(tmp_path: Path) -> None:
    other, path = tmp_path / "other", tmp_path / "file"
    other.write_bytes(b"of somebody else")
    path.symlink_to(other)
    write_durably(path, b"ours")
    assert other.read_bytes() == b"of somebody else"
    assert not path.is_symlink()


@pytest.mark.usefixtures("unmeasured")
def test_bytes_are_synced_before_the_name_and_the_name_before_the_return(spool: Path) -> None:
    write = (
        "import pathlib, sys; from agent.files import write_durably; write_durably(pathlib.Path(sys.argv[1])/'f', b'x')"
    )
    assert calls(spool, write) == ["write", "fsync", "rename", "fsync folder"]


@pytest.mark.usefixtures("unmeasured")
def test_removal_is_synced_before_the_return(spool: Path) -> None:
    (spool / "f").write_bytes(b"x")
    take = "import pathlib, sys; from agent.files import remove; remove(pathlib.Path(sys.argv[1])/'f')"
    assert calls(spool, take) == ["unlink", "fsync folder"]


@pytest.mark.usefixtures("unmeasured")
def test_removal_beneath_a_folder_is_synced_before_the_return(spool: Path) -> None:
    (spool / "f").write_bytes(b"x")
    take = (
        "import os, pathlib, sys; from agent.files import open_folder, remove_beneath\n"
        "s = os.stat(sys.argv[1] + '/f')\n"
        "assert remove_beneath(open_folder(pathlib.Path(sys.argv[1])), 'f', inode=s.st_ino, device=s.st_dev)"
    )
    assert calls(spool, take) == ["rename", "unlink", "fsync folder"]


@pytest.mark.usefixtures("unmeasured")
def test_each_new_folder_is_synced_in_its_parent(spool: Path) -> None:
    made = "import pathlib, sys; from agent.files import make_folder; make_folder(pathlib.Path(sys.argv[1])/'a'/'b')"
    told = calls(spool, made)
    assert [call.split()[0] for call in told] == ["mkdir", "fsync", "mkdir", "fsync"]
    assert told[1] == "fsync folder"


@as_root
def test_write_that_finds_no_room_leaves_the_old_file_and_no_part(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", size="64k") as disk:
        path = disk / "file"
        write_durably(path, b"old")
        with pytest.raises(SpaceError, match="next: "):
            write_durably(path, bytes(1 << 20))
        assert path.read_bytes() == b"old"
        assert [one.name for one in disk.iterdir()] == ["file"]


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize(
    ("call", "nth", "found"), [("write", 1, b"old"), ("fsync", 1, b"old"), ("rename", 1, b"old"), ("fsync", 2, b"new")]
)
def test_call_that_fails_on_the_medium_is_raised_and_never_tried_again(
    spool: Path, call: str, nth: int, found: bytes
) -> None:
    path, out = spool / "file", spool.parent / "calls"
    write_durably(path, b"old")
    program = (
        "import pathlib, sys\n"
        "from agent.files import write_durably\n"
        "try:\n"
        "    write_durably(pathlib.Path(sys.argv[1]), b'new')\n"
        "except OSError as error:\n"
        "    sys.exit(error.errno)\n"
    )
    calls = "?rename,renameat,renameat2" if call == "rename" else call  # "?": not on every machine
    fault = ["strace", "-f", "-o", str(out), "-e", f"trace={calls}", "-e", f"inject={calls}:error=EIO:when={nth}"]
    ran = subprocess.run(
        [*fault, sys.executable, "-B", "-c", program, str(path)], cwd=ROOT, check=False, timeout=LIMIT_S
    )
    assert ran.returncode == errno.EIO
    assert len(re.findall(rf"\b{call}\w*\(", out.read_text())) == nth
    assert path.read_bytes() == found
    assert [one.name for one in spool.iterdir()] == ["file"]


def test_only_want_of_room_becomes_a_space_error() -> None:
    for code in (errno.ENOSPC, errno.EDQUOT):
        with pytest.raises(SpaceError, match="next: "), translated_space():
            raise OSError(code, "told")
    with pytest.raises(OSError, match="told") as caught, translated_space():
        raise OSError(errno.EIO, "told")
    assert caught.value.errno == errno.EIO


def test_write_into_a_full_device_is_a_space_error() -> None:
    with Path("/dev/full").open("wb", buffering=0) as full, pytest.raises(SpaceError), translated_space():
        full.write(b"x")


def test_new_files_never_share_a_name_and_settle_under_their_own(spool: Path) -> None:
    made = [new_file(spool) for _ in range(50)]
    assert len({path for _fd, path in made}) == 50
    for number, (fd, path) in enumerate(made):
        assert (path.suffix, mode_of(path)) == (".part", 0o600)
        os.write(fd, b"%d" % number)
        os.close(fd)
        settle(path, spool / f"{number}", folder_synced=False)
    sync_folder(spool)
    assert {one.name: one.read_bytes() for one in spool.iterdir()} == {f"{n}": b"%d" % n for n in range(50)}


# --- folders, presence, removal


def test_new_folders_are_private_and_an_existing_one_is_left(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    made = tmp_path / "a" / "b" / "c"
    before = os.umask(0)
    try:
        make_folder(made)
    finally:
        os.umask(before)
    assert [mode_of(folder) for folder in (made, made.parent, made.parent.parent)] == [0o700] * 3
    (made / "kept").write_bytes(b"")
    made.chmod(0o750)
    make_folder(made)
    assert mode_of(made) == 0o750
    assert (made / "kept").exists()
    assert mode_of(tmp_path) == 0o755


@pytest.mark.parametrize("mode", [0o701, 0o710, 0o740, 0o777])
def test_folder_that_others_may_look_into_is_refused_with_the_command_that_helps(spool: Path, mode: int) -> None:
    spool.chmod(mode)
    with pytest.raises(ConfigError, match=f"next: chmod 700 {spool}"):
        open_folder(spool)
    os.close(open_folder(spool, private=False))


def test_folder_that_is_none_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path, why in ((tmp_path / "absent", "No such file"), (tmp_path / "file", "Not a directory")):
        with pytest.raises(ConfigError, match=f"{path}: {why}.*\n.*next: "):
            open_folder(path)


def test_refused_folder_leaves_no_descriptor_open(spool: Path) -> None:
    spool.chmod(0o755)
    before = open_descriptors()
    for _ in range(10):
        with pytest.raises(ConfigError):
            open_folder(spool)
    assert open_descriptors() == before


def test_presence_is_told_also_of_a_link_to_nowhere_and_behind_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "link").symlink_to("nowhere")
    assert is_there(tmp_path / "file")
    assert is_there(tmp_path / "link")
    assert not is_there(tmp_path / "absent")
    assert not is_there(tmp_path / "file" / "beneath")


def test_removing_tells_whether_there_was_something(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")
    assert remove(path)
    assert not remove(path)
    assert not remove(path, folder_synced=False)


# --- what is opened of a folder that is not ours


def read_beneath(folder_fd: int, name: str) -> bytes:
    fd = open_beneath(folder_fd, name)
    try:
        return os.read(fd, 100)
    finally:
        os.close(fd)


def test_plain_file_is_opened_also_in_a_folder_beneath(spool: Path, spool_fd: int) -> None:
    (spool / "a" / "b").mkdir(parents=True)
    (spool / "a" / "b" / "clip.mp4").write_bytes(b"frames")
    assert read_beneath(spool_fd, "a/b/clip.mp4") == b"frames"
    with pytest.raises(FileNotFoundError):
        open_beneath(spool_fd, "a/b/absent.mp4")


def link_to_a_file(spool: Path) -> None:
    (spool / "clip.mp4").symlink_to("plain")


def link_in_the_way(spool: Path) -> None:
    (spool / "folder").mkdir()
    (spool / "folder" / "clip.mp4").write_bytes(b"")
    (spool / "linked").symlink_to("folder")


def second_name(spool: Path) -> None:
    os.link(spool / "plain", spool / "clip.mp4")


def fifo(spool: Path) -> None:
    os.mkfifo(spool / "clip.mp4")


def bound_socket(spool: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(spool / "clip.mp4"))


def folder(spool: Path) -> None:
    (spool / "clip.mp4").mkdir()


def file_as_folder(spool: Path) -> None:
    (spool / "file").write_bytes(b"")


def nothing(_spool: Path) -> None:
    """The name alone is the attack."""


@pytest.mark.parametrize(
    ("attack", "name", "why"),
    [
        (link_to_a_file, "clip.mp4", "a symbolic link"),
        (link_in_the_way, "linked/clip.mp4", "a symbolic link"),
        (second_name, "clip.mp4", "more than one name"),
        (fifo, "clip.mp4", "not a plain file"),
        (bound_socket, "clip.mp4", "a FIFO or socket"),
        (folder, "clip.mp4", "not a plain file"),
        (file_as_folder, "file/clip.mp4", "Not a directory"),
        (nothing, "../secret", "outside the folder"),
        (nothing, "../spool/plain", "outside the folder"),
        (nothing, "/etc/passwd", "outside the folder"),
        (nothing, "/proc/self/environ", "outside the folder"),
        (nothing, "..", "outside the folder"),
        (nothing, ".", "not a plain file"),
        (nothing, "x" * 300, "File name too long"),
    ],
)
def test_everything_but_a_plain_file_of_its_own_is_refused_by_the_rule(
    spool: Path, spool_fd: int, attack: Callable[[Path], None], name: str, why: str
) -> None:
    (spool.parent / "secret").write_bytes(b"secret")
    (spool / "plain").write_bytes(b"plain")
    attack(spool)
    before = open_descriptors()
    with pytest.raises(CorruptError, match=why):
        open_beneath(spool_fd, name)
    assert open_descriptors() == before


def test_link_that_the_kernel_keeps_is_not_followed_either(spool: Path) -> None:
    (spool / "plain").write_bytes(b"plain")
    with (spool / "plain").open("rb") as held:
        own = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY)
        try:
            with pytest.raises(CorruptError, match="a symbolic link"):
                open_beneath(own, str(held.fileno()))
        finally:
            os.close(own)


def test_other_file_system_mounted_beneath_is_not_entered() -> None:
    slash = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    try:
        with pytest.raises(CorruptError, match="outside the folder"):
            open_beneath(slash, "proc/version")
    finally:
        os.close(slash)


@pytest.mark.parametrize(
    ("call", "opens"),
    [("openat2", "open_beneath(os.open(path, os.O_RDONLY), 'clip.mp4')"), ("openat", "open_folder(path)")],
    ids=["a source's file", "a folder"],
)
@pytest.mark.parametrize("code", ["EMFILE", "ENFILE", "ENOMEM", "EIO", "ESTALE"])
def test_fault_of_the_machine_is_tried_again_and_never_taken_for_a_bad_file(
    spool: Path, call: str, opens: str, code: str
) -> None:
    # A file that could not be opened for want of descriptors was set aside as corrupt.
    (spool / "clip.mp4").write_bytes(b"frames")
    program = (
        "import os, pathlib, sys\n"
        "from agent.files import open_beneath, open_folder\n"
        "path = pathlib.Path(sys.argv[1])\n"
        f"{opens}\n"
    )
    ran = subprocess.run(
        [*failing(spool, f"{call}={code}"), sys.executable, "-B", "-c", program, str(spool)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )
    assert "agent.errors.LinkError" in ran.stderr, ran.stderr
    assert os.strerror(getattr(errno, code)) in ran.stderr
    assert "next: it is tried again" in ran.stderr


NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=40)
PATHS = st.lists(NAMES | st.sampled_from(["..", ".", "", "a"]), min_size=1, max_size=4).map("/".join)


@given(PATHS)
def test_whatever_the_name_nothing_outside_the_folder_is_opened(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    top = tmp_path_factory.getbasetemp() / "any-name"
    (top / "spool" / "a").mkdir(parents=True, exist_ok=True)
    for place, content in (("secret", b"secret"), ("a", b"secret"), ("spool/a/a", b"ours")):
        target = top / place
        if not target.is_dir():
            target.write_bytes(content)
    fd = os.open(top / "spool", os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert read_beneath(fd, name) == b"ours"
    except (CorruptError, FileNotFoundError):
        pass
    finally:
        os.close(fd)


# --- what is removed of it


class Was(TypedDict):
    inode: int
    device: int


def status_of(path: Path) -> Was:
    status = path.lstat()
    return {"inode": status.st_ino, "device": status.st_dev}


@pytest.mark.parametrize("name", ["clip.mp4", "a/b/clip.mp4"])
def test_the_very_file_that_was_read_is_removed(spool: Path, spool_fd: int, name: str) -> None:
    path = spool / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"read")
    was = status_of(path)
    assert remove_beneath(spool_fd, name, **was)
    assert not path.exists()
    assert not remove_beneath(spool_fd, name, **was)


def test_file_that_took_its_place_since_is_left(spool: Path, spool_fd: int) -> None:
    path, other = spool / "clip.mp4", spool / "other.mp4"
    path.write_bytes(b"read")
    other.write_bytes(b"newer")  # made before the first goes, so that it has an inode of its own
    was = status_of(path)
    other.rename(path)
    assert not remove_beneath(spool_fd, "clip.mp4", **was)
    assert path.read_bytes() == b"newer"


def test_file_that_takes_its_place_between_the_look_and_the_removal_is_left(
    spool: Path, spool_fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A camera that writes each picture under one name lost one of a hundred unread.
    path, other = spool / "latest.jpg", spool / "other.jpg"
    path.write_bytes(b"read")
    other.write_bytes(b"newer")
    was = status_of(path)
    look, newer = os.stat, [other]

    def looked(*what: Any, **how: Any) -> os.stat_result:  # noqa: ANN401 - as os.stat has them
        found = look(*what, **how)
        while newer:
            newer.pop().rename(path)
        return found

    monkeypatch.setattr(os, "stat", looked)
    assert not remove_beneath(spool_fd, "latest.jpg", **was)
    assert path.read_bytes() == b"newer"
    assert [left.name for left in spool.iterdir()] == ["latest.jpg"]


def test_file_whose_removal_was_cut_gets_its_name_back_and_waits_while_a_newer_one_has_it(
    spool: Path, spool_fd: int
) -> None:
    # It was removed unread: nobody knows behind a cut whether it still is what was sealed.
    path, aside = spool / "clip.mp4", spool / f"{ASIDE_PREFIX}clip.mp4"
    aside.write_bytes(b"read")
    assert bring_back(spool_fd, aside.name)
    assert path.read_bytes() == b"read"
    aside.write_bytes(b"older")
    assert not bring_back(spool_fd, aside.name)
    assert (path.read_bytes(), aside.read_bytes()) == (b"read", b"older")
    assert remove_beneath(spool_fd, path.name, **status_of(path))
    assert path.read_bytes() == b"older"
    assert [left.name for left in spool.iterdir()] == ["clip.mp4"]


@pytest.mark.parametrize("exchange", [True, False])
def test_what_is_added_to_a_file_that_is_aside_is_kept_beside_what_is_begun_by_its_name(
    spool: Path,
    spool_fd: int,
    monkeypatch: pytest.MonkeyPatch,
    exchange: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    # A logger opened its file, wrote once it was aside, closed, and opened the free name: the first line was lost.
    rename = files._rename
    if not exchange:
        monkeypatch.setattr(
            files, "_rename", lambda *how: errno.EINVAL if how[-1] == files._RENAME_EXCHANGE else rename(*how)
        )
    path = spool / "log.jsonl"
    path.write_bytes(b"0\n")

    def look(_fd: int) -> None:
        with logger:
            logger.write(b"1\n")
        path.write_bytes(b"2\n")
        raise RuntimeError("written anew")

    with path.open("ab") as logger, pytest.raises(RuntimeError):
        remove_beneath(spool_fd, path.name, **status_of(path), look=look)
    assert path.read_bytes() == b"2\n"
    seen = []
    while path.exists():
        seen.append(path.read_bytes())
        assert remove_beneath(spool_fd, path.name, **status_of(path))
    assert seen == [b"2\n", b"0\n1\n"]
    assert not list(spool.iterdir())


def test_file_that_is_written_anew_while_another_waits_for_its_name_waits_in_its_place(
    spool: Path, spool_fd: int
) -> None:
    path, aside = spool / "latest.jpg", spool / f"{ASIDE_PREFIX}latest.jpg"
    path.write_bytes(b"second")
    aside.write_bytes(b"first")

    def look(_fd: int) -> None:
        raise RuntimeError("written anew")

    with pytest.raises(RuntimeError):
        remove_beneath(spool_fd, path.name, **status_of(path), look=look)
    assert (path.read_bytes(), aside.read_bytes()) == (b"first", b"second")


def test_file_that_is_written_anew_beneath_its_name_gets_that_back(spool: Path, spool_fd: int) -> None:
    path = spool / "latest.jpg"
    path.write_bytes(b"read")
    was = status_of(path)
    seen: list[bytes] = []

    def look(fd: int) -> None:
        assert [left.name for left in spool.iterdir()] == [f"{ASIDE_PREFIX}latest.jpg"]
        seen.append(os.read(fd, 100))
        raise RuntimeError("written anew")

    path.write_bytes(b"newer")  # the same inode
    with pytest.raises(RuntimeError):
        remove_beneath(spool_fd, path.name, **was, look=look)
    assert seen == [b"newer"]
    assert path.read_bytes() == b"newer"
    assert [left.name for left in spool.iterdir()] == ["latest.jpg"]


def test_file_whose_inode_goes_by_its_name_is_removed_where_it_stands(
    spool: Path, spool_fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = spool / "latest.jpg"
    path.write_bytes(b"read")
    was = status_of(path)
    look = os.stat

    def looked(name: Any, **how: Any) -> os.stat_result:  # noqa: ANN401 - as os.stat has them
        found = look(name, **how)
        if not str(name).startswith(ASIDE_PREFIX):
            return found
        return os.stat_result((found.st_mode, found.st_ino + 1, found.st_dev, *found[3:10]))

    monkeypatch.setattr(os, "stat", looked)
    assert remove_beneath(spool_fd, "latest.jpg", **was)
    assert not list(spool.iterdir())


def failing_with(code: int) -> Callable[..., None]:
    def fail(*_what: object, **_how: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize("links", [True, False])
def test_file_gets_its_name_back_on_file_systems_that_give_no_name_unless_it_is_free(
    spool: Path,
    spool_fd: int,
    monkeypatch: pytest.MonkeyPatch,
    links: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    def renameat2(*_arguments: object) -> int:
        ctypes.set_errno(errno.EINVAL)
        return -1

    monkeypatch.setattr(files._libc, "renameat2", renameat2)
    aside = spool / f"{ASIDE_PREFIX}clip.mp4"
    bring_back(spool_fd, aside.name)
    assert not list(spool.iterdir())
    if not links:
        monkeypatch.setattr(os, "link", failing_with(errno.EPERM))
    aside.write_bytes(b"read")
    assert bring_back(spool_fd, aside.name)
    assert [left.name for left in spool.iterdir()] == ["clip.mp4"]
    aside.write_bytes(b"older")
    assert not bring_back(spool_fd, aside.name)
    assert (spool / "clip.mp4").read_bytes() == b"read"
    assert (spool / "clip.mp4").stat().st_nlink == 1
    assert aside.read_bytes() == b"older"


def test_file_that_a_cut_left_with_both_names_keeps_its_own(spool: Path, spool_fd: int) -> None:
    path, aside = spool / "clip.mp4", spool / f"{ASIDE_PREFIX}clip.mp4"
    path.write_bytes(b"read")
    aside.hardlink_to(path)
    assert bring_back(spool_fd, aside.name)
    assert [left.name for left in spool.iterdir()] == ["clip.mp4"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.ENOSYS, errno.EOPNOTSUPP])
def test_file_that_can_be_given_no_other_name_is_removed_where_it_stands(
    spool: Path, spool_fd: int, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    # A full disk had no room for a longer name in the folder, and nothing made room there any more.
    path = spool / "clip.mp4"
    path.write_bytes(b"read")
    monkeypatch.setattr(os, "rename", failing_with(code))
    assert remove_beneath(spool_fd, path.name, **status_of(path))
    assert not list(spool.iterdir())


def test_file_that_cannot_be_removed_gets_its_name_back(
    spool: Path, spool_fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It kept the hidden one, until everything was looked at again.
    path = spool / "clip.mp4"
    path.write_bytes(b"read")
    monkeypatch.setattr(os, "unlink", failing_with(errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        remove_beneath(spool_fd, path.name, **status_of(path))
    assert [left.name for left in spool.iterdir()] == ["clip.mp4"]


def test_file_with_the_longest_name_is_removed(spool: Path, spool_fd: int) -> None:
    path = spool / f"{'a' * 251}.jpg"
    path.write_bytes(b"read")
    assert remove_beneath(spool_fd, path.name, **status_of(path))
    assert not list(spool.iterdir())


def test_folder_that_became_a_link_is_not_followed_to_remove_elsewhere(spool: Path, spool_fd: int) -> None:
    elsewhere = spool.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "clip.mp4").write_bytes(b"of somebody else")
    (spool / "a").symlink_to(elsewhere)
    with pytest.raises(OSError, match="symbolic links"):
        remove_beneath(spool_fd, "a/clip.mp4", **status_of(elsewhere / "clip.mp4"))
    assert (elsewhere / "clip.mp4").exists()
    assert not remove_beneath(spool_fd, "gone/clip.mp4", inode=1, device=1)


# --- the file system


def test_file_system_is_named_as_the_kernel_names_it(tmp_path: Path) -> None:
    assert file_system_magic(Path("/proc")) == PROC_MAGIC
    assert file_system_magic(Path("/dev/shm")) == TMPFS_MAGIC  # noqa: S108 - a mount, not a file
    with pytest.raises(FileNotFoundError):
        file_system_magic(tmp_path / "absent")


def test_room_is_what_df_says(tmp_path: Path) -> None:
    free, total = free_bytes(tmp_path)
    told = subprocess.run(["df", "-B1", "--output=size", str(tmp_path)], capture_output=True, text=True, check=True)
    assert total == int(told.stdout.split()[1])
    assert 0 < free <= total


def test_descriptors_are_not_inherited_by_a_program_that_we_start(spool: Path, spool_fd: int) -> None:
    (spool / "plain").write_bytes(b"")
    fd, part = new_file(spool)
    opened = open_beneath(spool_fd, "plain")
    assert not any(os.get_inheritable(one) for one in (spool_fd, fd, opened))
    for one in (fd, opened):
        os.close(one)
    assert files.remove(part)


def test_file_that_a_person_named_is_read_whole_or_refused_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "named"
    path.write_bytes(b"12345")
    assert read_whole(path, max_bytes=5, hint="name another") == b"12345"
    for named, max_bytes, why in ((path, 4, "larger than 4"), (Path("/dev/zero"), 9, "a dev"), (tmp_path, 9, "Is a")):
        with pytest.raises(ConfigError, match=f"{named}: {why}") as caught:
            read_whole(named, max_bytes=max_bytes, hint="name another")
        assert caught.value.hint == "name another"


def test_file_that_a_person_named_keeps_nobody_waiting_though_it_is_a_pipe_or_a_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A FIFO as policy.toml kept the agent's reader for ever: nobody ever opened its other end."""
    opened, flags = os.open, list[int]()

    def spied(path: str, how: int) -> int:
        flags.append(how)
        return opened(path, how)

    pipe, door = tmp_path / "pipe", tmp_path / "door"
    os.mkfifo(pipe)
    fd = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    os.write(fd, b"x" * 10)  # whoever reads it all the same ends, and is seen
    monkeypatch.setattr(os, "open", spied)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(door))
        for named, why in ((pipe, "a FIFO, and no plain file"), (door, "a socket, and no plain file")):
            with pytest.raises(ConfigError, match=f"{named}: {why}"):
                read_whole(named, max_bytes=9, hint="name another")
    os.close(fd)
    assert all(how & os.O_NONBLOCK for how in flags)
    assert len(flags) == 2
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "plain")
    (tmp_path / "plain").write_bytes(b"1")
    assert read_whole(link, max_bytes=9, hint="name another") == b"1"


def test_file_that_is_written_to_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "policy.toml"
    path.write_bytes(b"half")
    seen = os.fstat

    def written_meanwhile(fd: int) -> os.stat_result:
        status = seen(fd)
        with path.open("ab") as file:
            file.write(b", and the rest")
        return status

    monkeypatch.setattr(os, "fstat", written_meanwhile)
    with pytest.raises(ConfigError, match="written to while it was read"):
        read_whole(path, max_bytes=99, hint="name another")
