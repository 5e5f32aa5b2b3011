"""What went wrong with a file, in words for a person: which one and why, without the number of the error."""

import os


def words_of(error: OSError) -> str:
    """Return the file's name, where the error has one, and the system's words."""
    why = error.strerror or str(error)
    named = error.filename if isinstance(error.filename, (str, bytes, os.PathLike)) else None
    return why if named is None else f"{os.fsdecode(named)}: {why}"
