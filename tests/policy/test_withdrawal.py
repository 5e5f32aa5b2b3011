"""What becomes of an object when a purpose of it is taken away: whatever was said, nobody gains anything by it."""

import itertools
from typing import Final, get_args

import msgspec
import pytest

from agent.model import Kind, Moment, Object, Requester, State
from agent.policy import (
    Allow,
    Conditions,
    Consents,
    Rights,
    Subject,
    Word,
    after_withdrawal,
    decide,
    parse_policy,
    recipients_for,
    told_of,
)

OWNER: Final = "age1owner"
VENDOR: Final = "age1vendor"
SHOP: Final = "age1shop"
POLICY: Final = parse_policy(
    f"""
version = 1
[recipients]
owner = ["{OWNER}"]
vendor = ["{VENDOR}"]
shop = ["{SHOP}"]
[purpose.analytics]
description = "To see which functions are used."
basis = "consent"
seal_to = ["vendor"]
[purpose.marketing]
description = "To tell of offers."
basis = "legitimate-interest"
seal_to = ["shop"]
[category.recording]
purposes = ["security", "analytics", "marketing"]
seal_to = ["owner"]
upload = "allowed"
""".encode(),
    file="policy.toml",
)
PURPOSES: Final = ("security", "analytics", "marketing", "gone from the policy")
WORDS: Final[tuple[Word | None, ...]] = (None, *get_args(Word))
READERS: Final = (OWNER, VENDOR, SHOP)
MOMENT: Final = Moment(agent_ms=0, wall_ms=0, trusted=True)


def some(names: tuple[str, ...]) -> list[tuple[str, ...]]:
    return [chosen for count in range(len(names) + 1) for chosen in itertools.combinations(names, count)]


def said(analytics: Word | None, marketing: Word | None, *, do_not_track: bool) -> Consents:
    words = {"analytics": analytics, "marketing": marketing}
    found = {(name, "recording"): word for name, word in words.items() if word is not None}
    return Consents(words=found, do_not_track=do_not_track)


ALL_SAID: Final = [
    said(first, second, do_not_track=tracked)
    for first, second, tracked in itertools.product(WORDS, WORDS, (False, True))
]


def held(purposes: tuple[str, ...], readers: tuple[str, ...], kind: Kind, state: State) -> Object:
    return Object(
        id="a" * 26,
        camera="cam1",
        category="recording",
        purposes=purposes,
        source="spool",
        media_type="video/mp4",
        name="clip.mp4",
        captured_from_ms=0,
        captured_to_ms=1,
        taken_in_ms=0,
        plain_bytes=1,
        size_bytes=1,
        payload_sha256=b"",
        header_sha256=b"",
        kind=kind,
        state=state,
        recipients=readers,
        upload="",
        source_copy="taken",
        medium="tmpfs",
    )


def may_go(item: Object, consents: Consents) -> bool:
    decision = decide(
        POLICY,
        "upload",
        requester=Requester(role="device"),
        subject=Subject.of(item),
        rights=Rights(consents=consents),
        conditions=Conditions(moment=MOMENT),
    )
    return isinstance(decision, Allow)


@pytest.mark.parametrize("kind", get_args(Kind))
@pytest.mark.parametrize("state", ["sealed", "uploaded"])
def test_whatever_was_said_nobody_gains_anything_and_what_goes_on_is_read_by_whoever_may(
    kind: Kind, state: State
) -> None:
    fates = set()
    for purposes, readers, consents in itertools.product(some(PURPOSES), some(READERS), ALL_SAID):
        item = held(purposes, readers, kind, state)
        after = after_withdrawal(POLICY, item, consents)
        fates.add(after.fate)
        now = msgspec.structs.replace(item, purposes=after.purposes, recipients=after.recipients)
        assert set(after.purposes) <= set(purposes)
        assert set(after.recipients) <= {*readers, OWNER}
        if OWNER in set(after.recipients) - set(readers):
            assert after.fate == "resealed", "its owner, where somebody else had to go"
        if kind == "header-key" or state == "uploaded":
            assert after.recipients == readers, "who can open it is told as it is"
        if after.fate == "resealed":
            rule = POLICY.rule_for("cam1", "recording")
            assert rule is not None
            assert set(after.recipients) <= set(recipients_for(rule, consents, sealed_for=after.purposes))
            assert may_go(now, consents)
        if after.fate == "kept":
            assert not may_go(now, consents), "it stays here"
        if after.fate == "erased":
            assert OWNER not in readers, "what its owner can read is not erased"
            assert not may_go(item, consents)
        assert after.fate == "erased" or after_withdrawal(POLICY, now, consents).purposes == after.purposes
    expected = {"continues", "kept", "erased"} | ({"resealed"} if (kind, state) == ("file-key", "sealed") else set())
    assert fates == expected


def test_what_was_narrowed_stays_narrow_whatever_is_said_later() -> None:
    for before, later in itertools.product(ALL_SAID, ALL_SAID):
        item = held(("security", "analytics", "marketing"), READERS, "file-key", "sealed")
        after = after_withdrawal(POLICY, item, before)
        now = msgspec.structs.replace(item, purposes=after.purposes, recipients=after.recipients)
        again = after_withdrawal(POLICY, now, later)
        assert set(again.purposes) <= set(after.purposes)
        assert set(again.recipients) <= {*after.recipients, OWNER}


EARLIER: Final = "age1earlier"


@pytest.mark.parametrize(
    ("kind", "state", "readers"),
    [
        ("file-key", "sealed", (OWNER,)),
        ("file-key", "uploaded", (EARLIER, VENDOR)),
        ("header-key", "sealed", (EARLIER, VENDOR)),
    ],
)
@pytest.mark.parametrize("purposes", [("analytics",), ("security", "analytics")])
def test_what_an_earlier_key_of_its_owner_opens_is_kept_and_sealed_for_the_key_of_now_where_it_can_be(
    kind: Kind, state: State, readers: tuple[str, ...], purposes: tuple[str, ...]
) -> None:
    item = held(purposes, (EARLIER, VENDOR), kind, state)
    withdrawn = said("withdrawn", None, do_not_track=False)
    after = after_withdrawal(POLICY, item, withdrawn, owners_before=(EARLIER,))
    goes_on = "security" in purposes and (kind, state) == ("file-key", "sealed")
    assert (after.fate, after.recipients) == ("resealed" if goes_on else "kept", readers)
    unknown = after_withdrawal(POLICY, item, withdrawn)
    assert unknown.fate == ("resealed" if goes_on else "erased"), "of nobody's key it is as of the vendor's"


@pytest.mark.parametrize(("before", "goes"), [((), True), ((EARLIER,), False)])
def test_what_is_for_nothing_goes_unless_it_was_its_owners_by_a_key_of_before(
    before: tuple[str, ...], *, goes: bool
) -> None:
    decision = decide(
        POLICY,
        "expire",
        requester=Requester(role="device"),
        subject=Subject.of(held((), (EARLIER,), "file-key", "sealed")),
        rights=Rights(owners_before=before),
        conditions=Conditions(moment=MOMENT),
    )
    assert isinstance(decision, Allow) is goes


def test_correction_is_told_to_its_owner_and_to_who_reads_the_copy_and_may_still() -> None:
    for purposes, readers, consents in itertools.product(some(PURPOSES), some(READERS), ALL_SAID):
        item = held(purposes, readers, "file-key", "uploaded")
        told = told_of(POLICY, item, Rights(consents=consents))
        rule = POLICY.rule_for("cam1", "recording")
        assert rule is not None
        assert set(told) == {OWNER} | (set(readers) & set(recipients_for(rule, consents, sealed_for=purposes)))
        for closed in (Rights(consents=consents, restricted=True), Rights(consents=consents, ended=True)):
            assert told_of(POLICY, item, closed) == (OWNER,)


def test_correction_mixes_no_kinds_of_keys_where_its_owner_is_no_reader_by_the_rule() -> None:
    # Nothing could be sealed to them together, and the command would wait for ever.
    text = f'version = 1\n[recipients]\nowner = ["age1pq1owner"]\nvendor = ["{VENDOR}"]\n'
    text += '[category.recording]\npurpose = "security"\nseal_to = ["vendor"]\n'
    policy = parse_policy(text.encode(), file="policy.toml")
    assert told_of(policy, held(("security",), (VENDOR,), "file-key", "uploaded"), Rights()) == (VENDOR,)
    assert told_of(policy, held((), (VENDOR,), "file-key", "uploaded"), Rights()) == ("age1pq1owner",)
