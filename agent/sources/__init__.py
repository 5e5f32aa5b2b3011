"""Where data comes in: folders that cameras and recorders write to.

The map::

    settings   one [[source]] of the config as a value, and what its medium must be
    place      a path becomes camera label, category, media type and capture interval: templates and presets
    name       which names are acceptable at all
    root       the source's folder while it is open, and whether it is the one that it should be
    inotify    the kernel's word that a file was finished
    walk       every file beneath a folder, found without following anything
    folder     FolderSource: notices, waits until complete, offers candidates, opens them safely, gives copies up
    usage_log  JSON Lines, line by line

Rules: names and bytes are untrusted; what is not acceptable is reported once, counted, and left alone, and the rest
goes on. Nothing here knows the vault: what was taken already is asked through a callable.
"""

from agent.sources.folder import Candidate, FolderSource
from agent.sources.settings import SourceSettings, check_medium

__all__ = ["Candidate", "FolderSource", "SourceSettings", "check_medium"]
