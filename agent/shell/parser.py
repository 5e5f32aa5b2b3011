"""Command lines, read the same way everywhere: an example in each help, no guessed options, mistakes are errors."""

import argparse
from typing import Any, NoReturn, TypeAlias

from agent.errors import ConfigError

Subparsers: TypeAlias = "argparse._SubParsersAction[Parser]"  # noqa: SLF001 - see below
"""What ``add_subparsers`` returns; argparse has no public name for it."""


class Parser(argparse.ArgumentParser):
    """Its sub-commands are made of the same class, so that all of them hold these rules.

    An option counts only in full: ``--al`` must never become ``--all``. Examples in ``--help`` stay as written.
    """

    def __init__(self, **told: Any) -> None:  # noqa: ANN401 - argparse's own arguments
        told.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(**told | {"allow_abbrev": False})

    def error(self, message: str) -> NoReturn:
        """Raise ``ConfigError``: wrong usage is told as every other mistake is."""
        raise ConfigError(message, hint=f"{self.prog} --help")


def add(subparsers: Subparsers, name: str, *, summary: str, example: str, detail: str = "") -> Parser:
    """Add one command; ``detail`` follows the summary in its own ``--help``."""
    return subparsers.add_parser(
        name,
        help=summary,
        description=f"{summary[:1].upper()}{summary[1:]}.{f' {detail}' if detail else ''}",
        epilog=f"example:\n  {example}",
    )
