"""`make bench`: measure speed and memory beside other tools in the same run, and print one table.

    python -m tests.bench [--quick] [--only PART]… [--json] [--write docs/benchmarks.md]

Nothing here passes or fails by a time: what misses its target is printed as such. ``--quick`` proves that every row
still runs, with sizes too small to say anything about speed.
"""

import argparse
import compileall
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from agent.clock import rfc3339_ms, system_clock
from tests.bench import (
    answering,
    discovering,
    encrypting,
    enrolled,
    hearing,
    machine,
    proving,
    resting,
    scaling,
    streaming,
    taking_in,
    uploading,
)
from tests.bench.document import document
from tests.bench.table import Figure, plain
from tests.loaded import FROM_NOTHING

PARTS: Final[dict[str, Callable[..., list[Figure]]]] = {
    "encrypt": encrypting.measure,
    "upload": uploading.measure,
    "rest": resting.measure,
    "answer": answering.measure,
    "take-in": taking_in.measure,
    "discover": discovering.measure,
    "bluetooth": hearing.measure,
    "prove": proving.measure,
    "ten-cameras": enrolled.measure,
    "limit": streaming.measure,
    "scale": scaling.measure,
}


def main() -> int:
    """Measure what is asked for and print it."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes: does every row run?")
    parser.add_argument("--only", action="append", choices=tuple(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the document as well")
    parser.add_argument(
        "--dir", type=Path, help="where the files of the run lie, on the disk to measure (default: /tmp)"
    )
    arguments = parser.parse_args()
    for package in ("agent", "device_sim"):  # as an installer does; a checkout run without it compiles at each start
        compileall.compile_dir(package, quiet=1)
    os.environ[FROM_NOTHING] = "1"
    figures: list[Figure] = []
    before = machine.load()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=arguments.dir) as name:
        about = machine.describe(Path(name))
        for part in arguments.only or PARTS:
            print(f"measuring: {part}", file=sys.stderr, flush=True)
            folder = Path(name) / part
            folder.mkdir()
            figures += PARTS[part](folder, quick=arguments.quick)
    about["load"] = f"{before} at the start, {machine.load()} at the end (over 1 and 5 minutes)"
    about["date"] = rfc3339_ms(system_clock(source="system")().wall_ms)[:10]
    if arguments.json:
        print(json.dumps({"machine": about, "figures": [figure.builtins() for figure in figures]}, indent=2))
    else:
        print("\n".join(f"{name}: {value}" for name, value in about.items()), end="\n\n")
        print(plain(figures))
    if arguments.write is not None:
        arguments.write.write_text(document(about, figures), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
