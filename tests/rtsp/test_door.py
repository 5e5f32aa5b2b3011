"""Credentials go to whom they are for, as a digest; what answers in a camera's place gets none."""

import asyncio
import base64
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.clock import monotonic_s
from agent.errors import AgentError, ConfigError, CorruptError, LinkError, RefusedError
from agent.rtsp import StreamSettings, Watch
from agent.rtsp import relay as relay_module
from agent.rtsp.relay import Relay, connect
from agent.rtsp.settings import read_address
from tests.discovery.without import refuse_bind
from tests.disk import as_root
from tests.rtsp.film import shoot
from tests.rtsp.line import Line, certificate, passing
from tests.rtsp.studio import PASSWORD, USER, Device, Server
from tests.waiting import until

pytestmark = pytest.mark.promise("FIND-AUTH")

LONG_S = 600.0
STRANGER = """
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as line:
    try:
        line.sendall(sys.stdin.buffer.read())
        sys.stdout.buffer.write(line.recv(65536))
    except ConnectionError:
        pass
"""

BASIC = base64.b64encode(f"{USER}:{PASSWORD}".encode())


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("film") / "film.mp4"
    shoot(file, pictures=300)
    return file


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    with Device(tmp_path) as made:
        yield made


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    file = tmp_path / "credentials"
    file.touch(mode=0o600)
    file.write_text(f"{USER}\n{PASSWORD}\n", encoding="utf-8")
    return file


def watched(url: str, **about: Any) -> tuple[int, AgentError | None]:  # noqa: ANN401 - settings
    """Read a camera through the real process until two segments came, or until it ends; return how many, and why."""

    async def read() -> tuple[int, AgentError | None]:
        count = 0
        async with Watch(StreamSettings(name="door", url=url, camera="door", segment_s=1.0, **about)) as watch:
            try:
                async for segment in watch.segments():
                    await asyncio.to_thread(_drain, segment.fd)
                    segment.close()
                    count += 1
                    if count == 2:
                        return count, None
            except AgentError as error:
                return count, error
        raise AssertionError("it ends with an error, or not at all")

    return asyncio.run(read())


def _drain(fd: int) -> None:
    while os.read(fd, 65_536):
        pass


def refused(url: str, **about: Any) -> AgentError:  # noqa: ANN401 - settings
    """Return why a camera is not read."""
    count, error = watched(url, **about)
    assert count == 0
    assert error is not None
    assert "127.0.0.1" not in str(error)
    assert PASSWORD not in str(error)
    return error


# -- a closed service


def test_service_that_may_bind_nothing_is_told_what_to_allow(film: Path) -> None:
    with Server(film) as server, ThreadPoolExecutor(1, initializer=refuse_bind) as closed:
        error = closed.submit(refused, server.url).result()
    assert isinstance(error, ConfigError)
    assert "SocketBindAllow=ipv4:tcp" in error.hint


# -- credentials


@as_root  # nobody else may look into a process that is hardened, not even its own user
def test_digest_opens_the_camera_and_the_password_is_nowhere_to_be_seen(film: Path, device: Device) -> None:
    with Server(film, auth="digest") as server, Line(passing(server.port)) as line:
        device.watch(f"rtsp://127.0.0.1:{line.port}/main", device.credentials())
        device.start()
        device.wait_for(2)
        (reader,) = device.readers()
        seen = [*reader.cmdline(), *(f"{key}={value}" for key, value in reader.environ().items())]
        assert not [word for word in seen if PASSWORD in word or "rtsp://" in word]
        device.stop()
    assert PASSWORD not in device.log()
    assert "rtsp://" not in device.log()


def test_wrong_password_is_told_and_not_tried_again_at_once(film: Path, device: Device) -> None:
    with Server(film, auth="digest") as server, Line(passing(server.port)) as line:
        device.watch(f"rtsp://127.0.0.1:{line.port}/main", device.credentials("another"))
        device.start()
        until(lambda: "the camera refuses the user or the password" in device.log(), what="the word of it")
        until(lambda: not device.readers(), what="the end of the reader")
        assert line.talks == 1
        assert device.held() == []
        assert "another" not in device.log()


def test_camera_that_wants_the_password_in_clear_is_refused_and_told_what_to_do(film: Path, credentials: Path) -> None:
    with Server(film, auth="basic") as server:
        seen = bytearray()

        def talk(caller: socket.socket) -> None:
            with socket.create_connection(("127.0.0.1", server.port)) as camera:
                while data := caller.recv(65_536):
                    seen.extend(data)
                    camera.sendall(data)
                    caller.sendall(camera.recv(65_536))

        with Line(talk) as line:
            error = refused(f"rtsp://127.0.0.1:{line.port}/main", credentials=credentials)
    assert isinstance(error, ConfigError)
    assert "digest" in error.hint
    assert b"DESCRIBE" in seen
    assert BASIC not in seen
    assert b"Authorization" not in seen


def test_demand_without_credentials_is_told(film: Path) -> None:
    with Server(film, auth="digest") as server:
        error = refused(server.url)
    assert isinstance(error, ConfigError)
    assert "credentials = " in error.hint


def test_file_of_credentials_that_others_may_read_is_refused(film: Path, credentials: Path) -> None:
    credentials.chmod(0o640)
    with Server(film, auth="digest") as server, pytest.raises(ConfigError, match="others may read") as refusal:
        watched(server.url, credentials=credentials)
    assert refusal.value.hint == f"chmod 600 {credentials}"


@pytest.mark.parametrize("text", ["", "ada", "ada\nsecret\nmore\n", "a:b\nsecret\n", "ada\n\n", "\xff\n\x00\n"])
def test_file_of_credentials_that_is_not_two_lines_is_refused_and_not_repeated(
    film: Path, credentials: Path, text: str
) -> None:
    credentials.write_bytes(text.encode("latin-1"))
    with Server(film, auth="digest") as server:
        error = refused(server.url, credentials=credentials)
    assert isinstance(error, ConfigError)
    assert "two lines" in error.message
    assert "secret" not in str(error)


# -- TLS


@pytest.mark.parametrize("auth", ["digest", "basic"])
def test_pinned_certificate_opens_the_line(film: Path, tmp_path: Path, credentials: Path, auth: str) -> None:
    tls, pin = certificate(tmp_path)
    with Server(film, auth=auth) as server, Line(passing(server.port), tls=tls) as line:
        count, error = watched(
            f"rtsps://127.0.0.1:{line.port}/main", credentials=credentials, certificate_sha256=bytes.fromhex(pin)
        )
    assert error is None
    assert count == 2


def test_another_certificate_is_refused_before_a_byte_is_sent(tmp_path: Path, credentials: Path) -> None:
    tls, pin = certificate(tmp_path)
    heard = bytearray()

    def talk(caller: socket.socket) -> None:
        heard.extend(caller.recv(65_536))

    with Line(talk, tls=tls) as line:
        wrong = bytes.fromhex(pin[:-2] + f"{int(pin[-2:], 16) ^ 1:02x}")
        error = refused(f"rtsps://127.0.0.1:{line.port}/main", credentials=credentials, certificate_sha256=wrong)
        assert line.talks == 1
    assert isinstance(error, RefusedError)
    assert "another certificate" in error.message
    assert heard == b""


def test_another_certificate_is_written_down_and_alerted_as_an_impostor(tmp_path: Path, device: Device) -> None:
    tls, pin = certificate(tmp_path)
    wrong = pin[:-2] + f"{int(pin[-2:], 16) ^ 1:02x}"
    with Line(lambda _caller: None, tls=tls) as line:
        device.watch(f"rtsps://127.0.0.1:{line.port}/main", f'certificate_sha256 = "{wrong}"')
        device.start()
        codes = {"camera_impostor", "source_failed"}
        until(lambda: {one["code"] for one in device.told("status")["alerts"]} == codes, what="both alerts")
        told = device.privacy("agent", "audit", "show", "--config", device.config).out.splitlines()
        refused = [entry for line in told if (entry := json.loads(line)).get("kind") == "camera_refused"]
        (known,) = device.ask("cameras")["cameras"]
        assert [(entry["rule"], entry["detail"]) for entry in refused] == [
            ("changed_certificate", {"camera": known["camera"]})
        ]
        assert known["level"] == "pinned"


def test_open_line_where_tls_is_meant_is_told(film: Path, credentials: Path) -> None:
    with Server(film) as server:
        error = refused(f"rtsps://127.0.0.1:{server.port}/main", credentials=credentials, certificate_sha256=bytes(32))
    assert isinstance(error, LinkError)


# -- what answers in a camera's place

GARBAGE = {
    "noise": bytes(range(256)) * 300,
    "web server": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    "head without an end": b"RTSP/1.0 200 OK\r\n" + b"X: y\r\n" * 10_000,
    "body too long": b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: 9999999\r\n\r\n",
    "field without a name": b"RTSP/1.0 200 OK\r\nno field\r\n\r\n",
}


@pytest.mark.parametrize("answer", GARBAGE.values(), ids=GARBAGE.keys())
def test_answer_that_is_no_rtsp_is_told_and_ends_it(answer: bytes) -> None:
    def talk(caller: socket.socket) -> None:
        caller.recv(65_536)
        caller.sendall(answer)
        caller.recv(65_536)

    with Line(talk) as line:
        error = refused(f"rtsp://127.0.0.1:{line.port}/main")
    assert isinstance(error, CorruptError)


def test_description_that_is_none_is_told_and_ends_it() -> None:
    def talk(caller: socket.socket) -> None:
        for number in range(1, 9):
            asked = caller.recv(65_536).decode()
            if not asked:
                return
            sequence = asked.split("CSeq: ")[1].split("\r\n")[0]
            body = "v=0\r\nm=video 0 RTP/AVP 96\r\na=fmtp:96 \xff;;;=\r\n" * number if "DESCRIBE" in asked else ""
            head = f"RTSP/1.0 200 OK\r\nCSeq: {sequence}\r\nContent-Type: application/sdp\r\n"
            caller.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode("latin-1"))

    with Line(talk) as line:
        error = refused(f"rtsp://127.0.0.1:{line.port}/main", stall_s=5.0)
    assert isinstance(error, (CorruptError, LinkError))


@pytest.mark.parametrize("answer", ["RTSP/1.0 302 Moved", "REDIRECT rtsp://203.0.113.9/ RTSP/1.0"])
def test_camera_that_sends_us_elsewhere_is_not_followed(answer: str, film: Path) -> None:
    with Server(film) as elsewhere:

        def talk(caller: socket.socket) -> None:
            sequence = caller.recv(65_536).decode().split("CSeq: ")[1].split("\r\n")[0]
            caller.sendall(f"{answer}\r\nCSeq: {sequence}\r\nLocation: {elsewhere.url}\r\n\r\n".encode())
            caller.recv(65_536)

        with Line(talk) as line:
            error = refused(f"rtsp://127.0.0.1:{line.port}/main")
    assert "another address" in error.message


def test_silent_camera_is_let_go() -> None:
    def talk(caller: socket.socket) -> None:
        while caller.recv(65_536):
            pass

    with Line(talk) as line:
        error = refused(f"rtsp://127.0.0.1:{line.port}/main", stall_s=1.0)
    assert error.message == "no picture came for 1 s"


def test_camera_that_is_away_or_has_no_such_stream_is_told(film: Path) -> None:
    with Server(film) as server:
        assert "no stream at that address (RTSP 404)" in refused(server.url + "-other").message
    assert "cannot be reached: Connection refused" in refused(server.url).message


def test_stranger_on_this_machine_is_turned_away_from_what_the_reader_offers_to_ffmpeg(film: Path) -> None:
    """Only the relay runs here: in the whole process FFmpeg nearly always comes first."""
    with relaying(film) as (relay, port):
        with socket.create_connection(("127.0.0.1", port)) as stranger:
            stranger.sendall(f"DESCRIBE rtsp://127.0.0.1:{port}/main RTSP/1.0\r\nCSeq: 1\r\n\r\n".encode())
            assert stranger.recv(65_536) == b""
        describe(relay, port)


def test_process_that_says_nothing_or_knows_the_name_keeps_nobody_from_what_the_reader_offers(
    film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is not the reader itself is turned away before it is read from, were it the same user's."""
    monkeypatch.setattr(relay_module, "CONNECT_S", LONG_S)
    with relaying(film) as (relay, port):
        for said in (b"", f"DESCRIBE {relay.url} RTSP/1.0\r\nCSeq: 1\r\n\r\n".encode()):
            told = subprocess.run(
                [sys.executable, "-I", "-S", "-c", STRANGER, str(port)], input=said, capture_output=True, timeout=60,
                check=True,
            ).stdout  # fmt: skip
            assert told == b""
        describe(relay, port)


@contextmanager
def relaying(film: Path) -> Iterator[tuple[Relay, int]]:
    """A relay before a camera, and its port; whoever talks to it here is of its own process, as FFmpeg is."""
    with Server(film) as server:
        address = read_address(server.url)
        relay = Relay(connect(address, certificate_sha256=b""), address, credentials=None, monotonic=monotonic_s)
        passing_on = threading.Thread(target=relay.run, daemon=True)
        passing_on.start()
        yield relay, int(relay.url.split(":")[2].split("/")[0])
        passing_on.join(60)
    assert relay.trouble is None


def describe(relay: Relay, port: int) -> None:
    """Ask as FFmpeg does, and be answered."""
    with socket.create_connection(("127.0.0.1", port)) as ours:
        ours.sendall(f"DESCRIBE {relay.url} RTSP/1.0\r\nCSeq: 7\r\n\r\n".encode())
        assert ours.recv(65_536).startswith(b"RTSP/1.0 200 OK\r\nCSeq: 7\r\n")
