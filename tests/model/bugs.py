"""Mistakes that the machine must find, each with a short life in which it shows.

They are put into the running code, one at a time, as ``tests/torture/bugs.py`` does. Each life is a way through the
machine's own rules and holds where there is no mistake, so what is found is the mistake and not the life.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from agent import tombstone
from agent.app import parts
from agent.commands import door
from agent.commands.flow import Commands
from agent.erasure import Erasure
from agent.index import erasure as rows
from agent.index import tombstone as tombstones
from agent.keystore import Keystore
from agent.policy import Rights
from agent.retention import Retention
from agent.rights.snapshot import Snapshot
from agent.trust import Trust
from agent.vault import Vault
from tests.model.clocks import DAY_MS, HOUR_MS
from tests.model.machine import TEN_YEARS_MS, Machine, Shot

Put = Callable[[object, str, object], None]
"""As ``setattr``, until the test is over."""

_SHOT: Final[Shot] = ("door", "front", "recording", 0, 1_000, 1_000)
_NVR: Final[Shot] = ("nvr", "front", "recording", 1, 1_000, 1_000)


@dataclass(frozen=True, slots=True)
class Bug:
    """One mistake: ``make`` puts it in, and it shows in ``life``."""

    name: str
    make: Callable[[Put], None]
    life: Callable[[Machine], None]


def _nothing(*_arguments: object, **_options: object) -> None:
    return None


async def _async_nothing(*_arguments: object, **_options: object) -> None:
    return None


# --- the mistakes


def _no_repeat(put: Put) -> None:
    put(door, "_known", _nothing)
    put(door, "_require_fresh_seq", _nothing)


def _no_hold_in_retention(put: Put) -> None:
    real = Retention._judge

    def judge(self: Any, item: Any, _rights: Any, **about: Any) -> Any:  # noqa: ANN401 - as the real one
        return real(self, item, Rights(), **about)

    put(Retention, "_judge", judge)
    put(parts, "sparing", lambda _world: _nothing)  # the erasure itself asks once more


def _by_the_wall_clock(put: Put) -> None:
    real = Retention.run_pass

    async def run_pass(self: Any, moment: Any, disk: Any) -> Any:  # noqa: ANN401 - as the real one
        return await real(self, msgspec.structs.replace(moment, agent_ms=moment.wall_ms), disk)

    put(Retention, "run_pass", run_pass)


def _standing_of_before(put: Put) -> None:
    real = Snapshot.standing

    def standing(self: Any, tx: Any) -> Any:  # noqa: ANN401 - as the real one
        return self._known if self._known.state else real(self, tx)

    put(Snapshot, "standing", standing)


def _readers_stay(put: Put) -> None:
    real = Vault.narrow

    def narrow(self: Any, tx: Any, item: Any, *, purposes: Any, recipients: Any) -> None:  # noqa: ANN401, ARG001 - as the real one
        real(self, tx, item, purposes=purposes, recipients=item.recipients)

    put(Vault, "narrow", narrow)


def _no_word_awaited(put: Put) -> None:
    put(rows, "unconfirmed", lambda _tx, _erasure: 0)


# --- the lives


def _repeated(machine: Machine) -> None:
    _kept(machine)
    machine.restrict("ids", 0, 0, 0)
    machine.lift("client", 0, 0)
    machine.replay(1)


def _kept(machine: Machine) -> None:
    machine.begin(False, [_SHOT, _NVR])  # noqa: FBT003 - as hypothesis gives it


def _held(machine: Machine) -> None:
    _kept(machine)
    machine.hold("client", "ids", 0, 0, 90, 0)
    machine.wait(20 * DAY_MS)
    machine.retain(0)


def _held_over_a_start(machine: Machine) -> None:
    _kept(machine)
    machine.restrict("ids", 1, 0, 0)
    machine.export("backend", "ids", 1, 0, 0)
    machine.hold("client", "ids", 0, 0, 90, 0)
    machine.delete("client", "ids", 0, 0, 0)


def _deleted(machine: Machine) -> None:
    _kept(machine)
    machine.delete("client", "ids", 0, 0, 0)


def _used_twice(machine: Machine) -> None:
    _deleted(machine)
    machine.misuse(0, "seq", 1)


def _clock_back(machine: Machine) -> None:
    _kept(machine)
    machine.set_clock(-TEN_YEARS_MS, True)  # noqa: FBT003 - as hypothesis gives it
    machine.wait(20 * DAY_MS)
    machine.retain(0)


def _put_back(machine: Machine) -> None:
    _deleted(machine)
    machine.put_back(0, False, 0)  # noqa: FBT003 - as hypothesis gives it


def _late(machine: Machine) -> None:
    _kept(machine)
    machine.delete("client", "all", 0, 0, 0)
    machine.record([("door", "back", "recording", 2, HOUR_MS, 1_000)], 0)


def _cut_off(machine: Machine) -> None:
    _kept(machine)
    machine.arrive_and_lose_power("ids", 0, 0, "delete", 1)


def _taken_back(machine: Machine) -> None:
    machine.begin(True, [_SHOT])  # noqa: FBT003 - as hypothesis gives it
    machine.say(False, 0)  # noqa: FBT003 - the same


def _at_a_store(machine: Machine) -> None:
    _kept(machine)
    machine.upload(0, "stored")
    machine.delete("client", "ids", 0, 0, 0)
    machine.confirm(0, "")


def _expired(machine: Machine) -> None:
    _kept(machine)
    machine.wait(20 * DAY_MS)
    machine.retain(0)
    machine.restart("agent", 0)


BUGS: Final = (
    Bug("a repeat is carried out once more", _no_repeat, _repeated),
    Bug("a number can be used twice", lambda put: put(Trust, "use_seq", _nothing), _used_twice),
    Bug("retention ends what is held", _no_hold_in_retention, _held),
    Bug("what stands is what stood before", _standing_of_before, _held_over_a_start),
    Bug("a clock that is set back keeps things longer", _by_the_wall_clock, _clock_back),
    Bug("a delete leaves the key", lambda put: put(Keystore, "destroy_root", _nothing), _deleted),
    Bug("a start finishes no retention", lambda put: put(Erasure, "resume", _async_nothing), _expired),
    Bug("no tombstone", lambda put: put(tombstones, "insert", _nothing), _put_back),
    Bug("no cut-off", lambda put: put(tombstone, "cut_off", _nothing), _late),
    Bug("a start finishes no command", lambda put: put(Commands, "resume", _async_nothing), _cut_off),
    Bug("who read it before can read it still", _readers_stay, _taken_back),
    Bug("a store's word is not awaited", _no_word_awaited, _at_a_store),
)
