"""The whole agent, connected and listening for cameras, on the host of a network where this is started.

    python -m tests.bench.near FOLDER COUNT SECONDS

It waits until that many devices are near and nothing is left to do, and prints the memory (PSS) and the processor time
of the agent over the seconds after, as JSON.
"""

import json
import sys
from pathlib import Path

from tests.bench.meter import cpu_s, now_s, pss_bytes
from tests.enrolment.neighbourhood import ask_socket
from tests.flow.house import House
from tests.waiting import until

_QUIET_S = 20.0


def main() -> None:
    """Measure once."""
    folder, count, seconds = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    with House(folder) as house:
        house.config.write_text(house.config.read_text() + "\n[discovery]\n")
        house.start_agent()
        pid = house._processes["agent"].pid
        until(lambda: _near(house) >= count, what=f"{count} cameras", within_s=120)
        _let_pass(min(_QUIET_S, seconds))  # the first checks are made, and the first questions asked
        before_s, begin_s = cpu_s(pid), now_s()
        _let_pass(seconds)
        share = (cpu_s(pid) - before_s) / (now_s() - begin_s)
        print(json.dumps({"pss_bytes": pss_bytes(pid), "share": share, "near": _near(house)}))


def _near(house: House) -> int:
    """Return how many proved a key of their own."""
    return sum(one["state"] == "new" for one in ask_socket(house.state / "control.sock", "nearby")["near"])


def _let_pass(seconds: float) -> None:
    end_s = now_s() + seconds
    until(lambda: now_s() > end_s, what="the window", within_s=seconds + 10)


if __name__ == "__main__":
    main()
