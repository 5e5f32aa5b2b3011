"""``encrypt``, ``decrypt`` and ``keygen`` on a real shell: files whole or absent, keys private, clear refusals."""

import errno
import json
import os
import pty
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.age import decrypt, encrypt, generate_identity, parse_identity_file, write_identity_file
from agent.errors import SpaceError
from agent.shell import operand
from tests.age.armoring import dearmor

DebianAge = Callable[..., bytes]
COMMAND = [sys.executable, "-m", "agent.cli"]
PLAIN = bytes(range(256)) * 700


def shell(*arguments: str | Path, stdin: bytes = b"", code: int = 0, cwd: Path | None = None) -> tuple[bytes, str]:
    """Run a command; return stdout and stderr after checking the exit code."""
    done = subprocess.run([*COMMAND, *arguments], input=stdin, capture_output=True, check=False, cwd=cwd)
    assert done.returncode == code, done.stderr.decode()
    return done.stdout, done.stderr.decode()


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "owner.key"
    path.write_text(write_identity_file(generate_identity(post_quantum=False), created="2026-01-02T03:04:05Z"))
    return path


@pytest.fixture
def recipient(key: Path) -> str:
    return parse_identity_file(key.read_text())[0].recipient().to_text()


@pytest.mark.parametrize("flags", [[], ["--pq"]])
def test_key_is_made_is_private_and_seals_and_opens_through_files(flags: list[str], tmp_path: Path) -> None:
    key, clear, sealed, opened = (tmp_path / name for name in ("k", "clear", "sealed", "opened"))
    clear.write_bytes(PLAIN)
    _, told = shell("keygen", *flags, "-o", key)
    public = parse_identity_file(key.read_text())[0].recipient().to_text()
    assert told.strip() == f"Public key: {public}"
    assert mode_of(key) == 0o600
    assert shell("encrypt", "-r", public, "-o", sealed, clear) == (b"", "")
    assert shell("decrypt", "-i", key, "-o", opened, sealed) == (b"", "")
    assert opened.read_bytes() == PLAIN
    assert mode_of(opened) == 0o600
    assert mode_of(sealed) == mode_of(clear)  # what anybody else may do with any file of ours
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clear", "k", "opened", "sealed"]


def test_pipes_are_used_pass_the_file_through(key: Path, recipient: str) -> None:
    sealed, told = shell("encrypt", "-r", recipient, stdin=PLAIN)
    assert told == ""
    assert shell("decrypt", "-i", key, "-", stdin=sealed) == (PLAIN, "")


def test_armor_is_asked_writes_text_that_both_open(key: Path, recipient: str, debian_age: DebianAge) -> None:
    text, _ = shell("encrypt", "-a", "-r", recipient, stdin=PLAIN)
    assert text.isascii()
    assert debian_age("-d", "-i", key, stdin=text) == PLAIN
    assert shell("decrypt", "-i", key, stdin=b"\n \n" + text)[0] == PLAIN
    assert decrypt(dearmor(text), parse_identity_file(key.read_text())) == PLAIN


def test_debian_age_is_on_the_other_side_of_keys_and_files(tmp_path: Path, debian_age: DebianAge) -> None:
    key = tmp_path / "k"
    shell("keygen", "-o", key)
    public = parse_identity_file(key.read_text())[0].recipient().to_text()
    assert debian_age("-d", "-i", key, stdin=shell("encrypt", "-r", public, stdin=PLAIN)[0]) == PLAIN
    assert shell("decrypt", "-i", key, stdin=debian_age("-r", public, stdin=PLAIN))[0] == PLAIN


def test_recipients_file_is_given_seals_to_all_of_them(tmp_path: Path) -> None:
    identities = [generate_identity(post_quantum=False) for _ in range(3)]
    team = tmp_path / "team.txt"
    team.write_text("# team\n" + "".join(one.recipient().to_text() + "\n" for one in identities[:2]))
    sealed, _ = shell("encrypt", "-R", team, "-r", identities[2].recipient().to_text(), stdin=b"x")
    assert all(decrypt(sealed, [identity]) == b"x" for identity in identities)


def test_large_file_is_sealed_with_two_threads_opens_again(key: Path, recipient: str, tmp_path: Path) -> None:
    clear, sealed = tmp_path / "clear", tmp_path / "sealed"
    clear.write_bytes(os.urandom(9 * 1024 * 1024 + 5))
    answer, _ = shell("encrypt", "--json", "-r", recipient, "-o", sealed, clear)
    facts = json.loads(answer)
    assert facts == {
        "output": str(sealed), "plain_bytes": 9 * 1024 * 1024 + 5, "payload_bytes": 9 * 1024 * 1024 + 5 + 16 + 145 * 16
    }  # fmt: skip
    assert shell("decrypt", "-i", key, sealed)[0] == clear.read_bytes()


@pytest.mark.parametrize("damage", ["cut", "flipped", "extended", "header"])
def test_damaged_file_is_decrypted_leaves_no_output_file(
    damage: str, key: Path, recipient: str, tmp_path: Path
) -> None:
    raw = bytearray(shell("encrypt", "-r", recipient, stdin=PLAIN)[0])
    if damage == "cut":
        del raw[-1:]
    elif damage == "flipped":
        raw[-1] ^= 1
    elif damage == "extended":
        raw += b"\0"
    else:
        raw[60] ^= 1
    sealed = tmp_path / "sealed"
    sealed.write_bytes(raw)
    before = sorted(tmp_path.iterdir())
    _, told = shell("decrypt", "-i", key, "-o", tmp_path / "opened", sealed, code=1)
    assert told.startswith("privacy-agent: ")
    assert "Traceback" not in told
    assert sorted(tmp_path.iterdir()) == before


def test_damaged_file_is_decrypted_keeps_the_earlier_output_file(key: Path, recipient: str, tmp_path: Path) -> None:
    opened = tmp_path / "opened"
    opened.write_bytes(b"earlier")
    raw, _ = shell("encrypt", "-r", recipient, stdin=PLAIN)
    shell("decrypt", "-i", key, "-o", opened, stdin=raw[:-1], code=1)
    assert opened.read_bytes() == b"earlier"
    shell("decrypt", "-i", key, "-o", opened, stdin=raw)
    assert opened.read_bytes() == PLAIN


def test_key_file_exists_is_never_overwritten(tmp_path: Path) -> None:
    key = tmp_path / "k"
    shell("keygen", "-o", key)
    before = key.read_bytes()
    _, told = shell("keygen", "-o", key, code=2)
    assert "already exists" in told
    assert "next: " in told
    assert key.read_bytes() == before
    assert list(tmp_path.iterdir()) == [key]


def test_keygen_writes_to_a_pipe_tells_the_public_key_beside_it() -> None:
    text, told = shell("keygen", "--pq")
    (identity,) = parse_identity_file(text.decode())
    assert told == f"Public key: {identity.recipient().to_text()}\n"
    answer, told = shell("keygen", "--json")
    assert set(json.loads(answer)) == {"identity", "recipient"}
    assert told == ""


@pytest.mark.parametrize(("arguments", "says"), [
    (["encrypt"], "no recipient"),
    (["encrypt", "-r", "age1qqqqqqqq"], "check letters"),
    (["encrypt", "-R", "absent.txt"], "absent.txt: No such file"),
    (["encrypt", "-r", "KEY", "absent"], "absent: No such file"),
    (["encrypt", "-r", "KEY", "."], "this is a folder"),
    (["encrypt", "-r", "KEY", "-o", "."], "this is a folder"),
    (["encrypt", "-r", "KEY", "-o", "absent/out"], "absent/out: No such file"),
    (["decrypt", "-i", "absent"], "absent: No such file"),
    (["decrypt", "-i", "empty"], "empty: the file holds no identity"),
    (["decrypt", "-i", "binary"], "binary: this is no text"),
])  # fmt: skip
def test_something_wrong_is_given_says_what_and_what_next(
    arguments: list[str], says: str, key: Path, recipient: str, tmp_path: Path
) -> None:
    (tmp_path / "empty").write_bytes(b"# nobody\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    before = sorted(tmp_path.iterdir())
    words = [recipient if word == "KEY" else word for word in arguments]
    out, told = shell(*words, stdin=b"no age file", code=2, cwd=tmp_path)
    assert out == b""
    assert says in told
    assert "next: " in told
    assert sorted(tmp_path.iterdir()) == before
    assert key.exists()


def test_something_else_is_decrypted_says_that_it_is_no_age_file(key: Path) -> None:
    _, told = shell("decrypt", "-i", key, stdin=b"no age file", code=1)
    assert "this is no age v1 file" in told


def test_json_and_the_file_are_both_asked_on_stdout_is_refused(recipient: str) -> None:
    answer, _ = shell("encrypt", "-r", recipient, "--json", stdin=b"x", code=2)
    assert json.loads(answer)["error"]["hint"] == "add -o FILE"


def test_usage_is_wrong_exits_with_two() -> None:
    shell("encrypt", "--no-such-flag", code=2)
    shell("decrypt", code=2)


@pytest.mark.parametrize("command", ["encrypt", "decrypt", "keygen"])
def test_help_is_asked_shows_an_example(command: str) -> None:
    text, _ = shell(command, "--help")
    assert b"example:\n  privacy-agent " + command.encode() in text


def test_hybrid_and_classic_are_mixed_is_refused_before_anything_is_written(recipient: str, tmp_path: Path) -> None:
    hybrid = generate_identity(post_quantum=True).recipient().to_text()
    _, told = shell("encrypt", "-r", recipient, "-r", hybrid, "-o", tmp_path / "out", stdin=b"x", code=2)
    assert "can't share a file" in told
    assert not (tmp_path / "out").exists()


def test_output_is_a_full_device_says_there_is_no_room(recipient: str) -> None:
    _, told = shell("encrypt", "-r", recipient, "-o", "/dev/full", stdin=PLAIN, code=1)
    assert "disk is full\n  next: make room, or send its output elsewhere" in told


@pytest.mark.parametrize("command", [("encrypt", "-r"), ("decrypt", "-i")])
def test_standard_output_is_full_says_what_helps_a_tool_without_a_policy(
    command: tuple[str, str], recipient: str, key: Path, tmp_path: Path
) -> None:
    shell("encrypt", "-r", recipient, "-o", tmp_path / "sealed", stdin=PLAIN)
    words = [*command, recipient] if command[0] == "encrypt" else [*command, str(key), str(tmp_path / "sealed")]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([*COMMAND, *words], input=PLAIN, stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1
    assert done.stderr.decode().endswith("disk is full\n  next: make room, or send its output elsewhere\n")


def test_disk_is_full_while_a_file_is_written_says_what_helps_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(SpaceError) as caught, operand.output(str(tmp_path / "out"), private=True):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.hint == "make room, or send its output elsewhere"
    assert list(tmp_path.iterdir()) == []


def on_terminal(*arguments: str | Path, stdin: bytes) -> tuple[int, bytes, str]:
    """Run with a terminal as stdout; return the exit code, what it showed, and stderr."""
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run([*COMMAND, *arguments], input=stdin, stdout=theirs, stderr=subprocess.PIPE, check=False)
        os.write(theirs, b"\x04")  # so that the read below ends even if nothing was shown
        shown = os.read(ours, 65536)
    finally:
        os.close(ours)
        os.close(theirs)
    return done.returncode, shown.removesuffix(b"\x04"), done.stderr.decode()


def test_stdout_is_a_terminal_refuses_binary_and_shows_text(key: Path, recipient: str) -> None:
    code, shown, told = on_terminal("encrypt", "-r", recipient, stdin=b"hello\n")
    assert (code, shown) == (2, b"")
    assert "-a for text" in told
    code, shown, _ = on_terminal("encrypt", "-a", "-r", recipient, stdin=b"hello\n")
    assert (code, shown[:35]) == (0, b"-----BEGIN AGE ENCRYPTED FILE-----\r")
    identity = parse_identity_file(key.read_text())[0].recipient()
    assert on_terminal("decrypt", "-i", key, stdin=encrypt(b"hello\n", [identity])) == (0, b"hello\r\n", "")
    code, shown, told = on_terminal("decrypt", "-i", key, stdin=encrypt(b"\0\1\2", [identity]))
    assert (code, shown) == (2, b"")
    assert "add -o FILE" in told


def test_reader_of_the_pipe_goes_away_ends_quietly(recipient: str) -> None:
    with subprocess.Popen(
        [*COMMAND, "encrypt", "-r", recipient, "/dev/zero"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        assert running.stdout
        assert running.stderr
        assert running.stdout.read(100).startswith(b"age-encryption.org/v1\n")
        running.stdout.close()
        told = running.stderr.read().decode()
    assert running.returncode == 141
    assert told == ""
