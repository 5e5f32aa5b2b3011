"""What a person can put right: the one error of this package, and its form for a wrong command line."""


class CertsError(Exception):
    """It cannot be done; ``hint`` is the next step and ends the printed message."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  next: {self.hint}"


class UsageError(CertsError):
    """The command line does not say what is wanted; nothing was changed."""
