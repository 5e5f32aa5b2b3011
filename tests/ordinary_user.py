"""Whoever may not read everything: nobody, where root runs the tests; else whoever runs them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

NOBODY: Final = 65_534


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Act as a user who may not read everything: as whoever runs the tests, where that is not root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
