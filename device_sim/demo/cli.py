"""The shell command ``device-sim demo``; what it needs is imported when it runs, so that its siblings start quickly."""

import argparse
from pathlib import Path
from typing import Final

DEFAULT_DIR: Final = Path("demo")


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add `device-sim demo`."""
    parser = subparsers.add_parser(
        "demo",
        help="watch one recording live and die, and see every claim proved",
        description="A camera's video is sealed, uploaded through a crash, read back, expired, deleted and proved gone:"
        " fourteen steps on this machine, each measured while you watch, and a report with pictures.",
        epilog="example:  device-sim demo --input clip.mp4",
        allow_abbrev=False,
    )
    parser.add_argument("--input", type=Path, metavar="CLIP.mp4", help="your own clip (1 MB to 256 MB)")
    parser.add_argument("--dir", type=Path, default=DEFAULT_DIR, help="where everything goes (default: demo)")
    parser.add_argument("--engine", choices=["auto", "mosquitto", "amqtt"], default="auto", help="which MQTT broker")
    parser.add_argument("--keep", action="store_true", help="at the end leave all of it running until Ctrl-C")
    parser.add_argument("--json", action="store_true", help="one JSON document at the end")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Play the demo: 0 everything held, 1 something did not (it says what), 2 wrong usage."""
    from device_sim.demo.play import play  # noqa: PLC0415 - what a command needs is imported by that command

    return play(args.dir, clip=args.input, engine=args.engine, keep_running=args.keep, json_wanted=args.json)
