"""What the kernel says of the clock is believed, and nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIMIT_S = 60
TIME_OK, TIME_ERROR = 0, 5  # adjtimex(2)


@pytest.mark.parametrize(("answer", "believed"), [(TIME_OK, "True"), (TIME_ERROR, "False")])
def test_kernels_word_counts_and_no_mark_of_a_client_that_succeeded_once(
    tmp_path: Path, answer: int, believed: str
) -> None:
    # systemd-timesyncd's mark stays for the rest of the boot, also when somebody sets the clock or the network is gone.
    program = "from agent.clock import system_clock; print(system_clock()().synchronised)"
    calls = ("?adjtimex", "?clock_adjtime", "?clock_adjtime64")
    trace = [f"trace=%file,{','.join(calls)}", *(f"inject={call}:retval={answer}" for call in calls)]
    strace = ["strace", "-f", "-qq", "-o", str(tmp_path / "calls"), *(word for one in trace for word in ("-e", one))]
    ran = subprocess.run(
        [*strace, sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert (ran.stdout.strip(), ran.returncode) == (believed, 0), ran.stderr
    seen = (tmp_path / "calls").read_text()
    assert "adjtime" in seen
    assert "agent/clock" in seen  # so files are told, and the mark is none of them
    assert "timesync" not in seen
