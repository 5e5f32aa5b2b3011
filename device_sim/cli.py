"""The shell command `device-sim`: stand-ins for everything that the agent speaks with.

Each part adds its own sub-command (``add_parser``) whose ``run`` default takes the parsed arguments and returns the
exit code: 0 done, 1 not possible, 2 wrong usage.
"""

import argparse
import sys
from collections.abc import Callable, Sequence

from device_sim import broker
from device_sim.camera import cli as camera
from device_sim.cloud import cli as cloud
from device_sim.demo import cli as demo


def main(argv: Sequence[str] | None = None) -> int:
    """Run one sub-command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="device-sim",
        description="Stand-ins for the camera, the cloud and the broker around a privacy agent, and the demo of all.",
        epilog="example:  device-sim demo",
        allow_abbrev=False,
    )
    subparsers = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    demo.add_parser(subparsers)
    camera.add_parser(subparsers)
    cloud.add_parser(subparsers)
    broker.add_parser(subparsers)
    args = parser.parse_args(argv)
    run: Callable[[argparse.Namespace], int] = args.run
    return run(args)


if __name__ == "__main__":
    sys.exit(main())
