"""The table of who may ask what (docs/protocol.md §4) is read as it stands there, and each cell is asked of the device.

The verbs that the table leaves out, and rights that it does not name, are found: it has a row for every verb, a column
for every role, and no role has a verb that no cell of its column has.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest

from agent import age, envelope
from agent.app.parts import Parts
from agent.envelope.keyset import ROLE_VERBS
from agent.envelope.policy import policy_claims
from agent.model import new_id
from tests.app.station import START_S, Station
from tests.commands.office import Party, party
from tests.docs.make_vectors import read_vectors

PROTOCOL: Final = (Path(__file__).resolve().parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
TABLE: Final = PROTOCOL.split("| verb | of what |", 1)[1].split("\n\n", 1)[0]
ROLES: Final = tuple(name.strip() for name in TABLE.splitlines()[0].split("|") if name.strip())
ROWS: Final = re.findall(r"^\| `([a-z-]+)` \| ([^|]+?) \| (.+) \|$", TABLE, re.MULTILINE)
CELLS: Final = {(verb, what): dict(zip(ROLES, cells.split(" | "), strict=True)) for verb, what, cells in ROWS}
COMMON: Final = frozenset({"iss", "aud", "iat", "exp", "jti", "seq", "verb", "after"})
NO_RIGHT: Final = frozenset({"verb_not_allowed", "not_granted", "malformed", "unknown_verb"})
"""Reasons that say that it may not be asked; another one says that what a vector asks of is not there."""


class Room:
    """A device with one key of each role, each of which holds all that its role may hold."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.station = Station(folder)
        self.who = {
            "client": self.station.client,
            "backend": party("backend", "cloud", *ROLE_VERBS["backend"]),
            "store": self.station.store,
            "time": self.station.clock,
        }

    async def ask(self, parts: Parts, who: Party, verb: str, **own: Any) -> tuple[str, str]:  # noqa: ANN401 - JSON
        told = await parts.commands.submit(self.station.command(who, verb, **own), moment=parts.now())
        return told.status, told.reason

    async def outcomes_of(self, parts: Parts, who: Party) -> dict[str, Any]:
        """Have a command of a key carried out, and name the page of what became of it."""
        raw = self.station.command(who, "inventory", select={"all": True})
        jti = envelope.decode_strictly(envelope.parse(raw, typ="pv1.command").unverified_payload, max_bytes=9000)["jti"]
        await parts.commands.submit(raw, moment=parts.now())
        return {"select": {"all": True}, "cursor": f"{jti}."}


Own = Callable[[Room, Parts, str], Awaitable[dict[str, Any]]]
"""The claims with which a role asks for what a row is about."""


def says(**own: Any) -> Own:  # noqa: ANN401 - JSON
    async def ask(_room: Room, _parts: Parts, _role: str) -> dict[str, Any]:
        return own

    return ask


async def own_outcomes(room: Room, parts: Parts, role: str) -> dict[str, Any]:
    return await room.outcomes_of(parts, room.who[role])


async def others_outcomes(room: Room, parts: Parts, role: str) -> dict[str, Any]:
    return await room.outcomes_of(parts, room.who["backend" if role == "client" else "client"])


def document(old: str, new: str, *, revision: int) -> Own:
    """Propose the policy in force with another limit; the backend asks first, so the owner counts on."""

    async def ask(room: Room, parts: Parts, role: str) -> dict[str, Any]:
        who = room.who[role]
        claims = policy_claims(parts.document.decode().replace(old, new), kid=who.kid, revision=revision, iat=START_S)
        return {"policy": who.sign(claims, typ="pv1.policy").decode("ascii")}

    return ask


async def held_by(room: Room, parts: Parts, role: str) -> dict[str, Any]:
    raw = room.station.command(room.who[role], "hold", **await of_a_vector("hold"))
    await parts.commands.submit(raw, moment=parts.now())
    jti = envelope.decode_strictly(envelope.parse(raw, typ="pv1.command").unverified_payload, max_bytes=9000)["jti"]
    return {"hold": jti}


async def own_hold(room: Room, parts: Parts, role: str) -> dict[str, Any]:
    return await held_by(room, parts, role)


async def others_hold(room: Room, parts: Parts, role: str) -> dict[str, Any]:
    return await held_by(room, parts, "backend" if role == "client" else "client")


async def of_a_vector(verb: str) -> dict[str, Any]:
    vectors = read_vectors("messages.json")["vectors"]
    claims = next(one["claims"] for one in vectors if one["kind"] == "command" and one["claims"]["verb"] == verb)
    return {name: value for name, value in claims.items() if name not in COMMON}


FRIEND: Final = age.generate_identity(post_quantum=False).recipient().to_text()
OWN: Final[dict[tuple[str, str], Own]] = {
    ("delete", "objects by id"): says(select={"ids": [new_id()]}),
    ("delete", "a camera, a category or a time"): says(select={"category": "photo"}),
    ("delete", "everything"): says(select={"all": True}),
    ("export", "anything, sealed to the owner"): says(select={"all": True}, form="objects"),
    ("export", "anything, sealed to somebody else"): says(select={"all": True}, form="objects", to=[FRIEND]),
    ("inventory", "anything"): says(select={"all": True}),
    ("inventory", "the outcomes of its own command"): own_outcomes,
    ("inventory", "the outcomes of another key's command"): others_outcomes,
    ("end-service", "when the service ends"): says(ends=START_S + 60),
    ("end-service", "going on without it"): says(resume=True),
    ("time", "the device's clock"): says(now=START_S),
    ("policy", "a document that allows less"): document('"14d"', '"7d"', revision=1),
    ("policy", "a document that allows more"): document('"14d"', '"30d"', revision=1),
    ("release", "a hold that it set itself"): own_hold,
    ("release", "a hold of another key"): others_hold,
}


def word(status: str, reason: str) -> str:
    """Say what a cell says."""
    return reason if status == "refused" and reason in NO_RIGHT else "yes"


async def driven(room: Room, verb: str, what: str) -> dict[str, str]:
    """Ask for a row's matter in each role, the owner last, whose word may end what the others ask of."""
    told: dict[str, str] = {}
    async with room.station.parts() as parts:
        first = envelope.signing_input_sha256(room.station.key_set)
        raw = room.station.sign_key_set(2, first, *room.who.values())
        await parts.commands.submit(raw, moment=parts.now())
        for role in reversed(ROLES):
            own = OWN.get((verb, what))
            claims = await own(room, parts, role) if own is not None else await of_a_vector(verb)
            told[role] = word(*await room.ask(parts, room.who[role], verb, **claims))
    return told


@pytest.mark.promise("VERIFY-REQ")
def test_every_cell_of_the_table_is_what_the_device_answers(tmp_path: Path) -> None:
    assert len(CELLS) > 9
    found = {}
    for number, (verb, what) in enumerate(CELLS):
        found[verb, what] = asyncio.run(driven(Room(tmp_path / str(number)), verb, what))
    assert found == CELLS


def test_table_has_every_verb_and_role_and_says_what_a_key_set_may_grant() -> None:
    assert set(ROLES) == set(ROLE_VERBS)
    assert {verb for verb, _what in CELLS} == set(envelope.VERBS)
    assert set(OWN) <= set(CELLS)
    for role, verbs in ROLE_VERBS.items():
        assert {verb for (verb, _what), cells in CELLS.items() if cells[role] != "verb_not_allowed"} == set(verbs), role


@pytest.mark.promise("VERIFY-REQ")
def test_key_that_was_granted_no_verb_is_refused_each_of_them(tmp_path: Path) -> None:
    room = Room(tmp_path / "room")
    bare = party("client", "bare")

    async def live() -> dict[str, tuple[str, str]]:
        async with room.station.parts() as parts:
            first = envelope.signing_input_sha256(room.station.key_set)
            raw = room.station.sign_key_set(2, first, room.station.client, bare)
            await parts.commands.submit(raw, moment=parts.now())
            return {verb: await room.ask(parts, bare, verb, **await of_a_vector(verb)) for verb in envelope.VERBS}

    assert asyncio.run(live()) == dict.fromkeys(envelope.VERBS, ("refused", "verb_not_allowed"))
