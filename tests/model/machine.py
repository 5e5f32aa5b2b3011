"""The machine: rules that do the same to the device and to what is believed of it, and what must hold behind each.

Every choice is drawn: objects, commands and files are named by their place in the model's order, never by an id, and
the clocks are the machine's own. So one and the same draw always does the same.
"""

import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agent import age, audit, envelope, registry
from agent.chain import Judge
from agent.clock import rfc3339_ms
from agent.envelope import policy_claims
from agent.model import new_id
from tests.commands.office import DEVICE, Party
from tests.model.belief import Belief, Copy, File, Said, Select, Thing
from tests.model.clocks import DAY_MS, HOUR_MS, AgentTime, Clocks
from tests.model.device import Device
from tests.model.hearing import WINDOW, Hearing
from tests.model.household import Household, Terms

CONTENTS: Final = (b"frames one", b"frames two", b"", b"three" * 20_000)
LOGS: Final = (b'{"n":1}\n', b'{"n":2}\n{"n":3}\n')
LABELS: Final = ("front", "back")
SUFFIX: Final = {"recording": "mp4", "photo": "jpg", "usage-log": "jsonl"}
RECORDING_MS: Final = 10_000
TEN_YEARS_MS: Final = 3652 * DAY_MS
THINGS_MAX: Final = 18
"""Fewer than a pass asks its owner about."""
QUIET_KEYS_MAX: Final = 10
"""Commands of a key that may speak but once a minute."""

MISTAKES: Final = ("audience", "verb", "claim", "number", "ahead", "expired", "stale", "selection")
NOISES: Final = ("forged", "stranger", "other device", "oversized", "nonsense", "half", "none")
UNKEPT_MS: Final = 30_000
"""Of the time that passed, what a power cut takes back."""

places = st.integers(0, 30)
cuts = st.sampled_from((0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14))
spans = st.sampled_from((1_000, 60_000, HOUR_MS, DAY_MS, 3 * DAY_MS, 13 * DAY_MS))
categories = st.sampled_from(("recording", "recording", "photo", "photo", "usage-log"))
Shot = tuple[str, str, str, int, int, int]
shots = st.tuples(
    st.sampled_from(("door", "door", "nvr")),
    st.sampled_from(LABELS),
    categories,
    st.integers(0, len(CONTENTS) - 1),
    st.sampled_from((1_000, 1_000, 1_000, 60_000, HOUR_MS, 40 * DAY_MS)),
    st.sampled_from((1_000, 600_000, HOUR_MS)),
)
"""Source, camera, category, content, how long ago it was recorded, and how much later that is than the one before."""
kinds = st.sampled_from(("ids", "ids", "ids", "ids", "ids", "camera", "category", "span", "span", "all"))
someone = st.sampled_from(("client", "client", "backend"))


class Machine(RuleBasedStateMachine):
    """One device, from its first start on. ``folder`` and ``house`` are set by whoever runs it."""

    folder: Path
    house: Household

    def __init__(self) -> None:
        super().__init__()
        self.top = Path(tempfile.mkdtemp(dir=self.folder))
        self.device = Device(self.house, self.top / "device")
        self.time = AgentTime(Clocks().read())
        self.belief = Belief(self.time)
        self.hearing = Hearing(self.belief)
        self.seqs = dict.fromkeys(("client", "backend", "store", "clock", "stranger"), 0)
        self.judge = Judge(jwk=self.device.parts.keystore.public_jwk())
        self.judged = 0
        self.cut_judged = 0
        self._look()
        self._started()

    def teardown(self) -> None:
        self.device.end()
        self.top.rmdir()

    # --- small words

    def _look(self) -> None:
        """Let model and device look at the same clocks."""
        reading = self.device.clocks.read()
        self.time.look(reading)
        moment = self.device.parts.now()
        assert (moment.agent_ms, moment.trusted) == (self.time.now_ms, self.time.trusted), "I8"

    def _root(self) -> str:
        return str(self.device.rows("SELECT root_id FROM vault")[0][0])

    def _party(self, who: str) -> Party:
        found: Party = getattr(self.house, who)
        return found

    def _cameras(self) -> dict[tuple[str, str], str]:
        found = self.device.parts.index.read_now(registry.cameras)
        return {(one.source, one.label): one.id for one in found}

    def _select(self, kind: str, place: int, more: int) -> tuple[Select, dict[str, Any]]:
        """Return what a command names, as the model has it and as its claims say it."""
        things = self.belief.things
        cameras = [self._cameras()[name] for name in sorted(self._cameras())]
        if kind == "camera" and cameras:
            camera = cameras[place % len(cameras)]
            return Select(camera=camera), {"camera": camera}
        if kind == "category":
            category = sorted(SUFFIX)[place % len(SUFFIX)]
            return Select(category=category), {"category": category}
        if kind == "span" and things:
            begins = things[place % len(things)].captured[0] - 5_000
            ends = begins + (10_000, HOUR_MS, 5 * DAY_MS)[more % 3]
            return Select(span=(begins, ends)), {"from": rfc3339_ms(begins), "to": rfc3339_ms(ends)}
        if kind == "all" or not things:
            return Select(), {"all": True}
        ids = tuple(sorted({things[(place + step) % len(things)].id for step in range(1 + more % 3)}))
        return Select(ids=ids), {"ids": list(ids)}

    def _claims(self, who: str, verb: str, **own: Any) -> dict[str, Any]:  # noqa: ANN401 - claims of any kind
        self.seqs[who] += 1
        now_s = self.time.now_ms // 1000
        common = {"iss": self._party(who).kid, "aud": DEVICE, "iat": now_s, "exp": now_s + 30 * 86_400}
        return common | {"jti": new_id(), "seq": self.seqs[who], "verb": verb} | own

    def _said(self, who: str, claims: dict[str, Any], select: Select | None = None, **beside: Any) -> Said:  # noqa: ANN401 - the same
        return Said(
            jti=claims["jti"],
            who=who,
            verb=claims["verb"],
            seq=claims["seq"],
            exp=claims["exp"],
            claims=claims | beside | {"wall_ms": self.device.clocks.read().wall_ms},
            raw=self._party(who).sign(claims),
            select=select,
        )

    def _tell(self, said: Said, *, cut: int = 0) -> dict[str, Any]:
        """Have a command come, perhaps with a power cut behind one of its writes, after which it is sent again."""
        self._look()
        if cut:
            self.device.cut_behind(cut)
        submitted = self.device.submit(said.raw)
        if self.device.lost_power():
            self._after_cut(said)
            submitted = self.device.submit(said.raw)
        else:
            turned = self.hearing.submit(said)
            assert turned == ("" if self._row(said) else submitted.reason), f"I5 {submitted.reason} {said}"
        receipt = self._party(said.who).open(submitted.receipt)
        assert (receipt["cmd"], receipt["seq"]) == (said.jti, said.seq)
        self._compare(said)
        return receipt

    def _after_cut(self, said: Said) -> None:
        """Start again behind a cut in a command: it was taken up before that, or it comes for the first time."""
        self._boot(0)
        known = self._row(said) is not None
        if known:
            self.hearing.hear(said)
        self._started_anew()
        if known:
            self.hearing.go_on(said)
        else:
            self.hearing.submit(said)

    def _row(self, said: Said) -> Any:  # noqa: ANN401 - a row
        return self.device.parts.index.read_now(lambda tx: self.device.parts.trust.command(tx, said.jti))

    def _compare(self, said: Said) -> None:
        """Hold a command's row and receipt against what is believed."""
        row = self._row(said)
        assert (row is not None) == any(one is said for one in self.belief.said), "I4 taken up or not"
        if row is None:
            return
        assert (row.status, row.reason) == (said.status, said.reason), f"I6 {said}"
        if said.acknowledged:
            return
        outcomes = self.device.parts.index.read_now(lambda tx: self.device.parts.trust.outcomes(tx, said.jti))
        assert {one.id: one.result for one in outcomes} == said.results, f"I6 {said}"
        if said.status in {"done", "partial", "refused", "failed"}:
            assert said.receipt in {b"", row.receipt}, "I4 a last word changes"
            said.receipt = row.receipt

    # --- starting

    def _boot(self, off_ms: int) -> None:
        """Have the machine start: what was not kept of the time is lost."""
        self.device.clocks.boot_after(off_ms)
        self.device.open()

    def _started_anew(self) -> None:
        self.time.start()
        self.time.look(self.device.clocks.read())
        self._started()

    def _started(self) -> None:
        self.hearing.start()
        self._look()

    # --- rules: what a camera does

    @initialize(agreed=st.booleans(), shots=st.lists(shots, min_size=2, max_size=5))
    def begin(self, agreed: bool, shots: list[Shot]) -> None:  # noqa: FBT001 - hypothesis gives names
        if agreed:
            self._tell(self._said("client", self._claims("client", "consent", purpose="analytics", decision="given")))
        self.record(shots, cut=0)

    @precondition(lambda self: len(self.belief.here()) < THINGS_MAX)
    @rule(shots=st.lists(shots, min_size=1, max_size=3), cut=cuts)
    def record(self, shots: list[Shot], cut: int) -> None:
        """Files are written, one after the other, and taken in, or not."""
        for source, label, category, content, age_ms, later_ms in shots:
            self._pass(later_ms)
            begins = (self.time.now_ms - age_ms) // 1000 * 1000
            if category == "usage-log":  # one that grows where it stays is another matter
                self._write("door", label, category, LOGS[content % len(LOGS)], begins)
            else:
                self._write(source, label, category, CONTENTS[content], begins)
            self._take_in(cut)

    @precondition(lambda self: self.belief.things and len(self.belief.here()) < THINGS_MAX)
    @rule(place=places, elsewhere=st.booleans(), cut=cuts)
    def put_back(self, place: int, elsewhere: bool, cut: int) -> None:  # noqa: FBT001 - hypothesis gives names
        """A file that was taken in before lies there again, or the same bytes under another time."""
        was = self.belief.things[place % len(self.belief.things)].file
        label = was.path.partition("/")[0]
        begins = was.captured[0] + (1_000 if elsewhere else 0)
        self._write(was.source, label, was.category, was.content, begins)
        self._take_in(cut)

    @rule(cut=cuts)
    def look_over(self, cut: int) -> None:
        """The sources are looked over, whatever lies there."""
        self._take_in(cut)

    def _write(self, source: str, label: str, category: str, content: bytes, begins_ms: int) -> None:
        time = datetime.fromtimestamp(begins_ms // 1000, UTC).strftime("%Y-%m-%dT%H-%M-%S.000Z")
        lasts = f"_{RECORDING_MS // 1000}s" if category == "recording" else ""
        path = f"{label}/{category}/{time}{lasts}.{SUFFIX[category]}"
        ends_ms = begins_ms + (RECORDING_MS if lasts else 1)
        self.belief.files[source, path] = File(source, path, category, (begins_ms, ends_ms), content)
        self.device.write(source, path, content, time_ms=begins_ms)

    def _take_in(self, cut: int = 0) -> None:
        self._look()
        if cut:
            self.device.cut_behind(cut)
        self.device.take_in()
        if self.device.lost_power():
            self._boot(0)
            self._adopt(taken_before=True)
            self._started_anew()
            self._look()
            self.device.take_in()
        self._adopt()

    def _adopt(self, *, taken_before: bool = False) -> None:
        """Judge every file that lies there, and learn the ids of what was taken in."""
        cameras = self._cameras()
        rows = self.device.rows("SELECT id, source, source_name, camera FROM object ORDER BY n")
        known = {one.id for one in self.belief.things}
        new = {
            (source, name): (object_id, camera) for object_id, source, name, camera in rows if object_id not in known
        }
        expected: dict[tuple[str, str], str] = {}
        for key, file in list(self.belief.files.items()):
            file.camera = cameras.get((file.source, file.path.partition("/")[0]), "")
            expected[key] = self.belief.verdict(file)
        if not taken_before:
            assert set(new) == {key for key, verdict in expected.items() if verdict == "in"}, f"I2, I3 {expected}"
        for key, (object_id, camera) in new.items():
            file = self.belief.files[key]
            assert expected[key] == "in", f"I3 {file} came back"
            file.camera = camera
            self.belief.admit(file, object_id, camera=camera, root=self._root())
        if not taken_before:
            for key, verdict in expected.items():
                if verdict in {"known", "destroyed"} or (verdict == "in" and self.belief.files[key].takes):
                    del self.belief.files[key]

    # --- rules: what people ask

    @rule(who=someone, kind=kinds, place=places, more=places, cut=cuts)
    def delete(self, who: str, kind: str, place: int, more: int, cut: int) -> None:
        select, claims = self._select(kind, place, more)
        said = self._said(who, self._claims(who, "delete", select=claims), select)
        self._tell(said, cut=cut if who == "client" else 0)

    @rule(who=someone, kind=kinds, place=places, more=places, cut=cuts)
    def export(self, who: str, kind: str, place: int, more: int, cut: int) -> None:
        select, claims = self._select(kind, place, more)
        said = self._said(who, self._claims(who, "export", select=claims, form="objects"), select)
        self._tell(said, cut=cut)
        if said.jti in self.belief.exports:
            found = self.device.exported(said.jti)
            wanted = [one for one in self.belief.things if said.results.get(one.id) == "exported"]
            assert found == {one.id: one.file.content for one in wanted}

    @rule(who=someone, kind=kinds, place=places, more=places, days=st.sampled_from((1, 20, 90)), cut=cuts)
    def hold(self, who: str, kind: str, place: int, more: int, days: int, cut: int) -> None:  # noqa: PLR0917 - hypothesis gives names
        select, named = self._select(kind, place, more)
        claims = self._claims(who, "hold", select=named, reason="court")
        until_ms = (claims["iat"] + days * 86_400) * 1000
        claims["until"] = rfc3339_ms(until_ms)
        self._tell(self._said(who, claims, select, until_ms=until_ms), cut=cut)

    @rule(kind=kinds, place=places, more=places, cut=cuts)
    def restrict(self, kind: str, place: int, more: int, cut: int) -> None:
        select, named = self._select(kind, place, more)
        self._tell(
            self._said("client", self._claims("client", "restrict", select=named, ground="claims"), select), cut=cut
        )

    @precondition(lambda self: self.belief.restrictions or self.belief.holds)
    @rule(who=someone, place=places, cut=cuts)
    def lift(self, who: str, place: int, cut: int) -> None:
        """A hold is released, by whoever may, or a restriction is lifted by its owner."""
        standing = [*self.belief.holds, *self.belief.restrictions]
        found = standing[place % len(standing)]
        if found.until_ms is None:
            said = self._said("client", self._claims("client", "unrestrict", restriction=found.id))
        else:
            said = self._said(who, self._claims(who, "release", hold=found.id))
        self._tell(said, cut=cut)

    @rule(yes=st.booleans(), cut=cuts)
    def say(self, yes: bool, cut: int) -> None:  # noqa: FBT001 - hypothesis gives names
        """Its owner agrees to a purpose, or takes that back."""
        verb, own = ("consent", {"decision": "given"}) if yes else ("withdraw", {})
        self._tell(self._said("client", self._claims("client", verb, purpose="analytics", **own)), cut=cut)

    @rule(
        who=someone,
        terms=st.builds(
            Terms,
            recording_days=st.sampled_from((1, 7, 14, 30)),
            photos=st.sampled_from((1, 2, 4)),
            log_days=st.sampled_from((1, 3)),
        ),
        cut=cuts,
    )
    def policy(self, who: str, terms: Terms, cut: int) -> None:
        """The owner changes the policy as they like; what a backend wants kept longer waits for the owner."""
        if who == "backend":  # what it tightens alone makes the next pass ask, which is another matter
            terms = replace(terms, recording_days=400)
        party = self._party(who)
        revision = self.belief.revisions.get(who, 0) + 1
        signed = policy_claims(self.house.policy(terms), kid=party.kid, revision=revision, iat=self.time.now_ms // 1000)
        jws = party.sign(signed, typ="pv1.policy").decode("ascii")
        values = {"recording_days": terms.recording_days, "photos": terms.photos, "log_days": terms.log_days}
        said = self._said(who, self._claims(who, "policy", policy=jws), terms=values, revision=revision)
        self._tell(said, cut=cut if who == "client" else 0)

    @rule()
    def inventory(self) -> None:
        said = self._said("client", self._claims("client", "inventory", select={"all": True}), Select())
        receipt = self._tell(said)
        listed = [one["object"] for one in receipt["outcomes"]]
        told = {one["id"]: one["state"] for one in listed if one["category"] != "export"}
        there = {one.id: "erasing" if one.state == "going" else "sealed" for one in self.belief.things if one.is_there}
        there |= {one.id: "uploaded" for one in self.belief.here() if self.belief.is_uploaded(one)}
        away = {one.id: "at_store" for one in self.belief.things if one.state == "gone" and one.at_store_only}
        assert told == there | away, "I6"

    @rule(
        kind=kinds,
        place=places,
        more=places,
        verb=st.sampled_from(("delete", "delete", "export", "withdraw")),
        off_h=st.integers(0, 30),
    )
    def arrive_and_lose_power(self, kind: str, place: int, more: int, verb: str, off_h: int) -> None:
        """A command is taken up, and before anything of it is carried out the power fails."""
        select, named = self._select(kind, place, more)
        own: dict[str, Any] = {"purpose": "analytics"} if verb == "withdraw" else {"select": named}
        claims = self._claims("client", verb, **(own | ({"form": "objects"} if verb == "export" else {})))
        said = self._said("client", claims, None if verb == "withdraw" else select)
        self._look()
        (answer,) = self.device.receive(self.device.seal(said.raw))
        assert self.hearing.hear(said) == ""
        assert self._party("client").open(answer)["status"] == said.status
        self.device.cut_now()
        assert self.device.lost_power()
        self._boot(off_h * HOUR_MS)
        self._started_anew()
        self._compare(said)

    # --- rules: who means harm, or is mistaken

    @precondition(lambda self: self.belief.said)
    @rule(place=places)
    def replay(self, place: int) -> None:
        """The same bytes come again: they get the same answer and do nothing."""
        said = self.belief.said[place % len(self.belief.said)]
        before = self._head()
        self._look()
        submitted = self.device.submit(said.raw)
        if not said.is_open:
            assert said.receipt in {b"", submitted.receipt}, "I4 another answer to the same bytes"
            assert not [one for one in self._since(before) if one["command"] == said.jti], "I4 it did something"
        said.delivered = False
        self.hearing.go_on(said)
        self._compare(said)

    @precondition(lambda self: self.belief.said and self.belief.things)
    @rule(place=places, what=st.sampled_from(("jti", "seq", "late", "role", "role")), victim=places)
    def misuse(self, place: int, what: str, victim: int) -> None:
        """A known key uses what was used, or not in turn, or asks for what it was never granted."""
        if what == "late":
            self._late_number(victim)
        elif what == "role":
            self._wrong_role("backend" if place % 3 else "store", victim)
        else:
            self._reuse(place, what, victim)

    def _reuse(self, place: int, what: str, victim: int) -> None:
        """A new command bears the id, or the number, of an earlier one."""
        was = self.belief.said[place % len(self.belief.said)]
        select, named = self._select("ids", victim, 0)
        claims = self._claims(was.who, "delete" if was.who in {"client", "backend"} else was.verb, select=named)
        if was.who not in {"client", "backend"}:
            return
        claims[what] = was.claims[what]
        below = what == "seq" and max(self.hearing.used[was.who]) - was.seq > WINDOW
        self._refused(was.who, claims, "stale_seq" if below else f"{what}_reused", select)

    @rule(
        what=st.sampled_from(("audience", "verb", "claim", "number", "ahead", "expired", "stale", "selection")),
        place=places,
    )
    def mistake(self, what: str, place: int) -> None:
        """A known key signs what it should not have."""
        select, named = self._select("ids", place, 1)
        claims = self._claims("client", "delete", select=named)
        reason = self._spoil(claims, what)
        if reason:
            self._refused("client", claims, reason, select)
        else:
            self._tell(self._said("client", claims, select))

    def _spoil(self, claims: dict[str, Any], what: str) -> str:
        """Make the mistake; return the reason it is refused for without a trace, "" where it is taken up, or acts."""
        now_s = self.time.now_ms // 1000
        spoilt: dict[str, tuple[dict[str, Any], str]] = {
            "audience": ({"aud": "cam-02"}, "wrong_audience"),
            "verb": ({"verb": "destroy"}, "unknown_verb"),
            "claim": ({"forever": True}, "malformed"),
            "number": ({"seq": str(claims["seq"])}, "malformed"),
            "selection": ({"select": {"ids": ["x"]}}, "malformed"),
            "ahead": ({"iat": now_s + 1_000, "exp": now_s + 90_000}, "not_yet_valid" if self.time.trusted else ""),
            "expired": ({"iat": now_s - 7_200, "exp": now_s - 3_600}, ""),
            "stale": ({"seq": claims["seq"] - 1_100}, "stale_seq"),
        }
        if what == "stale":
            self._jump_ahead()
        own, reason = spoilt[what]
        if what == "stale":
            own = {"seq": self.seqs["client"] - 1_100}
        claims |= own
        return reason

    def _jump_ahead(self) -> None:
        """Use a number far ahead, so that early ones lie below the window."""
        self.seqs["client"] += 1_200
        self._tell(self._said("client", self._claims("client", "inventory", select={"all": True}), Select()))

    def _late_number(self, place: int) -> None:
        """A number that was passed over comes later, as when two messages change places: it acts."""
        select, named = self._select("ids", place, 0)
        late = self._claims("client", "delete", select=named)
        self._tell(self._said("client", self._claims("client", "inventory", select={"all": True}), Select()))
        self._tell(self._said("client", late, select))

    @precondition(lambda self: self.belief.things)
    @rule(
        what=st.sampled_from(("forged", "stranger", "other device", "oversized", "nonsense", "half", "none")),
        place=places,
    )
    def noise(self, what: str, place: int) -> None:
        """Somebody whom nobody knows says something: there is no answer and nothing is done."""
        _select, named = self._select("ids", place, 2)
        claims = self._claims("stranger" if what == "stranger" else "client", "delete", select=named)
        if what != "stranger":
            self.seqs["client"] -= 1
        self._look()
        assert self.device.receive(self._noise(what, claims)) == (), "I5"

    def _noise(self, what: str, claims: dict[str, Any]) -> bytes:
        jws = self._party("stranger" if what == "stranger" else "client").sign(claims)
        head, body, signature = jws.split(b".")
        forged = b".".join((head, body, signature[:-4] + (b"AAAA" if signature[-4:] != b"AAAA" else b"BBBB")))
        unsigned = b".".join((b"eyJhbGciOiJub25lIn0", body, b""))
        elsewhere = b"\x01" + age.encrypt(jws, [self.house.owner.recipient()])
        return {
            "forged": self.device.seal(forged),
            "stranger": self.device.seal(jws),
            "other device": elsewhere,
            "oversized": self.device.seal(jws + b"A" * 130_000),
            "nonsense": b"\x01" + jws,
            "half": self.device.seal(jws[: len(jws) // 2]),
            "none": self.device.seal(unsigned),
        }[what]

    def _wrong_role(self, who: str, place: int) -> None:
        """A key asks for what it was never granted."""
        if self.seqs[who] >= QUIET_KEYS_MAX and who == "store":
            return
        select, named = self._select("ids", place, 0)
        verb = "delete" if who == "store" else "restrict"
        own = {} if who == "store" else {"ground": "claims"}
        self._tell(self._said(who, self._claims(who, verb, select=named, **own), select))

    def _refused(self, who: str, claims: dict[str, Any], reason: str, select: Select) -> None:
        """Have a command come that is refused and leaves no trace."""
        self._look()
        submitted = self.device.submit(self._party(who).sign(claims))
        assert (submitted.status, submitted.reason) == ("refused", reason)
        assert select is not None
        self.hearing.tick()
        self.hearing.work()

    # --- rules: stores

    @precondition(lambda self: self.belief.here())
    @rule(place=places, far=st.sampled_from(("begun", "half", "stored", "stored", "lied", "lost")))
    def upload(self, place: int, far: str) -> None:
        """A store has an object, a part of it, or lost it; another store's word counts for nothing."""
        here = self.belief.here()
        thing = here[place % len(here)]
        copy = next((one for one in self.belief.copies if one.object == thing.id and one.current), None)
        if copy is None:
            copy = self._begin(thing)
        self._look()
        if far == "half":
            self._write_now(lambda tx, parts: parts.vault.note_offset(tx, copy.upload, 3))
        elif far in {"stored", "lied"}:
            by = self.house.store.kid if far == "stored" else self.house.backend.kid
            news = self._write_now(
                lambda tx, parts: parts.vault.note_stored(
                    tx, copy.upload, region="eu", stated_by=by, epoch="e1", moment=parts.now()
                )
            )
            assert news == (far == "stored" and not copy.stored)
            copy.stored |= far == "stored"
        elif far == "lost":
            news = self._write_now(lambda tx, parts: parts.vault.note_lost(tx, copy.upload, moment=parts.now()))
            assert news == copy.stored
            if copy.stored:
                copy.stored = copy.current = False

    def _begin(self, thing: Thing) -> Copy:
        manifest = f"{len(self.belief.copies):064x}"

        def begin(tx: Any, parts: Any) -> str:  # noqa: ANN401 - a transaction and the parts
            upload, _iat_s = parts.vault.begin_upload(tx, thing.id, moment=parts.now())
            parts.vault.set_manifest(tx, upload, manifest, store=self.house.store.kid, moment=parts.now())
            return str(upload)

        self._look()
        copy = Copy(self._write_now(begin), thing.id, manifest)
        self.belief.copies.append(copy)
        return copy

    def _write_now(self, fn: Any) -> Any:  # noqa: ANN401 - as the function has it
        parts = self.device.parts
        return self.device.run(parts.index.write(lambda tx: fn(tx, parts), urgent=True))

    @precondition(lambda self: any(one.to_erase and not one.confirmed for one in self.belief.copies))
    @rule(place=places, lie=st.sampled_from(("", "", "", "manifest", "store")))
    def confirm(self, place: int, lie: str) -> None:
        """A store says that its copy is gone; of another copy, or by another key, that is no word."""
        asked = [one for one in self.belief.copies if one.to_erase and not one.confirmed]
        copy = asked[place % len(asked)]
        told = self.device.parts.index.read_now(
            lambda tx: self.device.parts.erasure.pending_remote(tx, self.house.store.kid, 100)
        )
        assert {one.upload for one in told} == {one.upload for one in asked}, "I3 a store is asked for every copy"
        self._look()
        self._write_now(
            lambda tx, parts: parts.erasure.note_erased(
                tx,
                copy.upload,
                "f" * 64 if lie == "manifest" else copy.manifest,
                header="erased",
                payload="erased",
                stated_by=self.house.backend.kid if lie == "store" else self.house.store.kid,
                moment=parts.now(),
            )
        )
        if not lie:
            self.belief.confirm(copy)

    # --- rules: time, and what goes by itself

    @rule(ms=spans)
    def wait(self, ms: int) -> None:
        self._pass(ms)

    def _pass(self, ms: int) -> None:
        """Let time pass while the agent runs, which keeps its floor once a minute."""
        unkept_ms = min(ms, UNKEPT_MS)
        self.device.clocks.pass_ms(ms - unkept_ms)
        self._look()
        self._write_now(lambda tx, parts: parts.keep_house(tx))
        self.time.keep()
        self.device.clocks.pass_ms(unkept_ms)
        self._look()

    @rule(
        ms=st.sampled_from((-TEN_YEARS_MS, -DAY_MS, -600_000, 0, 0, 0, 600_000, DAY_MS, TEN_YEARS_MS)),
        synchronised=st.sampled_from((True, True, False)),
    )
    def set_clock(self, ms: int, synchronised: bool) -> None:  # noqa: FBT001 - hypothesis gives names
        """Somebody sets the device's clock, or it is set right, or it loses its servers."""
        self.device.clocks.off_by_ms = self.device.clocks.off_by_ms + ms if ms else 0
        self.device.clocks.synchronised = synchronised
        self._look()

    @precondition(lambda self: self.seqs["clock"] < QUIET_KEYS_MAX)
    @rule()
    def tell_time(self) -> None:
        """A key that may says what time it is."""
        true_s = self.device.clocks.true_ms // 1000
        claims = self._claims("clock", "time", now=true_s)
        claims |= {"iat": true_s, "exp": true_s + 3_600}
        if self.time.trusted and true_s > self.time.now_ms // 1000 + 300:
            self._refused("clock", claims, "not_yet_valid", Select())
        else:
            self._tell(self._said("clock", claims))
        self._look()

    @rule(cut=cuts)
    def retain(self, cut: int) -> None:
        """A pass of retention, perhaps with a power cut in it, and then another."""
        self._look()
        if cut:
            self.device.cut_behind(cut)
        self.device.retain()
        if self.device.lost_power():
            self._cut_in_pass()
            self.device.retain()
        self.belief.retain()
        self._look()

    def _cut_in_pass(self) -> None:
        """Learn what had begun to go before the power failed: the start has finished just that."""
        wanted = self.belief.wanted_gone()
        self._boot(0)
        gone = {one.id for one in self.belief.things if one.is_there} - self._ids()
        here = {one.id for one in self.belief.here()}
        exports = {name for name in self.belief.exports if not (self.device.parts.bundle.folder / name).exists()}
        assert (gone & here) | exports <= wanted, "I2 more went than was due"
        self.belief.expire([one for one in self.belief.here() if one.id in gone])
        for name in exports:
            del self.belief.exports[name]
        self._start_time()
        self._started()

    def _start_time(self) -> None:
        """Know what was kept of the time: by the pass that the power cut, or before it."""
        before = self.time.kept
        self.time.keep()
        for kept in (self.time.kept, before):
            self.time.kept = kept
            self.time.start()
            self.time.look(self.device.clocks.read())
            if self.time.now_ms == self.device.parts.now().agent_ms:
                return

    @rule()
    def change_keys(self) -> None:
        """The root of the key tree is changed for nobody in particular."""
        self._look()
        self.device.run(self.device.parts.erasure.change_roots(self.device.parts.now()))

    @rule(how=st.sampled_from(("agent", "machine", "power")), off_ms=st.sampled_from((0, 60_000, DAY_MS, 30 * DAY_MS)))
    def restart(self, how: str, off_ms: int) -> None:
        """The agent stops in order and starts again, or its machine does, or the power fails."""
        self._look()
        if how == "power":
            self.device.cut_now()
            assert self.device.lost_power()
            self._boot(off_ms)
        else:
            self.device.close()
            self.time.keep()
            (self.device.clocks.pass_ms if how == "agent" else self.device.clocks.boot_after)(off_ms)
            self.device.open()
        self._started_anew()

    # --- rules: receipts

    @rule(place=places, acknowledge=st.booleans())
    def deliver_receipts(self, place: int, acknowledge: bool) -> None:  # noqa: FBT001 - hypothesis gives names
        """What waits is sent again: of each command its last word, and nothing that was acknowledged."""
        parts = self.device.parts
        waiting = parts.index.read_now(lambda tx: parts.outbox.pending(tx, limit=2_000))
        receipts = {one.about: one for one in waiting if one.channel.startswith("rcpt/")}
        for said in self.belief.said:
            row = self._row(said)
            assert (said.jti in receipts) != said.delivered, "a receipt waits until it is acknowledged"
            assert said.delivered or receipts[said.jti].body == row.receipt, "I4 the outbox says something else"
        settled = [one for one in self.belief.said if not one.is_open and not one.delivered]
        if acknowledge and settled:
            said = settled[place % len(settled)]
            self._acknowledge(said, receipts[said.jti].jti)

    def _acknowledge(self, said: Said, jti: str) -> None:
        claims = {"iss": self._party(said.who).kid, "aud": DEVICE, "iat": self.time.now_ms // 1000, "acks": [jti]}
        self._look()
        self.device.receive(b"\x02" + self._party(said.who).sign(claims, typ="pv1.ack"))
        said.acknowledged = said.delivered = True

    # --- what must hold behind every step

    def _ids(self) -> set[str]:
        return {row[0] for row in self.device.rows("SELECT id FROM object")}

    def _head(self) -> int:
        return self.device.parts.index.read_now(audit.head).seq

    def _since(self, seq: int) -> list[dict[str, Any]]:
        lines = self.device.rows("SELECT line FROM audit WHERE seq > ? ORDER BY seq", seq)
        return [envelope.decode_strictly(line, max_bytes=5_000) for (line,) in lines]

    @invariant()
    def what_is_there_opens(self) -> None:
        """I2: to exactly those bytes, for exactly those readers."""
        readers = {"owner": self.house.owner, "vendor": self.house.vendor}
        for thing in self.belief.things:
            if thing.state == "here":
                assert self.device.content(thing.id, readers[thing.readers[0]]) == thing.file.content, "I2"

    @invariant()
    def what_is_gone_is_gone(self) -> None:
        """I3: no row, no file, and no key under which its own ever lay."""
        there = {one.id for one in self.belief.things if one.is_there}
        assert self._ids() == there, "I3, I2 rows"
        objects = self.device.parts.vault.payload_path("x").parent
        assert {one.name for one in objects.iterdir()} == there, "I3, I2 files"
        states = dict(self.device.rows("SELECT id, state FROM object"))
        assert {name for name, state in states.items() if state == "erasing"} == {
            one.id for one in self.belief.things if one.state == "going"
        }, "I3 states"
        for table in ("slot", "header"):
            extra = self.device.rows(f"SELECT count(*) FROM {table} WHERE object NOT IN (SELECT n FROM object)")  # noqa: S608 - our own words
            assert extra == [(0,)], f"I3 {table}"
        roots = {one.id for one in self.device.parts.keystore.roots()}
        assert roots == {self._root()}, "I3 one root"
        for thing in self.belief.things:
            if thing.is_there:
                thing.roots |= roots
            assert thing.is_there or not roots & thing.roots, f"I3 the key of {thing} is there"

    @invariant()
    def what_is_written_of_them_agrees(self) -> None:
        parts = self.device.parts
        for thing in self.belief.here():
            item = parts.index.read_now(partial(parts.vault.require, object_id=thing.id))
            assert (item.captured_from_ms, item.captured_to_ms) == thing.captured
            assert (item.taken_in_ms, item.purposes) == (thing.taken_in_ms, thing.purposes), "I8, I9"
            keys = {"owner": self.house.owner, "vendor": self.house.vendor}
            assert set(item.recipients) == {keys[name].recipient().to_text() for name in thing.readers}, "I9"
        totals = parts.index.read_now(parts.vault.totals)
        assert totals.all.objects == len(self.belief.here()), "I7"
        away = {row[0] for row in self.device.rows("SELECT object FROM remote_only")}
        assert away == {one.id for one in self.belief.things if one.at_store_only}, "I3 what only a store has"
        exports = {one.name for one in parts.bundle.folder.iterdir()}
        assert exports == set(self.belief.exports), "I3 exports"

    @invariant()
    def what_lies_at_the_sources_agrees(self) -> None:
        assert self.device.lying() == set(self.belief.files), "I2, I3 sources"

    @invariant()
    def every_command_has_one_outcome(self) -> None:
        for said in self.belief.said:
            self._compare(said)

    @invariant()
    def the_history_holds(self) -> None:
        """I7: the chain goes on where it was, and tells of each coming and going once."""
        if self.cut_judged != self.device.cuts:
            self.cut_judged, self.judged = self.device.cuts, 0
            self.judge = Judge(jwk=self.device.parts.keystore.public_jwk())
        after = self.judged
        self.judged, lines = self.device.parts.index.read_now(lambda tx: audit.entries(tx, after, limit=5_000))
        self.judge.take(lines)
        self.judge.verdict()
