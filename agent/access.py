"""Who may read what this process may not: the next step after "Permission denied" is a user, seldom the file."""

import os
import pwd
import stat
from pathlib import Path

from agent.errors import ConfigError

_OTHERS = 0o077


def denied(path: Path, *, handed: Path | None = None) -> ConfigError:
    """Return what tells a person why this user may not read ``path``, and who may.

    ``handed`` is the folder that is given to a user as a whole, with everything in it.
    """
    me = _user(os.geteuid())
    barrier = _barrier(path)
    if barrier is None:
        return ConfigError(
            f"{path}: Permission denied, though its mode would let user {me} read it",
            hint="see what else forbids it: a security module, a service's sandbox or a network's file system",
        )
    status = barrier.stat()
    owner, folder = _user(status.st_uid), stat.S_ISDIR(status.st_mode)
    alone = " alone" if not status.st_mode & _OTHERS else ""
    why = f"{path}: Permission denied: {barrier} is for user {owner}{alone}, this is user {me}"
    if status.st_uid == os.geteuid():
        return ConfigError(why, hint=f"chmod u+r{'x' if folder else ''} {barrier}")
    if status.st_uid != 0:
        return ConfigError(why, hint=f"run this as user {owner}, or as root")
    if handed is not None and barrier.is_relative_to(handed.absolute()):
        return ConfigError(
            why, hint=f"if user {me} shall use it, as root: chown -R {me} {handed}; else run this as root"
        )
    if barrier == path.absolute():
        return ConfigError(why, hint=f"run this as root; or, if user {me} shall read it, as root: chown {me} {path}")
    return ConfigError(why, hint=f"run this as root, or put a copy of it where user {me} may read it")


def _barrier(path: Path) -> Path | None:
    """Return the first folder on the way, or the file itself, that this user may not enter or read."""
    path = path.absolute()
    for folder in reversed(path.parents):
        if not os.access(folder, os.X_OK, effective_ids=True):
            return folder
    wanted = os.R_OK | os.X_OK if path.is_dir() else os.R_OK
    return None if os.access(path, wanted, effective_ids=True) else path


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
