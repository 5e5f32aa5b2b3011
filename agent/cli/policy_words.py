"""A policy's rules as sentences for whoever lives with the camera."""

from typing import Any

from agent.policy import Policy, Purpose, Rule
from agent.policy.order import DIRECTIONS
from agent.policy.values import Keep

_UPLOADS = {
    "never": "It never leaves this device, but as an export.",
    "allowed": "It is also sent to the store.",
    "before-expiry": "It is also sent to the store; size and count wait until it is there, the age does not.",
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
    ("disk_free_bytes", "while {} of the disk are free"),
    ("disk_free_share", "while {} of the disk are free"),
)


def explained(policy: Policy) -> list[dict[str, Any]]:
    """Return what each rule says: what for, who can read it, how long it is kept, and where it goes."""
    return [{"rule": rule.scope, "says": _says(policy, rule)} for rule in policy.rules]


def _says(policy: Policy, rule: Rule) -> list[str]:
    if rule.category == "export":
        return [_kept(policy.export_rule().keep)]
    told = [*(_purpose(one) for one in rule.purposes), _readers(rule), _kept(rule.keep), _UPLOADS[rule.upload]]
    if rule.upload != "never":
        told.append(f"Stores may keep it in: {', '.join(policy.regions) or 'any region'}.")
    if rule.fields is not None:
        told.append(f"Of a line only these fields stay: {', '.join(sorted(rule.fields.rules)) or 'none'}.")
    told.append("This device can open it." if rule.readable_by_device else "This device cannot open it again.")
    return told


def _purpose(purpose: Purpose) -> str:
    return f"For {purpose.name}: {purpose.description} ({_GROUNDS[purpose.basis]})"


def _readers(rule: Rule) -> str:
    names = list(rule.seal_to)
    names += [f"{name} (for {one.name})" for one in rule.purposes for name in one.seal_to if name not in rule.seal_to]
    return f"It can be read by: {', '.join(names)}." if names else "Nobody could read it, so nothing is taken in."


def _kept(keep: Keep) -> str:
    words = DIRECTIONS[Keep]
    told = [
        said.format(words[name].text(value)) for name, said in _LIMITS if (value := getattr(keep, name)) is not None
    ]
    return f"It is kept {' and '.join(told)}." if told else "It is kept until it is deleted."
