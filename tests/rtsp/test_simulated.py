"""The simulated camera's stream, as FFmpeg and the agent read it, and what ends it."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import av
import msgspec
import pytest

from agent.clock import monotonic_s
from agent.errors import LinkError
from agent.rtsp import StreamSettings, Watch
from device_sim.camera.device import Device, make_device
from device_sim.rtsp.face import RtspFace
from device_sim.rtsp.reel import FPS, SECONDS
from tests.rtsp.film import SAMPLES, heard, shown

AT = datetime(2026, 3, 1, 10, 15, tzinfo=UTC)
OVER_TCP = {"rtsp_transport": "tcp"}


@pytest.fixture
def camera(tmp_path: Path) -> Device:
    make_device(tmp_path / "camera", now=AT, name="Front door", seed=3)
    return Device(tmp_path / "camera", now=lambda: AT, monotonic=monotonic_s)


@asynccontextmanager
async def streaming(camera: Device) -> AsyncIterator[str]:
    """Show the camera's stream and return its address."""
    async with asyncio.TaskGroup() as tasks:
        face = RtspFace(camera, host="127.0.0.1")
        showing = tasks.create_task(face.run())
        async with asyncio.timeout(30):
            await face.listening.wait()
        yield f"rtsp://127.0.0.1:{camera.rtsp_port}/main"
        showing.cancel()


def watched(url: str, *, pictures: int) -> list[int]:
    """Read it with FFmpeg; return the pictures' times in ticks."""
    with av.open(url, options=OVER_TCP, timeout=60) as opened:
        packets = itertools.islice(opened.demux(video=0), pictures + 1)
        return [packet.pts for packet in packets if packet.pts is not None]


def test_ffmpeg_reads_it_and_its_times_go_on_where_it_begins_anew(camera: Device) -> None:
    count = round(SECONDS * FPS) + 3

    async def run() -> list[int]:
        async with streaming(camera) as url:
            return await asyncio.to_thread(watched, url, pictures=count)

    times = asyncio.run(run())
    steps = {later - earlier for earlier, later in itertools.pairwise(times)}
    assert len(times) >= count - 1
    assert steps == {90_000 // FPS}
    assert camera.watchers == 0


def test_agent_reads_it(camera: Device) -> None:
    async def run() -> bytes:
        async with streaming(camera) as url, Watch(StreamSettings(name="x", url=url, camera="x", segment_s=1.0)) as own:
            async for segment in own.segments():
                assert camera.watchers == 1
                clip = await asyncio.to_thread(lambda fd: b"".join(iter_pipe(fd)), segment.fd)
                segment.close()
                return clip
        raise AssertionError("there was a segment")

    assert shown(asyncio.run(run())) == 2 * FPS  # a key frame each two seconds


def test_agent_hears_it_where_it_begins_anew_too(camera: Device) -> None:
    async def run() -> list[bytes]:
        settings = StreamSettings(name="x", url="", camera="x", segment_s=1.0, sound=True)
        clips: list[bytes] = []
        async with streaming(camera) as url, Watch(msgspec.structs.replace(settings, url=url)) as own:
            async for segment in own.segments():
                clips.append(await asyncio.to_thread(lambda fd: b"".join(iter_pipe(fd)), segment.fd))
                segment.close()
                if len(clips) == 3:
                    break
        return clips

    clips = [heard(clip) for clip in asyncio.run(run())]
    assert len({one.coded for clip in clips for one in clip}) > 40  # nearly all of the reel's 50, again and again
    for clip in clips:  # from one to the next it may be set right by the camera's reports
        assert {later.pts - earlier.pts for earlier, later in itertools.pairwise(clip)} == {SAMPLES}


def iter_pipe(fd: int) -> Iterator[bytes]:
    with open(fd, "rb", closefd=False) as pipe:
        while data := pipe.read(65_536):
            yield data


@pytest.mark.parametrize("what", ["consent", "power"])
def test_what_switches_the_camera_off_ends_its_stream_at_once(camera: Device, what: str) -> None:
    async def run() -> str:
        async with streaming(camera) as url, Watch(StreamSettings(name="x", url=url, camera="x", segment_s=1.0)) as own:
            try:
                async for segment in own.segments():
                    if what == "consent":
                        camera.note_consent(given=False)
                    else:
                        camera.cut_power()
                    await asyncio.to_thread(lambda fd: list(iter_pipe(fd)), segment.fd)
                    segment.close()
            except LinkError as error:
                return error.message
        raise AssertionError("it ends with an error")

    assert asyncio.run(run()) == "the camera ended the stream"
    assert camera.watchers == 0


def test_without_consent_there_is_no_stream(camera: Device) -> None:
    camera.note_consent(given=False)

    async def run() -> None:
        async with streaming(camera) as url:
            with pytest.raises(av.FFmpegError):
                await asyncio.to_thread(watched, url, pictures=1)

    asyncio.run(run())
