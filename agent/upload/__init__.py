"""The flow of uploads: what goes next, and what becomes of every copy that a store has (docs/protocol.md §6).

- ``flow``: ``Upload``: the queue in the index, several uploads side by side, answers handed to whom they concern
- ``turn``: which object is next (pure)
- ``copies``: erasures repeated until confirmed; what a store lost is found and sent again
- ``rectifying``: corrections sent until each store keeps them with its copies

The index is the queue: nothing here survives a restart, and nothing needs to. What was durably acknowledged is asked
of the store, not remembered.
"""

from agent.upload.copies import Copies
from agent.upload.flow import Upload
from agent.upload.turn import Turn

__all__ = ["Copies", "Turn", "Upload"]
