"""How a device becomes unowned: what is left of its former owner is destroyed, and cannot come back.

The last steps of leaving an owner (``agent/commands/farewell.py`` has those before), with the index closed:

    8  what outlives the owner is written: the cut-offs of its sources (``agent/former.py``)
    9  the keystore's keys are overwritten, one copy at a time, and a TPM's counter is raised and removed: from here on
       nothing of it ever opens
    10 everything else is removed: vault, index, descriptor, the TLS key and camera passwords, the policy
    11 the keystore's file is removed: the device is unowned, and ``privacy-agent init`` gives it its next owner

A crash before 9 comes back by the index, behind it by the keystore's file, which says that it was destroyed. Files
beside the state folder may be closed to the agent (the service sees ``/etc`` read-only): those that stay are told. So
are the vault's folder where that is a mount of its own, a file in it that the medium does not let go, and what lies in
the state folder and is not the agent's (``lost+found``): nothing opens it behind 9, and no device waits for that. For
the index alone it waits: with it in the folder nobody begins anew.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from agent import files, former
from agent.broker.identity import CERTIFICATE, KEY
from agent.config import Config
from agent.errors import ConfigError, LinkError
from agent.files import read_whole
from agent.former import Former
from agent.keystore import Keystore

FORMER: Final = "former.json"

_LOG: Final = logging.getLogger(__name__)


def folders(config: Config) -> tuple[tuple[str, str], ...]:
    """Return (name, path) of each source that recordings may turn up in later."""
    return tuple((source.name, str(source.path)) for source in config.sources)


def was_begun(config: Config) -> bool:
    """Tell whether a crash cut step 9, 10 or 11 off."""
    return Keystore.is_destroyed(config.keystore)


def leave(config: Config, told: Former) -> tuple[Path, ...]:
    """Do steps 8 to 11; return the files that could not be removed."""
    # Step 8. If power fails here, the index says still that this is to be done.
    files.write_durably(config.state / FORMER, former.encode(told))
    return finish(config)


def finish(config: Config) -> tuple[Path, ...]:
    """Do steps 9 to 11, also again; return what could not be removed. Raises what a removal of the index raises.

    The lock, which holds nothing, stays: whoever waits for it must find the same file.
    """
    # Step 9. If power fails here, the next start comes back to this line.
    Keystore.destroy(config.keystore, tpm=config.tpm)
    # Step 10. The same. Nobody comes back to it behind step 11, so what failed is tried once more here.
    left = _swept(config) and _swept(config)
    for path in left:
        _LOG.warning("%s is of the former owner and could not be removed; remove it by hand", path)
    # Step 11. If power fails here, the file is back, empty of keys, and the next start removes it.
    files.remove(config.keystore)
    return left


def _swept(config: Config) -> tuple[Path, ...]:
    """Remove all but the keystore; return what could not be removed."""
    stuck = list(_emptied(config.vault))
    for path in sorted(config.state.iterdir()):
        if path in {config.keystore, config.lock, config.state / FORMER, config.socket, config.vault}:
            continue
        if path.name.startswith(config.index.name):  # beside keys that are not its own no next owner could begin
            _remove(path)
        elif not _removed(path):
            stuck.append(path)
    return (*stuck, *(path for path in _beside(config) if not _removed(path)))


def read_former(config: Config) -> Former | None:
    """Return what outlived the former owner of an unowned device; raises ``CorruptError``."""
    path = config.state / FORMER
    if not files.is_there(path):
        return None
    return former.decode(read_whole(path, max_bytes=former.FILE_BYTES, hint="run this as the agent's user"))


def owned(config: Config) -> None:
    """Remove what ``read_former`` reads, once the next owner's index has it."""
    files.remove(config.state / FORMER)


def unowned(config: Config) -> ConfigError:
    """Return what is said of a device that has no owner any more."""
    return ConfigError(
        f"{config.state}: this device has no owner any more: it was erased, and collects nothing",
        hint="its next owner begins with: privacy-agent init --owner owner.pub",
    )


def _beside(config: Config) -> Iterator[Path]:
    """Yield what the former owner's secrets lie in beside the state folder."""
    if config.broker is not None:
        yield config.broker.identity / KEY
        yield config.broker.identity / CERTIFICATE
    for stream in config.streams:
        if stream.credentials is not None:
            yield stream.credentials
    yield config.policy


def _emptied(vault: Path) -> tuple[Path, ...]:
    """Remove the vault's folder, or what of it can be removed; return the files that could not."""
    try:
        files.remove_tree(vault)
    except (ConfigError, LinkError):
        left = tuple(path for path in sorted(vault.iterdir()) if not _removed(path))
        if not left:
            _removed(vault)  # it is empty by now; where it is a mount of its own it stays
        return left
    return ()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        files.remove_tree(path)
    else:
        files.remove(path)


def _removed(path: Path) -> bool:
    try:
        _remove(path)
    except FileNotFoundError:  # not even its folder is there
        return True
    except (ConfigError, LinkError):
        return False
    return True
