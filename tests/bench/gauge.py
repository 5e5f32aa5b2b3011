"""Run one command and say what it cost; a process of its own, because a child inherits its parent's peak of memory.

    python -I -S gauge.py COMMAND…      prints wall_s cpu_s peak_bytes exit_code

It imports next to nothing, so that what is left to inherit (9 MiB) is less than anything that is measured here.
"""

import os
import sys
import time


def main() -> None:
    """Run the command with standard output thrown away."""
    nothing = os.open(os.devnull, os.O_RDWR)
    begin_s = time.perf_counter()
    pid = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, nothing, 1)])
    _pid, status, used = os.wait4(pid, 0)
    wall_s = time.perf_counter() - begin_s
    code = os.waitstatus_to_exitcode(status)
    print(wall_s, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024, code)


if __name__ == "__main__":
    main()
