"""`privacy-agent encrypt` of a file in the page cache to /dev/null, start-up included, beside other tools.

Whole processes, one after the other in every round; medians. Speed is bytes by wall time; processor time and the
highest peak of memory stand beside it. The post-quantum recipient only makes a longer header, and Debian's age has
none, so the same age run stands beside both.
"""

import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Final

from tests.bench.meter import Cost, in_turn, run
from tests.bench.table import MEGA, MIB, Figure, Peer

PART: Final = "encrypt"
_BIN: Final = Path(sys.executable).parent
_FACTOR: Final = 1.3
_PEAK_MIB: Final = 40
_PYRAGE: Final = (
    "import sys, pyrage; pyrage.encrypt_file(sys.argv[2], '/dev/null', [pyrage.x25519.Recipient.from_str(sys.argv[1])])"
)


def measure(folder: Path, *, quick: bool) -> list[Figure]:
    """Return the figures of both kinds of recipient."""
    size_bytes = (64 if quick else 1024) * MIB
    clear = content(folder / "clear", size_bytes)
    plain, hybrid = keygen(folder / "x25519"), keygen(folder / "hybrid", "--pq")
    agent = _BIN / "privacy-agent"
    commands = {
        "x25519": partial(run, [agent, "encrypt", "-r", plain, clear]),
        "post-quantum": partial(run, [agent, "encrypt", "-r", hybrid, clear]),
        "age": partial(run, [needed("age"), "-r", plain, "-o", "/dev/null", clear]),
        "pyrage": partial(run, [sys.executable, "-c", _PYRAGE, plain, clear]),
        "dd": partial(run, ["dd", f"if={clear}", "of=/dev/null", "bs=1M", "status=none"]),
        "cp": partial(run, ["cp", clear, folder / "copy"]),
    }
    costs = in_turn(commands, rounds=2 if quick else 7)
    limit_mb_s = openssl_mb_s(seconds=1 if quick else 3)
    clear.unlink()
    (folder / "copy").unlink()
    return [figure for name in ("x25519", "post-quantum") for figure in _figures(name, costs, size_bytes, limit_mb_s)]


def _figures(name: str, costs: dict[str, Cost], size_bytes: int, limit_mb_s: float) -> list[Figure]:
    speeds = {one: size_bytes / MEGA / cost.wall_s for one, cost in costs.items()}
    ours = costs[name]
    size = f"{size_bytes // MIB} MiB"
    return [
        Figure(
            part=PART,
            what=f"{size}, {name}",
            value=speeds[name],
            unit="MB/s",
            target=f"≥ {_FACTOR} x age",
            holds=speeds[name] >= _FACTOR * speeds["age"],
            peers=(
                *(Peer(peer, speeds[peer]) for peer in ("age", "pyrage", "dd", "cp")),
                Peer("openssl speed, 64 KiB", limit_mb_s),
            ),
            note=f"processor time {ours.cpu_s:.2f} s, age {costs['age'].cpu_s:.2f} s",
        ),
        Figure(
            part=PART,
            what=f"{size}, {name}, peak memory",
            value=ours.peak_bytes / MIB,
            unit="MiB",
            target=f"≤ {_PEAK_MIB} MiB",
            holds=ours.peak_bytes <= _PEAK_MIB * MIB,
            peers=tuple(Peer(peer, costs[peer].peak_bytes / MIB) for peer in ("age", "pyrage")),
        ),
    ]


def content(path: Path, size_bytes: int) -> Path:
    """Write random bytes; having been written they are in the page cache."""
    block = os.urandom(MIB)
    with path.open("wb") as file:
        for _ in range(size_bytes // MIB):
            file.write(block)
    return path


def keygen(path: Path, *options: str) -> str:
    """Make an identity file and return its recipient."""
    subprocess.run([_BIN / "privacy-agent", "keygen", *options, "-o", path], capture_output=True, check=True)
    text = path.read_text().splitlines()
    return next(line for line in text if "public key: " in line.lower()).partition(": ")[2]


def needed(program: str) -> str:
    """Return where another tool is; ``RuntimeError`` when it is not installed."""
    found = shutil.which(program)
    if found is None:
        raise RuntimeError(f"{program} is not installed\n  next: sudo apt-get install {program}")
    return found


def openssl_mb_s(*, seconds: int) -> float:
    """Return what one core gives the cipher, in pieces as large as age's chunks."""
    done = subprocess.run(
        [needed("openssl"), "speed", "-seconds", str(seconds), "-bytes", "65536", "-evp", "chacha20-poly1305"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    last = done.stdout.strip().splitlines()[-1].split()[-1]
    return float(last.rstrip("k")) * 1000 / MEGA
