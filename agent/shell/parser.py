"""Command lines, read the same way everywhere: an example in each help, no guessed options, mistakes are errors."""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from agent.errors import ConfigError

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

Subparsers: TypeAlias = "argparse._SubParsersAction[Parser]"  # noqa: SLF001 - see below
"""What ``add_subparsers`` returns; argparse has no public name for it."""


class Parser(argparse.ArgumentParser):
    """Its sub-commands are made of the same class, so that all of them hold these rules.

    An option counts only in full: ``--al`` must never become ``--all``. Examples in ``--help`` stay as written.
    """

    def __init__(self, **told: Any) -> None:  # noqa: ANN401 - argparse's own arguments
        told.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(**told | {"allow_abbrev": False})
        self.set_defaults(command_line=self.prog)  # the innermost command's stands in the end

    def read(self, told: Sequence[str]) -> argparse.Namespace:
        """Read a whole command line; raises ``ConfigError`` that names the help of the command that was meant."""
        arguments, unknown = self.parse_known_args(told)
        if unknown:
            raise ConfigError(f"unrecognized arguments: {' '.join(unknown)}", hint=f"{arguments.command_line} --help")
        return arguments

    def format_help(self) -> str:
        """Return the help: the description broken to the width of the terminal, the example as it is typed."""
        import shutil
        import textwrap

        width = shutil.get_terminal_size().columns - 2  # as argparse itself
        told, self.description = self.description, textwrap.fill(self.description or "", width, break_on_hyphens=False)
        try:
            return super().format_help()
        finally:
            self.description = told

    def _print_message(self, message: str, file: "SupportsWrite[str] | None" = None) -> None:
        """Print the help; argparse would keep to itself that there is no room for it, or nobody who reads it."""
        (file or sys.stderr).write(message)

    def error(self, message: str) -> NoReturn:
        """Raise ``ConfigError``: wrong usage is told as every other mistake is."""
        raise ConfigError(message, hint=f"{self.prog} --help")


class Version(argparse.Action):
    """``--version``: tell it and end. It is looked up only then: that takes longer than a small file is sealed."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help="tell the version and end")

    def __call__(self, parser: argparse.ArgumentParser, *_told: object) -> None:
        """Print the line that the command ``version`` prints."""
        from agent.shell.version import version_line

        print(version_line(parser.prog))
        parser.exit()


def commands_of(parser: Parser) -> Subparsers:
    """Let a program or a group have commands, one of which has to be named."""
    return parser.add_subparsers(
        title="commands", required=True, metavar="COMMAND", help="one of these; each has a --help of its own"
    )


def add(
    subparsers: Subparsers,
    name: str,
    *,
    summary: str,
    example: str,
    detail: str = "",
    run: Callable[..., int] | None = None,
) -> Parser:
    """Add one command, which ``run`` carries out; ``detail`` follows the summary in its own ``--help``."""
    parser = subparsers.add_parser(
        name,
        help=summary,
        description=f"{summary[:1].upper()}{summary[1:]}.{f' {detail}' if detail else ''}",
        epilog=f"example:\n  {example}",
    )
    parser.set_defaults(run=run)
    return parser


def group(subparsers: Subparsers, name: str, *, summary: str, example: str, detail: str = "") -> Subparsers:
    """Add a command that has commands of its own."""
    return commands_of(add(subparsers, name, summary=summary, example=example, detail=detail))
