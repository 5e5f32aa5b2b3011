"""What a path says, and which names are acceptable."""

import datetime as dt
from pathlib import Path
from typing import Any, get_args

import pytest

from agent.errors import ConfigError, CorruptError
from agent.sources import SourceSettings
from agent.sources.name import check_path, is_temporary, printable
from agent.sources.place import PRESETS, place_finder
from agent.sources.settings import SourceKind

CHANGED = 1_795_350_000_000  # 2026-11-22T12:20:00Z


def settings(kind: SourceKind = "spool", **changes: object) -> SourceSettings:
    values: dict[str, Any] = {"name": "hub", "kind": kind, "path": Path("/nowhere"), "medium": "disk", **changes}
    return SourceSettings(**values)


def utc(text: str) -> int:
    return round(dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("kind", "path", "label", "category", "start", "end"),
    [
        (
            "spool",
            "front/recording/2026-11-22T10-15-00.000Z_10s.mp4",
            "front",
            "recording",
            "2026-11-22T10:15:00",
            10_000,
        ),
        ("spool", "front/recording/20261122T101500Z_9.5s.mkv", "front", "recording", "2026-11-22T10:15:00", 9_500),
        ("spool", "front/photo/2026-11-22T10:15:00.250Z.jpg", "front", "photo", "2026-11-22T10:15:00.250", 1),
        ("spool", "front/usage-log/2026-11-22T12-00-00Z.jsonl", "front", "usage-log", "2026-11-22T12:00:00", 1_200_000),
        ("spool", "front/recording/clip.mp4", "front", "recording", "2026-11-22T12:20:00", 1),
        ("spool", "front/clip.mp4", "front", "recording", "2026-11-22T12:20:00", 1),
        ("spool", "clip.jpeg", "hub", "photo", "2026-11-22T12:20:00", 1),
        ("frigate", "2026-11-22/10/front door/15.20.mp4", "front door", "recording", "2026-11-22T10:15:20", 10_000),
        ("frigate", "recordings/2026-11-22/10/a/15.20.mp4", "a", "recording", "2026-11-22T10:15:20", 10_000),
        ("frigate", "clips/a-b-1795342500.250000-00001.jpg", "a-b", "photo", "2026-11-22T10:15:00.250", 1),
        ("motioneye", "Camera1/2026-11-22/10-15-20.mp4", "Camera1", "recording", "2026-11-22T08:15:20", 14_680_000),
        ("motioneye", "Camera1/2026-11-22/10-15-20.jpg", "Camera1", "photo", "2026-11-22T08:15:20", 1),
        ("timelapse", "roof/2026-11-22/IMG_0001.jpg", "roof", "photo", "2026-11-22T12:20:00", 1),
        ("timelapse", "roof/2026-11-20/IMG_0001.jpg", "roof", "photo", "2026-11-19T22:00:00", 86_400_000),
        ("timelapse", "trail/DCIM/100MEDIA/IMG_0001.JPG", "trail", "photo", "2026-11-22T12:20:00", 1),
        ("spool", "front/recording/2026-11-22T10-15-00Z_10s.MP4", "front", "recording", "2026-11-22T10:15:00", 10_000),
        ("timelapse", "roof/2026/11/22/IMG_0001.jpg", "roof", "photo", "2026-11-22T12:20:00", 1),
        (
            "timelapse",
            "roof/usage-log/2026-11-22T12-00-00Z.jsonl",
            "roof",
            "usage-log",
            "2026-11-22T12:00:00",
            1_200_000,
        ),
    ],
)
def test_path_of_a_preset_becomes_its_place(
    kind: SourceKind, path: str, label: str, category: str, *, start: str, end: int
) -> None:
    zone = "Africa/Cairo" if kind in {"motioneye", "timelapse"} else ""  # two hours before UTC in November
    place = place_finder(settings(kind, timezone=zone))(path, CHANGED)
    assert place is not None
    assert (place.label, place.category) == (label, category)
    assert place.captured_from_ms == utc(start)
    assert place.captured_to_ms - place.captured_from_ms == end


@pytest.mark.parametrize("path", ["a/b/c/d/e.mp4", "front/clip.txt", "model_cache/x.db", "x"])
def test_path_of_nothing_of_ours_has_no_place(path: str) -> None:
    assert place_finder(settings())(path, CHANGED) is None


@pytest.mark.parametrize(
    "path",
    [
        "front/recording/2026-13-22T10-15-00Z.mp4",
        "front/recording/2026-02-30T10-15-00Z.mp4",
        "front/recording/2026-11-22T25-15-00Z.mp4",
        "front/recording/photo.jpg",
        "front/photo/clip.mp4",
    ],
)
def test_impossible_place_is_corrupt(path: str) -> None:
    with pytest.raises(CorruptError):
        place_finder(settings())(path, CHANGED)


def test_local_time_in_the_hour_that_comes_twice_is_still_a_time() -> None:
    place = place_finder(settings("motioneye", timezone="Europe/Berlin"))("c/2026-10-25/02-30-00.mp4", CHANGED)
    assert place is not None
    assert place.captured_from_ms in {utc("2026-10-25T00:30:00"), utc("2026-10-25T01:30:00")}


def test_own_pattern_replaces_the_preset() -> None:
    find = place_finder(settings(patterns=("{any}/[deep/]{camera}_{unix}[-{duration_s}s].{ext}",)))
    place = find("x/deep/yard_1795342500-30s.mp4", CHANGED)
    assert place is not None
    assert (place.label, place.captured_from_ms) == ("yard", 1_795_342_500_000)
    assert place.captured_to_ms - place.captured_from_ms == 30_000
    assert find("front/recording/2026-11-22T10-15-00.000Z_10s.mp4", CHANGED) is None


@pytest.mark.parametrize(
    "pattern",
    ["{camera}/{time}", "{kamera}.{ext}", "{camera}/{camera}.{ext}", "[{camera}.{ext}", "{camera.{ext}", "a].{ext}"],
)
def test_bad_pattern_names_itself_and_the_fix(pattern: str) -> None:
    with pytest.raises(ConfigError) as caught:
        place_finder(settings(patterns=(pattern,)))
    assert repr(pattern) in caught.value.message
    assert "for example" in caught.value.hint


def test_unknown_time_zone_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="Berlin/Europe"):
        place_finder(settings(timezone="Berlin/Europe"))


def test_every_kind_has_a_preset_and_spool_alone_is_emptied() -> None:
    assert set(PRESETS) == set(get_args(SourceKind))
    assert [kind for kind in get_args(SourceKind) if settings(kind).takes] == ["spool"]
    assert settings("frigate", after="take").takes
    assert not settings("spool", after="leave").takes


@pytest.mark.parametrize(
    "path",
    [
        "a\nb.mp4",
        "a\x1b[31m.mp4",
        "a\x00b.mp4",
        "\u202egpj.mp4",
        "a\u2028b.mp4",
        "a\udcffb.mp4",
        "a/../b.mp4",
        "/etc/passwd",
        "a//b.mp4",
        "./a.mp4",
        "x" * 600 + ".mp4",
        "/".join("abcdefghijklmn") + ".mp4",
    ],
)
def test_harmful_name_is_corrupt(path: str) -> None:
    with pytest.raises(CorruptError):
        check_path(path)
    assert printable(path).isascii()
    assert printable(path).isprintable()


@pytest.mark.parametrize("path", ["Haustür/Größe 1.mp4", "カメラ/録画.mp4", "a'b\"c;$(x)&.mp4", "-rf.mp4", "=cmd.mp4"])
def test_unusual_but_harmless_name_is_accepted(path: str) -> None:
    assert check_path(path) == path


@pytest.mark.parametrize("name", [".hidden.mp4", "a.mp4.part", "a.tmp", "a.mp4~", "A.PARTIAL", "x.crdownload"])
def test_temporary_name_is_passed_over(name: str) -> None:
    assert is_temporary(name)
