"""What stands of each purpose of the policy, as it is told at this device."""

from typing import Any

from agent.clock import rfc3339_ms
from agent.index import Tx
from agent.policy import Policy, is_allowed
from agent.rights import consent


def consents_view(tx: Tx, policy: Policy) -> dict[str, Any]:
    """Return what is allowed now for each purpose and category of a policy, and the word that it rests on."""
    standing = consent.standing(tx)
    said = consent.last_words(tx)
    used = {(purpose.name, rule.category) for rule in policy.rules for purpose in rule.purposes}
    told = []
    for name, category in sorted(used):
        purpose, word = policy.purposes[name], said.get((name, category))
        readers = consent.about(policy, name, category).recipients
        told.append(
            {
                "purpose": name,
                "category": category,
                "description": purpose.description,
                "basis": purpose.basis,
                "allowed": is_allowed(purpose, category, standing),
                "word": "" if word is None else word.status,
                "since": "" if word is None else rfc3339_ms(word.at_ms),
                "record": "" if word is None else word.id,
                "recipients": list(readers),
                "keyless": list(policy.keyless(readers)),
            }
        )
    return {"standing": told, "do_not_track": standing.do_not_track}
