"""``policy.toml`` becomes a frozen ``Policy``.

The document::

    version = 1

    [recipients]
    owner = ["age1pq1…"]

    [upload]
    regions = ["eu-central"]        # empty or absent: any region
    rate = "4MB"                    # bytes per second
    hours = ["22:00-06:00"]         # UTC

    [retention]
    largest_pass = "30%"            # a pass that would remove more than this share stops and asks
    forget_within = "1h"            # what is due is refused at once, and its key destroyed within this time

    [purpose.analytics]             # "security" is there without a table
    description = "To see which functions are used, and improve them."
    basis = "consent"               # or contract, legitimate-interest, legal-obligation
    seal_to = ["vendor"]            # reads, beside the category's, what is sealed while this purpose is allowed

    [end_of_service]
    silent = "180d"                 # no word of the cloud for so long ends its service; absent: never; a day at least
    grace = "30d"                   # so long after that, or after a signed notice, the plan is carried out; as well
    plan = "delete"                 # or keep: nothing is collected, and what is here ends by its own limits

    [requests]
    working_days = 15               # the owner's requests are answered within so many, and warned of before

    [delivery]
    private_hosts = ["nas.lan"]     # exports may be put at these, though they are in a private network

    [category.recording]
    purpose = "security"            # or purposes = ["security", "analytics"]
    seal_to = ["owner"]             # whatever the purpose; left out: the purposes' own recipients alone
    upload = "before-expiry"        # never | allowed | before-expiry
    keep = { age = "14d", size = "200GB", count = 100000, disk_free = "10%" }
    on_full = "refuse"              # or drop-oldest
    priority = 10                   # higher is uploaded first
    readable_by_device = true

    [category.export]               # copies: only when they end is for the policy to say
    purpose = "access"
    seal_to = ["owner"]
    keep = { age = "7d" }

    [camera.k3x9.recording]         # overrides, by random camera id
    keep.age = "3d"

A camera's table inherits what it does not say, limit by limit. What ``[category.usage-log.fields]`` may hold is told in
``fields/reading.py``.
"""

import re
from typing import Any, Final, cast, get_args

from agent.document import Table, read_document
from agent.model import CATEGORIES, Category, is_camera_id
from agent.policy.counts import Counts, read_counts
from agent.policy.fields.reading import read_fields
from agent.policy.fields.rule import PERIODS_MAX, Fields
from agent.policy.purpose import BUILT_IN, Basis, Purpose
from agent.policy.values import (
    ANSWER_DAYS,
    GRACE_MS,
    EndingPlan,
    Keep,
    OnFull,
    Policy,
    Rule,
    UploadRule,
    rotation_periods_ms,
)

POLICY_VERSION: Final = 1

_DOCUMENT_KEYS: Final = (
    "version",
    "recipients",
    "upload",
    "retention",
    "end_of_service",
    "requests",
    "delivery",
    "purpose",
    "category",
    "camera",
)
_UPLOAD_KEYS: Final = ("regions", "rate", "hours")
_RETENTION_KEYS: Final = ("largest_pass", "forget_within")
_REQUESTS_KEYS: Final = ("working_days",)
_DELIVERY_KEYS: Final = ("private_hosts",)
_RULE_KEYS: Final = (
    "purpose",
    "purposes",
    "seal_to",
    "upload",
    "keep",
    "on_full",
    "priority",
    "readable_by_device",
    "fields",
    "counts",
)
_EXPORT_KEYS: Final = ("purpose", "purposes", "seal_to", "keep")
_PURPOSE_KEYS: Final = ("description", "basis", "seal_to")
_ENDING_KEYS: Final = ("silent", "grace", "plan")
_KEEP_KEYS: Final = ("age", "size", "count", "disk_free")
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_DESCRIPTION_MAX: Final = 300
_PURPOSES_MAX: Final = 32  # what a person is asked about one by one; each of them is compared for each camera's table
_HOST: Final = re.compile(r"[a-z0-9.:_-]{1,253}")
_REGION: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_REGION_HINT: Final = 'use letters, digits, point, _ and -, for example "eu-central"'
_HOURS: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")
_LARGEST_PASS: Final = 0.3
_ENDING_MIN_MS: Final = 86_400_000  # less no owner would notice before everything is deleted
_FORGET_WITHIN_MS: Final = 3_600_000
_FORGET_WITHIN_MAX_MS: Final = 86_400_000
_RATE_MIN_BYTES_S: Final = 1000
_PRIORITIES: Final = range(101)
_USUAL_PRIORITY: Final = 50


def parse_policy(raw: bytes, *, file: str) -> Policy:
    """Read a whole policy; raises ``ConfigError`` naming file, line, key and fix before anything uses it."""
    document = read_document(raw, file=file)
    version = document.take("version", int)
    if version != POLICY_VERSION:
        raise document.error("version", f"{version} is not known", hint=f"write version = {POLICY_VERSION}")
    recipients = _recipients(document.table("recipients"))
    upload = document.table("upload")
    regions = _regions(upload)
    rate = upload.size_bytes("rate")
    if rate is not None and rate < _RATE_MIN_BYTES_S:
        hint = f'write at least "{_RATE_MIN_BYTES_S}B"; what is not to be uploaded has upload = "never"'
        raise upload.error("rate", "sends nothing", hint=hint)
    hours = _hours(upload)
    upload.close(known=_UPLOAD_KEYS)
    retention = document.table("retention")
    share, size = retention.share_or_size("largest_pass")
    if size is not None:
        raise retention.error("largest_pass", "should be a share", hint='write for example "30%"')
    within_ms = retention.duration_ms("forget_within")
    if within_ms is not None and within_ms > _FORGET_WITHIN_MAX_MS:
        raise retention.error("forget_within", "is longer than a day", hint='write for example "1h"')
    retention.close(known=_RETENTION_KEYS)
    requests = document.table("requests")
    answer_days = _answer_days(requests)
    requests.close(known=_REQUESTS_KEYS)
    silent_ms, grace_ms, ending = _end_of_service(document.table("end_of_service"))
    delivery = document.table("delivery")
    private_hosts = _hosts(delivery)
    delivery.close(known=_DELIVERY_KEYS)
    purposes = _purposes(document.table("purpose"), recipients)
    rules = _rules(document, recipients, purposes)
    if len(rotation_periods_ms(rules)) > PERIODS_MAX:
        raise document.error(
            "", f"pseudonyms have more than {PERIODS_MAX} different periods", hint="use the same for several"
        )
    document.close(known=_DOCUMENT_KEYS)
    return Policy(
        version=version,
        recipients=recipients,
        purposes=purposes,
        rules=rules,
        regions=regions,
        rate_bytes_s=rate,
        hours=hours,
        largest_pass=_LARGEST_PASS if share is None else share,
        forget_within_ms=_FORGET_WITHIN_MS if within_ms is None else within_ms,
        answer_days=answer_days,
        silent_ms=silent_ms,
        grace_ms=grace_ms,
        ending=ending,
        private_hosts=private_hosts,
    )


def _hosts(table: Table) -> tuple[str, ...]:
    hosts = table.texts("private_hosts", [])
    for host in hosts:
        if _HOST.fullmatch(host) is None:
            raise table.error(
                "private_hosts", f"{host!r} is no host", hint='write a name or an address in lower case: "nas.lan"'
            )
    return hosts


def _answer_days(table: Table) -> int:
    days = table.take("working_days", int, ANSWER_DAYS)
    if not 1 <= days <= ANSWER_DAYS:
        raise table.error("working_days", f"{days} is out of range", hint=f"use 1 to {ANSWER_DAYS}")
    return days


def _end_of_service(table: Table) -> tuple[int | None, int, EndingPlan]:
    """Return after how much silence a service has ended, for how long its owner is waited for, and what then goes."""
    silent_ms, grace_ms = table.duration_ms("silent"), table.duration_ms("grace")
    for key, value_ms, usual in (("silent", silent_ms, "180d"), ("grace", grace_ms, "30d")):
        if value_ms is not None and value_ms < _ENDING_MIN_MS:
            problem = "is shorter than a day: a cut of the line could delete everything before its owner heard of it"
            raise table.error(key, problem, hint=f'write at least "1d", for example "{usual}"')
    plan = cast("EndingPlan", table.choice("plan", get_args(EndingPlan), "delete"))
    table.close(known=_ENDING_KEYS)
    return silent_ms, GRACE_MS if grace_ms is None else grace_ms, plan


def _recipients(table: Table) -> dict[str, tuple[str, ...]]:
    found = {}
    for name in tuple(table.keys()):
        keys = table.texts(name)
        if not _NAME.fullmatch(name):
            raise table.error(name, "is not a good name", hint="use a-z, 0-9, _ and -, beginning with a letter")
        for key in keys:
            if not key.startswith("age1"):
                raise table.error(name, f"{key[:12]!r} is not an age recipient", hint="it begins with age1 or age1pq1")
        if len({key.startswith("age1pq1") for key in keys}) > 1:
            raise table.error(
                name,
                "mixes post-quantum and classic recipients, which weakens the former",
                hint="use age1pq1… for all of them (privacy-owner keygen --pq makes one), or age1… for all",
            )
        found[name] = keys
    return found


def _regions(table: Table) -> tuple[str, ...]:
    regions = table.texts("regions", [])
    for name in regions:
        if not is_region(name):
            raise table.error("regions", f"{name!r} is no name of a region", hint=_REGION_HINT)
    return regions


def is_region(name: str) -> bool:
    """Tell whether a store could name its region so."""
    return _REGION.fullmatch(name) is not None


def _hours(table: Table) -> tuple[tuple[int, int], ...]:
    intervals = []
    for text in table.texts("hours", []):
        match = _HOURS.fullmatch(text)
        if not match:
            raise table.error("hours", f"{text!r} is not an interval", hint='write for example "22:00-06:00" (UTC)')
        start, end = (int(match[at]) * 60 + int(match[at + 1]) for at in (1, 3))
        if start == end:
            raise table.error("hours", f"{text!r} is empty", hint="leave hours out to allow uploads at any time")
        intervals.append((start, end))
    return tuple(intervals)


def _purposes(table: Table, recipients: dict[str, tuple[str, ...]]) -> dict[str, Purpose]:
    found = dict(BUILT_IN)
    if len(table.keys()) > _PURPOSES_MAX:
        raise table.error("", f"has more than {_PURPOSES_MAX} purposes", hint="say for several uses what they are for")
    for name, purpose in table.named_tables():
        if not _NAME.fullmatch(name):
            raise table.error(name, "is not a good name", hint="use a-z, 0-9, _ and -, beginning with a letter")
        purpose.only(_PURPOSE_KEYS)
        description = purpose.take("description", str)
        if not description.strip() or len(description) > _DESCRIPTION_MAX:
            raise purpose.error(
                "description",
                "says nothing, or too much",
                hint=f"say in one sentence why the data is used, in {_DESCRIPTION_MAX} characters at most",
            )
        seal_to = purpose.texts("seal_to", [])
        found[name] = Purpose(
            name=name,
            description=description.strip(),
            basis=cast("Basis", purpose.choice("basis", get_args(Basis), "consent")),
            seal_to=seal_to,
            recipients=_keys_of(purpose, seal_to, recipients),
        )
        purpose.close(known=_PURPOSE_KEYS)
    return found


def _keys_of(table: Table, seal_to: tuple[str, ...], recipients: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Return the keys of the recipients that ``seal_to`` names, each once."""
    for name in seal_to:
        if name not in recipients:
            raise table.error("seal_to", f"{name!r} is not in [recipients]", hint=f'add {name} = ["age1…"] there')
    return tuple(dict.fromkeys(key for name in seal_to for key in recipients[name]))


def _rules(document: Table, recipients: dict[str, tuple[str, ...]], purposes: dict[str, Purpose]) -> tuple[Rule, ...]:
    rules = []
    general: dict[str, Rule] = {}
    categories = document.table("category")
    for name, table in categories.named_tables():
        if name not in CATEGORIES:
            raise categories.error(name, "is not a known category", hint=f"use one of: {', '.join(CATEGORIES)}")
        if name == "export":
            _refuse_unobeyed(table)
        rule = _rule(
            table,
            scope=f"category.{name}",
            camera="",
            category=name,
            recipients=recipients,
            purposes=purposes,
            base=None,
        )
        if name == "export":
            _refuse_others(table, rule)
        general[name] = rule
        rules.append(rule)
    cameras = document.table("camera")
    for camera, per_category in cameras.named_tables():
        if not is_camera_id(camera):
            raise cameras.error(
                camera, "is not a camera id", hint="names live in the index: use the id of the inventory"
            )
        for name, table in per_category.named_tables():
            if name not in CATEGORIES:
                raise per_category.error(name, "is not a known category", hint=f"use one of: {', '.join(CATEGORIES)}")
            if name == "export":
                raise per_category.error(name, "is obeyed for no camera", hint="exports end by [category.export] alone")
            scope = f"camera.{camera}.{name}"
            rules.append(
                _rule(
                    table,
                    scope=scope,
                    camera=camera,
                    category=name,
                    recipients=recipients,
                    purposes=purposes,
                    base=general.get(name),
                )
            )
    return tuple(rules)


def _refuse_unobeyed(table: Table) -> None:
    """Refuse what nothing obeys for exports: they are never uploaded, and whoever asks for one says to whom it goes."""
    for key in _RULE_KEYS:
        if key in table and key not in _EXPORT_KEYS:
            hint = "remove it: the policy says of exports only when they end, by keep"
            raise table.error(key, "is obeyed for no export", hint=hint)


def _refuse_others(table: Table, rule: Rule) -> None:
    """Refuse a purpose that exports are not made for, and readers that no export has because of the policy."""
    if [one.name for one in rule.purposes] != ["access"]:
        raise table.error("purpose", "is not what exports are made for", hint='write purpose = "access"')
    if {*rule.seal_to, *(name for one in rule.purposes for name in one.seal_to)} - {"owner"}:
        hint = 'write seal_to = ["owner"], also for access: others get an export where the owner\'s command names them'
        raise table.error("seal_to", "has no say over exports", hint=hint)


def _rule(
    table: Table,
    *,
    scope: str,
    camera: str,
    category: str,
    recipients: dict[str, tuple[str, ...]],
    purposes: dict[str, Purpose],
    base: Rule | None,
) -> Rule:
    table.only(_RULE_KEYS)
    named = table.keys()
    allowed = _purposes_of(table, purposes, base)
    usual: list[str] | None = [] if allowed and all(purpose.seal_to for purpose in allowed) else None
    seal_to = table.texts("seal_to", list(base.seal_to) if base else usual)
    own = _keys_of(table, seal_to, recipients)
    keys = {key for some in (own, *(purpose.recipients for purpose in allowed)) for key in some}
    if len({key.startswith("age1pq1") for key in keys}) > 1:
        raise table.error(
            "seal_to",
            "mixes post-quantum and classic recipients in one file, which weakens the former",
            hint="give every recipient here an age1pq1… key (privacy-owner keygen --pq), or every one an age1… key",
        )
    if base is not None and base.counts is not None and base.counts.purpose not in {one.name for one in allowed}:
        raise table.error(
            "purposes" if "purposes" in named else "purpose",
            f"lacks {base.counts.purpose!r}, for which [{base.scope}.counts] counts this camera's values too",
            hint=f"name {base.counts.purpose} here as well, or take the counts out of the category",
        )
    rule = Rule(
        scope=scope,
        camera=camera,
        category=cast("Category", category),
        purposes=allowed,
        seal_to=seal_to,
        recipients=own,
        upload=cast("UploadRule", table.choice("upload", get_args(UploadRule), base.upload if base else "never")),
        keep=_keep(table.table("keep"), base.keep if base else Keep()),
        on_full=cast("OnFull", table.choice("on_full", get_args(OnFull), base.on_full if base else "refuse")),
        priority=_priority(table, base),
        readable_by_device=_flag(table, "readable_by_device", usual=base.readable_by_device if base else True),
        fields=(fields := _fields(table, category, base.fields if base else None)),
        counts=_counts(table, category, allowed, fields=fields, is_general=not camera)
        or (base.counts if base else None),
    )
    table.close(known=_RULE_KEYS)
    return rule


def _purposes_of(table: Table, purposes: dict[str, Purpose], base: Rule | None) -> tuple[Purpose, ...]:
    if "purpose" in table and "purposes" in table:
        raise table.error("purposes", "stands beside purpose", hint="write one of them: purposes = [...] for several")
    if base is not None and "purpose" not in table and "purposes" not in table:
        return base.purposes
    key = "purposes" if "purposes" in table else "purpose"
    names = table.texts(key) if key == "purposes" else (table.take(key, str),)
    for name in names:
        if name not in purposes:
            raise table.error(
                key,
                f"{name!r} is no purpose of this policy",
                hint=f"declare it: [purpose.{name}] with description, basis and seal_to; or use one of: "
                + ", ".join(purposes),
            )
    if not names or len(set(names)) < len(names):
        raise table.error(key, "names none, or one of them twice", hint=f'for example {key} = ["security"]')
    return tuple(purposes[name] for name in names)


def _priority(table: Table, base: Rule | None) -> int:
    priority = table.take("priority", int, base.priority if base else _USUAL_PRIORITY)
    if priority not in _PRIORITIES:
        raise table.error("priority", f"{priority} is out of range", hint="use 0 (last) to 100 (first)")
    return priority


def _fields(table: Table, category: str, base: Fields | None) -> Fields | None:
    if "fields" not in table:
        return base
    if category != "usage-log":
        raise table.error("fields", "are a usage log's alone", hint="write them under [category.usage-log.fields]")
    return read_fields(table.table("fields"), base)


def _counts(
    table: Table, category: str, purposes: tuple[Purpose, ...], *, fields: Fields | None, is_general: bool
) -> Counts | None:
    if "counts" not in table:
        return None
    if category != "usage-log" or not is_general:
        raise table.error("counts", "are of all usage logs", hint="write them under [category.usage-log.counts]")
    if fields is None:
        raise table.error("counts", "need field rules", hint="add [category.usage-log.fields]; it may be empty")
    return read_counts(table.table("counts"), purposes=tuple(purpose.name for purpose in purposes))


def _flag(table: Table, key: str, *, usual: bool) -> bool:
    return table.take(key, bool) if key in table else usual


def _keep(table: Table, base: Keep) -> Keep:
    told: dict[str, Any] = {}
    age_ms = table.duration_ms("age")
    if age_ms is not None:
        told["age_ms"] = age_ms
    size = table.size_bytes("size")
    if size is not None:
        told["size_bytes"] = size
    if "count" in table:
        count = table.take("count", int)
        if count < 1:
            raise table.error("count", f"{count} keeps nothing", hint="to collect nothing, remove the category")
        told["count"] = count
    share, floor = table.share_or_size("disk_free")
    if share is not None or floor is not None:
        told |= {"disk_free_share": share, "disk_free_bytes": floor}
    table.close(known=_KEEP_KEYS)
    return Keep(
        age_ms=told.get("age_ms", base.age_ms),
        size_bytes=told.get("size_bytes", base.size_bytes),
        count=told.get("count", base.count),
        disk_free_bytes=told.get("disk_free_bytes", base.disk_free_bytes),
        disk_free_share=told.get("disk_free_share", base.disk_free_share),
    )
