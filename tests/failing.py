"""A medium that fails: a command whose named system calls on one file are answered by the kernel's "I/O error"."""

from pathlib import Path


def failing(path: Path, *faults: str) -> list[str]:
    """Return what stands in front of a command so that its calls on ``path`` fail.

    A fault is ``call=ERROR`` for all of them, or ``call=ERROR:when=N`` for the Nth alone.
    """
    words = [word for fault in faults for word in ("-e", f"inject={fault.replace('=', ':error=', 1)}")]
    return ["strace", "-f", "-qq", "-o", "/dev/null", "-P", str(path), *words]
