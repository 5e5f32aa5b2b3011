"""The five kinds of error, named by what the caller does next.

    AgentError
    ├── ConfigError    a person fixes a file, a key or an argument; nothing was changed
    ├── RefusedError   the sender may not: answer with the reason and record it
    ├── CorruptError   the bytes are wrong: quarantine them, never retry
    ├── LinkError      weather on a link: back off and try again
    └── SpaceError     no room: retention first, then try again

Anything else that escapes is a bug and ends the task group. A caller's mistake is an assertion, not one of these.
"""

from typing import Final, Literal

Retry = Literal["never", "later", "after_fix"]


class AgentError(Exception):
    """Root of the five kinds; ``hint`` is the next step for a person and ends every printed message."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  next: {self.hint}" if self.hint else self.message


class ConfigError(AgentError):
    """A file, key or argument that a person gave cannot be used; names it and the fix."""


class RefusedError(AgentError):
    """The sender may not do this.

    ``reason`` is a code of the closed list in ``docs/protocol.md``; ``retry`` says whether trying again can help.
    """

    def __init__(self, message: str, *, reason: str, retry: Retry = "never", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason
        self.retry: Retry = retry


class CorruptError(AgentError):
    """Bytes that are not what they claim to be: truncated, flipped, forged or malformed."""


class LinkError(AgentError):
    """A peer is away, slow or confused; trying again later is right."""


class SpaceError(AgentError):
    """The disk, a quota or a bounded queue is full."""


KINDS: Final[tuple[type[AgentError], ...]] = (ConfigError, RefusedError, CorruptError, LinkError, SpaceError)


def kind_of(error: AgentError) -> type[AgentError]:
    """Return which of the five an error is; one that is none of them is a bug."""
    return next(kind for kind in KINDS if isinstance(error, kind))


def told_of(error: AgentError) -> dict[str, str]:
    """Write an error as the members of ``error``: on the local socket, and in a command's JSON."""
    told = {"kind": kind_of(error).__name__, "message": error.message, "hint": error.hint}
    if isinstance(error, RefusedError):
        told |= {"reason": error.reason, "retry": error.retry}
    return told


def only_ours(group: BaseExceptionGroup[BaseException]) -> AgentError | None:
    """Return the first error of a task group in which nothing but our kinds failed, else ``None``: that is a bug."""
    _, others = group.split(AgentError)
    if others is not None:
        return None
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    assert isinstance(first, AgentError)  # noqa: S101 - the split left nothing else
    return first
