"""One encrypted SQLite file, one connection, one thread; a transaction is durable when its call returns.

Rules:

- Only the worker thread touches the connection, so a checkpoint never meets a reader of ours.
- SQLite's log is brought home by that thread between two calls, not inside a commit as SQLite would: when nobody asks
  for anything, or at the latest when it has as many pages as the ballast has room for. What fails then is known, and
  not swallowed.
- Writes that wait at the same moment share one commit, each in its own savepoint: one that raises is undone alone.
  A ``large`` one, of thousands of statements, gets a commit to itself: inside a savepoint SQLite walks through all that
  the savepoint has saved so far at the end of each statement, so that such a write took seconds.
- A function given to ``write`` may run more than once (after a full disk it is tried again alone), so it has no effect
  outside its transaction but what it hands to ``Tx.then``.
- A full disk is ``SpaceError`` and everything is as before. While a part of the ballast is given up (``short_of_room``)
  the vault takes nothing in, so nothing of ours eats the room that a delete needs.
- Any other failure of the medium is ``IndexLostError`` for this call and all later ones: a failed fsync is never tried
  again, the process ends and starts anew from the disk.
"""

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import apsw

from agent.errors import LinkError, SpaceError
from agent.files import sync_folder
from agent.index.ballast import Ballast
from agent.index.opening import damaged, migrate, open_encrypted, quota_as_room
from agent.index.transaction import Tx

T = TypeVar("T")

GROUP_MAX: Final = 256
"""Calls that share one commit at most: bounds how long the first of them waits for the last."""

HOME_PAGES: Final = 1_000
"""Pages in the log that are worth bringing home, as soon as nobody asks for anything."""

LOG_PAGES_MAX: Final = 4_096
"""Pages (16 MiB) that the log never has many more of: a start after a power cut reads it all."""

_QUIET_S: Final = 0.05
_PAGE_BYTES: Final = 4_096
_KEY_BYTES: Final = 32
_MAKE_ROOM: Final = "free space or lower the keep limits in policy.toml"


class IndexLostError(Exception):
    """The medium failed under the index; none of the five kinds, because nobody may handle it: the process ends."""


@dataclass(slots=True)
class _Job:
    kind: Literal["read", "write", "urgent", "truncate", "stop"]
    fn: Callable[[Tx], Any]
    large: bool = False
    future: Future[Any] = field(default_factory=Future)


class Index:
    """The index at ``path``, opened (and created or migrated) at once; ``key`` is 32 raw bytes.

    Raises ``ConfigError`` for a file of a newer version, a wrong key or a vault in use, ``CorruptError`` for a damaged
    file. ``commits`` and ``statements`` count what was done, for measurements.
    """

    def __init__(self, path: Path, *, key: bytes) -> None:
        assert len(key) == _KEY_BYTES  # noqa: S101 - a caller's mistake, never input
        self.commits = 0
        self.statements = 0
        self._path = path
        self._lost: Exception | None = None
        self._closed = False
        self._log_pages = 0
        self._lock = threading.Lock()
        self._connection = open_encrypted(path, key)
        try:
            self._connection.set_wal_hook(self._note_log)  # and SQLite brings nothing home by itself
            self._ballast = Ballast(path.with_name(f"{path.name}.ballast"), index=path)
            self._migrate()
            self._ballast.take()
            sync_folder(path.parent)
        except BaseException:
            self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)  # as in _lose
            self._connection.close()
            raise
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._worker = threading.Thread(target=self._serve, name="index", daemon=True)
        self._worker.start()

    def _migrate(self) -> None:
        """Bring the tables to this version; on a full disk on the ballast, or nothing could be deleted there."""
        while True:
            try:
                migrate(self._connection, self._path)
            except SpaceError:
                if not self._ballast.release():
                    raise
            else:
                return

    async def write(self, fn: Callable[[Tx], T], *, urgent: bool = False, large: bool = False) -> T:
        """Run ``fn`` in a transaction; its result is returned when it is durable.

        ``urgent`` is for deletes, their audit and their receipts, and for uploads, which make room where policy wants
        them first: on a full disk the ballast is given up for them. ``fn`` may run again after a rollback. A caller
        that is cancelled while ``fn`` runs does not stop the commit.
        """
        return await asyncio.wrap_future(self._submit("urgent" if urgent else "write", fn, large=large))

    async def read(self, fn: Callable[[Tx], T]) -> T:
        """Run ``fn`` on what is durable now; it must not write."""
        return await asyncio.wrap_future(self._submit("read", fn))

    async def truncate_log(self) -> None:
        """Bring every page home and cut the log to nothing; raises ``LinkError`` when somebody else reads."""
        await asyncio.wrap_future(self._submit("truncate", _nothing))

    def write_now(self, fn: Callable[[Tx], T], *, urgent: bool = False) -> T:
        """Do what ``write`` does, from synchronous code."""
        return self._submit("urgent" if urgent else "write", fn).result()

    def read_now(self, fn: Callable[[Tx], T]) -> T:
        """Do what ``read`` does, from synchronous code."""
        return self._submit("read", fn).result()

    @property
    def nearly_out_of_room(self) -> bool:
        """Whether half of the ballast is given up: then no command is heard but an owner's that makes room.

        Nor one that stops a use of what is here, until ``room_is_for_deletes``.
        """
        return self._ballast.half_gone

    @property
    def room_is_for_deletes(self) -> bool:
        """Whether so little of the ballast is left that no command is heard but an owner's that makes room."""
        return self._ballast.quarter_left

    @property
    def short_of_room(self) -> bool:
        """Whether a part of the ballast is given up: then nothing is taken in."""
        return not self._ballast.whole

    def close(self) -> None:
        """Finish what was asked for, then close; a second call does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._jobs.put(_Job("stop", _nothing))
        self._worker.join()

    def _submit(
        self, kind: Literal["read", "write", "urgent", "truncate"], fn: Callable[[Tx], T], *, large: bool = False
    ) -> "Future[T]":
        job = _Job(kind, fn, large)
        with self._lock:
            assert not self._closed, "the index is closed"  # noqa: S101 - a caller's mistake
            self._jobs.put(job)
        return job.future

    # Everything below runs in the worker thread.

    def _serve(self) -> None:
        while True:
            batch = [self._next()]
            while len(batch) < GROUP_MAX and not self._jobs.empty():
                batch.append(self._jobs.get())
            stop = any(job.kind == "stop" for job in batch)
            live = [job for job in batch if job.kind != "stop" and job.future.set_running_or_notify_cancel()]
            try:
                self._serve_batch(live)
            except Exception as error:  # noqa: BLE001 - no caller may be left waiting
                self._lose(error)
                for job in live:
                    if not job.future.done():
                        job.future.set_exception(self._lose(error))
            if stop:
                self._connection.close()
                return

    def _next(self) -> _Job:
        """Wait for a job; bring the log home when none comes."""
        if self._log_pages >= HOME_PAGES:
            with suppress(queue.Empty):
                return self._jobs.get(timeout=_QUIET_S)
            self._bring_home()
        return self._jobs.get()

    def _serve_batch(self, batch: Sequence[_Job]) -> None:
        for job in batch:  # a read sees what is durable, never the half of a commit
            if job.kind == "read":
                self._settle(job, self._read)
        writes = [job for job in batch if job.kind in {"write", "urgent"}]
        small = [job for job in writes if not job.large]
        for group in (small, *([job] for job in writes if job.large)):
            if group:
                self._write_group(group)
        for job in batch:
            if job.kind == "truncate":
                self._settle(job, self._truncate)
        if self._log_pages >= self._log_pages_max():
            self._bring_home()
        if self._lost is None:
            self._ballast.take()

    def _settle(self, job: _Job, run: Callable[[_Job], Any]) -> None:
        try:
            result = run(job)
        except Exception as error:  # noqa: BLE001 - handed to the caller, whatever it is
            job.future.set_exception(self._translated(error))
        else:
            job.future.set_result(result)

    def _read(self, job: _Job) -> Any:  # noqa: ANN401 - the function's own type
        self._require_alive()
        self._connection.execute("BEGIN")
        try:
            answer, _ = self._run(job)
            return answer
        finally:
            self._roll_back()

    def _note_log(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        self._log_pages = pages
        return apsw.SQLITE_OK

    def _log_pages_max(self) -> int:
        """Say how long the log may be: its pages need room in the index once more, and on a full disk the ballast's."""
        if self.short_of_room:
            return HOME_PAGES
        return min(LOG_PAGES_MAX, self._ballast.log_bytes // _PAGE_BYTES)

    def _bring_home(self) -> None:
        """Write the log's pages into the index, so that the next transaction begins the log anew.

        If power fails on the way, the log is whole: it is begun anew only behind a sync of the index. On a full disk it
        grows further, is tried again behind the next commit, and what is urgent cuts it (``_cut_log``).
        """
        if self._lost is not None:
            return
        try:
            with quota_as_room(self._connection):
                self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except apsw.FullError:
            pass
        except apsw.Error as error:
            self._lose(error)
        self._log_pages = 0

    def _truncate(self, _job: _Job) -> None:
        self._require_alive()
        while True:
            try:
                busy = self._checkpoint()
            except apsw.FullError:
                if not self._release():
                    raise
            else:
                break
        if busy:
            raise LinkError("the index is being read by somebody else", hint="stop the other process")

    def _checkpoint(self) -> bool:
        with quota_as_room(self._connection):
            ((busy, _, _),) = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        if not busy:
            self._log_pages = 0
        return bool(busy)

    def _write_group(self, jobs: Sequence[_Job]) -> None:
        try:
            self._require_alive()
            with quota_as_room(self._connection):
                answers = self._commit(jobs)
        except apsw.FullError:
            # Nothing of the group was kept. Alone, the small ones may still fit, and the urgent ones get the ballast.
            self._roll_back()
            for job in sorted(jobs, key=lambda job: job.kind != "urgent"):
                self._settle(job, self._write_alone)
        except Exception as error:  # noqa: BLE001 - handed to every caller of the group
            self._roll_back()
            translated = self._translated(error)
            for job in jobs:
                job.future.set_exception(translated)
        else:
            for job, answer in zip(jobs, answers, strict=True):
                if isinstance(answer, _Raised):
                    job.future.set_exception(answer.error)
                else:
                    job.future.set_result(answer)

    def _write_alone(self, job: _Job) -> Any:  # noqa: ANN401 - the function's own type
        self._require_alive()
        cut = False
        while True:
            try:
                with quota_as_room(self._connection):
                    (answer,) = self._commit([job])
            except apsw.FullError:
                self._roll_back()
                if job.kind != "urgent":
                    raise
                # Once between two pieces: what does not fit has written to the log, too, before that is known.
                cut = not cut and self._cut_log()
                if not cut and not self._release():
                    raise
            else:
                break
        if isinstance(answer, _Raised):
            raise answer.error
        return answer

    def _commit(self, jobs: Sequence[_Job]) -> list[Any]:
        """Run the jobs in one transaction; if power fails before the last line returns, none of them happened."""
        answers: list[Any] = []
        followers: list[Callable[[], object]] = []
        alone = len(jobs) == 1  # then the transaction is all the savepoint that it needs
        self._connection.execute("BEGIN IMMEDIATE")
        for job in jobs:
            if not alone:
                self._connection.execute("SAVEPOINT job")
            try:
                answer, following = self._run(job)
                answers.append(answer)
                followers += following
            except (apsw.FullError, apsw.IOError, apsw.CorruptError):
                raise
            except Exception as error:  # noqa: BLE001 - handed to its caller
                answers.append(_Raised(error))
                if alone:
                    self._roll_back()
                    return answers
                self._connection.execute("ROLLBACK TO job")
            if not alone:
                self._connection.execute("RELEASE job")
        self._connection.execute("COMMIT")
        self.commits += 1
        for follow in followers:
            follow()
        return answers

    def _run(self, job: _Job) -> tuple[Any, list[Callable[[], object]]]:
        tx = Tx(self._connection)
        try:
            return job.fn(tx), tx.followers
        finally:
            tx.end()
            self.statements += tx.statements

    def _cut_log(self) -> bool:
        """Bring every page home and give the log's room back to the disk; return whether it had any and could.

        The log keeps its length when its pages are home, and what its pages need in the index is needed once: while
        both wait for room, each transaction behind them needs more.
        """
        log = self._path.with_name(f"{self._path.name}-wal")
        if not log.exists() or not log.stat().st_size:
            return False
        try:
            return not self._checkpoint()
        except apsw.FullError:
            return False

    def _release(self) -> bool:
        """Give a piece of the ballast up; a medium that fails at that ends the index, and no piece is tried again."""
        try:
            return self._ballast.release()
        except OSError as error:
            raise self._lose(error) from error

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _require_alive(self) -> None:
        if self._lost is not None:
            raise self._lost

    def _lose(self, error: Exception) -> Exception:
        if self._lost is None:
            self._lost = IndexLostError(f"{self._path}: the medium failed ({error}); the process must start anew")
            self._lost.__cause__ = error
            # Or the close would bring the log home after all: try a sync again that failed, and remove the log.
            self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        return self._lost

    def _translated(self, error: Exception) -> Exception:
        if isinstance(error, apsw.FullError):
            return SpaceError("the disk is full", hint=_MAKE_ROOM)
        if isinstance(error, apsw.IOError):
            return self._lose(error)
        if isinstance(error, (apsw.CorruptError, apsw.NotADBError)):
            return damaged(self._path, error)
        return error


@dataclass(frozen=True, slots=True)
class _Raised:
    error: Exception


def _nothing(_tx: Tx) -> None:
    return None
