"""Sealing in a process of its own: plain bytes and file keys live there, and die with it.

The map::

    job       what is asked and answered, and how both travel
    worker    seal one open file into another: read, hash, encrypt, sync
    cleaning  field rules between reading and encrypting a usage log
    __main__  the process: hardened first, then jobs from its socket until that closes
    fetching  connections to a camera for a job that asks for them, and how slow it may be
    client    Sealer: starts the process when there is work, ends it when idle, retries once when it dies

Why a process: one busy thread in the same interpreter slows the cipher tenfold, and a key in a heap that lives for
months is a key that leaks. It gets open descriptors and one group key per job over a socket pair; it never learns a
path, the root key or the index, and it opens nothing itself: a camera's connections are opened outside, proved in it.

A name is loaded when it is first used, so that the process pays for no event loop.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.sealer.client import Sealer
    from agent.sealer.job import Sealed, SealJob, SourceChangedError

_HOME = {"SealJob": "job", "Sealed": "job", "Sealer": "client", "SourceChangedError": "job"}

__all__ = ["SealJob", "Sealed", "Sealer", "SourceChangedError"]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
