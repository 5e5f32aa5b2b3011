"""The policy file, read and checked as far as it can be: its form by ``agent.policy``, its recipients by ``agent.age``.

A recipient with one wrong letter would let nothing be sealed, so it is refused before anything obeys the policy.
"""

from typing import Final

from agent import age
from agent.document import line_of
from agent.errors import ConfigError
from agent.policy import Policy, parse_policy

_MINE: Final = "an export on the device, and what is kept when a purpose ends, is the owner's by this name"


def read_policy(document: bytes, *, file: str) -> Policy:
    """Return the policy; raises ``ConfigError`` naming file, line, key and fix."""
    policy = parse_policy(document, file=file)
    for name, keys in policy.recipients.items():
        for key in keys:
            try:
                age.parse_recipient(key)
            except ConfigError as error:
                line = line_of(document.decode("utf-8"), ("recipients", name))
                raise ConfigError(f"{file}:{line}: recipients.{name}: {error.message}", hint=error.hint) from error
    return policy


def read_new_policy(document: bytes, *, file: str) -> Policy:
    """Return a policy that nobody obeys yet; raises ``ConfigError`` as ``read_policy`` does.

    Also where it has rules and calls nobody its owner, or others can read and its owner cannot: an export on the
    device, and what is kept when a purpose ends, would be nobody's. One that is in force already is obeyed as it was
    taken: a device that refused it could not be commanded any more.
    """
    policy = read_policy(document, file=file)
    if "owner" not in policy.recipients:
        problem = "is missing" if policy.rules else ""
    else:
        problem = "" if policy.owner_recipients() or not any(policy.recipients.values()) else "is empty"
    if problem:
        line = line_of(document.decode("utf-8"), ("recipients", "owner"))
        raise ConfigError(
            f"{file}:{line}: recipients.owner: {problem}: {_MINE}",
            hint='call the owner\'s keys so: owner = ["age1…"]',
        )
    return policy


def require_owner(policy: Policy, *, file: str) -> None:
    """Raise ``ConfigError`` where the policy in force, which may be of an older version, calls nobody its owner."""
    if not policy.owner_recipients():
        problem = "is empty" if "owner" in policy.recipients else "is missing"
        raise ConfigError(
            f"recipients.owner: {problem} in the policy in force: {_MINE}",
            hint=f'add owner = ["age1…"] under [recipients] in {file}, reload the agent, and have the owner approve '
            "it: privacy-owner approve",
        )
