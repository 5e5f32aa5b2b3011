"""A device that was taken over signs what it likes: a receipt must not draw, end the tool, or pass for another."""

from pathlib import Path
from typing import Any

import pytest

from tests.owner.conftest import Owner, make_owner, owner, peer
from tests.owner.peer import Peer

__all__ = ["make_owner", "owner", "peer"]  # fixtures

DRAWS = "\x1b]0;owned\x07\x1b[2J\u202e"
FILE = {"name": "m", "bytes": 1, "sha256": "0" * 64}
LATEST_S = 2**53 - 1
"""The largest number that signed JSON may hold."""


def answer(owner: Owner, peer: Peer, folder: Path, claims: dict[str, Any]) -> Path:
    """Have a delete signed and return a file with what the device answers."""
    owner.ok("delete", "--all", "--yes", "--out", folder / "command.bin")
    command = peer.open_command((folder / "command.bin").read_bytes())
    (folder / "answer.bin").write_bytes(peer.receipt(command, **{"outcomes": [], **claims}))
    return folder / "answer.bin"


@pytest.mark.parametrize(
    "claims",
    [
        {"verb": DRAWS},
        {"verb": "", "protection": DRAWS},
        {"cursor": DRAWS, "outcomes_hash": "0" * 64, "outcomes": None},
        {"status": "partial", "cursor": DRAWS},
        {"status": "waiting", "reason": DRAWS},
        {"status": "refused", "reason": DRAWS},
        {"export": {"object": DRAWS, "files": [FILE]}},
        {"outcomes": [{"id": DRAWS, "result": DRAWS, "remarks": [DRAWS], "stated_by": DRAWS, "exports": [DRAWS]}]},
    ],
    ids=["verb", "protection", "cursor", "shortfall", "waiting", "refused", "export", "outcome"],
)
def test_no_text_of_a_receipt_steers_the_terminal(
    owner: Owner, peer: Peer, tmp_path: Path, claims: dict[str, Any]
) -> None:
    file = answer(owner, peer, tmp_path, claims)

    for words in (("receipt", file), ("verify", file), ("receipts",), ("pending",)):
        ran = owner.run(*words)
        assert not set(ran.out + ran.err) & set(DRAWS) - set("0123456789;[]JKowned")


def test_reason_is_told_as_it_is_and_never_filled_in(owner: Owner, peer: Peer, tmp_path: Path) -> None:
    # As a form with places it took as much memory as its author wanted.
    file = answer(owner, peer, tmp_path, {"status": "waiting", "reason": "{hash!r:>9999999}{cmd.__class__}"})

    assert "waits for {hash!r:>9999999}{cmd.__class__}, 0 selected" in owner.ok("receipt", file).out


@pytest.mark.parametrize("second", [LATEST_S, -LATEST_S, -62_135_596_801])
def test_receipt_of_a_time_that_no_calendar_has_is_listed(
    owner: Owner, peer: Peer, tmp_path: Path, second: int
) -> None:
    # It was kept, and each later list of receipts ended in a traceback.
    file = answer(owner, peer, tmp_path, {"iat": second})

    owner.ok("receipt", file)
    assert f"{second} s since 1970" in owner.ok("receipts").out
    assert f"{second} s since 1970" in owner.ok("verify", file).out


def test_receipt_that_answers_another_verb_is_not_taken_in(owner: Owner, peer: Peer, tmp_path: Path) -> None:
    # "inventory done" for a delete read as if all was well.
    file = answer(owner, peer, tmp_path, {"verb": "inventory"})

    ran = owner.run("receipt", file)

    assert ran.code == 1
    assert "another verb" in ran.err
    assert "no receipts yet" in owner.ok("receipts").out
