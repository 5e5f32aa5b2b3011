"""The README's five minutes, run once for every test that looks at what they leave."""

import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

README = Path(__file__).resolve().parents[2] / "README.md"
LIMIT_S = 120
_BLOCK = re.compile(r"^```(?:sh)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Minutes(NamedTuple):
    """Where it ran, what it printed, and the README's blocks."""

    folder: Path
    printed: str
    blocks: list[str]


@pytest.fixture(scope="session")
def five_minutes(tmp_path_factory: pytest.TempPathFactory) -> Minutes:
    """Run the block in an empty folder, as somebody who types yes when asked."""
    blocks = _BLOCK.findall(README.read_text(encoding="utf-8"))
    folder = tmp_path_factory.mktemp("readme")
    terminal, line = pty.openpty()
    screen = folder / "screen.txt"
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    environment.pop("PRIVACY_OWNER_HOME", None)
    os.write(terminal, b"yes\nyes\n")
    command = ["bash", "-c", f"set -e\n{blocks[1]}"]
    with (
        screen.open("wb") as out,
        subprocess.Popen(
            command, cwd=folder, env=environment, stdin=line, stdout=out, stderr=line, start_new_session=True
        ) as shell,
    ):
        os.close(line)
        with contextlib.suppress(subprocess.TimeoutExpired):
            shell.wait(LIMIT_S)
        code = shell.poll()
        with contextlib.suppress(ProcessLookupError):  # the agent too, if the shell left it behind
            os.killpg(shell.pid, signal.SIGKILL)
    said = os.read(terminal, 1 << 16).decode(errors="replace")
    os.close(terminal)
    printed = screen.read_text(encoding="utf-8")
    log = folder / "agent.log"
    assert code == 0, printed + said + (log.read_text(encoding="utf-8") if log.exists() else "")
    return Minutes(folder, printed, blocks)
