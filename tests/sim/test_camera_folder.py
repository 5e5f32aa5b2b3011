import argparse
import hashlib
import io
import json
import os
import signal
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event

import av
import pytest

from device_sim.camera.cli import Options, add_parser, record
from device_sim.camera.fault import FAULTS, GROW_STEPS, Fault, plant
from device_sim.camera.layout import LAYOUTS, Layout, finished, place, slug

START = datetime(2026, 11, 22, 10, 15, 4, 5000, tzinfo=UTC)
PAYLOAD = bytes(range(256)) * 40
PROGRAM = (
    "import argparse, sys; from device_sim.camera.cli import add_parser; p = argparse.ArgumentParser();"
    "add_parser(p.add_subparsers(required=True)); a = p.parse_args(); sys.exit(a.run(a))"
)
QUICK = ["--seconds", "0.4", "--size", "160x90", "--bits-per-s", "200000"]
AT_ONCE = ["--start", "2026-11-22T10:15:04.005Z", *QUICK]
DEADLINE_S = 60


def run(spool: Path, *arguments: str) -> int:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers(required=True))
    chosen = parser.parse_args(["camera", "--spool", str(spool), *arguments])
    code = chosen.run(chosen)
    assert isinstance(code, int)
    return code


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def plays(raw: bytes) -> bool:
    with av.open(io.BytesIO(raw), "r") as clip:
        return sum(1 for _ in clip.decode(video=0)) == 10


class Watching(Event):
    """An event that notes, at each wait, how large the watched file is (-1: not there) and may then be set."""

    def __init__(self, path: Path, *, end_after: int = sys.maxsize) -> None:
        super().__init__()
        self.path = path
        self.sizes: list[int] = []
        self.end_after = end_after

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.sizes.append(self.path.lstat().st_size if os.path.lexists(self.path) else -1)
        if len(self.sizes) >= self.end_after:
            self.set()
        return self.is_set()


NAMES: dict[Layout, set[str]] = {
    "spool": {
        "front_door/recording/2026-11-22T10-15-04.005Z_0.4s.mp4",
        "front_door/photo/2026-11-22T10-15-04.005Z.jpg",
        "front_door/usage-log/2026-11-22T10-15-04.005Z.jsonl",
    },
    "frigate": {
        "recordings/2026-11-22/10/front_door/15.04.mp4",
        "clips/front_door-1795342504.005000-000001.jpg",
        "front_door/usage-log/2026-11-22T10-15-04.005Z.jsonl",
    },
    "motioneye": {
        "front_door/2026-11-22/10-15-04.mp4",
        "front_door/2026-11-22/10-15-04.jpg",
        "front_door/usage-log/2026-11-22T10-15-04.005Z.jsonl",
    },
    "timelapse": {
        "front_door/2026-11-22/MOV_0001.mp4",
        "front_door/2026-11-22/IMG_0001.jpg",
        "front_door/usage-log/2026-11-22T10-15-04.005Z.jsonl",
    },
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_puts_its_files_where_that_system_does(tmp_path: Path, layout: Layout) -> None:
    assert run(tmp_path, "--layout", layout, "--count", "1", "--photos", "--logs", *AT_ONCE) == 0
    written = files(tmp_path)
    assert set(written) == NAMES[layout]
    assert all(plays(raw) for name, raw in written.items() if name.endswith(".mp4"))


def test_files_and_folders_are_for_their_owner_only(tmp_path: Path) -> None:
    run(tmp_path, "--count", "1", "--no-clips", "--logs", *AT_ONCE)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert modes == {0o600, 0o700}


def test_a_second_run_in_another_process_writes_the_same_bytes(tmp_path: Path) -> None:
    arguments = ["--count", "2", "--photos", "--logs", *AT_ONCE]
    assert run(tmp_path / "one", *arguments) == 0
    program = [sys.executable, "-c", PROGRAM, "camera", "--spool", str(tmp_path / "two"), *arguments]
    subprocess.run(program, check=True, timeout=DEADLINE_S, stdout=subprocess.DEVNULL)
    assert len(files(tmp_path / "one")) == 6
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_timelapse_numbers_go_on_after_an_earlier_run(tmp_path: Path) -> None:
    arguments = ["--layout", "timelapse", "--no-clips", "--photos", *AT_ONCE]
    run(tmp_path, "--count", "2", *arguments)
    run(tmp_path, "--count", "1", *arguments)
    assert set(files(tmp_path)) == {f"front_door/2026-11-22/IMG_000{number}.jpg" for number in (1, 2, 3)}


def test_own_clip_is_copied_as_it_is(tmp_path: Path) -> None:
    own = tmp_path / "mine.mkv"
    own.write_bytes(PAYLOAD)
    assert run(tmp_path / "spool", "--count", "1", "--clip", str(own), *AT_ONCE) == 0
    assert files(tmp_path / "spool") == {"front_door/recording/2026-11-22T10-15-04.005Z_0.4s.mkv": PAYLOAD}


def test_json_lines_name_each_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, "--count", "2", "--no-clips", "--photos", "--logs", "--json", *AT_ONCE)
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["path"]: line["size_bytes"] for line in told} == {
        str(tmp_path / name): len(raw) for name, raw in files(tmp_path).items()
    }
    assert [line["kind"] for line in told] == ["photo", "usage-log"] * 2
    assert told[0]["start"] == "2026-11-22T10:15:04.005Z"


def test_a_name_with_control_characters_cannot_command_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, "--count", "1", "--no-clips", "--logs", "--fault", "control-name", *AT_ONCE)
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert "\x1b" not in out
    assert "(control-name)" in out


@pytest.mark.parametrize(
    ("arguments", "step"),
    [(["--no-clips", "--count", "1"], "--photos"), (["--rate", "0"], "--count"), (AT_ONCE, "--count")],
)
def test_misuse_is_refused_with_the_next_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], step: str
) -> None:
    assert run(tmp_path, *arguments) == 2
    assert step in capsys.readouterr().err
    assert files(tmp_path) == {}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--size", "161x90"],
        ["--size", "big"],
        ["--start", "yesterday"],
        ["--start", "2026-11-22T10:15:00"],
        ["--seconds", "0"],
        ["--seconds", "inf"],
        ["--seconds", "long"],
        ["--rate", "-1"],
        ["--count", "0"],
    ],
)
def test_bad_values_on_the_command_line_exit_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(tmp_path, *arguments)
    assert ended.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_a_folder_that_cannot_be_used_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert run(tmp_path / "file", "--count", "1", *AT_ONCE) == 1
    assert "next: name a folder" in capsys.readouterr().err


def test_without_a_start_rounds_come_at_the_rate_and_their_captures_lie_in_the_past(tmp_path: Path) -> None:
    class Waiting(Event):
        waits: list[float]

        def wait(self, timeout: float | None = None) -> bool:
            assert timeout is not None
            self.waits.append(timeout)
            clock[0] += timedelta(seconds=timeout)
            return False

    clock, stop = [START], Waiting()
    stop.waits = []
    options = Options(spool=tmp_path, rate_per_minute=12, count=3, seconds=2, clips=False, logs=True)
    began = [(written.start, clock[0]) for written in record(options, stop=stop, now=lambda: clock[0])]
    assert stop.waits == [0, 5, 5]
    assert all(begin == seen - timedelta(seconds=2) for begin, seen in began)


def test_without_a_rate_the_last_capture_ends_now(tmp_path: Path) -> None:
    options = Options(spool=tmp_path, rate_per_minute=0, count=3, seconds=2, clips=False, logs=True)
    starts = [written.start for written in record(options, stop=Event(), now=lambda: START)]
    assert starts == [START - timedelta(seconds=left) for left in (6, 4, 2)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_camera_without_a_partial_file(tmp_path: Path, number: signal.Signals) -> None:
    arguments = ["--spool", str(tmp_path), "--json", "--count", "100000", *AT_ONCE]
    with subprocess.Popen([sys.executable, "-c", PROGRAM, "camera", *arguments], stdout=subprocess.PIPE) as camera:
        assert camera.stdout is not None
        assert camera.stdout.readline()
        camera.send_signal(number)
        rest = camera.stdout.read()
        assert camera.wait(DEADLINE_S) == 0
    written = files(tmp_path)
    assert len(written) == 1 + len(rest.splitlines())
    assert all(name.endswith(".mp4") and plays(raw) for name, raw in written.items())


def test_a_file_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    def torn() -> None:
        with finished(tmp_path / "a" / "clip.mp4") as file:
            file.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        torn()
    assert files(tmp_path) == {}


def test_a_file_in_the_making_has_no_final_name(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    with finished(path) as file:
        file.write(b"half")
        assert [found.name for found in tmp_path.iterdir()] == ["clip.mp4.part"]
    assert files(tmp_path) == {"clip.mp4": b"half"}


@pytest.mark.parametrize(
    ("name", "folder"),
    [("Front door", "front_door"), ("  Küche / 2. Stock ", "küche_2_stock"), ("../..", "camera"), ("", "camera")],
)
def test_a_camera_name_becomes_one_harmless_folder(name: str, folder: str) -> None:
    assert slug(name) == folder


def test_frigate_hours_and_days_are_utc() -> None:
    local = datetime.fromisoformat("2026-11-23T00:30:05+01:00")
    path = place("frigate", "recording", camera="yard", start=local, seconds=10, number=1, ending=".mp4")
    assert str(path) == "recordings/2026-11-22/23/yard/30.05.mp4"


def test_a_growing_file_is_seen_at_every_length_and_ends_whole(tmp_path: Path) -> None:
    path = tmp_path / "cam" / "clip.mp4"
    watch = Watching(path)
    plant("grow", path, PAYLOAD, top=tmp_path, stop=watch)
    assert watch.sizes == [len(PAYLOAD) * step // GROW_STEPS for step in range(1, GROW_STEPS + 1)]
    assert path.read_bytes() == PAYLOAD


def test_a_growing_file_that_is_stopped_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "cam" / "clip.mp4"
    plant("grow", path, PAYLOAD, top=tmp_path, stop=Watching(path, end_after=3))
    assert files(tmp_path) == {}


def test_a_vanishing_file_was_whole_before_it_went(tmp_path: Path) -> None:
    path = tmp_path / "cam" / "clip.mp4"
    watch = Watching(path)
    plant("vanish", path, PAYLOAD, top=tmp_path, stop=watch)
    assert watch.sizes == [len(PAYLOAD)]
    assert files(tmp_path) == {}


def test_a_symlink_leads_to_a_whole_file_elsewhere(tmp_path: Path) -> None:
    path = plant("symlink", tmp_path / "cam" / "clip.mp4", PAYLOAD, top=tmp_path, stop=Event())
    assert path.is_symlink()
    assert path.read_bytes() == PAYLOAD
    assert path.resolve().parent == tmp_path / ".outside"


def test_a_hardlink_has_two_names(tmp_path: Path) -> None:
    path = plant("hardlink", tmp_path / "cam" / "clip.mp4", PAYLOAD, top=tmp_path, stop=Event())
    assert path.stat().st_nlink == 2
    assert path.samefile(tmp_path / ".outside" / "clip.mp4")


def test_a_fifo_stands_under_the_final_name(tmp_path: Path) -> None:
    path = plant("fifo", tmp_path / "cam" / "clip.mp4", PAYLOAD, top=tmp_path, stop=Event())
    assert path.is_fifo()


def test_a_control_name_keeps_its_ending(tmp_path: Path) -> None:
    path = plant("control-name", tmp_path / "cam" / "clip.mp4", PAYLOAD, top=tmp_path, stop=Event())
    assert path.suffix == ".mp4"
    assert {"\n", "\x1b"} <= set(path.name)
    assert path.read_bytes() == PAYLOAD


def test_a_torn_clip_is_the_beginning_only(tmp_path: Path) -> None:
    path = plant("truncate", tmp_path / "cam" / "clip.mp4", PAYLOAD, top=tmp_path, stop=Event())
    assert path.read_bytes() == PAYLOAD[: len(PAYLOAD) // 2]


def test_faults_take_turns_over_the_rounds(tmp_path: Path) -> None:
    turns: tuple[Fault, ...] = ("fifo", "truncate")
    options = Options(spool=tmp_path, start=START, count=4, clips=False, logs=True, faults=turns)
    written = list(record(options, stop=Event(), now=lambda: START))
    assert [one.fault for one in written] == [*turns, *turns]
    assert [one.path.is_fifo() for one in written] == [True, False, True, False]


def test_every_fault_can_be_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    planted = [fault for fault in FAULTS if fault not in {"grow", "vanish"}]
    arguments = [word for fault in planted for word in ("--fault", fault)]
    assert run(tmp_path, "--count", str(len(planted)), "--no-clips", "--logs", "--json", *arguments, *AT_ONCE) == 0
    assert [json.loads(line)["fault"] for line in capsys.readouterr().out.splitlines()] == planted


def test_a_clip_in_the_folder_is_the_one_the_library_makes(tmp_path: Path) -> None:
    run(tmp_path, "--count", "2", *AT_ONCE)
    digests = {hashlib.sha256(raw).hexdigest() for raw in files(tmp_path).values()}
    assert len(digests) == 2  # each round sees something else
