"""What goes wrong in the simulated cloud, named by what the caller does next.

CloudError
├── MessageError   the message is not what docs/protocol.md says: drop it, count it
├── SetupError     a file or an option is wrong: the person fixes it
└── AwayError      the broker is away or refuses: try again later
"""


class CloudError(Exception):
    """Root of everything that the simulated cloud raises on purpose."""


class MessageError(CloudError):
    """The bytes of a peer are not a message of the protocol, or not one that counts."""


class _HintedError(CloudError):
    """Told to a person; ``hint`` is the next step."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class SetupError(_HintedError):
    """The simulator cannot start like this."""


class AwayError(_HintedError):
    """The broker cannot be used now."""
