"""The encrypted index: the only package that speaks SQL, one file for each module that owns tables.

``connection`` opens the file and runs transactions, ``transaction`` is what runs inside one; every other file here is
named after the module whose rows it keeps and is used by that module alone.
"""

from agent.index.connection import Index, IndexLostError
from agent.index.transaction import Tx

__all__ = ["Index", "IndexLostError", "Tx"]
