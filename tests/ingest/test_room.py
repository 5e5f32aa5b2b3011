"""Many files at once on a small disk: what is kept free stays free, and no more is refused than has to be."""

import os
from pathlib import Path

from agent.app.parts import RESERVE_BYTES
from tests.disk import as_root, read_only, small_disk
from tests.ingest.conftest import Home

CLIP_BYTES = 4_200_000
OTHERS_BYTES = 1 << 20
"""What the index takes meanwhile."""


@as_root
def test_files_that_are_sealed_side_by_side_leave_the_reserve_alone(tmp_path: Path) -> None:
    # Each saw the disk as it was before the others were written: of the last 16 MiB were 2.6 MB left.
    with small_disk(tmp_path / "state", size="56m"):
        home = Home(tmp_path)
        for number in range(12):
            home.put(f"front/{number:02}.mp4", os.urandom(CLIP_BYTES))
        flow = home.scan(reserve_bytes=RESERVE_BYTES)
        status = os.statvfs(home.state)
        free = status.f_bavail * status.f_frsize
        assert free > RESERVE_BYTES - OTHERS_BYTES
        assert free < RESERVE_BYTES + CLIP_BYTES + OTHERS_BYTES, "what fits is taken"
        taken = flow.counts["admitted"]
        assert (taken > 2, taken + len(home.left())) == (True, 12)

        for item in home.objects()[:2]:
            home.vault.payload_path(item.id).unlink()
        assert home.scan(reserve_bytes=RESERVE_BYTES).counts["admitted"] == 2, "room that is there again is used"
        home.close()


@as_root
def test_vault_that_became_read_only_ends_nothing_and_is_used_once_it_is_writable_again(tmp_path: Path) -> None:
    # The first file that was taken in ended the agent, and so at every start while one lay there.
    home = Home(tmp_path)
    home.put("front/a.mp4", b"frames")
    with read_only(home.vault.payloads.folder):
        home.scan()
    assert home.reasons("source_failed") == ["the vault cannot be written: Read-only file system"]
    assert home.left() == ["front/a.mp4"]
    home.scan()
    assert home.only().plain_bytes == len(b"frames")
    home.close()
