"""What a process of ours asks of the kernel before it touches a key, and how it keeps its memory."""

import ctypes
import gc
import os
import resource
from typing import Final

# Linux <sys/prctl.h>
_PR_SET_DUMPABLE: Final = 4
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4


def harden() -> None:
    """Keep keys and clear bytes in this process (``keep_memory``).

    Also: files that it makes are its user's alone, and no program that it starts gains privileges, or gets those that
    the unit gave to this one: it alone asks for leases.
    """
    os.umask(0o077)
    keep_memory()
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)


def keep_memory() -> None:
    """Let no core file be written, and nobody else of the same user trace this process or read its memory.

    Swap is the unit's to forbid (``MemorySwapMax=0``): pages that are locked one and all could not be given back.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _prctl(_PR_SET_DUMPABLE, 0)


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def hold_collector() -> None:
    """Look for no garbage until ``let_collect``: a start that only makes what stays would be looked through for it.

    That took a tenth of a start. What nobody refers to is freed all the same; only circles of it wait.
    """
    gc.disable()


def let_collect() -> None:
    """Look for garbage from now on, among what is made from now on: what a start made stays as long as the process."""
    gc.freeze()
    gc.enable()


def give_back_memory() -> None:
    """Return to the kernel what a burst left free in this process; by themselves Python and glibc keep it."""
    gc.collect()  # a full collection also empties the free lists, whose entries hold whole arenas
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # glibc's alone
        trim(0)
