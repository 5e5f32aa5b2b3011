"""The shell command `device-sim`: stand-ins for everything that the agent speaks with.

Each part adds its own sub-command (``add_parser``) whose ``run`` default takes the parsed arguments and returns the
exit code: 0 done, 1 not possible, 2 wrong usage.
"""

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

_PARTS: Final = ("demo", "camera", "cloud", "broker")
_HOME: Final = Path(__file__).parent


def main(argv: Sequence[str] | None = None) -> int:
    """Run one sub-command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="device-sim",
        description="Stand-ins for the camera, the cloud and the broker around a privacy agent, and the demo of all.",
        epilog="example:  device-sim demo",
        allow_abbrev=False,
    )
    subparsers = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for part in _PARTS:
        if (_HOME / part / "cli.py").is_file():
            importlib.import_module(f"device_sim.{part}.cli").add_parser(subparsers)
        elif (_HOME / f"{part}.py").is_file():
            importlib.import_module(f"device_sim.{part}").add_parser(subparsers)
    args = parser.parse_args(argv)
    run: Callable[[argparse.Namespace], int] = args.run
    return run(args)


if __name__ == "__main__":
    sys.exit(main())
