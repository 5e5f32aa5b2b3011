"""A policy as sentences for whoever lives with the camera: what each rule does, and what the device does as a whole."""

from typing import Any

from agent.policy import Policy, Purpose, Rule, reader_text
from agent.policy.fields.rule import (
    Drop,
    FieldRule,
    Fields,
    Groups,
    Inside,
    Pseudonym,
    Ranges,
    Round,
    RoundTime,
    Truncate,
)
from agent.policy.fields.rule import (
    Keep as Whole,
)
from agent.policy.order import DIRECTIONS
from agent.policy.values import Keep

_UPLOADS = {
    "never": "It never leaves this device, but as an export.",
    "allowed": "It is also sent to the store.",
    "before-expiry": "It is also sent to the store; size and count wait until it is there, at most until twice as much "
    "is here; the age does not.",
}
_GROUNDS = {
    "consent": "only while you consent",
    "contract": "it is what the camera was bought for; you may object",
    "legitimate-interest": "you may object",
    "legal-obligation": "required by law",
}
_LIMITS = (
    ("age_ms", "for {} at most"),
    ("size_bytes", "up to {} in all"),
    ("count", "up to {} objects"),
    ("disk_free_bytes", "while {} of the disk is free"),
    ("disk_free_share", "while {} of the disk is free"),
)


def explained(policy: Policy) -> list[dict[str, Any]]:
    """Return what each rule says (what for, who can read it, how long it is kept, where it goes), then the whole."""
    told = [{"rule": rule.scope, "says": _says(policy, rule)} for rule in policy.obeyed()]
    if len(told) == 1:  # that of exports
        told.insert(0, {"rule": "category", "says": ["Nothing is taken in: no category has a rule."]})
    return [*told, {"rule": "the whole device", "says": _whole(policy)}]


def _whole(policy: Policy) -> list[str]:
    """Say what no rule of a category says, and what would surprise whoever read those alone."""
    text = {name: field.text for name, field in DIRECTIONS[Policy].items()}
    told = []
    if any(rule.upload != "never" for rule in policy.rules):
        rate = "" if policy.rate_bytes_s is None else f", at most {text['rate_bytes_s'](policy.rate_bytes_s)} a second"
        told.append(f"Uploads run at {text['hours'](policy.hours)}{' (UTC)' if policy.hours else ''}{rate}.")
    grace = text["grace_ms"](policy.grace_ms)
    plan = "all of it is deleted that no hold or restriction keeps" if policy.ending == "delete" else "it stays"
    silent = "" if policy.silent_ms is None else f", or no word of it for {text['silent_ms'](policy.silent_ms)},"
    told += [
        f"A signed end of the service{silent} ends collection and upload; {grace} later {plan}.",
        f"What the owner asks for is answered within {policy.answer_days} working days.",
        f"Deleting more than {text['largest_pass'](policy.largest_pass)} of all unexpectedly is asked about first.",
        f"The keys of what went are destroyed within {text['forget_within_ms'](policy.forget_within_ms)}.",
    ]
    if policy.private_hosts:
        told.append(f"Exports may be put at private addresses of: {', '.join(policy.private_hosts)}.")
    return told


def _says(policy: Policy, rule: Rule) -> list[str]:
    if rule.category == "export":
        readers = "It can be read by: owner, and whom the owner names for one export."
        return [*(_purpose(one) for one in rule.purposes), readers, _kept(rule.keep)]
    told = [*(_purpose(one) for one in rule.purposes), _readers(policy, rule), _kept(rule.keep), _UPLOADS[rule.upload]]
    if rule.upload != "never":
        told.append(f"Stores may keep it in: {', '.join(policy.regions) or 'any region'}.")
    if rule.fields is not None:
        told.append(f"Of a line only these fields stay: {_fields(rule.fields) or 'none'}.")
    if rule.counts is not None:
        told.append(f"Values are counted, and told with noise: {DIRECTIONS[Rule]['counts'].text(rule.counts)}.")
    told.append("This device can open it." if rule.readable_by_device else "This device cannot open it again.")
    return told


def _purpose(purpose: Purpose) -> str:
    return f"For {purpose.name}: {purpose.description} ({_GROUNDS[purpose.basis]})"


def _readers(policy: Policy, rule: Rule) -> str:
    if not rule.recipients and not any(purpose.recipients for purpose in rule.purposes):
        return "Nobody could read it, so nothing is taken in."
    named = [(name, name) for name in rule.seal_to]
    named += [
        (name, f"{name} (for {one.name})") for one in rule.purposes for name in one.seal_to if name not in rule.seal_to
    ]
    keyless = policy.keyless(name for name, _ in named)
    told = (reader_text(text, keyless=name in keyless) for name, text in named)
    return f"It can be read by: {', '.join(told)}."


def _fields(fields: Fields) -> str:
    """Name the fields of which something stays, each with what of it."""
    named = sorted((name, rule) for name, rule in fields.rules.items() if not isinstance(rule, Drop))
    return ", ".join(f"{name} ({_stays(rule)})" for name, rule in named)


def _stays(rule: FieldRule) -> str:  # noqa: PLR0911 - one return for each rule
    duration = DIRECTIONS[Keep]["age_ms"].text
    match rule:
        case Whole():
            return "as it is"
        case Pseudonym(period_ms=period_ms):
            return f"a pseudonym, another one every {duration(period_ms)}"
        case Truncate(v4_bits=v4, v6_bits=v6):
            return f"its first {v4} bits, of IPv6 {v6}"
        case Round(step=step):
            return f"rounded to {step:g}"
        case RoundTime(step_ms=step_ms):
            return f"rounded to {duration(step_ms)}"
        case Ranges(bounds=bounds):
            return f"which range, split at {', '.join(f'{bound:g}' for bound in bounds)}"
        case Groups(groups=groups):
            return f"which group: {', '.join(sorted(groups))} or other"
        case Inside(fields=inside):
            return _fields(Fields(inside)) or "nothing of it"
        case Drop():
            return "nothing"


def _kept(keep: Keep) -> str:
    words = DIRECTIONS[Keep]
    told = [
        said.format(words[name].text(value)) for name, said in _LIMITS if (value := getattr(keep, name)) is not None
    ]
    return f"It is kept {' and '.join(told)}." if told else "It is kept until it is deleted."
