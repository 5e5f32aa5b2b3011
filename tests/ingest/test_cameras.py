"""Labels of cameras come from folders that anybody who may write there can name: bounded, told, and given back."""

from typing import Any

import pytest

from agent import registry
from agent.app.refusals import Refusals
from agent.model import Object, Selection
from agent.policy import parse_policy
from agent.vault import Draft
from tests.ingest.test_ingest import erase
from tests.writing import policy_text

Home = Any  # the fixture's class; tests are no package

NAME = "{camera}/recording/2026-11-{day:02}T10-15-00.000Z_10s.mp4"


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "CAMERAS_MAX", 2)


def put(home: Home, camera: str, day: int = 1) -> None:
    home.put(NAME.format(camera=camera, day=day), f"{camera} {day}".encode())


def labels(home: Home) -> list[str]:
    return sorted(one.label for one in home.index.read_now(registry.cameras))


def taken_from(home: Home, *cameras: str) -> None:
    for camera in cameras:
        put(home, camera)
    home.scan()


def test_one_camera_too_many_is_told_as_that_and_its_files_stay(home: Home) -> None:
    """It was told as a full disk: the owner looked for room, and the folders that somebody had made stayed unseen."""
    taken_from(home, "back", "front")
    taken_from(home, "other")
    assert home.reasons("disk_full") == []
    assert home.reasons("cameras_full") == ["something is held of 2 cameras"]
    assert home.left() == [NAME.format(camera="other", day=1)]
    refusals = Refusals()
    for event in home.events:
        refusals.note(event)
    assert [one["kind"] for one in refusals.of("spool")] == ["cameras_full"]


def test_label_of_which_nothing_is_held_makes_room_for_another(home: Home) -> None:
    taken_from(home, "back", "front")
    erase(home, *(item.id for item in home.objects() if item.name.startswith("front")))
    home.reopen()
    assert labels(home) == ["back", "front"], "an id lasts while there is room"
    taken_from(home, "other")
    assert labels(home) == ["back", "other"]
    assert home.left() == []


def test_label_that_a_cut_off_or_the_policy_names_is_never_given_away(home: Home) -> None:
    """Under another id late recordings would come in that were deleted, and rules of the camera would not hold."""
    taken_from(home, "back", "front")
    back, front = (
        next(one.id for one in home.index.read_now(registry.cameras) if one.label == label)
        for label in ("back", "front")
    )
    erase(home, *(item.id for item in home.objects()), cutoff=Selection(camera=back))
    home.reopen()
    text = policy_text(home.owner.recipient().to_text(), recording="")
    own = parse_policy(f'{text}[camera.{front}.recording]\nupload = "never"\n'.encode(), file="policy.toml")
    put(home, "other")
    home.scan(policy=own)
    assert home.reasons("cameras_full") == ["something is held of 2 cameras"]
    assert labels(home) == ["back", "front"]
    put(home, "back", day=2)
    home.scan(policy=own)
    assert home.objects() == ()


def test_label_that_is_forgotten_while_its_file_is_sealed_comes_back_with_the_file(home: Home) -> None:
    """Its id was minted before, and the object of it would have been one of no camera."""
    admit = home.vault.admit

    async def forgotten(draft: Draft, **given: Any) -> Object:  # noqa: ANN401 - passed on as they come
        await home.index.write(lambda tx: registry.forget_cameras(tx, named=(), all_deleted=True))
        assert home.index.read_now(registry.cameras) == ()
        admitted: Object = await admit(draft, **given)
        return admitted

    home.vault.admit = forgotten
    taken_from(home, "back")
    assert [one.id for one in home.index.read_now(registry.cameras)] == [home.only().camera]
