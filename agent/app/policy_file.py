"""The policy file, read and checked as far as it can be: its form by ``agent.policy``, its recipients by ``agent.age``.

A recipient with one wrong letter would let nothing be sealed, so it is refused before anything obeys the policy.
"""

from agent import age
from agent.document import line_of
from agent.errors import ConfigError
from agent.policy import Policy, parse_policy


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
