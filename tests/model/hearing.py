"""What the device does with a command that it hears: the model's second half, in the order of ``docs/protocol.md`` §4.

Only what a known key signed comes here. A command is taken up once; what is refused before that leaves no trace.
"""

from typing import Final

from tests.model.belief import Belief, Said
from tests.model.household import Terms

AHEAD_S: Final = 300
WINDOW: Final = 1024
_TAKES: Final = frozenset({"withdraw"})
_VERBS: Final = {
    "client": None,
    "backend": frozenset({"delete", "export", "inventory", "hold", "release", "policy"}),
    "store": frozenset[str](),
    "clock": frozenset({"time"}),
}


class Hearing:
    """``used`` are the sequence numbers by key."""

    def __init__(self, belief: Belief) -> None:
        self.belief = belief
        self.used: dict[str, set[int]] = {}

    def hear(self, said: Said) -> str:
        """Take a command up, or return the reason for which it is turned away without a trace."""
        belief, now_s = self.belief, self.belief.time.now_ms // 1000
        used = self.used.setdefault(said.who, set())
        if any(one.jti == said.jti for one in belief.said):
            return "jti_reused"
        if said.seq in used:
            return "seq_reused"
        if used and max(used) - said.seq > WINDOW:
            return "stale_seq"
        if belief.time.trusted and said.claims["iat"] > now_s + AHEAD_S:
            return "not_yet_valid"
        used.add(said.seq)
        belief.said.append(said)
        self._judge(said)
        return ""

    def _judge(self, said: Said) -> None:
        time = self.belief.time
        allowed = _VERBS[said.who]
        if time.trusted and time.now_ms // 1000 >= said.exp:
            said.refuse("expired")
        elif allowed is not None and said.verb not in allowed:
            said.refuse("verb_not_allowed")
        else:
            self._resolve(said)
            self._wait_or_start(said)

    def _resolve(self, said: Said) -> None:
        """Freeze what it names now."""
        if said.verb in {"delete", "export"} and said.select is not None:
            exports = said.who == "client" and said.verb == "delete"
            said.named = self.belief.selected(said.select, exports=exports, copies=said.verb == "delete")
        if said.verb in _TAKES:
            here = self.belief.here()
            said.named = tuple(sorted(one.id for one in here if "analytics" in one.purposes))

    def _wait_or_start(self, said: Said) -> None:
        if waits := self._waits_for(said):
            said.status, said.reason = "waiting", waits
        else:
            said.reason = ""
            self._start(said)

    def _waits_for(self, said: Said) -> str:
        if said.who != "backend" or said.verb not in {"delete", "policy"}:
            return ""
        if not self.belief.time.trusted:
            return "clock_unconfirmed"
        looser = said.verb == "policy" and Terms(**said.claims["terms"]).loosens(self.belief.terms)
        return "policy_loosens" if looser else ""

    def _start(self, said: Said) -> None:
        """Have the effect of what needs no work behind it, and mark the others as accepted."""
        act = getattr(self, f"_{said.verb}", None)
        if act is not None:
            act(said)
        else:
            said.status, said.left = "accepted", True
            if said.verb == "delete" and said.who == "client":
                self._cut_off(said)

    # --- verbs without work

    def _inventory(self, said: Said) -> None:
        said.status = "done"

    def _consent(self, said: Said) -> None:
        self.belief.say("given")
        said.status = "done"

    def _withdraw(self, said: Said) -> None:
        self.belief.say("withdrawn")
        said.status, said.left = ("accepted", True) if said.named else ("done", False)

    def _restrict(self, said: Said) -> None:
        self.belief.freeze(said)

    def _hold(self, said: Said) -> None:
        until_ms = said.claims["until_ms"]
        if until_ms <= self.belief.time.now_ms:
            said.refuse("expired")
        else:
            self.belief.freeze(said, until_ms=until_ms)

    def _unrestrict(self, said: Said) -> None:
        standing = self.belief.restrictions
        found = [one for one in standing if one.id == said.claims["restriction"]]
        self.belief.restrictions = [one for one in standing if one not in found]
        said.status, said.reason = ("done", "") if found else ("refused", "nothing_stands")

    def _release(self, said: Said) -> None:
        standing = self.belief.holds
        found = [one for one in standing if one.id == said.claims["hold"]]
        if not found:
            said.refuse("nothing_stands")
        elif said.who != "client" and found[0].author != said.who:
            said.refuse("not_granted")
        else:
            self.belief.holds = [one for one in standing if one not in found]
            said.status = "done"

    def _policy(self, said: Said) -> None:
        said.results = self.belief.put_in_force(Terms(**said.claims["terms"]))
        self.belief.revisions[said.who] = said.claims["revision"]
        said.status = "done"

    def _time(self, said: Said) -> None:
        if self.belief.time.sign(said.claims["now"] * 1000):
            said.status = "done"
        else:
            said.refuse("not_yet_valid")

    # --- a delete's cut-off

    def _cut_off(self, said: Said) -> None:
        """Refuse from now on what was recorded before the command and turns up later."""
        if said.select is None or said.select.ids is not None:
            return
        now_ms = self.belief.time.now_ms
        sent_ms = max(now_ms, (said.claims["iat"] + AHEAD_S) * 1000)
        self.belief.cut_offs.append((said.select, min(max(now_ms, said.claims["wall_ms"]), sent_ms)))

    # --- what comes of those that wait, or were not finished

    def tick(self) -> None:
        """Judge again what waits for a reason, and finish what was accepted."""
        for said in self.belief.said:
            if said.status == "waiting" and said.reason:
                if self.belief.time.trusted and self.belief.time.now_ms // 1000 >= said.exp:
                    said.refuse("expired")
                else:
                    self._wait_or_start(said)

    def work(self, *, long: bool = True) -> None:
        """Carry out what was accepted; a start leaves exports to the ordinary run."""
        for said in self.belief.said:
            if said.left and (long or said.verb != "export"):
                self._work_on(said)

    def _work_on(self, said: Said) -> None:
        if said.verb == "delete" and said.who == "backend" and not self.belief.time.trusted:
            said.status, said.reason, said.left = "waiting", "clock_unconfirmed", False
        else:
            self.belief.carry_out(said)

    def submit(self, said: Said) -> str:
        """Hear a command, do its work, and then whatever else may go on."""
        if said.verb == "time":  # what waits is looked at by the moment at which the command came
            self.tick()
        turned = self.hear(said)
        self.go_on(said)
        return turned

    def go_on(self, first: Said) -> None:
        """Do the work of one command, and then whatever else may go on."""
        if first.left:
            self._work_on(first)
        if first.verb != "time":
            self.tick()
        self.work()

    def start(self) -> None:
        """A start: what was accepted is finished before anybody is let in."""
        self.belief.start()
        self.tick()
        self.work(long=False)
