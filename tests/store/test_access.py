"""What a person reads who may not read a file: for whom it is, and what to do. Somebody else is root."""

import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from agent.access import denied, user_name
from agent.app.setup import read_owner_file
from agent.broker import load_identity
from agent.config import read_config
from agent.errors import ConfigError
from agent.files import is_folder, is_there, open_folder, read_whole
from agent.keystore import Keystore
from agent.owner.home import read_file, read_private
from agent.shell.operand import opened, read_key_file
from tests.ordinary_user import NOBODY, ordinary_user

SHADOW = Path("/etc/shadow")
"""Root's on every Linux, and for nobody else."""


def operand(path: Path) -> None:
    with opened(str(path)):
        pass


READERS: list[Callable[[Path], object]] = [
    lambda path: read_whole(path, max_bytes=1, hint="privacy-agent init writes one"),
    read_owner_file,
    read_config,
    read_file,
    operand,
]


@pytest.mark.parametrize("read", READERS)
def test_file_of_somebody_else_is_told_with_its_user_and_no_advice_to_write_it_anew(
    read: Callable[[Path], object],
) -> None:
    with ordinary_user(), pytest.raises(ConfigError) as refused:
        read(SHADOW)
    assert refused.value.message.startswith(f"{SHADOW}: Permission denied: {SHADOW} is for user root")
    assert refused.value.hint.startswith("run this as root; or, if user ")


@pytest.mark.parametrize("read", [read_private, Keystore.open, lambda path: read_key_file(str(path))])
def test_key_of_somebody_else_is_told_with_its_user_and_never_given_to_another(
    read: Callable[[Path], object],
) -> None:
    with ordinary_user(), pytest.raises(ConfigError) as refused:
        read(SHADOW)
    assert refused.value.message.startswith(f"{SHADOW}: Permission denied: {SHADOW} is for user root")
    assert refused.value.hint == "run this as root"


@pytest.mark.parametrize("look", [read_config, is_there, is_folder, open_folder])
def test_file_in_a_closed_folder_is_told_with_the_folder(look: Callable[[Path], object]) -> None:
    with TemporaryDirectory() as made:
        folder = Path(made) / "etc"
        folder.mkdir(mode=0)
        Path(made).chmod(0o711)
        with ordinary_user(), pytest.raises(ConfigError) as refused:
            look(folder / "agent.toml")
        folder.chmod(0o700)
    if os.geteuid() == 0:
        assert f"{folder} is for user" in refused.value.message
        assert refused.value.hint == "run this as root"
    else:
        assert f"the mode of {folder} (000) keeps its own user" in refused.value.message
        assert refused.value.hint == f"chmod u+rwx {folder}"


@pytest.mark.parametrize("name", ["tls.crt", "tls.key", "ca.crt"])
def test_identity_that_was_copied_as_another_user_is_not_called_missing_or_bad(name: str) -> None:
    with TemporaryDirectory() as made:
        folder = Path(made)
        folder.chmod(0o755)
        for other in ("tls.crt", "tls.key", "ca.crt"):
            (folder / other).touch(mode=0o600 if other == "tls.key" else 0o644)
            if os.geteuid() == 0 and other != name:
                os.chown(folder / other, NOBODY, NOBODY)
        (folder / name).chmod(0o000)
        with ordinary_user(), pytest.raises(ConfigError) as refused:
            load_identity(folder)
    why = f"{folder / name} is for user " if os.geteuid() == 0 else f"the mode of {folder / name} (000) keeps "
    assert refused.value.message.startswith(f"{folder / name}: Permission denied: {why}")
    mend = "chown -R nobody " if os.geteuid() == 0 else "chmod u+r "
    assert mend in refused.value.hint


def test_file_that_we_made_unreadable_ourselves_asks_for_its_mode() -> None:
    status = SHADOW.stat()
    assert (status.st_uid, status.st_mode & 0o007) == (0, 0)
    with TemporaryDirectory() as made:
        Path(made).chmod(0o777)
        with ordinary_user():
            mine = Path(made) / "mine"
            mine.touch(mode=0)
            told, me = denied(mine), user_name(os.geteuid())
            assert told.message == f"{mine}: Permission denied: the mode of {mine} (000) keeps its own user {me} out"
            assert told.hint == f"chmod u+r {mine}"


def test_folder_that_we_closed_to_ourselves_asks_for_its_mode_and_not_for_another_user() -> None:
    """It said that the folder is for this user alone, and that this is this user."""
    with TemporaryDirectory() as made:
        Path(made).chmod(0o777)
        with ordinary_user():
            mine = Path(made) / "mine"
            mine.mkdir(mode=0)
            told = denied(mine / "agent.toml")
            mine.chmod(0o700)
    assert f"the mode of {mine} (000) keeps its own user" in told.message
    assert told.hint == f"chmod u+rwx {mine}"


def test_file_that_its_mode_lets_us_read_sends_to_what_else_may_forbid_it(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.touch()
    assert "security module" in denied(mine).hint
