"""What a camera streams comes out of ``privacy-agent decrypt`` picture for picture, at its time."""

from pathlib import Path

import pytest

from agent.clock import parse_rfc3339_ms
from tests.rtsp.film import Codec, Picture, seen, shoot, shown
from tests.rtsp.studio import Device, Server

pytestmark = pytest.mark.promise("COLLECT-REC")

TICKS_PER_MS = 90


@pytest.mark.parametrize(
    ("name", "codec", "reordered"),
    [("264.mp4", "libx264", False), ("264.mp4", "libx264", True), ("265.mp4", "libx265", False)],
    ids=["H.264", "H.264 reordered", "H.265"],
)
def test_pictures_and_their_times_are_those_that_were_streamed(
    tmp_path: Path, name: str, codec: Codec, *, reordered: bool
) -> None:
    film = shoot(tmp_path / name, pictures=45, reordered=reordered, codec=codec)
    with Server(tmp_path / name) as server, Device(tmp_path) as device:
        device.watch(server.url)
        device.start()
        device.wait_for(5)  # the film has five key frames; behind its end it is played again
        device.stop()
        clips = device.clips()[:5]
    assert [shown(clip) for _, clip in clips] == [10, 10, 10, 10, 5]
    told = [(item, seen(clip)) for item, clip in clips]
    assert [picture.coded for _, segment in told for picture in segment] == [picture.coded for picture in film]
    came = [picture for _, segment in told for picture in segment]
    assert [picture.is_key for picture in came] == [picture.is_key for picture in film]
    begins = [parse_rfc3339_ms(item["captured_from"]) for item, _ in told]
    ends = [parse_rfc3339_ms(item["captured_to"]) for item, _ in told]
    at = 0
    for n, (_, segment) in enumerate(told):
        sent = film[at : at + len(segment)]
        assert since_first(segment) == since_first(sent)
        assert abs(begins[n] - begins[0] - (sent[0].pts - film[0].pts) / TICKS_PER_MS) <= 1
        at += len(segment)
    assert begins[1:] == ends[:4]
    length_ms = (film[-1].pts - film[0].pts) / TICKS_PER_MS
    assert length_ms < ends[4] - begins[0] <= length_ms + 200


def since_first(pictures: tuple[Picture, ...]) -> list[int]:
    return [picture.pts - pictures[0].pts for picture in pictures]
