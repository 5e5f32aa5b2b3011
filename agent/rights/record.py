"""A word on a purpose as a document: shaped by ISO/IEC TS 27560:2023 (consent record information structure).

It is JSON-LD in the terms of the Data Privacy Vocabulary (https://w3id.org/dpv): a ``dpv:ConsentRecord`` with one
``dpv:Process`` and its ``dpv:hasConsentStatus``, or, for an objection, a ``dpv:RightExerciseRecord``. What neither the
policy nor the key set knows (addresses and contacts of the parties) is not there; docs/consent.md lists it. Pure.
"""

from typing import Any, Final

from agent.clock import rfc3339_ms
from agent.rights.consent import Record

CONTEXT: Final = {
    "dct": "http://purl.org/dc/terms/",
    "dpv": "https://w3id.org/dpv#",
    "eu-gdpr": "https://w3id.org/dpv/legal/eu/gdpr#",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "skos": "http://www.w3.org/2004/02/skos/core#",
}
PROFILE: Final = "pv1.consent-record"
"""``dct:conformsTo``: this very shape, of which docs/consent.md says how far it goes."""

_DAY_MS: Final = 86_400_000
_MS_PER_S: Final = 1000
_BASIS: Final = {
    "consent": "dpv:Consent",
    "contract": "dpv:Contract",
    "legitimate-interest": "dpv:LegitimateInterest",
    "legal-obligation": "dpv:LegalObligation",
}
_STATUS: Final = {
    "given": "dpv:ConsentGiven",
    "refused": "dpv:ConsentRefused",
    "withdrawn": "dpv:ConsentWithdrawn",
    "lapsed": "dpv:ConsentExpired",
}


def document(record: Record, *, device: str, owner: str) -> dict[str, Any]:
    """Return the record for whoever keeps or checks it; ``owner`` is the key id of the owner's root."""
    is_objection = record.status == "objected"
    process = _process(record) | (_objection(record) if is_objection else _consent(record))
    return {
        "@context": CONTEXT,
        "@type": ["dpv:RightExerciseRecord" if is_objection else "dpv:ConsentRecord"],
        "dct:conformsTo": PROFILE,
        "dpv:hasIdentifier": record.id,
        "dct:created": rfc3339_ms(record.at_ms),
        "dct:creator": device,
        "dct:language": "en",
        "dpv:hasDataSubject": {"@type": ["dpv:DataSubject"], "dpv:hasIdentifier": owner},
        "dpv:hasNotice": [
            {
                "@type": ["dpv:PrivacyNotice"],
                "dpv:hasIdentifier": f"sha256:{record.policy_sha256}",
                "dct:hasVersion": str(record.policy_version),
            }
        ],
        "dpv:hasProcess": [process],
        "dpv:hasEntity": _entities(record, device=device, owner=owner),
    }


def _process(record: Record) -> dict[str, Any]:
    purpose: dict[str, Any] = {
        "@type": ["dpv:Purpose"],
        "dpv:hasIdentifier": record.purpose,
        "skos:prefLabel": record.purpose,
        "skos:broader": "dpv:Purpose",
    }
    if record.about.description:
        purpose["skos:definition"] = record.about.description
    return {
        "@type": "dpv:Process",
        "dpv:hasPurpose": [purpose],
        "dpv:hasPersonalData": [
            {"@type": ["dpv:PersonalData"], "skos:prefLabel": record.category, "skos:broader": ["dpv:PersonalData"]}
        ],
        "dpv:hasProcessing": ["dpv:Collect", "dpv:Store", "dpv:Share"],
        "dpv:hasDataSource": ["dpv:DataSubjectDataSource"],
        "dpv:hasStorageCondition": _storage(record),
        "dpv:hasRecipient": list(record.about.recipients),
        "dpv:hasLegalBasis": [_BASIS.get(record.about.basis, "dpv:LegalBasis")],
    }


def _consent(record: Record) -> dict[str, Any]:
    said = [] if record.status == "lapsed" else [_EXPLICIT]
    return {
        "dpv:hasConsentControl": "dpv:WithdrawConsent",
        "dpv:hasConsentStatus": [_indication(record) | {"@type": [_STATUS[record.status], *said]}],
    }


_EXPLICIT: Final = "dpv:ExplicitlyExpressedConsent"


def _objection(record: Record) -> dict[str, Any]:
    return {
        "dpv:hasRight": ["eu-gdpr:A21"],
        "dct:hasPart": [_indication(record) | {"@type": ["dpv:RightExerciseActivity"]}],
    }


def _indication(record: Record) -> dict[str, Any]:
    """Return when, by whom and how it was said: a command that this key signed, or another policy that it brought."""
    how = f"signed command {record.command}" if record.command else "approval of another policy, or its file"
    return {
        "dpv:isIndicatedAtTime": rfc3339_ms(record.at_ms),
        "dpv:isIndicatedBy": record.kid,
        "dpv:isExercisedAt": how,
        "dct:description": f"the device's clock was {'trusted' if record.trusted else 'unsure'}",
    }


def _storage(record: Record) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = [
        {"@type": ["dpv:StorageLocation"], "dpv:hasLocation": place}
        for place in ("dpv:WithinDevice", *record.about.regions)
    ]
    if record.about.keep_age_ms is not None:
        duration = {"@type": "dpv:TemporalDuration", "rdf:value": iso_duration(record.about.keep_age_ms)}
        told.append({"@type": ["dpv:StorageDuration"], "dpv:hasDuration": duration})
    return told


def iso_duration(span_ms: int) -> str:
    """Write a duration as ISO 8601 has it: whole days, else seconds."""
    if span_ms % _DAY_MS == 0:
        return f"P{span_ms // _DAY_MS}D"
    return f"PT{-(-span_ms // _MS_PER_S)}S"


def _entities(record: Record, *, device: str, owner: str) -> dict[str, Any]:
    named: dict[str, Any] = {
        device: {"@type": ["dpv:Technology"], "dpv:hasName": device},
        owner: {"@type": ["dpv:DataSubject"], "dpv:hasIdentifier": owner},
        record.kid: {"@type": ["dpv:Entity"], "dpv:hasIdentifier": record.kid, "dpv:hasName": record.key_name},
    }
    return named | {name: {"@type": ["dpv:Recipient"], "dpv:hasName": name} for name in record.about.recipients}
