"""What takes some commands, and seconds, to set up: set up once for each process, and copied from then on."""

import atexit
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from tests import loaded


def begin_in(folder: Path, set_up: Callable[[Path], None]) -> None:
    """Make ``folder`` what ``set_up`` makes of one; texts in it that name what is there name it where it is now."""
    first = _first(set_up)
    shutil.copytree(first, folder, dirs_exist_ok=True)
    for path in first.rglob("*"):
        if path.is_file() and str(first).encode() in (told := path.read_bytes()):
            (folder / path.relative_to(first)).write_bytes(told.replace(str(first).encode(), str(folder).encode()))


def owner_and_device(folder: Path) -> None:
    """Make an owner, in ``home``, and a device of theirs beside it."""
    home = folder / "home"
    about = ("--device", "cam-01", "--state", folder / "state", "--clock", "system", "--config", folder / "agent.toml")
    for command in (
        ("privacy-owner", "--home", home, "init"),
        ("privacy-agent", "init", "--owner", home / "owner.pub", *about),
    ):
        done = loaded.run([loaded.BIN / command[0], *command[1:]], within_s=60)
        assert done.returncode == 0, done


@cache
def _first(set_up: Callable[[Path], None]) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="prepared-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    set_up(folder)
    return folder
