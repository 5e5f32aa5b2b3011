"""What a camera lets hear comes along with its pictures where its owner wants it, packet for packet."""

import asyncio
import os
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from agent.errors import LinkError
from agent.rtsp import StreamSettings, Watch
from agent.rtsp.message import Listened
from agent.rtsp.wire import Frame, Message, Reader
from tests.rtsp.film import SAMPLES, SOUND_HZ, SOUND_TICK, TICK, Heard, Picture, heard, played, seen, shoot, shown
from tests.rtsp.line import Line, Talk, passing
from tests.rtsp.studio import Device, Server

pytestmark = pytest.mark.promise("COLLECT-REC")

LATE = SOUND_HZ // 2
SOUND_CHANNEL = 2
SAID = "MPEG4-GENERIC"

Film = tuple[Path, tuple[Picture, ...], tuple[Heard, ...]]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Film:
    file = tmp_path_factory.mktemp("film") / "aac.mp4"
    pictures = shoot(file, pictures=35, sound_from=0)
    return file, pictures, heard(file.read_bytes())


def all_of(url: str, *, sound: bool = True) -> tuple[list[bytes], Listened | None]:
    """Read a camera through the real process until it ends; return its segments, and what was told of its sound."""

    async def read() -> tuple[list[bytes], Listened | None]:
        clips = []
        settings = StreamSettings(name="door", url=url, camera="door", segment_s=1.0, sound=sound)
        async with Watch(settings) as watch, asyncio.TaskGroup() as tasks:
            with suppress(LinkError):  # the camera ended the stream, or its line as well
                async for segment in watch.segments():
                    clips.append(tasks.create_task(asyncio.to_thread(_drained, os.dup(segment.fd))))
                    segment.close()
            listened = watch.listened
        return [clip.result() for clip in clips], listened

    return asyncio.run(read())


def _drained(fd: int) -> bytes:
    with open(fd, "rb") as pipe:
        return pipe.read()


def is_whole(clips: Sequence[bytes], film: tuple[Picture, ...]) -> bool:
    """Tell whether segments hold all pictures of a film, each at its distance from its segment's first."""
    at = 0
    for clip in clips:
        pictures = seen(clip)
        sent = film[at : at + len(pictures)]
        assert [one.coded for one in pictures] == [one.coded for one in sent]
        assert since_first(pictures) == since_first(sent)
        assert shown(clip) == len(pictures)
        at += len(pictures)
    return at == len(film)


def heard_in(clips: Sequence[bytes], film: tuple[Picture, ...]) -> list[Heard]:
    """Return the sound of segments, at its time on the film's, each packet seen to be in the segment it begins in."""
    at, came = 0, list[Heard]()
    for number, clip in enumerate(clips, 1):
        begin = film[at].pts * TICK
        at += len(seen(clip))
        end = film[at].pts * TICK if number < len(clips) else film[-1].pts * TICK + 1
        here = [Heard(one.pts + round(begin / SOUND_TICK), one.coded) for one in heard(clip)]
        assert all(begin <= one.pts * SOUND_TICK < end for one in here)
        assert played(clip) == len(here) * SAMPLES
        came += here
    return came


def since_first(pictures: tuple[Picture, ...]) -> list[int]:
    return [picture.pts - pictures[0].pts for picture in pictures]


def changing(port: int, change: Callable[[Frame | Message], bytes]) -> Talk:
    """Pass on between a caller and a server of this machine, and change the pieces that the server says."""
    reader = Reader()
    return passing(port, lambda data: b"".join(map(change, reader.feed(data))))


def as_it_is(piece: Frame | Message) -> bytes:
    return piece.raw if isinstance(piece, Frame) else piece.encode()


def is_sound(piece: Frame | Message) -> bool:
    return isinstance(piece, Frame) and piece.channel == SOUND_CHANNEL


# -- as it is sent


@pytest.mark.parametrize("begin", [0, LATE], ids=["from the start", "half a second late"])
def test_sound_and_pictures_and_their_times_are_those_that_were_streamed(tmp_path: Path, begin: int) -> None:
    film = shoot(tmp_path / "aac.mp4", pictures=45, sound_from=begin)
    with Server(tmp_path / "aac.mp4") as server, Device(tmp_path) as device:
        device.watch(server.url, "sound = true")
        device.start()
        device.wait_for(5)  # the film has five key frames; behind its end it is played again
        (told,) = device.ask("status")["sources"]
        device.stop()
        clips = [clip for _, clip in device.clips()[:5]]
    assert told["sound"] == {"coding": SAID, "left_out": ""}
    assert told["not_taken"] == []
    assert is_whole(clips, film)
    assert heard_in(clips, film) == list(heard((tmp_path / "aac.mp4").read_bytes()))


def test_sound_that_comes_behind_its_cut_is_in_its_segment(film: Film) -> None:
    file, pictures, sound = film
    held: deque[bytes] = deque()

    def late(piece: Frame | Message) -> bytes:
        if not is_sound(piece):
            return as_it_is(piece)
        held.append(as_it_is(piece))
        return held.popleft() if len(held) > 8 else b""  # half a second of it

    with Server(file) as server, Line(changing(server.port, late)) as line:
        clips, _ = all_of(f"rtsp://127.0.0.1:{line.port}/main")
    assert is_whole(clips, pictures)
    came = heard_in(clips, pictures)
    assert came == list(sound[: len(came)])
    assert len(came) >= len(sound) - 16


# -- as it may go wrong


def without_sound(piece: Frame | Message) -> bytes:
    return b"" if is_sound(piece) else as_it_is(piece)


class Ending:
    """Sound that stops after a second."""

    def __init__(self) -> None:
        self._left = 16

    def __call__(self, piece: Frame | Message) -> bytes:
        self._left -= is_sound(piece)
        return without_sound(piece) if self._left < 0 else as_it_is(piece)


def noise(piece: Frame | Message) -> bytes:
    raw = as_it_is(piece)
    return raw[:16] + bytes(byte ^ 0xA5 for byte in raw[16:]) if is_sound(piece) else raw


def another_format(piece: Frame | Message) -> bytes:
    raw = as_it_is(piece)
    return raw[:5] + bytes((raw[5] ^ 1,)) + raw[6:] if is_sound(piece) else raw


def wild_times(piece: Frame | Message) -> bytes:
    raw = as_it_is(piece)
    return raw[:8] + bytes(byte ^ raw[7] * 7 & 0xFF for byte in raw[8:12]) + raw[12:] if is_sound(piece) else raw


FAULTS = {
    "never comes": without_sound,
    "stops": Ending(),
    "noise": noise,
    "another format": another_format,
    "wild times": wild_times,
}


@pytest.mark.parametrize("change", FAULTS.values(), ids=FAULTS.keys())
def test_sound_that_goes_wrong_costs_no_picture(film: Film, change: Callable[[Frame | Message], bytes]) -> None:
    file, pictures, sound = film
    with Server(file) as server, Line(changing(server.port, change)) as line:
        clips, listened = all_of(f"rtsp://127.0.0.1:{line.port}/main")
    assert is_whole(clips, pictures)
    assert len(clips) == 4
    assert listened == Listened(coding=SAID, left_out="")
    assert len([one for clip in clips for one in heard(clip)]) < len(sound)


def test_camera_that_counts_from_zero_loses_no_picture(tmp_path: Path) -> None:
    """FFmpeg takes a time of 0 for none: it gave the second picture the time of the first."""
    film = shoot(tmp_path / "zero.mp4", pictures=15)
    with Server(tmp_path / "zero.mp4") as server:
        clips, _ = all_of(server.url)
    assert is_whole(clips, film)


# -- whether it is wanted


def test_sound_that_nobody_wants_is_not_asked_for(film: Film) -> None:
    file, pictures, _ = film
    asked: list[bytes] = []

    def hear(piece: Frame | Message) -> bytes:
        if isinstance(piece, Frame):
            asked.append(bytes((piece.channel,)))
        return as_it_is(piece)

    with Server(file) as server, Line(changing(server.port, hear)) as line:
        clips, listened = all_of(f"rtsp://127.0.0.1:{line.port}/main", sound=False)
    assert is_whole(clips, pictures)
    assert listened is None
    assert not any(heard(clip) for clip in clips)
    assert set(asked) <= {b"\x00", b"\x01"}  # no channel was ever set up for it


def test_camera_without_sound_is_taken_and_said_to_have_none(tmp_path: Path) -> None:
    film = shoot(tmp_path / "film.mp4", pictures=15)
    with Server(tmp_path / "film.mp4") as server:
        clips, listened = all_of(server.url)
    assert is_whole(clips, film)
    assert listened == Listened(coding="", left_out="none_is_sent")


def test_sound_that_cannot_be_kept_is_left_out_and_said_so(tmp_path: Path) -> None:
    film = shoot(tmp_path / "alaw.mp4", pictures=300)
    with Server(tmp_path / "alaw.mp4") as server, Device(tmp_path) as device:
        device.watch(server.url, "sound = true")
        device.start()
        device.wait_for(2)
        (told,) = device.ask("status")["sources"]
        doctor = device.privacy("agent", "doctor", "--config", device.config, expect=None).out
        device.stop()
        clips = [clip for _, clip in device.clips()[:2]]
    assert told["sound"] == {"coding": "PCMA", "left_out": "cannot_be_kept"}
    assert told["not_taken"] == [{"kind": "sound_left_out", "reason": "PCMA: cannot_be_kept", "count": 1}]
    assert "choose AAC for the sound of this stream in the camera, or write sound = false" in doctor
    assert [one.coded for clip in clips for one in seen(clip)] == [one.coded for one in film[:20]]
    assert not any(heard(clip) for clip in clips)
