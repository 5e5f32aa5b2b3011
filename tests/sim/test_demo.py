"""The demo as a person starts it: from the shell, with each broker, with their own clip, interrupted, in the way."""

import base64
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import av
import psutil
import pytest

from device_sim.demo import crossing, picture, residue
from device_sim.demo.found import Told
from device_sim.demo.screen import Silent, cut
from device_sim.demo.stage import MARK, DemoError, Stage
from device_sim.demo.story import Story

ATTEMPT_S = 300
SMALL_CLIP = ("--seconds", "2", "--bits-per-s", "6000000", "--fps", "15")
OUTSIDE = re.compile(r"\b(?:src|href|srcset|action)\s*=|url\(|@import|<script|<link|<iframe|https?:", re.IGNORECASE)

BIN: Final = Path(sys.executable).parent


def run_demo(folder: Path, *options: str | Path, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "device_sim", "demo", "--dir", folder, *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=ATTEMPT_S,
        cwd=cwd,
    )


def left_running(folder: Path) -> list[str]:
    """Programs whose command line names the demo's folder."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        if str(folder) in line and process.pid != os.getpid():
            found.append(line)
    return found


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small clip of one's own, so that these runs are short."""
    folder = tmp_path_factory.mktemp("clip")
    camera = [
        sys.executable,
        "-m",
        "device_sim",
        "camera",
        "--spool",
        folder,
        "--count",
        "1",
        "--rate",
        "0",
        *SMALL_CLIP,
    ]
    subprocess.run([*map(str, camera), *SMALL_CLIP], check=True, capture_output=True)
    (found,) = folder.rglob("*.mp4")
    return found


@pytest.mark.long
@pytest.mark.parametrize("engine", ["mosquitto", "amqtt"])
def test_demo_with_each_broker_proves_every_claim_and_leaves_nothing_running(
    engine: str, clip: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "demo"
    done = run_demo(folder, "--engine", engine, "--input", clip, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    assert told["ok"]
    assert told["engine"] == engine
    assert [step["step"] for step in told["steps"]] == list(range(1, 15))
    assert {claim: held for step in told["steps"] for claim, held in step["claims"].items() if not held} == {}
    assert left_running(folder) == []
    _check_report(Path(told["report"]).read_text(encoding="utf-8"))
    lines = [line for command in told["by_hand"] for line in command.split("\n") if not line.startswith(str(BIN))]
    assert max(map(len, lines)) <= 74, "as printed, two further in, no terminal of 80 columns breaks one"

    def by_hand(number: int) -> "subprocess.CompletedProcess[bytes]":
        command = told["by_hand"][number]
        return subprocess.run(command, shell=True, check=False, capture_output=True, cwd=tmp_path)  # noqa: S602 - as printed

    opened = by_hand(0)
    assert opened.returncode == 0, opened.stderr
    assert (folder / "kept-by-hand.mp4").read_bytes() == clip.read_bytes()
    explained = by_hand(1)
    assert b"by hold" in explained.stdout
    assert b"claim 7 of the insurer" in explained.stdout
    judged = by_hand(2)
    assert judged.returncode == 1


def test_moving_line_is_cut_to_its_room_and_never_becomes_two() -> None:
    assert cut("uploading 3 of 9", 16) == "uploading 3 of 9"
    assert cut("uploading 3 of 9", 10) == "uploading…"
    assert cut("uploading", 0) == "…"


def _check_report(page: str) -> None:
    inline = re.compile(r'src="data:image/png;base64,[A-Za-z0-9+/=]+"')
    assert len(inline.findall(page)) == 2
    assert OUTSIDE.findall(inline.sub("", page)) == []
    assert page.count("gone for good") >= 2
    # On a narrow screen the columns stand below each other, and each value says what it is.
    assert ".scroll td { display: block; }" in page
    assert page.count("data-label='with the device as it is now'") == 3


def test_demo_interrupted_ends_everything_that_it_started(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    command = [sys.executable, "-m", "device_sim", "demo", "--dir", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if b" 3  " in line:
                break
        demo.send_signal(signal.SIGINT)
        _out, err = demo.communicate(timeout=ATTEMPT_S)
    assert demo.returncode == 1
    assert b"stopped; everything that it started has ended" in err
    assert left_running(folder) == []
    beside = (folder / MARK).read_text(encoding="utf-8")
    assert not beside or not Path(beside).exists()


def test_step_with_a_claim_that_does_not_hold_ends_the_story_and_names_it(tmp_path: Path) -> None:
    with Stage(tmp_path / "demo") as stage:
        story = Story(stage, Silent(), engine="auto", clip=None)
        told = Told(seen="two of three", proves="", figure="", claims={"all three came": False, "some came": True})
        with pytest.raises(DemoError, match="does not hold: all three came") as caught:
            story.play_step(1, "Three", lambda: told)
    assert "seen: two of three" in str(caught.value)
    assert f"next: read {tmp_path / 'demo' / 'log'}" in str(caught.value)


def test_demo_whose_step_fails_says_what_and_where_the_logs_are(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    # What lies in the current folder comes first for `python -m`.
    (tmp_path / "certs.py").write_text("raise SystemExit('no certificates today')\n")
    done = run_demo(folder, "--json", cwd=tmp_path)
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert not told["ok"]
    assert "no certificates today" in told["problem"]
    assert f"next: read {folder / 'log'}" in done.stderr
    assert left_running(folder) == []


def test_demo_in_a_folder_too_deep_for_a_socket_says_so_at_once(tmp_path: Path) -> None:
    done = run_demo(tmp_path / ("deep" * 30))
    assert done.returncode == 1
    assert "too long" in done.stderr
    assert "next:" in done.stderr


def test_demo_in_a_folder_that_another_demo_uses_says_so_and_touches_nothing(tmp_path: Path) -> None:
    # Two of them destroyed each other, and each told of something else that had gone wrong.
    folder = tmp_path / "demo"
    with Stage(folder) as stage:
        (folder / "theirs").write_text("here")
        done = run_demo(folder)
        assert done.returncode != 0
        assert f"another demo uses {folder}" in done.stderr
        assert "next: wait for its end, or name another one with --dir" in done.stderr
        assert (folder / "theirs").read_text() == "here"
        assert stage.spool.is_dir()
    with Stage(folder):
        assert not (folder / "theirs").exists()


@pytest.mark.parametrize(
    ("chunks", "durable", "again"),
    [([(0, 10), (10, 10)], 10, 0), ([(0, 10), (0, 10), (10, 10)], 10, 10), ([(0, 10), (10, 10), (10, 10)], 10, 0),
     ([(0, 10), (5, 10)], 10, 5), ([(0, 10), (10, 10)], 0, 0)],
)  # fmt: skip
def test_bytes_sent_again_below_what_was_durable_are_counted(
    chunks: list[tuple[int, int]], durable: int, again: int
) -> None:
    assert crossing._again_below(chunks, durable) == again


def test_demo_in_a_folder_of_somebody_else_touches_nothing(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"mine")
    done = run_demo(tmp_path, "--json")
    assert done.returncode == 1
    assert "was not made by a demo" in done.stderr
    assert "next:" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


def test_demo_of_what_is_no_video_is_wrong_usage(tmp_path: Path) -> None:
    text = tmp_path / "notes.mp4"
    text.write_text("no video " * 200_000)
    done = run_demo(tmp_path / "demo", "--input", text, "--json")
    assert done.returncode == 2
    assert "next:" in done.stderr
    told = json.loads(done.stdout)
    assert not told["ok"]
    assert done.stderr == f"device-sim demo: {told['problem']}\n"
    assert not (tmp_path / "demo").exists()


@pytest.mark.parametrize("at", [0, 1, 31, 32, 33, 4097, 1_048_570])
def test_search_finds_a_copied_sample_at_any_offset(at: int, tmp_path: Path) -> None:
    source = bytes(os.urandom(64 * 1024))
    (tmp_path / "file").write_bytes(bytes(at) + source[4096 : 4096 + residue.SAMPLE_BYTES] + bytes(100))
    found = residue.search([tmp_path], [residue.sample(source)])
    assert (found.files, len(found.hits)) == (1, 1)
    assert at <= found.hits[0].offset < at + residue.WINDOW_BYTES


def test_search_of_other_bytes_finds_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(os.urandom(300_000))
    assert residue.search([tmp_path], [residue.sample(os.urandom(64 * 1024))], texts=["Front door"]).hits == ()


def test_search_is_not_misled_by_zeros_that_stand_among_what_varies(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(4096))
    tables = bytes(range(1, 15)) + bytes(residue.WINDOW_BYTES + 1) + bytes(range(15, 31))  # as at the end of an MP4
    assert len(tables) == residue.SAMPLE_BYTES
    assert residue.search([tmp_path], [residue.sample(tables)]).hits == ()


@pytest.mark.parametrize("lead", [0, 1, 2, (1 << 20) - 4])
def test_search_finds_a_name_in_every_form_across_any_seam(lead: int, tmp_path: Path) -> None:
    for number, form in enumerate(residue.text_forms("Front door")[:3]):
        (tmp_path / f"plain{number}").write_bytes(bytes(lead) + form)
    (tmp_path / "coded").write_bytes(base64.b64encode(os.urandom(lead % 3) + b"Front door" + os.urandom(7)))
    hits = residue.search([tmp_path], [residue.sample(b"")], texts=["Front door"]).hits
    assert {hit.file.name for hit in hits} == {"plain0", "plain1", "plain2", "coded"}


def test_png_of_pixels_is_read_back_by_another_reader(tmp_path: Path) -> None:
    rgb = os.urandom(32 * 18 * 3)
    path = tmp_path / "noise.png"
    path.write_bytes(picture.png(rgb, 32, 18))
    with av.open(str(path)) as opened:
        frame = next(opened.decode(video=0)).reformat(format="rgb24")
    plane = frame.planes[0]
    rows = b"".join(bytes(plane)[row * plane.line_size : row * plane.line_size + 96] for row in range(18))
    assert rows == rgb
