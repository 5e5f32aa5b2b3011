"""What a true signature under a refused command says of its key: the refusals that no honest holder brings about.

One key in two places, or a key in the wrong hands, shows first as a number or an id that is used twice, as a verb that
nobody granted, or as a command that was meant for another device. Its owner is told (docs/protocol.md section 8); what
a slow, old or mistaken peer brings about (``expired``, ``stale_seq``, ``malformed``, ``too_large``) is none of it, nor
an owner's client that asks for ``hold`` or ``release`` before they were granted to it: nobody has them unasked.
"""

from typing import Final

from agent.envelope import GRANTED_ALONE, Key

MISUSE: Final[dict[str, str]] = {
    "jti_reused": "signed two different commands under one id",
    "seq_reused": "signed two different commands with one number",
    "verb_not_allowed": "asked for what it was never granted",
    "not_granted": "asked for what its role may not have",
    "wrong_audience": "signed a command for another device, and that command was sent to this one",
}


def sentence(key: Key, verb: str, reason: str) -> str:
    """Say what a key did whose command was refused for ``reason``; "" where that is no sign of misuse."""
    if reason == "verb_not_allowed" and key.role == "client" and verb in GRANTED_ALONE:
        return ""
    did = MISUSE.get(reason)
    return f"The key {key.kid} {did}." if did is not None else ""
