"""A command on a terminal of a given width: what a person sees of it."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Final

LINES: Final = 50


def on_screen(*words: object, columns: int, typed: bytes = b"") -> tuple[int, str]:
    """Run one of our commands; return its exit code and what it wrote to the terminal, where ``typed`` waits for it."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, columns, 0, 0))
    command = [str(Path(sys.executable).with_name(str(words[0]))), *map(str, words[1:])]
    shown = b""
    os.write(ours, typed)
    try:
        with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs) as running:
            os.close(theirs)
            while piece := _read(ours):
                shown += piece
    finally:
        os.close(ours)
    return running.returncode, shown.decode().replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # EIO: nobody is at the other end any more
        return b""
