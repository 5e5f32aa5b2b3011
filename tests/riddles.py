"""What both shell commands must not say to a person, and the files that wrong calls of them name."""

from pathlib import Path

from agent.age import encrypt, generate_identity, write_identity_file

RIDDLES = ("Expected `", "regex", "$.", "Traceback", "at byte")
"""Words of a library, a parser or a bug."""


def lay_out_wrong_files() -> None:
    """Write into this folder: two identities, a file sealed to the first, that file cut short, and plain text."""
    own, other = (generate_identity(post_quantum=False) for _ in range(2))
    for name, identity in (("own.key", own), ("other.key", other)):
        Path(name).write_text(write_identity_file(identity, created="2026-01-02T03:04:05Z"))
    sealed = encrypt(b"frames" * 100, [own.recipient()])
    Path("clip.age").write_bytes(sealed)
    Path("cut.age").write_bytes(sealed[:-3])
    Path("plain").write_text("hello\n")
