"""What is read of a camera's description, reports and times, as bytes and values: whatever arrives, nothing escapes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.rtsp.rtp import BEGIN, TrackTimes, behind_s
from agent.rtsp.sdp import Track, choose
from agent.rtsp.tracks import Tracks
from agent.rtsp.wire import Frame

PICTURES_HZ, SOUND_HZ = 90_000, 16_000
HEAD = "v=0\r\nt=0 0\r\na=control:*\r\n"
H264 = "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:v\r\n"
AAC = "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 MPEG4-GENERIC/16000/1\r\na=control:a\r\n"
PCMA = "m=audio 0 RTP/AVP 8\r\na=control:a\r\n"
EVENTS = "m=application 0 RTP/AVP 107\r\na=rtpmap:107 vnd.onvif.metadata/90000\r\n"
PICTURES = Track(kind="video", coding="H264", clock_hz=PICTURES_HZ)
SOUND = Track(kind="audio", coding="MPEG4-GENERIC", clock_hz=SOUND_HZ)


# -- descriptions


@pytest.mark.parametrize(
    ("told", "sound", "left", "tracks", "left_out"),
    [
        (HEAD + AAC + H264 + EVENTS, True, HEAD + AAC + H264, (SOUND, PICTURES), ""),
        (HEAD + AAC + H264 + EVENTS, False, HEAD + H264, (PICTURES,), ""),
        (HEAD + H264 + H264 + PCMA + AAC, True, HEAD + H264 + AAC, (PICTURES, SOUND), ""),
        (HEAD + H264 + PCMA.replace(" 8", " 9"), True, HEAD + H264, (PICTURES,), "G722"),
        (HEAD + H264 + AAC.replace("MPEG4-GENERIC", "\x1b[2J"), True, HEAD + H264, (PICTURES,), "UNKNOWN"),
        (HEAD + H264 + AAC.replace("16000", "0"), True, HEAD + H264, (PICTURES,), "MPEG4-GENERIC"),
        (HEAD + H264, True, HEAD + H264, (PICTURES,), ""),
        (HEAD + "m=video 0 RTP/AVP 26\r\n" + AAC, True, HEAD + "m=video 0 RTP/AVP 26\r\n", (), ""),
        (HEAD.replace("\r", "") + H264.replace("\r", ""), True, HEAD + H264, (PICTURES,), ""),
    ],
)
def test_only_what_is_asked_for_is_left_of_a_description(
    told: str, left: str, tracks: tuple[Track, ...], left_out: str, *, sound: bool
) -> None:
    found = choose(told.encode(), sound=sound)
    assert found.body.decode() == left
    assert (found.tracks, found.left_out) == (tracks, left_out)


@settings(deadline=None)
@given(st.text(alphabet="m=a:rtpmvideoH264 /9087\r\n\x00", max_size=200), st.binary(max_size=200))
def test_description_of_anybody_is_read(told: str, more: bytes) -> None:
    choose(told.encode() + more, sound=True)


# -- times


def packet(stamp: int, content: bytes = b"x") -> bytes:
    return b"\x80\x60\x00\x01" + (stamp % 2**32).to_bytes(4, "big") + b"\x00" * 4 + content


def report(clock_s: float, stamp: int) -> bytes:
    clock = round(clock_s * 2**32).to_bytes(8, "big")
    return b"\x80\xc8\x00\x06" + b"\x00" * 4 + clock + (stamp % 2**32).to_bytes(4, "big") + b"\x00" * 8


def stamp_of(raw: bytes) -> int:
    return int.from_bytes(raw[4:8], "big")


@pytest.mark.parametrize("first", [0, 1, 90_000, 2**31, 2**32 - 1])
def test_times_begin_anew_and_go_on_as_the_cameras_do(first: int) -> None:
    times, ticks = TrackTimes(PICTURES_HZ), (0, 3000, 9000, 6000, 2**31, 2**32 - 5)
    given = [times.stamped(packet(first + at), came_s=0.0) for at in ticks]
    assert [stamp_of(one) for one in given] == [(BEGIN + at) % 2**32 for at in ticks]
    assert given[0][8:] == packet(first)[8:]


def heard(*, sound_first: int = 7, pictures_first: int = 11, came_s: float = 0.0) -> tuple[TrackTimes, TrackTimes]:
    """Return the times of sound and pictures after the first packet of each, the sound's ``came_s`` later."""
    sound, pictures = TrackTimes(SOUND_HZ), TrackTimes(PICTURES_HZ)
    pictures.stamped(packet(pictures_first), came_s=100.0)
    sound.stamped(packet(sound_first), came_s=100.0 + came_s)
    return sound, pictures


def test_sound_is_where_it_came_until_the_camera_says_more() -> None:
    sound, pictures = heard(came_s=0.5)
    assert behind_s(sound, pictures) == pytest.approx(0.5)
    sound.told, pictures.told = 7 - 4_000, 11
    assert behind_s(sound, pictures) == pytest.approx(0.25)
    for times, first in ((sound, 7), (pictures, 11)):
        assert not times.hear(report(3_900_000_000.5, first + times.clock_hz))
    assert behind_s(sound, pictures) == pytest.approx(0.0, abs=1e-4)
    sound.hear(report(3_900_000_001.75, 7 + SOUND_HZ))
    assert behind_s(sound, pictures) == pytest.approx(1.25, abs=1e-4)


def test_sound_alone_is_nowhere() -> None:
    _, pictures = heard()
    assert behind_s(TrackTimes(SOUND_HZ), pictures) is None


@pytest.mark.parametrize("clock_s", [0.0, 1_000.0])
def test_what_a_camera_says_far_from_when_it_came_is_not_believed(clock_s: float) -> None:
    sound, pictures = heard(came_s=0.5)
    sound.told, pictures.told = 0, 2**31
    sound.hear(report(clock_s, 7))
    pictures.hear(report(3_900_000_000.0, 11))
    assert behind_s(sound, pictures) == pytest.approx(0.5)


def test_clocks_that_drift_are_followed_for_days() -> None:
    sound, pictures = heard()
    for day in range(1, 6):
        for minute in range(0, 1440, 10):
            at_s = (day - 1) * 86_400 + minute * 60
            pictures.stamped(packet(11 + at_s * PICTURES_HZ), came_s=100.0 + at_s)
            sound.stamped(packet(7 + round(at_s * SOUND_HZ * 0.9999)), came_s=100.0 + at_s)
    drift_s = at_s * 0.0001
    assert drift_s > 40
    assert behind_s(sound, pictures) == pytest.approx(drift_s, abs=0.01)
    pictures.hear(report(3_900_000_000.0, 11 + at_s * PICTURES_HZ))
    sound.hear(report(3_900_000_000.1, 7 + round(at_s * SOUND_HZ * 0.9999)))
    assert behind_s(sound, pictures) == pytest.approx(drift_s + 0.1, abs=0.001)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=60)), max_size=20))
def test_media_of_anybody_is_passed_on_or_dropped(frames: list[tuple[int, bytes]]) -> None:
    tracks = made()
    for channel, content in frames:
        raw = b"$" + bytes((channel,)) + len(content).to_bytes(2, "big") + content
        given = tracks.pass_on(Frame(channel, raw), came_s=1.0)
        assert given == b"" or given[:2] == raw[:2]
    tracks.sound_behind_s()


# -- one connection


def made() -> Tracks:
    tracks = Tracks(sound=True)
    tracks.describe((HEAD + H264 + AAC).encode())
    for name, channels in (("v", "0-1"), ("a", "2-3")):
        tracks.ask(own=f"rtsp://127.0.0.1:9/secret/{name}", sent=f"rtsp://camera/main/{name}")
        tracks.answered([f"RTP/AVP/TCP;unicast;interleaved={channels}"])
    told = "url=rtsp://10.0.0.1/main/a;seq=3;rtptime=16007,url=rtsp://10.0.0.1/main/v;seq=9;rtptime=90011"
    assert tracks.play(told) == (
        "url=rtsp://127.0.0.1:9/secret/v;seq=0;rtptime=1,url=rtsp://127.0.0.1:9/secret/a;seq=0;rtptime=1"
    )
    return tracks


def frame(channel: int, content: bytes) -> Frame:
    return Frame(channel, b"$" + bytes((channel,)) + len(content).to_bytes(2, "big") + content)


def test_what_was_said_when_it_was_asked_for_counts_for_its_own_track() -> None:
    tracks = made()
    tracks.pass_on(frame(0, packet(90_011)), came_s=100.0)
    assert tracks.first_media_s == 100.0
    tracks.pass_on(frame(2, packet(16_007 + 8_000)), came_s=100.1)
    assert tracks.sound_behind_s() == pytest.approx(0.5)


def test_reports_are_kept_from_ffmpeg_and_what_comes_too_early_or_from_elsewhere_too() -> None:
    tracks = made()
    assert tracks.pass_on(frame(1, report(3_900_000_000.0, 1)), came_s=1.0) == b""
    assert tracks.pass_on(frame(4, packet(1)), came_s=1.0) == b""
    early = Tracks(sound=True)
    early.describe((HEAD + H264).encode())
    early.ask(own="rtsp://127.0.0.1:9/secret/v", sent="rtsp://camera/main/v")
    early.answered(["RTP/AVP/TCP;unicast;interleaved=0-1"])
    assert early.pass_on(frame(0, packet(1)), came_s=1.0) == b""


GOODBYE = b"\x80\xc9\x00\x01" + b"\x00" * 4 + b"\x81\xcb\x00\x01" + b"\x00" * 4


def test_sound_that_says_goodbye_ends_no_pictures_and_outlives_them_by_a_second() -> None:
    tracks = made()
    for _ in range(3):
        given = tracks.pass_on(frame(3, GOODBYE), came_s=1.0)
    assert given == b""  # FFmpeg ends once it heard as many as it has tracks
    assert tracks.pass_on(frame(0, packet(1)), came_s=1.0)
    tracks = made()
    assert tracks.pass_on(frame(1, GOODBYE), came_s=1.0).endswith(GOODBYE)
    assert stamp_of(tracks.pass_on(frame(2, packet(1)), came_s=1.9)[4:]) == BEGIN
    assert tracks.pass_on(frame(2, packet(2)), came_s=2.1).endswith(GOODBYE)
