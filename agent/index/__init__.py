"""The encrypted index: the only package that speaks SQL, one file for each module that owns tables.

``connection`` opens the file and runs transactions, ``looking`` only reads it, ``transaction`` is what runs inside one,
``opening`` and ``ballast`` serve them. Every other file here is named after the module whose rows it keeps and is used
by that module alone.
"""

from agent.index.connection import Index, IndexLostError
from agent.index.looking import looking
from agent.index.transaction import Tx

__all__ = ["Index", "IndexLostError", "Tx", "looking"]
