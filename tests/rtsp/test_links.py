"""A camera that is cut off, stands still or is killed costs what was under way, and nothing else."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flow.residue import Search, samples
from tests.rtsp.film import Picture, seen, shoot
from tests.rtsp.studio import PASSWORD, USER, Device, Server, files_of
from tests.waiting import until

pytestmark = pytest.mark.promise("COLLECT-REC")

PICTURES = 1200  # two minutes: longer than any of these tests watches


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[Picture, ...]]:
    file = tmp_path_factory.mktemp("film") / "film.mp4"
    return file, shoot(file, pictures=PICTURES)


@pytest.fixture
def server(film: tuple[Path, tuple[Picture, ...]]) -> Iterator[Server]:
    with Server(film[0]) as started:
        yield started


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    with Device(tmp_path) as made:
        yield made


def coded(device: Device) -> list[list[bytes]]:
    """Return the pictures of each segment."""
    return [[picture.coded for picture in seen(clip)] for _, clip in device.clips()]


def is_beginning(segments: list[list[bytes]], film: tuple[Picture, ...]) -> bool:
    """Tell whether segments in a row are the beginning of the film, nothing missing and nothing twice."""
    came = [picture for segment in segments for picture in segment]
    return bool(came) and came == [picture.coded for picture in film[: len(came)]]


def test_server_killed_in_mid_stream_leaves_a_whole_object_and_is_read_again(
    server: Server, device: Device, film: tuple[Path, tuple[Picture, ...]]
) -> None:
    device.watch(server.url)
    device.start()
    device.wait_for(2)
    server.kill()
    until(device.fails, what="the alert")
    before = len(device.held())
    server.start()
    device.wait_for(before + 2)
    until(lambda: not device.fails(), what="the end of the alert")
    device.stop()
    segments = coded(device)
    assert is_beginning(segments[:before], film[1])
    assert is_beginning(segments[before:], film[1])
    assert all(len(segment) == 10 for segment in segments[: before - 1])


def test_camera_that_stands_still_is_let_go_and_read_again(server: Server, device: Device) -> None:
    device.watch(server.url, 'stall = "4s"')
    device.start()
    device.wait_for(2)
    server.signal(signal.SIGSTOP)
    until(lambda: "no picture came for 4 s" in device.log(), what="the word of it")
    until(device.fails, what="the alert")
    before = len(device.held())
    server.signal(signal.SIGCONT)
    device.wait_for(before + 2)
    until(lambda: not device.fails(), what="the end of the alert")


def test_killed_reader_costs_no_whole_segment_and_is_started_again(
    server: Server, device: Device, film: tuple[Path, tuple[Picture, ...]]
) -> None:
    device.watch(server.url)
    device.start()
    device.wait_for(2)
    (reader,) = device.readers()
    reader.kill()
    until(lambda: "process that reads the camera died" in device.log(), what="the word of it")
    before = len(device.held())
    device.wait_for(before + 2)
    assert device.readers()[0].pid != reader.pid
    device.stop()
    segments = coded(device)
    whole = [segment for segment in segments[:before] if len(segment) == 10]
    assert len(whole) >= 2
    assert is_beginning(whole, film[1])
    assert is_beginning(segments[before:], film[1])


def test_stop_ends_the_segment_under_way(
    server: Server, device: Device, film: tuple[Path, tuple[Picture, ...]]
) -> None:
    device.watch(server.url, segment="1m")
    device.start()
    until(device.is_sealing, what="a segment under way")
    device.stop()
    segments = coded(device)
    assert len(segments) == 1
    assert is_beginning(segments, film[1])


def test_killed_agent_leaves_no_reader_and_nothing_clear_and_goes_on(
    server: Server,
    device: Device,
    film: tuple[Path, tuple[Picture, ...]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    device.watch(server.url, device.credentials(), 'camera = "Front door of Ada Byron"')
    device.start()
    device.wait_for(2)
    readers = device.readers()
    assert readers
    until(device.is_sealing, what="a segment under way")
    device.kill()
    until(lambda: not any(reader.is_running() for reader in readers), what="the end of its readers")
    searched = Search(
        pieces=[piece for picture in film[1][:300] for piece in samples(picture.coded)],
        words=[USER + "\n" + PASSWORD, PASSWORD, "Front door of Ada Byron"],
    )
    looked_at = [*files_of(device.state), *files_of(scratch), device.folder / "agent.log"]
    assert searched.look([film[0]])  # it is seen to find
    assert searched.look(looked_at) == []
    device.start()
    device.wait_for(4)


def test_refused_category_calls_no_camera_until_it_is_let_in(server: Server, device: Device) -> None:
    device.let_in(photo="")
    device.watch(server.url, segment="5m")
    device.start()
    until(lambda: device.told("status")["sources"][0]["not_taken"], what="the refusal")
    assert device.readers() == []
    assert device.held() == []
    device.let_in(recording="", photo="")
    device.reload()
    device.approve()
    until(device.is_sealing, what="a segment under way")
    device.let_in(photo="")
    device.reload()
    until(lambda: not device.readers(), what="the end of the reader")  # at once, not at the next segment
    until(lambda: not device.is_sealing(), what="the end of the segment")
    assert device.held() == []
