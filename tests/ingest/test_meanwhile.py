"""A purpose is taken away while something is being sealed for it: it comes in for what is allowed at its end."""

from pathlib import Path
from typing import Final

import pytest

from agent.age import NoMatchError, generate_identity
from agent.age.filekey import unwrap_header
from agent.index import Tx
from agent.policy import Consents, Rights, parse_policy
from tests.ingest.conftest import Home

VENDOR: Final = generate_identity(post_quantum=False)
POLICY: Final = """\
version = 1
[recipients]
owner = ["{owner}"]
vendor = ["{vendor}"]
[purpose.analytics]
description = "To see which functions are used."
basis = "consent"
seal_to = ["vendor"]
[category.recording]
purposes = ["security", "analytics"]
seal_to = ["owner"]
{recording}
[category.photo]
purpose = "analytics"
seal_to = ["owner"]
"""
CATEGORIES: Final = ("recording", "photo")


def said(word: str) -> Rights:
    return Rights(consents=Consents(words={("analytics", one): word for one in CATEGORIES}))  # type: ignore[misc]  # a word


class Changing(Home):
    """A home whose owner takes consent back as soon as something sealed lies in the vault."""

    def __init__(self, top: Path) -> None:
        super().__init__(top)
        self.choose("")

    def choose(self, recording: str) -> None:
        text = POLICY.format(
            owner=self.owner.recipient().to_text(), vendor=VENDOR.recipient().to_text(), recording=recording
        )
        self.policy = parse_policy(text.encode(), file="policy.toml")

    def _rights(self, _tx: Tx, /, **_place: object) -> Rights:
        return said("withdrawn" if any(self.vault.payloads.folder.iterdir()) else "given")


@pytest.fixture
def changing(tmp_path: Path) -> Changing:
    return Changing(tmp_path)


def test_recording_comes_in_for_the_purpose_that_is_left_and_for_nobody_else(changing: Changing) -> None:
    changing.put("door/recording/2026-03-01T10-15-00.000Z_2s.mp4", b"frames")
    changing.scan()
    item = changing.only()
    assert (item.purposes, item.recipients) == (("security",), (changing.owner.recipient().to_text(),))
    assert changing.opened(item) == b"frames"
    header = changing.index.read_now(lambda tx: changing.vault.header(tx, item.id))
    assert header is not None
    with pytest.raises(NoMatchError):
        unwrap_header(header, [VENDOR])
    assert changing.left() == [], "its source gave it up"


@pytest.mark.parametrize(
    ("path", "recording"),
    [
        ("door/photo/2026-03-01T10-15-00.000Z.jpg", ""),
        ("door/recording/2026-03-01T10-15-00.000Z_2s.mp4", "readable_by_device = false"),
    ],
    ids=["no purpose is left", "it cannot be sealed anew"],
)
def test_what_cannot_be_narrowed_is_not_let_in_and_stays_with_its_source(
    changing: Changing, path: str, recording: str
) -> None:
    changing.choose(recording)
    changing.put(path, b"pixels")
    changing.scan()
    assert changing.objects() == ()
    assert changing.left() == [path]
    assert changing.reasons("later") == ["what it may be used for changed while it was sealed"]
    assert list(changing.vault.payloads.folder.iterdir()) == []
