"""What a camera, or somebody at its folder, can do wrong with a file: on demand, for those who must cope with it.

Faults that want a second file (``symlink``, ``hardlink``) keep it in ``.outside`` beneath the camera's folder.

- ``grow``: under its final name from the first byte, growing in steps until whole
- ``vanish``: whole, then gone again
- ``symlink``, ``hardlink``: a second way to a file that stands elsewhere
- ``fifo``: a pipe without a writer: who opens it plainly waits for ever
- ``control-name``: a line end and an escape sequence in the name
- ``truncate``: torn: the second half is missing for good
"""

import os
from pathlib import Path
from threading import Event
from typing import Final, Literal, get_args

from device_sim.camera.layout import finished, make_folders, private_file

Fault = Literal["grow", "vanish", "symlink", "hardlink", "fifo", "control-name", "truncate"]

FAULTS: Final[tuple[Fault, ...]] = get_args(Fault)
OUTSIDE: Final = ".outside"
GROW_STEPS: Final = 10
STEP_S: Final = 0.2

_CONTROL: Final = "\n\x1b[31m"


def plant(fault: Fault, path: Path, payload: bytes, *, top: Path, stop: Event, step_s: float = STEP_S) -> Path:
    """Put ``payload`` at ``path`` with this fault and return where it stands (or stood).

    ``top`` is the camera's folder. ``grow`` and ``vanish`` take their time in steps of ``step_s``; ``stop`` ends them
    early: what grows is then removed, for a partial file must not stay under a final name.
    """
    match fault:
        case "grow":
            _grow(path, payload, stop=stop, step_s=step_s)
        case "vanish":
            _whole(path, payload)
            stop.wait(step_s)
            path.unlink(missing_ok=True)
        case "symlink":
            make_folders(path.parent)
            path.symlink_to(_elsewhere(path, payload, top=top))
        case "hardlink":
            make_folders(path.parent)
            path.hardlink_to(_elsewhere(path, payload, top=top))
        case "fifo":
            make_folders(path.parent)
            os.mkfifo(path, 0o600)
        case "control-name":
            path = path.with_name(f"{path.stem}{_CONTROL}{path.suffix}")
            _whole(path, payload)
        case "truncate":
            _whole(path, payload[: len(payload) // 2])
    return path


def _grow(path: Path, payload: bytes, *, stop: Event, step_s: float) -> None:
    make_folders(path.parent)
    step = max(-(-len(payload) // GROW_STEPS), 1)
    with private_file(path) as file:
        for at in range(0, len(payload), step):
            file.write(payload[at : at + step])
            file.flush()
            if stop.wait(step_s):
                path.unlink(missing_ok=True)
                return


def _whole(path: Path, payload: bytes) -> None:
    with finished(path) as file:
        file.write(payload)


def _elsewhere(path: Path, payload: bytes, *, top: Path) -> Path:
    target = (top / OUTSIDE / path.name).absolute()
    _whole(target, payload)
    return target
