"""``device-sim tell``: one order to a simulator that runs (``order`` lists them)."""

import argparse
import json
import shlex
import sys
from pathlib import Path

from device_sim.camera.breakage import BREAKAGES_HELP
from device_sim.camera.control import CONTROL, NobodyError, tell
from device_sim.camera.order import OrderError, read

_EPILOG = f"""\
orders:
  break NAME WHAT          mend NAME WHAT
  setup NAME [SECONDS]     collect NAME on|off     consent NAME on|off
  show                     stop
NAME is a camera's name, its id, a hub's name, or all.

what breaks:
{BREAKAGES_HELP}

example:
  device-sim tell --state cameras break "Front door" card-full
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add ``tell`` to ``device-sim``."""
    parser = subparsers.add_parser(
        "tell",
        allow_abbrev=False,
        help="break, mend or switch a simulated camera that runs",
        description="Give one order to a running `device-sim camera`.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--state", type=Path, metavar="DIR", help="the --state folder of the simulator")
    where.add_argument("--control", type=Path, metavar="SOCKET", help="its --control socket")
    parser.add_argument("--json", action="store_true", help="the whole answer, as JSON")
    parser.add_argument("order", nargs="+", metavar="ORDER", help="an order and its words")
    parser.set_defaults(run=run)
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Run ``device-sim tell``; 0 done, 1 nobody there or not done, 2 no such order."""
    line = shlex.join(arguments.order)
    try:
        read(line)
    except OrderError as error:
        print(f"device-sim tell: {error}", file=sys.stderr)
        return 2
    try:
        told = tell(arguments.control or arguments.state / CONTROL, line)
    except NobodyError as error:
        print(f"device-sim tell: {error}\n  next: start it with device-sim camera --state DIR --link", file=sys.stderr)
        return 1
    if arguments.json:
        print(json.dumps(told, ensure_ascii=False))
    elif not told["ok"]:
        print(f"device-sim tell: {told['error']}", file=sys.stderr)
    else:
        for camera in told.get("cameras", []):
            print(_line(camera))
    return 0 if told["ok"] else 1


def _line(camera: dict[str, object]) -> str:
    words = [f"{camera['name']}:", str(camera["label"]), f"port {camera['port'] or '-'}"]
    words += ["paired" if camera["agent"] else "not paired", "collecting" if camera["collecting"] else "not collecting"]
    words += ["set-up window open"] if camera["setup_open"] else []
    words += [] if camera["powered"] else ["without power"]
    broken = camera["broken"]
    return "  ".join([*words, *(broken if isinstance(broken, list) else [])])
