"""What a person sees while it runs: one numbered step after the other, a moving line under the current one.

On a terminal the line moves and colours help; in a pipe only finished lines appear.
"""

from collections.abc import Callable
from typing import Final, Protocol

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.status import Status
from rich.table import Table

from device_sim.demo.found import Told

Live = Callable[[str], None]

_UNITS: Final = ("B", "kB", "MB", "GB")
_STEP: Final = 1000
_BAR: Final = 32
_PIPE_WIDTH: Final = 1000  # a pipe's lines are never broken
_INDENT: Final = (0, 0, 0, 6)
_BESIDE: Final = (
    5  # what stands in the moving line beside title and text: the spinner, gaps, and a last column left free
)


class Screen(Protocol):
    """Where the story is told."""

    def open(self, title: str, lines: list[str]) -> None:
        """Say what is about to be seen."""

    def begin(self, number: int, title: str) -> None:
        """Begin a step."""

    def live(self, text: str) -> None:
        """Say what is going on inside the step."""

    def end(self, number: int, title: str, told: Told, *, seconds: float) -> None:
        """End the step."""

    def fail(self, number: int, title: str) -> None:
        """Say that the step failed."""

    def table(self, rows: list[tuple[int, str, str, str]]) -> None:
        """Show what was seen: number, step, figure, seconds."""

    def requests(self, rows: list[tuple[str, str, str]]) -> None:
        """Show what the owner asked, the receipt's status, and what it did."""

    def close(self, lines: list[str]) -> None:
        """Say what may be done next."""


class Person:
    """For people: a terminal, or a pipe, which gets whole lines only."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        if not self._console.is_terminal:
            self._console = Console(highlight=False, width=_PIPE_WIDTH)
        self._status: Status | None = None
        self._title = ""

    def open(self, title: str, lines: list[str]) -> None:
        """Say what is about to be seen."""
        self._console.print(f"\n[bold]{escape(title)}[/bold]")
        for line in lines:
            self._console.print(f"[dim]{escape(line)}[/dim]")
        self._console.print()

    def begin(self, number: int, title: str) -> None:
        """Begin a step."""
        self._title = f"{number:>2}  {title}"
        if self._console.is_terminal:
            self._status = self._console.status(f"[bold]{escape(self._title)}[/bold]", spinner="dots")
            self._status.start()

    def live(self, text: str) -> None:
        """Say what is going on inside the step."""
        if self._status is not None:
            text = cut(text, self._console.width - len(self._title) - _BESIDE)
            self._status.update(f"[bold]{escape(self._title)}[/bold]  [dim]{escape(text)}[/dim]")

    def end(self, number: int, title: str, told: Told, *, seconds: float) -> None:
        """End the step."""
        self._rest()
        self._console.print(f"[green]✓[/green] [bold]{number:>2}  {escape(title)}[/bold]  [dim]{seconds:.1f} s[/dim]")
        self._console.print(Padding(escape(told.seen), _INDENT, expand=False))
        self._console.print(Padding(f"[cyan]proves:[/cyan] [dim]{escape(told.proves)}[/dim]", _INDENT, expand=False))

    def fail(self, number: int, title: str) -> None:
        """Say that the step failed; why, stands on stderr."""
        self._rest()
        self._console.print(f"[red]✗[/red] [bold]{number:>2}  {escape(title)}[/bold]")

    def table(self, rows: list[tuple[int, str, str, str]]) -> None:
        """Show what was seen: number, step, figure, seconds."""
        table = Table(box=None, pad_edge=False, header_style="dim")
        table.add_column("", justify="right")
        table.add_column("step", no_wrap=True)
        table.add_column("measured in this run", no_wrap=True)
        table.add_column("seconds", justify="right", no_wrap=True)
        for number, title, figure, seconds in rows:
            table.add_row(str(number), escape(title), escape(figure), seconds)
        self._console.print()
        self._console.print(table)

    def requests(self, rows: list[tuple[str, str, str]]) -> None:
        """Show what the owner asked, the receipt's status, and what it did."""
        table = Table(box=None, pad_edge=False, header_style="dim")
        for title in ("the owner asked", "receipt", "what it did"):
            table.add_column(title)
        for row in rows:
            table.add_row(*map(escape, row))
        self._console.print()
        self._console.print(table)

    def close(self, lines: list[str]) -> None:
        """Say what may be done next."""
        self._console.print()
        for line in lines:
            command = line.startswith(" ")  # to be copied: never broken by us
            self._console.print(line, markup=False, soft_wrap=command)

    def _rest(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None


class Silent:
    """For ``--json``: nothing."""

    def open(self, title: str, lines: list[str]) -> None:
        """Say nothing."""

    def begin(self, number: int, title: str) -> None:
        """Say nothing."""

    def live(self, text: str) -> None:
        """Say nothing."""

    def end(self, number: int, title: str, told: Told, *, seconds: float) -> None:
        """Say nothing."""

    def fail(self, number: int, title: str) -> None:
        """Say nothing."""

    def table(self, rows: list[tuple[int, str, str, str]]) -> None:
        """Say nothing."""

    def requests(self, rows: list[tuple[str, str, str]]) -> None:
        """Say nothing."""

    def close(self, lines: list[str]) -> None:
        """Say nothing."""


def size(bytes_: int) -> str:
    """Write a size for people."""
    value, unit = float(bytes_), 0
    while value >= _STEP and unit < len(_UNITS) - 1:
        value, unit = value / _STEP, unit + 1
    return f"{bytes_} B" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"


def cut(text: str, room: int) -> str:
    """Cut a text for a line that must not become two: it would jump."""
    return text if len(text) <= room else f"{text[: max(0, room - 1)]}…"


def bar(done: int, total: int) -> str:
    """Draw how far something is."""
    full = _BAR * done // max(1, total)
    return f"{'█' * full}{'░' * (_BAR - full)} {100 * done // max(1, total):3} %"
