"""What the disk lost of a recording is fetched once more from the camera that has it still, acknowledged or not."""

import os

from agent import damage
from agent.scrub.flow import Scrub
from agent.scrub.settings import ScrubSettings
from tests.camera.place import Place
from tests.scrub.scene import flip


def damaged(place: Place) -> list[str]:
    return [one.object for _n, one in place.index.read_now(damage.page)]


def test_recording_that_its_camera_has_still_is_fetched_again_and_is_the_same_object(place: Place) -> None:
    content = os.urandom(150_000)
    place.record(content)
    place.collect(place.is_clean())
    (item,) = place.objects()
    assert list(place.card().values()) == [True], "it was acknowledged, and the camera may give it up"
    flip(place.vault.payload_path(item.id), item.size_bytes // 2)
    scrub = Scrub(
        vault=place.vault,
        settings=ScrubSettings(rate_bytes_s=1 << 40),
        now=lambda: place.now,
        alert=lambda _tx, _code, _what, _moment, *, about="": about,
    )

    async def look() -> None:
        await scrub.whole_pass()

    place.run(look())
    assert damaged(place) == [item.id]

    place.collect(lambda: not damaged(place))
    (after,) = place.objects()
    assert after.id == item.id
    assert after.payload_sha256 != item.payload_sha256
    assert place.contents() == [content]
    place.collect_passes()
    assert place.objects() == (after,), "and not once more"
