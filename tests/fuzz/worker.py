"""One target under atheris, in a process of its own; ``__main__`` starts it and reads what it leaves in its folder.

``seeds/`` are the examples, ``corpus/`` is what reached something new, at this run and earlier ones, ``broken/`` what
broke the target, ``runs`` a number that counts while it runs. An error of the target ends nothing: it is kept, and the
rest of the time goes on.
"""

import mmap
import sys
from importlib import import_module
from pathlib import Path
from typing import Final

import atheris

INSTRUMENTED: Final = ["agent", "tomllib"]

with atheris.instrument_imports(include=INSTRUMENTED):
    from tests.fuzz.broken import Broken
    from tests.fuzz.target import Target

RUNS_BYTES: Final = 8
SLOW_S: Final = 10
"""No input of a few kilobytes may take so long."""

MEMORY_MB: Final = 1024


def main() -> None:
    """Run one target until its time is over; does not return."""
    module, name, place, known, share_s, seed = sys.argv[1:]
    with atheris.instrument_imports(include=INSTRUMENTED):
        targets: tuple[Target, ...] = import_module(module).TARGETS
    target = next(one for one in targets if one.name == name)
    folder = Path(place)
    broken = Broken(folder / "broken")
    with (folder / "runs").open("r+b") as file:
        counted = mmap.mmap(file.fileno(), RUNS_BYTES)
    runs = 0

    def once(raw: bytes) -> None:
        nonlocal runs
        runs += 1
        counted[:RUNS_BYTES] = runs.to_bytes(RUNS_BYTES, "little")
        try:
            target.takes(raw)
        except Exception as error:  # noqa: BLE001 - whatever is not declared is what is looked for
            broken.keep(raw, error)

    with atheris.instrument_imports(include=INSTRUMENTED):  # what is loaded at its first use
        for example in target.seeds():
            once(example)
    folders = [folder / "corpus", folder / "seeds", *([known] if Path(known).is_dir() else [])]
    options: dict[str, object] = {
        "max_total_time": share_s,
        "max_len": target.largest,
        "timeout": SLOW_S,
        "rss_limit_mb": MEMORY_MB,
        "artifact_prefix": f"{folder / 'broken'}/",
        "seed": seed,
    }
    if (folder / "words").stat().st_size:  # an empty one is an error to it
        options["dict"] = folder / "words"
    atheris.Setup([sys.argv[0], *(f"-{key}={value}" for key, value in options.items()), *map(str, folders)], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
