"""A process that deletes and dies by SIGKILL at one step; run by the crash tests.

Words: vault folder, step to die at (0: never), how many of its visits to let pass, ids to erase. At each visit of a
step it says so on standard output, so that the test knows that the cut fell where it was meant to.
"""

import os
import signal
import sys
from pathlib import Path

from tests.store.home import Home, run


def main(folder: Path, step: int, visits: int, ids: list[str]) -> None:
    left = [visits]

    def at(reached: int) -> None:
        print(reached, flush=True)
        if reached == step:
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1

    home = Home(folder, at=at)
    home.vault.recover()
    if ids:
        run(home.erase(*ids))
    else:
        run(home.resume())
    home.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
