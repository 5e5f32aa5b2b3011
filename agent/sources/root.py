"""The folder of a source while it is open, and whether it is the one that it should be.

Rules: it is on the medium that the config says, also when it was mounted or replaced after the start; it is given back
when the last call that uses it has ended. So it can be exchanged while other threads open or remove files beneath it:
none of them ever meets a descriptor that means something else by now.
"""

import os

from agent.files import open_folder
from agent.sources.settings import SourceSettings, require_medium


class Root:
    """An open folder; whoever uses ``fd`` holds the object meanwhile.

    Opening raises ``ConfigError`` when the folder is not there or not on its medium, ``OSError`` when it cannot be
    looked at.
    """

    __slots__ = ("_settings", "device", "fd")

    def __init__(self, settings: SourceSettings) -> None:
        self._settings = settings
        self.fd = open_folder(settings.path, private=False)  # closed by ``__del__``, also when the next lines raise
        self.device = os.fstat(self.fd).st_dev
        require_medium(settings, self.fd)

    def __del__(self) -> None:
        if hasattr(self, "fd"):
            os.close(self.fd)

    def stands(self) -> bool:
        """Tell whether the source's path still means this folder: it may be removed, replaced or mounted over."""
        try:
            return os.path.samestat(self._settings.path.stat(), os.fstat(self.fd))
        except FileNotFoundError:
            return False
