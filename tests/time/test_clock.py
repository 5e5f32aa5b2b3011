"""What the kernel says of the clock is believed, and nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIMIT_S = 60
TIME_OK, TIME_ERROR = 0, 5  # adjtimex(2)


@pytest.mark.parametrize(("answer", "believed"), [(TIME_OK, "True"), (TIME_ERROR, "False")])
def test_kernels_word_counts_and_no_mark_of_a_client_that_succeeded_once(answer: int, believed: str) -> None:
    # systemd-timesyncd's mark stays for the rest of the boot, also when somebody sets the clock or the network is gone.
    program = "from agent.clock import system_clock; print(system_clock()().synchronised)"
    calls = ("?adjtimex", "?clock_adjtime", "?clock_adjtime64")
    said = " ".join(f"-e inject={call}:retval={answer}" for call in calls)
    script = (
        "mount -t tmpfs none /run && mkdir -p /run/systemd/timesync && touch /run/systemd/timesync/synchronized"
        f" && exec strace -f -qq -o /dev/null {said} {sys.executable} -c '{program}'"
    )
    apart = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script]
    ran = subprocess.run(apart, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert (ran.stdout.strip(), ran.returncode) == (believed, 0), ran.stderr
