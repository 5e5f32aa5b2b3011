import io
import json
import stat
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import av
import pytest
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame

from device_sim.camera.font import text_rows
from device_sim.camera.identity import identity
from device_sim.camera.media import Container, write_clip, write_photo
from device_sim.camera.usage_log import EVENTS, FIELDS, usage_log_lines
from device_sim.demo.picture import frame_png

START = datetime(2026, 11, 22, 10, 15, tzinfo=UTC)
SMALL = (320, 180)
CONTAINERS: tuple[Container, ...] = ("mp4", "mkv")


def clip(
    *,
    seed: int = 1,
    start: datetime = START,
    seconds: float = 1,
    size: tuple[int, int] = SMALL,
    container: Container = "mp4",
    audio: bool = True,
    label: str = "Front door",
    bits_per_s: int = 500_000,
) -> bytes:
    memory = io.BytesIO()
    write_clip(
        memory,
        seed=seed,
        start=start,
        seconds=seconds,
        size=size,
        container=container,
        audio=audio,
        label=label,
        bits_per_s=bits_per_s,
    )
    return memory.getvalue()


def photo(*, seed: int = 1, label: str = "Front door") -> bytes:
    memory = io.BytesIO()
    write_photo(memory, seed=seed, start=START, size=SMALL, label=label)
    return memory.getvalue()


def pictures(raw: bytes) -> list[VideoFrame]:
    with av.open(io.BytesIO(raw), "r") as opened:
        return list(opened.decode(video=0))


def sound(raw: bytes) -> list[AudioFrame]:
    with av.open(io.BytesIO(raw), "r") as opened:
        return list(opened.decode(audio=0))


def likeness(frame: VideoFrame, text: str) -> float:
    """How much of the top left corner looks like this text, from 0 to 1."""
    rows = text_rows(text, scale=1)
    luma, stride = bytes(frame.planes[0]), frame.planes[0].line_size
    same = total = 0
    for index, row in enumerate(rows):
        at = (4 + index) * stride + 4
        seen = luma[at : at + len(row)]
        same += sum((dot > 125) == (wanted > 125) for dot, wanted in zip(seen, row, strict=True))
        total += len(row)
    return same / total


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_clip_decodes_to_every_frame_at_its_time(container: Container) -> None:
    frames = pictures(clip(seconds=2, container=container))
    assert len(frames) == 50
    assert [round(frame.time * 25) for frame in frames] == list(range(50))
    assert {(frame.width, frame.height, frame.format.name) for frame in frames} == {(*SMALL, "yuv420p")}


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_clip_holds_h264_and_aac_of_its_length(container: Container) -> None:
    raw = clip(seconds=2, container=container)
    with av.open(io.BytesIO(raw), "r") as opened:
        assert [stream.codec_context.name for stream in opened.streams] == ["h264", "aac"]
    heard_s = sum(frame.samples / frame.sample_rate for frame in sound(raw))
    assert heard_s == pytest.approx(2, abs=0.13)  # the encoder's priming and padding


def test_a_clip_without_audio_has_no_sound_stream() -> None:
    with av.open(io.BytesIO(clip(audio=False)), "r") as opened:
        assert [stream.type for stream in opened.streams] == ["video"]


@pytest.mark.parametrize("container", CONTAINERS)
def test_same_seed_and_start_give_the_same_bytes(container: Container) -> None:
    assert clip(container=container) == clip(container=container)


def test_another_seed_start_or_name_gives_other_bytes() -> None:
    variants = {clip(), clip(seed=2), clip(start=START + timedelta(seconds=1)), clip(label="Back door")}
    assert len(variants) == 4


def test_the_start_is_the_same_moment_in_any_zone() -> None:
    assert clip() == clip(start=START.astimezone(timezone(timedelta(hours=5, minutes=30))))


def test_the_clock_burnt_into_the_picture_shows_the_capture_time() -> None:
    frames = pictures(clip(seconds=2, bits_per_s=2_000_000))
    clocks = [f"2026-11-22 10:15:0{index // 25}.{index % 25 * 40:03d}Z" for index in range(50)]
    for index in (0, 24, 37, 49):
        assert max(clocks, key=lambda clock: likeness(frames[index], clock)) == clocks[index]
        assert likeness(frames[index], clocks[index]) > 0.98


def test_the_picture_moves() -> None:
    first, last = (bytes(frame.planes[0]) for frame in (pictures(clip(seconds=2))[at] for at in (0, 49)))
    changed = sum(abs(before - after) > 40 for before, after in zip(first, last, strict=True))
    assert changed > len(first) // 100


def test_the_rate_steers_the_size_of_the_clip() -> None:
    raw = clip(seconds=2, size=(640, 360), bits_per_s=8_000_000)
    assert len(raw) * 8 / 2 == pytest.approx(8_000_000, rel=0.3)


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_clip_tells_its_camera_and_place_in_clear(container: Container) -> None:
    who = identity(1, name="Front door")
    raw = clip(container=container)
    for told in (who.name, who.serial, who.mac, who.ssid, who.gps):
        assert told.encode() in raw


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_clip_says_when_it_was_made(container: Container) -> None:
    with av.open(io.BytesIO(clip(container=container)), "r") as opened:
        assert opened.metadata["creation_time"].startswith("2026-11-22T10:15:00")
        assert json.loads(opened.metadata.get("comment") or opened.metadata["COMMENT"])["camera"] == "Front door"


def test_an_odd_picture_size_is_refused() -> None:
    with pytest.raises(ValueError, match="even"):
        clip(size=(161, 90))


def test_a_clip_can_be_written_to_a_path(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write_clip(path, seed=1, start=START, seconds=1, size=SMALL, label="Front door", bits_per_s=500_000)
    assert path.read_bytes() == clip()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_full_disk_is_told_as_such() -> None:
    with Path("/dev/full").open("wb", buffering=0) as full, pytest.raises(OSError, match="No space left"):
        write_clip(full, seed=1, start=START, seconds=1, size=SMALL)


def test_a_photo_decodes_and_is_the_same_each_time() -> None:
    raw = photo()
    assert raw == photo()
    assert raw != photo(seed=2)
    with av.open(io.BytesIO(raw), "r", format="jpeg_pipe") as opened:
        frame = next(opened.decode(video=0))
    assert (frame.width, frame.height) == SMALL
    assert likeness(frame, "2026-11-22 10:15:00.000Z") > 0.98


def test_a_photo_tells_its_camera_and_place_in_clear_and_in_exif() -> None:
    who = identity(1, name="Front door")
    raw = photo()
    for told in (who.name, who.serial, who.mac, who.ssid, who.gps, "2026:11:22 10:15:00"):
        assert told.encode() in raw
    assert exif_degrees(raw) == pytest.approx((abs(who.lat_deg), abs(who.lon_deg)), abs=1e-6)


def exif_degrees(raw: bytes) -> tuple[float, float]:
    """Latitude and longitude as a reader of Exif finds them: TIFF header, first directory, GPS directory."""
    tiff = raw[raw.index(b"Exif\0\0") + 6 :]

    def directory(at: int) -> dict[int, int]:
        count = int.from_bytes(tiff[at : at + 2])
        rows = (tiff[at + 2 + 12 * row :][:12] for row in range(count))
        return {int.from_bytes(row[:2]): int.from_bytes(row[8:]) for row in rows}

    def degrees(at: int) -> float:
        numbers = [int.from_bytes(tiff[at + 4 * index :][:4]) for index in range(6)]
        return numbers[0] / numbers[1] + numbers[2] / numbers[3] / 60 + numbers[4] / numbers[5] / 3600

    place = directory(directory(int.from_bytes(tiff[4:8]))[0x8825])
    return degrees(place[2]), degrees(place[4])


def test_a_frame_can_be_seen_as_png_and_differs_over_time(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(clip(seconds=2))
    early, late = frame_png(path, at_s=0), frame_png(path, at_s=1.5)
    assert early[0].startswith(b"\x89PNG\r\n\x1a\n")
    assert early[1] == late[1] == SMALL
    assert early != late
    assert frame_png(path, at_s=99) == frame_png(path, at_s=49 / 25)


@pytest.mark.parametrize("cut", [0, 1, 1000])
def test_a_torn_clip_has_no_frame_to_show(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(clip()[:cut])
    with pytest.raises(ValueError, match="clip"):
        frame_png(path, at_s=0)


def test_a_usage_log_has_every_field_in_every_line() -> None:
    lines = [json.loads(line) for line in usage_log_lines(1, START, 200, name="Front door")]
    assert len(lines) == 200
    assert all(tuple(line) == FIELDS for line in lines)
    assert {line["event"] for line in lines} == set(EVENTS)


def test_a_usage_log_carries_the_camera_it_comes_from() -> None:
    who = identity(7, name="Küche")
    raw = usage_log_lines(7, START, 3, name="Küche")
    line = json.loads(raw[0])
    assert "Küche" in raw[0]
    assert (line["serial"], line["mac"], line["ip"], line["wifi_ssid"]) == (who.serial, who.mac, who.ip, who.ssid)
    assert (line["gps_lat"], line["gps_lon"]) == (who.lat_deg, who.lon_deg)


def test_usage_log_times_are_utc_with_milliseconds_and_run_forward() -> None:
    lines = [json.loads(line) for line in usage_log_lines(3, START, 100)]
    times = [datetime.strptime(line["time"], "%Y-%m-%dT%H:%M:%S.%f%z") for line in lines]
    assert all(line["time"].endswith("Z") and len(line["time"]) == 24 for line in lines)
    assert times == sorted(times)
    assert times[0] == START


def test_photos_and_motion_are_dated_and_scored_where_they_happen_only() -> None:
    for line in map(json.loads, usage_log_lines(3, START, 100)):
        assert (line["photo_taken_at"] == line["time"]) is (line["event"] == "photo")
        assert (line["motion_score"] is not None) is (line["event"] == "motion")


def test_the_same_seed_logs_the_same_lines() -> None:
    assert usage_log_lines(5, START, 30) == usage_log_lines(5, START, 30)
    assert usage_log_lines(5, START, 30) != usage_log_lines(6, START, 30)
