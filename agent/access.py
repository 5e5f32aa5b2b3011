"""Who may read what this process may not: the next step after "Permission denied" is a user, seldom the file."""

import os
import pwd
import stat
from pathlib import Path

from agent.errors import ConfigError

_OTHERS = 0o077


class DeniedError(ConfigError):
    """This user may not look at something; ``owner`` is whose it is, where that can be seen."""

    def __init__(self, message: str, *, hint: str, owner: str = "") -> None:
        super().__init__(message, hint=hint)
        self.owner = owner


def denied(path: Path, *, handed: Path | None = None, secret: bool = False) -> DeniedError:
    """Return what tells a person why this user may not read ``path``, and who may.

    ``handed`` is the folder that is given to a user as a whole, with everything in it. What is ``secret`` (a key) stays
    with the user whose it is: nobody is told to give it to another.
    """
    me = user_name(os.geteuid())
    barrier = _barrier(path)
    if barrier is None:
        return DeniedError(
            f"{path}: Permission denied, though its mode would let user {me} read it",
            hint="see what else forbids it: a security module, a service's sandbox or a network's file system",
        )
    status = barrier.stat()
    owner, folder = user_name(status.st_uid), stat.S_ISDIR(status.st_mode)
    if status.st_uid == os.geteuid():
        mode = stat.S_IMODE(status.st_mode)
        mend = "rwx" if folder else "r"
        why = f"{path}: Permission denied: the mode of {barrier} ({mode:03o}) keeps its own user {me} out"
        return DeniedError(why, hint=f"chmod u+{mend} {barrier}", owner=owner)
    alone = " alone" if not status.st_mode & _OTHERS else ""
    why = f"{path}: Permission denied: {barrier} is for user {owner}{alone}, this is user {me}"
    if status.st_uid != 0:
        hint = f"run this as user {owner}, or as root"
    elif handed is not None and barrier.is_relative_to(handed.absolute()):
        hint = f"if user {me} shall use it, as root: chown -R {me} {handed}; else run this as root"
    elif barrier == path.absolute() and not secret:
        hint = f"run this as root; or, if user {me} shall read it, as root: chown {me} {path}"
    else:
        hint = "run this as root"
    return DeniedError(why, hint=hint, owner=owner)


def _barrier(path: Path) -> Path | None:
    """Return the first folder on the way, or the file itself, that this user may not enter or read."""
    path = path.absolute()
    for folder in reversed(path.parents):
        if not os.access(folder, os.X_OK, effective_ids=True):
            return folder
    wanted = os.R_OK | os.X_OK if path.is_dir() else os.R_OK
    return None if os.access(path, wanted, effective_ids=True) else path


def user_name(uid: int) -> str:
    """Return a user's name; its number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
