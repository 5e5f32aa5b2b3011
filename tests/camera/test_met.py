"""Whoever collects tells where the camera gave whole answers, and that it did nowhere."""

from tests.camera.place import Place


def test_camera_that_answers_is_told_with_its_address_and_one_that_is_away_as_such(place: Place) -> None:
    place.collect(lambda: place.met[-1:] == [place.address()])
    place.stand.do(lambda: place.stand.device.faults.add("identity-changed"))
    place.collect(lambda: place.met[-1:] == [None])
    place.stand.do(lambda: place.stand.device.faults.discard("identity-changed"))
    place.collect(lambda: place.met[-1:] == [place.address()])


def test_camera_that_refuses_us_has_answered(place: Place) -> None:
    place.pairs = False
    place.stand.do(place.stand.device.unpair)
    place.collect(lambda: place.met != [])
    assert set(place.met) == {place.address()}
