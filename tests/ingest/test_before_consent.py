"""What was recorded before a yes was said, or while it was taken back, is not collected once it is given again."""

from pathlib import Path
from typing import Final

import pytest

from agent.age import generate_identity
from agent.clock import rfc3339_ms
from agent.index import Tx
from agent.policy import Policy, Rights, Word, parse_policy
from agent.rights import consent
from agent.rights.consent import By
from agent.rights.snapshot import Snapshot
from tests.ingest.conftest import NOW, Home

VENDOR: Final = generate_identity(post_quantum=False)
HOUR_MS: Final = 3_600_000
POLICY: Final = """\
version = 1
[recipients]
owner = ["{owner}"]
vendor = ["{vendor}"]
[purpose.analytics]
description = "To see which functions are used."
basis = "consent"
seal_to = ["vendor"]
[purpose.improvement]
description = "To find out what fails."
basis = "legitimate-interest"
seal_to = ["vendor"]
[category.recording]
purposes = ["security", "analytics"]
seal_to = ["owner"]
[category.photo]
purpose = "analytics"
seal_to = ["owner"]
[category.usage-log]
purpose = "improvement"
"""


class Asked(Home):
    """A home whose owner speaks at ``NOW`` and later, by the rows and the snapshot that the agent has."""

    def __init__(self, top: Path) -> None:
        super().__init__(top)
        text = POLICY.format(owner=self.owner.recipient().to_text(), vendor=VENDOR.recipient().to_text())
        self.policy = parse_policy(text.encode(), file="policy.toml")
        self.snapshot = Snapshot()
        self.seq = 0
        self.lag_ms = 0

    def _rights(self, tx: Tx, /, **place: object) -> Rights:
        return self.snapshot.at_ingest(tx, **place)  # type: ignore[arg-type]  # as ingest gives them

    def by(self) -> By:
        self.seq += 1
        asked_ms = self.now.agent_ms + self.lag_ms
        return By(kid="phone", name="phone", command=f"c{self.seq}", seq=self.seq, iat_s=self.seq, asked_ms=asked_ms)

    def say(self, purpose: str, word: Word) -> None:
        rules = [rule for rule in self.policy.rules if purpose in {one.name for one in rule.purposes}]
        targets = [(purpose, rule.category) for rule in rules]
        self.index.write_now(
            lambda tx: consent.say(tx, targets, word, policy=self.policy, by=self.by(), moment=self.now)
        )

    def track(self, word: str) -> None:
        self.index.write_now(
            lambda tx: consent.switch_do_not_track(tx, on=word == "off", by=self.by(), moment=self.now)
        )

    def later(self, hours: int) -> None:
        agent_ms = self.now.agent_ms + hours * HOUR_MS
        self.now = type(NOW)(agent_ms=agent_ms, wall_ms=agent_ms, trusted=True)

    def take(self, place: str, *, hours: int, ending: str) -> str:
        """Put a file whose name says that it was made so many hours from now, and return its path."""
        made = rfc3339_ms(self.now.agent_ms + hours * HOUR_MS).replace(":", "-")
        path = f"door/{place}/{made}{ending}"
        self.put(path, f'{{"made":"{made}"}}\n'.encode())
        return path

    def purposes(self) -> dict[str, tuple[str, ...]]:
        return {item.name: item.purposes for item in self.objects()}


@pytest.fixture
def asked(tmp_path: Path) -> Asked:
    return Asked(tmp_path)


@pytest.mark.promise("CONSENT-GIVE")
def test_yes_is_about_what_is_recorded_from_then_on(asked: Asked) -> None:
    asked.say("analytics", "given")
    old_photo = asked.take("photo", hours=-1, ending=".jpg")
    old_clip = asked.take("recording", hours=-1, ending="_2s.mp4")
    new_photo = asked.take("photo", hours=1, ending=".jpg")
    new_clip = asked.take("recording", hours=1, ending="_2s.mp4")
    asked.scan()
    assert asked.purposes() == {
        old_clip: ("security",),
        new_clip: ("security", "analytics"),
        new_photo: ("analytics",),
    }
    assert asked.left() == [old_photo]
    assert asked.reasons("refused") == ["no_consent"]


def test_what_was_recorded_while_it_was_withdrawn_stays_out_and_a_yes_that_goes_on_stays_one(asked: Asked) -> None:
    asked.say("analytics", "given")
    asked.later(10)
    asked.say("analytics", "given")
    before = asked.take("photo", hours=-9, ending=".jpg")
    asked.scan()
    assert asked.purposes() == {before: ("analytics",)}, "the first of two goes on"
    asked.say("analytics", "withdrawn")
    asked.later(10)
    asked.say("analytics", "given")
    meanwhile = asked.take("photo", hours=-5, ending=".jpg")
    asked.scan()
    assert asked.left() == [meanwhile]
    assert asked.reasons("refused") == ["consent_withdrawn"]


def test_what_was_recorded_while_do_not_track_was_on_stays_out(asked: Asked) -> None:
    asked.track("off")
    asked.later(10)
    asked.track("on")
    meanwhile = asked.take("usage-log", hours=-5, ending=".jsonl")
    asked.scan()
    assert asked.left() == [meanwhile]
    asked.take("usage-log", hours=1, ending=".jsonl")
    asked.scan()
    assert [item.purposes for item in asked.objects()] == [("improvement",)]
    assert asked.left() == [meanwhile], "a log of the same batch that is younger went in without it"


def test_what_was_recorded_while_do_not_track_was_on_stays_out_where_our_clock_lags(asked: Asked) -> None:
    asked.lag_ms = 10 * HOUR_MS
    asked.track("off")
    asked.later(1)
    asked.track("on")
    meanwhile = asked.take("usage-log", hours=5, ending=".jsonl")
    asked.scan()
    assert asked.left() == [meanwhile]


class Tightening(Asked):
    """The same, whose policy lets the vendor read no more as soon as something sealed lies in the vault."""

    @property
    def policy(self) -> Policy:
        text = POLICY.format(owner=self.owner.recipient().to_text(), vendor=VENDOR.recipient().to_text())
        if any(self.vault.payloads.folder.iterdir()):
            text = text.replace('basis = "consent"\nseal_to = ["vendor"]', 'basis = "consent"')
        return parse_policy(text.encode(), file="policy.toml")

    @policy.setter
    def policy(self, _chosen: Policy) -> None:
        pass


def test_policy_that_is_tightened_while_something_is_sealed_counts_at_its_end(tmp_path: Path) -> None:
    home = Tightening(tmp_path)
    home.say("analytics", "given")
    home.take("recording", hours=1, ending="_2s.mp4")
    home.scan()
    item = home.only()
    assert (item.purposes, item.recipients) == (("security", "analytics"), (home.owner.recipient().to_text(),))
