"""The local socket: who may ask, what a hostile or clumsy caller gets, and that nobody keeps the others waiting."""

import asyncio
import contextlib
import json
import logging
import os
import select
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent import control
from agent.control import (
    ANSWER_BYTES,
    CALLERS,
    CONNECTIONS,
    REQUEST_BYTES,
    ControlServer,
    Peer,
    Progress,
    Verb,
    ask,
    raise_error,
)
from agent.errors import AgentError, ConfigError, CorruptError, LinkError, RefusedError, Retry, SpaceError, told_of
from agent.sources.candidate import IncompleteError

LIMIT_S = 30
ROOT = Path(__file__).parents[2]
GROUPS_MAX = 1024 // 4  # in the answer that Python's getsockopt takes
T = TypeVar("T")

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control.sock"


def run(work: Coroutine[Any, Any, T]) -> T:
    async def within() -> T:
        async with asyncio.timeout(LIMIT_S):
            return await work

    return asyncio.run(within())


async def echo(args: dict[str, Any], _progress: Progress) -> dict[str, Any]:
    return args


@contextlib.asynccontextmanager
async def serving(
    path: Path, verbs: Mapping[str, Verb], *, peer_of: Callable[[socket.socket], Peer] = Peer.of
) -> AsyncIterator[None]:
    ready = asyncio.Event()
    server = ControlServer(path, {"echo": echo, **verbs}, peer_of=peer_of)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(server.serve(ready.set), name="control")
        await ready.wait()
        try:
            yield
        finally:
            task.cancel()


def nothing(_step: dict[str, Any]) -> None:
    """Progress that nobody looks at."""


async def answers(path: Path, raw: bytes) -> list[dict[str, Any]]:
    """Say raw bytes as any program could, and return the lines that come until the end of the connection."""
    reader, writer = await asyncio.open_unix_connection(str(path), limit=ANSWER_BYTES)
    writer.write(raw)
    with contextlib.suppress(ConnectionError):
        writer.write_eof()
    got = b""
    with contextlib.suppress(ConnectionError):  # a caller that was not listened to the end
        while piece := await reader.read(1 << 16):
            got += piece
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return [json.loads(line) for line in got.splitlines()]


def question(verb: str, **args: object) -> bytes:
    return json.dumps({"verb": verb, "args": args}).encode() + b"\n"


async def silent(path: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_unix_connection(str(path))


# --- questions and answers


def test_agent_that_says_nothing_is_waited_for_so_long_and_no_longer(path: Path) -> None:
    async def main() -> None:
        never = asyncio.Event()

        async def wait(_args: dict[str, Any], _progress: Progress) -> str:
            await never.wait()
            return "never"

        async with serving(path, {"wait": wait}):
            with pytest.raises(control.SilentError, match="does not answer"):
                await ask(path, "wait", {}, progress=nothing, within_s=0.2)
            never.set()

    run(main())


def test_question_that_told_of_progress_takes_its_time(path: Path) -> None:
    async def main() -> str:
        late = asyncio.Event()

        async def work(_args: dict[str, Any], progress: Progress) -> str:
            progress({"done": 1})
            asyncio.get_running_loop().call_later(1.0, late.set)
            await late.wait()
            return "done"

        async with serving(path, {"work": work}):
            return str(await ask(path, "work", {}, progress=nothing, within_s=0.5))

    assert run(main()) == "done"


def test_question_is_answered_and_its_progress_told_in_front(path: Path) -> None:
    async def count(_args: dict[str, Any], progress: Progress) -> str:
        for done in range(3):
            progress({"done": done})
        await asyncio.to_thread(progress, {"done": 3})
        progress({"done": 4})
        return "counted"

    async def act() -> None:
        steps: list[dict[str, Any]] = []
        async with serving(path, {"count": count}):
            assert await ask(path, "count", {}, progress=steps.append) == "counted"
            assert await ask(path, "echo", {"camera": "Küche \ud800"}, progress=nothing) == {"camera": "Küche \ud800"}
        assert [step["done"] for step in steps] == [0, 1, 2, 3, 4]

    run(act())


def test_progress_told_by_a_worker_thread_spoils_no_answer(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An export is built in a thread; each step that it told was written into the loop's own buffer."""
    monkeypatch.setattr(control, "PROGRESS_BYTES", 1 << 30)

    async def build(_args: dict[str, Any], progress: Progress) -> str:
        def work() -> None:
            for done in range(3000):
                progress({"done": done, "of": "x" * 2000})

        await asyncio.to_thread(work)
        return "built"

    async def act() -> list[int]:
        steps: list[int] = []
        async with serving(path, {"build": build}):
            assert await ask(path, "build", {}, progress=lambda step: steps.append(step["done"])) == "built"
        return steps

    assert run(act()) == list(range(3000))


def test_steps_that_a_caller_does_not_take_are_left_out_and_the_result_is_not(path: Path) -> None:
    async def build(_args: dict[str, Any], progress: Progress) -> str:
        for done in range(5000):
            progress({"done": done, "of": "x" * 1000})
        return "built"

    async def act() -> list[dict[str, Any]]:
        async with serving(path, {"build": build}):
            return await answers(path, question("build"))

    *steps, result = run(act())
    assert result == {"result": "built"}
    assert len(steps) < 5000


@pytest.mark.parametrize("kind", [ConfigError, CorruptError, LinkError, SpaceError])
def test_error_of_a_verb_is_raised_again_on_the_other_side(path: Path, kind: type[AgentError]) -> None:
    async def fail(_args: dict[str, Any], _progress: Progress) -> None:
        raise kind("what is wrong", hint="what to do")

    async def act() -> None:
        async with serving(path, {"fail": fail}):
            with pytest.raises(AgentError) as caught:
                await ask(path, "fail", {}, progress=nothing)
        assert (type(caught.value), caught.value.message, caught.value.hint) == (kind, "what is wrong", "what to do")

    run(act())


@given(
    st.text(), st.text(), st.text(min_size=1), st.sampled_from(["never", "later", "after_fix"])
)  # fmt: skip
def test_refusal_comes_back_with_its_reason_and_whether_to_try_again(
    message: str, hint: str, reason: str, retry: Retry
) -> None:
    told = json.loads(json.dumps(told_of(RefusedError(message, reason=reason, retry=retry, hint=hint))))
    with pytest.raises(RefusedError) as caught:
        raise_error(told)
    refused = caught.value
    assert (refused.message, refused.hint, refused.reason, refused.retry) == (message, hint, reason, retry)


def test_finer_error_comes_back_as_its_kind() -> None:
    with pytest.raises(LinkError, match="vanished"):
        raise_error(told_of(IncompleteError("the file vanished")))


@given(st.dictionaries(st.sampled_from(["kind", "message", "hint", "reason", "retry"]), st.text()))
def test_whatever_an_answer_says_is_wrong_is_raised_as_one_of_ours(told: dict[str, str]) -> None:
    with pytest.raises(AgentError):
        raise_error(told)


def test_fault_in_a_verb_is_logged_and_its_words_are_not_told(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def broken(_args: dict[str, Any], _progress: Progress) -> None:
        raise KeyError("front door")

    async def no_json(_args: dict[str, Any], _progress: Progress) -> object:
        return object()

    async def act() -> None:
        async with serving(path, {"broken": broken, "no-json": no_json}):
            for verb in ("broken", "no-json"):
                (told,) = await answers(path, question(verb))
                assert told["error"]["kind"] == "CorruptError"
                assert told["error"]["hint"]
                assert "front door" not in str(told)
            assert await ask(path, "echo", {}, progress=nothing) == {}

    with caplog.at_level(logging.ERROR):
        run(act())
    assert len([record for record in caplog.records if record.exc_info]) == 2


# --- callers that are hostile, clumsy, slow or gone

THINGS = (
    st.binary(max_size=200)
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.builds(
        lambda verb, args: json.dumps({"verb": verb, "args": args}).encode(),
        JSON | st.just("echo"),
        JSON | st.dictionaries(st.text(), JSON),
    )
)


@settings(deadline=None)
@given(st.lists(THINGS, max_size=20))
@example(
    [b"[]", b"null", b"7", b'"echo"', b"\xff", b'{"verb":["echo"]}', b'{"verb":"echo","args":[]}', b"", b"[" * 9999]
)
def test_anything_that_is_said_gets_one_answer(tmp_path_factory: pytest.TempPathFactory, things: list[bytes]) -> None:
    path = tmp_path_factory.mktemp("control") / "s"

    async def act() -> None:
        async with serving(path, {}):
            for thing in things:
                (told,) = await answers(path, thing.replace(b"\n", b" ") + b"\n")
                if not isinstance(told.get("result"), dict):
                    assert (told["error"]["kind"], bool(told["error"]["hint"])) == ("ConfigError", True)
            assert await ask(path, "echo", {"still": "here"}, progress=nothing) == {"still": "here"}

    run(act())


def test_unknown_verb_is_told_and_not_logged_as_a_fault(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def act() -> None:
        async with serving(path, {}):
            with pytest.raises(ConfigError, match="next: "):
                await ask(path, "format-disk", {}, progress=nothing)

    run(act())
    assert not caplog.records


def test_question_that_is_too_long_is_told_so_and_others_are_served(path: Path) -> None:
    async def act() -> None:
        async with serving(path, {}):
            (told,) = await answers(path, question("echo", x="y" * REQUEST_BYTES))
            assert str(REQUEST_BYTES) in told["error"]["message"]
            longest = "y" * (REQUEST_BYTES - len(question("echo", x="")))
            assert await ask(path, "echo", {"x": longest}, progress=nothing) == {"x": longest}
            with pytest.raises(ConfigError, match=str(REQUEST_BYTES)):
                await ask(path, "echo", {"x": longest + "y"}, progress=nothing)

    run(act())


def test_answer_that_is_taken_in_more_than_one_go_leaves_no_fault_in_the_log(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def long(_args: dict[str, Any], _progress: Progress) -> dict[str, Any]:
        return {"long": "x" * (ANSWER_BYTES // 2)}

    async def work() -> dict[str, Any]:
        async with serving(path, {"long": long}):
            answer: dict[str, Any] = await ask(path, "long", {}, progress=nothing)
            return answer

    assert len(run(work())["long"]) == ANSWER_BYTES // 2
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_answer_that_is_too_long_is_told_so(path: Path) -> None:
    async def much(args: dict[str, Any], _progress: Progress) -> str:
        return "y" * int(args["size"])

    async def act() -> None:
        longest = ANSWER_BYTES - len(b'{"result": ""}\n')
        async with serving(path, {"much": much}):
            assert len(await ask(path, "much", {"size": longest}, progress=nothing)) == longest
            with pytest.raises(ConfigError, match="ask for less"):
                await ask(path, "much", {"size": longest + 1}, progress=nothing)

    run(act())


def test_caller_who_says_nothing_is_told_and_keeps_nobody_waiting(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def act() -> None:
        async with serving(path, {}):
            quiet = [await silent(path) for _ in range(CALLERS + 1)]
            assert await ask(path, "echo", {}, progress=nothing) == {}
            for _, writer in quiet:
                writer.close()
            monkeypatch.setattr(control, "REQUEST_WITHIN_S", 0.01)
            reader, writer = await silent(path)
            assert json.loads(await reader.read())["error"]["kind"] == "ConfigError"
            writer.close()

    run(act())


def test_callers_who_take_no_answer_keep_nobody_waiting_and_are_dropped(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 1 << 20

    async def much(_args: dict[str, Any], _progress: Progress) -> str:
        return "y" * size

    async def act() -> None:
        async with serving(path, {"much": much}):
            deaf = []
            for _ in range(CALLERS + 1):
                connected = socket.socket(socket.AF_UNIX)
                connected.connect(str(path))
                connected.sendall(question("much"))
                deaf.append(connected)
            assert await ask(path, "echo", {}, progress=nothing) == {}
            for connected in deaf:
                connected.close()
            monkeypatch.setattr(control, "ANSWER_WITHIN_S", 0.01)
            with socket.socket(socket.AF_UNIX) as connected:
                connected.connect(str(path))
                connected.sendall(question("much"))
                assert await asyncio.to_thread(connected.recv, 1)
                assert await asyncio.to_thread(hung_up, connected)
                assert len(rest(connected)) < size

    run(act())


def hung_up(connected: socket.socket) -> bool:
    """Wait until the other side has closed, taking nothing of what it said."""
    waiting = select.poll()
    waiting.register(connected, select.POLLHUP)
    return bool(waiting.poll(LIMIT_S * 1000))


def rest(connected: socket.socket) -> bytes:
    got = b""
    while piece := connected.recv(1 << 16):
        got += piece
    return got


def test_more_questions_than_are_answered_at_once_wait_their_turn(path: Path) -> None:
    async def act() -> None:
        most = now = 0
        full, go = asyncio.Event(), asyncio.Event()

        async def work(_args: dict[str, Any], _progress: Progress) -> bool:
            nonlocal most, now
            now += 1
            most = max(most, now)
            if now == CALLERS:
                full.set()
            await go.wait()
            now -= 1
            return True

        async with serving(path, {"work": work}):
            asked = [asyncio.ensure_future(ask(path, "work", {}, progress=nothing)) for _ in range(CALLERS + 10)]
            await full.wait()
            for _ in range(200):  # the others have come and said what they want
                await asyncio.sleep(0)
            go.set()
            assert all(await asyncio.gather(*asked))
        assert most == CALLERS

    run(act())


def test_more_callers_than_are_kept_are_told_to_come_again(path: Path) -> None:
    async def act() -> None:
        async with serving(path, {}):
            quiet = [await silent(path) for _ in range(CONNECTIONS)]
            with pytest.raises(LinkError, match="ask again"):
                await ask(path, "echo", {}, progress=nothing)
            for _, writer in quiet:
                writer.close()
                await writer.wait_closed()
            async with asyncio.timeout(LIMIT_S):
                while not await served(path):
                    continue

    run(act())


async def served(path: Path) -> bool:
    try:
        await ask(path, "echo", {}, progress=nothing)
    except LinkError:
        return False
    return True


def test_caller_who_leaves_in_the_middle_stops_neither_the_work_nor_the_agent(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def act() -> None:
        left, done = asyncio.Event(), asyncio.Event()

        async def work(_args: dict[str, Any], progress: Progress) -> str:
            await left.wait()
            progress({"done": 1})
            done.set()
            return "x" * (1 << 20)

        async with serving(path, {"work": work}):
            _, writer = await silent(path)
            writer.write(question("work"))
            await writer.drain()
            writer.transport.abort()
            left.set()
            await done.wait()
            assert await ask(path, "echo", {}, progress=nothing) == {}

    run(act())
    assert not caplog.records


# --- an agent that is away, or dies


def test_caller_who_waits_while_the_agent_stops_is_no_fault_in_the_log(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def stop() -> None:
        begun = asyncio.Event()

        async def for_ever(_args: dict[str, Any], _progress: Progress) -> dict[str, Any]:
            begun.set()
            await asyncio.Event().wait()
            return {}

        async with serving(path, {"for_ever": for_ever}):
            _reader, writer = await silent(path)
            writer.write(question("for_ever"))
            await begun.wait()
            writer.close()
            await writer.wait_closed()

    run(stop())
    assert [record.message for record in caplog.records] == []


def test_no_agent_and_a_socket_left_by_a_dead_one_are_told_alike(path: Path) -> None:
    with pytest.raises(LinkError, match=f"no agent answers at {path}"):
        run(ask(path, "echo", {}, progress=nothing))
    leave_stale(path)
    with pytest.raises(LinkError, match=f"no agent answers at {path}"):
        run(ask(path, "echo", {}, progress=nothing))


@pytest.mark.parametrize("said", [b"", b'{"progress": {}}\n', b'{"result": {"id": "abc'])
@pytest.mark.parametrize("abrupt", [False, True])
def test_agent_that_dies_before_it_answered_is_told_as_that(path: Path, said: bytes, *, abrupt: bool) -> None:
    async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not abrupt:  # else the question is left unread, which the kernel tells as a reset
            await reader.readline()
        writer.write(said)
        writer.close()

    async def act() -> None:
        async with await asyncio.start_unix_server(die, str(path)):
            with pytest.raises(LinkError, match="stopped before it answered"):
                await ask(path, "echo", {"x": "y" * 1000}, progress=nothing)

    run(act())


# --- the socket


def leave_stale(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))


def test_socket_of_a_dead_agent_is_replaced_and_ours_goes_with_us(path: Path) -> None:
    leave_stale(path)
    modes: list[int] = []

    async def act() -> None:
        async with serving(path, {}):
            modes.append(stat.S_IMODE(os.stat(path).st_mode))  # noqa: PTH116 - a look that blocks nobody
            assert await ask(path, "echo", {}, progress=nothing) == {}

    run(act())
    assert modes == [0o660]
    assert not path.exists()


def test_second_agent_leaves_the_socket_of_one_that_answers(path: Path) -> None:
    """It took the first one's place: the shell commands of the one agent were answered by the other."""

    async def act() -> None:
        async with serving(path, {}):
            with pytest.raises(ConfigError, match="another agent answers there"):
                await ControlServer(path, {}).serve(lambda: None)
            assert await ask(path, "echo", {"still": "here"}, progress=nothing) == {"still": "here"}

    run(act())


def test_second_agent_leaves_the_socket_of_one_that_is_too_busy_to_answer(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as busy, contextlib.ExitStack() as callers:
        busy.bind(str(path))
        busy.listen(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                caller = callers.enter_context(socket.socket(socket.AF_UNIX))
                caller.settimeout(0)
                caller.connect(str(path))
        before = path.lstat().st_ino
        with pytest.raises(ConfigError, match="another agent answers there"):
            run(ControlServer(path, {}).serve(lambda: None))
        assert path.lstat().st_ino == before


def test_folder_with_too_long_a_name_is_told_with_the_fix(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 110) / "control.sock"
    long.parent.mkdir()
    before = os.umask(0o022)
    try:
        with pytest.raises(ConfigError, match="path too long\n  next: name a shorter path"):
            run(ControlServer(long, {}).serve(lambda: None))
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)


# --- who may ask


@pytest.mark.parametrize("count", [0, 1, 40, 300])
def test_kernel_tells_who_is_at_the_other_end_with_all_its_groups(count: int) -> None:
    """Every shell command was dropped once, because more was asked for than Python hands out."""
    program = (
        "import json, os, socket\n"
        "from agent.control import Peer\n"
        "peer = Peer.of(socket.socketpair(socket.AF_UNIX)[0])\n"
        "print(json.dumps([peer.uid, sorted(peer.groups), os.geteuid(), os.getegid(), os.getgroups()]))\n"
    )
    more = list(range(70_000, 70_000 + count)) if os.geteuid() == 0 else None  # only root may be in any group
    ran = subprocess.run(
        [sys.executable, "-c", program], extra_groups=more, cwd=ROOT, capture_output=True, text=True, check=True
    )
    uid, groups, own_uid, own_gid, own_groups = json.loads(ran.stdout)
    assert uid == own_uid == os.geteuid()
    assert more is None or own_groups == more
    told = own_groups if len(own_groups) <= GROUPS_MAX else []  # who is in more counts by its first group alone
    assert groups == sorted({own_gid, *told})


IDS = st.integers(min_value=0, max_value=2**32 - 2)


@given(IDS, IDS, st.frozensets(IDS, max_size=5), IDS)
def test_root_the_own_user_and_the_sockets_group_may_ask_and_nobody_else(
    uid: int, own_uid: int, groups: frozenset[int], gid: int
) -> None:
    assert Peer(0, groups).may_ask(own_uid=own_uid, socket_gid=gid)
    assert Peer(own_uid, groups).may_ask(own_uid=own_uid, socket_gid=gid)
    assert Peer(uid, groups | {gid}).may_ask(own_uid=own_uid, socket_gid=gid)
    stranger = Peer(uid, groups - {gid})
    assert stranger.may_ask(own_uid=own_uid, socket_gid=gid) == (uid in {0, own_uid})


CALLER = """
import os, socket, sys
path, uid, *groups = sys.argv[1:]
os.setgroups([int(group) for group in groups])
os.setgid(int(uid))
os.setuid(int(uid))
with socket.socket(socket.AF_UNIX) as asking:
    try:
        asking.connect(path)
        asking.sendall(b'{"verb": "echo", "args": {"who": "me"}}\\n')
        print(asking.makefile().readline().strip())
    except PermissionError:
        print("permission denied")
"""


def test_member_of_the_group_is_answered_in_a_folder_that_the_agent_makes_and_others_never_get_there() -> None:
    """In the state folder, which is nobody else's, no member of the group could ever reach the socket."""

    async def say(path: Path, uid: int, *groups: int) -> str:
        argv = [sys.executable, "-I", "-c", CALLER, str(path), *(str(number) for number in (uid, *groups))]
        asked = await asyncio.create_subprocess_exec(*argv, stdout=subprocess.PIPE)
        said, _ = await asked.communicate()
        return said.decode().strip()

    async def act(path: Path) -> None:
        async with serving(path, {}):
            modes = [stat.S_IMODE(os.stat(one).st_mode) for one in (path.parent, path)]  # noqa: PTH116 - blocks nobody
            assert modes == [0o750, 0o660]
            assert {os.stat(one).st_gid for one in (path.parent, path)} == {os.getegid()}  # noqa: PTH116 - the same
            if os.geteuid() == 0:  # only root may be somebody else
                assert json.loads(await say(path, 70_001, os.getegid())) == {"result": {"who": "me"}}
                assert await say(path, 70_002) == "permission denied"

    with tempfile.TemporaryDirectory() as parent:
        Path(parent).chmod(0o755)  # as /run is
        before = os.umask(0o077)  # as the unit sets it
        try:
            run(act(Path(parent) / "privacy-agent" / "control.sock"))
        finally:
            os.umask(before)


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o1777])
def test_socket_is_not_put_where_others_could_answer_in_its_place(path: Path, mode: int) -> None:
    path.parent.chmod(mode)
    with pytest.raises(ConfigError, match="another user could answer"):
        run(ControlServer(path, {}).serve(lambda: None))
    assert not path.exists()


def test_socket_is_not_put_into_somebody_elses_folder(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = path.parent.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: mine + 70_001)  # as another user sees it
    if mine == 0:
        os.chown(path.parent, 70_002, -1)
    with pytest.raises(ConfigError, match="another user could answer"):
        run(ControlServer(path, {}).serve(lambda: None))


def test_file_that_is_no_socket_is_left_alone(path: Path) -> None:
    path.write_bytes(b"mine")
    with pytest.raises(ConfigError, match="something is there that is no socket"):
        run(ControlServer(path, {}).serve(lambda: None))
    assert path.read_bytes() == b"mine"


def test_stranger_is_refused_whatever_it_asks(path: Path) -> None:
    called: list[dict[str, Any]] = []

    async def note(args: dict[str, Any], _progress: Progress) -> None:
        called.append(args)

    def stranger(_socket: socket.socket) -> Peer:
        return Peer(os.getuid() + 1, frozenset())

    async def act() -> None:
        async with serving(path, {"note": note}, peer_of=stranger):
            reader, writer = await silent(path)
            writer.write(question("note"))
            told = json.loads(await reader.readline())["error"]
            assert (told["kind"], told["reason"]) == ("RefusedError", "not_granted")
            writer.close()

    run(act())
    assert not called
