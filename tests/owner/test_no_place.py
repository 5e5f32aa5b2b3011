"""Keys that shall go where this user may not write: told with the folder and the option, and nothing is made."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.ordinary_user import ordinary_user
from tests.owner.conftest import MakeOwner, Owner


@pytest.fixture
def etc() -> Iterator[Path]:
    """A folder that everybody may read and nobody but its owner may write in."""
    with TemporaryDirectory() as made:
        folder = Path(made)
        folder.chmod(0o555)
        yield folder
        folder.chmod(0o755)


@pytest.mark.parametrize("words", [("init", "--classic"), ("client", "new", "phone", "--classic")])
def test_home_that_this_user_may_not_make_is_named_with_its_option(
    make_owner: MakeOwner, etc: Path, words: tuple[str, ...]
) -> None:
    new = Owner(etc / "own", make_owner("unused").capsys)
    with ordinary_user():
        ran = new.run(*words)
    assert ran.code == 2
    assert f"{etc / 'own'}: Permission denied" in ran.err
    assert "next: name a folder that you may write in: privacy-owner --home DIR" in ran.err
    assert list(etc.iterdir()) == []
