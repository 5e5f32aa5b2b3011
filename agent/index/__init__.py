"""The encrypted index: the only package that speaks SQL, one file for each module that owns tables.

``connection`` opens the file and runs transactions, ``looking`` only reads it, ``transaction`` is what runs inside one,
``opening`` and ``ballast`` serve them. Every other file here is named after the module whose rows it keeps and is used
by that module alone. Only the tables of vault, erasure and tombstone refer to each other: they stand together, in
``vault_schema``, and erasure uses rows of the vault.
"""

from agent.index.connection import Index, IndexLostError
from agent.index.looking import looking
from agent.index.transaction import Row, Tx

__all__ = ["Index", "IndexLostError", "Row", "Tx", "looking"]
