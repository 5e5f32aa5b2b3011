"""The version of what is installed, and the protocol that it speaks."""

from typing import Any, Final

PACKAGE: Final = "camera-privacy-agent"
PROTOCOLS: Final = ("pv1",)


def version_line(program: str) -> str:
    """Return it as a person reads it: ``privacy-agent 0.1.0 (protocol pv1)``."""
    return f"{program} {_version()} (protocol {', '.join(PROTOCOLS)})"


def version_facts() -> dict[str, Any]:
    """Return it as a program reads it."""
    return {"version": _version(), "protocol": list(PROTOCOLS)}


def _version() -> str:
    from importlib.metadata import version

    return version(PACKAGE)
