"""What goes wrong in the simulated cloud, named by what the caller does next.

CloudError
├── MessageError   the message is not what docs/protocol.md says: drop it, count it
└── SetupError     a file or an option is wrong: the person fixes it
"""


class CloudError(Exception):
    """Root of everything that the simulated cloud raises on purpose."""


class MessageError(CloudError):
    """The bytes of a peer are not a message of the protocol, or not one that counts."""


class SetupError(CloudError):
    """The simulator cannot start like this; the message ends in the next step."""
