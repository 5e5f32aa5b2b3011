"""One playing of the demo, from the first check to the cleared stage, whatever ends it."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from device_sim.demo import picture
from device_sim.demo.screen import Person, Screen, Silent
from device_sim.demo.stage import ENDED_BY, DemoError, Stage
from device_sim.demo.story import TITLES, Story
from device_sim.signals import handled

CLIP_MIN_BYTES: Final = 1_000_000
"""A smaller one travels in so few pieces that it cannot be cut near 60 %."""

CLIP_MAX_BYTES: Final = 1 << 28

_NAME_ONE: Final = "name a video that plays: --input clip.mp4, or make demo INPUT=clip.mp4"


def play(folder: Path, *, clip: Path | None, engine: str, keep_running: bool, json_wanted: bool) -> int:
    """Play all steps in ``folder``; returns the exit code of the shell command."""
    if clip is not None and (wrong := _unusable(clip)):
        if json_wanted:
            _print_json(None, problem=f"{clip}: {wrong}")
        print(f"device-sim demo: {clip}: {wrong}", file=sys.stderr)
        return 2
    screen: Screen = Silent() if json_wanted else Person()
    story: Story | None = None
    try:
        with _interrupted_by_signals(), Stage(folder) as stage:
            story = Story(stage, screen, engine=engine, clip=clip and clip.absolute())
            story.tell()
            if json_wanted:
                _print_json(story, problem="")
            if keep_running:
                _wait_for_interrupt()
    except (DemoError, subprocess.TimeoutExpired) as error:
        if json_wanted:
            _print_json(story, problem=str(error))
        print(f"device-sim demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        if story is not None and len(story.steps) == len(TITLES):
            return 0
        print("\ndevice-sim demo: stopped; everything that it started has ended", file=sys.stderr)
        return 1
    return 0


def _unusable(clip: Path) -> str:
    """Return why a clip cannot be taken, with the next step; "" when it can."""
    try:
        size = clip.stat().st_size
        picture.frame_png(clip, at_s=0.0)
    except OSError as error:
        return f"{error.strerror or error}\n  next: {_NAME_ONE}"
    except ValueError as error:
        return f"{error}\n  next: {_NAME_ONE}"
    if not CLIP_MIN_BYTES <= size <= CLIP_MAX_BYTES:
        return f"{size:,} bytes\n  next: take a clip between {CLIP_MIN_BYTES:,} and {CLIP_MAX_BYTES:,} bytes"
    return ""


def _print_json(story: Story | None, *, problem: str) -> None:
    steps = [] if story is None else [step.as_json() for step in story.steps]
    found = None if story is None else story.found
    document = {
        "ok": not problem,
        "problem": problem,
        "engine": "" if found is None else found.engine,
        "steps": steps,
        "seconds": round(sum(float(str(step["seconds"])) for step in steps), 1),
        "report": "" if story is None or problem else str(story.report),
        "by_hand": [] if found is None else [command for _what, command in found.by_hand],
    }
    print(json.dumps(document, ensure_ascii=False), flush=True)


def _wait_for_interrupt() -> None:
    print("Everything keeps running; Ctrl-C ends it.", file=sys.stderr, flush=True)
    while True:
        signal.pause()


@contextmanager
def _interrupted_by_signals() -> Iterator[None]:
    """Make SIGTERM and SIGHUP what Ctrl-C is, so that whatever ends the demo clears the stage."""

    def interrupt() -> None:
        for number in ENDED_BY:  # the stage is being cleared: a second Ctrl-C would leave something running
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    with handled(interrupt, numbers=ENDED_BY):
        yield
