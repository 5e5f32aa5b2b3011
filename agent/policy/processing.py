"""The record of processing activities (GDPR, article 30) that a policy amounts to; pure.

What a controller has to write down of its processing stands in the policy already, and the device obeys that document:
a record made from it cannot say something else than what is done. It is JSON-LD in the terms of the Data Privacy
Vocabulary (https://w3id.org/dpv), one ``dpv:Process`` for each rule; the letters are those of article 30(1). Who the
controller is no device knows: whoever keeps the record adds that.
"""

from typing import Any, Final

from agent.policy.purpose import Purpose
from agent.policy.values import Keep, Policy, Rule

CONTEXT: Final = {"dpv": "https://w3id.org/dpv#", "dct": "http://purl.org/dc/terms/"}

BASES: Final = {
    "consent": "dpv:Consent",
    "contract": "dpv:Contract",
    "legitimate-interest": "dpv:LegitimateInterest",
    "legal-obligation": "dpv:LegalObligation",
}

SUBJECTS: Final = ("the owner", "whoever is in the picture or within hearing of a camera")

MEASURES: Final = (
    ("dpv:AsymmetricEncryption", "sealed to its readers before it is stored or sent"),
    ("dpv:EncryptionInTransfer", "mutual TLS on every link"),
    ("dpv:EncryptionAtRest", "what is kept, and its index, lies encrypted"),
    ("dpv:AccessControlMethod", "only signed, fresh commands of keys that the owner named act"),
    ("dpv:ActivityMonitoring", "a hash-chained log of every act, signed by the device"),
)
"""What protects all of it, whatever the policy says, (g)."""

_UNITS: Final = ((86_400_000, "days"), (3_600_000, "hours"), (60_000, "minutes"), (1_000, "seconds"))


def record(policy: Policy, *, device: str) -> dict[str, Any]:
    """Return the record: one process for each rule, and what holds for all of them."""
    return {
        "@context": CONTEXT,
        "@type": ["dpv:RecordsOfActivities"],
        "dct:title": "Record of processing activities (GDPR article 30)",
        "dpv:hasTechnology": {"@type": ["dpv:Technology"], "dpv:hasIdentifier": device},
        "dpv:hasDataSubject": [{"@type": ["dpv:DataSubject"], "dct:description": subject} for subject in SUBJECTS],
        "dpv:hasTechnicalOrganisationalMeasure": [
            {"@type": [term], "dct:description": words} for term, words in MEASURES
        ],
        "dpv:hasProcess": [_process(policy, rule) for rule in policy.rules],
    }


def _process(policy: Policy, rule: Rule) -> dict[str, Any]:
    return {
        "@type": ["dpv:Process"],
        "dpv:hasIdentifier": rule.scope,
        "dpv:hasPurpose": [_purpose(purpose) for purpose in rule.purposes],
        "dpv:hasPersonalData": [{"@type": ["dpv:PersonalData"], "dct:title": rule.category}],
        "dpv:hasProcessing": processing(rule),
        "dpv:hasRecipient": [{"@type": ["dpv:Recipient"], "dct:title": name} for name in readers(rule)],
        "dpv:hasLocation": list(places(policy, rule)),
        "dpv:hasStorageCondition": {"@type": ["dpv:StorageCondition"], "dct:description": limits(rule.keep)},
    }


def _purpose(purpose: Purpose) -> dict[str, Any]:
    return {
        "@type": ["dpv:Purpose"],
        "dpv:hasIdentifier": purpose.name,
        "dct:description": purpose.description,
        "dpv:hasLegalBasis": BASES[purpose.basis],
    }


def processing(rule: Rule) -> list[str]:
    """Return what is done with the data of a rule, in the vocabulary's words."""
    done = ["dpv:Collect", "dpv:Store", "dpv:Erase"]
    return done if rule.upload == "never" else [*done, "dpv:Transfer"]


def readers(rule: Rule) -> tuple[str, ...]:
    """Return by name who can read what is taken in by a rule, where each of its purposes is allowed, (d)."""
    return tuple(dict.fromkeys((*rule.seal_to, *(name for purpose in rule.purposes for name in purpose.seal_to))))


def places(policy: Policy, rule: Rule) -> tuple[str, ...]:
    """Return where data of a rule may be, (e)."""
    if rule.upload == "never":
        return ("this device",)
    return ("this device", *(policy.regions or ("any region of the store",)))


def limits(keep: Keep) -> str:
    """Return when data of a rule is erased, in words, (f)."""
    found = []
    if keep.age_ms is not None:
        found.append(f"erased after {_duration(keep.age_ms)}")
    if keep.size_bytes is not None:
        found.append(f"the oldest erased above {keep.size_bytes} bytes")
    if keep.count is not None:
        found.append(f"the oldest erased above {keep.count} of them")
    if keep.disk_free_bytes is not None or keep.disk_free_share is not None:
        found.append("the oldest erased where the disk is short of room")
    return "; ".join(found) or "kept until the owner deletes it"


def _duration(value_ms: int) -> str:
    size, name = next((unit for unit in _UNITS if value_ms % unit[0] == 0), (1, "milliseconds"))
    return f"{value_ms // size} {name}"
