"""Nothing clear remains: what agent, broker and cloud wrote, and what a subscriber to ``#`` saw, is searched (I1).

The camera's clips, photos and usage logs are taken in, uploaded, exported in both forms and partly deleted by the real
programs; then every file of theirs is searched for 32 bytes of every 4 KiB of each source's file, for the files' names
and for who the camera is. A search that finds nothing proves nothing until it is seen to find: the control runs plant
one clear piece in the same places.
"""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from device_sim.camera.identity import identity
from tests.flow.house import House
from tests.flow.residue import Search, samples
from tests.waiting import until

SEED = 7


@dataclass(frozen=True)
class Lived:
    """What a life of recordings left behind, and what to look for in it."""

    roots: tuple[Path, ...]
    contents: tuple[bytes, ...]
    words: tuple[str, ...]

    def search(self) -> Search:
        return Search(pieces=[piece for content in self.contents for piece in samples(content)], words=self.words)


def _film(house: House) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """Record clips, photos and usage logs beside the spool, then hand them in; return their bytes by name."""
    beside = house.folder / "beside"
    house.run(
        "device-sim", "camera", "--spool", beside, "--seed", str(SEED), "--count", "2", "--rate", "0", "--seconds", "3",
        "--photos", "--logs",
    )  # fmt: skip
    found: dict[str, bytes] = {}
    for path in sorted(beside.rglob("*.*")):
        found[path.name] = path.read_bytes()
        target = house.spool / path.relative_to(beside)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    who = identity(SEED)
    words = (*who.traces(), *found, "front_door", who.mac.replace(":", ""), *(name.rsplit(".", 1)[0] for name in found))
    return found, words


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    folder = tmp_path_factory.mktemp("residue")
    scratch, seen = folder / "scratch", folder / "seen"
    scratch.mkdir()
    with pytest.MonkeyPatch.context() as patch, House(folder) as house:
        patch.setenv("TMPDIR", str(scratch))
        patch.chdir(scratch)
        config = house.config.read_text()
        house.config.write_text(config.replace("[[source]]", '[[source]]\nbatch_age = "1s"\nsettle = "200ms"'))
        observe = ("device-sim", "cloud", "observe", "--broker", house.url, "--identity", folder / "tls" / "owner")
        house.start("observer", *observe, "--out", seen)
        until(lambda: "recording #" in (folder / "observer.log").read_text(), what="the observer listening")
        house.start_cloud()
        house.start_agent()
        found, words = _film(house)
        house.one("uploaded", count=3)  # two clips and one batch of logs; photos stay at home
        photos = house.one("sealed", count=2)
        until(lambda: not [path for path in house.spool.rglob("*") if path.is_file()], what="the spool given up")
        house.owner("inventory")
        house.owner("export", "--all")
        house.owner("export", "--all", "--form", "zip")
        house.agent_json("export", "--form", "zip")
        clips = house.agent_json("inventory", "--category", "recording")["objects"]
        house.owner("delete", clips[0]["id"], photos[0]["id"], "--yes")
        house.agent_json("explain", clips[1]["id"])
        house.run("privacy-agent", "status", "--config", house.config)
        for name in ("agent", "cloud", "observer"):
            house.stop(name)
        assert house.broker is not None
        house.broker.stop()
        logs = [folder / f"{name}.log" for name in ("agent", "cloud")]
        roots = (house.state, house.config, folder / "policy.toml", scratch, folder / "cloud", folder / "broker", seen)
        assert seen.stat().st_size > 100_000
        yield Lived((*roots, *logs), tuple(found.values()), words)


@pytest.mark.promise("ENCRYPT")
def test_nothing_clear_remains_anywhere(lived: Lived) -> None:
    search = lived.search()
    assert search.look(lived.roots) == []
    assert len(search.pieces) > 100
    assert search.files > 30
    assert search.size_bytes > 1_000_000


@pytest.mark.parametrize("place", range(9))
def test_one_clear_piece_planted_in_any_place_is_found(lived: Lived, tmp_path: Path, place: int) -> None:
    content = lived.contents[0]
    at = len(content) // 2 // 4096 * 4096
    piece = content[at : at + 32]
    assert piece in samples(content)
    ways = (
        piece,
        piece.hex().encode(),
        base64.b64encode(b"!" + piece),
        base64.urlsafe_b64encode(b"!!" + piece),
        lived.words[0].encode("utf-16-le"),
        base64.b64encode(b"x" + lived.words[6].encode()),
        lived.words[3].encode().hex().encode(),
        lived.words[-1].encode(),
        piece.decode("latin-1").encode("utf-16-le"),
    )
    planted = tmp_path / "planted"
    planted.write_bytes(b"\x93" * (1001 + place) + ways[place] + b"\x93" * 77)
    (hit, *_) = lived.search().look([planted])
    assert hit.file == planted
    assert hit.offset >= 1001 + place


def test_clear_file_among_what_the_agent_wrote_is_found(lived: Lived) -> None:
    planted = lived.roots[0] / "vault" / "objects" / "left-behind"
    planted.write_bytes(b"\0" * 13 + lived.contents[-1])
    try:
        hits = lived.search().look(lived.roots)
    finally:
        planted.unlink()
    assert {hit.file for hit in hits} == {planted}
    assert set(samples(lived.contents[-1])) <= {hit.what for hit in hits}
