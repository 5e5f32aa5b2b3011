"""What must be true of the device, in plain Python: the model. It knows nothing of rows, keys, files and threads.

It is written from ``docs/design.md`` and ``docs/protocol.md``, and is meant to be read against them: who may remove
what, what comes back and what never does, what a command has done and what it is answered.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from tests.model.clocks import DAY_MS, HOUR_MS, AgentTime
from tests.model.household import Terms

EXPORT_DAYS: Final = 7
FORGET_WITHIN_MS: Final = HOUR_MS - 120_000
"""The hour of the policy, less the two passes by which it is kept."""

HOLD_MAX_MS: Final = 90 * DAY_MS
TERMINAL: Final = frozenset({"done", "partial", "refused", "failed"})
TARGETS: Final = (("analytics", "recording"), ("analytics", "photo"))


@dataclass(frozen=True)
class Select:
    """What a command names: one of ids, a range, or all."""

    ids: tuple[str, ...] | None = None
    camera: str = ""
    category: str = ""
    span: tuple[int, int] | None = None

    def covers(self, thing: "Thing | File") -> bool:
        if self.ids is not None:
            return isinstance(thing, Thing) and thing.id in self.ids
        begins, ends = thing.captured
        return (
            self.camera in {"", thing.camera}
            and self.category in {"", thing.category}
            and (self.span is None or (max(ends, begins + 1) > self.span[0] and begins < self.span[1]))
        )

    @property
    def is_all(self) -> bool:
        return self == Select()


@dataclass
class File:
    """What a camera wrote; ``camera`` is the id that the device gave it, ``""`` for none yet."""

    source: str
    path: str
    category: str
    captured: tuple[int, int]
    content: bytes
    camera: str = ""

    @property
    def takes(self) -> bool:
        return self.source == "door"

    @property
    def identity(self) -> tuple[str, str, int, int]:
        """By which a source's file is known again."""
        return (self.source, self.path, len(self.content), self.captured[0])


@dataclass
class Thing:
    """One object: ``state`` is ``here``, ``going`` (refused to everybody, its key not yet destroyed), or ``gone``."""

    id: str
    file: File
    camera: str
    taken_in_ms: int
    purposes: tuple[str, ...]
    readers: tuple[str, ...]
    state: str = "here"
    at_store_only: bool = False
    roots: set[str] = field(default_factory=set)
    """Every root of the key tree under which its key ever lay."""

    @property
    def category(self) -> str:
        return self.file.category

    @property
    def captured(self) -> tuple[int, int]:
        return self.file.captured

    @property
    def is_there(self) -> bool:
        return self.state != "gone"


@dataclass
class Copy:
    """What a store has, or may have, of an object."""

    upload: str
    object: str
    manifest: str
    current: bool = True
    stored: bool = False
    to_erase: bool = False
    confirmed: bool = False


@dataclass
class Tomb:
    """What refuses the return of something that was deleted."""

    identity: tuple[str, str, int, int]
    content: bytes
    object: str
    at_source: bool
    at_store: bool
    asked: bool


@dataclass
class Freeze:
    """A hold has an end, a restriction has none."""

    id: str
    select: Select
    author: str
    until_ms: int | None = None


@dataclass
class Word:
    """What was last said of a purpose and a category, since when, and what stood before that."""

    word: str
    since_ms: int
    before: str = ""

    def at(self, when_ms: int) -> str:
        """Return what counts for data of that time: a yes is about what came since."""
        return self.before if self.word == "given" and when_ms < self.since_ms else self.word


@dataclass
class Said:
    """One command and what became of it.

    ``left`` is whether its work is still to be done, ``acknowledged`` whether its sender has its last word, and
    ``delivered`` whether that waits for nobody now.
    """

    jti: str
    who: str
    verb: str
    seq: int
    exp: int
    claims: dict[str, Any] = field(repr=False)
    raw: bytes = field(default=b"", repr=False)
    select: Select | None = None
    named: tuple[str, ...] = ()
    status: str = ""
    reason: str = ""
    results: dict[str, str] = field(default_factory=dict)
    left: bool = False
    receipt: bytes = field(default=b"", repr=False)
    acknowledged: bool = False
    delivered: bool = False

    @property
    def is_open(self) -> bool:
        return self.status not in TERMINAL

    def refuse(self, reason: str) -> None:
        self.status, self.reason, self.left = "refused", reason, False


class Belief:
    """All that is believed."""

    def __init__(self, time: AgentTime) -> None:
        self.time = time
        self.terms = Terms()
        self.revisions: dict[str, int] = {}
        self.files: dict[tuple[str, str], File] = {}
        self.things: list[Thing] = []
        self.copies: list[Copy] = []
        self.tombs: list[Tomb] = []
        self.cut_offs: list[tuple[Select, int]] = []
        self.holds: list[Freeze] = []
        self.restrictions: list[Freeze] = []
        self.words: dict[tuple[str, str], Word] = {}
        self.exports: dict[str, int] = {}
        self.held_by: dict[str, set[str]] = {}
        self.said: list[Said] = []
        self.going_since_ms: int | None = None

    # --- looking

    def thing(self, object_id: str) -> Thing | None:
        """Return an object that has a row: one that is here, or on its way out."""
        return next((one for one in self.things if one.id == object_id and one.is_there), None)

    def here(self) -> list[Thing]:
        return [one for one in self.things if one.state == "here"]

    def held(self, thing: Thing | File) -> bool:
        return any(one.select.covers(thing) for one in self.holds)

    def restricted(self, thing: Thing | File) -> bool:
        return any(one.select.covers(thing) for one in self.restrictions)

    def selected(self, select: Select, *, exports: bool, copies: bool) -> tuple[str, ...]:
        """Return what a selection means now, as it is frozen when a command arrives.

        ``copies``: also what is gone here and still in an export.
        """
        if select.ids is not None:
            return tuple(sorted(set(select.ids)))
        found = [one.id for one in self.things if (one.state == "here" or one.at_store_only) and select.covers(one)]
        lying = {name for export in self.exports for name in self.held_by[export]} if copies else set()
        found += [one.id for one in self.things if one.id in lying and one.id not in found and select.covers(one)]
        whole = select.is_all or select == Select(category="export")
        return tuple(sorted(found + (list(self.exports) if exports and whole else [])))

    # --- taking in

    def verdict(self, file: File) -> str:
        """Say what becomes of a file that is offered: ``in``, ``known``, ``destroyed``, or it ``stays``."""
        if not file.takes and any(one.is_there and one.file.identity == file.identity for one in self.things):
            return "stays"
        forbidden = "destroyed" if file.takes and not self.held(file) else "stays"
        if self._cut_off(file) or (not file.takes and any(one.identity == file.identity for one in self.tombs)):
            return forbidden
        if not self.purposes(file):
            return "stays"
        if file.takes and any(self._is_same(one, file) for one in self.things):
            return "known"
        return forbidden if any(one.content == file.content for one in self.tombs) else "in"

    def _is_same(self, thing: Thing, file: File) -> bool:
        same = (thing.file.identity, thing.file.content) == (file.identity, file.content)
        return thing.is_there and same

    def _cut_off(self, file: File) -> bool:
        return any(select.covers(file) and file.captured[0] < before_ms for select, before_ms in self.cut_offs)

    def purposes(self, file: File) -> tuple[str, ...]:
        """Return for what it may be taken in."""
        if file.category == "usage-log":
            return ("support",)
        word = self.words.get(("analytics", file.category))
        agreed = word is not None and word.at(file.captured[0]) == "given"
        always = ("security",) if file.category == "recording" else ()
        return always + (("analytics",) if agreed else ())

    def admit(self, file: File, object_id: str, *, camera: str, root: str) -> Thing:
        purposes = self.purposes(file)
        owner = ("owner",) if file.category != "photo" else ()
        vendor = ("vendor",) if "analytics" in purposes else ()
        thing = Thing(object_id, file, camera, self.time.now_ms, purposes, owner + vendor, roots={root})
        self.things.append(thing)
        return thing

    # --- the three ways in which something ends

    def erase(self, ids: Iterable[str], *, role: str, keeps: bool) -> dict[str, str]:
        """Erase what a command names, by its role; return what became of each. All that was going goes too."""
        results = {object_id: self._erase_one(object_id, role=role, keeps=keeps) for object_id in sorted(ids)}
        self.destroy_keys()
        return {name: self._confirmed(name) if result == "deleted" else result for name, result in results.items()}

    def _erase_one(self, object_id: str, *, role: str, keeps: bool) -> str:
        thing = self.thing(object_id)
        if thing is None:
            return self._erase_at_store(object_id, role=role, keeps=keeps)
        was_here = thing.state == "here"
        if was_here and (kept := self._kept(thing, role)):
            return kept
        self._ask_stores(thing, keeps=keeps)
        if was_here:
            self._go(thing, asked=True)
        else:
            self._ask_tomb(thing)
        return "deleted"

    def _erase_at_store(self, object_id: str, *, role: str, keeps: bool) -> str:
        thing = next((one for one in self.things if one.id == object_id), None)
        if thing is None or keeps:
            return "already_gone"
        if thing.at_store_only and (kept := self._kept(thing, role)):
            return kept
        self._ask_stores(thing, keeps=False)
        if not any(one.object == object_id and one.to_erase for one in self.copies):
            return "already_gone"
        for tomb in self.tombs:
            tomb.asked |= tomb.object == object_id
        return "deleted"

    def _kept(self, thing: Thing, role: str) -> str:
        """Say what keeps it from whoever asks: a hold from everybody, a restriction from all but its owner."""
        if self.held(thing):
            return "held"
        return "restricted" if role != "client" and self.restricted(thing) else ""

    def _ask_stores(self, thing: Thing, *, keeps: bool) -> None:
        for copy in self.copies:
            if copy.object == thing.id and not (keeps and copy.stored):
                copy.to_erase = True
        if not keeps:
            thing.at_store_only = False

    def _go(self, thing: Thing, *, asked: bool) -> None:
        copies = [one for one in self.copies if one.object == thing.id]
        unconfirmed = any(one.to_erase and not one.confirmed for one in copies)
        if asked or not thing.file.takes or unconfirmed:
            self._bury(thing, asked=asked, at_store=unconfirmed)
        thing.state = "going"
        thing.at_store_only = any(one.stored and not one.to_erase for one in copies)

    def _bury(self, thing: Thing, *, asked: bool, at_store: bool) -> None:
        at_source = not thing.file.takes
        named = thing.id if at_source or at_store else ""
        self.tombs.append(Tomb(thing.file.identity, thing.file.content, named, at_source, at_store, asked))

    def _ask_tomb(self, thing: Thing) -> None:
        mine = [one for one in self.tombs if one.object == thing.id]
        for tomb in mine:
            tomb.asked = True
        if not mine:
            copies = [one for one in self.copies if one.object == thing.id]
            self._bury(thing, asked=True, at_store=any(one.to_erase and not one.confirmed for one in copies))

    def _confirmed(self, object_id: str) -> str:
        waits = any(one.object == object_id and one.to_erase and not one.confirmed for one in self.copies)
        return "waiting_for_cloud" if waits else "deleted"

    def expire(self, due: Iterable[Thing]) -> None:
        """Begin to end what the policy does not want any more; a store keeps what it has confirmed."""
        for thing in due:
            self._ask_stores(thing, keeps=True)
            self._go(thing, asked=False)
            self.going_since_ms = self.time.now_ms if self.going_since_ms is None else self.going_since_ms

    def destroy_keys(self) -> None:
        for thing in self.things:
            if thing.state == "going":
                thing.state = "gone"
        self.going_since_ms = None

    # --- retention

    def retain(self) -> None:
        """One pass."""
        due = self.wanted_gone()
        self.exports = {name: made for name, made in self.exports.items() if name not in due}
        self.expire([one for one in self.here() if one.id in due])
        since_ms = self.going_since_ms
        if since_ms is not None and self.time.now_ms >= since_ms + FORGET_WITHIN_MS:
            self.destroy_keys()
        self.time.keep()

    def wanted_gone(self) -> set[str]:
        """Return what a pass would end now: objects and exports. A hold whose end has come is no more."""
        self.end_holds()
        struck = {one.id for one in self.here() if self._is_struck(one)}
        due = {one.id for name in ("recording", "photo", "usage-log") for one in self._due(name)}
        exports = {name for name, made in self.exports.items() if self.time.now_ms >= made + EXPORT_DAYS * DAY_MS}
        return struck | due | exports

    def _due(self, category: str) -> Iterator[Thing]:
        """Yield what is over its limit, oldest first, down to the first that is not."""
        found = [one for one in self.here() if one.category == category and not self._is_struck(one)]
        for place, thing in enumerate(found):
            if self._stands(thing):
                continue
            if not self.is_over(thing, newer=len(found) - place - 1):
                return
            yield thing

    def _is_struck(self, thing: Thing) -> bool:
        """Tell whether it is for nothing any more, and nothing keeps it: that goes first of all."""
        return not thing.purposes and not self._stands(thing)

    def _over(self, category: str) -> Iterator[Thing]:
        """Yield the same, whatever stands over it."""
        found = [one for one in self.here() if one.category == category]
        for place, thing in enumerate(found):
            if not self.is_over(thing, newer=len(found) - place - 1):
                return
            yield thing

    def is_over(self, thing: Thing, *, newer: int) -> bool:
        if thing.category == "photo":
            return newer >= self.terms.photos
        days = self.terms.recording_days if thing.category == "recording" else self.terms.log_days
        return self.time.now_ms >= thing.taken_in_ms + days * DAY_MS

    def _stands(self, thing: Thing) -> bool:
        return self.held(thing) or self.restricted(thing)

    def end_holds(self) -> None:
        now_ms = self.time.now_ms
        self.holds = [one for one in self.holds if one.until_ms is None or one.until_ms > now_ms]
        for hold in self.holds:
            if self.time.trusted and (hold.until_ms or 0) > now_ms + HOLD_MAX_MS + HOUR_MS:
                hold.until_ms = now_ms + HOLD_MAX_MS

    # --- stores

    def confirm(self, copy: Copy) -> None:
        """Take a store's word that its copy is gone."""
        copy.confirmed = True
        mine = [one for one in self.copies if one.object == copy.object and one.to_erase]
        if all(one.confirmed for one in mine):
            for tomb in self.tombs:
                tomb.at_store = tomb.at_store and tomb.object != copy.object
        self._settle_tombs()
        for said in self.said:
            if said.status == "waiting" and said.results:
                self.settle(said)
        self._drop_copies()

    def _settle_tombs(self) -> None:
        settled = [one for one in self.tombs if one.object and not one.at_source and not one.at_store]
        for tomb in settled:
            tomb.object = ""
        self.tombs = [one for one in self.tombs if one.asked or one not in settled]

    def _drop_copies(self) -> None:
        asked = {name for said in self.said if said.status == "waiting" for name in said.results}
        self.copies = [one for one in self.copies if not (one.confirmed and one.to_erase and one.object not in asked)]

    def ask_half_back(self, thing: Thing) -> None:
        """Have a store asked for the half of a copy that it should not have any more."""
        for copy in self.copies:
            if copy.object == thing.id and copy.current and not copy.stored:
                copy.current, copy.to_erase = False, True

    # --- what commands do at once

    def say(self, word: str) -> None:
        for target in TARGETS:
            was = self.words.get(target)
            if was is not None and was.word == word == "given":
                continue
            self.words[target] = Word(word, self.time.now_ms, "" if was is None else was.word)

    def freeze(self, said: Said, *, until_ms: int | None = None) -> None:
        assert said.select is not None
        stands = Freeze(said.jti, said.select, said.who, until_ms)
        (self.restrictions if until_ms is None else self.holds).append(stands)
        for object_id in sorted(set(said.select.ids or ())):
            thing = next((one for one in self.things if one.id == object_id), None)
            there = thing is not None and (thing.state == "here" or (thing.state == "gone" and thing.at_store_only))
            kept = "restricted" if until_ms is None else "held"
            said.results[object_id] = kept if there else "already_gone"
        said.status = "done"

    def put_in_force(self, terms: Terms) -> dict[str, str]:
        """Change the policy; return what is over its limits, and stays because something stands over it."""
        tightens, self.terms = self.terms.loosens(terms), terms
        over = [one for name in ("recording", "photo", "usage-log") for one in self._over(name)] if tightens else []
        return {one.id: "held" if self.held(one) else "restricted" for one in over if self._stands(one)}

    # --- what commands do behind that

    def settle(self, said: Said) -> None:
        """Answer a command whose objects are all decided, once no store's word is missing."""
        told = said.results
        open_at_stores = {name for name, result in told.items() if result == "waiting_for_cloud"}
        if any(self._confirmed(name) == "waiting_for_cloud" for name in open_at_stores):
            said.status = "waiting"
            return
        said.results = {name: "deleted" if name in open_at_stores else result for name, result in told.items()}
        good = sum(result not in {"held", "restricted", "failed"} for result in said.results.values())
        word = said.verb in {"withdraw", "consent"}
        said.status = "done" if good == len(said.results) else "partial" if good or word else "failed"

    def carry_out(self, said: Said) -> None:
        """Do the work of a command that was accepted."""
        said.left = False
        if said.verb == "delete":
            self._delete(said)
        elif said.verb == "export":
            self._export(said)
        else:
            self._narrow(said)
        self.settle(said)
        self._drop_copies()

    def _delete(self, said: Said) -> None:
        exports = {name for name in said.named if name in self.exports}
        if said.who == "client" and said.select is not None and said.select.is_all:
            exports = set(self.exports)
        for name in exports:
            del self.exports[name]
        said.results = dict.fromkeys(sorted(exports), "deleted")
        if rest := set(said.named) - exports:
            said.results |= self.erase(rest, role=said.who, keeps=False)

    def _export(self, said: Said) -> None:
        for name in said.named:
            thing = self.thing(name)
            there = thing is not None and thing.state == "here"
            kept = there and said.who != "client" and thing is not None and self.restricted(thing)
            said.results[name] = "restricted" if kept else "exported" if there else "already_gone"
        if "exported" in said.results.values():
            self.exports[said.jti] = self.time.now_ms
            self.held_by[said.jti] = {name for name, result in said.results.items() if result == "exported"}

    def _narrow(self, said: Said) -> None:
        """Let what was sealed for a purpose that was taken away be for the others, or end where nobody may read it."""
        doomed = []
        late = [one.id for one in self.here() if "analytics" in one.purposes]
        for name in sorted({*said.named, *late}):
            thing = self.thing(name)
            if thing is None:
                said.results[name] = "already_gone"
            elif thing.state == "going" or thing.category == "photo":
                doomed.append(name)
                if thing.state != "going":
                    self._strike(thing)
            else:
                said.results[name] = self._reseal(thing)
        if doomed:
            said.results |= self.erase(doomed, role="a word", keeps=True)  # which lifts no restriction

    def _strike(self, thing: Thing) -> None:
        self._ask_half_back_unless_stored(thing)
        thing.purposes = ()

    def _ask_half_back_unless_stored(self, thing: Thing) -> None:
        if not self.is_uploaded(thing):
            self.ask_half_back(thing)

    def is_uploaded(self, thing: Thing) -> bool:
        return any(one.object == thing.id and one.current and one.stored for one in self.copies)

    def _reseal(self, thing: Thing) -> str:
        word = self.words.get(("analytics", thing.category))
        agreed = word is not None and word.at(thing.taken_in_ms) == "given"
        thing.purposes = tuple(one for one in thing.purposes if one != "analytics" or agreed)
        if "vendor" not in thing.readers or agreed or self.is_uploaded(thing):
            return "continues"
        self.ask_half_back(thing)
        thing.readers = ("owner",)
        return "resealed"

    # --- starting

    def start(self) -> None:
        """What every start does before anybody is let in, by the clocks as they are then."""
        self.time.keep()
        self.destroy_keys()
        self.end_holds()
