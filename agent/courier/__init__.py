"""An export on its way to a third party: put over HTTPS by a process of its own, gone with the last file.

    reach.py     which addresses the world can have; all others need the policy's word (pure)
    message.py   what is asked of the process, and what it answers
    worker.py    one file: looked up, checked, connected to that very address, verified, put; nothing is followed
    client.py    the agent's side: one process for one export, killed when its time is over

What travels is sealed to the recipients already; the process gets an open file and no key.
"""

from agent.courier.client import Courier, limit_s
from agent.courier.message import Delivered, Errand, Why

__all__ = ["Courier", "Delivered", "Errand", "Why", "limit_s"]
