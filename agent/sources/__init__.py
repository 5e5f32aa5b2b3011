"""Where data comes in: folders that cameras and recorders write to, and cameras with storage of their own.

The map::

    source     what the flow asks of a source, whatever it is
    settings   one [[source]] of the config as a value, and what its medium must be
    place      a path becomes camera label, category, media type and capture interval: templates and presets
    name       which names are acceptable at all
    candidate  what is said of a file: it may be taken in, it will not be, it cannot be read now
    walk       every file beneath a folder, found without following anything
    inotify    the kernel's word that a file was finished
    root       the source's folder while it is open, and what is done beneath it
    view       the files in it, what is unchanged, what the kernel tells
    lane       the one thread in which all that happens
    camera     CameraSource: lists what waits on a camera's own storage, and offers it
    folder     FolderSource: notices, waits until complete, offers candidates
    usage_log  JSON Lines, line by line

Rules: names and bytes are untrusted; what is not acceptable is reported once, counted, and left alone, and the rest
goes on. Nothing here knows the vault: what was taken already is asked through a callable.
"""

from agent.sources.candidate import Candidate
from agent.sources.folder import FolderSource
from agent.sources.settings import SourceSettings, check_medium
from agent.sources.source import Source

__all__ = ["Candidate", "FolderSource", "Source", "SourceSettings", "check_medium"]
