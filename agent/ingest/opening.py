"""A source's file is opened and a part file made for it; log files are read, checked and joined in memory."""

import os
from pathlib import Path

import msgspec

from agent.bookmark import Bookmark
from agent.errors import AgentError, CorruptError, LinkError
from agent.ingest.growing import Piece, next_piece
from agent.ingest.work import Work, content_tag, source_tag
from agent.sources import Candidate
from agent.sources.candidate import IncompleteError
from agent.sources.root import Root
from agent.sources.usage_log import FILE_MAX_BYTES, bad_lines
from agent.vault import Vault


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """Descriptors of a source and a part file, and what of the work can be read now.

    Log files are read when they are opened: ``pieces`` are what is known of each that is a member then, without its
    content. In those of ``passed`` was nothing to take; in those of ``more`` is more to read behind this.
    """

    work: Work
    source_fd: int
    part_fd: int = -1
    part: Path | None = None
    in_memory: bool = False
    pieces: tuple[Piece, ...] = ()
    passed: tuple[Bookmark, ...] = ()
    more: tuple[Candidate, ...] = ()
    later: tuple[Candidate, ...] = ()
    unreadable: tuple[tuple[Candidate, str], ...] = ()

    def close(self) -> None:
        """Close both."""
        if self.in_memory:
            os.close(self.source_fd)
        else:
            self.work.source.give_back(self.source_fd)
        if self.part is not None:
            os.close(self.part_fd)


def open_work(root: Root, work: Work, *, vault: Vault, key: bytes) -> Opened:
    """Open a source's file and a part file for it; log files are read, checked and joined in memory."""
    if not work.is_log:
        opened = Opened(work=work, source_fd=root.open_file(work.first))
    else:
        opened = _open_logs(root, work, key=key)
        if not opened.work.members:
            return opened
    try:
        part_fd, part = vault.new_part()
    except BaseException:
        opened.close()
        raise
    return msgspec.structs.replace(opened, part_fd=part_fd, part=part)


def _open_logs(root: Root, work: Work, *, key: bytes) -> Opened:
    # In memory only: clear bytes never touch a disk of ours (invariant I1).
    fd = os.memfd_create("log", os.MFD_CLOEXEC)
    try:
        return _read_logs(root, work, fd, key=key)
    except BaseException:
        os.close(fd)
        raise


def _read_logs(root: Root, work: Work, memory_fd: int, *, key: bytes) -> Opened:
    pieces: list[Piece] = []
    passed, more, later, unreadable = [], [], [], []
    size_bytes = 0
    for n, candidate in enumerate(work.members):
        if work.grows and size_bytes >= work.source.settings.batch_bytes:
            more.append(candidate)
            continue
        try:
            piece = _next_of(root, work, n, key=key)
        except LinkError:
            later.append(candidate)
            continue
        except AgentError as error:
            unreadable.append((candidate, error.message))
            continue
        if piece.more:
            more.append(candidate)
        if piece.source_tag:
            _write(memory_fd, piece.content)
            size_bytes += len(piece.content)
            pieces.append(msgspec.structs.replace(piece, content=b""))
        elif piece.bookmark is not None:
            passed.append(piece.bookmark)
    return Opened(
        work=Work(work.source, tuple(piece.candidate for piece in pieces)),
        source_fd=memory_fd,
        in_memory=True,
        pieces=tuple(pieces),
        passed=tuple(passed),
        more=tuple(more),
        later=tuple(later),
        unreadable=tuple(unreadable),
    )


def _next_of(root: Root, work: Work, n: int, *, key: bytes) -> Piece:
    if work.grows:
        return next_piece(root, work.members[n], work.bookmarks[n], now_ms=work.asked_ms, key=key)
    return _whole_log(root, work.members[n], key=key)


def _whole_log(root: Root, candidate: Candidate, *, key: bytes) -> Piece:
    """Return all of a log, with a line end behind the last line so that another log may follow."""
    log = _read_log(root, candidate)
    return Piece(
        candidate=candidate,
        content=log,
        bad_lines=bad_lines(log),
        source_tag=source_tag(candidate, key=key),
        content_tag=content_tag(log, key=key),
    )


def _read_log(root: Root, candidate: Candidate) -> bytes:
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


def _write(fd: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]
