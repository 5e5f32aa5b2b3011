"""Figures and the one table that they become."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

MEGA: Final = 1_000_000
MIB: Final = 1 << 20
_LARGE: Final = 100
_SMALL: Final = 1


@dataclass(frozen=True, slots=True)
class Peer:
    """Another tool, measured in the same run and the same unit."""

    name: str
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured number. ``holds`` is ``None`` where nothing is promised."""

    part: str
    what: str
    value: float
    unit: str
    target: str = ""
    holds: bool | None = None
    peers: tuple[Peer, ...] = ()
    note: str = ""

    def builtins(self) -> dict[str, Any]:
        """Return it for JSON, with the ratio to each peer."""
        told = asdict(self)
        told["peers"] = [
            {"name": peer.name, "value": peer.value, "ratio": self.value / peer.value if peer.value else None}
            for peer in self.peers
        ]
        return told


HEAD: Final = ("what", "measured", "target", "holds", "beside it in the same run (ours ÷ theirs)", "note")


def number(value: float) -> str:
    """Write a number with about three figures."""
    if value >= _LARGE:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= _SMALL else f"{value:.2g}"


def rows(figures: Sequence[Figure]) -> list[tuple[str, ...]]:
    """Return the cells of every figure."""
    return [
        (
            f"{figure.part}: {figure.what}",
            f"{number(figure.value)} {figure.unit}",
            figure.target,
            {None: "", True: "yes", False: "no"}[figure.holds],
            ", ".join(
                f"{peer.name} {number(peer.value)}" + (f" ({figure.value / peer.value:.2f} x)" if peer.value else "")
                for peer in figure.peers
            ),
            figure.note,
        )
        for figure in figures
    ]


def plain(figures: Sequence[Figure]) -> str:
    """Return the table for a terminal."""
    cells = [HEAD, *rows(figures)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(HEAD))]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )


def markdown(figures: Sequence[Figure]) -> str:
    """Return the table for a document."""
    lines = ["| " + " | ".join(HEAD) + " |", "|" + " --- |" * len(HEAD)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows(figures)]
    return "\n".join(lines)
