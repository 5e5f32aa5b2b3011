"""The record of processing activities (GDPR, article 30) that a policy amounts to; pure.

What a controller has to write down of its processing stands in the policy already, and the device obeys that document:
a record made from it cannot say something else than what is done. It is JSON-LD in the terms of the Data Privacy
Vocabulary (https://w3id.org/dpv), one ``dpv:Process`` for each rule that is obeyed, also that of exports where none is
written; the letters are those of article 30(1). Who the
controller is, and who runs the store and the backends, no device knows: whoever keeps the record adds that. What was
withdrawn, objected to or restricted narrows it and is no part of a policy: ``privacy-agent consents``.
"""

from typing import Any, Final

from agent.policy.fields.rule import Drop
from agent.policy.purpose import Purpose
from agent.policy.values import Keep, Policy, Rule, reader_text

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

NAMED: Final = "whom the owner names for one export"
"""Who reads an export beside the owner: no policy names them, the owner's command does."""

STORE: Final = ("the store", "sealed copies that it cannot read")

_UNITS: Final = ((86_400_000, "days"), (3_600_000, "hours"), (60_000, "minutes"), (1_000, "seconds"))


def record(policy: Policy, *, device: str) -> dict[str, Any]:
    """Return the record: one process for each rule that is obeyed, and what holds for all of them."""
    return {
        "@context": CONTEXT,
        "@type": ["dpv:RecordsOfActivities"],
        "dct:title": "Record of processing activities (GDPR article 30)",
        "dpv:hasTechnology": {"@type": ["dpv:Technology"], "dpv:hasIdentifier": device},
        "dpv:hasDataSubject": [{"@type": ["dpv:DataSubject"], "dct:description": subject} for subject in SUBJECTS],
        "dpv:hasTechnicalOrganisationalMeasure": [
            {"@type": [term], "dct:description": words} for term, words in MEASURES
        ],
        "dpv:hasProcess": [_process(policy, rule) for rule in policy.obeyed()],
    }


def _process(policy: Policy, rule: Rule) -> dict[str, Any]:
    return {
        "@type": ["dpv:Process"],
        "dpv:hasIdentifier": rule.scope,
        "dpv:hasPurpose": [_purpose(purpose) for purpose in rule.purposes],
        "dpv:hasPersonalData": [{"@type": ["dpv:PersonalData"], "dct:title": rule.category} | _minimised(rule)],
        "dpv:hasProcessing": processing(rule),
        "dpv:hasRecipient": [
            *({"@type": ["dpv:Recipient"], "dct:title": name} for name in readers(policy, rule)),
            *(
                {"@type": ["dpv:DataProcessor"], "dct:title": name, "dct:description": gets}
                for name, gets in processors(rule)
            ),
        ],
        "dpv:hasLocation": list(places(policy, rule)),
        "dpv:hasStorageCondition": {"@type": ["dpv:StorageCondition"], "dct:description": limits(rule)},
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
    if rule.category == "export":
        return ["dpv:Copy", "dpv:Store", "dpv:Erase", "dpv:Transfer"]
    done = ["dpv:Collect", "dpv:Store", "dpv:Erase"]
    return done if rule.upload == "never" else [*done, "dpv:Transfer"]


def readers(policy: Policy, rule: Rule) -> tuple[str, ...]:
    """Return by name who can read what is taken in by a rule, where each of its purposes is allowed, (d).

    A name without a key is told with that: nobody reads by it yet.
    """
    named = (NAMED,) if rule.category == "export" else ()
    own = (name for purpose in rule.purposes for name in purpose.seal_to)
    names = tuple(dict.fromkeys((*rule.seal_to, *own)))
    keyless = policy.keyless(names)
    return (*(reader_text(name, keyless=name in keyless) for name in names), *named)


def processors(rule: Rule) -> tuple[tuple[str, str], ...]:
    """Return who gets something of a rule's data without being able to read it, and what that is, (d)."""
    backend = ("the backends of the owner's key set", "ids, counts, sizes and codes of what they ask about")
    return (backend,) if rule.upload == "never" else (STORE, backend)


def fields(rule: Rule) -> str:
    """Return in words what is done to a usage log before it is sealed; "" where it is kept as it is."""
    done = []
    if rule.fields is not None:
        names = sorted(name for name, what in rule.fields.rules.items() if not isinstance(what, Drop))
        done.append(f"of its fields only these are kept, each by its rule: {', '.join(names) or 'none'}")
    if rule.counts is not None:
        done.append(f"values are counted for {rule.counts.purpose}, and told with noise")
    return "; ".join(done)


def _minimised(rule: Rule) -> dict[str, str]:
    return {"dct:description": words} if (words := fields(rule)) else {}


def places(policy: Policy, rule: Rule) -> tuple[str, ...]:
    """Return where data of a rule may be, (e)."""
    if rule.category == "export":
        return ("this device", "where the owner has an export put")
    if rule.upload == "never":
        return ("this device",)
    return ("this device", *(policy.regions or ("any region of the store",)))


def limits(rule: Rule) -> str:
    """Return when data of a rule is erased, in words, (f): a policy's limits end what is here, not what a store has."""
    here = _limits_here(rule.keep)
    if rule.upload == "never":
        return here
    return f"on this device {here}; at the store kept until it is deleted by the owner or a backend"


def _limits_here(keep: Keep) -> str:
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
