"""A source's file is opened and a part file made for it; log files are read, checked and joined in memory."""

import os
from functools import partial
from pathlib import Path

import msgspec

from agent.bookmark import Bookmark
from agent.camera.identity import Order
from agent.errors import AgentError, LinkError
from agent.ingest.growing import Beginning, Piece, read_piece
from agent.ingest.work import Work
from agent.sources import Candidate
from agent.sources.root import Root
from agent.sources.settings import BATCH_MAX_BYTES
from agent.vault import Vault


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """Descriptors of a source and a part file, and what of the work can be read now.

    A camera's recording has no descriptor but an ``order``, by which the sealing process fetches it.

    Log files are read when they are opened: ``pieces`` are what is known of each that is a member then. In those of
    ``passed`` and ``finished`` was nothing to take, and the latter are ours to give up; in those of ``more`` is more to
    read behind this.
    """

    work: Work
    source_fd: int = -1
    order: Order | None = None
    part_fd: int = -1
    part: Path | None = None
    in_memory: bool = False
    pieces: tuple[Piece, ...] = ()
    passed: tuple[Bookmark, ...] = ()
    finished: tuple[Piece, ...] = ()
    more: tuple[Candidate, ...] = ()
    later: tuple[Candidate, ...] = ()
    unreadable: tuple[tuple[Candidate, str], ...] = ()

    def close(self) -> None:
        """Close both."""
        if self.in_memory:
            os.close(self.source_fd)
        elif self.order is None:
            self.work.source.give_back(self.source_fd)
        if self.part is not None:
            os.close(self.part_fd)


def open_work(root: Root, work: Work, *, vault: Vault, key: bytes, beginning: Beginning) -> Opened:
    """Open a source's file and a part file for it; log files are read, checked and joined in memory."""
    if not work.is_log:
        opened = Opened(work=work, source_fd=root.open_file(work.first))
    else:
        opened = _open_logs(root, work, key=key, beginning=beginning)
        if not opened.work.members:
            return opened
    try:
        part_fd, part = vault.new_part()
    except BaseException:
        opened.close()
        raise
    return msgspec.structs.replace(opened, part_fd=part_fd, part=part)


def _open_logs(root: Root, work: Work, *, key: bytes, beginning: Beginning) -> Opened:
    # In memory only: clear bytes never touch a disk of ours (invariant I1).
    fd = os.memfd_create("log", os.MFD_CLOEXEC)
    try:
        return _read_logs(root, work, fd, key=key, beginning=beginning)
    except BaseException:
        os.close(fd)
        raise


def _read_logs(root: Root, work: Work, memory_fd: int, *, key: bytes, beginning: Beginning) -> Opened:
    read: list[Piece] = []
    more, later, unreadable = [], [], []
    size_bytes = 0
    assert work.asked_at is not None  # noqa: S101 - a log is opened once its bookmarks were asked for
    for candidate, bookmarks in zip(work.members, work.bookmarks, strict=True):
        if _is_enough(work, candidate, size_bytes):
            more.append(candidate)
            continue
        try:
            piece = read_piece(
                root,
                candidate,
                bookmarks,
                grows=work.grows,
                beginning=beginning,
                sink=partial(_write, memory_fd),
                now=work.asked_at,
                key=key,
            )
        except LinkError:
            later.append(candidate)
        except AgentError as error:
            unreadable.append((candidate, error.message))
        else:
            read.append(piece)
            if piece.source_tag:
                size_bytes = os.lseek(memory_fd, 0, os.SEEK_CUR)
        os.ftruncate(memory_fd, size_bytes)  # nothing stays of one that is not taken
        os.lseek(memory_fd, size_bytes, os.SEEK_SET)
    pieces = tuple(piece for piece in read if piece.source_tag)
    return Opened(
        work=Work(work.source, tuple(piece.candidate for piece in pieces)),
        source_fd=memory_fd,
        in_memory=True,
        pieces=pieces,
        passed=tuple(piece.bookmark for piece in read if piece.bookmark is not None and not piece.source_tag),
        finished=tuple(piece for piece in read if piece.finished),
        more=(*(piece.candidate for piece in read if piece.more), *more),
        later=tuple(later),
        unreadable=tuple(unreadable),
    )


def _is_enough(work: Work, candidate: Candidate, size_bytes: int) -> bool:
    if work.grows:
        return size_bytes >= work.source.settings.batch_bytes
    return size_bytes > 0 and size_bytes + candidate.size_bytes > BATCH_MAX_BYTES


def _write(fd: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]
