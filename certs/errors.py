"""The one error of this package: something a person can put right."""


class CertsError(Exception):
    """It cannot be done; ``hint`` is the next step and ends the printed message."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  next: {self.hint}"
