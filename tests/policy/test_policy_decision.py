"""The precedence table of ``agent/policy/decision.py``, row by row and against each other."""

from datetime import datetime
from functools import partial

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model import Kind, Moment, Requester, Role
from agent.policy import (
    Allow,
    Conditions,
    Consents,
    Decision,
    Hold,
    Keep,
    Policy,
    Purpose,
    Refuse,
    Rights,
    Rule,
    Subject,
    Word,
    decide,
    is_allowed,
    purposes_for,
    recipients_for,
)
from agent.policy.values import Action, OnFull, UploadRule

DAY = 86_400_000
NOON = 12 * 3_600_000
OWNER = Requester(role="client", kid="owner")
BACKEND = Requester(role="backend", kid="backend")
DEVICE = Requester(role="device")
HELD = Rights(hold=Hold(reason="court", author="owner", until_ms=99 * DAY))
RESTRICTED = Rights(restricted=True)
FREE = Rights()
SECURITY = Purpose(name="security", description="Why it was bought.", basis="contract")
ANALYTICS = Purpose(name="analytics", description="To improve it.", basis="consent", recipients=("age1pq1v",))
DUTY = Purpose(name="duty", description="The law says so.", basis="legal-obligation")


def policy_with(
    *,
    keep: Keep | None = None,
    upload: UploadRule = "before-expiry",
    on_full: OnFull = "refuse",
    hours: tuple[tuple[int, int], ...] = (),
    recipients: tuple[str, ...] = ("age1pq1x",),
    purposes: tuple[Purpose, ...] = (SECURITY,),
) -> Policy:
    rule = Rule(
        scope="category.recording",
        camera="",
        category="recording",
        purposes=purposes,
        seal_to=("owner",),
        recipients=recipients,
        upload=upload,
        keep=keep or Keep(),
        on_full=on_full,
        priority=50,
        readable_by_device=True,
    )
    return Policy(
        version=1,
        recipients={"owner": recipients},
        purposes={one.name: one for one in purposes},
        rules=(rule,),
        regions=(),
        rate_bytes_s=None,
        hours=hours,
        largest_pass=0.3,
        forget_within_ms=3_600_000,
    )


def judge(
    action: Action,
    *,
    policy: Policy | None = None,
    requester: Requester = DEVICE,
    rights: Rights = FREE,
    state: str = "sealed",
    now_ms: int = NOON,
    trusted: bool = True,
    free_bytes: int = 50,
    rank: int = 0,
    newer_bytes: int = 1,
    wanted_bytes: int = 0,
    category: str = "recording",
    to_owner_only: bool = True,
    purposes: tuple[str, ...] | None = None,
    recipients: tuple[str, ...] = (),
    kind: Kind = "file-key",
) -> Decision:
    return decide(
        policy or policy_with(),
        action,
        requester=requester,
        subject=Subject(
            camera="k3x9",
            category=category,
            taken_in_ms=0,
            state="uploaded" if state != "sealed" else "sealed",
            purposes=purposes,
            recipients=recipients,
            kind=kind,
        ),
        rights=rights,
        conditions=Conditions(
            moment=Moment(agent_ms=now_ms, wall_ms=now_ms, trusted=trusted),
            free_bytes=free_bytes,
            total_bytes=100,
            wanted_bytes=wanted_bytes,
            rank=rank,
            newer_bytes=newer_bytes,
            to_owner_only=to_owner_only,
        ),
    )


def reason(decision: Decision) -> str:
    return decision.reason if isinstance(decision, Refuse) else "allowed"


def test_hold_beats_everything_that_removes() -> None:
    old = policy_with(keep=Keep(age_ms=1, size_bytes=0, count=0))
    assert reason(judge("expire", policy=old, rights=HELD)) == "held"
    assert reason(judge("delete", requester=OWNER, rights=HELD)) == "held"
    assert reason(judge("delete", requester=BACKEND, rights=HELD)) == "held"


def test_owners_erase_lifts_a_restriction_and_a_backends_does_not() -> None:
    assert reason(judge("delete", requester=OWNER, rights=RESTRICTED)) == "allowed"
    assert reason(judge("delete", requester=BACKEND, rights=RESTRICTED)) == "restricted"


def test_restriction_freezes_expiry_and_upload() -> None:
    assert reason(judge("expire", policy=policy_with(keep=Keep(age_ms=1)), rights=RESTRICTED)) == "restricted"
    assert reason(judge("upload", rights=RESTRICTED)) == "restricted"


def test_backends_delete_waits_while_the_clock_is_unsure_and_the_owners_does_not() -> None:
    assert reason(judge("delete", requester=BACKEND, trusted=False)) == "clock_unconfirmed"
    assert reason(judge("delete", requester=OWNER, trusted=False)) == "allowed"


def test_maximum_age_is_hard_even_before_the_upload() -> None:
    policy = policy_with(keep=Keep(age_ms=DAY))
    assert judge("expire", policy=policy, now_ms=DAY) == Allow(rule="category.recording.keep.age")
    early = judge("expire", policy=policy, now_ms=DAY - 1)
    assert early == Refuse(reason="not_due", rule="category.recording.keep.age", until_ms=DAY)


def test_size_count_and_floor_wait_for_the_upload_where_policy_says_so() -> None:
    for keep in (Keep(size_bytes=6), Keep(count=2), Keep(disk_free_share=0.6)):
        over = partial(judge, "expire", rank=3, newer_bytes=12)
        assert reason(over(policy=policy_with(keep=keep))) == "upload_first"
        assert reason(over(policy=policy_with(keep=keep), state="uploaded")) == "allowed"
        assert reason(over(policy=policy_with(keep=keep, upload="allowed"))) == "allowed"
        assert reason(over(policy=policy_with(keep=keep, on_full="drop-oldest"))) == "upload_first", (
            "once every limit dropped what no store had yet, on a disk with room enough"
        )


def test_size_and_count_wait_for_an_upload_that_never_comes_until_the_set_is_twice_what_they_allow() -> None:
    """A vendor's narrower regions let nothing be sent, and what the owner bounded was kept without end."""
    for keep, limit in ((Keep(size_bytes=6, disk_free_share=0.6), "size"), (Keep(count=2), "count")):
        twice = partial(judge, "expire", policy=policy_with(keep=keep), rank=4, newer_bytes=13)
        assert twice() == Allow(rule=f"category.recording.keep.{limit}")
        assert reason(twice(rights=HELD)) == "held"
        assert reason(twice(rank=3, newer_bytes=12)) == "upload_first"


def test_full_disk_is_a_floor_only_where_the_policy_drops_the_oldest() -> None:
    drops = policy_with(keep=Keep(age_ms=DAY), on_full="drop-oldest")
    refuses = policy_with(keep=Keep(age_ms=DAY), upload="never")
    assert judge("expire", policy=drops, free_bytes=5, wanted_bytes=6) == Allow(rule="category.recording.on_full")
    assert reason(judge("expire", policy=drops, free_bytes=6, wanted_bytes=6)) == "not_due"
    assert reason(judge("expire", policy=refuses, free_bytes=5, wanted_bytes=6)) == "not_due"
    assert reason(judge("expire", policy=drops, free_bytes=5, wanted_bytes=6, rights=HELD)) == "held"


def test_full_disk_waits_for_no_upload_whatever_other_limit_is_reached_as_well() -> None:
    for keep in (Keep(age_ms=DAY), Keep(size_bytes=0), Keep(count=0), Keep(disk_free_share=0.6)):
        drops = policy_with(keep=keep, on_full="drop-oldest")
        assert judge("expire", policy=drops, free_bytes=5, wanted_bytes=6) == Allow(rule="category.recording.on_full")


def test_floor_in_bytes_and_share_take_the_larger() -> None:
    assert Keep(disk_free_bytes=5, disk_free_share=0.1).floor_bytes(100) == 10
    assert Keep(disk_free_bytes=50, disk_free_share=0.1).floor_bytes(100) == 50
    assert Keep().floor_bytes(100) == 0


def test_category_without_a_rule_is_refused_everywhere() -> None:
    actions: tuple[Action, ...] = ("ingest", "upload", "expire")
    for action in actions:
        assert reason(judge(action, category="photo")) == "no_rule"


def test_no_recipient_or_a_full_disk_stops_ingest() -> None:
    assert reason(judge("ingest", policy=policy_with(recipients=()))) == "no_recipient"
    assert reason(judge("ingest", free_bytes=0)) == "disk_full"
    assert reason(judge("ingest")) == "allowed"


def said(word: Word, purpose: str = "analytics") -> Rights:
    return Rights(consents=Consents(words={(purpose, "recording"): word}))


@pytest.mark.parametrize(
    ("purpose", "rights", "expected"),
    [
        (ANALYTICS, FREE, Refuse(reason="no_consent", rule="purpose.analytics")),
        (ANALYTICS, said("refused"), Refuse(reason="consent_refused", rule="purpose.analytics")),
        (ANALYTICS, said("withdrawn"), Refuse(reason="consent_withdrawn", rule="purpose.analytics")),
        (ANALYTICS, said("objected"), Refuse(reason="objected", rule="purpose.analytics")),
        (ANALYTICS, said("given", "security"), Refuse(reason="no_consent", rule="purpose.analytics")),
        (SECURITY, said("objected", "security"), Refuse(reason="objected", rule="purpose.security")),
    ],
)
def test_nothing_is_taken_in_or_uploaded_for_a_purpose_that_is_not_allowed(
    purpose: Purpose, rights: Rights, expected: Refuse
) -> None:
    policy = policy_with(purposes=(purpose,))
    assert judge("ingest", policy=policy, rights=rights) == expected
    assert judge("upload", policy=policy, rights=rights) == expected
    assert reason(judge("ingest", policy=policy_with(purposes=(purpose, DUTY)), rights=rights)) == "allowed"


def test_object_goes_only_for_what_it_was_sealed_for() -> None:
    policy = policy_with(purposes=(SECURITY, ANALYTICS))
    assert reason(judge("upload", policy=policy, purposes=("security",))) == "allowed"
    assert reason(judge("upload", policy=policy, purposes=("analytics",))) == "no_consent"
    assert reason(judge("upload", policy=policy, purposes=("analytics",), rights=said("given"))) == "allowed"
    unknown = judge("upload", policy=policy, purposes=("marketing",))
    assert unknown == Refuse(reason="no_purpose", rule="category.recording.purposes")


def test_object_that_this_device_cannot_read_does_not_go_while_somebody_can_open_it_who_may_not() -> None:
    policy = policy_with(purposes=(SECURITY, ANALYTICS))
    both = ("security", "analytics")

    def upload(*recipients: str, purposes: tuple[str, ...], rights: Rights) -> str:
        return reason(
            judge("upload", policy=policy, purposes=purposes, recipients=recipients, rights=rights, kind="header-key")
        )

    assert upload("age1pq1x", "age1pq1v", purposes=both, rights=said("given")) == "allowed"
    assert upload("age1pq1x", "age1pq1v", purposes=both, rights=said("withdrawn")) == "recipient_not_allowed"
    assert upload("age1pq1x", purposes=both, rights=said("withdrawn")) == "allowed"
    assert upload("age1pq1x", "age1pq1v", purposes=("security",), rights=said("given")) == "recipient_not_allowed"


def test_object_that_this_device_can_read_is_sealed_for_those_alone_who_may_before_it_goes() -> None:
    policy = policy_with(purposes=(SECURITY, ANALYTICS))
    both = ("security", "analytics")

    def upload(*recipients: str, rights: Rights) -> Decision:
        return judge("upload", policy=policy, purposes=both, recipients=recipients, rights=rights)

    allowed = Allow(rule="category.recording.upload")
    owner = msgspec.structs.replace(allowed, reseal_to=("age1pq1x",))
    assert upload("age1pq1x", "age1pq1v", rights=said("given")) == allowed
    assert upload("age1pq1x", "age1pq1v", rights=said("withdrawn")) == owner
    assert upload("age1pq1lost", rights=said("given")) == owner, "its owner has another key by now; nobody else gains"
    assert upload("age1pq1v", rights=said("withdrawn")) == owner
    stranger = policy_with(purposes=(SECURITY,), recipients=("age1pq1x",))
    nobody = msgspec.structs.replace(stranger, recipients={"owner": ("age1pq1o",)})
    assert reason(judge("upload", policy=nobody, purposes=both, recipients=("age1pq1v",))) == "recipient_not_allowed"


CATEGORY_WORDS: tuple[Word | None, ...] = (None, "given", "refused", "withdrawn", "objected")


@pytest.mark.parametrize(
    ("purpose", "on"),
    [(ANALYTICS, {"given"}), (SECURITY, {None, "given"}), (DUTY, set(CATEGORY_WORDS))],
    ids=["consent", "contract", "legal-obligation"],
)
def test_word_switches_a_purpose_by_its_basis(purpose: Purpose, on: set[Word | None]) -> None:
    for word in CATEGORY_WORDS:
        consents = Consents() if word is None else Consents().after(purpose.name, "recording", word)
        assert is_allowed(purpose, "recording", consents) is (word in on)
        assert is_allowed(purpose, "photo", consents) is (None in on), "a word counts for its category alone"


WORDS = st.dictionaries(
    st.tuples(st.sampled_from(["security", "analytics", "duty"]), st.sampled_from(["recording", "photo"])),
    st.sampled_from(["given", "refused", "withdrawn", "objected"]),
)


@given(
    words=WORDS,
    no=st.sampled_from(["refused", "withdrawn", "objected"]),
    which=st.sampled_from(["security", "analytics"]),
)
def test_no_takes_away_its_own_purpose_and_readers_and_nobody_elses(
    words: dict[tuple[str, str], Word], no: Word, which: str
) -> None:
    rule = policy_with(purposes=(SECURITY, ANALYTICS, DUTY)).rules[0]
    before = Consents(words=words)
    after = before.after(which, "recording", no)
    names = [one.name for one in purposes_for(rule, before)]
    assert [one.name for one in purposes_for(rule, after)] == [name for name in names if name != which]
    assert set(recipients_for(rule, after)) == set(recipients_for(rule, before)) - (
        {"age1pq1v"} if which == "analytics" else set()
    )


def test_upload_outside_its_hours_says_when_they_begin() -> None:
    night = policy_with(hours=((22 * 60, 6 * 60),))
    assert judge("upload", policy=night) == Refuse(reason="outside_hours", rule="upload.hours", until_ms=22 * 3_600_000)
    assert reason(judge("upload", policy=night, now_ms=23 * 3_600_000)) == "allowed"
    assert reason(judge("upload", policy=night, now_ms=5 * 3_600_000)) == "allowed"


NIGHT = ("22:30-06:15",)
DAYTIME = ("09:05-17:20",)
TWICE = ("06:30-07:00", "18:45-23:10")
TO_MIDNIGHT = ("20:00-00:00",)
FROM_MIDNIGHT = ("00:00-05:00",)


def utc(day: str, time: str, *, ms: int = 0) -> int:
    return int(datetime.fromisoformat(f"{day}T{time}+00:00").timestamp() * 1000) + ms


@pytest.mark.parametrize(
    "day", ["1970-01-02", "2026-03-29", "2026-10-25"]
)  # clocks change on the last two, UTC does not
@pytest.mark.parametrize(
    ("hours", "now", "opens"),
    [
        (NIGHT, "22:29:59", "22:30"), (NIGHT, "22:30:00", ""), (NIGHT, "23:59:59", ""), (NIGHT, "00:00:00", ""),
        (NIGHT, "06:14:59", ""), (NIGHT, "06:15:00", "22:30"), (NIGHT, "06:16:00", "22:30"),
        (DAYTIME, "00:00:00", "09:05"), (DAYTIME, "09:04:59", "09:05"), (DAYTIME, "09:05:00", ""),
        (DAYTIME, "17:19:59", ""), (DAYTIME, "17:20:00", "+09:05"), (DAYTIME, "23:59:59", "+09:05"),
        (TWICE, "06:00:00", "06:30"), (TWICE, "07:00:00", "18:45"), (TWICE, "12:00:00", "18:45"),
        (TWICE, "18:45:00", ""), (TWICE, "23:10:00", "+06:30"),
        (TO_MIDNIGHT, "19:59:59", "20:00"), (TO_MIDNIGHT, "23:59:59", ""), (TO_MIDNIGHT, "00:00:00", "20:00"),
        (FROM_MIDNIGHT, "00:00:00", ""), (FROM_MIDNIGHT, "04:59:59", ""), (FROM_MIDNIGHT, "05:00:00", "+00:00"),
        (FROM_MIDNIGHT, "23:59:59", "+00:00"),
        ((), "03:00:00", ""),
    ],
)  # fmt: skip
def test_hours_are_half_open_minutes_of_the_day_in_utc(hours: tuple[str, ...], now: str, opens: str, day: str) -> None:
    # ``opens``: when uploads may go next, ``+`` on the day after, nothing when they may go now
    minutes = tuple((int(one[:2]) * 60 + int(one[3:5]), int(one[6:8]) * 60 + int(one[9:])) for one in hours)
    for ms in (0, 999):
        found = judge("upload", policy=policy_with(hours=minutes), now_ms=utc(day, now, ms=ms))
        until_ms = utc(day, opens.removeprefix("+")) + DAY * opens.startswith("+") if opens else 0
        assert found == (
            Refuse(reason="outside_hours", rule="upload.hours", until_ms=until_ms)
            if opens
            else Allow(rule="category.recording.upload")
        )


def test_export_to_others_needs_an_owner_client() -> None:
    assert reason(judge("export", requester=OWNER, to_owner_only=False)) == "allowed"
    for role in ("local", "backend"):
        who = Requester(role=role)
        assert reason(judge("export", requester=who)) == "allowed"
        assert reason(judge("export", requester=who, to_owner_only=False)) == "not_granted"
        assert reason(judge("export", requester=who, rights=RESTRICTED)) == "restricted"


def test_export_takes_no_room_below_a_floor_or_above_the_exports_own_limit() -> None:
    def room(policy: Policy, *, free: int, copies: int, role: Role = "client") -> str:
        conditions = Conditions(
            moment=Moment(agent_ms=0, wall_ms=0, trusted=True), free_bytes=free, total_bytes=100, copies_bytes=copies
        )
        subject = Subject(camera="", category="recording", taken_in_ms=0)
        return reason(
            decide(
                policy, "export", requester=Requester(role=role), subject=subject, rights=FREE, conditions=conditions
            )
        )

    plain, floor = policy_with(), policy_with(keep=Keep(disk_free_share=0.1))
    assert room(plain, free=1, copies=25) == "allowed"
    assert room(plain, free=1, copies=26) == "disk_full"
    assert room(plain, free=0, copies=1) == "disk_full"
    assert room(floor, free=10, copies=1) == "allowed"
    assert room(floor, free=9, copies=1) == "disk_full"
    assert room(floor, free=9, copies=1, role="store") == "verb_not_allowed", "the right comes before the room"


@given(
    role=st.sampled_from(["device", "local", "client", "backend", "store", "time"]),
    trusted=st.booleans(),
    restricted=st.booleans(),
)
def test_nobody_but_owner_and_trusted_backend_may_delete(role: Role, *, trusted: bool, restricted: bool) -> None:
    answer = judge("delete", requester=Requester(role=role), rights=Rights(restricted=restricted), trusted=trusted)
    expected = role == "client" or (role == "backend" and trusted and not restricted)
    assert isinstance(answer, Allow) is expected
