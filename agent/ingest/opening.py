"""A source's file is opened and a part file made for it; log files are read, checked and joined in memory."""

import os
from pathlib import Path

import msgspec

from agent.errors import AgentError, CorruptError, LinkError
from agent.ingest.work import Work, content_tag
from agent.sources import Candidate
from agent.sources.candidate import IncompleteError
from agent.sources.root import Root
from agent.sources.usage_log import FILE_MAX_BYTES, bad_lines
from agent.vault import Vault


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """Descriptors of a source and a part file, and what of the work can be read now.

    Of log files, which are read when they are opened, ``content_tags`` knows each.
    """

    work: Work
    source_fd: int
    part_fd: int
    part: Path
    in_memory: bool = False
    bad_lines: int = 0
    content_tags: tuple[bytes, ...] = ()
    later: tuple[Candidate, ...] = ()
    unreadable: tuple[tuple[Candidate, str], ...] = ()

    def close(self) -> None:
        """Close both."""
        if self.in_memory:
            os.close(self.source_fd)
        else:
            self.work.source.give_back(self.source_fd)
        os.close(self.part_fd)


def open_work(root: Root, work: Work, *, vault: Vault, key: bytes) -> Opened:
    """Open a source's file and a part file for it; log files are read, checked and joined in memory."""
    if not work.is_log:
        source_fd = root.open_file(work.first)
        return _with_part(vault, Opened(work=work, source_fd=source_fd, part_fd=-1, part=Path()))
    logs: list[bytes] = []
    bad = 0
    members, later, unreadable = [], [], []
    for candidate in work.members:
        try:
            log = _read_log(root, candidate)
            bad += bad_lines(log)
            logs.append(log)
            members.append(candidate)
        except LinkError:
            later.append(candidate)
        except AgentError as error:
            unreadable.append((candidate, error.message))
    opened = Opened(
        work=Work(work.source, tuple(members)),
        source_fd=_memory_file(logs),
        part_fd=-1,
        part=Path(),
        in_memory=True,
        bad_lines=bad,
        content_tags=tuple(content_tag(log, key=key) for log in logs),
        later=tuple(later),
        unreadable=tuple(unreadable),
    )
    return _with_part(vault, opened)


def _with_part(vault: Vault, opened: Opened) -> Opened:
    try:
        part_fd, part = vault.new_part()
    except BaseException:
        os.close(opened.source_fd)
        raise
    return msgspec.structs.replace(opened, part_fd=part_fd, part=part)


def _read_log(root: Root, candidate: Candidate) -> bytes:
    """Return the file's bytes, with a line end behind the last line so that another log may follow."""
    if candidate.size_bytes > FILE_MAX_BYTES:
        raise CorruptError(f"a usage log of more than {FILE_MAX_BYTES} bytes")
    fd = root.open_file(candidate)
    try:
        raw = b""
        while piece := os.read(fd, candidate.size_bytes + 1 - len(raw)):
            raw += piece
        if len(raw) != candidate.size_bytes or os.fstat(fd).st_mtime_ns != candidate.mtime_ns:
            raise IncompleteError(
                "the file changed while it was read", hint="it is tried again once its writer is done"
            )
        return raw if raw.endswith(b"\n") or not raw else raw + b"\n"
    except OSError as error:
        raise LinkError(f"the source cannot be read: {os.strerror(error.errno or 0)}") from error
    finally:
        os.close(fd)


def _memory_file(logs: list[bytes]) -> int:
    """Return a file that exists in memory only: clear bytes never touch a disk of ours (invariant I1)."""
    fd = os.memfd_create("log", os.MFD_CLOEXEC)
    for log in logs:
        view = memoryview(log)
        while view:
            view = view[os.write(fd, view) :]
    return fd
