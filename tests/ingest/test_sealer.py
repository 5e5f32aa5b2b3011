"""The sealing process: what it gives back, what it refuses, and what happens when it dies."""

import asyncio
import contextlib
import hashlib
import io
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from agent.age import Identity, generate_identity
from agent.age.filekey import unwrap_header
from agent.age.stream import CHUNK_BYTES, decrypt_stream
from agent.errors import AgentError, ConfigError, LinkError, SpaceError
from agent.keytree import new_group, open_header, unwrap_slot
from agent.model import Kind, new_id
from agent.sealer import Sealed, Sealer, SealJob, SourceChangedError
from agent.sealer.client import PLACES, _Process
from agent.sealer.job import FILES_MAX, Request, encode
from agent.sealer.worker import LONG_BYTES, SHORT_BYTES, seal

Until = Callable[[Callable[[], bool]], Awaitable[None]]

OWNER = generate_identity(post_quantum=False)
OWNER_PQ = generate_identity(post_quantum=True)
GROUP = new_group()
SIZES = (
    0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, SHORT_BYTES, SHORT_BYTES + 1, LONG_BYTES - 1, LONG_BYTES,
    LONG_BYTES + 70_000,
)  # fmt: skip


def job(kind: Kind = "file-key", *, owner: Identity = OWNER, tag_key: bytes = b"t" * 32) -> SealJob:
    return SealJob(
        object_id=new_id(), recipients=(owner.recipient().to_text(),), group=GROUP, kind=kind, tag_key=tag_key
    )  # fmt: skip


def part_file(tmp_path: Path) -> int:
    return os.open(tmp_path / "part", os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)


def memory_file(content: bytes) -> int:
    fd = os.memfd_create("source")
    with open(fd, "wb", closefd=False) as file:
        file.write(content)
    return fd


def opened(asked: SealJob, sealed: Sealed, payload: bytes, *, owner: Identity = OWNER) -> bytes:
    """Open it with the owner's identity, checking every field on the way."""
    slot_key = unwrap_slot(
        GROUP, sealed.slot, object_id=asked.object_id, payload_sha256=sealed.payload_sha256, kind=asked.kind
    )
    header = open_header(slot_key, sealed.sealed_header, object_id=asked.object_id)
    assert hashlib.sha256(header).digest() == sealed.header_sha256
    assert hashlib.sha256(payload).digest() == sealed.payload_sha256
    assert len(payload) == sealed.size_bytes
    file_key = unwrap_header(header, [owner])
    assert (file_key == slot_key) == (asked.kind == "file-key")
    plain = io.BytesIO()
    decrypt_stream(file_key, io.BytesIO(payload), plain)
    assert len(plain.getvalue()) == sealed.plain_bytes
    return plain.getvalue()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["file-key", "header-key"])
def test_any_size_sealed_opens_with_the_owners_key(tmp_path: Path, size: int, kind: Kind) -> None:
    content = os.urandom(size)
    asked, source, part = job(kind), memory_file(content), part_file(tmp_path)
    sealed = seal(asked, source_fd=source, part_fd=part)
    assert opened(asked, sealed, (tmp_path / "part").read_bytes()) == content
    os.close(source)
    os.close(part)


def test_equal_contents_have_equal_tags_and_others_or_other_keys_do_not(tmp_path: Path) -> None:
    part = part_file(tmp_path)

    def tag(content: bytes, *, key: bytes = b"t" * 32) -> bytes:
        source = memory_file(content)
        try:
            return seal(job(tag_key=key), source_fd=source, part_fd=part).content_tag
        finally:
            os.close(source)

    long = os.urandom(SHORT_BYTES + 10)
    assert tag(long) == tag(long)
    tags = {tag(b""), tag(b"\0"), tag(b"\0\0"), tag(b"a"), tag(b"a", key=b"u" * 32), tag(long), tag(long[:-1])}
    assert len(tags) == 7
    os.close(part)


def test_post_quantum_owner_opens_what_the_process_sealed(tmp_path: Path) -> None:
    content = os.urandom(300_000)

    async def run() -> tuple[SealJob, Sealed]:
        asked, source, part = job(owner=OWNER_PQ), memory_file(content), part_file(tmp_path)
        sealer = Sealer()
        try:
            return asked, await sealer.seal(asked, source_fd=source, part_fd=part)
        finally:
            await sealer.aclose()
            os.close(source)
            os.close(part)

    asked, sealed = asyncio.run(run())
    assert opened(asked, sealed, (tmp_path / "part").read_bytes(), owner=OWNER_PQ) == content


def test_process_whose_agent_died_ends_without_a_word(tmp_path: Path) -> None:
    # An agent that is killed leaves answers unread, so the socket resets: each kill left a traceback in the log.
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        process = subprocess.Popen(
            [sys.executable, "-I", "-m", "agent.sealer", str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            stderr=subprocess.PIPE,
        )
        theirs.close()
        source, part = memory_file(b"content"), part_file(tmp_path)
        socket.send_fds(ours, [encode(Request(1, job()))], [source, part])
        os.close(source)
        os.close(part)
        readable, _, _ = select.select([ours], [], [], 60)
        assert readable == [ours]
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, b"")


def test_pipe_is_sealed_to_its_end(tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    readable, writable = os.pipe()

    def write() -> None:
        with os.fdopen(writable, "wb") as pipe:
            pipe.write(content)

    writer = threading.Thread(target=write)
    writer.start()
    asked, part = job(), part_file(tmp_path)
    sealed = seal(asked, source_fd=readable, part_fd=part)
    writer.join()
    assert opened(asked, sealed, (tmp_path / "part").read_bytes()) == content
    os.close(readable)
    os.close(part)


def test_part_file_that_held_something_holds_only_the_payload(tmp_path: Path) -> None:
    part, source = part_file(tmp_path), memory_file(b"short")
    os.write(part, b"left over" * 1000)
    asked = job()
    sealed = seal(asked, source_fd=source, part_fd=part)
    assert opened(asked, sealed, (tmp_path / "part").read_bytes()) == b"short"
    os.close(source)
    os.close(part)


@pytest.mark.parametrize("mode", ["ab", "r+b"])
@pytest.mark.parametrize("size", [100_000, 64 << 20])
def test_file_that_grows_or_changes_while_it_is_read_is_refused(tmp_path: Path, size: int, mode: str) -> None:
    file = tmp_path / "growing"
    file.write_bytes(bytes(size))
    done = threading.Event()

    def write() -> None:
        with file.open(mode, buffering=0) as out:
            while not done.is_set():
                out.seek(0)  # which an appending file does not heed
                out.write(b"more")

    writer = threading.Thread(target=write)
    writer.start()
    source, part = os.open(file, os.O_RDONLY), part_file(tmp_path)

    def seal_often() -> None:
        for _ in range(200):  # a short file is read between two writes now and then
            seal(job(), source_fd=source, part_fd=part)

    try:
        with pytest.raises(SourceChangedError, match="changed while it was read"):
            seal_often()
    finally:
        done.set()
        writer.join()
        os.close(source)
        os.close(part)


def test_file_whose_size_is_not_what_it_holds_is_refused(tmp_path: Path) -> None:
    # /proc files say that they hold nothing: as a file does that was cut while it was read.
    source, part = os.open("/proc/self/maps", os.O_RDONLY), part_file(tmp_path)
    with pytest.raises(LinkError, match="changed"):
        seal(job(), source_fd=source, part_fd=part)
    os.close(source)
    os.close(part)


def test_source_that_cannot_be_read_is_weather(tmp_path: Path) -> None:
    source, part = os.open(tmp_path, os.O_RDONLY), part_file(tmp_path)
    with pytest.raises(LinkError, match="cannot be read"):
        seal(job(), source_fd=source, part_fd=part)
    os.close(source)
    os.close(part)


def ask(asked: SealJob, tmp_path: Path, content: bytes, *, before: Callable[[Sealer], None]) -> Sealed:
    """Seal a little, so that the process runs; then ``before``; then seal ``content``."""

    async def run() -> Sealed:
        first, source, part = memory_file(b"x"), memory_file(content), part_file(tmp_path)
        sealer = Sealer()
        try:
            await sealer.seal(job(), source_fd=first, part_fd=part)
            before(sealer)
            return await sealer.seal(asked, source_fd=source, part_fd=part)
        finally:
            await sealer.aclose()
            for fd in (first, source, part):
                os.close(fd)

    return asyncio.run(run())


def test_full_disk_is_a_space_error(tmp_path: Path) -> None:
    def fill(sealer: Sealer) -> None:
        assert sealer.pid is not None
        resource.prlimit(sealer.pid, resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    with pytest.raises(SpaceError):
        ask(job(), tmp_path, os.urandom(2 << 20), before=fill)
    with pytest.raises(SpaceError):
        ask(job(), tmp_path, os.urandom(LONG_BYTES), before=fill)


def test_process_killed_before_the_job_is_started_again(tmp_path: Path) -> None:
    content, asked = os.urandom(100_000), job()

    def kill(sealer: Sealer) -> None:
        assert sealer.pid is not None
        os.kill(sealer.pid, signal.SIGKILL)

    sealed = ask(asked, tmp_path, content, before=kill)
    assert opened(asked, sealed, (tmp_path / "part").read_bytes()) == content


def test_process_that_says_what_is_no_answer_is_ended_and_the_next_has_the_job(tmp_path: Path) -> None:
    """What it reads from a camera may take it over: its bytes are as little trusted as a stranger's."""
    content, asked = os.urandom(100_000), job()
    ended: list[_Process] = []
    said: list[socket.socket] = []

    def take_over(sealer: Sealer) -> None:
        process = sealer._process
        assert process is not None
        ended.append(process)
        near, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        near.settimeout(0)
        theirs.send(b"\x93\x01\xc0\xa4\xff\xff\xff\xff")
        process._loop.remove_reader(process._channel)
        process._channel = near
        process._loop.add_reader(near, process._hear)
        said.append(theirs)

    sealed = ask(asked, tmp_path, content, before=take_over)
    said[0].close()
    ended[0]._child.channel.close()
    assert opened(asked, sealed, (tmp_path / "part").read_bytes()) == content
    assert ended[0].dead
    assert ended[0].reaped


def test_process_killed_during_the_job_has_it_done_by_the_next(tmp_path: Path) -> None:
    content, asked = os.urandom(2_000_000), job()

    async def run() -> Sealed:
        first, source, part = memory_file(b"x"), memory_file(content), part_file(tmp_path)
        sealer = Sealer()
        try:
            await sealer.seal(job(), source_fd=first, part_fd=part)
            stopped = sealer.pid
            assert stopped is not None
            os.kill(stopped, signal.SIGSTOP)
            os.write(part, b"half of a payload" * 1000)
            async with asyncio.TaskGroup() as tasks:
                task = tasks.create_task(sealer.seal(asked, source_fd=source, part_fd=part))
                await asyncio.to_thread(lambda: None)  # the job is sent
                assert not task.done()
                os.kill(stopped, signal.SIGKILL)
            assert sealer.started == 2
            return task.result()
        finally:
            await sealer.aclose()
            for fd in (first, source, part):
                os.close(fd)

    sealed = asyncio.run(run())
    assert opened(asked, sealed, (tmp_path / "part").read_bytes()) == content


def test_process_killed_twice_fails_the_job_as_weather(tmp_path: Path, until: Until) -> None:
    async def run() -> None:
        source, part = os.open(tmp_path / "large", os.O_RDWR | os.O_CREAT), part_file(tmp_path)
        os.ftruncate(source, 8 << 30)  # sparse: takes seconds to seal, and no room
        sealer = Sealer()
        killed: set[int] = set()

        def kill_each() -> bool:
            pid = sealer.pid
            if pid is not None and pid not in killed:
                killed.add(pid)
                os.kill(pid, signal.SIGKILL)
            return len(killed) == 2

        try:
            async with asyncio.TaskGroup() as tasks:
                task = tasks.create_task(_failure(sealer.seal(job(), source_fd=source, part_fd=part)))
                await until(kill_each)
            assert isinstance(task.result(), LinkError)
            assert "died" in str(task.result())
        finally:
            await sealer.aclose()
            os.close(source)
            os.close(part)

    asyncio.run(run())


async def _failure(sealing: Awaitable[Sealed]) -> AgentError | None:
    try:
        await sealing
    except AgentError as error:
        return error
    return None


def test_pipe_of_a_killed_process_is_not_read_again(tmp_path: Path, until: Until) -> None:
    async def run() -> None:
        readable, writable = os.pipe()
        part = part_file(tmp_path)
        sealer = Sealer()
        try:
            async with asyncio.TaskGroup() as tasks:
                task = tasks.create_task(_failure(sealer.seal(job(), source_fd=readable, part_fd=part)))
                await until(lambda: sealer.pid is not None)
                assert sealer.pid is not None
                os.kill(sealer.pid, signal.SIGKILL)
            assert isinstance(task.result(), LinkError)
            assert sealer.started == 1
        finally:
            await sealer.aclose()
            for fd in (readable, writable, part):
                os.close(fd)

    asyncio.run(run())


def test_job_beyond_its_limit_costs_the_process_its_life(tmp_path: Path) -> None:
    async def run() -> None:
        readable, writable = os.pipe()
        part = part_file(tmp_path)
        sealer = Sealer(job_limit_s=0.2)
        try:
            with pytest.raises(LinkError, match="took longer"):
                await sealer.seal(job(), source_fd=readable, part_fd=part)
        finally:
            await sealer.aclose()
            for fd in (readable, writable, part):
                os.close(fd)

    asyncio.run(run())


def test_jobs_that_stand_still_give_their_places_to_others(tmp_path: Path, until: Until) -> None:
    # Sources on a network that does not answer held all places for a quarter of an hour.
    async def run() -> None:
        pipes = [os.pipe() for _ in range(FILES_MAX - 1)]
        parts = [os.open(tmp_path / f"part{number}", os.O_RDWR | os.O_CREAT, 0o600) for number in range(FILES_MAX)]
        source = memory_file(b"content")
        sealer = Sealer(still_s=0.05)
        try:
            async with asyncio.TaskGroup() as tasks:
                still = [
                    tasks.create_task(sealer.seal(job(), source_fd=readable, part_fd=part))
                    for (readable, _), part in zip(pipes, parts, strict=False)
                ]
                await until(lambda: sealer._process is not None and len(sealer._process._waiting) >= PLACES)
                async with asyncio.timeout(60):
                    sealed = await sealer.seal(job(), source_fd=source, part_fd=parts[-1])
                assert sealed.plain_bytes == 7
                assert not any(task.done() for task in still)
                for _, writable in pipes:
                    os.close(writable)  # the network is back
            assert {task.result().plain_bytes for task in still} == {0}
            assert sealer.started == 1
        finally:
            await sealer.aclose()
            for fd in (source, *parts, *(readable for readable, _ in pipes)):
                os.close(fd)

    asyncio.run(run())


def test_idle_process_ends_and_the_next_job_starts_another(tmp_path: Path, until: Until) -> None:
    async def run() -> None:
        source, part = memory_file(b"x"), part_file(tmp_path)
        sealer = Sealer(idle_s=0.05)
        try:
            await sealer.seal(job(), source_fd=source, part_fd=part)
            pid = sealer.pid
            assert pid is not None
            await until(lambda: sealer.pid is None and not Path(f"/proc/{pid}").exists())
            await sealer.seal(job(), source_fd=source, part_fd=part)
            assert sealer.started == 2
        finally:
            await sealer.aclose()
            os.close(source)
            os.close(part)

    asyncio.run(run())


def test_process_without_its_agent_ends(tmp_path: Path, until: Until) -> None:
    # Sealing from a pipe that never ends, then killed as by the kernel.
    script = """
import asyncio, os, sys
from agent.keytree import new_group
from agent.sealer import Sealer, SealJob
async def main():
    readable, writable = os.pipe()
    sealer = Sealer()
    job = SealJob(object_id="a" * 26, recipients=(sys.argv[2],), group=new_group(), kind="file-key", tag_key=b"k" * 32)
    part = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(sealer.seal(job, source_fd=readable, part_fd=part))
        tasks.create_task(say(sealer))
async def say(sealer):
    print(sealer.pid, flush=True)
asyncio.run(main())
"""
    arguments = [sys.executable, "-c", script, str(tmp_path / "part"), OWNER.recipient().to_text()]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as agent:
        assert agent.stdout is not None
        pid = int(agent.stdout.readline())
        agent.kill()
    asyncio.run(_gone(pid, until))


async def _gone(pid: int, until: Until) -> None:
    def ended() -> bool:
        with contextlib.suppress(FileNotFoundError):
            return ") Z " in Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
        return True

    await until(ended)


def test_recipients_that_cannot_be_used_are_a_config_error(tmp_path: Path) -> None:
    wrong = SealJob(object_id=new_id(), recipients=("age1wrong",), group=GROUP, kind="file-key", tag_key=b"t" * 32)
    with pytest.raises(ConfigError):
        ask(wrong, tmp_path, b"x", before=lambda _sealer: None)
    many = SealJob(
        object_id=new_id(),
        recipients=(OWNER_PQ.recipient().to_text(),) * 60,
        group=GROUP,
        kind="file-key",
        tag_key=b"t" * 32,
    )
    with pytest.raises(ConfigError, match="too many"):
        ask(many, tmp_path, b"x", before=lambda _sealer: None)


def test_nothing_prints_a_key() -> None:
    assert GROUP.key.hex() not in repr(job())
    assert "tttt" not in repr(job())


def test_process_leaves_no_core_and_cannot_be_read() -> None:
    script = """
import ctypes, resource
from agent.sealer.__main__ import harden
harden()
print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
"""
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert said == "(0, 0) 0\n"


@pytest.mark.usefixtures("unmeasured")
def test_process_stays_within_its_memory(tmp_path: Path) -> None:
    async def run() -> int:
        sources = [memory_file(os.urandom(24 << 20)) for _ in range(4)]
        parts = [os.open(tmp_path / str(n), os.O_RDWR | os.O_CREAT, 0o600) for n in range(4)]
        sealer = Sealer()
        try:
            async with asyncio.TaskGroup() as tasks:
                for source, part in zip(sources, parts, strict=True):
                    tasks.create_task(sealer.seal(job(owner=OWNER_PQ), source_fd=source, part_fd=part))
            return _peak_kib(sealer.pid)
        finally:
            await sealer.aclose()
            for fd in sources + parts:
                os.close(fd)

    assert asyncio.run(run()) <= 36 * 1024


def _peak_kib(pid: int | None) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0])
