"""Where a camera streams is asked of its own ONVIF service, and of nobody else."""

import asyncio
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.clock import system_clock
from agent.config import parse_config
from agent.errors import AgentError, ConfigError, CorruptError, LinkError, RefusedError
from agent.rtsp import StreamSettings
from agent.rtsp.onvif.client import ask, require_extra
from agent.rtsp.onvif.message import Found
from device_sim.onvif.service import OnvifService, Says
from tests.link_server.running import running
from tests.rtsp.film import shoot
from tests.rtsp.line import Line, certificate
from tests.rtsp.studio import PASSWORD, USER, Device, Server

pytestmark = [pytest.mark.promise("FIND-AUTH"), pytest.mark.promise("COLLECT-REC")]

WRONG = "another"
TOPICS = ("Device/Trigger/DigitalInput", "VideoSource/MotionAlarm")


def now() -> datetime:
    return datetime.fromtimestamp(system_clock()().wall_ms / 1000, tz=UTC)


def an_hour_behind() -> datetime:
    return now() - timedelta(hours=1)


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    file = tmp_path / "credentials"
    file.touch(mode=0o600)
    file.write_text(f"{USER}\n{PASSWORD}\n", encoding="utf-8")
    return file


@asynccontextmanager
async def serving(tls: ssl.SSLContext | None, **says: Any) -> AsyncIterator[OnvifService]:  # noqa: ANN401 - what it says
    about: dict[str, Any] = {"now": now, "stream": "rtsp://198.51.100.7/main", "user": USER, "password": PASSWORD}
    async with asyncio.TaskGroup() as tasks:
        service = OnvifService(lambda: Says(**(about | says)), host="127.0.0.1", tls=tls)
        serving = tasks.create_task(service.run())
        async with asyncio.timeout(60):
            await service.listening.wait()
        yield service
        serving.cancel()


def asked(
    *,
    tls: ssl.SSLContext | None = None,
    pin: str = "",
    credentials: Path | None = None,
    **says: Any,  # noqa: ANN401 - what it says
) -> tuple[Found | AgentError, list[str]]:
    """Ask a service through the real process; return what it said, or the error, and what it was asked."""

    async def run() -> tuple[Found | AgentError, list[str]]:
        async with serving(tls, **says) as service:
            url = f"{'https' if tls else 'http'}://127.0.0.1:{service.port}"
            settings = StreamSettings(
                name="x", url="", camera="x", onvif=url, credentials=credentials, certificate_sha256=bytes.fromhex(pin)
            )
            try:
                return await ask(settings), service.asked
            except AgentError as error:
                return error, service.asked

    answer, names = asyncio.run(run())
    assert PASSWORD not in str(answer)
    return answer, names


@pytest.mark.parametrize("clock", [now, an_hour_behind], ids=["right", "an hour behind"])
def test_service_says_where_the_largest_stream_and_a_picture_are_and_of_what_it_tells_events(
    credentials: Path, clock: Callable[[], datetime]
) -> None:
    found, _ = asked(credentials=credentials, now=clock, stream="rtsp://127.0.0.1:8554/main?p=1")
    assert isinstance(found, Found)
    assert found.stream == "rtsp://127.0.0.1:8554/main?p=1"
    assert found.snapshot.endswith("/snapshot.jpg")
    assert found.topics == TOPICS


def test_address_that_it_says_counts_for_its_port_and_path_alone(credentials: Path) -> None:
    found, _ = asked(credentials=credentials, stream="rtsp://other:secret@198.51.100.7:8554/main")
    assert isinstance(found, Found)
    assert found.stream == "rtsp://127.0.0.1:8554/main"
    assert found.snapshot.startswith("http://127.0.0.1:")


def test_service_that_says_it_is_elsewhere_is_asked_where_it_is_configured(credentials: Path) -> None:
    with Line(lambda _caller: None) as elsewhere:
        found, names = asked(credentials=credentials, at=f"http://127.0.0.1:{elsewhere.port}")
        assert elsewhere.talks == 0
    assert isinstance(found, Found)
    assert "GetProfiles" in names


def test_redirection_is_not_followed(credentials: Path) -> None:
    with Line(lambda _caller: None) as elsewhere:
        error, _ = asked(credentials=credentials, redirect=f"http://127.0.0.1:{elsewhere.port}/onvif/media")
        assert elsewhere.talks == 0
    assert isinstance(error, LinkError)
    assert "another address" in error.message


def test_wrong_password_and_none_are_told(credentials: Path) -> None:
    wrong, _ = asked(credentials=credentials, password=WRONG)
    none, _ = asked()
    assert isinstance(wrong, ConfigError)
    assert "refuses the user or the password" in wrong.message
    assert isinstance(none, ConfigError)
    assert "demands a user and a password" in none.message


def test_pinned_certificate_is_the_only_one_that_is_asked(tmp_path: Path, credentials: Path) -> None:
    tls, pin = certificate(tmp_path)
    found, _ = asked(tls=tls, pin=pin, credentials=credentials)
    refused, names = asked(tls=tls, pin="00" * 32, credentials=credentials)
    assert isinstance(found, Found)
    assert isinstance(refused, RefusedError)
    assert "another certificate" in refused.message
    assert names == []


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n<a/>",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n\x00\xff<<<>>>>",
        b"\x00\x01\x02",
        b"",
    ],
)
def test_answer_that_is_none_is_told_and_ends_it(answer: bytes) -> None:
    def talk(caller: socket.socket) -> None:
        caller.recv(65_536)
        caller.sendall(answer)

    with Line(talk) as line, pytest.raises((CorruptError, LinkError)):
        asyncio.run(ask(StreamSettings(name="x", url="", camera="x", onvif=f"http://127.0.0.1:{line.port}")))


def test_service_that_says_no_stream_is_told(credentials: Path) -> None:
    error, _ = asked(credentials=credentials, stream="http://127.0.0.1/picture")
    assert isinstance(error, CorruptError)


def test_agent_takes_in_what_the_service_points_to_and_status_tells_what_it_said(tmp_path: Path) -> None:
    shoot(tmp_path / "film.mp4", pictures=300)

    async def run(device: Device, server: Server) -> dict[str, Any]:
        async with serving(None, stream=f"rtsp://198.51.100.7:{server.port}/main") as service:
            where = f'onvif = "http://127.0.0.1:{service.port}"'
            device.watch("", device.credentials(), where)
            return await asyncio.to_thread(live, device)

    def live(device: Device) -> dict[str, Any]:
        device.start()
        device.wait_for(2)
        (told,) = device.ask("status")["sources"]
        device.stop()
        return dict(told)

    with Server(tmp_path / "film.mp4", auth="digest") as server, Device(tmp_path) as device:
        told = asyncio.run(run(device, server))
    assert told["onvif"]["topics"] == list(TOPICS)
    assert told["onvif"]["snapshot"].endswith("/snapshot.jpg")
    assert PASSWORD not in device.log()


def test_simulated_camera_says_where_it_streams_and_shows_a_picture_and_cameras_tells_of_both(
    tmp_path: Path, credentials: Path
) -> None:
    """Simulator and agent are processes of their own; the address of the service is all that is configured."""
    options = ("--onvif", "--rtsp", "--interface", "lo", "--onvif-credentials", str(credentials))
    with running(tmp_path / "cameras", *options) as sim, Device(tmp_path) as device:
        port = sim.heard("ready")["onvif_port"]
        device.watch("", device.credentials(), f'onvif = "http://127.0.0.1:{port}"')
        device.start()
        device.wait_for(1)
        (told,) = device.ask("cameras")["cameras"]
        listed = device.privacy("agent", "cameras", "--config", device.config).out
        with urllib.request.urlopen(told["onvif"]["snapshot"], timeout=60) as shown:  # noqa: S310 - the camera's own
            assert shown.read(3) == b"\xff\xd8\xff"
        sim.order("consent all off")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(told["onvif"]["snapshot"], timeout=60)  # noqa: S310 - the same
        device.stop()
    assert told["onvif"]["topics"] == list(TOPICS)
    assert told["onvif"]["snapshot"].startswith(f"http://127.0.0.1:{port}/")
    assert "VideoSource/MotionAlarm" in listed


@pytest.mark.parametrize(
    ("content", "mode", "says"),
    [("ada\nsecret\n", 0o644, "chmod 600"), ("ada\n", 0o600, "a line each"), (None, 0, "--onvif-credentials FILE")],
)
def test_simulator_takes_credentials_from_a_private_file_of_two_lines_alone(
    tmp_path: Path, content: str | None, mode: int, says: str
) -> None:
    file = tmp_path / "credentials"
    if content is not None:
        file.write_text(content, encoding="utf-8")
        file.chmod(mode)
    command = [sys.executable, "-m", "device_sim", "camera", "--state", str(tmp_path / "cameras"), "--onvif"]
    done = subprocess.run(
        [*command, "--onvif-credentials", str(file)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert says in done.stderr
    assert "secret" not in done.stderr


def test_camera_without_a_stream_says_none(tmp_path: Path) -> None:
    with running(tmp_path / "cameras", "--onvif", "--interface", "lo") as sim:
        port = sim.heard("ready")["onvif_port"]
        settings = StreamSettings(name="x", url="", camera="x", onvif=f"http://127.0.0.1:{port}")
        with pytest.raises(LinkError, match="refuses to say where it streams"):
            asyncio.run(ask(settings))


def test_extra_is_there_and_the_service_is_told_from_a_stream() -> None:
    require_extra()
    head = 'device = "cam-01"\n[[source]]\nkind = "rtsp"\nname = "door"\n'
    (found,) = parse_config(f'{head}onvif = "http://192.0.2.7:8000"\n'.encode(), file=Path("agent.toml")).streams
    assert (found.url, found.onvif) == ("", "http://192.0.2.7:8000")
    for lines, told in (
        ('onvif = "rtsp://192.0.2.7"', "onvif: it is no address of an ONVIF service"),
        ('onvif = "http://ada:secret@192.0.2.7"', "onvif: it is no address of an ONVIF service"),
        ('onvif = "https://192.0.2.7"', "certificate_sha256: is missing"),
        ('onvif = "http://192.0.2.7"\nurl = "rtsp://192.0.2.7/main"', "onvif: says what url says"),
    ):
        with pytest.raises(ConfigError, match=told) as refusal:
            parse_config(f"{head}{lines}\n".encode(), file=Path("agent.toml"))
        assert "secret" not in str(refusal.value)


def test_missing_extra_is_told_with_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(ConfigError) as refusal:
        require_extra()
    assert refusal.value.hint == "in the folder of the project: pip install '.[onvif,rtsp]'"
