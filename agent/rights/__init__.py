"""What the owner said, and what waits for the owner's word.

- ``approval`` the words of several clients for one command
- ``force``    the policy in force
- ``ratchet``  what becomes of another one: a tightening is obeyed at once, anything else waits
- ``passing``  the retention pass that stopped to ask

Everything happens inside the caller's transaction.
"""

from agent.rights.passing import (
    Pass,
    approve,
    asks,
    freeze,
    frozen,
    frozen_count,
    frozen_remains,
    keep_pass,
    last_pass,
)

__all__ = [
    "Pass",
    "approve",
    "asks",
    "freeze",
    "frozen",
    "frozen_count",
    "frozen_remains",
    "keep_pass",
    "last_pass",
]
