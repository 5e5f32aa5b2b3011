"""Destroys the first root of a keystore in a TPM and dies behind the step that it is told.

python -m tests.tpm.cut KEYSTORE TCTI STEP
"""

import os
import signal
import sys
from pathlib import Path

from agent.element import TpmSettings
from agent.keystore import Keystore


def main(path: str, tcti: str, last: str) -> None:
    def at(step: int) -> None:
        print(step, flush=True)
        if step == int(last):
            os.kill(os.getpid(), signal.SIGKILL)

    store = Keystore.open(Path(path), tpm=TpmSettings(tcti=tcti), at=at)
    store.destroy_root(store.roots()[0].id)


if __name__ == "__main__":
    main(*sys.argv[1:])
