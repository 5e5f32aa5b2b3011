"""How near sealing and opening come to what the cipher alone takes, and taking in to what the disk alone takes.

Files in the page cache to /dev/null, whole processes, in turns; medians. Speed is the steady one: the bytes by which
the large file is larger than the small one, by the time that it takes longer, so that no start is in it.
One stream is one process, which uses the second processor that it finds for a large file; ``taskset`` gives it one
alone, which is the rate of a single thread. Two streams are two processes at once, and their bytes together. The limit
is ``openssl speed`` of ChaCha20-Poly1305 on one core, in pieces as large as age's chunks. Taking in is from the rename
that makes a file complete in the spool to the moment that its source is given up: sealed, hashed twice, fsynced,
committed; beside it are ``cp`` with fsync of the same file, and ``dd`` with it.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

from tests.bench.encrypting import content, keygen, needed, openssl_mb_s
from tests.bench.meter import Cost, in_turn, now_s, run
from tests.bench.table import MEGA, MIB, Figure, Peer
from tests.flow.house import House
from tests.waiting import until

PART: Final = "sealing at the limit"
_BIN: Final = Path(sys.executable).parent
_OF_LIMIT: Final = 0.8
_TWO: Final = 1.6
_OPEN_PYRAGE: Final = (
    "import sys, pyrage; identity = pyrage.x25519.Identity.from_str("
    "[one for one in open(sys.argv[1]).read().split() if one.startswith('AGE-SECRET-KEY-')][0]);"
    "pyrage.decrypt_file(sys.argv[2], '/dev/null', [identity])"
)
_SEAL_PYRAGE: Final = (
    "import sys, pyrage; pyrage.encrypt_file(sys.argv[2], '/dev/null', [pyrage.x25519.Recipient.from_str(sys.argv[1])])"
)
_BOTH: Final = '"$@" & first=$!; "$@" && wait $first'

Command = list[str | Path]


def measure(folder: Path, *, quick: bool) -> list[Figure]:
    """Return the figures of sealing, of opening and of taking in."""
    small, large = (16 * MIB, 64 * MIB) if quick else (128 * MIB, 1024 * MIB)
    rounds = 2 if quick else 7
    files = {size: content(folder / f"clear-{size}", size) for size in (small, large)}
    identity = folder / "identity"
    recipient = keygen(identity)
    sealed = {size: folder / f"sealed-{size}" for size in files}
    agent = _BIN / "privacy-agent"
    for size, path in files.items():
        subprocess.run([agent, "encrypt", "-r", recipient, "-o", sealed[size], path], check=True)
    sealing: dict[str, Callable[[Path], Command]] = {
        "ours": lambda path: [agent, "encrypt", "-r", recipient, path],
        "age": lambda path: [needed("age"), "-r", recipient, "-o", "/dev/null", path],
        "pyrage": lambda path: [sys.executable, "-c", _SEAL_PYRAGE, recipient, path],
    }
    opening: dict[str, Callable[[Path], Command]] = {
        "ours": lambda path: [agent, "decrypt", "-i", identity, path],
        "age": lambda path: [needed("age"), "-d", "-i", identity, "-o", "/dev/null", path],
        "pyrage": lambda path: [sys.executable, "-c", _OPEN_PYRAGE, identity, path],
    }
    limit_mb_s = openssl_mb_s(seconds=1 if quick else 3)
    figures = [
        *_rates("sealing", sealing, files, limit_mb_s, rounds=rounds),
        *_rates("opening", opening, sealed, limit_mb_s, rounds=rounds),
    ]
    for path in (*sealed.values(), files[large]):
        path.unlink()
    return [*figures, *_taken_in(folder, files[small], rounds=rounds)]


def _rates(
    what: str, commands: dict[str, Callable[[Path], Command]], files: dict[int, Path], limit: float, *, rounds: int
) -> Iterator[Figure]:
    ours = commands["ours"]
    ways: dict[str, Callable[[Path], Command]] = {
        **commands,
        "one thread": lambda path: ["taskset", "-c", "0", *ours(path)],
        "two": lambda path: ["sh", "-c", _BOTH, "both", *ours(path)],
    }
    costs = in_turn(
        {f"{name} {size}": partial(run, way(path)) for name, way in ways.items() for size, path in files.items()},
        rounds=rounds,
    )
    rate = {name: _steady(costs, name, files) for name in ways}
    two = 2 * rate["two"]
    yield Figure(
        part=PART, what=f"{what}, one stream", value=rate["ours"], unit="MB/s", target=f"≥ {_OF_LIMIT} x openssl speed",
        holds=rate["ours"] >= _OF_LIMIT * limit,
        peers=(Peer("openssl speed, 64 KiB", limit), Peer("age", rate["age"]), Peer("pyrage", rate["pyrage"])),
        note=f"{_with_start(costs, files):.0f} MB/s with its start",
    )  # fmt: skip
    yield Figure(
        part=PART, what=f"{what}, one stream on one processor", value=rate["one thread"], unit="MB/s",
        peers=(Peer("openssl speed, 64 KiB", limit),),
    )  # fmt: skip
    yield Figure(
        part=PART, what=f"{what}, two streams at once, together", value=two, unit="MB/s",
        target=f"≥ {_TWO} x one thread", holds=two >= _TWO * rate["one thread"],
        peers=(Peer("one thread", rate["one thread"]), Peer("openssl speed, 64 KiB", limit)),
    )  # fmt: skip


def _steady(costs: dict[str, Cost], name: str, files: dict[int, Path]) -> float:
    small, large = sorted(files)
    return (large - small) / MEGA / max(costs[f"{name} {large}"].wall_s - costs[f"{name} {small}"].wall_s, 1e-3)


def _with_start(costs: dict[str, Cost], files: dict[int, Path]) -> float:
    return max(files) / MEGA / costs[f"ours {max(files)}"].wall_s


def _taken_in(folder: Path, clear: Path, *, rounds: int) -> Iterator[Figure]:
    size_bytes = clear.stat().st_size
    (folder / "house").mkdir()
    took: dict[str, list[float]] = {"ours": [], "cp": [], "dd": []}
    with House(folder / "house") as house:
        house.start_agent()
        spool = house.spool / "garden" / "photo"
        spool.mkdir(parents=True)
        for number in range(rounds + 1):
            path = folder / f"2026-03-01T10-{number:02d}-00.000Z.jpg"
            subprocess.run(["cp", clear, path], check=True)
            run(["sync", path])  # a camera wrote it a while ago
            begin_s = now_s()
            path.rename(spool / path.name)
            until(lambda path=path: not (spool / path.name).exists(), what="taken in", pace_s=0.001)  # type: ignore[misc] # the lambda is of one round
            took["ours"].append(now_s() - begin_s)
            copy = folder / "copy"
            took["cp"].append(run(["sh", "-c", 'cp "$1" "$2" && sync "$2"', "copy", clear, copy]).wall_s)
            copy.unlink()
            took["dd"].append(run(["dd", f"if={clear}", f"of={copy}", "bs=1M", "conv=fsync", "status=none"]).wall_s)
            copy.unlink()
        lost = rounds + 1 - house.agent_json("status")["held"]["objects"]
    if lost:
        raise RuntimeError(f"{lost} of {rounds + 1} files were lost")
    rate = {name: size_bytes / MEGA / median(some[1:]) for name, some in took.items()}
    yield Figure(
        part=PART, what=f"taking in, {size_bytes // MIB} MiB", value=rate["ours"], unit="MB/s",
        peers=(Peer("cp and fsync", rate["cp"]), Peer("dd and fsync", rate["dd"])),
        note="sealed, hashed twice, fsynced and committed, its source given up",
    )  # fmt: skip
