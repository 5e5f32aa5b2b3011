"""What goes wrong on command. Each fault counts down and says so in the journal when it strikes.

Traffic faults (``lose delay duplicate reorder``) sit between the link and the store, in either direction, and count
messages of one kind. ``lie`` and ``forge`` change what the store says. ``silent``, ``refuse_region`` and ``no_room``
are how it behaves.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from device_sim.cloud.failure import SetupError
from device_sim.cloud.journal import Journal
from device_sim.cloud.jws import SigningKey
from device_sim.cloud.keys import Party
from device_sim.cloud.strictjson import Claims
from device_sim.cloud.wire import BYTE, Kind

Lie = Literal["wrong_hash", "not_stored", "ack_ahead", "not_erased", "other_region", "new_epoch"]
Forgery = Literal["unknown_key", "stolen_kid", "other_device", "other_manifest"]
Traffic = Literal["lose", "delay", "duplicate", "reorder"]
Deliver = Callable[[], None]

FOREVER: Final = 1 << 62
_NOBODY: Final = "nobody"


@dataclass(slots=True)
class _Rule:
    """One traffic fault: skips ``skip`` messages of its kind, then strikes ``left`` times."""

    what: Traffic
    kind: Kind
    skip: int
    left: int
    by_s: float = 0.0


@dataclass(slots=True)
class _Counted:
    """A fault that strikes ``left`` times."""

    left: int = 0

    def strikes(self) -> bool:
        if self.left <= 0:
            return False
        self.left -= 1
        return True


@dataclass(frozen=True, slots=True)
class Signature:
    """Who signs a message, and which key id it names."""

    key: SigningKey
    kid: str


@dataclass(slots=True)
class _Held:
    deliver: list[Deliver] = field(default_factory=list)


class Faults:
    """Faults on demand; any thread may call."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._lock = threading.Lock()
        self._rules: list[_Rule] = []
        self._held = _Held()
        self._timers: list[threading.Timer] = []
        self._lies: dict[Lie, _Counted] = {lie: _Counted() for lie in get_args(Lie)}
        self._forgeries: dict[tuple[Kind, Forgery], _Counted] = {}
        self._region = _Counted()
        self._room = _Counted()
        self._silent = False

    def lose(self, kind: Kind, *, nth: int = 1, count: int = 1) -> None:
        """Drop messages of a kind, from the ``nth`` that comes now on."""
        self._add(_Rule("lose", kind, nth - 1, count))

    def delay(self, kind: Kind, *, by_s: float, nth: int = 1, count: int = 1) -> None:
        """Hand messages on later."""
        self._add(_Rule("delay", kind, nth - 1, count, by_s))

    def duplicate(self, kind: Kind, *, nth: int = 1, count: int = 1) -> None:
        """Hand messages on twice."""
        self._add(_Rule("duplicate", kind, nth - 1, count))

    def reorder(self, kind: Kind, *, nth: int = 1, count: int = 1) -> None:
        """Hand a message on after the next one that passes."""
        self._add(_Rule("reorder", kind, nth - 1, count))

    def lie(self, how: Lie, *, count: int = 1) -> None:
        """Say what is not so.

        ``wrong_hash``: ``stored`` with another payload hash. ``not_stored``: ``stored``, and nothing is kept.
        ``ack_ahead``: the whole payload acknowledged with the next ack. ``not_erased``: ``erased``, and all is kept.
        ``other_region``: ``stored`` elsewhere than ``go`` promised. ``new_epoch``: another incarnation.
        """
        with self._lock:
            self._lies[how].left += count

    def forge(self, kind: Kind, how: Forgery, *, count: int = 1) -> None:
        """Send a forgery in the place of the store's true message.

        ``unknown_key``: signed by a key that nobody knows, and naming it. ``stolen_kid``: the same, naming the
        store's key. ``other_device``: true signature, another ``aud``. ``other_manifest``: true signature, bound to
        another manifest.
        """
        with self._lock:
            self._forgeries.setdefault((kind, how), _Counted()).left += count

    def refuse_region(self, *, count: int = FOREVER) -> None:
        """Answer ``begin`` with ``failed region_refused``."""
        with self._lock:
            self._region.left = count

    def no_room(self, *, count: int = FOREVER) -> None:
        """Answer ``begin`` with ``failed no_room``."""
        with self._lock:
            self._room.left = count

    def silent(self, *, on: bool = True) -> None:
        """Read everything and answer nothing."""
        self._silent = on

    def clear(self) -> None:
        """Behave from now on; what was held back is handed on."""
        with self._lock:
            self._rules.clear()
            for lie in self._lies.values():
                lie.left = 0
            self._forgeries.clear()
            self._region.left = self._room.left = 0
            self._silent = False
            held, self._held.deliver = self._held.deliver, []
        for deliver in held:
            deliver()

    def stop(self) -> None:
        """Cancel what is delayed."""
        with self._lock:
            timers, self._timers = self._timers, []
        for timer in timers:
            timer.cancel()

    def add(self, spec: str) -> None:
        """Read one ``--fault`` of the shell command; raises ``SetupError``.

        ``lose|duplicate|reorder=KIND[:NTH[:COUNT]]``, ``delay=KIND:SECONDS[:NTH[:COUNT]]``, ``lie=HOW[:COUNT]``,
        ``forge=HOW:KIND[:COUNT]``, ``silent``, ``refuse_region[=COUNT]``, ``no_room[=COUNT]``.
        """
        name, _, argument = spec.partition("=")
        words = argument.split(":") if argument else []
        try:
            self._parse(name, words)
        except (ValueError, IndexError) as error:
            raise SetupError(
                f"--fault {spec!r}: {error or 'too few words'}", hint="device-sim cloud --help shows the form"
            ) from error

    # What the store asks.

    def passes(self, kind: Kind, deliver: Deliver) -> None:
        """Hand a message on: once, twice, later, after the next, or never."""
        if not self._rules and not self._held.deliver:
            deliver()
            return
        with self._lock:
            rule = self._struck(kind)
            held: list[Deliver] = []
            if rule is None or rule.what != "reorder":
                held, self._held.deliver = self._held.deliver, []
            else:
                self._held.deliver.append(deliver)
        if rule is None:
            deliver()
        elif rule.what == "duplicate":
            deliver()
            deliver()
        elif rule.what == "delay":
            self._later(deliver, by_s=rule.by_s)
        for late in held:
            late()

    def lies(self, how: Lie) -> bool:
        """Say whether to lie now."""
        with self._lock:
            strikes = self._lies[how].strikes()
        if strikes:
            self._journal.note("fault", fault="lie", how=how)
        return strikes

    def refuses_region(self) -> bool:
        """Say whether to refuse the region now."""
        return self._strikes(self._region, "refuse_region")

    def lacks_room(self) -> bool:
        """Say whether there is no room now."""
        return self._strikes(self._room, "no_room")

    def is_silent(self, kind: Kind) -> bool:
        """Say whether to swallow this answer."""
        if self._silent:
            self._journal.note("fault", fault="silent", kind=kind)
        return self._silent

    def signs(self, kind: Kind, claims: Claims, *, party: Party) -> tuple[Claims, Signature]:
        """Return the claims and the signature to use, which a forgery changes."""
        with self._lock:
            how = next(
                (how for (of, how), left in self._forgeries.items() if of == kind and left.strikes()),
                None,
            )
        if how is not None:
            self._journal.note("fault", fault="forge", how=how, kind=kind)
        match how:
            case "unknown_key":
                stranger = SigningKey.generate()
                return {**claims, "iss": stranger.kid}, Signature(stranger, stranger.kid)
            case "stolen_kid":
                return claims, Signature(SigningKey.generate(party.signing.alg), party.kid)
            case "other_device":
                return {**claims, "aud": _NOBODY}, Signature(party.signing, party.kid)
            case "other_manifest":
                return _other_manifest(claims), Signature(party.signing, party.kid)
        return claims, Signature(party.signing, party.kid)

    def _add(self, rule: _Rule) -> None:
        with self._lock:
            self._rules.append(rule)

    def _struck(self, kind: Kind) -> _Rule | None:
        for rule in self._rules:
            if rule.kind != kind:
                continue
            if rule.skip:
                rule.skip -= 1
                continue
            rule.left -= 1
            if rule.left <= 0:
                self._rules.remove(rule)
            self._journal.note("fault", fault=rule.what, kind=kind)
            return rule
        return None

    def _strikes(self, counted: _Counted, name: str) -> bool:
        with self._lock:
            strikes = counted.strikes()
        if strikes:
            self._journal.note("fault", fault=name)
        return strikes

    def _later(self, deliver: Deliver, *, by_s: float) -> None:
        timer = threading.Timer(by_s, deliver)
        timer.daemon = True
        with self._lock:
            self._timers.append(timer)
        timer.start()

    def _parse(self, name: str, words: list[str]) -> None:
        match name:
            case "lose" | "duplicate" | "reorder":
                nth, count = _counts(words[1:])
                self._add(_Rule(name, _kind(words[0]), nth - 1, count))
            case "delay":
                nth, count = _counts(words[2:])
                self.delay(_kind(words[0]), by_s=float(words[1]), nth=nth, count=count)
            case "lie":
                self.lie(_lie(words[0]), count=int(words[1]) if words[1:] else 1)
            case "forge":
                self.forge(_kind(words[1]), _forgery(words[0]), count=int(words[2]) if words[2:] else 1)
            case "silent":
                self.silent()
            case "refuse_region":
                self.refuse_region(count=int(words[0]) if words else FOREVER)
            case "no_room":
                self.no_room(count=int(words[0]) if words else FOREVER)
            case _:
                raise ValueError("no such fault")


def _other_manifest(claims: Claims) -> Claims:
    other = "0" * 64
    items = claims.get("items")
    if isinstance(items, list):
        return {**claims, "items": [{**item, "manifest": other} for item in items]}
    return {**claims, "manifest": other}


def _counts(words: list[str]) -> tuple[int, int]:
    nth = int(words[0]) if words else 1
    return nth, int(words[1]) if words[1:] else 1


def _kind(word: str) -> Kind:
    for kind in BYTE:
        if kind == word:
            return kind
    raise ValueError(f"{word!r} is no kind of message")


def _lie(word: str) -> Lie:
    known: tuple[Lie, ...] = get_args(Lie)
    for lie in known:
        if lie == word:
            return lie
    raise ValueError(f"{word!r} is no lie")


def _forgery(word: str) -> Forgery:
    known: tuple[Forgery, ...] = get_args(Forgery)
    for how in known:
        if how == word:
            return how
    raise ValueError(f"{word!r} is no forgery")
