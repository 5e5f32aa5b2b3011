"""What was recorded before a yes was said, or while it was taken back, is not collected once it is given again."""

import os
from collections.abc import Iterator
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
from tests.ingest.test_growing_log import Recorder, line

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


class Logging(Asked):
    """The same, whose owner can read the logs, at a recorder that appends to them for years."""

    def __init__(self, top: Path) -> None:
        super().__init__(top)
        text = POLICY.format(owner=self.owner.recipient().to_text(), vendor=VENDOR.recipient().to_text())
        text = text.replace('purpose = "improvement"', 'purposes = ["analytics", "improvement"]\nseal_to = ["owner"]')
        text = text.replace('basis = "legitimate-interest"', 'basis = "consent"')
        self.policy = parse_policy(text.encode(), file="policy.toml")

    def write(self, recorder: Recorder, word: str) -> None:
        """Let an hour pass, and have the recorder write a line."""
        self.later(1)
        recorder.write(word)
        self.dated(recorder.path)

    def take_back_and_give_again(self, recorder: Recorder) -> None:
        """Have lines written while the yes was taken back, and behind the next one before anybody looked."""
        self.later(1)
        self.say("analytics", "withdrawn")
        self.write(recorder, "meanwhile")
        recorder.look()
        self.later(1)
        self.say("analytics", "given")
        self.write(recorder, "before it was looked at again")
        recorder.look()

    def dated(self, path: Path) -> None:
        os.utime(path, (self.now.agent_ms // 1000, self.now.agent_ms // 1000))


@pytest.fixture
def logging(tmp_path: Path) -> Iterator[tuple[Logging, Recorder]]:
    home = Logging(tmp_path)
    yield home, Recorder(home)
    home.close()


def test_log_goes_on_behind_what_was_written_before_it_was_agreed_to_again(logging: tuple[Logging, Recorder]) -> None:
    # Its bookmark is of before the withdrawal, and was never moved: nothing of that log was taken any more, for ever.
    home, recorder = logging
    home.say("analytics", "given")
    home.write(recorder, "agreed")
    recorder.look()
    home.take_back_and_give_again(recorder)
    assert recorder.sealed() == [line("agreed")]
    for word in ("agreed again", "and again"):
        home.write(recorder, word)
        recorder.look_after_a_restart()
    assert recorder.sealed() == [line("agreed"), line("agreed again"), line("and again")]
    assert set(home.reasons("refused")) == {"consent_withdrawn"}
    assert home.reasons("later") == []


def test_log_whose_name_tells_its_time_goes_on_too_and_another_in_its_place_does_not_count_by_its_last_change(
    tmp_path: Path,
) -> None:
    # Its name says that it was begun before the withdrawal: by that alone nothing of it was ever taken again.
    home = Logging(tmp_path)
    recorder = Recorder(home, f"front/usage-log/{rfc3339_ms(home.now.agent_ms + 1).replace(':', '-')}.jsonl")
    home.say("analytics", "given")
    for word in ("agreed", "agreed too"):
        home.write(recorder, word)
        recorder.look()
    home.take_back_and_give_again(recorder)
    assert recorder.sealed() == [line("agreed"), line("agreed too")]
    home.write(recorder, "agreed again")
    recorder.look_after_a_restart()
    assert recorder.sealed() == [line("agreed"), line("agreed too"), line("agreed again")]
    recorder.path.unlink()
    home.write(recorder, "another log")
    recorder.look()
    home.write(recorder, "behind it")
    recorder.look()
    assert recorder.sealed()[3:] == [line("behind it")]
    assert home.reasons("later") == []
    home.close()


def test_log_goes_on_once_do_not_track_is_off_again(tmp_path: Path) -> None:
    home = Asked(tmp_path)
    text = POLICY.format(owner=home.owner.recipient().to_text(), vendor=VENDOR.recipient().to_text())
    home.policy = parse_policy(f'{text}seal_to = ["owner"]\n'.encode(), file="policy.toml")
    recorder = Recorder(home)
    for word, track in (("before", "off"), ("meanwhile", "on"), ("behind it", ""), ("later", "")):
        recorder.write(word)
        os.utime(recorder.path, (home.now.agent_ms // 1000, home.now.agent_ms // 1000))
        recorder.look()
        home.later(1)
        if track:
            home.track(track)
            home.later(1)
    assert recorder.sealed() == [line("before"), line("later")]
    home.close()


def test_log_of_before_a_withdrawal_keeps_no_other_out(logging: tuple[Logging, Recorder]) -> None:
    home, recorder = logging
    home.say("analytics", "given")
    home.write(recorder, "agreed")
    recorder.look()
    home.say("analytics", "withdrawn")
    home.later(1)
    home.say("analytics", "given")
    home.write(recorder, "the end of the old log")
    recorder.path.rename(recorder.path.with_name("camera.jsonl.1"))
    other = Recorder(home, "front/usage-log/other.jsonl")
    home.write(recorder, "behind the rotation")
    home.write(other, "another log")
    recorder.look()
    assert recorder.sealed() == [line("agreed"), line("behind the rotation"), line("another log")]
    assert home.reasons("later") == []


@pytest.mark.parametrize("readable", ["true", "false"])
def test_what_was_written_before_a_yes_is_sealed_for_the_other_purpose_alone(
    logging: tuple[Logging, Recorder], readable: str
) -> None:
    # Where this device cannot open what it sealed, it was never taken in at all.
    home, recorder = logging
    owner, vendor = home.owner.recipient().to_text(), VENDOR.recipient().to_text()
    rule = f'purposes = ["security", "analytics"]\nseal_to = ["owner"]\nreadable_by_device = {readable}'
    text = POLICY.format(owner=owner, vendor=vendor).replace('purpose = "improvement"', rule)
    home.policy = parse_policy(text.encode(), file="policy.toml")
    other = Recorder(home, "front/usage-log/other.jsonl")
    home.write(recorder, "known")
    recorder.look()
    home.later(1)
    home.say("analytics", "given")
    home.write(recorder, "since the last look")
    home.write(other, "a new log")
    recorder.look()
    home.write(recorder, "behind it")
    recorder.look()
    assert sorted((item.purposes, item.recipients) for item in home.objects()) == [
        (("security",), (owner,)),
        (("security",), (owner,)),
        (("security", "analytics"), (owner, vendor)),
        (("security", "analytics"), (owner, vendor)),
    ]
    assert sorted(recorder.sealed()) == sorted(map(line, ("known", "since the last look", "a new log", "behind it")))
