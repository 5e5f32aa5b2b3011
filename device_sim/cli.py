"""The shell command `device-sim`: stand-ins for everything that the agent speaks with.

Each part adds its own sub-command (``add_parser``) whose ``run`` default takes the parsed arguments and returns the
exit code: 0 done, 1 not possible, 2 wrong usage.
"""

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any, Final

PARTS: Final = {
    "demo": "device_sim.demo.cli",
    "camera": "device_sim.camera.cli",
    "tell": "device_sim.camera.tell",
    "cloud": "device_sim.cloud.cli",
    "ble": "device_sim.ble.cli",
    "broker": "device_sim.broker",
}
"""In the order of ``--help``; only the named part is loaded, because video and brokers are slow to load."""


class _Parser(argparse.ArgumentParser):
    """Remembers which command was meant; its sub-commands are made of the same class."""

    def __init__(self, **told: Any) -> None:  # noqa: ANN401 - argparse's own arguments
        super().__init__(**told)
        self.set_defaults(meant=self)  # the innermost command's stands in the end


def main(argv: Sequence[str] | None = None) -> int:
    """Run one sub-command; returns the exit code."""
    parser = _Parser(
        prog="device-sim",
        description="Stand-ins for the camera, the cloud and the broker around a privacy agent, and the demo of all.",
        epilog="example:  device-sim demo",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version",
        action="version",
        version=f"%(prog)s {version('camera-privacy-agent')}",
        help="tell the version and end",
    )
    subparsers = parser.add_subparsers(
        title="commands", required=True, metavar="COMMAND", help="one of these; each has a --help of its own"
    )
    told = list(sys.argv[1:] if argv is None else argv)
    try:
        for name, module in PARTS.items():
            if not told or told[0] == name or told[0] not in PARTS:
                importlib.import_module(module).add_parser(subparsers)
    except ModuleNotFoundError as error:
        print(f"device-sim: {error.name} is not installed\n  next: pip install '.[sim]'", file=sys.stderr)
        return 1
    args, unknown = parser.parse_known_args(told)
    if unknown:
        args.meant.error(f"unrecognized arguments: {' '.join(unknown)}")
    run: Callable[[argparse.Namespace], int] = args.run
    return run(args)


if __name__ == "__main__":
    sys.exit(main())
