"""A transfer that is cut, slow, endless or not what was said: what is sealed is whole and as listed, or nothing is."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.camera import content as content_module
from agent.sealer import fetching
from tests.camera.liar import Asked, Liar, etag
from tests.camera.place import LIMIT_S, Place

LONG = os.urandom(300_000)


def test_transfer_that_is_cut_again_and_again_goes_on_where_it_was_and_seals_one_object(
    place: Place, tmp_path: Path
) -> None:
    with Liar(tmp_path / "liar", place.stand.device.identity) as liar:
        place.at = (liar.address,)
        liar.contents["a"] = LONG

        def piece(asked: Asked, name: str) -> None:
            give(asked, liar.contents[name], upto=70_000)

        liar.on_content = piece
        place.collect(lambda: liar.acknowledged == ["a"])
        starts = [asked for _, asked in liar.fetched]
    assert starts == ["", *(f"bytes={at}-" for at in range(70_000, 300_000, 70_000))]
    assert place.contents() == [LONG]


def test_camera_whose_link_breaks_after_each_64_kib_is_collected_from(place: Place) -> None:
    place.record(LONG)
    place.stand.do(lambda: place.stand.device.faults.add("link-cut"))
    place.collect(place.is_clean())
    assert place.contents() == [LONG]


def test_content_that_is_another_one_after_a_cut_is_never_mixed_in(place: Place, tmp_path: Path) -> None:
    other = os.urandom(len(LONG))
    with Liar(tmp_path / "liar", place.stand.device.identity) as liar:
        place.at = (liar.address,)
        liar.contents["a"] = LONG

        def changing(asked: Asked, name: str) -> None:
            give(asked, liar.contents[name], upto=100_000)
            liar.contents[name] = other

        liar.on_content = changing
        # The second connection, which asks for the rest, is given the other's, under its own ETag.
        place.collect(lambda: len(liar.fetched) >= 2)
        liar.on_content = liar.give_truly
        place.collect(lambda: liar.acknowledged == ["a"])
    assert place.contents() == [other]


def test_camera_that_goes_on_at_the_wrong_place_gives_nothing(place: Place, tmp_path: Path) -> None:
    with Liar(tmp_path / "liar", place.stand.device.identity) as liar:
        place.at = (liar.address,)
        liar.contents["a"] = LONG

        def shifted(asked: Asked, name: str) -> None:
            content = liar.contents[name]
            if not asked.headers.get("Range"):
                give(asked, content, upto=100_000)
                return
            said = f"bytes 50000-{len(content) - 1}/{len(content)}"
            asked.raw(content[50_000:], status=206, ETag=etag(content), Content_Range=said)

        liar.on_content = shifted
        flow = place.collect(looked_on(place, liar))
        assert len(liar.fetched) >= 2
    assert place.objects() == ()
    assert liar.acknowledged == []
    assert flow.counts["unreadable"] == 1


def test_camera_that_takes_no_ranges_is_read_from_the_beginning(place: Place, tmp_path: Path) -> None:
    with Liar(tmp_path / "liar", place.stand.device.identity) as liar:
        place.at = (liar.address,)
        liar.contents["a"] = LONG

        def whole(asked: Asked, name: str) -> None:
            give(asked, liar.contents[name], upto=100_000 if len(liar.fetched) == 1 else len(LONG), start=0)

        liar.on_content = whole
        place.collect(lambda: liar.acknowledged == ["a"])
        assert [asked for _, asked in liar.fetched] == ["", "bytes=100000-", ""]
    assert place.contents() == [LONG]


def endless(asked: Asked, content: bytes) -> None:
    asked.send_response(200)
    asked.send_header("Transfer-Encoding", "chunked")
    asked.send_header("ETag", etag(content))
    asked.end_headers()
    try:
        while True:
            asked.wfile.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")
    except OSError:
        asked.close_connection = True


def longer(asked: Asked, content: bytes) -> None:
    asked.raw(content, length=2**50, ETag=etag(content))
    try:
        while True:
            asked.wfile.write(bytes(0x10000))
    except OSError:
        asked.close_connection = True


def endless_head(asked: Asked, _content: bytes) -> None:
    try:
        asked.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            asked.wfile.write(b"X-Filler: " + b"x" * 1000 + b"\r\n")
    except OSError:
        asked.close_connection = True


def chunked_beside_a_length(asked: Asked, content: bytes) -> None:
    asked.send_response(200)
    asked.send_header("Transfer-Encoding", "chunked")
    asked.send_header("Content-Length", str(len(content)))
    asked.send_header("ETag", etag(content))
    asked.end_headers()
    asked.wfile.write(b"%x\r\n" % len(content) + content + b"\r\n0\r\n\r\n")


TURNED = bytes([LONG[0] ^ 1]) + LONG[1:]


def lies() -> dict[str, Callable[[Asked, bytes], object]]:
    return {
        "long head": lambda asked, content: asked.raw(content, ETag=etag(content), X_Filler="x" * 20_000),
        "chunked beside a length": chunked_beside_a_length,
        "one bit": lambda asked, content: asked.raw(TURNED, ETag=etag(content)),
        "other etag": lambda asked, content: asked.raw(content, ETag=etag(TURNED)),
        "weak etag": lambda asked, content: asked.raw(content, ETag="W/" + etag(content)),
        "no etag": lambda asked, content: asked.raw(content),
        "shorter": lambda asked, content: asked.raw(content[:-1], ETag=etag(content)),
        "longer": longer,
        "endless": endless,
        "endless head": endless_head,
        "redirect": lambda asked, _content: asked.raw(b"", status=302, Location="http://127.0.0.1/"),
        "no http": lambda asked, _content: asked.wfile.write(b"\x00" * 100_000),
        "unreadable": lambda asked, _content: asked.say({"code": "unreadable", "detail": ""}, status=500),
    }


@pytest.mark.parametrize("lie", lies())
def test_content_that_is_not_what_was_said_is_not_stored_and_not_acknowledged(
    place: Place, tmp_path: Path, lie: str
) -> None:
    with Liar(tmp_path / "liar", place.stand.device.identity) as liar:
        place.at = (liar.address,)
        liar.contents |= {"a": LONG, "b": b"good"}
        liar.on_content = lambda asked, name: lies()[lie](asked, LONG) if name == "a" else liar.give_truly(asked, name)
        place.collect(lambda: liar.acknowledged == ["b"] and told(flow_counts(place)))
    assert place.contents() == [b"good"]
    stored = {path.name for path in (place.state / "objects").iterdir() if path.suffix != ".part"}
    assert stored == {item.id for item in place.objects()}  # it may have been trying again when it ended


def flow_counts(place: Place) -> list[str]:
    return [event.kind for event in place.events]


def told(kinds: list[str]) -> bool:
    return "unreadable" in kinds or "source_failed" in kinds


def looked_on(place: Place, liar: Liar) -> Callable[[], bool]:
    """Tell that it was told of, and that the camera was looked at ten times since."""
    listed: list[int] = []

    def condition() -> bool:
        if not listed and told(flow_counts(place)):
            listed.append(liar.listed)
        return bool(listed) and liar.listed > listed[0] + 10

    return condition


def test_lie_is_not_fetched_again_at_each_look(place: Place, tmp_path: Path) -> None:
    with Liar(tmp_path / "liar", place.stand.device.identity) as liar:
        place.at = (liar.address,)
        liar.contents["a"] = LONG
        liar.on_content = lambda asked, _name: asked.raw(LONG[:-1] + b"\0", ETag=etag(LONG))
        place.collect(looked_on(place, liar))
        assert len(liar.fetched) == 1


def test_camera_that_answers_nothing_is_given_up_and_collected_from_when_it_does(place: Place, tmp_path: Path) -> None:
    over = threading.Event()
    with Liar(tmp_path / "liar", place.stand.device.identity) as liar:
        place.at = (liar.address,)
        liar.contents["a"] = b"content"

        def silent_at_first(asked: Asked, query: dict[str, str]) -> None:
            if liar.listed < 3:
                over.wait(LIMIT_S)
            else:
                liar.list_truly(asked, query)

        liar.on_list = silent_at_first
        place.collect(lambda: "a" in liar.acknowledged, call_s=1.0)
        over.set()
    assert place.contents() == [b"content"]


def test_slow_camera_keeps_no_folder_waiting(place: Place, tmp_path: Path) -> None:
    with Liar(tmp_path / "liar", place.stand.device.identity) as liar:
        place.at = (liar.address,)
        liar.contents["a"] = LONG
        dripping: list[str] = []
        enough: list[bool] = []

        def drip(asked: Asked, name: str) -> None:
            content = liar.contents[name]
            asked.send_response(200)
            asked.send_header("Content-Length", str(len(content)))
            asked.send_header("ETag", etag(content))
            asked.end_headers()
            asked.wfile.write(content[:10])
            asked.wfile.flush()
            dripping.append(name)
            while not enough:
                asked.connection.settimeout(0.01)
                try:
                    asked.rfile.read(1)
                except OSError:
                    continue
                else:
                    return
            asked.connection.settimeout(20)
            asked.wfile.write(content[10:])

        liar.on_content = drip
        place.put("front/recording/2026-11-22T10-15-00.000Z_10s.mp4", b"of a folder")

        def condition() -> bool:
            if dripping and place.contents() == [b"of a folder"]:
                enough.append(True)
            return liar.acknowledged == ["a"]

        place.collect(condition)
    assert place.contents() == sorted([LONG, b"of a folder"])


def test_clear_bytes_are_nowhere_on_the_disk_while_a_recording_is_fetched(place: Place, tmp_path: Path) -> None:
    marker = b"clear as daylight" * 20
    found: list[Path] = []
    with Liar(tmp_path / "liar", place.stand.device.identity) as liar:
        place.at = (liar.address,)
        liar.contents["a"] = marker * 10_000

        def watched(asked: Asked, name: str) -> None:
            content = liar.contents[name]
            asked.send_response(200)
            asked.send_header("Content-Length", str(len(content)))
            asked.send_header("ETag", etag(content))
            asked.end_headers()
            for start in range(0, len(content), 1_000_000):
                asked.wfile.write(content[start : start + 1_000_000])
                found.extend(path for path in place.state.rglob("*") if path.is_file() and marker in path.read_bytes())

        liar.on_content = watched
        place.collect(lambda: liar.acknowledged == ["a"])
    assert found == []
    assert place.contents() == [marker * 10_000]


def test_connection_that_breaks_without_a_byte_is_not_asked_for_for_ever(place: Place, tmp_path: Path) -> None:
    place.poll_s = LIMIT_S  # one look at the camera
    with Liar(tmp_path / "liar", place.stand.device.identity) as liar:
        place.at = (liar.address,)
        liar.contents["a"] = LONG
        liar.on_content = lambda asked, _name: asked.cut()
        flow = place.collect(lambda: "source_failed" in flow_counts(place))
        assert len(liar.fetched) == content_module.CUTS_MAX + 1
        assert flow.counts["admitted"] == 0


def give(asked: Asked, content: bytes, *, upto: int, start: int | None = None) -> None:
    """Give the part that was asked for, and cut the connection after some bytes of it."""
    at = int(asked.headers.get("Range", "bytes=0-")[6:].rstrip("-")) if start is None else start
    asked.send_response(206 if at else 200)
    asked.send_header("Content-Length", str(len(content) - at))
    asked.send_header("ETag", etag(content))
    if at:
        asked.send_header("Content-Range", f"bytes {at}-{len(content) - 1}/{len(content)}")
    asked.end_headers()
    asked.wfile.write(content[at : at + upto])
    if at + upto < len(content):
        asked.cut()


def test_camera_that_gets_on_too_slowly_is_cut_off_and_tried_again(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.still_s = 0.05
    with Liar(tmp_path / "liar", place.stand.device.identity) as liar:
        place.at = (liar.address,)
        liar.contents["a"] = LONG

        def drip_at_first(asked: Asked, name: str) -> None:
            if len(liar.fetched) > 1:
                liar.give_truly(asked, name)
                return
            asked.send_response(200)
            asked.send_header("Content-Length", str(len(LONG)))
            asked.send_header("ETag", etag(LONG))
            asked.end_headers()
            asked.wfile.write(LONG[:10])
            with monkeypatch.context() as patience:
                patience.setattr(fetching, "STILL_MAX_S", 0.2)
                assert asked.rfile.read(1) == b"", "it is cut"
            # What is slow from now on is a busy machine.

        liar.on_content = drip_at_first
        place.collect(lambda: liar.acknowledged == ["a"])
        assert [asked for _, asked in liar.fetched] == ["", ""]
    assert place.contents() == [LONG]
