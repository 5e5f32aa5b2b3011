"""``python -m device_sim.cloud``: the same as ``device-sim cloud``."""

import argparse
import sys

from device_sim.cloud.cli import add_arguments


def main() -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m device_sim.cloud", allow_abbrev=False)
    add_arguments(parser)
    args = parser.parse_args()
    code: int = args.run(args)
    return code


if __name__ == "__main__":
    sys.exit(main())
