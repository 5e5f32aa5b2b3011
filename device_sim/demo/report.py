"""report.html: what this run saw, in one file that needs nothing else."""

from pathlib import Path

from device_sim.demo.found import Found


def write(path: Path, found: Found, steps: list[dict[str, object]], *, total_s: float) -> None:
    """Write the report."""
    path.write_text(f"<!doctype html><p>{len(steps)} {found.engine} {total_s}", encoding="utf-8")
