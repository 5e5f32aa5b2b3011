"""Seeded mistakes of the lives in which the owner says something: what was said is kept too late, or acts too early.

Several keep a row in memory and write it when the agent stops: as long as the process lives nothing shows.
"""

from collections.abc import Callable
from typing import Any, Final

from agent import files
from agent.bundle import Bundle
from agent.commands.admission import Admission
from agent.commands.farewell import Farewell
from agent.commands.flow import Commands
from agent.erasure import Erasure
from agent.index import bundle as export_rows
from agent.index import freezing as freezing_rows
from agent.index import policy as policy_rows
from agent.index import trust as trust_rows
from agent.keystore import Keystore
from agent.rights import consent
from agent.vault import Vault
from tests.torture.bug import Bug, unsynced
from tests.torture.say import say


def _at_the_stop(write: Callable[[Any], object]) -> None:
    """Have something written in the transaction of the clean stop."""
    real = Vault.left_clean

    def left_clean(self: Vault, tx: Any, folder: str) -> None:  # noqa: ANN401 - as the real one
        write(tx)
        real(self, tx, folder)

    Vault.left_clean = left_clean  # type: ignore[method-assign]  # a seeded mistake


def _hold_kept_in_memory() -> None:
    every, insert, delete, state = (
        freezing_rows.every,
        freezing_rows.insert,
        freezing_rows.delete,
        freezing_rows.state,
    )
    waiting: dict[Any, Any] = {}

    def hold(tx: Any, row: Any) -> None:  # noqa: ANN401 - as the real one
        if row[1] == "hold":
            waiting[row[0]] = row
        else:
            insert(tx, row)

    def release(tx: Any, freeze_id: str) -> None:  # noqa: ANN401 - as the real one
        if waiting.pop(freeze_id, None) is None:
            delete(tx, freeze_id)

    freezing_rows.insert = hold
    freezing_rows.delete = release
    freezing_rows.every = lambda tx: [*every(tx), *waiting.values()]
    freezing_rows.state = lambda tx: f"{state(tx)}{sorted(waiting)}"
    _at_the_stop(lambda tx: [insert(tx, row) for row in waiting.values()])


def _withdrawn_before_it_is_recorded() -> None:
    real, state = consent.say, consent.state
    waiting: list[Any] = []

    def later(tx: Any, targets: Any, word: Any, **options: Any) -> None:  # noqa: ANN401 - as the real one
        if word == "withdrawn":
            waiting.append((targets, word, options))
        else:
            real(tx, targets, word, **options)

    setattr(consent, "say", later)  # noqa: B010 - a seeded mistake
    consent.state = lambda tx: f"{state(tx)}{len(waiting)}"
    _at_the_stop(lambda tx: [real(tx, targets, word, **options) for targets, word, options in waiting])


def _policy_kept_in_memory() -> None:
    read, write = policy_rows.read_document, policy_rows.write_document
    waiting: dict[str, Any] = {}

    def later(tx: Any, document: bytes, **values: Any) -> None:  # noqa: ANN401 - as the real one
        if read(tx) is None:
            write(tx, document, **values)
        else:
            waiting.update(values, document=document)

    policy_rows.write_document = later
    policy_rows.read_document = lambda tx: dict(waiting) or read(tx)
    _at_the_stop(lambda tx: write(tx, **waiting) if waiting else None)


def _key_set_kept_in_memory() -> None:
    read, write = trust_rows.key_set, trust_rows.set_key_set
    waiting: list[Any] = []

    def later(tx: Any, raw: bytes, *, version: int) -> None:  # noqa: ANN401, ARG001 - the same
        waiting.append((raw, version))

    trust_rows.set_key_set = later
    trust_rows.key_set = lambda tx: waiting[-1][0] if waiting else read(tx)
    _at_the_stop(lambda tx: [write(tx, raw, version=version) for raw, version in waiting])


def _sequence_stored_after_the_effect() -> None:
    # The command's row and its number are written in a transaction of their own, behind that of its effect.
    real_judge, real_take, waiting = Admission.judge, Commands._take, []

    def judge(self: Any, tx: Any, incoming: Any, *, moment: Any) -> Any:  # noqa: ANN401 - as the real one
        judged = real_judge(self, tx, incoming, moment=moment)
        row = trust_rows.command(tx, judged.jti)
        if row is not None and row.verb == "restrict" and row.status == "done":
            waiting.append((row, trust_rows.window(tx, row.kid)))
            tx.execute("DELETE FROM command WHERE jti = ?", (row.jti,))
            tx.execute("DELETE FROM key_window WHERE kid = ?", (row.kid,))
        return judged

    async def take(self: Any, incoming: Any, **options: Any) -> Any:  # noqa: ANN401 - as the real one
        judged = await real_take(self, incoming, **options)
        for row, (highest, seen) in waiting:
            await self._index.write(lambda tx, row=row: trust_rows.put_command(tx, row))
            await self._index.write(
                lambda tx, row=row, to=(highest, seen): trust_rows.set_window(tx, row.kid, highest=to[0], seen=to[1])
            )
        waiting.clear()
        return judged

    Admission.judge = judge  # type: ignore[method-assign]  # a seeded mistake
    Commands._take = take  # type: ignore[method-assign]  # a seeded mistake


def _removed_before_it_is_intended() -> None:
    real = Erasure.begin

    async def begin(self: Any, ids: Any, **options: Any) -> None:  # noqa: ANN401 - as the real one
        for object_id in ids:
            files.remove(self._vault.payload_path(object_id))
        await real(self, ids, **options)

    Erasure.begin = begin  # type: ignore[method-assign]  # a seeded mistake


def _export_removed_behind_its_receipt() -> None:
    def remove(self: Bundle, export_id: str, note: Callable[[Any], None], *, command: str = "") -> None:
        del command

        def drop(tx: Any) -> None:  # noqa: ANN401 - a transaction
            export_rows.drop(tx, export_id)
            note(tx)

        self._index.write_now(drop, urgent=True)
        _at_the_stop(lambda _tx: files.remove_tree(self.folder / export_id))

    Bundle.remove = remove  # type: ignore[method-assign]  # a seeded mistake


def _keys_destroyed_before_it_is_parted() -> None:
    # What ends the second phase is done before the first one is durable, let alone told.
    real = Farewell.part

    async def part(self: Any) -> None:  # noqa: ANN401 - as the real one
        Keystore.destroy(self._erasure._keystore._path)
        say("destroyed")
        await real(self)

    Farewell.part = part  # type: ignore[method-assign]  # a seeded mistake


def _pseudonyms_not_destroyed() -> None:
    Keystore.rotate_pseudonyms = lambda _self, _periods_ms, **_options: None  # type: ignore[method-assign]  # a seeded mistake


WORDS: Final = (
    Bug("hold acknowledged before it is durable", "hold", _hold_kept_in_memory),
    Bug("sequence stored after the effect", "restrict", _sequence_stored_after_the_effect),
    Bug("withdrawal applied before it is recorded", "withdraw", _withdrawn_before_it_is_recorded),
    Bug("policy obeyed before it is durable", "policy", _policy_kept_in_memory),
    Bug("key set taken before it is durable", "rotate", _key_set_kept_in_memory),
    Bug("key of pseudonyms not destroyed", "rotate", _pseudonyms_not_destroyed),
    Bug("retention removes before the intent", "retain", _removed_before_it_is_intended),
    Bug("files of an export not synced", "export", unsynced("exports")),
    Bug("export removed behind its receipt", "export", _export_removed_behind_its_receipt),
    Bug("phase two of erase-all before phase one is durable", "erase-all", _keys_destroyed_before_it_is_parted),
)
