"""``policy.toml``: what a person may write, and how a mistake is answered."""

import pytest

from agent.errors import ConfigError
from agent.policy import parse_policy

GOOD = """\
version = 1
[recipients]
owner = ["age1pq1owner"]
support = ["age1pq1support"]
[upload]
regions = ["eu-central"]
rate = "4MB"
hours = ["22:00-06:00"]
[retention]
largest_pass = "25%"
forget_within = "30m"
[category.recording]
purpose = "security"
seal_to = ["owner"]
upload = "before-expiry"
keep = { age = "14d", size = "200GB", disk_free = "10%" }
[category.usage-log]
purpose = "diagnosis"
seal_to = ["owner", "support"]
keep.age = "30d"
[camera.k3x9.recording]
keep.age = "3d"
[purpose.diagnosis]
description = "To find out why it fails."
basis = "legitimate-interest"
[purpose.analytics]
description = "To improve it."
seal_to = ["support"]
[category.photo]
purposes = ["security", "analytics"]
seal_to = ["owner"]
[camera.k3x9.photo]
purpose = "analytics"
seal_to = []
"""


def test_full_document_reads_into_rules() -> None:
    policy = parse_policy(GOOD.encode(), file="policy.toml")
    general = policy.rule_for("zzzz", "recording")
    special = policy.rule_for("k3x9", "recording")
    assert general is not None
    assert special is not None
    assert general.keep.age_ms == 14 * 86_400_000
    assert general.keep.size_bytes == 200 * 10**9
    assert special.keep.age_ms == 3 * 86_400_000
    assert special.keep.size_bytes == 200 * 10**9, "a camera inherits the limits it does not set"
    assert special.recipients == ("age1pq1owner",)
    assert policy.rule_for("k3x9", "export") is None
    assert policy.hours == ((22 * 60, 6 * 60),)
    assert policy.rate_bytes_s == 4_000_000
    assert policy.largest_pass == pytest.approx(0.25)
    assert policy.forget_within_ms == 1_800_000


def test_purposes_carry_their_ground_and_their_own_readers() -> None:
    policy = parse_policy(GOOD.encode(), file="policy.toml")
    photo, hidden, log = (
        policy.rule_for(*one) for one in (("zzzz", "photo"), ("k3x9", "photo"), ("zzzz", "usage-log"))
    )
    assert photo is not None
    assert hidden is not None
    assert log is not None
    assert [(one.name, one.basis, one.recipients) for one in photo.purposes] == [
        ("security", "contract", ()),
        ("analytics", "consent", ("age1pq1support",)),
    ], "security needs no table; who writes no basis has to ask"
    assert (photo.recipients, hidden.recipients) == (("age1pq1owner",), ())
    assert [one.basis for one in log.purposes] == ["legitimate-interest"]
    general = policy.rule_for("k3x9", "recording")
    assert general is not None
    assert [one.name for one in general.purposes] == ["security"], "a camera inherits what it does not say"


@pytest.mark.parametrize(
    ("change", "line", "words"),
    [
        (("version = 1", "version = 2"), 1, "2 is not known"),
        (('["eu-central"]', '["eu central"]'), 6, "'eu central' is no name of a region"),
        (('rate = "4MB"', 'rate = "fast"'), 7, "not a size"),
        (('rate = "4MB"', "rate = 4"), 7, "4 has no unit, and should be a size"),
        (('rate = "4MB"', 'rate = "0B"'), 7, "sends nothing"),
        (('rate = "4MB"', 'rate = "999B"'), 7, "sends nothing"),
        (('"22:00-06:00"', '"22-6"'), 8, "not an interval"),
        (('"25%"', '"5GB"'), 10, "should be a share"),
        (('"30m"', '"2d"'), 11, "longer than a day"),
        (("[category.recording]", "[category.recordings]"), 12, "not a known category"),
        (('seal_to = ["owner"]', 'seal_to = ["ovner"]'), 14, "'ovner' is not in [recipients]"),
        (('upload = "before-expiry"', 'upload = "yes"'), 15, "'yes' is not known"),
        (('age = "14d"', 'age = "two weeks"'), 16, "not a duration"),
        (('keep.age = "30d"', 'kepe.age = "30d"'), 20, "not a known key"),
        (("[camera.k3x9.recording]", '[camera."Front door".recording]'), 21, "not a camera id"),
        (('["age1pq1support"]', '["age1support"]'), 19, "mixes post-quantum"),
        (('["age1pq1owner"]', '["ssh-ed25519 AAAA"]'), 3, "not an age recipient"),
        (('purpose = "security"\n', ""), 12, "is missing"),
        (("version = 1", "version = 1\nversion = 1"), 2, ""),
        (('purpose = "security"', 'purpose = "security"\npriority = 101'), 14, "101 is out of range"),
        (('purpose = "security"', 'purpose = "security"\npriority = -1'), 14, "-1 is out of range"),
        (('"22:00-06:00"', '"06:00-06:00"'), 8, "is empty"),
        (('purpose = "security"', 'purpose = "marketing"'), 13, "is no purpose of this policy"),
        (('purpose = "security"', 'purpose = "security"\npurposes = ["security"]'), 14, "stands beside purpose"),
        (('purposes = ["security", "analytics"]', "purposes = []"), 30, "names none"),
        (('purposes = ["security", "analytics"]', 'purposes = ["security", "security"]'), 30, "one of them twice"),
        (('seal_to = ["support"]', 'seal_to = ["vendor"]'), 28, "'vendor' is not in [recipients]"),
        (('basis = "legitimate-interest"', 'basis = "because"'), 25, "'because' is not known"),
        (('description = "To improve it."', 'description = " "'), 27, "says nothing"),
        (('description = "To improve it."\n', ""), 26, "is missing"),
        (("[purpose.analytics]", "[purpose.Analytics]"), 26, "not a good name"),
        (('basis = "legitimate-interest"', 'ground = "none"'), 25, "not a known key"),
    ],
)
def test_mistake_names_file_line_and_fix(change: tuple[str, str], line: int, words: str) -> None:
    raw = GOOD.replace(*change, 1).encode()
    with pytest.raises(ConfigError) as caught:
        parse_policy(raw, file="policy.toml")
    assert caught.value.message.startswith(f"policy.toml:{line}: "), caught.value.message
    assert words in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ('silent = "1s"\ngrace = "0s"', 3, "silent"),
        ('silent = "1d"\ngrace = "0s"', 4, "grace"),
        ('silent = "86399s"', 3, "silent"),
        ('grace = "23h"\nplan = "keep"', 3, "grace"),
    ],
)
def test_service_that_would_end_and_delete_within_a_day_is_refused(text: str, line: int, key: str) -> None:
    """A second of silence deleted everything, here and at the stores."""
    with pytest.raises(ConfigError) as caught:
        parse_policy(f"version = 1\n[end_of_service]\n{text}\n".encode(), file="policy.toml")
    assert caught.value.message.startswith(f"policy.toml:{line}: end_of_service.{key}: is shorter than a day")
    assert '"1d"' in caught.value.hint
    day = parse_policy(b'version = 1\n[end_of_service]\nsilent = "24h"\ngrace = "1d"\n', file="policy.toml")
    assert (day.silent_ms, day.grace_ms) == (86_400_000, 86_400_000)


COUNTED = """version = 1
[recipients]
owner = ["age1pq1owner"]
[purpose.analytics]
description = "To improve it."
[category.usage-log]
purposes = ["security", "analytics"]
seal_to = ["owner"]
fields = {}
counts = { purpose = "analytics", epsilon = 1, budget = 2, event = ["motion"] }
[camera.k3x9.usage-log]
keep.age = "1d"
"""


@pytest.mark.parametrize("own", ['purpose = "security"', 'purposes = ["security"]'])
def test_camera_whose_purposes_lack_that_of_its_counts_is_refused(own: str) -> None:
    """The record told that values of this camera are counted for a purpose that it does not have."""
    for good in (COUNTED, COUNTED + 'purposes = ["analytics"]\n'):
        rule = parse_policy(good.encode(), file="policy.toml").rule_for("k3x9", "usage-log")
        assert rule is not None
        assert rule.counts is not None
    with pytest.raises(ConfigError, match=r"policy.toml:13: camera.k3x9.usage-log.purposes?: lacks 'analytics'"):
        parse_policy((COUNTED + own + "\n").encode(), file="policy.toml")


EXPORT = '[category.export]\npurpose = "access"\nseal_to = ["owner"]\nkeep.age = "2d"\n'


@pytest.mark.parametrize(
    ("change", "below", "words"),
    [
        (("keep", 'upload = "before-expiry"\nkeep'), 3, "upload: is obeyed for no export"),
        (("keep", 'on_full = "drop-oldest"\nkeep'), 3, "on_full: is obeyed for no export"),
        (("keep", "readable_by_device = false\nkeep"), 3, "readable_by_device: is obeyed for no export"),
        (("keep", "priority = 1\nkeep"), 3, "priority: is obeyed for no export"),
        (("keep", 'fields.mac = "drop"\nkeep'), 3, "fields: is obeyed for no export"),
        (("keep", "counts.epsilon = 1\nkeep"), 3, "counts: is obeyed for no export"),
        (('"access"', '"analytics"'), 1, "not what exports are made for"),
        (('["owner"]', '["owner", "support"]'), 2, "no say over exports"),
        (("[category.export]", "[camera.k3x9.export]"), 0, "is obeyed for no camera"),
    ],
)
def test_what_nothing_obeys_of_an_export_is_refused_with_its_line(
    change: tuple[str, str], below: int, words: str
) -> None:
    """``upload = "before-expiry"`` passed the check, and the record told a regulator that exports go to the store."""
    assert parse_policy((GOOD + EXPORT).encode(), file="policy.toml").export_rule().keep.age_ms == 2 * 86_400_000
    raw = (GOOD + EXPORT.replace(*change, 1)).encode()
    with pytest.raises(ConfigError) as caught:
        parse_policy(raw, file="policy.toml")
    line = GOOD.count("\n") + 1 + below
    assert caught.value.message.startswith(f"policy.toml:{line}: "), caught.value.message
    assert words in caught.value.message
    assert caught.value.hint


def test_readers_of_a_category_and_of_its_purposes_are_not_mixed_either() -> None:
    raw = GOOD.replace('["owner", "support"]', '["owner"]').replace("age1pq1support", "age1support").encode()
    with pytest.raises(ConfigError, match=r"policy.toml:31: category.photo.seal_to: mixes post-quantum"):
        parse_policy(raw, file="policy.toml")


@pytest.mark.parametrize("raw", [b"\xff\xfe", b"[" * 5000, b"x = " + b"[" * 3000 + b"]" * 3000, b"#" * (1 << 21)])
def test_hostile_bytes_raise_only_config_error(raw: bytes) -> None:
    with pytest.raises(ConfigError):
        parse_policy(raw, file="policy.toml")


def test_more_purposes_than_a_person_can_be_asked_about_are_refused() -> None:
    more = "".join(f'[purpose.more{at}]\ndescription = "For more."\n' for at in range(31))
    with pytest.raises(ConfigError, match="more than 32 purposes"):
        parse_policy((GOOD + more).encode(), file="policy.toml")
