"""Policies to compare: few values of each field, so that two of them are often comparable."""

from collections.abc import Mapping
from typing import Any, Final

from hypothesis import strategies as st
from msgspec.structs import replace

from agent.model import Category
from agent.policy import Keep, Policy, Rule
from agent.policy.counts import Counts
from agent.policy.fields.rule import Fields, RoundTime
from agent.policy.fields.rule import Keep as KeepField
from agent.policy.purpose import BUILT_IN, Purpose

CAMERAS: Final = ("k3x9", "m4n8")
CATEGORIES: Final[tuple[Category, ...]] = ("recording", "photo", "export")
OWNER: Final = "age1pq1owner"
KEYS: Final = (OWNER, "age1pq1support", "age1pq1maker")

KEEP: Final[Mapping[str, tuple[Any, ...]]] = {
    "age_ms": (None, 86_400_000, 14 * 86_400_000),
    "size_bytes": (None, 10, 20, 30),
    "count": (None, 1, 2, 3),
    "disk_free_bytes": (None, 5 * 10**9),
    "disk_free_share": (None, 0.1, 0.2),
}
SECURITY: Final = BUILT_IN["security"]
ANALYTICS: Final = Purpose(
    name="analytics",
    description="To see what is used.",
    basis="consent",
    seal_to=("maker",),
    recipients=("age1pq1maker",),
)

RULE: Final[Mapping[str, tuple[Any, ...]]] = {
    "purposes": (
        (),
        (SECURITY,),
        (SECURITY, ANALYTICS),
        (ANALYTICS,),
        (SECURITY, replace(ANALYTICS, description="To sell things.")),
        (replace(ANALYTICS, recipients=(OWNER,)),),
        (replace(ANALYTICS, basis="contract"),),
    ),
    "recipients": ((), (OWNER,), (OWNER, "age1pq1support"), KEYS, ("age1pq1support",)),
    "upload": ("never", "allowed", "before-expiry"),
    "on_full": ("refuse", "drop-oldest"),
    "priority": (10, 50),
    "readable_by_device": (False, True),
    "counts": (
        None,
        Counts(purpose="analytics", epsilon=1.0, budget=2.0, values={"event": ("motion",)}),
        Counts(purpose="analytics", epsilon=1.0, budget=2.0, values={"event": ("motion", "album")}),
        Counts(purpose="analytics", epsilon=0.5, budget=3.0, values={"event": ("motion",)}),
        Counts(purpose="security", epsilon=0.5, budget=1.0, values={"event": ("motion",)}),
    ),
    "fields": (None, Fields({}), Fields({"event": KeepField()}), Fields({"at": RoundTime(1000)})),
}
WHOLE: Final[Mapping[str, tuple[Any, ...]]] = {
    "recipients": ({"owner": (OWNER,)}, {"owner": (OWNER, "age1pq1second")}),
    "regions": ((), ("eu-central",), ("eu-central", "us-east")),
    "rate_bytes_s": (None, 1000, 4_000_000),
    "hours": ((), ((0, 360),), ((1320, 360),)),
    "largest_pass": (0.1, 0.3),
    "forget_within_ms": (0, 60_000, 1_800_000, 3_600_000),
    "answer_days": (5, 15),
    "silent_ms": (None, 86_400_000),
    "grace_ms": (86_400_000, 2_592_000_000),
    "ending": ("delete", "keep"),
    "private_hosts": ((), ("nas.lan",), ("nas.lan", "192.0.2.7")),
}
"""Values of each field, from a few; what a test needs of a field that comes later is a line here."""


def rule_of(values: Mapping[str, Any], keep: Mapping[str, Any], *, camera: str, category: Category) -> Rule:
    scope = f"camera.{camera}.{category}" if camera else f"category.{category}"
    return Rule(
        scope=scope,
        camera=camera,
        category=category,
        seal_to=tuple(key.removeprefix("age1pq1") for key in values["recipients"]),
        keep=Keep(**keep),
        **values,
    )


def chosen(values: Mapping[str, tuple[Any, ...]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({name: st.sampled_from(some) for name, some in values.items()})


def rules(camera: str, category: Category) -> st.SearchStrategy[Rule]:
    return st.builds(
        lambda values, keep: rule_of(values, keep, camera=camera, category=category), chosen(RULE), chosen(KEEP)
    )


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Draw a policy with some rules of categories and of cameras."""
    scopes = [(camera, category) for category in CATEGORIES for camera in ("", *CAMERAS)]
    some = draw(st.lists(st.sampled_from(scopes), unique=True, max_size=5))
    return Policy(version=1, purposes={}, rules=tuple(draw(rules(*scope)) for scope in some), **draw(chosen(WHOLE)))


@st.composite
def neighbours(draw: st.DrawFn, policy: Policy) -> Policy:
    """Draw a policy that differs from another in a few places at most."""
    whole = {name: getattr(policy, name) for name in Policy.__struct_fields__}
    for name in draw(st.lists(st.sampled_from(sorted(WHOLE)), unique=True, max_size=1)):
        whole[name] = draw(st.sampled_from(WHOLE[name]))
    table = {rule.scope: rule for rule in policy.rules}
    scopes = [(camera, category) for category in CATEGORIES for camera in ("", *CAMERAS)]
    for camera, category in draw(st.lists(st.sampled_from(scopes), unique=True, max_size=2)):
        fresh = draw(rules(camera, category))
        old = table.pop(fresh.scope, None)
        if draw(st.booleans()):
            table[fresh.scope] = fresh if old is None else draw(_mixed(old, fresh))
    return Policy(**(whole | {"rules": tuple(table.values())}))


@st.composite
def _mixed(draw: st.DrawFn, old: Rule, fresh: Rule) -> Rule:
    names = draw(st.lists(st.sampled_from([*sorted(RULE), *sorted(KEEP)]), unique=True, max_size=2))
    values = {name: getattr(fresh if name in names else old, name) for name in RULE}
    keep = {name: getattr((fresh if name in names else old).keep, name) for name in KEEP}
    return rule_of(values, keep, camera=old.camera, category=old.category)
