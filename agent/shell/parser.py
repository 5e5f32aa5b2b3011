"""A sub-command with its example, made the same way everywhere."""

import argparse
from typing import TypeAlias

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 - see below
"""What ``add_subparsers`` returns; argparse has no public name for it."""


def add(subparsers: Subparsers, name: str, *, summary: str, example: str, detail: str = "") -> argparse.ArgumentParser:
    """Add one command; ``detail`` follows the summary in its own ``--help``."""
    return subparsers.add_parser(
        name,
        help=summary,
        description=f"{summary[:1].upper()}{summary[1:]}.{f' {detail}' if detail else ''}",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
