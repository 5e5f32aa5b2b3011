"""One life as a program of its own, as ``strace`` needs it: ``python -m tests.torture.life SCENARIO FOLDER [BUG]``.

The home is made by whoever starts this, who leaves the owner's side as a pickle beside the device's folder.
"""

import asyncio
import os
import pickle
import sys
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from agent import age
from agent.ingest.share import Share
from agent.sources import Source
from tests.commands.office import party
from tests.torture.bugs import BUGS
from tests.torture.forked import fork_sealers
from tests.torture.home import Home
from tests.torture.lives import LIVES
from tests.torture.say import say
from tests.torture.tap import SAY_FD


def main(scenario: str, folder: str, bug: str = "") -> None:
    """Live it once."""
    top = Path(folder)
    beside = pickle.loads(top.with_name(f"{top.name}.home").read_bytes())  # noqa: S301 - our own file
    home = Home(  # these people only have to be there
        top=top,
        owner=age.generate_identity(post_quantum=False),
        client=party("client", "phone"),
        store=party("store", "bucket"),
        backend=party("backend", "cloud"),
        root=ec.generate_private_key(ec.SECP256R1()),
        **beside,
    )
    one_file_after_another()
    os.dup2(os.open(os.devnull, os.O_WRONLY), SAY_FD, inheritable=False)
    for each in BUGS:
        if each.name == bug:
            each.make()
            fork_sealers()  # so that the mistake is in that process too
    asyncio.run(LIVES[scenario].lived(home, say))


def one_file_after_another() -> None:
    """Have every source take one file at a time from now on, so that one promise comes after the other."""
    real = Share.__init__

    def alone(self: Share, source: Source, **how: Any) -> None:  # noqa: ANN401 - as the real one
        real(self, source, **how | {"at_once": 1})  # fails where a share no longer knows it

    Share.__init__ = alone  # type: ignore[method-assign]  # this process lives one life


if __name__ == "__main__":
    main(*sys.argv[1:])
