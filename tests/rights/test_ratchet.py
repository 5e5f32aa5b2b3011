"""A policy is tightened by whoever may propose one, loosened by the owner alone."""

import asyncio
import hashlib
import os
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent import age, envelope, rights
from agent.app.alarm import Alarm
from agent.app.parts import Parts
from agent.app.proposing import propose_file
from agent.envelope import Approvals, policy_claims, signing_input_sha256
from agent.envelope.keyset import Verb
from agent.errors import ConfigError
from agent.index import Tx
from agent.retention import Disk, Passed
from agent.rights import consent, force
from agent.rights.record import document
from tests.app.station import Station
from tests.commands.office import Party, party
from tests.store.home import draft

LOOSER = ('"14d"', '"30d"')
TIGHTER = ('"14d"', '"7d"')
DAY_MS = 86_400_000
VENDOR, BUYER = (age.generate_identity(post_quantum=False).recipient().to_text() for _ in range(2))


class Home(Station):
    """A device under which an agent has run, and a backend that may propose policies."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.backend = party("backend", "cloud", *envelope.BACKEND_VERBS, "policy", curve=True)
        self.tablet = party("client", "tablet", *envelope.VERBS)
        self.text = self.config.policy.read_text()
        self.members = self.sign_key_set(
            2, signing_input_sha256(self.key_set), self.client, self.tablet, self.clock, self.store, self.backend
        )
        self.live(self._begin)

    async def _begin(self, parts: Parts) -> None:
        await parts.commands.submit(self.members, moment=parts.now())
        await parts.index.write(force.bind)

    def live(self, work: Callable[[Parts], Awaitable[Any]]) -> Any:  # noqa: ANN401 - whatever is looked at
        async def run() -> Any:  # noqa: ANN401 - the same
            async with self.parts() as parts:
                return await work(parts)

        return asyncio.run(run())

    def start(self, work: Callable[[Parts], Awaitable[Any]]) -> Any:  # noqa: ANN401 - whatever is looked at
        """As ``live``, for a running agent: it alone has the policy file read."""

        async def begun(parts: Parts) -> Any:  # noqa: ANN401 - the same
            await self.reload(parts)
            return await work(parts)

        return self.live(begun)

    async def reload(self, parts: Parts) -> None:
        await propose_file(parts, Alarm(index=parts.index, trust=parts.trust, outbox=parts.outbox))

    async def ask_for(self, parts: Parts, need: int, *verbs: Verb) -> None:
        """Have a key set in force that asks for so many of the clients."""
        members = (self.client, self.tablet, self.clock, self.store, self.backend)
        raw = self.sign_key_set(
            3, signing_input_sha256(self.members), *members, approvals=Approvals(need=need, verbs=verbs)
        )
        await parts.commands.submit(raw, moment=parts.now())

    def edited(self, *edits: tuple[str, str]) -> str:
        text = self.text
        for old, new in edits:
            assert old in text
            text = text.replace(old, new)
        return text

    def write(self, *edits: tuple[str, str]) -> None:
        self.config.policy.write_text(self.edited(*edits))

    def signed(self, who: Party, text: str, *, revision: int = 1, by: Party | None = None) -> str:
        signer = by or who
        claims = policy_claims(text, kid=signer.kid, revision=revision, iat=self.reading.wall_ms // 1000)
        return signer.sign(claims, typ="pv1.policy").decode("ascii")

    async def submit(self, parts: Parts, who: Party, verb: str, **own: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        own.setdefault("iat_s", self.reading.wall_ms // 1000)
        submitted = await parts.commands.submit(self.command(who, verb, **own), moment=parts.now())
        return who.open(submitted.receipt)

    async def propose(self, parts: Parts, who: Party, text: str, *, revision: int = 1) -> dict[str, Any]:
        return await self.submit(parts, who, "policy", policy=self.signed(who, text, revision=revision))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def age_of(parts: Parts) -> int | None:
    rule = parts.policy.rule_for("zzzz", "recording")
    return None if rule is None else rule.keep.age_ms


async def alerts(parts: Parts) -> set[str]:
    return {code for code, _since, _count in await parts.index.read(parts.outbox.alerts)}


def told(home: Home, parts: Parts, code: str) -> str:
    """Return what the owner is told of an alert."""
    messages = parts.index.read_now(lambda tx: parts.outbox.pending(tx, limit=500))
    mine = (message for message in messages if message.channel == "alert" and message.reader == home.client.kid)
    return next(str(one["what"]) for one in (home.client.open(message.body) for message in mine) if one["code"] == code)


def asked(home: Home, parts: Parts) -> dict[str, str]:
    """Return what an approve of the one document that waits names."""
    waiting, sha256 = told(home, parts, "policy_waiting").split()[-2:]
    return {"command": waiting, "selection": sha256}


# --- the file


def test_file_that_tightens_is_obeyed_at_once_and_the_owner_has_a_notice(home: Home) -> None:
    home.write(TIGHTER)

    async def look(parts: Parts) -> None:
        assert age_of(parts) == 7 * DAY_MS
        assert await alerts(parts) == {"policy_tightened"}
        notice = told(home, parts, "policy_tightened")
        assert notice.startswith("1 line of the policy allows less: category.recording.keep.age")

    home.start(look)


@pytest.mark.parametrize("edit", [TIGHTER, LOOSER], ids=["tighter", "looser"])
def test_file_proposes_nothing_where_parts_are_opened_and_no_agent_runs(home: Home, edit: tuple[str, str]) -> None:
    """Every shell command opens the parts where no agent runs; a file that is being edited is none of its business."""
    home.write(edit)

    async def look(parts: Parts) -> None:
        assert parts.document == home.text.encode()
        assert await alerts(parts) == set()
        assert await parts.index.read(force.waiting_file) is None

    home.live(look)


@pytest.mark.parametrize("broken", [b"version = 1\n[category.recor", None], ids=["half of it", "gone"])
def test_file_that_cannot_be_read_is_told_and_the_policy_in_force_goes_on(home: Home, broken: bytes | None) -> None:
    if broken is None:
        home.config.policy.unlink()
    else:
        home.config.policy.write_bytes(broken)

    async def look(parts: Parts) -> None:
        assert parts.document == home.text.encode()
        assert await alerts(parts) == {"policy_unreadable"}

    home.start(look)

    async def mended(parts: Parts) -> None:
        assert await alerts(parts) == set()

    home.write()
    home.start(mended)


@pytest.mark.promise("POLICY-VERSION")
def test_file_that_loosens_waits_through_restarts_until_the_owner_approves_its_hash(home: Home) -> None:
    home.write(LOOSER)

    async def wait(parts: Parts) -> str:
        assert age_of(parts) == 14 * DAY_MS
        assert await alerts(parts) == {"policy_waiting"}
        return told(home, parts, "policy_waiting")

    sentence = home.start(wait)
    assert home.start(wait) == sentence, "the same file asks the same question"
    waiting, wanted = sentence.split()[-2:]
    assert wanted == sha(home.edited(LOOSER))

    async def approve(parts: Parts) -> None:
        wrong = await home.submit(parts, home.client, "approve", command=waiting, selection="0" * 64)
        assert (wrong["status"], wrong["reason"]) == ("refused", "nothing_waiting")
        assert age_of(parts) == 14 * DAY_MS
        right = await home.submit(parts, home.client, "approve", command=waiting, selection=wanted)
        assert right["status"] == "done"
        assert age_of(parts) == 30 * DAY_MS
        assert await alerts(parts) == set()

    home.live(approve)

    async def stays(parts: Parts) -> None:
        assert age_of(parts) == 30 * DAY_MS

    home.live(stays)


def test_file_that_waited_and_is_put_back_waits_no_more(home: Home) -> None:
    async def reload(parts: Parts) -> None:
        home.write(LOOSER)
        assert (await parts.propose(home.config.policy.read_bytes())).state == "waiting"
        home.write()
        assert (await parts.propose(home.config.policy.read_bytes())).state == "obeyed"
        assert await alerts(parts) == set()
        with pytest.raises(ConfigError):
            await parts.propose(b"version = 9")
        assert age_of(parts) == 14 * DAY_MS

    home.live(reload)


def test_file_may_be_edited_freely_until_an_agent_has_run_under_it(tmp_path: Path) -> None:
    fresh = Station(tmp_path)
    text = fresh.config.policy.read_text()

    async def age() -> int | None:
        async with fresh.parts() as parts:
            return age_of(parts)

    assert asyncio.run(age()) == 14 * DAY_MS
    fresh.config.policy.write_text(text.replace(*LOOSER))
    assert asyncio.run(age()) == 30 * DAY_MS


@pytest.mark.promise("POLICY-VERSION")
def test_file_waits_for_as_many_clients_as_the_key_set_asks_for(home: Home) -> None:
    home.write(LOOSER)

    async def approve(parts: Parts) -> None:
        await home.ask_for(parts, 2, "policy")
        own = asked(home, parts)
        assert (await home.submit(parts, home.client, "approve", **own))["status"] == "done"
        again = await home.submit(parts, home.client, "approve", **own)
        assert again["reason"] == "nothing_waiting", "a client counts once"
        assert age_of(parts) == 14 * DAY_MS
        assert await alerts(parts) == {"policy_waiting"}
        assert (await home.submit(parts, home.tablet, "approve", **own))["status"] == "done"
        assert age_of(parts) == 30 * DAY_MS
        assert await parts.index.read(lambda tx: tx.execute("SELECT * FROM approval")) == []

    home.start(approve)


def test_words_for_a_file_are_none_for_the_one_that_replaces_it(home: Home) -> None:
    home.write(LOOSER)

    async def replace(parts: Parts) -> None:
        await home.ask_for(parts, 2, "policy")
        await home.submit(parts, home.client, "approve", **asked(home, parts))
        home.write(('"14d"', '"60d"'))
        await home.reload(parts)
        await home.submit(parts, home.tablet, "approve", **asked(home, parts))
        assert age_of(parts) == 14 * DAY_MS

    home.start(replace)


def test_retention_pass_waits_for_as_many_clients_as_a_delete_needs(home: Home) -> None:
    async def approve(parts: Parts) -> None:
        await home.ask_for(parts, 2, "delete")
        waiting = "a" * 26

        def ask(tx: Tx) -> str:
            selection = rights.freeze(tx, (("b" * 26, "category.recording.keep.age"),))
            rights.keep_pass(tx, rights.Pass(ages=None, passed_ms=0, since_ms=0, waiting=waiting, selection=selection))
            return selection

        def approved(tx: Tx) -> bool:
            last = rights.last_pass(tx)
            return last is not None and last.approved

        own = {"command": waiting, "selection": await parts.index.write(ask)}
        assert (await home.submit(parts, home.client, "approve", **own))["status"] == "done"
        assert not await parts.index.read(approved)
        assert (await home.submit(parts, home.client, "approve", **own))["reason"] == "nothing_waiting"
        assert not await parts.index.read(approved)
        assert (await home.submit(parts, home.tablet, "approve", **own))["status"] == "done"
        assert await parts.index.read(approved)

    home.live(approve)


@pytest.mark.promise("POLICY-VERSION")
def test_file_is_asked_about_anew_once_it_would_loosen_more_than_the_owner_was_told(home: Home) -> None:
    """The owner was told of uploads; meanwhile the age was tightened, and the same document would loosen that too."""
    uploads = ('seal_to = ["owner"]', 'seal_to = ["owner"]\nupload = "allowed"')
    home.write(uploads)

    async def move(parts: Parts) -> None:
        before = asked(home, parts)
        assert "keep.age" not in told(home, parts, "policy_waiting")
        home.let_pass(60_000)
        assert (await home.propose(parts, home.backend, home.edited(TIGHTER)))["status"] == "done"
        assert '"7d" -> "14d"' in told(home, parts, "policy_waiting")
        late = await home.submit(parts, home.client, "approve", **before)
        assert (late["status"], late["reason"]) == ("refused", "nothing_waiting")
        assert age_of(parts) == 7 * DAY_MS
        now = asked(home, parts)
        assert (await home.submit(parts, home.client, "approve", **now))["status"] == "done"
        assert parts.document == home.edited(uploads).encode()

    home.start(move)


# --- a command


@pytest.mark.promise("POLICY-VERSION")
def test_backends_policy_that_tightens_applies_at_once_with_a_notice(home: Home) -> None:
    async def tighten(parts: Parts) -> None:
        receipt = await home.propose(parts, home.backend, home.edited(TIGHTER))
        assert receipt["status"] == "done"
        assert age_of(parts) == 7 * DAY_MS
        assert await alerts(parts) == {"policy_tightened"}

    home.live(tighten)

    async def after_a_restart(parts: Parts) -> None:
        assert age_of(parts) == 7 * DAY_MS, "the file on disk, which did not change, brings nothing back"
        assert await alerts(parts) == {"policy_tightened"}

    home.live(after_a_restart)


@pytest.mark.promise("TRANSFER")
@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(('"14d"', '"15d"'), id="longer retention"),
        pytest.param(('purpose = "security"', 'purposes = ["security", "access"]'), id="new purpose"),
        pytest.param(('seal_to = ["owner"]', 'seal_to = ["owner", "new"]'), id="new recipient"),
    ],
)
def test_backends_policy_that_loosens_waits_for_exactly_the_owners_approve(home: Home, edit: tuple[str, str]) -> None:
    recipients = ("[recipients]\n", f'[recipients]\nnew = ["{home.store.recipient}"]\n')
    text = home.edited(edit, recipients)

    async def loosen(parts: Parts) -> None:
        before = parts.document
        receipt = await home.propose(parts, home.backend, text)
        assert (receipt["status"], receipt["reason"]) == ("waiting", "policy_loosens")
        assert receipt["selection"] == {"count": 0, "hash": sha(text)}
        await parts.commands.tick(parts.now())
        assert parts.document == before
        assert await alerts(parts) == {"policy_waiting"}
        home.let_pass(1_000)
        own = {"command": receipt["cmd"], "selection": sha(text)}
        assert (await home.submit(parts, home.client, "approve", **own))["status"] == "done"
        assert parts.document == text.encode()
        assert await alerts(parts) == set()
        ended = next(one for one in received(home.backend, parts) if one["cmd"] == receipt["cmd"])
        assert ended["status"] == "done"

    home.live(loosen)


def received(who: Party, parts: Parts) -> list[dict[str, Any]]:
    messages = parts.index.read_now(lambda tx: parts.outbox.pending(tx, limit=500))
    return [who.open(message.body) for message in messages if message.reader == who.kid]


def test_owners_own_command_loosens_at_once(home: Home) -> None:
    async def loosen(parts: Parts) -> None:
        receipt = await home.propose(parts, home.client, home.edited(LOOSER))
        assert receipt["status"] == "done"
        assert age_of(parts) == 30 * DAY_MS
        assert await alerts(parts) == set()

    home.live(loosen)


def test_question_shows_whom_a_line_lets_read_it_quoted(home: Home) -> None:
    text = home.edited(
        ("[recipients]\n", f'[recipients]\nbuyer = ["{home.store.recipient}"]\n'),
        ('seal_to = ["owner"]', 'seal_to = ["owner", "buyer"]'),
    )

    async def loosen(parts: Parts) -> None:
        await home.propose(parts, home.backend, text)
        assert "buyer" in told(home, parts, "policy_waiting")

    home.live(loosen)


def test_each_document_that_waits_is_in_the_question(home: Home) -> None:
    home.write(LOOSER)

    async def loosen(parts: Parts) -> None:
        first = asked(home, parts)
        second = await home.propose(parts, home.backend, home.edited(('"14d"', '"60d"')))
        for one in (first, {"command": second["cmd"], "selection": second["selection"]["hash"]}):
            assert f"privacy-owner approve {one['command']} {one['selection']}" in told(home, parts, "policy_waiting")
        await home.submit(parts, home.client, "approve", **first)
        assert age_of(parts) == 30 * DAY_MS
        left = told(home, parts, "policy_waiting")
        assert first["command"] not in left
        assert '"30d" -> "60d"' in left

    home.start(loosen)


@pytest.mark.promise("POLICY-VERSION")
def test_older_policy_of_another_client_that_arrives_late_replaces_nothing(home: Home) -> None:
    async def late(parts: Parts) -> None:
        home.let_pass(60_000)
        newer = await home.propose(parts, home.tablet, home.edited(TIGHTER))
        assert newer["status"] == "done"
        loose = home.signed(home.client, home.edited(LOOSER))
        older = await home.submit(parts, home.client, "policy", policy=loose, iat_s=home.reading.wall_ms // 1000 - 30)
        assert (older["status"], older["reason"]) == ("refused", "superseded")
        assert age_of(parts) == 7 * DAY_MS
        home.let_pass(60_000)
        assert (await home.propose(parts, home.client, home.edited(LOOSER), revision=2))["status"] == "done"
        assert age_of(parts) == 30 * DAY_MS

    home.live(late)


def test_approve_that_was_signed_before_the_document_in_force_came_is_too_late(home: Home) -> None:
    async def late(parts: Parts) -> None:
        told_s = home.reading.wall_ms // 1000
        first = await home.propose(parts, home.backend, home.edited(LOOSER), revision=2)
        own = {"command": first["cmd"], "selection": sha(home.edited(LOOSER))}
        home.let_pass(60_000)
        assert (await home.propose(parts, home.backend, home.edited(TIGHTER), revision=1))["status"] == "done"
        older = await home.submit(parts, home.client, "approve", iat_s=told_s, **own)
        assert (older["status"], older["reason"]) == ("refused", "superseded")
        assert age_of(parts) == 7 * DAY_MS
        home.let_pass(60_000)
        assert (await home.submit(parts, home.client, "approve", **own))["status"] == "done"
        assert age_of(parts) == 30 * DAY_MS

    home.live(late)


def test_approve_that_was_signed_in_the_second_in_which_the_document_in_force_came_is_too_late(home: Home) -> None:
    """It lifted a tightening to seven days that its signer had not seen: fourteen were in force when it was told."""

    async def late(parts: Parts) -> None:
        first = await home.propose(parts, home.backend, home.edited(LOOSER), revision=2)
        own = {"command": first["cmd"], "selection": sha(home.edited(LOOSER))}
        home.let_pass(60_000)
        assert (await home.propose(parts, home.backend, home.edited(TIGHTER), revision=1))["status"] == "done"
        same_second = await home.submit(parts, home.client, "approve", **own)
        assert (same_second["status"], same_second["reason"]) == ("refused", "superseded")
        assert age_of(parts) == 7 * DAY_MS
        home.let_pass(1_000)
        assert (await home.submit(parts, home.client, "approve", **own))["status"] == "done"

    home.live(late)


def test_file_that_waits_may_be_approved_in_the_second_in_which_the_document_in_force_came(home: Home) -> None:
    """Its id is of what it was compared with, so nobody can approve it unseen."""

    async def approve(parts: Parts) -> None:
        home.let_pass(60_000)
        assert (await home.propose(parts, home.backend, home.edited(TIGHTER), revision=1))["status"] == "done"
        home.write(LOOSER)
        await home.reload(parts)
        await home.submit(parts, home.client, "approve", **asked(home, parts))
        assert age_of(parts) == 30 * DAY_MS

    home.live(approve)


@pytest.mark.promise("POLICY-VERSION")
def test_words_of_several_clients_are_of_what_a_document_was_compared_with(home: Home) -> None:
    """One of two clients had agreed to thirty days instead of fourteen, and nobody to thirty instead of seven."""
    home.write(TIGHTER)

    async def late(parts: Parts) -> None:
        await home.ask_for(parts, 2, "policy")
        loose = await home.propose(parts, home.backend, home.edited(LOOSER))
        assert (loose["status"], loose["reason"]) == ("waiting", "approvals_missing")
        own = {"command": loose["cmd"], "selection": sha(home.edited(LOOSER))}
        assert '"14d" -> "30d"' in told(home, parts, "policy_waiting"), "nobody signs for it unseen"
        home.let_pass(60_000)
        assert (await home.submit(parts, home.client, "approve", **own))["status"] == "done"
        signed_s = home.reading.wall_ms // 1000
        home.let_pass(60_000)
        await home.reload(parts)
        assert age_of(parts) == 7 * DAY_MS
        assert '"7d" -> "30d"' in told(home, parts, "policy_waiting")
        older = await home.submit(parts, home.tablet, "approve", iat_s=signed_s, **own)
        assert (older["status"], older["reason"]) == ("refused", "superseded")
        home.let_pass(60_000)
        assert (await home.submit(parts, home.tablet, "approve", **own))["status"] == "done"
        assert age_of(parts) == 7 * DAY_MS, "the word from before counts no more"
        assert (await home.submit(parts, home.client, "approve", **own))["status"] == "done"
        assert age_of(parts) == 30 * DAY_MS
        assert "policy_waiting" not in await alerts(parts)

    home.live(late)


def test_clients_document_is_in_force_with_the_word_of_another_where_two_are_needed(home: Home) -> None:
    async def agree(parts: Parts) -> None:
        await home.ask_for(parts, 2, "policy")
        mine = await home.propose(parts, home.client, home.edited(LOOSER))
        own = {"command": mine["cmd"], "selection": sha(home.edited(LOOSER))}
        home.let_pass(60_000)
        assert (await home.submit(parts, home.tablet, "approve", **own))["status"] == "done"
        assert age_of(parts) == 30 * DAY_MS
        assert "policy_waiting" not in await alerts(parts)

    home.live(agree)


def test_document_that_is_none_is_refused_before_several_clients_are_asked(home: Home) -> None:
    async def refuse(parts: Parts) -> None:
        await home.ask_for(parts, 2, "policy")
        receipt = await home.propose(parts, home.backend, "version = 2")
        assert (receipt["status"], receipt["reason"]) == ("refused", "bad_policy")

    home.live(refuse)


def test_policy_that_cannot_be_obeyed_is_refused_with_its_line_and_nothing_changes(home: Home) -> None:
    text = home.edited(('seal_to = ["owner"]', 'seal_to = ["nobody"]'))

    async def refuse(parts: Parts) -> None:
        receipt = await home.propose(parts, home.client, text)
        assert (receipt["status"], receipt["reason"]) == ("refused", "bad_policy")
        line = next(at for at, one in enumerate(text.split("\n"), start=1) if "nobody" in one)
        assert receipt["detail"] == f"the policy:{line}: category.recording.seal_to: 'nobody' is not in [recipients]"
        assert parts.document == home.text.encode()

    home.live(refuse)


@pytest.mark.parametrize(
    "hostile",
    [
        pytest.param("version" + ".a" * 15_000 + " = 1", id="parts-of-a-key"),
        pytest.param("version = 0x" + "f" * 9_000, id="digits"),
        pytest.param('version = "' + "x" * 30_000 + '"', id="text"),
        pytest.param("version = " + "[" * 20_000, id="depth"),
        pytest.param('version = 1\n"\\u001b[31m\\n" = 1', id="control-characters"),
        pytest.param('version = 1\n[recipients]\n[upload]\nrate = "0B"', id="rate-of-nothing"),
    ],
)
def test_backends_document_that_is_meant_to_break_the_reader_is_answered_with_bounded_words(
    home: Home, hostile: str
) -> None:
    async def refuse(parts: Parts) -> None:
        receipt = await home.propose(parts, home.backend, hostile)
        assert (receipt["status"], receipt["reason"]) == ("refused", "bad_policy")
        assert receipt["detail"].isprintable()
        assert len(receipt["detail"]) < 500
        assert parts.document == home.text.encode()

    home.live(refuse)


def test_policy_signed_by_another_key_than_sends_it_is_refused(home: Home) -> None:
    async def refuse(parts: Parts) -> None:
        foreign = home.signed(home.client, home.edited(LOOSER), by=home.backend)
        receipt = await home.submit(parts, home.client, "policy", policy=foreign)
        assert (receipt["status"], receipt["reason"]) == ("refused", "bad_policy")
        assert age_of(parts) == 14 * DAY_MS

    home.live(refuse)


def test_revision_that_was_overtaken_is_refused_also_when_it_is_approved_later(home: Home) -> None:
    async def overtake(parts: Parts) -> None:
        first = await home.propose(parts, home.backend, home.edited(LOOSER), revision=5)
        assert first["status"] == "waiting"
        second = await home.propose(parts, home.backend, home.edited(TIGHTER), revision=6)
        assert second["status"] == "done"
        own = {"command": first["cmd"], "selection": sha(home.edited(LOOSER))}
        await home.submit(parts, home.client, "approve", **own)
        assert age_of(parts) == 7 * DAY_MS
        again = await home.propose(parts, home.backend, home.edited(TIGHTER), revision=6)
        assert (again["status"], again["reason"]) == ("refused", "stale_revision")

    home.live(overtake)


def test_backend_without_the_verb_proposes_nothing(home: Home) -> None:
    async def refuse(parts: Parts) -> None:
        receipt = await home.propose(parts, home.clock, home.edited(TIGHTER))
        assert (receipt["status"], receipt["reason"]) == ("refused", "verb_not_allowed")
        assert age_of(parts) == 14 * DAY_MS

    home.live(refuse)


# --- what a tightening deletes


async def recorded(parts: Parts, *, days_ago: float) -> None:
    at_ms = parts.now().agent_ms - int(days_ago * DAY_MS)
    fd, part = parts.vault.new_part()
    os.write(fd, b"sealed")
    os.close(fd)
    group = await parts.vault.group()
    made = draft(group, secrets.token_bytes(16))
    moment = msgspec.structs.replace(parts.now(), agent_ms=at_ms, wall_ms=at_ms)
    await parts.vault.admit(made, part=part, group=group, moment=moment)


def test_more_than_a_receipt_names_is_told_by_number_and_hash_and_read_page_by_page(home: Home) -> None:
    async def tighten(parts: Parts) -> None:
        for n in range(203):
            await recorded(parts, days_ago=10 if n < 201 else 1)
        await home.submit(parts, home.client, "restrict", select={"all": True}, ground="accuracy")

        told = await home.propose(parts, home.client, home.edited(TIGHTER))

        assert (told["status"], told["progress"]) == ("done", {"done": 201, "total": 201})
        assert "outcomes" not in told
        pages = [await home.submit(parts, home.client, "inventory", select={"all": True}, cursor=told["cursor"])]
        pages.append(
            await home.submit(parts, home.client, "inventory", select={"all": True}, cursor=pages[0]["cursor"])
        )
        lines = [f"{one['id']} {one['result']}\n" for page in pages for one in page["outcomes"]]
        assert {line.split()[1] for line in lines} == {"restricted"}
        assert hashlib.sha256("".join(lines).encode()).hexdigest() == told["outcomes_hash"]

    home.live(tighten)


def test_approve_of_a_file_names_what_the_file_cannot_end(home: Home) -> None:
    """It loosens in one line, so it waits, and tightens in another."""
    home.write(TIGHTER, ('purpose = "security"', 'purposes = ["security", "access"]'))

    async def approve(parts: Parts) -> None:
        await recorded(parts, days_ago=10)
        await recorded(parts, days_ago=1)
        await home.submit(parts, home.client, "restrict", select={"all": True}, ground="accuracy")
        (oldest, _newest) = await parts.index.read(lambda tx: parts.vault.oldest(tx, ["cam1"], "recording"))

        told = await home.submit(parts, home.client, "approve", **asked(home, parts))

        assert age_of(parts) == 7 * DAY_MS
        assert told["status"] == "done"
        assert told["outcomes"] == [{"id": oldest.id, "result": "restricted"}]

    home.start(approve)


def count(parts: Parts) -> int:
    return parts.index.read_now(lambda tx: parts.vault.totals(tx).all.objects)


@pytest.mark.promise("POLICY-VERSION")
@pytest.mark.parametrize("steps", [(13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1), (11, 8, 6, 4, 3, 2, 1), (1,)])
@pytest.mark.parametrize("objects", [12, 60])
def test_backend_that_tightens_step_by_step_empties_no_vault_without_the_owner(
    home: Home, steps: tuple[int, ...], objects: int
) -> None:
    """One revision in each pass, of which none surprised by much: ten minutes later all was gone, and nobody asked."""

    async def creep(parts: Parts) -> None:
        for n in range(objects):
            await recorded(parts, days_ago=13.9 * (objects - n) / objects)
        await parts.retention.run_pass(parts.now(), Disk())
        assert count(parts) == objects
        passed = Passed()
        for revision, days in enumerate(steps, start=1):
            told = await home.propose(parts, home.backend, home.edited(('"14d"', f'"{days}d"')), revision=revision)
            assert told["status"] == "done"
            home.let_pass(60_000)
            passed = await parts.retention.run_pass(parts.now(), Disk())
            await parts.erasure.resume(parts.now())
        expected = objects / 14 + 1  # within a day of the age that the owner wanted
        assert count(parts) >= objects * 0.7 - expected
        assert passed.waiting, "and then it asks"
        said = await home.submit(parts, home.client, "approve", command=passed.waiting, selection=passed.selection)
        assert said["status"] == "done"
        await parts.retention.run_pass(parts.now(), Disk())
        await parts.retention.run_pass(parts.now(), Disk())
        await parts.erasure.resume(parts.now())
        assert count(parts) <= objects / 14 + 1
        assert not (await parts.retention.run_pass(parts.now(), Disk())).waiting, "the owner agreed to that age"

    home.live(creep)


def test_owners_own_tightening_counts_nothing_together(home: Home) -> None:
    async def tighten(parts: Parts) -> None:
        for n in range(60):
            await recorded(parts, days_ago=13.9 * (60 - n) / 60)
        await parts.retention.run_pass(parts.now(), Disk())
        for revision, days in enumerate((11, 8, 6, 5, 4), start=1):
            await home.propose(parts, home.client, home.edited(('"14d"', f'"{days}d"')), revision=revision)
            home.let_pass(60_000)
            assert not (await parts.retention.run_pass(parts.now(), Disk())).waiting
        await parts.erasure.resume(parts.now())
        assert count(parts) <= 60 * 4 / 13.9 + 1

    home.live(tighten)


# --- what a yes was said to

ANALYTICS = """
[purpose.analytics]
description = "To see which functions are used."
basis = "consent"
seal_to = ["vendor"]
"""


def with_analytics(home: Home, *edits: tuple[str, str]) -> str:
    """Return the device's policy with a purpose that asks for consent and a vendor who reads for it."""
    text = home.text + ANALYTICS
    changes = (
        ("[recipients]\n", f'[recipients]\nvendor = ["{VENDOR}"]\nbuyer = ["{BUYER}"]\n'),
        ('purpose = "security"', 'purposes = ["security", "analytics"]'),
        *edits,
    )
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text


async def word_now(parts: Parts) -> str:
    words = (await parts.index.read(consent.standing)).words
    return words.get(("analytics", "recording"), "never asked")


@pytest.mark.promise("CONSENT-GIVE")
@pytest.mark.parametrize(
    ("edit", "word"),
    [
        (("To see which functions are used.", "To sell."), "lapsed"),
        (('seal_to = ["vendor"]', 'seal_to = ["vendor", "buyer"]'), "lapsed"),
        ((f'vendor = ["{VENDOR}"]', f'vendor = ["{BUYER}"]'), "lapsed"),
        (('basis = "consent"', 'basis = "legitimate-interest"'), "lapsed"),
        (('purposes = ["security", "analytics"]', 'purpose = "security"'), "lapsed"),
        (('seal_to = ["vendor"]', "seal_to = []"), "given"),
        (('"14d"', '"30d"'), "given"),
    ],
    ids=[
        "another purpose",
        "another reader",
        "another reader by the same name",
        "another basis",
        "purpose gone",
        "fewer readers",
        "nothing of it",
    ],
)
def test_yes_lapses_where_the_policy_is_not_any_more_what_it_was_said_to(
    home: Home, edit: tuple[str, str], word: str
) -> None:
    async def begin(parts: Parts) -> None:
        receipt = await home.propose(parts, home.client, with_analytics(home), revision=1)
        assert receipt["status"] == "done", receipt
        await home.submit(parts, home.client, "consent", purpose="analytics", decision="given", category="recording")
        assert await word_now(parts) == "given"
        assert (await home.propose(parts, home.client, with_analytics(home, edit), revision=2))["status"] == "done"
        assert await word_now(parts) == word
        lapsed = [one for one in await parts.index.read(consent.page) if one.status == "lapsed"]
        assert bool(lapsed) is (word == "lapsed")
        for record in lapsed:
            now = await parts.index.read(force.in_force)
            assert now is not None
            assert (record.policy_sha256, record.kid) == (now.sha256, home.client.kid)
            status = document(record, device="d", owner="o")["dpv:hasProcess"][0]["dpv:hasConsentStatus"][0]
            assert status["@type"] == ["dpv:ConsentExpired"]
            await home.propose(parts, home.client, with_analytics(home), revision=3)
            assert await word_now(parts) == "lapsed", "the purpose that comes back is asked for anew"

    home.live(begin)


def test_no_stays_whatever_the_policy_says_and_stands_again_where_a_yes_that_ended_it_lapses(home: Home) -> None:
    async def look(parts: Parts) -> None:
        await home.propose(parts, home.client, with_analytics(home), revision=1)
        own = {"purpose": "analytics", "category": "recording"}
        await home.submit(parts, home.client, "withdraw", **own)
        other = ("To see which functions are used.", "To sell.")
        await home.propose(parts, home.client, with_analytics(home, other), revision=2)
        assert await word_now(parts) == "withdrawn"
        await home.submit(parts, home.client, "consent", decision="given", **own)
        await home.propose(parts, home.client, with_analytics(home), revision=3)
        assert await word_now(parts) == "withdrawn"

    home.live(look)
