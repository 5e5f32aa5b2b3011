"""The policy changes three times: tightened by its file, by the owner's command, by a backend's that they approve."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

from agent.app.parts import Parts
from agent.envelope.policy import policy_claims
from agent.index import Tx
from agent.rights import force
from agent.rights.force import hash_of
from tests.commands.office import Party
from tests.torture.asking import answered, ask, asked
from tests.torture.home import NOW_S, PHOTO, RECORDING, Home
from tests.torture.say import Say
from tests.torture.script import Script

AGES: Final = ("14d", "7d", "30d", "60d")
"""How long recordings are kept by the policies, in their order."""

BEHIND_S: Final = NOW_S + 200
"""Behind everything that is put in force here, or after a start."""


def prepare(home: Home, seed: int) -> None:
    home.config().policy.write_text(_text(home, AGES[0]))
    home.fill(seed, RECORDING, PHOTO)
    home.take_in()
    home.papers = {age: _text(home, age).encode() for age in AGES}
    home.command("policy", "policy", policy=_signed(home, home.client, AGES[2], iat=NOW_S - 10))
    home.command("propose", "policy", by=home.backend, policy=_signed(home, home.backend, AGES[3], iat=NOW_S - 10))
    home.command(
        "approve", "approve", command=home.jtis["propose"], selection=hash_of(home.papers[AGES[3]]), iat=BEHIND_S
    )
    home.waits = frozenset({"propose"})
    home.events = {"command_accepted": 1, "command_done": 3, "policy_changed": 4}


def _text(home: Home, age: str) -> str:
    return home.policy(recording=f'keep.age = "{age}"', photo="")


def _signed(home: Home, who: Party, age: str, *, iat: int) -> str:
    claims = policy_claims(home.papers[age].decode(), kid=who.kid, revision=1, iat=iat)
    return who.sign(claims, typ="pv1.policy").decode("ascii")


async def go(parts: Parts, home: Home, say: Say) -> None:
    proposed = await parts.propose(home.papers[AGES[1]])
    if proposed.state == "obeyed":
        say("obeyed")
    if await ask(parts, home, say, "policy", "propose", "approve"):
        await ask(parts, home, say, "propose")  # its receipt is another one now


def look(tx: Tx, parts: Parts, home: Home) -> dict[str, Any]:
    known = {hash_of(document): age for age, document in home.papers.items()}
    now = force.in_force(tx)
    decides = parts.policy.rule_for("zzzz", "recording")
    return {
        "in force": "" if now is None else known[now.sha256],
        "decides": "" if decides is None or decides.keep.age_ms is None else f"{decides.keep.age_ms // 86_400_000}d",
    }


def judge(home: Home, said: Sequence[str], seen: dict[str, Any]) -> list[str]:
    """The policy in force is the last that was acknowledged, or one that was asked for behind it."""
    known, tried = answered(home, said), asked(said)
    least = max(
        n for n, known_of in enumerate((True, "obeyed" in said, "policy" in known, "approve" in known)) if known_of
    )
    most = max(n for n, asked_for in enumerate((True, True, "policy" in tried, "approve" in tried)) if asked_for)
    found = seen["found"]["look"]
    wrong = []
    if found["in force"] not in AGES[least : most + 1]:
        wrong.append(f"I2 {found['in force']} is obeyed after {AGES[least]} was acknowledged, {AGES[most]} asked for")
    wrong.extend(
        f"I7 {told['decides']} decides while {told['in force']} is in force"
        for told in (found, seen["look"])
        if told["in force"] != told["decides"]
    )
    if seen["look"]["in force"] != AGES[-1]:
        wrong.append(f"I4 in the end {seen['look']['in force']} is in force")
    changes = [event["detail"]["sha256"] for event in seen["audit"] if event["kind"] == "policy_changed"]
    if any(one == other for one, other in pairwise(changes)):
        wrong.append("I4 a policy was put in force twice")
    return wrong


SCRIPT = Script("policy", prepare, go, look=look, judge=judge)
