"""Files that another user writes: the kernel says whether they are open only to who has CAP_LEASE."""

import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal

import pytest

from tests.disk import as_root
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]

AGENT, WRITER = 64_123, 64_124
"""Users that nobody is."""

BECOME = """
import ctypes, os, struct, sys

def become(uid, capability):
    # As the unit starts the agent: another user, with one capability at most, which is ambient (capabilities(7)).
    # It is done behind the imports, for Python may lie where no other user may look.
    libc = ctypes.CDLL(None, use_errno=True)

    def prctl(*arguments):
        if libc.prctl(*arguments, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl")

    prctl(8, 1, 0)  # PR_SET_KEEPCAPS
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
    held = 1 << 28 if capability == "lease" else 0  # CAP_LEASE
    if libc.capset(struct.pack("Ii", 0x20080522, 0), struct.pack("6I", held, held, held, 0, 0, 0)):
        raise OSError(ctypes.get_errno(), "capset")
    if held:
        prctl(47, 2, 28)  # PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE
"""

TAKER = (
    BECOME
    + """
import asyncio
sys.path[:0] = sys.argv[5:]
from pathlib import Path
from agent.sources import FolderSource, SourceSettings, folder
from agent.sources.candidate import IncompleteError

uid, capability, path, unsure_s = sys.argv[1:5]
become(int(uid), capability)
if unsure_s != "usual":
    folder.UNSURE_S = float(unsure_s)
folder.AGAIN_S = 0.05
path = Path(path)
settings = SourceSettings(name="spool", kind="spool", path=path, medium="disk", settle_s=0.05, poll_s=0.05)
source = FolderSource(settings, on_refusal=print, on_trouble=print)

async def fresh(candidates):
    print("found", *sorted(item.path for item in candidates), flush=True)
    return candidates

async def offer(candidates):
    root = await source.root()
    for item in candidates:
        try:
            fd = root.open_file(item)
        except IncompleteError as error:
            print("waits", item.path, error.message, flush=True)
            source.again(item.path)
            continue
        with open(fd) as file:
            content = file.read()
        print("taken", item.path, content, root.give_up(item), flush=True)

asyncio.run(source.run(offer, fresh))
"""
)

OPENED = (
    BECOME
    + """
become(int(sys.argv[1]), "none")
with open(sys.argv[2], "a") as file:
    file.write("first")
    file.flush()
    print("written", flush=True)
    sys.stdin.read()
    file.write(" and last")
"""
)

Capability = Literal["lease", "none"]
Lines = Callable[[], list[str]]


class Place:
    """A spool into which one user writes, and which another empties."""

    def __init__(self, top: Path) -> None:
        self.path = top / "spool"
        self.path.mkdir()
        self.path.chmod(0o777)
        self._log = top / "log"

    @contextmanager
    def written(self, name: str) -> Iterator[subprocess.Popen[str]]:
        """Begin a file; its writer pauses until its input ends."""
        argv = [sys.executable, "-I", "-c", OPENED, str(WRITER), str(self.path / name)]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, umask=0o022) as writer:
            assert writer.stdout
            assert writer.stdout.readline() == "written\n"
            yield writer

    @contextmanager
    def taker(self, capability: Capability, *, unsure_s: str = "usual") -> Iterator[Lines]:
        """Run the source; what it said so far is told."""
        about = (str(AGENT), capability, str(self.path), unsure_s)
        argv = [sys.executable, "-I", "-c", TAKER, *about, str(ROOT), *sys.path]
        with self._log.open("wb") as log, subprocess.Popen(argv, stdout=log) as it:
            try:
                yield lambda: self._log.read_text().splitlines()
            finally:
                it.kill()


@pytest.fixture
def place() -> Iterator[Place]:
    with tempfile.TemporaryDirectory() as top:
        Path(top).chmod(0o755)  # other users come by
        yield Place(Path(top))


def close(writer: subprocess.Popen[str]) -> None:
    assert writer.stdin
    writer.stdin.close()
    writer.wait()


@as_root
@pytest.mark.parametrize("name", ["clip.mp4", "front.jsonl"])
@pytest.mark.parametrize("capability", ["lease", "none"])
def test_file_that_its_writer_has_open_when_it_is_found_is_taken_whole(
    place: Place, name: str, capability: Capability
) -> None:
    # Whoever may not be told was told nothing, took the file for closed, and what was written next went with it.
    unsure_s = "usual" if capability == "lease" else "5"
    with place.written(name) as writer, place.taker(capability, unsure_s=unsure_s) as said:
        until(lambda: f"found {name}" in said(), what="the file is found")
        threading.Event().wait(1.0)  # twenty times what it has to rest where nobody has it open
        assert not [line for line in said() if line.startswith("taken")]
        close(writer)
        until(lambda: f"taken {name} first and last True" in said(), what="the file is taken")


@as_root
def test_file_is_told_to_be_open_however_long_its_writer_pauses_to_who_has_the_capability(place: Place) -> None:
    with place.written("clip.mp4") as writer, place.taker("lease", unsure_s="0.1") as said:
        until(lambda: said().count("waits clip.mp4 the file is open for writing") > 3, what="it is open four times")
        close(writer)
        until(lambda: "taken clip.mp4 first and last True" in said(), what="the file is taken")


@as_root
def test_file_that_nobody_says_anything_of_is_taken_once_it_rested_for_longer(place: Place) -> None:
    with ExitStack() as closing:
        writer = closing.enter_context(place.written("clip.mp4"))
        close(writer)
        said = closing.enter_context(place.taker("none", unsure_s="1.5"))
        until(lambda: "found clip.mp4" in said(), what="the file is found")
        threading.Event().wait(0.5)
        assert "taken clip.mp4 first and last True" not in said()
        until(lambda: "taken clip.mp4 first and last True" in said(), what="the file is taken")


PIECES = (
    BECOME
    + """
become(int(sys.argv[1]), "none")
sys.stdin.readline()
with open(sys.argv[2], "a") as file:
    file.write("first")
with open(sys.argv[2], "a") as file:
    print("opened", flush=True)
    sys.stdin.read()
    file.write(" and last")
"""
)


@as_root
def test_file_that_is_closed_and_opened_again_is_taken_whole(place: Place) -> None:
    # As an FTP server does between two pieces. It was taken when it was closed, and removed beneath its writer.
    argv = [sys.executable, "-I", "-c", PIECES, str(WRITER), str(place.path / "clip.mp4")]
    with (
        place.taker("none", unsure_s="3") as said,
        subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, umask=0o022) as writer,
    ):
        assert writer.stdin
        assert writer.stdout
        with place.written("other.mp4") as other:
            until(lambda: "found other.mp4" in said(), what="the folder is watched")
            close(other)
        writer.stdin.write("begin\n")
        writer.stdin.flush()
        assert writer.stdout.readline() == "opened\n"
        threading.Event().wait(1.0)
        assert not [line for line in said() if line.startswith("taken clip.mp4")]
        close(writer)
        until(lambda: "taken clip.mp4 first and last True" in said(), what="the file is taken")


@as_root
def test_closed_file_rests_no_longer_where_the_kernel_says_so(place: Place) -> None:
    with place.written("clip.mp4") as writer:
        close(writer)
    with place.taker("lease") as said:
        until(lambda: "taken clip.mp4 first and last True" in said(), what="the file is taken", within_s=30.0)


HARDENED = (
    BECOME
    + """
import subprocess
sys.path[:0] = sys.argv[2:]
from agent.process import harden

def effective():
    return next(line.split()[1] for line in open("/proc/self/status") if line.startswith("CapEff"))

become(int(sys.argv[1]), "lease")
print(effective())
harden()
print(effective(), flush=True)
subprocess.run(["grep", "CapEff", "/proc/self/status"], check=True)
"""
)


@as_root
def test_capability_of_the_agent_is_not_one_of_what_it_starts() -> None:
    argv = [sys.executable, "-I", "-c", HARDENED, str(AGENT), str(ROOT), *sys.path]
    ran = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True)
    given, own, _, started = ran.stdout.split()
    assert int(given, 16) == int(own, 16) == 1 << 28
    assert int(started, 16) == 0
