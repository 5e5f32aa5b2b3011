"""Deletes objects of a vault whose keys are in a TPM and dies behind the step of forgetting that it is told.

python -m tests.tpm.erased FOLDER TCTI STEP ID…
"""

import os
import signal
import sys
from pathlib import Path

from agent.element import TpmSettings
from tests.store.home import Home, run


def main(folder: str, tcti: str, last: str, *ids: str) -> None:
    def at(step: int) -> None:
        print(step, flush=True)
        if step == int(last):
            os.kill(os.getpid(), signal.SIGKILL)

    home = Home(Path(folder), at=at, tpm=TpmSettings(tcti=tcti))
    run(home.erase(*ids))


if __name__ == "__main__":
    main(*sys.argv[1:])
