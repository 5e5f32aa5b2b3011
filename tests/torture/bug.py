"""One mistake that this harness must find, and the one that is made in several folders."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Bug:
    """``make`` puts it into this process; it shows in ``scenario``."""

    name: str
    scenario: str
    make: Callable[[], None]


def unsynced(folder: str) -> Callable[[], None]:
    """Return the mistake of syncing no file beneath a folder of this name."""

    def make() -> None:
        real = os.fsync

        def fsync(fd: Any) -> None:  # noqa: ANN401 - as the real one
            if f"/{folder}/" not in str(Path(f"/proc/self/fd/{fd}").readlink()):
                real(fd)

        os.fsync = fsync

    return make
